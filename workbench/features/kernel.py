"""The features in one compiled pass: events sorted by user, windows as pointers that only move forward.

Cost is linear in the events. A value's place in the counters is its dictionary code, so that nothing is hashed; what a
user leaves in a counter is taken out again before the next user. The definitions are those of ``definitions``.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from workbench.compiled import compiled
from workbench.features.definitions import CAP_US, DAY_US, FEATURES, HOUR_US

__all__ = ["NEVER", "grouped", "ip_users", "sweep"]

NEVER: Final = 2**63 - 1
"""The time of what did not happen, µs."""

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_WEEK_US: Final = 7 * DAY_US
_MINUTE_US: Final = 60_000_000
_FEATURES: Final = len(FEATURES)


@compiled(error_model="numpy")
def grouped(codes: Codes, size: int) -> tuple[Ints, Ints]:
    """Rows by code, in their order within each code (counting sort).

    ``codes``: shape (n,), 0 to ``size`` - 1. Returns ``order``, shape (n,), and ``starts``, shape (size + 1,): rows of
    code ``c`` are ``order[starts[c]:starts[c + 1]]``.
    """
    starts = np.zeros(size + 1, np.int64)
    for code in codes:
        starts[code + 1] += 1
    for code in range(size):
        starts[code + 1] += starts[code]
    free = starts[:-1].copy()
    order = np.empty(len(codes), np.int64)
    for row in range(len(codes)):
        code = codes[row]
        order[free[code]] = row
        free[code] += 1
    return order, starts


@compiled(error_model="numpy")
def sweep(  # noqa: PLR0912, PLR0915  # one pass over all state: parts of it alone would have to pass twenty arrays on
    starts: Ints,
    timestamp: Ints,
    offset_min: Codes,
    source: Codes,
    ip: Codes,
    action: Codes,
    resource: Codes,
    denied: npt.NDArray[np.bool_],
    accused: Ints,
    sizes: Ints,
    day_starts: int,
    day_ends: int,
    wanted: Ints,
    columns: Ints,
    out: Floats,
    time: Ints,
) -> None:
    """Fill ``out`` and ``time``.

    All arrays of shape (n,) stand in the order that ``grouped`` gave by user, with its ``starts``: side by side in
    memory, which is most of the speed. ``timestamp``: µs UTC. ``accused``: when the event was first labelled a
    violation, µs, or ``NEVER``. ``sizes``: how many codes ``source``, ``ip``, ``action`` and ``resource`` have.
    ``wanted``: the row of ``out`` for an event, or -1. ``columns``: shape (k,), places in ``FEATURES``. ``out``: shape
    (rows, k). ``time``: shape (n,), effective time.
    """
    source_seen = np.full(sizes[0], -1, np.int32)
    ip_seen = np.full(sizes[1], -1, np.int32)
    action_seen = np.full(sizes[2], -1, np.int32)
    resource_seen = np.full(sizes[3], -1, np.int32)
    source_count = np.zeros(sizes[0], np.int32)
    ip_count = np.zeros(sizes[1], np.int32)
    resource_count = np.zeros(sizes[3], np.int32)
    longest = 0
    for user in range(len(starts) - 1):
        longest = max(longest, starts[user + 1] - starts[user])
    t_of = np.empty(longest, np.int64)
    hour_of = np.empty(longest, np.int8)
    known = np.empty(longest, np.int64)
    value = np.empty(_FEATURES, np.float64)

    for user in range(len(starts) - 1):
        base = starts[user]
        n = starts[user + 1] - base
        if n == 0:
            continue
        newest = timestamp[base]
        violations = 0
        for i in range(n):
            row = base + i
            newest = max(newest, timestamp[row])
            t_of[i] = newest
            time[row] = newest
            hour_of[i] = ((timestamp[row] + offset_min[row] * _MINUTE_US) % DAY_US) // HOUR_US
            if accused[row] != NEVER:
                known[violations] = max(accused[row], newest)
                violations += 1
        if violations > 1:
            known[:violations].sort()

        hours = np.zeros(24, np.int64)
        in_1h = in_24h = in_7d = in_30d = 0  # the first event of each window
        known_now = known_30d = 0
        denials = ips = resources = sources = 0
        at = 0
        while at < n:
            t = t_of[at]
            while in_1h < at and t_of[in_1h] < t - HOUR_US:
                in_1h += 1
            while in_24h < at and t_of[in_24h] < t - DAY_US:
                row = base + in_24h
                denials -= denied[row]
                ip_count[ip[row]] -= 1
                ips -= ip_count[ip[row]] == 0
                resource_count[resource[row]] -= 1
                resources -= resource_count[resource[row]] == 0
                in_24h += 1
            while in_7d < at and t_of[in_7d] < t - _WEEK_US:
                row = base + in_7d
                source_count[source[row]] -= 1
                sources -= source_count[source[row]] == 0
                in_7d += 1
            while in_30d < at and t_of[in_30d] < t - CAP_US:
                hours[hour_of[in_30d]] -= 1
                in_30d += 1
            while known_now < violations and known[known_now] < t:
                known_now += 1
            while known_30d < known_now and known[known_30d] < t - CAP_US:
                known_30d += 1

            events_1h = at - in_1h
            events_24h = at - in_24h
            events_30d = at - in_30d
            value[4] = at == 0
            value[5] = (CAP_US if at == 0 else min(t - t_of[at - 1], CAP_US)) / 1e6
            value[6] = events_1h
            value[7] = events_24h
            value[8] = at - in_7d
            value[9] = (24 * events_1h + 24) / (events_24h + 24)
            value[10] = known_now - known_30d
            value[11] = (known_now - known_30d + 0.5) / (events_30d + 50)
            value[12] = (CAP_US if known_now == 0 else min(t - known[known_now - 1], CAP_US)) / 1e6
            value[13] = denials
            value[18] = ips
            value[19] = resources
            value[20] = sources
            value[22] = (t - t_of[0]) / DAY_US
            end = at
            while end < n and t_of[end] == t:  # all that share this time see the same past, and not each other
                row = base + end
                if wanted[row] >= 0:
                    hour = hour_of[end]
                    weekday = ((timestamp[row] + offset_min[row] * _MINUTE_US) // DAY_US + 3) % 7
                    value[0] = hour
                    value[1] = weekday
                    value[2] = weekday >= 5
                    value[3] = hour < day_starts or hour >= day_ends
                    value[14] = source_seen[source[row]] != user
                    value[15] = ip_seen[ip[row]] != user
                    value[16] = resource_seen[resource[row]] != user
                    value[17] = action_seen[action[row]] != user
                    value[21] = (hours[hour] + 1) / (events_30d + 24)
                    line = out[wanted[row]]
                    for column in range(len(columns)):
                        line[column] = value[columns[column]]
                end += 1
            for i in range(at, end):
                row = base + i
                denials += denied[row]
                ips += ip_count[ip[row]] == 0
                ip_count[ip[row]] += 1
                resources += resource_count[resource[row]] == 0
                resource_count[resource[row]] += 1
                sources += source_count[source[row]] == 0
                source_count[source[row]] += 1
                hours[hour_of[i]] += 1
                source_seen[source[row]] = user
                ip_seen[ip[row]] = user
                resource_seen[resource[row]] = user
                action_seen[action[row]] = user
            at = end
        for i in range(in_24h, n):
            ip_count[ip[base + i]] = 0
            resource_count[resource[base + i]] = 0
        for i in range(in_7d, n):
            source_count[source[base + i]] = 0


@compiled(error_model="numpy")
def ip_users(starts: Ints, timestamp: Ints, user: Codes, users: int, wanted: Ints, out: Floats) -> None:
    """Fill ``out``, shape (rows,), with ``ip_users_24h``; arrays in the order ``grouped`` by address."""
    count = np.zeros(users, np.int32)
    for address in range(len(starts) - 1):
        base = starts[address]
        n = starts[address + 1] - base
        t_of = np.empty(n, np.int64)
        for i in range(n):
            t_of[i] = timestamp[base + i] if i == 0 else max(t_of[i - 1], timestamp[base + i])
        first = distinct = at = 0
        while at < n:
            t = t_of[at]
            while first < at and t_of[first] < t - DAY_US:
                count[user[base + first]] -= 1
                distinct -= count[user[base + first]] == 0
                first += 1
            end = at
            while end < n and t_of[end] == t:
                if wanted[base + end] >= 0:
                    out[wanted[base + end]] = distinct
                end += 1
            for i in range(at, end):
                distinct += count[user[base + i]] == 0
                count[user[base + i]] += 1
            at = end
        for i in range(first, n):
            count[user[base + i]] = 0
