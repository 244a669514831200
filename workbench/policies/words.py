"""An expression in plain words: a fixed translation of its tree, for people who read no SQL.

The same expression gives the same words on every machine. Nothing is left out or made to sound nicer: AND, OR and NOT
stay as they are, with brackets where they decide.
"""

import re
from typing import Final

from workbench.events.sql_tree import Node
from workbench.policies.expression import Expression
from workbench.policies.spelling import scripts
from workbench.policies.vocabulary import CAST_TYPES, FLAGS, FUNCTIONS, NOUNS
from workbench.policies.walk import children, is_constant, is_made_up

__all__ = ["conditions", "describe"]

_COMPARED: Final = {
    "COMPARE_EQUAL": ("is", "is", "is not"),
    "COMPARE_NOTEQUAL": ("is not", "is not", "is"),
    "COMPARE_LESSTHAN": ("is less than", "is before", ""),
    "COMPARE_GREATERTHAN": ("is more than", "is after", ""),
    "COMPARE_LESSTHANOREQUALTO": ("is at most", "is at or before", ""),
    "COMPARE_GREATERTHANOREQUALTO": ("is at least", "is at or after", ""),
    "COMPARE_DISTINCT_FROM": ("differs from", "differs from", "is the same as"),
    "COMPARE_NOT_DISTINCT_FROM": ("is the same as", "is the same as", "differs from"),
}
_OPPOSITE: Final = {
    "COMPARE_EQUAL": "COMPARE_NOTEQUAL",
    "COMPARE_NOTEQUAL": "COMPARE_EQUAL",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHAN",
    "COMPARE_DISTINCT_FROM": "COMPARE_NOT_DISTINCT_FROM",
    "COMPARE_NOT_DISTINCT_FROM": "COMPARE_DISTINCT_FROM",
}
_SIDES: Final = {
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}
_PLACE: Final = re.compile(r"\{(all|\d)(?::(like|path))?\}")
_ONE: Final = re.compile(r"\b1 (days|hours|minutes|seconds)$")


def describe(expression: Expression) -> str:
    """``expression`` as one sentence.

    >>> print(describe(Expression.parse("action = 'export' AND off_hours AND events_24h > 40")))
    Flags an event when: the action is "export" AND it is outside working hours AND the number of the user's events in \
the last 24 hours is more than 40.
    """
    said = f"Flags an event when: {_yes_or_no(expression.tree)}."
    if expression.may_be_unknown:
        said += " Where this cannot be told because something is missing, the event is not flagged."
    return said


def conditions(expression: Expression) -> tuple[str, ...]:
    """What must all hold, one sentence each: the parts that the outermost AND joins.

    >>> conditions(Expression.parse("NOT is_first AND (outcome = 'denied' OR ip_is_new)"))
    ("it is not the user's first event", '(the outcome is "denied" OR the IP address is new for this user)')
    """
    tree = expression.tree
    joined = tree["children"] if tree["type"] == "CONJUNCTION_AND" else [tree]
    return tuple(_yes_or_no(part, within=True) for part in joined)


def _yes_or_no(part: Node, *, within: bool = False, denied: bool = False) -> str:
    """A part that is true or false: ``within`` others it takes brackets where it joins, ``denied`` is its opposite."""
    kind = part["class"]
    if part["type"] == "OPERATOR_NOT":
        return _yes_or_no(part["children"][0], within=within, denied=not denied)
    if kind == "CONJUNCTION":
        word = " AND " if part["type"] == "CONJUNCTION_AND" else " OR "
        joined = word.join(_yes_or_no(child, within=True) for child in part["children"])
        return f"it is NOT so that ({joined})" if denied else f"({joined})" if within else joined
    if kind == "COLUMN_REF" and part["column_names"][0].lower() in FLAGS:
        return FLAGS[part["column_names"][0].lower()][denied]
    if kind == "COMPARISON":
        return _comparison(part, denied)
    if kind == "BETWEEN":
        value, low, high = (_noun(part[name]) for name in ("input", "lower", "upper"))
        return f"{value} is {'not ' if denied else ''}between {low} and {high}, both included"
    if part["type"] in ("COMPARE_IN", "COMPARE_NOT_IN"):
        value, *options = part["children"]
        no = "not " if (part["type"] == "COMPARE_NOT_IN") != denied else ""
        return f"{_noun(value)} is {no}{_either([_noun(one) for one in options])}"
    if part["type"] in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        there = (part["type"] == "OPERATOR_IS_NOT_NULL") != denied
        return f"{_noun(part['children'][0])} is {'there' if there else 'missing'}"
    if kind == "FUNCTION" and FUNCTIONS[part["function_name"]].denied:
        known = FUNCTIONS[part["function_name"]]
        return _filled(known.denied if denied else known.words, children(part))
    if kind == "CONSTANT" and part["literal"]["kind"] == "BOOLEAN":
        return "always" if (part["literal"]["text"] == "true") != denied else "never"
    return f"{_noun(part)} is {'no' if denied else 'yes'}"


def _either(options: list[str]) -> str:
    if len(options) == 1:
        return options[0]
    return f"one of {', '.join(options[:-1])} or {options[-1]}"


def _comparison(part: Node, denied: bool) -> str:
    left, right, kind = part["left"], part["right"], part["type"]
    if left["class"] == "CAST" and is_made_up(left):  # x IS TRUE
        return _truth_test(
            left["child"], right["literal"]["text"] == "true", (kind == "COMPARE_DISTINCT_FROM") != denied
        )
    if is_constant(left) and not is_constant(right):
        left, right, kind = right, left, _SIDES.get(kind, kind)
    if (flag := _flag(left, right, kind)) is not None:
        return FLAGS[left["column_names"][0].lower()][flag == denied]
    if denied:
        kind = _OPPOSITE[kind]
    return f"{_noun(left)} {_COMPARED[kind][_is_time(left) or _is_time(right)]} {_noun(right)}"


def _truth_test(part: Node, wanted: bool, denied: bool) -> str:
    """``part IS [NOT] TRUE`` or ``FALSE``: unlike ``part`` itself, it is never unknown."""
    if not denied or part["class"] == "COLUMN_REF":  # a feature is never missing
        return _yes_or_no(part, within=True, denied=wanted == denied)
    return f"({_yes_or_no(part, within=True, denied=wanted)}, or this cannot be told)"


def _flag(left: Node, right: Node, kind: str) -> bool | None:
    """Whether a feature of 0 or 1 is asked to be 1 (True) or 0 (False); None if neither, plainly."""
    if left["class"] != "COLUMN_REF" or left["column_names"][0].lower() not in FLAGS or right["class"] != "CONSTANT":
        return None
    said = {"1": True, "true": True, "0": False, "false": False}.get(right["literal"].get("text", ""))
    if said is None or kind not in ("COMPARE_EQUAL", "COMPARE_NOTEQUAL"):
        return True if (kind, said) == ("COMPARE_GREATERTHAN", False) else None
    return said == (kind == "COMPARE_EQUAL")


def _is_time(part: Node) -> bool:
    if part["class"] == "COLUMN_REF":
        return bool(part["column_names"][0].lower() == "timestamp")
    if part["class"] == "CAST":
        return part["type_expr"]["type_name"] in ("TIMESTAMP", "DATE")
    if part["class"] == "FUNCTION" and part["function_name"] in ("+", "-", "date_trunc"):
        return any(_is_time(child) for child in children(part))
    return False


def _noun(part: Node) -> str:
    """A part that is a value."""
    kind = part["class"]
    if kind == "COLUMN_REF":
        name = part["column_names"][0].lower()
        return f"(1 if {FLAGS[name][0]}, otherwise 0)" if name in FLAGS else NOUNS[name]
    if kind == "CONSTANT":
        return _literal(part)
    if kind == "CAST":
        if is_made_up(part) or is_constant(part):
            return _noun(part["child"])
        kind_of = part["type_expr"]["type_name"].upper()
        return f"{_noun(part['child'])} as {CAST_TYPES[kind_of]}"
    if kind == "CASE":
        cases = [f"{_noun(c['then_expr'])} if {_yes_or_no(c['when_expr'], within=True)}" for c in part["case_checks"]]
        return f"({', '.join(cases)}, otherwise {_noun(part['else_expr'])})"
    if part["type"] == "OPERATOR_COALESCE":
        first, *others = (_noun(child) for child in part["children"])
        return f"{first} (where it is missing, {', or '.join(others)})"
    if kind == "FUNCTION" and not FUNCTIONS[part["function_name"]].denied:
        return _call(part["function_name"], children(part))
    return f"(whether {_yes_or_no(part, within=True)})"


def _call(name: str, arguments: list[Node]) -> str:
    """A function whose value is neither true nor false."""
    first = arguments[0]
    if len(arguments) == 1 and name in ("+", "-"):
        return _noun(first) if name == "+" else f"minus {_noun(first)}"
    if (name == "trunc" and is_constant(first)) or (name == "to_minutes" and not is_constant(first)):
        return _noun(first)
    if name == "round" and len(arguments) == 2:
        return f"{_noun(first)} rounded to {_noun(arguments[1])} decimals"
    if name == "substring" and len(arguments) == 3:
        return f"the {_noun(arguments[2])} characters of {_noun(first)} from number {_noun(arguments[1])}"
    if name == "if":
        return f"({_noun(arguments[1])} if {_yes_or_no(first, within=True)}, otherwise {_noun(arguments[2])})"
    return _ONE.sub(lambda found: f"1 {found[1][:-1]}", _filled(FUNCTIONS[name].words, arguments))


def _literal(part: Node) -> str:
    literal = part["literal"]
    if literal["kind"] == "STRING":
        return _quoted(literal["text"])
    if literal["kind"] == "NULL_LITERAL":
        return "nothing"
    if literal["kind"] == "INTEGER":
        return f"{int(literal['text'].replace('_', '')):,}"
    return {"true": "yes", "false": "no"}.get(literal["text"], str(literal["text"]))


def _quoted(text: str) -> str:
    foreign = sorted(scripts(text) - {"LATIN"})
    note = f" (in {' and '.join(script.capitalize() for script in foreign)} letters)" if foreign else ""
    return f'"{text}"{note}'


def _filled(words: str, arguments: list[Node]) -> str:
    """``words`` with the arguments at their places; a LIKE pattern that only has ``%`` at its ends in plainer ones."""
    if "{1:like}" in words and (plain := _plain_like(words, arguments)):
        return plain

    def fill(found: re.Match[str]) -> str:
        if found[1] == "all":
            nouns = [_noun(argument) for argument in arguments]
            return f"{', '.join(nouns[:-1])} and {nouns[-1]}"
        argument = arguments[int(found[1])]
        if found[2] == "path" and argument["class"] == "CONSTANT":
            return f'the entry "{argument["literal"]["text"].removeprefix("$.")}"'
        if found[2] == "like":
            return f"{_noun(argument)} (% is any text, _ any one character)"
        if argument["class"] == "CONSTANT" and words.startswith(("the {0} of", "{1} down")) and found[1] == "0":
            return str(argument["literal"]["text"]).lower()
        return _noun(argument)

    return _PLACE.sub(fill, words)


def _plain_like(words: str, arguments: list[Node]) -> str | None:
    pattern = arguments[1]["literal"].get("text", "") if arguments[1]["class"] == "CONSTANT" else ""
    core = pattern.strip("%")
    if not core or "%" in core or "_" in core or "\\" in core:
        return None
    no = "does not have" in words
    ends = pattern.startswith("%"), pattern.endswith("%")
    verb = {
        (False, True): ("starts with", "does not start with"),
        (True, False): ("ends with", "does not end with"),
        (True, True): ("contains", "does not contain"),
        (False, False): ("is", "is not"),
    }[ends][no]
    case = " in any case" if words.endswith("in any case") else ""
    return f"{_noun(arguments[0])} {verb} {_quoted(core)}{case}"
