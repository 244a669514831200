"""The expression of a policy: a boolean SQL expression over one event, its features and its risk, and nothing else.

Four gates, each refusing with the place: its spelling (``spelling``); DuckDB's own parser; a walk over the tree that
lets through only what ``vocabulary`` and ``walk`` name; and DuckDB's binder, against an empty table of the columns and
one made-up row, in a database of its own that can open nothing. An event is flagged where the expression is true; where
it is false or NULL (unknown), it is not.
"""

import os
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Final

import duckdb

from workbench.errors import InputError
from workbench.events.sql_tree import SETTINGS, Node, parse_expression, parts, span, sql_of
from workbench.policies.kinds import check_kinds
from workbench.policies.place import at_place
from workbench.policies.spelling import check_spelling
from workbench.policies.vocabulary import COLUMNS, FUNCTIONS, RISK, feature_columns
from workbench.policies.walk import check_tree

__all__ = ["Expression"]

_COLUMNS: Final = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
_PROBE: Final = {
    "timestamp": "TIMESTAMP '2025-01-06 12:00:00'",
    "utc_offset_min": "60",
    "outcome": "'success'",
    "attributes": "'{}'",
}
_ROW: Final = ", ".join(
    _PROBE.get(name, "'probe'" if kind == "VARCHAR" else "0.5" if name == RISK else "1")
    for name, kind in COLUMNS.items()
)


@dataclass(frozen=True)
class Expression:
    """An expression that may be evaluated. ``tree`` is DuckDB's, ``columns`` are those that it names.

    >>> one = Expression.parse("action = 'export' AND off_hours AND events_24h > 40")
    >>> sorted(one.columns), one.features, one.needs_risk
    (['action', 'events_24h', 'off_hours'], ('off_hours', 'events_24h'), False)
    """

    text: str
    tree: Node = field(repr=False, compare=False, hash=False)
    columns: frozenset[str] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Expression":
        """Check ``text``. Raises ``InputError`` that says what may not stand there, and where."""
        return _parsed(text.strip())

    @property
    def features(self) -> tuple[str, ...]:
        """The features that it names, in the order of their definition."""
        return feature_columns(self.columns)

    @property
    def needs_risk(self) -> bool:
        """Whether it names ``risk``, which a model gives."""
        return RISK in self.columns

    @cached_property
    def may_be_unknown(self) -> bool:
        """Whether it may be NULL on an event, so far as its parts tell; NULL flags nothing."""
        return any(_may_be_null(part) for part in parts(self.tree))

    @property
    def sql(self) -> str:
        """As a boolean for a SELECT or a WHERE, the text on lines of its own."""
        return f"CAST((\n{self.text}\n) AS BOOLEAN)"


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:  # noqa: ARG001  # a fork must not use its parent's
    """One row of made-up events, in a database that can open nothing, for all checks of this process."""
    connection = duckdb.connect(config={"enable_external_access": "false"})
    for setting in (*SETTINGS, f"CREATE TABLE events ({_COLUMNS})", f"INSERT INTO events VALUES ({_ROW})"):
        connection.execute(setting)
    connection.execute("SET lock_configuration = true")
    return connection


@lru_cache(maxsize=256)
def _parsed(text: str) -> Expression:
    check_spelling(text)
    with _database(os.getpid()).cursor() as connection:
        parsed = parse_expression(connection, text)
        if parsed.tree is None:
            word = text[parsed.start :].split(maxsplit=1)[:1]
            length = len(word[0]) if word else 1
            raise at_place(text, f"the expression is not SQL: {parsed.problem}", parsed.start, length)
        check_tree(text, parsed.tree)
        _check_types(connection, text, parsed.tree)
    named = {part["column_names"][0].lower() for part in parts(parsed.tree) if part["class"] == "COLUMN_REF"}
    if not named:
        raise at_place(text, "the expression names no column: it says the same of every event", 0, len(text))
    return Expression(text, parsed.tree, frozenset(named))


def _may_be_null(part: Node) -> bool:
    if part["class"] == "FUNCTION":
        return FUNCTIONS[part["function_name"]].nullable
    if part["class"] == "CAST":
        return bool(part["try_cast"])
    if part["class"] == "CONSTANT":
        return bool(part["literal"]["kind"] == "NULL_LITERAL")
    return bool(part["class"] == "COLUMN_REF" and part["column_names"][0].lower() == RISK)


def _check_types(connection: duckdb.DuckDBPyConnection, text: str, tree: Node) -> None:
    """Bind, evaluate on one row, and see that yes or no, and texts, stand only where they may."""
    try:
        connection.execute(f"DESCRIBE SELECT (\n{text}\n) FROM events").fetchall()
    except duckdb.Error as error:
        raise _pointed(connection, text, tree, error) from error
    listed = [part for part in parts(tree) if part["class"] != "TYPE"]
    asked = ", ".join(f"({sql_of(connection, part)}) AS c{place}" for place, part in enumerate(listed))
    described = connection.execute(f"DESCRIBE SELECT {asked} FROM events").fetchall()
    kinds = {id(part): str(row[1]) for part, row in zip(listed, described, strict=True)}
    check_kinds(text, tree, kinds)
    try:
        connection.execute(f"SELECT (\n{text}\n) FROM events").fetchall()
    except duckdb.Error as error:
        raise _pointed(connection, text, tree, error) from error


def _pointed(connection: duckdb.DuckDBPyConnection, text: str, tree: Node, error: duckdb.Error) -> InputError:
    """What DuckDB refused, at the smallest part that it refuses when that stands alone."""
    found, sentence = None, _sentence(error)
    for part in parts(tree):
        if part["class"] == "TYPE":
            continue
        try:
            connection.execute(f"SELECT ({sql_of(connection, part)}) FROM events").fetchall()
        except duckdb.Error as smaller:
            if (place := span(text, part)) is not None:
                found, sentence = place, _sentence(smaller)
    start, length = found or (None, 1)
    return at_place(text, f"the expression cannot be evaluated: {sentence}", start, length)


def _sentence(error: duckdb.Error) -> str:
    """The first sentence of DuckDB's message, without its name for the kind of error."""
    if "'probe'" in str(error):
        return "a text column stands where a number or a truth value is expected; texts stand in single quotes"
    first = str(error).split("\n", 1)[0].split(": ", 1)[-1]
    return first.split(". ", 1)[0].rstrip(" .") or "DuckDB refuses it"
