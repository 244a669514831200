"""Events one after the other, in the order they arrived, each with what became known of it, or by then."""

from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import NamedTuple

import duckdb

from workbench.errors import InputError
from workbench.events import Dataset, LabelSet
from workbench.features.event import Event
from workbench.features.reference import said_relation

__all__ = ["KnownViolation", "arrivals", "microseconds", "replayed"]

_AT_ONCE = 10_000  # rows fetched together


class KnownViolation(NamedTuple):
    """It became known at ``known_us`` (µs UTC) that this event of ``user`` was a violation: what ``learn`` takes."""

    user: str
    event_id: str
    known_us: int


def arrivals(
    dataset: Dataset,
    labels: LabelSet | None = None,
    *,
    since: datetime | int | None = None,
    until: datetime | int | None = None,
) -> Iterator[tuple[Event, tuple[KnownViolation, ...]]]:
    """The events of ``dataset`` as they arrived, each with the violations that became known since the one before it.

    As a service meets them: learn what is known, then score the event. ``state`` knows the past up to ``begin``; with
    each event it then gives the values that ``build`` gives, to the last bit::

        state = FeatureState.replay(dataset, until=begin)
        for event, known in arrivals(dataset, since=begin):
            for violation in known:
                state.learn(*violation)
            features = state.update(event)

    ``since`` and ``until`` (datetimes with a zone, or µs UTC) leave out what happened or became known before the one,
    and at the other or later. A violation counts as known from its first label on; it is given when an event with a
    later time arrives, and after its own event. ``labels`` is the dataset's only label set, if it has one, unless
    given.

    Raises ``InputError`` for a moment without a zone, and if there are several label sets.
    """
    begin = None if since is None else microseconds(since)
    end = None if until is None else microseconds(until)
    if labels is None and dataset.label_sets():
        labels = dataset.labels()
    return _arrivals(dataset.sql, labels.sql if labels else None, begin, end)


def _arrivals(
    events: str, labels: str | None, begin: int | None, end: int | None
) -> Iterator[tuple[Event, tuple[KnownViolation, ...]]]:
    waiting: list[tuple[int, int, KnownViolation]] = []  # what is known first comes first; of equals, the event before
    newest = 0
    with duckdb.connect() as connection:
        for place, (event, accused) in enumerate(replayed(connection, events, labels, end)):
            if begin is None or event.t >= begin:
                newest = max(newest, event.t)
                known = []
                while waiting and waiting[0][0] < newest:
                    known.append(heappop(waiting)[2])
                yield event, tuple(known)
            if accused is not None and (begin is None or accused >= begin):
                heappush(waiting, (accused, place, KnownViolation(event.user, event.event_id, accused)))


def microseconds(moment: datetime | int) -> int:
    """``moment`` in µs UTC. Raises ``InputError`` for a datetime without a zone.

    >>> microseconds(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    if isinstance(moment, int):
        return moment
    if moment.utcoffset() is None:
        raise InputError(f"{moment.isoformat()} has no zone: say which, e.g. with +00:00")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def replayed(
    connection: duckdb.DuckDBPyConnection, events: str, labels: str | None, until: int | None = None
) -> Iterator[tuple[Event, int | None]]:
    """Events in order of ``seq``, each with the moment it was first labelled a violation (µs), or None.

    That moment is never before the event's own timestamp: nothing is known of what has not happened. ``until`` (µs)
    leaves out what happened or became known then or later.
    """
    limit = 2**63 - 1 if until is None else until
    said = (
        said_relation(labels) if labels else "(SELECT NULL::VARCHAR AS event_id, NULL::BIGINT AS accused WHERE false)"
    )
    rows = connection.execute(
        f"""SELECT event_id, epoch_us("timestamp") AS t, utc_offset_min, "user", source, ip, action, resource, outcome,
                   CASE WHEN accused < {limit} THEN greatest(accused, t) END
            FROM {events} LEFT JOIN {said} USING (event_id) WHERE epoch_us("timestamp") < {limit} ORDER BY seq"""
    )
    while found := rows.fetchmany(_AT_ONCE):
        for *fields, accused in found:
            yield Event._make(fields), accused
