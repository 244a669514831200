"""Expressions over a whole dataset: one DuckDB query over Parquet files that lie side by side.

Events, features and scores stand in the same order, so they are joined by place (POSITIONAL JOIN), which reads each
file once and builds nothing. DuckDB runs such a join on one thread; here the rows are cut into runs of whole row
groups, one thread each, of which the files' own statistics let DuckDB skip the others.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InputError, IntegrityError
from workbench.events import EVENT_COLUMNS, Dataset
from workbench.events.formats.reading import path_text, quoted, text
from workbench.events.sql_tree import SETTINGS
from workbench.features.stored import StoredFeatures
from workbench.policies.expression import Expression
from workbench.policies.vocabulary import RISK

__all__ = ["Inputs", "find_hits", "open_database", "write_scores"]

_ROW_GROUP: Final = 122_880  # rows; DuckDB's, so that runs begin where row groups do
_MOST_THREADS: Final = 8
_KEPT: Final = '"user", source, action, CAST("timestamp" AS DATE) AS day'


@dataclass(frozen=True)
class Inputs:
    """What an expression is evaluated over. ``features`` and ``risk`` (a Parquet file with a column ``risk``) are rows
    in the dataset's order, or None where no expression needs them."""

    dataset: Dataset
    features: StoredFeatures | None = None
    risk: Path | None = None

    def relation(self, low: int, high: int, columns: frozenset[str], *, labels: bool) -> str:
        """The FROM item of the rows from ``low`` up to but not including ``high``: ``seq``, the event, the features and
        risk among ``columns``, and ``y`` with ``labels``."""
        events = ", ".join(quoted(name) for name in EVENT_COLUMNS)
        joined = _run(self.dataset.path / "events.parquet", f"file_row_number AS seq, {events}", low, high, "event")
        features = [name for name in (self.features.spec.columns if self.features else ()) if name in columns]
        taken = [quoted(name) for name in features] + ["y"] * labels
        if self.features is not None and taken:
            path = self.features.path / "features.parquet"
            joined += " POSITIONAL JOIN " + _run(path, ", ".join(taken), low, high, "feature")
        if self.risk is not None and RISK in columns:
            joined += " POSITIONAL JOIN " + _run(self.risk, RISK, low, high, "score")
        return joined

    def check(self) -> None:
        """Raise ``IntegrityError`` unless all have a row for each event."""
        if self.features is not None and self.features.rows != self.dataset.rows:
            raise IntegrityError(
                f"feature table {self.features.digest[:12]} has {self.features.rows:,} rows, its dataset "
                f"{self.dataset.rows:,}"
            )

    @property
    def paths(self) -> list[Path]:
        """Every file that is read."""
        features = [] if self.features is None else [self.features.path / "features.parquet"]
        return [self.dataset.path / "events.parquet", *features, *([] if self.risk is None else [self.risk])]


def _run(path: Path, columns: str, low: int, high: int, name: str) -> str:
    within = f"file_row_number >= {low} AND file_row_number < {high}"
    return f"(SELECT {columns} FROM read_parquet({path_text(path)}, file_row_number=true) WHERE {within}) AS {name}"


def open_database(inputs: Inputs, scratch: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB, set as expressions need it, that may read the inputs, spill to ``scratch``, and no more."""
    connection = duckdb.connect()
    for setting in SETTINGS:
        connection.execute(setting)
    connection.execute(f"SET temp_directory = {text(str(scratch / 'spill'))}")
    connection.execute(f"SET allowed_paths = [{', '.join(text(str(path)) for path in inputs.paths)}]")
    connection.execute(f"SET allowed_directories = [{text(str(scratch))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def find_hits(
    connection: duckdb.DuckDBPyConnection,
    inputs: Inputs,
    expressions: Sequence[Expression],
    *,
    labels: bool,
    threads: int | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> list[int]:
    """Make the table ``hits``: of each event that any of ``expressions`` flags, ``seq``, user, source, action, day
    (UTC), ``y`` (1, 0, or -1 where nobody said anything) and ``hit_0``, ``hit_1`` ..., true where that one flags it.

    Returns of each expression on how many events it is NULL. Raises ``InputError`` if one fails on an event.
    """
    inputs.check()
    columns = frozenset().union(*(one.columns for one in expressions))
    verdicts = ", ".join(f"coalesce({one.sql}, false) AS hit_{place}" for place, one in enumerate(expressions))
    any_of = " OR ".join(one.sql for one in expressions)
    unknown = [place for place, one in enumerate(expressions) if one.may_be_unknown]
    counted = ", ".join(f"count(*) FILTER (({expressions[place].sql}) IS NULL)" for place in unknown)
    said = "y" if labels else "CAST(-1 AS TINYINT) AS y"

    def one_run(number: int, bounds: tuple[int, int]) -> list[int]:
        """The hits of one run, into a table of its own; the counts of NULL."""
        relation = inputs.relation(*bounds, columns, labels=labels)
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TABLE hits_{number} AS SELECT seq, {_KEPT}, {said}, {verdicts} FROM {relation} WHERE {any_of}"
            )
            return list(cursor.execute(f"SELECT {counted} FROM {relation}").fetchall()[0]) if unknown else []

    runs = list(pairwise(_cuts(inputs.dataset.rows, threads)))
    progress(f"evaluating over {inputs.dataset.rows:,} events")
    try:
        with ThreadPoolExecutor(len(runs)) as pool:
            found = list(pool.map(one_run, range(len(runs)), runs))
    except duckdb.Error as error:
        sentence = str(error).splitlines()[0].split(": ", 1)[-1]
        raise InputError(f"an expression cannot be evaluated on every event of the dataset: {sentence}") from error
    tables = " UNION ALL ".join(f"FROM hits_{number}" for number in range(len(runs)))
    connection.execute(f"CREATE VIEW hits AS {tables}")
    counts = [0] * len(expressions)
    for several in found:
        for place, count in zip(unknown, several, strict=True):
            counts[place] += int(count)
    return counts


def _cuts(rows: int, threads: int | None) -> list[int]:
    """Where runs begin and end: at row groups, of about the same number of rows."""
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    groups = max(1, -(-rows // _ROW_GROUP))
    many = min(threads, _MOST_THREADS, groups)
    return [*(groups * part // many * _ROW_GROUP for part in range(many)), rows]


def write_scores(scores: npt.NDArray[np.float64], path: Path) -> None:
    """Write ``scores`` (shape (n,), in event order) as a Parquet file with a column ``risk``; NaN becomes NULL."""
    frame = pd.DataFrame({RISK: scores})
    with duckdb.connect() as connection:
        connection.register("scores", frame)
        rows = f"SELECT CASE WHEN NOT isnan({RISK}) THEN {RISK} END AS {RISK} FROM scores"
        connection.execute(f"COPY ({rows}) TO {text(str(path))} (FORMAT parquet)")
