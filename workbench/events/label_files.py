"""Files of labels (CSV, Parquet, JSON lines), and the mapping that says which of their columns means what.

format: csv
columns:
  event_id: id
  label: verdict
  labelled_at: {column: decided, timezone: Europe/Berlin}
  labelled_by: reviewer
  reason: note
meaning: {bad: violation, fine: compliant, unsure: null}
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import duckdb
from pydantic import BeforeValidator, Field

from workbench.documents import Strict, read_document
from workbench.errors import InputError, MappingError, nearest
from workbench.events.formats import detect
from workbench.events.formats.csv import delimiter_of, header_of
from workbench.events.formats.jsonl import IS_OBJECT, path_of
from workbench.events.formats.reading import IngestOptions, Source, load_csv, load_lines, path_text, text
from workbench.events.formats.table import column_reader, field_sql
from workbench.events.formats.times import NEEDS_TIMEZONE, moment
from workbench.events.mapping import AnyField, CsvDialect, LabelMeaning, TimeField, short_field

__all__ = ["LabelColumns", "LabelMapping", "load_label_mapping", "read_labels"]

Cell = Callable[[str], str]
Kind = Literal["csv", "parquet", "jsonl"]

_KINDS: Final = ("csv", "parquet", "jsonl")


class LabelColumns(Strict):
    """Where each field of a label stands. What is left out is given on the command line (``--by``, ``--at``)."""

    event_id: AnyField
    label: str = Field(description="Column of the source's own word")
    labelled_at: Annotated[TimeField, BeforeValidator(short_field)] | None = None
    labelled_by: AnyField | None = None
    reason: AnyField | None = None


class LabelMapping(Strict):
    """A whole label mapping file."""

    format: Kind
    csv: CsvDialect = CsvDialect()
    columns: LabelColumns
    meaning: LabelMeaning = Field(
        default={"violation": "violation", "compliant": "compliant"},
        description="Source value to label; null means no label; every value that occurs must be listed",
    )

    def used_columns(self) -> list[str]:
        """Every source column this mapping reads."""
        columns = self.columns
        used = [columns.label, columns.labelled_at.column if columns.labelled_at is not None else None]
        used += [f.column for f in (columns.event_id, columns.labelled_by, columns.reason) if f is not None]
        return list(dict.fromkeys(column for column in used if column is not None))

    @classmethod
    def identity(cls, kind: Kind, present: list[str], name: str) -> "LabelMapping":
        """The mapping for a table whose columns already bear our names. Raises ``MappingError`` if they do not."""
        if not set(present) >= {"event_id", "label"}:
            raise MappingError(
                f"{name}: expected the columns event_id and label (and labelled_at, labelled_by, reason), or a mapping "
                f"file (--map); columns found: {', '.join(present)}"
            )
        found: dict[str, Any] = {column: column for column in LabelColumns.model_fields if column in present}
        return cls(format=kind, columns=LabelColumns.model_validate(found))


def load_label_mapping(path: Path) -> LabelMapping:
    """Read a label mapping file. Raises ``MappingError`` naming the place and what is wrong there."""
    return read_document(path, LabelMapping, what="label mapping file", error=MappingError)


def read_labels(
    connection: duckdb.DuckDBPyConnection,
    sources: list[Source],
    mapping: LabelMapping | None,
    options: IngestOptions,
) -> tuple[bool, bool]:
    """Read ``sources`` into the table ``given(file, record, event_id, word, label, labelled_at, labelled_by, reason)``.

    ``word`` is the source's own, ``label`` what it means, NULL where it means none. Returns whether the files
    say when and by whom. Raises ``InputError`` for a file or record that does not parse, ``MappingError`` for a column
    that is not there or a word that the mapping does not list.
    """
    connection.execute(
        "CREATE TEMP TABLE given (file INTEGER, record BIGINT, event_id VARCHAR, word VARCHAR, label VARCHAR, "
        "labelled_at TIMESTAMP, labelled_by VARCHAR, reason VARCHAR)"
    )
    says = set()
    for index, source in enumerate(sources):
        try:
            says.add(_read(connection, index, source, mapping, options))
        except duckdb.Error as error:
            sentence = str(error).splitlines()[0].split(": ", 1)[-1].replace(str(source.path), source.name)
            raise InputError(f"{source.name!r} cannot be read: {sentence}") from error
    if len(says) > 1:
        raise MappingError("some files say who labelled and when, others do not: attach them one after the other")
    return says.pop()


def _read(
    connection: duckdb.DuckDBPyConnection,
    index: int,
    source: Source,
    mapping: LabelMapping | None,
    options: IngestOptions,
) -> tuple[bool, bool]:
    kind = mapping.format if mapping is not None else detect(source)
    if kind not in _KINDS:
        raise InputError(f"{source.name!r}: labels are read from csv, parquet or jsonl; say which in a mapping (--map)")
    relation, present, cell = _opened(connection, kind, source, mapping, options)
    found = mapping or LabelMapping.identity(kind, present, source.name)  # type: ignore[arg-type]  # one of _KINDS
    for column in found.used_columns():
        if column not in present and not (kind == "jsonl" and column.startswith("$")):
            raise MappingError(
                f"{source.name}: the mapping names a column {column!r} that is not there{nearest(column, present)}"
            )
    columns = found.columns
    word = f"nullif({cell(columns.label)}, '')"
    meant = " ".join(f"WHEN {text(w)} THEN {text(m) if m else 'NULL'}" for w, m in found.meaning.items())
    when = None
    if columns.labelled_at is not None:
        when = moment(cell(columns.labelled_at.column), columns.labelled_at, options.timezone)
        _ask_for_timezone(connection, relation, when.rejected, source)
    _refuse_misread(connection, source)
    connection.execute(
        f"""INSERT INTO given SELECT {index}, record, {field_sql(columns.event_id, cell)},
            {word}, CASE {word} {meant} END, {when.utc if when else "NULL"}, {field_sql(columns.labelled_by, cell)},
            coalesce({field_sql(columns.reason, cell)}, '') FROM {relation} ORDER BY record"""
    )
    _check_words(connection, index, source, list(found.meaning))
    return columns.labelled_at is not None, columns.labelled_by is not None


def _opened(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    source: Source,
    mapping: LabelMapping | None,
    options: IngestOptions,
) -> tuple[str, list[str], Cell]:
    """A relation with ``record``, its columns, and how to read one; ``misread`` holds what did not parse."""
    if kind == "csv":
        dialect = mapping.csv if mapping is not None else CsvDialect()
        delimiter = delimiter_of(source, dialect)
        names, skip = header_of(source, dialect, delimiter)
        load_csv(
            connection,
            source,
            names,
            skip=skip,
            delimiter=delimiter,
            quote=dialect.quote,
            encoding=dialect.encoding if dialect.encoding != "utf-8" else options.encoding,
        )
        return "numbered", names, column_reader
    if kind == "jsonl":
        load_lines(connection, source, options.encoding)
        connection.execute(
            f"INSERT INTO misread SELECT record, 'not a JSON object', line FROM numbered "
            f"WHERE line IS NOT NULL AND NOT {IS_OBJECT}"
        )
        rows = f"(SELECT record, line FROM numbered WHERE {IS_OBJECT})"
        keys = connection.execute(f"SELECT DISTINCT unnest(json_keys(line)) AS key FROM {rows} ORDER BY 1").fetchall()
        return rows, [str(key[0]) for key in keys], lambda column: f"json_extract_string(line, {text(path_of(column))})"
    connection.execute("CREATE OR REPLACE TEMP TABLE misread (record BIGINT, reason VARCHAR, raw VARCHAR)")
    rows = (
        f"(SELECT file_row_number + 1 AS record, * FROM read_parquet({path_text(source.path)}, file_row_number=true))"
    )
    found = connection.execute(f"DESCRIBE SELECT * EXCLUDE (record, file_row_number) FROM {rows}").fetchall()
    return rows, [str(column[0]) for column in found], column_reader


def _refuse_misread(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    rows = connection.execute(
        "SELECT record, reason, count(*) OVER () FROM misread WHERE reason IS NOT NULL ORDER BY record LIMIT 1"
    ).fetchall()
    if rows:
        record, reason, count = rows[0]
        raise InputError(
            f"{source.name!r}: {count:,} of its records do not parse; the first is record {record}: {reason}; "
            "nothing was written"
        )


def _ask_for_timezone(connection: duckdb.DuckDBPyConnection, relation: str, rejected: str, source: Source) -> None:
    rows = connection.execute(
        f"SELECT record FROM {relation} WHERE ({rejected}) = {text(NEEDS_TIMEZONE)} ORDER BY record LIMIT 1"
    ).fetchall()
    if rows:
        raise InputError(
            f"{source.name}: labelled_at of record {rows[0][0]} has no time zone; "
            "say which with --timezone (for example --timezone UTC or --timezone Europe/Berlin)"
        )


def _check_words(connection: duckdb.DuckDBPyConnection, index: int, source: Source, known: list[str]) -> None:
    """Refuse words that the mapping does not list: a typo in it would otherwise drop labels without a word."""
    listed = ", ".join(text(word) for word in known)
    rows = connection.execute(
        f"SELECT word, record, count(*) OVER () FROM given WHERE file = {index} AND word NOT IN ({listed}) "
        "ORDER BY record LIMIT 1"
    ).fetchall()
    if rows:
        word, record, count = rows[0]
        raise MappingError(
            f"{source.name!r}: {count:,} label{'s' if count > 1 else ''} not among {', '.join(known)}; the first is "
            f"{word!r} in record {record}: give a mapping (--map) whose 'meaning' lists every word, null where it "
            "is no label; nothing was written"
        )
