"""What all formats share: loading a file so that every record keeps its number, and making wide rows."""

import glob
import gzip
from dataclasses import dataclass
from pathlib import Path

import duckdb

from workbench.events.mapping import Mapping
from workbench.events.schema import ABSENT, OUTCOMES, WIDE_COLUMNS

__all__ = ["IngestOptions", "Source", "load_csv", "load_lines", "path_text", "quoted", "text", "wide"]


@dataclass(frozen=True)
class Source:
    """One input file. ``name`` is what the user called it, without folders."""

    path: Path
    name: str
    sha256: str
    size: int  # bytes
    gzipped: bool
    head: str  # the first kilobytes, decompressed, undecodable bytes replaced


@dataclass(frozen=True)
class IngestOptions:
    """What only the user can know about a source.

    ``year`` is that of the first stamp, for syslog stamps without one; ``timezone`` (IANA name or ``+HH:MM``) is
    that of stamps without an offset.
    """

    mapping: Mapping | None = None
    year: int | None = None
    timezone: str | None = None
    encoding: str = "utf-8"


def text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def path_text(path: Path) -> str:
    """A path as a SQL string literal for DuckDB's readers, which would take ``[1]``, ``*`` and ``?`` for a pattern.

    >>> path_text(Path("/logs/access[1].log"))
    "'/logs/access[[]1].log'"
    """
    return text(glob.escape(str(path)))


def quoted(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def load_csv(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    columns: list[str],
    *,
    skip: int,
    delimiter: str,
    quote: str,
    encoding: str,
) -> None:
    """Load a delimited file into ``numbered(record, <columns> VARCHAR)`` and ``misread(record, reason, raw)``.

    ``record`` counts from 1 with the header and empty lines, a quoted line break not counting. DuckDB reads in parallel
    and gives no record numbers; a table's ``rowid`` does, once the records that DuckDB refused or passed over before
    each row are added. An empty line is in ``misread`` with no reason.
    """
    for table in ("loaded", "refused", "refused_scans", "misread"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    shape = ", ".join(f"{text(name)}: 'VARCHAR'" for name in columns)
    connection.execute(
        f"CREATE TEMP TABLE loaded AS SELECT * FROM read_csv({path_text(source.path)}, columns={{{shape}}}, "
        f"header=false, skip={skip}, auto_detect=false, delim={text(delimiter)}, quote={text(quote)}, "
        f"escape={text(quote)}, comment='', encoding={text(encoding)}, "
        f"compression={text('gzip' if source.gzipped else 'none')}, "
        "store_rejects=true, rejects_table='refused', rejects_scan='refused_scans')"
    )
    connection.execute(
        "CREATE TEMP TABLE misread AS SELECT line::BIGINT AS record, any_value(csv_line) AS raw, "
        "CASE any_value(error_type) WHEN 'MISSING COLUMNS' THEN 'too few columns' "
        "WHEN 'TOO MANY COLUMNS' THEN 'too many columns' "
        "WHEN 'INVALID ENCODING' THEN 'not valid text in this encoding' "
        "WHEN 'UNQUOTED VALUE' THEN 'a quote that never closes' WHEN 'LINE SIZE OVER MAXIMUM' THEN 'line too long' "
        "ELSE lower(any_value(error_type)::VARCHAR) END AS reason FROM refused GROUP BY line"
    )
    if len(columns) > 1 and (encoding == "utf-16" or _has_empty_lines(source)):
        _find_empty_lines(connection, source, skip=skip, quote=quote, encoding=encoding)
    connection.execute(
        f"""CREATE OR REPLACE TEMP VIEW numbered AS
        WITH gaps AS (
            SELECT good_before, max(nth) AS refused_before FROM (
                SELECT record - {skip} - row_number() OVER (ORDER BY record) AS good_before,
                       row_number() OVER (ORDER BY record) AS nth FROM misread)
            GROUP BY good_before)
        SELECT loaded.rowid + 1 + {skip} + coalesce(gaps.refused_before, 0) AS record, loaded.*
        FROM loaded ASOF LEFT JOIN gaps ON loaded.rowid >= gaps.good_before"""
        if connection.execute("SELECT count(*) FROM misread").fetchall()[0][0]
        else f"CREATE OR REPLACE TEMP VIEW numbered AS SELECT rowid + 1 + {skip} AS record, * FROM loaded"
    )


def _has_empty_lines(source: Source) -> bool:
    """Whether there may be any: a glance at the bytes, far cheaper than looking for them."""
    with gzip.open(source.path) if source.gzipped else source.path.open("rb") as file:
        before = b"\r\n"
        while piece := file.read(1 << 20):
            around = before + piece
            if b"\n\n" in around or (b"\r" in around and (b"\r\n\r" in around or b"\r\r" in around)):
                return True
            before = around[-2:]
    return False


def _find_empty_lines(
    connection: duckdb.DuckDBPyConnection, source: Source, *, skip: int, quote: str, encoding: str
) -> None:
    """Add the empty lines outside quotes to ``misread``; DuckDB passes them over but counts them in what it refuses."""
    unmarked = "latin-1" if encoding == "utf-8" else encoding  # so that no line is refused for its bytes
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE lines AS SELECT * FROM read_csv({path_text(source.path)},
            columns={{'line': 'VARCHAR'}}, header=false, skip={skip}, auto_detect=false, delim='\x01', quote='',
            escape='', comment='', encoding={text(unmarked)}, max_line_size=100000000,
            compression={text("gzip" if source.gzipped else "none")})"""
    )
    quotes = f"length(line) - length(replace(line, {text(quote)}, ''))" if quote else "0"
    connection.execute(
        f"""INSERT INTO misread (record)
        SELECT record FROM (
            SELECT line, {skip} + row_number() OVER (ORDER BY rowid) AS record FROM (
                SELECT rowid, line, coalesce(sum({quotes}) OVER (
                    ORDER BY rowid ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) % 2 = 0 AS begins FROM lines)
            WHERE begins)
        WHERE line IS NULL AND record NOT IN (SELECT record FROM misread)"""
    )
    connection.execute("DROP TABLE lines")


def load_lines(connection: duckdb.DuckDBPyConnection, source: Source, encoding: str) -> None:
    """Load a text file into ``numbered(record, line)`` and ``misread``; ``record`` is the line number from 1."""
    load_csv(connection, source, ["line"], skip=0, delimiter="\x01", quote="", encoding=encoding)


def wide(origin: str, fields: dict[str, str]) -> str:
    """The SELECT that gives ``origin``'s rows the shape of ``WIDE_COLUMNS`` (but ``file``, which ingest adds).

    ``fields`` maps column names to SQL expressions; a missing one is NULL, or ``ABSENT`` for a key. A row without
    timestamp, user or action is rejected here if the format did not do so itself.
    """
    fields = {"attributes": "'{}'", "utc_offset_min": "0", "outcome": "'unknown'", **fields}
    keys = ("user", "source", "ip", "action", "resource")
    parts = []
    for name, kind in WIDE_COLUMNS.items():
        expression = fields.get(name, "NULL")
        if name in keys:
            expression = f"coalesce(nullif({expression}, ''), '{ABSENT}')"
        if name not in ("file", "rejected"):
            parts.append(f"CAST({expression} AS {kind}) AS {quoted(name)}")
    inner = f"SELECT {', '.join(parts)}, CAST({fields.get('rejected', 'NULL')} AS VARCHAR) AS stated FROM {origin}"
    known = ", ".join(text(outcome) for outcome in OUTCOMES)
    judged = f"""SELECT * EXCLUDE (stated), CASE
            WHEN skipped IS NOT NULL THEN NULL
            WHEN stated IS NOT NULL THEN stated
            WHEN "timestamp" IS NULL THEN 'the timestamp does not parse'
            WHEN "timestamp" < TIMESTAMP '1970-01-01' THEN 'the timestamp is before 1970'
            WHEN "timestamp" > TIMESTAMP '2200-01-01' THEN 'the timestamp is after 2200'
            WHEN outcome NOT IN ({known}) THEN 'outcome is none of {", ".join(OUTCOMES)}'
        END AS rejected FROM ({inner})"""
    return f"SELECT * REPLACE (CASE WHEN rejected IS NOT NULL THEN raw END AS raw) FROM ({judged})"
