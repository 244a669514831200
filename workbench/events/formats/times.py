"""Stamps to UTC, in SQL. A local time is never guessed: it takes the offset it carries, or the user's word."""

from typing import NamedTuple

from workbench.events.formats.reading import text
from workbench.events.mapping import TimeField

__all__ = ["NEEDS_TIMEZONE", "Moment", "fixed_offset", "local_to_utc", "moment"]

# The reason given to a record whose stamp has no offset while the user named no zone; ingest turns it into a question.
NEEDS_TIMEZONE = "the timestamp has no time zone"


class Moment(NamedTuple):
    """SQL for one stamp: ``utc`` TIMESTAMP, ``offset_min`` minutes east of UTC, ``rejected`` a reason or NULL."""

    utc: str
    offset_min: str
    rejected: str


def fixed_offset(zone: str) -> int | None:
    """Minutes east of UTC for ``UTC``, ``Z`` or ``+HH:MM``; None for a named zone.

    >>> fixed_offset("+05:30"), fixed_offset("UTC"), fixed_offset("Europe/Berlin")
    (330, 0, None)
    """
    if zone.upper() in ("UTC", "Z", "GMT"):
        return 0
    digits = zone[1:].replace(":", "")
    if zone[:1] in "+-" and len(digits) == 4 and digits.isdigit() and int(digits[2:]) < 60 and int(digits) <= 1400:
        return (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:]))
    return None


def local_to_utc(local: str, zone: str) -> Moment:
    """A local TIMESTAMP expression in ``zone``. Where clocks go back, the time is taken as DuckDB's ICU does."""
    offset = fixed_offset(zone)
    if offset is not None:
        return Moment(f"({local} - INTERVAL {offset} MINUTE)", str(offset), "NULL")
    utc = f"timezone('UTC', timezone({text(zone)}, {local}))"
    return Moment(utc, f"CAST(date_diff('minute', {utc}, {local}) AS SMALLINT)", "NULL")


def _in_utc(instant: str) -> str:
    """A TIMESTAMPTZ as UTC TIMESTAMP. By its microseconds: ``timezone('UTC', …)`` asks ICU, at ten times the cost."""
    return f"make_timestamp(epoch_us({instant}))"


def _carried(stamp: str) -> str:
    """Minutes east of UTC written at the end of a stamp."""
    sign = f"CASE regexp_extract({stamp}, '([+-])\\d\\d:?(?:\\d\\d)?$', 1) WHEN '-' THEN -1 ELSE 1 END"
    hours = f"coalesce(TRY_CAST(regexp_extract({stamp}, '[+-](\\d\\d):?(?:\\d\\d)?$', 1) AS INTEGER), 0)"
    minutes = f"coalesce(TRY_CAST(regexp_extract({stamp}, '[+-]\\d\\d:?(\\d\\d)$', 1) AS INTEGER), 0)"
    return f"CASE WHEN right({stamp}, 1) IN ('Z', 'z') THEN 0 ELSE {sign} * ({hours} * 60 + {minutes}) END"


def moment(stamp: str, field: TimeField, timezone: str | None) -> Moment:
    """SQL for a stamp (a VARCHAR expression) in the format that ``field`` states."""
    zone = field.timezone or timezone
    if field.format in ("epoch_s", "epoch_ms", "epoch_us"):
        scale = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}[field.format]
        micros = f"TRY_CAST(round(TRY_CAST({stamp} AS DECIMAL(26, 6)) * {scale}) AS BIGINT)"
        utc = f"CASE WHEN abs({micros}) < 1000000000000000000 THEN make_timestamp({micros}) END"
        if zone is None or fixed_offset(zone) is not None:
            return Moment(utc, str(fixed_offset(zone or "UTC")), "NULL")
        local = f"timezone({text(zone)}, timezone('UTC', {utc}))"
        return Moment(utc, f"CAST(date_diff('minute', {utc}, {local}) AS SMALLINT)", "NULL")
    if field.format == "iso":
        carries = f"regexp_matches({stamp}, ':\\d\\d([.,]\\d+)?\\s*([Zz]|[+-]\\d\\d(:?\\d\\d)?)$')"
        instant = _in_utc(f"TRY_CAST({stamp} AS TIMESTAMPTZ)")
        local = f"TRY_CAST({stamp} AS TIMESTAMP)"
    else:
        carries = "true" if "%z" in field.format else "false"
        parsed = f"try_strptime({stamp}, {text(field.format)})"
        instant = _in_utc(parsed) if carries == "true" else "NULL"
        local = "NULL" if carries == "true" else parsed
    if zone is None:
        reject = f"CASE WHEN NOT {carries} AND {local} IS NOT NULL THEN '{NEEDS_TIMEZONE}' END"
        return Moment(
            f"CASE WHEN {carries} THEN {instant} END",
            f"CASE WHEN {carries} THEN {_carried(stamp)} END",
            reject,
        )
    there = local_to_utc(local, zone)
    return Moment(
        f"CASE WHEN {carries} THEN {instant} ELSE {there.utc} END",
        f"CASE WHEN {carries} THEN {_carried(stamp)} ELSE {there.offset_min} END",
        "NULL",
    )
