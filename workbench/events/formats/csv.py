"""Delimited text with a header, or with names given by the mapping."""

import csv as stdlib_csv
import io

import duckdb

from workbench.errors import InputError
from workbench.events.formats.reading import IngestOptions, Source, load_csv, quoted, text
from workbench.events.formats.table import column_reader, map_rows, mapping_for
from workbench.events.mapping import CsvDialect

__all__ = ["delimiter_of", "header_of", "looks_like", "select"]


def looks_like(head: str, name: str) -> bool:
    first = head.split("\n", 1)[0]
    return name.removesuffix(".gz").endswith((".csv", ".tsv")) or any(first.count(mark) >= 2 for mark in ",;\t")


def delimiter_of(source: Source, dialect: CsvDialect) -> str:
    """The delimiter that the dialect states, else what the first line shows: two tabs, or a comma."""
    if dialect.delimiter is not None:
        return dialect.delimiter
    return "\t" if source.head.split("\n", 1)[0].count("\t") >= 2 else ","


def header_of(source: Source, dialect: CsvDialect, delimiter: str) -> tuple[list[str], int]:
    """Column names, and the number of lines before the data."""
    if dialect.names is not None:
        return dialect.names, dialect.skip
    # Python's reader wants a single character; DuckDB's takes up to four.
    head = source.head.removeprefix("\ufeff").replace(delimiter, delimiter[0])
    reader = stdlib_csv.reader(
        io.StringIO(head, newline=None),
        delimiter=delimiter[0],
        **({"quotechar": dialect.quote} if dialect.quote else {"quoting": stdlib_csv.QUOTE_NONE}),
    )
    for _ in range(dialect.skip):
        next(reader, None)
    names = next(reader, [])
    if len(set(names)) != len(names) or not all(names):
        raise InputError(
            f"{source.name}: the header has empty or repeated column names; give them in the mapping (csv.names)"
        )
    return names, dialect.skip + 1


def select(connection: duckdb.DuckDBPyConnection, source: Source, options: IngestOptions) -> str:
    dialect = options.mapping.csv if options.mapping is not None else CsvDialect()
    delimiter = delimiter_of(source, dialect)
    names, skip = header_of(source, dialect, delimiter)
    mapping = mapping_for(options, "csv", names, source.name)
    encoding = dialect.encoding if dialect.encoding != "utf-8" else options.encoding
    load_csv(
        connection,
        source,
        names,
        skip=skip,
        delimiter=delimiter,
        quote=dialect.quote,
        encoding=encoding,
    )
    cells = ", ".join(f"coalesce({quoted(name)}, '')" for name in names)
    raw = f"concat_ws({text(delimiter)}, {cells})"
    return map_rows("numbered", mapping, options, column_reader, raw)
