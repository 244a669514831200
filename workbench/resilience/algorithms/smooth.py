"""The generic cell rate algorithm (ITU-T I.371, virtual scheduling): a burst at once, then evenly."""

from workbench.resilience.algorithms.meter import Meter

__all__ = ["Smooth"]


class Smooth(Meter[int]):
    """``burst`` units at once (``limit`` unless given), then one every ``ceil(period / limit)``.

    State: one integer, the theoretical arrival time (TAT): when nothing is used any more.
    Bound: in any closed interval of length L at most ``burst + L // interval`` units.

    >>> meter = Smooth(5, 10)
    >>> state, *answer = meter.ask(None, 0, 5)
    >>> meter.ask(state, 1, 1)[1:4]
    (False, 0, 1)
    """

    __slots__ = ("interval",)

    def __init__(self, limit: int, period: int, *, burst: int | None = None) -> None:
        self.period = period
        self.capacity = burst or limit
        self.interval = -(-period // limit)
        self.life = self.capacity * self.interval

    def charge(self, state: int | None, now: int, cost: int) -> int | None:
        after = (now if state is None or state < now else state) + cost * self.interval
        return after if after - now <= self.life else None

    def wait(self, state: int, now: int, cost: int) -> int:
        return max(state, now) + cost * self.interval - now - self.life

    def left(self, state: int, now: int) -> tuple[int, int, int]:
        used = state - now
        if used <= 0:
            return self.capacity, 0, 0
        remaining, part = divmod(self.life - used, self.interval)
        return remaining, self.interval - part, used

    def settle(self, state: int, now: int) -> int:
        return state if state - now <= self.life else now + self.life

    def dead(self, state: int, now: int) -> bool:
        return state <= now
