"""Windows of the clock: the simplest count, and the loosest."""

from zlib import crc32

from workbench.resilience.algorithms.meter import Meter

__all__ = ["Fixed", "phase_of"]


class Fixed(Meter[int]):
    """At most ``limit`` units in each window of the clock, ``[k * period, (k + 1) * period)``.

    State: one integer that packs the number of the window and the units in it.
    Bound: at most ``2 * limit`` units in any window that slides (the end of one and the start of the next).

    >>> meter = Fixed(3, 10)
    >>> state, *answer = meter.ask(None, 9, 3)
    >>> meter.ask(state, 9, 1)[1:4], meter.ask(state, 10, 3)[1:4]
    ((False, 0, 1), (True, 0, 0))
    """

    __slots__ = ("bits", "mask")

    def __init__(self, limit: int, period: int) -> None:
        self.capacity = limit
        self.period = self.life = period
        self.bits = limit.bit_length()
        self.mask = (1 << self.bits) - 1

    def charge(self, state: int | None, now: int, cost: int) -> int | None:
        window = now // self.period
        used = cost if state is None or state >> self.bits < window else (state & self.mask) + cost
        return window << self.bits | used if used <= self.capacity else None

    def wait(self, state: int, now: int, cost: int) -> int:
        used = 0 if self.dead(state, now) else state & self.mask
        return self.period - now % self.period if used + cost > self.capacity else 0

    def left(self, state: int, now: int) -> tuple[int, int, int]:
        if self.dead(state, now):
            return self.capacity, 0, 0
        rest = self.period - now % self.period
        return self.capacity - (state & self.mask), rest, rest

    def settle(self, state: int, now: int) -> int:
        later = (state >> self.bits) - now // self.period
        return state if later <= 0 else state - (later << self.bits)

    def dead(self, state: int, now: int) -> bool:
        return state >> self.bits < now // self.period


def phase_of(key: str, period: int) -> int:
    """By how much the windows of ``key`` begin earlier than the clock's, where they are staggered: below ``period``.

    The same in every process, so that those who share a store agree.

    >>> phase_of("u:42", 60), phase_of("u:43", 60)
    (9, 18)
    """
    return crc32(key.encode("utf-8", "surrogatepass")) * period >> 32
