"""Parquet files, through a mapping or with our own column names."""

import duckdb

from workbench.events.formats.reading import IngestOptions, Source, path_text
from workbench.events.formats.table import column_reader, map_rows, mapping_for

__all__ = ["looks_like", "select"]


def looks_like(head: str, name: str) -> bool:  # noqa: ARG001  # every format has the same shape
    return head.startswith("PAR1")


def select(connection: duckdb.DuckDBPyConnection, source: Source, options: IngestOptions) -> str:
    rows = f"read_parquet({path_text(source.path)}, file_row_number=true)"
    present = [str(row[0]) for row in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()]
    present.remove("file_row_number")
    mapping = mapping_for(options, "parquet", present, source.name)
    connection.execute("CREATE OR REPLACE TEMP TABLE misread (record BIGINT, reason VARCHAR, raw VARCHAR)")
    return map_rows(f"(SELECT file_row_number + 1 AS record, * FROM {rows})", mapping, options, column_reader)
