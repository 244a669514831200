"""A mapping says which column of a table means what: the YAML file behind ``events ingest --map``.

format: csv
columns:
  user: editor
  timestamp: {column: edittime}
  action: {constant: edit}
  ip: {column: editor, matching: '^[0-9.]+$'}
  outcome: {column: status, values: {up: success, down: failure}}
attributes: [articleid]
label:
  column: class
  meaning: {vandalism: violation, regular: compliant, dunno: null}
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import duckdb
from pydantic import BeforeValidator, Field, model_validator

from workbench.documents import Strict, read_document
from workbench.errors import MappingError, nearest
from workbench.events.schema import OUTCOMES

__all__ = [
    "AnyField",
    "CsvDialect",
    "FieldSource",
    "LabelField",
    "LabelMeaning",
    "Mapping",
    "TimeField",
    "load_mapping",
    "short_field",
]


def _try(sql: str, *values: object) -> str | None:
    """What DuckDB says against ``sql``, so that a mistake is laid to the mapping and not to the data; else None."""
    with duckdb.connect() as connection:
        try:
            connection.execute(sql, list(values)).fetchall()
        except duckdb.Error as error:
            return str(error).splitlines()[0].split(": ", 1)[-1]
    return None


def _as_words(value: Any) -> Any:
    """Keys and values of a translation as text: YAML reads 200 as a number; of yes and no it makes truth values."""
    if not isinstance(value, dict):
        return value
    for item in (*value, *value.values()):
        if isinstance(item, bool):
            raise ValueError("YAML reads yes, no, on, off, true and false as truth values: put them in quotes")
    return {
        str(key) if isinstance(key, int | float) else key: str(item) if isinstance(item, int | float) else item
        for key, item in value.items()
    }


LabelMeaning = Annotated[dict[str, Literal["violation", "compliant"] | None], BeforeValidator(_as_words)]


class FieldSource(Strict):
    """Where one field comes from: a column, or the same constant in every row."""

    column: str | None = Field(None, description="Name of the source column")
    constant: str | None = Field(None, description="The same text in every row")
    matching: str | None = Field(None, description="Regular expression (RE2); a value that does not match is absent")
    extract: str | None = Field(None, description="Regular expression (RE2); its first group becomes the value")
    values: Annotated[dict[str, str] | None, BeforeValidator(_as_words)] = Field(
        None, description="Translation of values; one not listed stays as it is"
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "FieldSource":
        if (self.column is None) == (self.constant is None):
            raise ValueError("give either 'column' or 'constant'")
        for name, pattern in (("matching", self.matching), ("extract", self.extract)):
            if pattern is not None and (wrong := _try("SELECT regexp_matches('', ?)", pattern)):
                raise ValueError(f"'{name}' is not a regular expression: {wrong}")
        if self.extract is not None and _try("SELECT regexp_extract('', ?, ['first'])", self.extract):
            raise ValueError("'extract' has no group: put the wanted part in parentheses")
        return self


class TimeField(Strict):
    """When it happened. A stamp without an offset needs ``timezone`` (an IANA name, or +HH:MM)."""

    column: str
    format: str = Field("iso", description="'iso', 'epoch_s', 'epoch_ms', 'epoch_us', or a strptime pattern")
    timezone: str | None = Field(None, description="Zone of stamps that carry no offset")

    @model_validator(mode="after")
    def _known_format(self) -> "TimeField":
        if self.format not in ("iso", "epoch_s", "epoch_ms", "epoch_us"):
            if "%" not in self.format:
                raise ValueError("'format' is none of iso, epoch_s, epoch_ms, epoch_us and no strptime pattern")
            if wrong := _try("SELECT try_strptime('', ?)", self.format):
                raise ValueError(f"'format' is not a strptime pattern: {wrong}")
        return self


class LabelField(Strict):
    """What someone later said of the event, and what their words mean here."""

    column: str
    meaning: LabelMeaning = Field(
        description="Source value to label; null means no label; every value that occurs must be listed"
    )
    labelled_at: TimeField | str | None = Field(
        None, description="Column, or one ISO stamp with offset for all; without it, known when it happened"
    )
    labelled_by: str = Field("source", description="Who said so, the same for all rows")
    reason: str | None = Field(None, description="Name of the column that holds the reason")

    @model_validator(mode="after")
    def _stamp_with_offset(self) -> "LabelField":
        if isinstance(self.labelled_at, str):
            try:
                offset = datetime.fromisoformat(self.labelled_at).utcoffset()
            except ValueError:
                offset = None
            if offset is None:
                raise ValueError("'labelled_at' is neither {column: ...} nor an ISO stamp with offset")
        return self


class CsvDialect(Strict):
    """How a CSV file is written, where it differs from the usual comma and double quote."""

    delimiter: str | None = Field(
        None, min_length=1, max_length=4, description="Without it, a tab where the first line has two, else a comma"
    )
    quote: str = Field('"', max_length=1)
    skip: int = Field(0, ge=0, description="Lines before the header (or before the data, where names are given)")
    names: list[str] | None = Field(None, description="Column names; then the first line after 'skip' is data")
    encoding: str = "utf-8"


def short_field(value: Any) -> Any:
    """``name`` is short for ``{column: name}``."""
    return {"column": value} if isinstance(value, str) else value


AnyField = Annotated[FieldSource, BeforeValidator(short_field)]


class Columns(Strict):
    """The event fields. Only ``timestamp``, ``user`` and ``action`` must be given."""

    timestamp: Annotated[TimeField, BeforeValidator(short_field)]
    user: AnyField
    action: AnyField
    event_id: AnyField | None = None
    source: AnyField | None = None
    ip: AnyField | None = None
    resource: AnyField | None = None
    outcome: AnyField | None = None

    @model_validator(mode="after")
    def _known_outcomes(self) -> "Columns":
        if self.outcome is not None:
            for outcome in (self.outcome.constant, *(self.outcome.values or {}).values()):
                if outcome is not None and outcome not in OUTCOMES:
                    raise ValueError(
                        f"outcome {outcome!r} is none of {', '.join(OUTCOMES)}{nearest(outcome, OUTCOMES)}"
                    )
        return self


class Mapping(Strict):
    """A whole mapping file."""

    format: Literal["csv", "parquet", "jsonl"]
    csv: CsvDialect = CsvDialect()
    columns: Columns
    attributes: list[str] | None = Field(
        None, description="Columns to keep as they are; without it, all that the mapping does not use"
    )
    label: LabelField | None = None

    def used_columns(self) -> list[str]:
        """Every source column this mapping reads, in first-use order."""
        fields = [getattr(self.columns, name) for name in type(self.columns).model_fields]
        used = [field.column for field in fields if field is not None and field.column is not None]
        used += self.attributes or []
        if self.label is not None:
            used.append(self.label.column)
            if isinstance(self.label.labelled_at, TimeField):
                used.append(self.label.labelled_at.column)
            if self.label.reason is not None:
                used.append(self.label.reason)
        return list(dict.fromkeys(used))

    def zones(self) -> list[str]:
        """Every time zone this mapping names."""
        moments = [self.columns.timestamp, self.label.labelled_at if self.label is not None else None]
        return [moment.timezone for moment in moments if isinstance(moment, TimeField) and moment.timezone is not None]

    @classmethod
    def identity(cls, kind: Literal["csv", "parquet", "jsonl"], present: list[str]) -> "Mapping":
        """The mapping for a table whose columns already bear the names of event fields."""
        optional = [name for name in ("event_id", "source", "ip", "resource", "outcome") if name in present]
        return cls(
            format=kind,
            columns=Columns.model_validate({name: name for name in ("timestamp", "user", "action", *optional)}),
        )


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file. Raises ``MappingError`` naming the place and what is wrong there."""
    return read_document(path, Mapping, what="mapping file", error=MappingError)
