"""The tree of one SQL expression, as DuckDB's own parser makes it, for those who let only some expressions through.

Parsing runs nothing and looks nothing up. Whether a part may stand there is for the caller to say.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import duckdb

__all__ = ["SETTINGS", "Node", "Parsed", "parse_expression", "parts", "span", "sql_of"]

Node = dict[str, Any]

SETTINGS: Final = (
    "SET GLOBAL TimeZone = 'UTC'",
    "SET GLOBAL ieee_floating_point_ops = false",
    "SET GLOBAL error_on_division_by_zero = false",
)
"""What whoever evaluates an expression sets first, for all cursors of a connection. A division by 0 gives NULL then. By
DuckDB's default 0 / 0 is NaN, which counts as more than any number: what nobody could compute would be called true."""

_BEFORE: Final = "SELECT (\n"
_AFTER: Final = "\n) FROM events"
_NOWHERE: Final = 2**64 - 1  # what DuckDB says of parts that it made itself


@dataclass(frozen=True)
class Parsed:
    """``tree`` is the expression's, or None; then ``problem`` says why, and ``start`` where (a character, from 0)."""

    tree: Node | None
    problem: str = ""
    start: int | None = None


def parse_expression(connection: duckdb.DuckDBPyConnection, expression: str) -> Parsed:
    """Parse ``expression`` as the one thing that a SELECT over one table asks for.

    >>> with duckdb.connect() as connection:
    ...     found = parse_expression(connection, "a = 1 AND AND b")
    ...     one = parse_expression(connection, "a = 1")
    >>> found.problem, found.start
    ('syntax error at or near "AND"', 10)
    >>> one.tree["type"]
    'COMPARE_EQUAL'
    """
    try:
        (row,) = connection.execute("SELECT json_serialize_sql(?)", [f"{_BEFORE}{expression}{_AFTER}"]).fetchall()
        parsed = json.loads(row[0])
    except RecursionError:
        return Parsed(None, "nested too deep")
    except (duckdb.Error, UnicodeError):  # a byte or a depth that the parser does not take
        return Parsed(None, "not readable")
    if parsed["error"]:
        position = str(parsed.get("position", ""))
        start = _character(expression, int(position)) if position.isdecimal() else None
        return Parsed(None, str(parsed["error_message"]), start)
    statements = parsed["statements"]
    if len(statements) != 1 or not _is_plain(statements[0]["node"]):
        return Parsed(None, "not one expression over the columns of an event")
    tree: Node = statements[0]["node"]["select_list"][0]
    return Parsed(tree)


def _is_plain(node: Node) -> bool:
    """Whether a SELECT is nothing but one expression over ``events``."""
    plain = {name: node.get(name) for name in ("where_clause", "having", "sample", "qualify")}
    return (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"].get("table_name") == "events"
        and not any(plain.values())
        and not (node["modifiers"] or node["group_sets"] or node["cte_map"]["map"])
    )


def parts(tree: Any) -> Iterator[Node]:
    """Every expression in a parsed tree, the outer before the inner, left to right."""
    waiting = [tree]
    while waiting:
        branch = waiting.pop()
        if isinstance(branch, dict):
            if "class" in branch:
                yield branch
            waiting += reversed(list(branch.values()))
        elif isinstance(branch, list):
            waiting += reversed(branch)


def _character(expression: str, position: int) -> int:
    """DuckDB counts bytes from the start of its statement; people count the characters of what they wrote."""
    before = expression.encode()[: max(0, position - len(_BEFORE))]
    return len(before.decode(errors="ignore"))


def span(expression: str, part: Node) -> tuple[int, int] | None:
    """Where ``part`` stands in ``expression``: first character (from 0) and how many; None if DuckDB does not say."""
    position, length = part.get("query_location", _NOWHERE), part.get("query_location_length", 0)
    if position == _NOWHERE or not len(_BEFORE) <= position < len(_BEFORE) + len(expression.encode()):
        return None
    start = _character(expression, position)
    return start, max(1, _character(expression, position + length) - start)


@cache
def _frame() -> str:
    with duckdb.connect() as connection:
        return str(connection.execute("SELECT json_serialize_sql('SELECT 1')").fetchall()[0][0])


def sql_of(connection: duckdb.DuckDBPyConnection, part: Node) -> str:
    """``part`` as SQL again, spelled the one way that DuckDB spells it.

    >>> with duckdb.connect() as connection:
    ...     sql_of(connection, parse_expression(connection, "NOT  a=1").tree)
    '(NOT (a = 1))'
    """
    frame = json.loads(_frame())
    frame["statements"][0]["node"]["select_list"] = [part]
    written = connection.execute("SELECT json_deserialize_sql(?)", [json.dumps(frame)]).fetchall()[0][0]
    return str(written).removeprefix("SELECT ")
