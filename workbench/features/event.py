"""One event, as the online state takes it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

from workbench.errors import InputError
from workbench.events import ABSENT, OUTCOMES

__all__ = ["Event"]

_LARGEST: Final = 2**62  # µs: far beyond any date, and sums still fit into 64 bits


class Event(NamedTuple):
    """One event. ``t``: µs UTC since 1970; ``utc_offset_min``: minutes east of UTC; the rest as in the event schema."""

    event_id: str
    t: int
    utc_offset_min: int
    user: str
    source: str
    ip: str
    action: str
    resource: str
    outcome: str

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """An event from a mapping with the columns of the event schema; what is missing or empty is absent (``∅``).

        ``timestamp`` is ISO 8601 text with an offset, or a datetime with a zone, and gives ``utc_offset_min`` too
        unless that is given; or ``t``, µs UTC. ``event_id``, ``user`` and a time are needed.

        Raises ``InputError`` for what is missing or of the wrong type.

        >>> Event.of({"event_id": "e1", "timestamp": "2025-01-06T09:00:00+01:00", "user": "ada"})[:3]
        ('e1', 1736150400000000, 60)
        """
        words = {}
        for name in ("event_id", "user", "source", "ip", "action", "resource"):
            word = given.get(name)
            if word is not None and not isinstance(word, str):
                raise InputError(f"event: {name} is {type(word).__name__}, expected text")
            if not word and name in ("event_id", "user"):
                raise InputError(f"event: {name} is missing")
            words[name] = word or ABSENT
        outcome = given.get("outcome") or "unknown"
        if outcome not in OUTCOMES:
            raise InputError(f"event: outcome {outcome!r}, expected one of {', '.join(OUTCOMES)}")
        t, offset = _moment(given)
        return cls(t=t, utc_offset_min=offset, outcome=outcome, **words)


def _moment(given: Mapping[str, Any]) -> tuple[int, int]:
    """Time in µs UTC and offset in minutes."""
    offset = given.get("utc_offset_min")
    if "t" in given:
        t = given["t"]
        offset = 0 if offset is None else offset
    else:
        stamp = given.get("timestamp")
        try:
            moment = datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp
            own = moment.utcoffset() if isinstance(moment, datetime) else None
            if own is None or not isinstance(moment, datetime):
                raise ValueError
            delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        except (ValueError, OverflowError):
            raise InputError(
                f"event: timestamp {stamp!r}, expected ISO 8601 with an offset, e.g. 2025-01-06T09:00:00Z"
            ) from None
        t = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
        offset = round(own.total_seconds() / 60) if offset is None else offset
    if type(t) is not int or abs(t) > _LARGEST:
        raise InputError(f"event: t is {t!r}, expected whole microseconds")
    if type(offset) is not int or not -1440 < offset < 1440:
        raise InputError(f"event: utc_offset_min is {offset!r}, expected minutes between -1440 and 1440")
    return t, offset
