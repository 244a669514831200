"""The walk over a parsed expression: a part that no rule here names is refused, at its place."""

import math
from collections.abc import Iterator
from typing import Final

from workbench.errors import InputError, nearest
from workbench.events.schema import OUTCOMES
from workbench.events.sql_tree import Node, parts, span
from workbench.policies.place import at_place
from workbench.policies.spelling import DEEPEST, LONGEST
from workbench.policies.vocabulary import CAST_TYPES, COLUMNS, FUNCTIONS, UNSTEADY

__all__ = ["boolean_operands", "check_tree", "children", "is_constant", "is_made_up"]

_COMPARISONS: Final = {
    "COMPARE_EQUAL",
    "COMPARE_NOTEQUAL",
    "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_DISTINCT_FROM",
    "COMPARE_NOT_DISTINCT_FROM",
}
_TYPES: Final = {
    "COMPARISON": _COMPARISONS,
    "CONJUNCTION": {"CONJUNCTION_AND", "CONJUNCTION_OR"},
    "OPERATOR": {
        "OPERATOR_NOT",
        "OPERATOR_IS_NULL",
        "OPERATOR_IS_NOT_NULL",
        "OPERATOR_COALESCE",
        "COMPARE_IN",
        "COMPARE_NOT_IN",
    },
    "BETWEEN": {"COMPARE_BETWEEN"},
    "CASE": {"CASE_EXPR"},
    "CAST": {"OPERATOR_CAST"},
    "COLUMN_REF": {"COLUMN_REF"},
    "CONSTANT": {"VALUE_CONSTANT"},
    "FUNCTION": {"FUNCTION"},
    "TYPE": {"TYPE"},
}
_REFUSED: Final = {
    "SUBQUERY": "a query of its own: a policy looks at one event, its features and its risk",
    "WINDOW": "a window: a policy looks at one event; the past of its user is in the features",
    "STAR": "a *: name the columns",
    "PARAMETER": "a parameter: write the value itself",
    "POSITIONAL_REFERENCE": "a column by its number: name it",
    "LAMBDA": "a lambda: it has no place here",
    "LAMBDA_REF": "a lambda: it has no place here",
    "COLLATE": "a collation: compare lower(column) instead",
    "DEFAULT": "the word DEFAULT, which stands for no value here",
    "OPERATOR_TRY": "TRY: use TRY_CAST or nullif where a value may not fit",
}
_SOMEWHERE: Final = " " * (LONGEST + 1)
_KINDS: Final = {"STRING", "INTEGER", "NUMERIC", "BOOLEAN", "NULL_LITERAL"}


def check_tree(text: str, tree: Node) -> None:
    """Raise ``InputError``, at the place, for the first part of ``tree`` that may not stand in a policy."""
    for part, depth in _with_depth(tree):
        if depth > DEEPEST:
            raise _refused(text, part, f"the expression is nested too deep: more than {DEEPEST} parts within parts")
    for part in parts(tree):
        kind = part["class"]
        if part["type"] not in _TYPES.get(kind, ()):
            word = part["type"].lower().replace("_", " ")
            what = _REFUSED.get(part["type"], _REFUSED.get(kind, f"a part that no policy may have: {word}"))
            raise _refused(text, part, f"the expression holds {what}")
        if part.get("alias"):
            raise _refused(text, part, "the expression gives a name to a part: a policy only asks")
        if kind == "COLUMN_REF":
            _check_column(text, part)
        elif kind == "CONSTANT":
            _check_constant(text, part)
        elif kind == "FUNCTION":
            _check_function(text, part)
        elif kind == "CAST":
            _check_cast(text, part)
        else:
            _check_outcome(text, part)


def _with_depth(tree: Node) -> Iterator[tuple[Node, int]]:
    waiting = [(tree, 1)]
    while waiting:
        part, depth = waiting.pop()
        yield part, depth
        waiting += [(child, depth + 1) for child in children(part)]


def children(part: Node) -> list[Node]:
    """The parts directly within ``part``, in the order that they are written."""
    found: list[Node] = []
    for name in ("left", "right", "input", "lower", "upper", "child"):
        if isinstance(part.get(name), dict):
            found.append(part[name])
    if part["class"] != "TYPE":
        found += part.get("children") or []
    found += [argument["expression"] for argument in part.get("arguments") or []]
    for check in part.get("case_checks") or []:
        found += [check["when_expr"], check["then_expr"]]
    if part["class"] == "CASE" and part.get("else_expr"):
        found.append(part["else_expr"])
    return found


def boolean_operands(tree: Node) -> list[Node]:
    """The parts that must be true or false: the whole, what AND, OR and NOT join, and conditions."""
    found = [tree]
    for part in parts(tree):
        if part["class"] == "CONJUNCTION" or part["type"] == "OPERATOR_NOT":
            found += part["children"]
        elif part["class"] == "CASE":
            found += [check["when_expr"] for check in part["case_checks"]]
        elif part["class"] == "FUNCTION" and part["function_name"] == "if":
            found.append(part["arguments"][0]["expression"])
        elif _is_truth_test(part):
            found.append(part["left"]["child"])
    return found


def _is_truth_test(part: Node) -> bool:
    """``x IS TRUE``, which DuckDB writes as a comparison with a cast of its own making."""
    if part["class"] != "COMPARISON":
        return False
    left: Node = part["left"]
    return left["class"] == "CAST" and is_made_up(left)


def _refused(text: str, part: Node, sentence: str) -> InputError:
    start, length = span(text, part) or next(
        (place for child in parts(part) if (place := span(text, child)) is not None), (None, 1)
    )
    return at_place(text, sentence, start, length)


def _check_column(text: str, part: Node) -> None:
    names = part["column_names"]
    name = names[0]
    if len(names) > 1:
        hint = f": write {name}->>'{names[1]}'" if name == "attributes" else ": name the column alone"
        raise _refused(text, part, f"the expression holds {'.'.join(names)[:60]!r}{hint}")
    if name.lower() in COLUMNS:
        return
    if name.lower() in UNSTEADY:
        raise _refused(text, part, f"{name} differs from day to day or from place to place: a policy may not")
    hint = nearest(name.lower(), COLUMNS)
    if hint.startswith("; known"):
        hint = "; what there is: `workbench policy columns`"
    quote = ": texts stand in single quotes" if f'"{name}"' in text else ""
    raise _refused(text, part, f"there is no column {name[:60]!r}{quote}{hint}")


def _check_constant(text: str, part: Node) -> None:
    literal = part["literal"]
    if literal["kind"] not in _KINDS:
        raise _refused(
            text, part, f"the expression holds a literal of a kind that it may not: {literal['kind'].lower()}"
        )
    if literal["kind"] in ("INTEGER", "NUMERIC"):
        number = float(literal["text"].replace("_", ""))
        if not math.isfinite(number) or abs(number) >= 2**63:
            raise _refused(text, part, "a number larger than any column holds")


def _check_function(text: str, part: Node) -> None:
    name, arguments = part["function_name"], part.get("arguments") or []
    if part.get("schema") or part.get("catalog") or len(part["qualified_name"]["path"]) > 1:
        raise _refused(text, part, f"the function {name[:60]}() is called with a prefix: write its name alone")
    if name.lower() in UNSTEADY:
        raise _refused(text, part, f"{name}() differs from day to day or from place to place: a policy may not")
    known = FUNCTIONS.get(name)
    if known is None:
        hint = nearest(name.lower(), [one for one in FUNCTIONS if one.isidentifier()])
        hint = "; what there is: `workbench policy columns`" if hint.startswith("; known") else hint
        what = f"the function {name[:60]}()" if name[:1].isalpha() or name[:1] == "_" else f"the operator {name[:10]}"
        raise _refused(text, part, f"{what} is not among those that a policy may use{hint}")
    if part.get("distinct") or part.get("filter") or part.get("export_state") or part["order_bys"].get("orders"):
        raise _refused(text, part, f"{name}() with DISTINCT, FILTER or ORDER BY: a policy looks at one event")
    if any(argument.get("name") for argument in arguments):
        raise _refused(text, part, f"{name}() with a named argument: give it by its place")
    if not known.least <= len(arguments) <= known.most:
        many = f"{known.least}" if known.least == known.most else f"{known.least} to {known.most}"
        raise _refused(text, part, f"{name}() takes {many} arguments, found {len(arguments)}")
    for place in known.fixed:
        if place < len(arguments) and not is_constant(arguments[place]["expression"]):
            what = f"argument {place + 1} of {name}()" if name.isidentifier() else f"the right side of {_shown(name)}"
            raise _refused(text, arguments[place]["expression"], f"{what} must be a value, not a column")


def _shown(operator: str) -> str:
    return "LIKE" if "~~" in operator else operator


def is_made_up(part: Node) -> bool:
    """Whether DuckDB's parser put ``part`` there itself: it stands nowhere in the text."""
    return span(_SOMEWHERE, part) is None


def is_constant(part: Node) -> bool:
    """Whether ``part`` is the same for every event."""
    return all(one["class"] != "COLUMN_REF" for one in parts(part))


def _check_cast(text: str, part: Node) -> None:
    kind = part["type_expr"]["type_name"].upper()
    if kind not in CAST_TYPES or part["type_expr"].get("children"):
        simple = ", ".join(name for name in CAST_TYPES if name != "INTERVAL")
        raise _refused(text, part, f"a cast to {kind[:40]}: the types of a policy are {simple}")
    if not (part["try_cast"] or is_made_up(part) or kind == "VARCHAR" or is_constant(part["child"])):
        raise _refused(text, part, f"a CAST may fail on an event: use TRY_CAST(... AS {kind}), which gives NULL there")


def _check_outcome(text: str, part: Node) -> None:
    """A word that no outcome is would make a policy that never holds."""
    sides = children(part)
    if not any(one["class"] == "COLUMN_REF" and one["column_names"][0].lower() == "outcome" for one in sides):
        return
    if part["type"] not in ("COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_IN", "COMPARE_NOT_IN"):
        return
    for one in sides:
        if one["class"] == "CONSTANT" and one["literal"]["kind"] == "STRING" and one["literal"]["text"] not in OUTCOMES:
            word = one["literal"]["text"]
            raise _refused(text, one, f"no outcome is {word[:40]!r}{nearest(word, OUTCOMES)}")
