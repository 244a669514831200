"""Kinds of values: where yes or no must stand, and where texts may not meet numbers.

DuckDB turns a text into a number without being asked, and fails on the first event whose text is none. So that no
policy fails on an event long after it was checked, a text that is not a constant may meet texts only.
"""

from collections.abc import Mapping
from typing import Final

from workbench.errors import InputError
from workbench.events.sql_tree import Node, parts, span
from workbench.policies.place import at_place
from workbench.policies.vocabulary import FLAGS
from workbench.policies.walk import boolean_operands, children, is_constant

__all__ = ["check_kinds", "family"]

_NUMBERS: Final = ("DOUBLE", "FLOAT", "DECIMAL", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT")
_FAMILIES: Final = {
    "VARCHAR": "a text",
    "BOOLEAN": "true or false",
    "TIMESTAMP": "a time",
    "DATE": "a time",
    "TIMESTAMP WITH TIME ZONE": "a time",
    "INTERVAL": "a span of time",
}
# Functions whose arguments from this place on are alike, and those that take no text there.
_ALIKE: Final = {"nullif": 0, "greatest": 0, "least": 0, "if": 1}
_TEXTLESS: Final = {
    **dict.fromkeys(("+", "-", "*", "/", "//", "%", "abs", "ceil", "floor", "round", "trunc"), 0),
    **dict.fromkeys(("to_days", "to_hours", "to_minutes", "to_seconds"), 0),
    **dict.fromkeys(("date_part", "date_trunc"), 1),
}


def family(kind: str) -> str:
    """The kind of a value in words; all numbers are one.

    >>> family("DECIMAL(3,1)"), family("VARCHAR")
    ('a number', 'a text')
    """
    return "a number" if kind.startswith(_NUMBERS) else _FAMILIES.get(kind, kind)


def check_kinds(text: str, tree: Node, kinds: Mapping[int, str]) -> None:
    """Raise ``InputError``, at the place, for a part of a kind that may not stand there.

    ``kinds``: DuckDB's type of each part, by ``id``.
    """
    for part in boolean_operands(tree):
        flag = part["class"] == "COLUMN_REF" and part["column_names"][0].lower() in FLAGS
        if kinds[id(part)] != "BOOLEAN" and not flag:
            what = family(kinds[id(part)])
            raise _refused(text, part, f"gives {what}, expected true or false: compare it with something")
    for part in parts(tree):
        if part["class"] == "FUNCTION" and (first := _TEXTLESS.get(part["function_name"])) is not None:
            for child in children(part)[first:]:
                if kinds[id(child)] == "VARCHAR" and not is_constant(child):
                    raise _refused(text, child, "is a text: turn it into a number with TRY_CAST(... AS DOUBLE)")
        _check_alike(text, _alike(part), kinds)


def _alike(part: Node) -> list[Node]:
    """The parts within ``part`` that must be of one kind."""
    if part["class"] in ("COMPARISON", "BETWEEN") or part["type"] in (
        "COMPARE_IN",
        "COMPARE_NOT_IN",
        "OPERATOR_COALESCE",
    ):
        return children(part)
    if part["class"] == "CASE":
        return [check["then_expr"] for check in part["case_checks"]] + [part["else_expr"]]
    if part["class"] == "FUNCTION" and (first := _ALIKE.get(part["function_name"])) is not None:
        return children(part)[first:]
    return []


def _check_alike(text: str, alike: list[Node], kinds: Mapping[int, str]) -> None:
    telling = [one for one in alike if not is_constant(one)]
    texts = [one for one in telling if kinds[id(one)] == "VARCHAR"]
    others = [one for one in alike if kinds[id(one)] != "VARCHAR" and not _is_null(one)]
    if texts and others:
        what = family(kinds[id(others[0])])
        hint = "compare it with a text, in single quotes" if is_constant(others[0]) else "they are never alike"
        kind = {"a number": "DOUBLE", "a time": "TIMESTAMP", "true or false": "BOOLEAN"}.get(what, "VARCHAR")
        raise _refused(text, texts[0], f"is a text and meets {what}: {hint}, or use TRY_CAST(... AS {kind})")


def _is_null(part: Node) -> bool:
    return bool(part["class"] == "CONSTANT" and part["literal"]["kind"] == "NULL_LITERAL")


def _refused(text: str, part: Node, what: str) -> InputError:
    place = span(text, part)
    if place is None:
        return at_place(text, f"a part of the expression {what}", None)
    start, length = place
    shown = " ".join(text[start : start + length].split())
    return at_place(text, f"{shown if len(shown) <= 60 else 'this part'} {what}", start, length)
