"""What the online state keeps of a user, and of an address: lists that grow, and places in them that move forward."""

from bisect import bisect_left, insort
from typing import Final

from workbench.features.definitions import CAP_US, DAY_US, HOUR_US
from workbench.features.event import Event

__all__ = ["LONG_AGO", "AddressHistory", "UserHistory"]

LONG_AGO: Final = -(2**63)
"""Before every event, µs."""

_WEEK_US: Final = 7 * DAY_US
_MINUTE_US: Final = 60_000_000
_COMPACT_FROM: Final = 64  # events; below that, forgetting costs more than it frees


class UserHistory:
    """What is kept of one user. ``times`` and ``facts`` grow at the end; the rest are places in them and counts.

    Events at the newest time ``t`` stand in the lists but are not yet admitted (``now`` is the first of them): that is
    what keeps ties from seeing each other.
    """

    __slots__ = (
        "denials",
        "facts",
        "first",
        "hours",
        "in_1h",
        "in_7d",
        "in_24h",
        "in_30d",
        "ips",
        "known",
        "labelled",
        "late",
        "now",
        "resources",
        "seen",
        "sources",
        "t",
        "times",
    )  # fmt: skip

    def __init__(self) -> None:
        self.t = LONG_AGO
        self.first: int | None = None
        self.times: list[int] = []
        self.facts: list[tuple[str, str, str, int, int]] = []  # source, ip, resource, denied, local hour
        self.now = self.in_1h = self.in_24h = self.in_7d = self.in_30d = 0
        self.denials = 0
        self.ips: dict[str, int] = {}
        self.resources: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self.hours = [0] * 24
        # source, ip, resource, action: value to itself (so that one text is kept for all its events) and first time
        self.seen: tuple[dict[str, tuple[str, int]], ...] = ({}, {}, {}, {})
        self.known: list[int] = []  # when violations became known, in order
        self.labelled: dict[str, int] = {}  # the same by event, so that a second label of one event counts once
        self.late: dict[str, int] = {}  # effective time of events that came late

    def preview(self) -> "UserHistory":
        """A user that can be advanced without this one changing; it shares what advancing does not touch."""
        copy = UserHistory.__new__(UserHistory)
        for name in UserHistory.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.ips, copy.resources, copy.sources = self.ips.copy(), self.resources.copy(), self.sources.copy()
        copy.hours = self.hours.copy()
        return copy

    def advance(self, t: int) -> None:
        """Admit what lies before ``t`` and let go of what leaves the windows."""
        times, facts, hours = self.times, self.facts, self.hours
        ips, resources, sources = self.ips, self.resources, self.sources
        end = len(times)
        for source, ip, resource, denied, hour in facts[self.now :]:
            ips[ip] = ips.get(ip, 0) + 1
            resources[resource] = resources.get(resource, 0) + 1
            sources[source] = sources.get(source, 0) + 1
            self.denials += denied
            hours[hour] += 1
        self.now = end
        self.t = t
        at, bound = self.in_1h, t - HOUR_US
        while at < end and times[at] < bound:
            at += 1
        self.in_1h = at
        at, bound = self.in_24h, t - DAY_US
        while at < end and times[at] < bound:
            _, ip, resource, denied, _ = facts[at]
            if ips[ip] == 1:
                del ips[ip]
            else:
                ips[ip] -= 1
            if resources[resource] == 1:
                del resources[resource]
            else:
                resources[resource] -= 1
            self.denials -= denied
            at += 1
        self.in_24h = at
        at, bound = self.in_7d, t - _WEEK_US
        while at < end and times[at] < bound:
            source = facts[at][0]
            if sources[source] == 1:
                del sources[source]
            else:
                sources[source] -= 1
            at += 1
        self.in_7d = at
        at, bound = self.in_30d, t - CAP_US
        while at < end and times[at] < bound:
            hours[facts[at][4]] -= 1
            at += 1
        self.in_30d = at

    def forget(self) -> None:
        """Drop the events that no window can reach any more, once they are half of all."""
        gone = self.in_30d
        if gone < _COMPACT_FROM or 2 * gone < len(self.times):
            return
        del self.times[:gone], self.facts[:gone]
        self.now -= gone
        self.in_1h -= gone
        self.in_24h -= gone
        self.in_7d -= gone
        self.in_30d = 0
        if self.late:
            self.late = {event_id: t for event_id, t in self.late.items() if t >= self.t - CAP_US}

    def values(self, event: Event, hour: int, day_starts: int, day_ends: int) -> list[float]:
        """The 23 values of ``event``, in order; ``advance`` has been called with its effective time."""
        t, now = self.t, self.now
        _, raw, offset, _, source, ip, action, resource, _ = event
        sources, ips, resources, actions = self.seen
        events_1h, events_24h, events_30d = now - self.in_1h, now - self.in_24h, now - self.in_30d
        first = self.first
        weekday = ((raw + offset * _MINUTE_US) // DAY_US + 3) % 7
        known = self.known
        if known:
            upto = bisect_left(known, t)
            violations = upto - bisect_left(known, t - CAP_US)
            since_violation = min(t - known[upto - 1], CAP_US) if upto else CAP_US
        else:
            violations, since_violation = 0, CAP_US
        return [
            hour,
            weekday,
            1.0 if weekday >= 5 else 0.0,
            0.0 if day_starts <= hour < day_ends else 1.0,
            1.0 if first is None or first == t else 0.0,
            (min(t - self.times[now - 1], CAP_US) if now else CAP_US) / 1e6,
            events_1h,
            events_24h,
            now - self.in_7d,
            (24 * events_1h + 24) / (events_24h + 24),
            violations,
            (violations + 0.5) / (events_30d + 50),
            since_violation / 1e6,
            self.denials,
            0.0 if (found := sources.get(source)) and found[1] < t else 1.0,
            0.0 if (found := ips.get(ip)) and found[1] < t else 1.0,
            0.0 if (found := resources.get(resource)) and found[1] < t else 1.0,
            0.0 if (found := actions.get(action)) and found[1] < t else 1.0,
            len(self.ips),
            len(self.resources),
            len(self.sources),
            (self.hours[hour] + 1) / (events_30d + 24),
            (t - first) / DAY_US if first is not None else 0.0,
        ]

    def learn(self, event_id: str, known_us: int) -> None:
        """A violation became known; of several labels of one event the first counts, and none before its event."""
        known_us = max(known_us, self.late.get(event_id, known_us))
        before = self.labelled.get(event_id)
        if before is not None:
            if before <= known_us:
                return
            self.known.remove(before)
        self.labelled[event_id] = known_us
        insort(self.known, known_us)

    def admit(self, event: Event, hour: int) -> None:
        """Keep ``event``; it counts from the next later time on."""
        t = self.t
        if self.first is None:
            self.first = t
        event_id, raw, _, _, source, ip, action, resource, outcome = event
        sources, ips, resources, actions = self.seen
        if (source_seen := sources.get(source)) is None:
            source_seen = sources[source] = (source, t)
        if (ip_seen := ips.get(ip)) is None:
            ip_seen = ips[ip] = (ip, t)
        if (resource_seen := resources.get(resource)) is None:
            resource_seen = resources[resource] = (resource, t)
        if action not in actions:
            actions[action] = (action, t)
        self.times.append(t)
        self.facts.append((source_seen[0], ip_seen[0], resource_seen[0], outcome == "denied", hour))
        if raw < t:
            self.late[event_id] = t


class AddressHistory:
    """Who used one address lately, for ``ip_users_24h``."""

    __slots__ = ("first", "now", "t", "times", "users", "who")

    def __init__(self) -> None:
        self.t = LONG_AGO
        self.times: list[int] = []
        self.who: list[str] = []
        self.now = self.first = 0
        self.users: dict[str, int] = {}

    def preview(self) -> "AddressHistory":
        """One that can be advanced without this one changing."""
        copy = AddressHistory.__new__(AddressHistory)
        for name in AddressHistory.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.users = self.users.copy()
        return copy

    def advance(self, t: int) -> None:
        """Admit what lies before ``t`` and let go of what leaves the window."""
        times, who, users = self.times, self.who, self.users
        for i in range(self.now, len(times)):
            users[who[i]] = users.get(who[i], 0) + 1
        self.now = len(times)
        self.t = t
        while self.first < self.now and times[self.first] < t - DAY_US:
            user = who[self.first]
            if users[user] == 1:
                del users[user]
            else:
                users[user] -= 1
            self.first += 1

    def forget(self) -> None:
        """Drop what has left the window, once it is half of all."""
        if self.first < _COMPACT_FROM or 2 * self.first < len(self.times):
            return
        del self.times[: self.first], self.who[: self.first]
        self.now -= self.first
        self.first = 0
