"""One file a format: how its records become the columns of ``schema.WIDE_COLUMNS``, said in SQL.

Each module has ``looks_like(head, name)`` (is this such a file?) and ``select(connection, source, options)``,
which loads the source into temporary tables and returns a SELECT over them. No Python touches single rows.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import duckdb

from workbench.events.formats import cloudtrail, combined, csv, jsonl, openssh, parquet
from workbench.events.formats.reading import IngestOptions, Source

__all__ = ["FORMATS", "Format", "IngestOptions", "Source", "detect"]


class Format(NamedTuple):
    looks_like: Callable[[str, str], bool]
    select: Callable[[duckdb.DuckDBPyConnection, Source, IngestOptions], str]


# In the order of detection: the most particular first.
FORMATS: Final = {
    "parquet": Format(parquet.looks_like, parquet.select),
    "cloudtrail": Format(cloudtrail.looks_like, cloudtrail.select),
    "jsonl": Format(jsonl.looks_like, jsonl.select),
    "combined": Format(combined.looks_like, combined.select),
    "openssh": Format(openssh.looks_like, openssh.select),
    "csv": Format(csv.looks_like, csv.select),
}


def detect(source: Source) -> str | None:
    """The format of a source by its first kilobytes and its name, or None."""
    return next((name for name, form in FORMATS.items() if form.looks_like(source.head, source.name)), None)
