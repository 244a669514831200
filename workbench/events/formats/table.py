"""Rows with named columns (CSV, Parquet, JSON lines) through a mapping."""

from collections.abc import Callable

from workbench.errors import MappingError, nearest
from workbench.events.formats.reading import IngestOptions, quoted, text, wide
from workbench.events.formats.times import moment
from workbench.events.mapping import FieldSource, LabelField, Mapping, TimeField

__all__ = ["UNLISTED", "check_columns", "column_reader", "field_sql", "map_rows", "mapping_for"]

# Stands before a label word that the mapping does not list; ingest refuses such words, so that a typo drops no label.
UNLISTED = "?"

_REQUIRED = {"timestamp", "user", "action"}


def mapping_for(options: IngestOptions, kind: str, present: list[str], name: str) -> Mapping:
    """The user's mapping, or the identity where the columns already have our names; checked against ``present``."""
    mapping = options.mapping
    if mapping is None:
        if not set(present) >= _REQUIRED:
            raise MappingError(
                f"{name}: the columns do not have the names of event fields, so a mapping file is needed (--map); "
                f"columns found: {', '.join(present)}"
            )
        mapping = Mapping.identity(kind, present)  # type: ignore[arg-type]  # one of the three by its callers
    if mapping.format != kind:
        raise MappingError(f"{name}: the mapping file is for format {mapping.format!r}, this is {kind!r}")
    check_columns(mapping, present, name)
    if mapping.attributes is None:
        # Of a path such as $.actor.name, the whole of ``actor`` counts as used.
        used = {column.removeprefix("$.").split(".")[0] if column.startswith("$") else column
                for column in mapping.used_columns()}  # fmt: skip
        rest = [column for column in present if column not in used and not column.startswith("$")]
        mapping = mapping.model_copy(update={"attributes": rest})
    return mapping


def check_columns(mapping: Mapping, present: list[str], name: str) -> None:
    """Raise ``MappingError`` if the mapping reads a column that is not there."""
    for column in mapping.used_columns():
        if column not in present:
            raise MappingError(
                f"{name}: the mapping names a column {column!r} that is not there{nearest(column, present)}"
            )


def field_sql(source: FieldSource | None, cell: Callable[[str], str]) -> str:
    """The VARCHAR expression of one mapped field; ``cell(column)`` is a column's. NULL where nothing is mapped."""
    if source is None:
        return "NULL"
    value = text(source.constant) if source.constant is not None else cell(source.column or "")
    if source.matching is not None:
        value = f"CASE WHEN regexp_full_match({value}, {text(source.matching)}) THEN {value} END"
    if source.extract is not None:
        value = f"nullif(regexp_extract({value}, {text(source.extract)}, 1), '')"
    if source.values is not None:
        cases = " ".join(f"WHEN {text(found)} THEN {text(meant)}" for found, meant in source.values.items())
        value = f"CASE {value} {cases} ELSE {value} END" if cases else value
    return value


def map_rows(
    origin: str, mapping: Mapping, options: IngestOptions, cell: Callable[[str], str], raw: str = "NULL"
) -> str:
    """Wide rows of ``origin`` (a relation with ``record``); ``cell(column)`` is a column's VARCHAR expression."""

    def field(source: FieldSource | None) -> str:
        return field_sql(source, cell)

    columns = mapping.columns
    when = moment(cell(columns.timestamp.column), columns.timestamp, options.timezone)
    fields = {
        "record": "record",
        "raw": raw,
        "timestamp": when.utc,
        "utc_offset_min": when.offset_min,
        "rejected": f"""CASE WHEN {cell(columns.timestamp.column)} IS NULL THEN 'no timestamp'
            WHEN nullif({field(columns.user)}, '') IS NULL THEN 'no user'
            WHEN nullif({field(columns.action)}, '') IS NULL THEN 'no action'
            ELSE {when.rejected} END""",
    }
    for name in ("event_id", "user", "source", "ip", "action", "resource"):
        fields[name] = field(getattr(columns, name))
    if columns.outcome is not None:
        fields["outcome"] = f"coalesce(nullif({field(columns.outcome)}, ''), 'unknown')"
    if mapping.attributes:
        pairs = ", ".join(f"{text(column)}, {cell(column)}" for column in mapping.attributes)
        fields["attributes"] = f"json_object({pairs})"
    if mapping.label is not None:
        fields |= _label(mapping.label, when.utc, options, cell)
    return wide(origin, fields)


def _label(label: LabelField, event_time: str, options: IngestOptions, cell: Callable[[str], str]) -> dict[str, str]:
    value = cell(label.column)
    cases = " ".join(
        f"WHEN {text(found)} THEN {text(meant) if meant else 'NULL'}" for found, meant in label.meaning.items()
    )
    if label.labelled_at is None:
        known = event_time
    elif isinstance(label.labelled_at, TimeField):
        known = moment(cell(label.labelled_at.column), label.labelled_at, options.timezone).utc
    else:
        known = f"timezone('UTC', CAST({text(label.labelled_at)} AS TIMESTAMPTZ))"
    return {
        "label": f"CASE nullif({value}, '') {cases} ELSE '{UNLISTED}' || nullif({value}, '') END",
        "labelled_at": known,
        "labelled_by": text(label.labelled_by),
        "reason": "''" if label.reason is None else cell(label.reason),
    }


def column_reader(column: str) -> str:
    """The plain case of ``cell``: the column itself, as text."""
    return f"CAST({quoted(column)} AS VARCHAR)"
