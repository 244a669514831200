"""A yes-or-no expression over one event's columns, in SQL, that can neither read a file nor differ between two days.

The expression is parsed first and only a whitelist of its parts is let through: columns, constants, comparisons and
functions whose result depends on their arguments alone. Then it runs in a DuckDB of its own whose configuration is
locked and which may open one file, the dataset's.
"""

from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, nearest
from workbench.events.dataset import Dataset
from workbench.events.formats.reading import text
from workbench.events.schema import EVENT_COLUMNS
from workbench.events.sql_tree import SETTINGS, parse_expression, parts

__all__ = ["evaluate"]

_ALLOWED: Final = {
    "COLUMN_REF",
    "CONSTANT",
    "COMPARISON",
    "CONJUNCTION",
    "FUNCTION",
    "OPERATOR",
    "CAST",
    "CASE",
    "BETWEEN",
    "TYPE",
    "COLLATE",
    "LAMBDA",
    "LAMBDA_REF",
}
_REFUSED: Final = {
    "SUBQUERY": "holds a query of its own",
    "WINDOW": "looks at other events",
    "STAR": "holds a *",
    "PARAMETER": "holds a parameter",
}
# Macros that are plain functions of their arguments; DuckDB does not state a macro's stability.
_MACROS: Final = {"nullif", "if", "split_part", "fdiv", "fmod"}


def evaluate(dataset: Dataset, expression: str) -> npt.NDArray[np.int8]:
    """What ``expression`` says of every event, in event order: shape (n,), 1 true, 0 false, -1 neither (NULL).

    The expression is DuckDB's SQL over ``EVENT_COLUMNS``, each by its name; times are UTC, and what is
    divided by 0 is NULL.

    Raises ``InputError`` if it is not an expression, is not boolean, or reaches beyond the event.
    """
    with duckdb.connect() as connection:
        for setting in SETTINGS:
            connection.execute(setting)
        _check(connection, expression)
        rows = str(dataset.path / "events.parquet")
        connection.execute(f"SET allowed_paths = [{text(rows)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        try:
            said = f"SELECT seq, (\n{expression}\n) AS said FROM (SELECT * FROM {dataset.sql}) AS events"
            kind = connection.execute(f"DESCRIBE {said}").fetchall()[1][1]
            if kind != "BOOLEAN":
                raise InputError(f"the expression {_shown(expression)} gives {kind}, expected true or false")
            found = connection.execute(
                f"SELECT coalesce(said::TINYINT, -1)::TINYINT AS said FROM ({said}) ORDER BY seq"
            ).fetchnumpy()
        except duckdb.Error as error:
            sentence = str(error).splitlines()[0].split(": ", 1)[-1]
            raise InputError(f"the expression {_shown(expression)} cannot be used: {sentence}") from error
    return np.asarray(found["said"], dtype=np.int8)


def _shown(expression: str) -> str:
    flat = " ".join(expression.split())
    return repr(flat if len(flat) <= 80 else f"{flat[:77]}...")


def _check(connection: duckdb.DuckDBPyConnection, expression: str) -> None:
    """Raise ``InputError`` unless the expression is one, of allowed parts only."""
    if not expression.strip():
        raise InputError("the expression is empty: expected one such as outcome = 'denied'")
    parsed = parse_expression(connection, expression)
    if parsed.tree is None:
        raise InputError(f"the expression {_shown(expression)} is not SQL: {parsed.problem}")
    steady = {
        str(row[0])
        for row in connection.execute(
            "SELECT function_name FROM duckdb_functions() WHERE function_type = 'scalar' "
            "GROUP BY 1 HAVING bool_and(stability = 'CONSISTENT')"
        ).fetchall()
    }
    for part in parts(parsed.tree):
        _check_part(part, steady | _MACROS, expression)


def _check_part(part: dict[str, Any], functions: set[str], expression: str) -> None:
    kind = part["class"]
    if kind not in _ALLOWED:
        raise InputError(
            f"the expression {_shown(expression)} {_REFUSED.get(kind, f'holds a {kind.lower()}')}: "
            "a label may rest on the columns of its own event only"
        )
    if kind == "FUNCTION" and part["function_name"].lower() not in functions:
        raise InputError(
            f"the expression {_shown(expression)} calls {part['function_name']}(): it is no function of an event's "
            "columns that gives the same on every day"
        )
    if kind == "COLUMN_REF" and len(part["column_names"]) == 1 and part["column_names"][0] not in EVENT_COLUMNS:
        name = part["column_names"][0]
        if not _is_lambda_name(name, expression):
            raise InputError(
                f"the expression {_shown(expression)} names a column {name!r} that events do not have"
                f"{nearest(name, EVENT_COLUMNS)}"
            )


def _is_lambda_name(name: str, expression: str) -> bool:
    """Whether ``name`` may be a variable of a lambda: then DuckDB itself says whether it is bound."""
    return "lambda" in expression.lower() and name != "seq"
