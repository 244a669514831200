"""Limiters over whole traces, compiled: the decisions of ``RateLimiter`` over ``MemoryStore``, hundreds of millions a
second.

This is the one place that states the four algorithms again, for speed; tests hold it to the production objects, bit for
bit. Time and key are arrays; nothing is asked back, so it serves where traffic does not hang on the answers. States
are one integer or a few for each key, in arrays. A trace whose clock goes back is answered as well, with what the
store had forgotten by then: ``_walk`` follows its hand.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.compiled import compiled
from workbench.errors import InputError
from workbench.resilience.algorithms import algorithm_of, phase_of
from workbench.resilience.quota import Quota

__all__ = ["replay"]

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

_GONE: Final = -(2**63)  # what the store does not know
_LATEST: Final = 2**62
_KEYS_AT_MOST: Final = 2**31 - 1
_FEW: Final = 1 << 14  # as in workbench.resilience.stores.hand

# The places in ``_Hand.at``.
_DUE, _BEGIN_AT, _KEYS, _ORDERED, _TODO, _TURN = range(6)


class _Hand(NamedTuple):
    """The store's hand, which forgets dead keys two a hit: seen from outside only where a clock goes back.

    ``expires``: when each key is dead, or ``_GONE``. ``order``: keys as they came; an entry counts if ``entered`` of
    its key says so. ``todo``: keys still to look at. All are empty where the clock never goes back.
    """

    expires: Ints
    order: Codes
    entered: Ints
    todo: Codes
    at: Ints

    @classmethod
    def over(cls, keys: int, requests: int) -> "_Hand":
        at = np.array([_GONE, _FEW, 0, 0, 0, -1], dtype=np.int64)
        expires, entered = np.full(keys, _GONE, dtype=np.int64), np.zeros(keys, dtype=np.int64)
        return cls(expires, np.empty(requests, dtype=np.int32), entered, np.empty(keys, dtype=np.int32), at)


def replay(
    quota: Quota,
    t: npt.ArrayLike,
    key: npt.ArrayLike,
    *,
    cost: npt.ArrayLike | None = None,
    keys: int | None = None,
    names: Sequence[str] | None = None,
) -> Flags:
    """Whether each request is allowed, shape (n,): what ``RateLimiter(quota)`` says over a memory store with room for
    all keys.

    ``t``: times in ns, shape (n,), in the order of the requests; they may repeat, and go back where a clock does.
    ``key``: whole numbers from 0, shape (n,). ``cost``: units, shape (n,); 1 unless given, and 0 only asks.
    ``keys``: how many there are; one more than the greatest unless given. ``names``: the text of each key, shape
    (keys,); its number unless given. It matters to staggered windows alone.
    Takes 8 to 32 bytes a key; ``exact`` 8 more for each unit asked for, up to ``limit`` a key.
    Raises ``InputError`` for arrays of other shapes or kinds, a key or cost out of range, and times or a quota beyond
    what 64 bits count exactly.

    >>> quota = Quota.parse("2/minute", algorithm="smooth")
    >>> replay(quota, [0, 0, 0, 30_000_000_000], [7, 7, 7, 7]).tolist()
    [True, True, False, True]
    """
    times, codes, costs, size = _checked(quota, t, key, cost, keys)
    hand = _Hand.over(size, len(times)) if _goes_back(times) else None
    meter = algorithm_of(quota)
    given = (times, codes, costs, size, meter.capacity)
    if quota.algorithm == "smooth":
        return _smooth(*given, meter.life // meter.capacity, hand)
    if quota.algorithm == "approx":
        return _approx(*given, meter.period, hand)
    if quota.algorithm == "exact":
        if cost is None and hand is None:
            return _exact_by_one(times, codes, size, meter.capacity, meter.period)
        return _exact(*given, meter.period, hand)
    phases = np.zeros(0, dtype=np.int64)
    if quota.stagger:
        texts = list(map(str, range(size))) if names is None else names
        if len(texts) != size:
            raise InputError(f"{size:,} keys and {len(texts):,} names: expected a name for each key")
        phases = np.array([phase_of(text, meter.period) for text in texts], dtype=np.int64)
    return _fixed(*given, meter.period, phases, hand)


def _checked(
    quota: Quota, t: npt.ArrayLike, key: npt.ArrayLike, cost: npt.ArrayLike | None, keys: int | None
) -> tuple[Ints, Codes, Ints | None, int]:
    times, codes = _whole("times", t), _whole("keys", key)
    costs = None if cost is None else _whole("costs", cost)
    if not len(times) == len(codes) == len(codes if costs is None else costs):
        counts = f"{len(times):,} times, {len(codes):,} keys" + ("" if costs is None else f", {len(costs):,} costs")
        raise InputError(f"{counts}: expected one of each for each request")
    least, greatest = (int(codes.min()), int(codes.max())) if len(codes) else (0, -1)
    size = greatest + 1 if keys is None else keys
    if least < 0 or greatest >= min(size, _KEYS_AT_MOST):
        allowed = f"whole numbers from 0 to {max(0, min(size, _KEYS_AT_MOST) - 1):,}"
        raise InputError(f"keys are {allowed}; one is {least if least < 0 else greatest:,}")
    if costs is not None:
        if int(costs.min(initial=0)) < 0:
            raise InputError(f"a cost is a whole number of at least 0, not {int(costs.min())}")
        costs = costs.astype(np.int64, copy=False)
    meter = algorithm_of(quota)
    largest = meter.capacity * meter.period if quota.algorithm == "approx" else max(meter.life, meter.period)
    if max(int(times.max(initial=0)), -int(times.min(initial=0)), largest) >= _LATEST:
        raise InputError(f"quota {quota.name!r} at these times needs more than 64 bits; ask a RateLimiter instead")
    return times.astype(np.int64, copy=False), codes.astype(np.int32, copy=False), costs, size


def _whole(what: str, given: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.ascontiguousarray(given) if np.size(given) else np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.dtype == np.uint64:
        raise InputError(f"{what} are whole numbers in one dimension, not {array.dtype} of shape {array.shape}")
    return array


@compiled(error_model="numpy")
def _goes_back(t: Ints) -> bool:
    back = 0
    for i in range(1, len(t)):
        back += t[i] < t[i - 1]
    return back > 0


@compiled(error_model="numpy")
def _smooth(
    t: Ints, key: Codes, cost: Ints | None, keys: int, capacity: int, interval: int, hand: _Hand | None
) -> Flags:
    life = capacity * interval
    tats = np.full(keys, _GONE, np.int64)
    allowed = np.empty(len(t), np.bool_)
    for i in range(len(t)):
        now, k = t[i], np.uint32(key[i])
        units = 1 if cost is None else cost[i]
        if hand is not None:
            _walk(hand, now, units, life)
            if hand.expires[k] == _GONE:
                tats[k] = _GONE
        tat = min(tats[k], now + life)  # what is of the future is taken as being of now
        after = max(tat, now) + min(units, capacity) * interval
        passes = (after - now <= life) & (units <= capacity)
        tat = tats[k] = after if passes & (units > 0) else tat
        allowed[i] = passes | (units == 0)
        if hand is not None:
            _keep(hand, key[i], tat)
    return allowed


@compiled(error_model="numpy")
def _fixed(
    t: Ints,
    key: Codes,
    cost: Ints | None,
    keys: int,
    capacity: int,
    period: int,
    phases: Ints,
    hand: _Hand | None,
) -> Flags:
    states = np.empty((keys, 2), np.int64)  # the window, and the units in it
    states[:, 0] = _GONE
    allowed = np.empty(len(t), np.bool_)
    begin = window = 0
    for i in range(len(t)):
        now, k = t[i], np.uint32(key[i])
        units = 1 if cost is None else cost[i]
        if hand is not None:
            _walk(hand, now, units, period)
            if hand.expires[k] == _GONE:
                states[k, 0] = _GONE
        if now < begin or now - begin >= period:
            window = now // period
            begin = window * period
        own = window
        if len(phases) and now - begin >= period - phases[k]:
            own += 1
        within = states[k, 0] >= own  # in this window, or in one of the future, which is taken as this one
        used = states[k, 1] if within else 0
        passes = units <= capacity - used
        charged = units if passes else 0
        if hand is None or within or charged:  # what is no longer of use may yet be, where a clock goes back
            states[k, 0] = own
            states[k, 1] = used + charged
        allowed[i] = passes | (units == 0)
        if hand is not None:
            _keep(hand, key[i], (states[k, 0] + 1) * period if states[k, 0] != _GONE else _GONE)
    return allowed


@compiled(error_model="numpy")
def _approx(t: Ints, key: Codes, cost: Ints | None, keys: int, capacity: int, period: int, hand: _Hand | None) -> Flags:
    states = np.empty((keys, 3), np.int64)  # the window, the units in the one before, and those in it
    states[:, 0] = _GONE
    allowed = np.empty(len(t), np.bool_)
    begin = window = 0
    for i in range(len(t)):
        now, k = t[i], np.uint32(key[i])
        units = 1 if cost is None else cost[i]
        if hand is not None:
            _walk(hand, now, units, 2 * period)
            if hand.expires[k] == _GONE:
                states[k, 0] = _GONE
        if now < begin or now - begin >= period:
            window = now // period
            begin = window * period
        last, newest = states[k, 0], states[k, 2]
        within = last >= window
        previous = states[k, 1] if within else newest if last == window - 1 else 0
        current = newest if within else 0
        room = capacity - current - min(units, capacity)
        passes = (previous * (period - now + begin) <= room * period) & (units <= capacity)
        charged = units if passes else 0
        if hand is None or within or charged:
            states[k, 0] = window
            states[k, 1] = previous
            states[k, 2] = current + charged
        allowed[i] = passes | (units == 0)
        if hand is not None:
            _keep(hand, key[i], (states[k, 0] + 2) * period if states[k, 0] != _GONE else _GONE)
    return allowed


@compiled(error_model="numpy")
def _exact_by_one(t: Ints, key: Codes, keys: int, capacity: int, period: int) -> Flags:
    """Units one by one, and a clock that only goes forward: the oldest stamp alone decides, without a branch."""
    rings = _rings(key, None, keys, capacity)
    stamps = np.full(rings[-1, 1] if keys else 0, _GONE, np.int64)
    allowed = np.empty(len(t), np.bool_)
    for i in range(len(t)):
        now, k = t[i], np.uint32(key[i])
        place = np.uint64(rings[k, 2])
        oldest = stamps[place]
        passes = oldest <= now - period
        stamps[place] = now if passes else oldest
        after = rings[k, 2] + passes
        rings[k, 2] = rings[k, 0] if after == rings[k, 1] else after
        allowed[i] = passes
    return allowed


@compiled(error_model="numpy")
def _exact(t: Ints, key: Codes, cost: Ints | None, keys: int, capacity: int, period: int, hand: _Hand | None) -> Flags:
    rings = _rings(key, cost, keys, capacity)  # begin, end, place of the oldest stamp, stamps
    stamps = np.empty(rings[-1, 1] if keys else 0, np.int64)
    allowed = np.empty(len(t), np.bool_)
    for i in range(len(t)):
        now, k = t[i], np.uint32(key[i])
        units = 1 if cost is None else cost[i]
        begin, end, oldest, count = rings[k, 0], rings[k, 1], rings[k, 2], rings[k, 3]
        if hand is not None:
            _walk(hand, now, units, period)
            if hand.expires[k] == _GONE:
                count = rings[k, 3] = 0
            for nth in range(count - 1, -1, -1):  # those of the future
                place = oldest + nth - (end - begin if oldest + nth >= end else 0)
                if stamps[place] <= now:
                    break
                stamps[place] = now
        while count and stamps[oldest] <= now - period:
            count -= 1
            oldest = begin if oldest + 1 == end else oldest + 1
        passes = units <= capacity - count or units == 0
        if passes and units:
            place = oldest + count - (end - begin if oldest + count >= end else 0)
            for _ in range(units):
                stamps[place] = now
                place = begin if place + 1 == end else place + 1
            rings[k, 2] = oldest
            rings[k, 3] = count + units
        allowed[i] = passes
        if hand is not None:
            kept = rings[k, 3]
            newest = rings[k, 2] + kept - 1
            newest -= end - begin if newest >= end else 0
            _keep(hand, key[i], stamps[newest] + period if kept else _GONE)
    return allowed


@compiled(error_model="numpy")
def _rings(key: Codes, cost: Ints | None, keys: int, capacity: int) -> Ints:
    """A ring for each key, as long as it can ever need: a row of begin, end, place of the oldest stamp, and stamps."""
    rings = np.zeros((keys, 4), np.int64)
    for i in range(len(key)):
        units = 1 if cost is None else cost[i]
        rings[key[i], 1] = min(capacity, rings[key[i], 1] + min(units, capacity))
    total = 0
    for k in range(keys):
        rings[k, 0] = rings[k, 2] = total
        total += rings[k, 1]
        rings[k, 1] = total
    return rings


@compiled(error_model="numpy")
def _walk(hand: _Hand, now: int, units: int, life: int) -> None:
    """What the store's hand does before a request is answered. One that only asks goes the long way, past it twice."""
    at = hand.at
    for _ in range(1 if units else 2):
        if now < at[_DUE]:
            return
        for _ in range(2):
            if at[_TODO]:
                at[_TODO] -= 1
                k = hand.todo[at[_TODO]]
                if hand.expires[k] != _GONE and now >= hand.expires[k]:
                    hand.expires[k] = _GONE
                    at[_KEYS] -= 1
            elif at[_TURN] < 0:
                at[_TURN] = 0
                _list(hand)
            else:
                at[_TURN] = -1
                at[_DUE] = now + life
                at[_BEGIN_AT] = at[_KEYS] + max(_FEW, at[_KEYS] >> 2)


@compiled(error_model="numpy")
def _list(hand: _Hand) -> None:
    """Put all keys on the hand's list, in the order in which they came."""
    at, listed = hand.at, 0
    for place in range(at[_ORDERED]):
        k = hand.order[place]
        if hand.entered[k] == place and hand.expires[k] != _GONE:
            hand.order[listed] = hand.todo[listed] = k
            hand.entered[k] = listed
            listed += 1
    at[_ORDERED] = at[_TODO] = listed


@compiled(error_model="numpy")
def _keep(hand: _Hand, k: int, expires: int) -> None:
    """Note until when a key's state matters; ``_GONE`` if it has none."""
    if expires == _GONE:
        return
    if hand.expires[k] == _GONE:
        at = hand.at
        hand.order[at[_ORDERED]] = k
        hand.entered[k] = at[_ORDERED]
        at[_ORDERED] += 1
        at[_KEYS] += 1
        if at[_KEYS] >= at[_BEGIN_AT]:
            at[_DUE] = _GONE
    hand.expires[k] = expires
