"""The sliding-window log: never more than the limit in any window, whatever comes."""

from array import array
from bisect import bisect_right

from workbench.resilience.algorithms.meter import Meter

__all__ = ["Exact"]

_SLACK = 8


class Exact(Meter["array[int]"]):
    """At most ``limit`` units in *any* window ``(t - period, t]``: what is exactly one period old has left.

    State: an array of 64-bit integers. The first is the index of the oldest stamp that counts; the stamps of the units
    let through follow in order. Stamps that left are dropped by the lot, so a hit costs the same at any limit.

    >>> meter = Exact(2, 10)
    >>> state, *answer = meter.ask(None, 0, 2)
    >>> meter.ask(state, 3, 1)[1:4]
    (False, 0, 7)
    """

    __slots__ = ()

    def __init__(self, limit: int, period: int) -> None:
        self.capacity = limit
        self.period = self.life = period

    def charge(self, state: "array[int] | None", now: int, cost: int) -> "array[int] | None":
        if cost > self.capacity:
            return None
        if state is None:
            return array("q", [1, now] if cost == 1 else [1] + [now] * cost)
        if state[-1] > now:
            state = self.settle(state, now)
        first = state[0]
        if state[first] <= now - self.period:
            first = bisect_right(state, now - self.period, first + 1)
        if len(state) - first + cost > self.capacity:
            return None
        if first > _SLACK + (len(state) >> 3):
            del state[1:first]
            first = 1
        state[0] = first
        if cost == 1:
            state.append(now)
        else:
            state.extend([now] * cost)
        return state

    def wait(self, state: "array[int]", now: int, cost: int) -> int:
        first = self._first(state, now)
        surplus = len(state) - first + cost - self.capacity
        return state[first + surplus - 1] + self.period - now if surplus > 0 else 0

    def left(self, state: "array[int]", now: int) -> tuple[int, int, int]:
        first = self._first(state, now)
        used = len(state) - first
        if not used:
            return self.capacity, 0, 0
        return self.capacity - used, state[first] + self.period - now, state[-1] + self.period - now

    def settle(self, state: "array[int]", now: int) -> "array[int]":
        if state[-1] <= now:
            return state
        later = bisect_right(state, now, state[0])
        return state[:later] + array("q", [now]) * (len(state) - later)

    def dead(self, state: "array[int]", now: int) -> bool:
        return state[-1] <= now - self.period

    def apart(self, state: "array[int]") -> "array[int]":
        return state[:]

    def _first(self, state: "array[int]", now: int) -> int:
        return bisect_right(state, now - self.period, state[0])
