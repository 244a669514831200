"""What the four algorithms have in common: the questions one can ask a state."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from workbench.resilience.decision import NEVER

__all__ = ["Meter"]

S = TypeVar("S")


class Meter(ABC, Generic[S]):
    """The arithmetic of one quota over states of type ``S``; ``None`` is the state of a key of which nothing is known.

    ``capacity``: the most units that fit at one moment. ``period``: the quota's. ``life``: the longest time for which a
    state matters. All times are integers of one unit.

    A state may come from the future, because a wall clock was set back. It is then taken as being of now (``settle``):
    units are counted as if they came now, so none is let through too early, and at worst the key waits one ``life``
    anew, not until the clock has caught up. A store keeps the settled state even when it refuses: otherwise each
    refusal would begin that wait again.
    """

    __slots__ = ("capacity", "life", "period")

    capacity: int
    life: int
    period: int

    @abstractmethod
    def charge(self, state: S | None, now: int, cost: int) -> S | None:
        """The state after ``cost`` (at least 1) units at ``now``; ``None`` if they do not fit.

        The state given need not be settled. It is used up: it may have been changed in place.
        """

    @abstractmethod
    def wait(self, state: S, now: int, cost: int) -> int:
        """How long until ``cost`` (1 to the capacity) units fit, if nobody else comes; 0 or less if they do now.

        The state is settled, here and in ``left`` and ``apart``.
        """

    @abstractmethod
    def left(self, state: S, now: int) -> tuple[int, int, int]:
        """``(remaining, next_after, reset_after)``: what would fit, how long until more will, and until all will."""

    @abstractmethod
    def settle(self, state: S, now: int) -> S:
        """The state itself; if it lies in the future of ``now``, another one that does not."""

    @abstractmethod
    def dead(self, state: S, now: int) -> bool:
        """Whether the state says no more than ``None`` would: the key may be forgotten."""

    def apart(self, state: S) -> S:
        """A state that may be used up while the given one stays as it is."""
        return state

    def retry_after(self, state: S | None, now: int, cost: int) -> int:
        """0 if ``cost`` units fit; else how long until they do, if nobody else comes; ``NEVER`` if no wait helps."""
        if cost > self.capacity:
            return NEVER
        if state is None or cost == 0:
            return 0
        return max(0, self.wait(state, now, cost))

    def ask(self, state: S | None, now: int, cost: int) -> tuple[S | None, bool, int, int, int, int]:
        """``(state after, allowed, remaining, retry_after, next_after, reset_after)``; the given state stays as it is.

        A refusal costs nothing: the state after it is the settled one. A cost of 0 asks only, and is always allowed.
        """
        if state is not None:
            state = self.settle(state, now)
        retry_after = self.retry_after(state, now, cost)
        if retry_after == 0 and cost > 0:
            state = self.charge(None if state is None else self.apart(state), now, cost)
        remaining, next_after, reset_after = (self.capacity, 0, 0) if state is None else self.left(state, now)
        return state, retry_after == 0, remaining, retry_after, next_after, reset_after
