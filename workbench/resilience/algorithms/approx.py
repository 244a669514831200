"""The sliding-window counter: two counts stand for the log, the older one weighted by the part still inside."""

from workbench.resilience.algorithms.meter import Meter

__all__ = ["Approx"]


class Approx(Meter[int]):
    """Lets ``cost`` pass while ``previous * (part of it still inside) + current + cost <= limit``, without rounding.

    State: one integer that packs the number of the clock's window, the units of the window before, and those in it.
    Bound: at most ``2 * limit - 1`` units in any window that slides, and one that is attained.

    >>> meter = Approx(10, 60)
    >>> state, *answer = meter.ask(None, 30, 10)
    >>> meter.ask(state, 60, 1)[1:4]
    (False, 0, 6)
    """

    __slots__ = ("bits", "mask")

    def __init__(self, limit: int, period: int) -> None:
        self.capacity = limit
        self.period = period
        self.life = 2 * period
        self.bits = limit.bit_length()
        self.mask = (1 << self.bits) - 1

    def charge(self, state: int | None, now: int, cost: int) -> int | None:
        period = self.period
        window, inside = divmod(now, period)
        if state is None:
            previous = current = 0
        else:
            previous, current = self._counts(state, window)
        if previous * (period - inside) + (current + cost - self.capacity) * period > 0:
            return None
        return ((window << self.bits | previous) << self.bits) + current + cost

    def wait(self, state: int, now: int, cost: int) -> int:
        period = self.period
        window, inside = divmod(now, period)
        previous, current = self._counts(state, window)
        room = self.capacity - current - cost
        if room >= 0:
            # The earliest moment of this window at which what is left of the one before fits into the room.
            enough = period - room * period // previous if previous else 0
            if enough < period:
                return enough - inside
        later = period - (self.capacity - cost) * period // current if current else 0
        return period - inside + max(0, later)

    def left(self, state: int, now: int) -> tuple[int, int, int]:
        period = self.period
        window, inside = divmod(now, period)
        previous, current = self._counts(state, window)
        if not previous and not current:
            return self.capacity, 0, 0
        remaining = max(0, self.capacity - current - -(-previous * (period - inside) // period))
        return remaining, self.wait(state, now, remaining + 1), (2 * period if current else period) - inside

    def settle(self, state: int, now: int) -> int:
        window = now // self.period
        later = (state >> 2 * self.bits) - window
        return state if later <= 0 else state - (later << 2 * self.bits)

    def dead(self, state: int, now: int) -> bool:
        return now // self.period - (state >> 2 * self.bits) >= 2

    def _counts(self, state: int, window: int) -> tuple[int, int]:
        """The units of the window before ``window``, and of ``window`` itself."""
        age = window - (state >> 2 * self.bits)
        if age <= 0:
            return state >> self.bits & self.mask, state & self.mask
        return (state & self.mask, 0) if age == 1 else (0, 0)
