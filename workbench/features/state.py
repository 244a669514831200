"""The features of one event after the other, from what is kept of each user: for scoring while events arrive.

Pure Python. Every value equals that of the batch engines to the last bit, when events come in the order of ``seq``,
each user has one owner, and a label is learned after its event and before the next event that it should count for.

>>> state = FeatureState(FeatureSpec(names=("is_first", "events_1h", "denials_24h")))
>>> first = Event("e1", 1_000_000, 0, "ada", "laptop", "10.0.0.1", "login", "vpn", "denied")
>>> state.update(first)
[1.0, 0.0, 0.0]
>>> state.update(first._replace(event_id="e2", t=2_000_000))
[0.0, 1.0, 1.0]

What is kept: the events of 30 days, the labelled violations, and each user's distinct values, which only grow (novelty
looks back without bound). A label that is taken back is not forgotten: replay that user's events.
"""

import hashlib
from datetime import datetime
from operator import itemgetter
from typing import Final, Self

import duckdb

from workbench.errors import InputError
from workbench.events import Dataset, LabelSet
from workbench.features.definitions import DAY_US, FEATURES, HOUR_US, IP_USERS
from workbench.features.event import Event
from workbench.features.history import AddressHistory, UserHistory
from workbench.features.replaying import microseconds, replayed
from workbench.features.saved import packed, unpacked
from workbench.features.spec import FeatureSpec

__all__ = ["FeatureState", "owner"]

_MINUTE_US: Final = 60_000_000
_SHIPPED: Final = tuple(feature.name for feature in FEATURES)


def owner(user: str, buckets: int) -> int:
    """Which of ``buckets`` owners keeps this user: every user has exactly one.

    The first 32 bits of the MD5 of the name, modulo ``buckets``; the batch computation in buckets uses the same.

    >>> owner("analyst-00001", 16)
    15
    """
    digest = hashlib.md5(user.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) % buckets


class FeatureState:
    """What is known of all users so far.

    One owner per user: ``update`` and ``learn`` are not for several threads or processes at once. To divide the work,
    give each owner the users for which ``owner(user, buckets)`` is its number; ``ip_users_24h`` looks across users, and
    a state that computes it must see all events of an address.

    Raises ``InputError`` for a spec with features of one's own, which are computed in batch only.
    """

    def __init__(self, spec: FeatureSpec | None = None) -> None:
        spec = spec or FeatureSpec()
        if spec.extra:
            names = ", ".join(name for name, _ in spec.extra)
            raise InputError(f"features of one's own ({names}) are computed in batch only: leave them out of the spec")
        self.spec = spec
        self._users: dict[str, UserHistory] = {}
        self._addresses: dict[str, AddressHistory] | None = {} if IP_USERS.name in spec.names else None
        places = [(*_SHIPPED, IP_USERS.name).index(name) for name in spec.names]
        self._pick = None if spec.names == _SHIPPED else itemgetter(*places) if len(places) > 1 else places[0]

    def __len__(self) -> int:
        """How many users are kept."""
        return len(self._users)

    def update(self, event: Event) -> list[float]:
        """The features of ``event``, shape (k,), in the order of the spec; then it becomes part of the past."""
        user = self._users.get(event.user)
        if user is None:
            user = self._users[event.user] = UserHistory()
        if event.t > user.t:
            user.advance(event.t)
        hour = (event.t + event.utc_offset_min * _MINUTE_US) % DAY_US // HOUR_US
        values = user.values(event, hour, self.spec.day_starts, self.spec.day_ends)
        user.admit(event, hour)
        user.forget()
        if self._addresses is not None:
            address = self._addresses.get(event.ip)
            if address is None:
                address = self._addresses[event.ip] = AddressHistory()
            if event.t > address.t:
                address.advance(event.t)
            values.append(len(address.users))
            address.times.append(address.t)
            address.who.append(event.user)
            address.forget()
        return self._chosen(values)

    def peek(self, event: Event) -> list[float]:
        """What ``update`` would give, with nothing changed."""
        user = self._users.get(event.user) or UserHistory()
        if event.t > user.t:
            user = user.preview()
            user.advance(event.t)
        hour = (event.t + event.utc_offset_min * _MINUTE_US) % DAY_US // HOUR_US
        values = user.values(event, hour, self.spec.day_starts, self.spec.day_ends)
        if self._addresses is not None:
            address = self._addresses.get(event.ip) or AddressHistory()
            if event.t > address.t:
                address = address.preview()
                address.advance(event.t)
            values.append(len(address.users))
        return self._chosen(values)

    def _chosen(self, values: list[float]) -> list[float]:
        pick = self._pick
        if pick is None:
            return list(map(float, values))
        if isinstance(pick, int):
            return [float(values[pick])]
        return list(map(float, pick(values)))

    def learn(self, user: str, event_id: str, known_us: int) -> None:
        """It became known at ``known_us`` (µs UTC) that this event of ``user`` was a violation.

        Call it after ``update`` of that event; ``known_us`` is not before the event's own timestamp. It counts for
        events with a later time. A second label of one event changes nothing, unless it became known earlier.
        """
        history = self._users.get(user)
        if history is None:
            history = self._users[user] = UserHistory()
        history.learn(event_id, known_us)

    def save(self) -> bytes:
        """All of it as JSON; the same history gives the same bytes."""
        return packed(self.spec, self._users, self._addresses)

    @classmethod
    def restore(cls, data: bytes, *, spec: FeatureSpec | None = None) -> Self:
        """The state that ``save`` wrote.

        Raises ``MalformedError`` for anything else, for a state made with other feature definitions than these, and for
        one of another spec than ``spec``, where that is given.
        """
        found, users, addresses = unpacked(data, spec)
        state = cls(found)
        state._users, state._addresses = users, addresses
        return state

    @classmethod
    def replay(
        cls,
        dataset: Dataset,
        labels: LabelSet | None = None,
        *,
        spec: FeatureSpec | None = None,
        until: datetime | int | None = None,
    ) -> Self:
        """The state after the events of ``dataset`` before ``until`` (a datetime with a zone, or µs UTC).

        Labels are learned as far as they were known before ``until``; ``labels`` is the dataset's only label set, if it
        has one, unless given. Takes about 10 µs an event. Raises ``InputError`` as the constructor does, and if there
        are several label sets.
        """
        state = cls(spec)
        if labels is None and dataset.label_sets():
            labels = dataset.labels()
        with duckdb.connect() as connection:
            limit = None if until is None else microseconds(until)
            for event, accused in replayed(connection, dataset.sql, labels.sql if labels else None, limit):
                state.update(event)
                if accused is not None:
                    state.learn(event.user, event.event_id, accused)
        return state
