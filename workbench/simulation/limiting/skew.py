"""Limits that nodes with clocks of their own share: judged by one clock, or by that of the node that asks."""

from collections import deque

import numpy as np
import numpy.typing as npt

from workbench.clock import VirtualClock
from workbench.simulation.faults import Faults
from workbench.simulation.limiting.admitted import Bools, Ints
from workbench.simulation.limits import Gateway, LimitSpec

__all__ = ["CallersBucket", "CallersLog", "decided_by_nodes", "wall_times"]


class CallersBucket:
    """Other libraries' way, for comparison: a token bucket filled up by the time that its callers say it is.

    Full at first with ``limit`` tokens; ``limit`` more come in each ``period_ns``. It remembers when it was last asked,
    even if that is earlier than before, so that a caller ahead fills it anew after each caller behind.

    >>> bucket = CallersBucket(1, 10)
    >>> [bucket.hit(0), bucket.hit(9), bucket.hit(0), bucket.hit(10)]
    [True, False, False, True]
    """

    def __init__(self, limit: int, period_ns: int) -> None:
        self._limit, self._period_ns = limit, period_ns
        self._filled = limit * period_ns  # in parts of a token, so that all is whole numbers
        self._last_ns: int | None = None

    def hit(self, now_ns: int) -> bool:
        """Whether a request passes; it is charged if so."""
        if self._last_ns is not None:
            passed = max(0, now_ns - self._last_ns)
            self._filled = min(self._limit * self._period_ns, self._filled + passed * self._limit)
        self._last_ns = now_ns
        if self._filled < self._period_ns:
            return False
        self._filled -= self._period_ns
        return True


class CallersLog:
    """A log without a thought for clocks that go back: stamps of the future count until that has come, and passed.

    >>> log = CallersLog(1, 10)
    >>> [log.hit(100), log.hit(0), log.hit(99), log.hit(110)]
    [True, False, False, True]
    """

    def __init__(self, limit: int, period_ns: int) -> None:
        self._limit, self._period_ns = limit, period_ns
        self._stamps: deque[int] = deque()

    def hit(self, now_ns: int) -> bool:
        """Whether a request passes; it is charged if so."""
        while self._stamps and self._stamps[0] <= now_ns - self._period_ns:
            self._stamps.popleft()
        if len(self._stamps) >= self._limit:
            return False
        self._stamps.append(now_ns)
        return True


def decided_by_nodes(spec: LimitSpec, t: Ints, node: npt.NDArray[np.integer], faults: Faults) -> Bools:
    """What the production limiter of ``spec`` says to requests of one key at true times ``t``, ns, sorted.

    ``node``: which node each comes to, from 0; both of shape (n,). ``faults`` say how the nodes' clocks differ.

    >>> from workbench.simulation.faults import ClockSkew
    >>> ahead = Faults([ClockSkew(by=60, share=0.5)])
    >>> spec = LimitSpec("1/minute", nodes=2, clock="wall")
    >>> decided_by_nodes(spec, np.array([0, 1, 2]), np.array([1, 1, 0]), ahead).tolist()
    [True, False, True]
    """
    clock = VirtualClock()
    gateway = Gateway([spec], clock, faults)
    allowed = np.zeros(len(t), dtype=np.bool_)
    for place, (t_ns, number) in enumerate(zip(t.tolist(), node.tolist(), strict=True)):
        clock.advance_ns(t_ns - clock.monotonic_ns())
        allowed[place] = gateway.admits(0, "all", 1, number)
    return allowed


def wall_times(t: Ints, node: npt.NDArray[np.integer], faults: Faults, *, nodes: int) -> Ints:
    """What the wall clock of the node that is asked shows at each true time ``t``, ns; all of shape (n,).

    >>> from workbench.simulation.faults import ClockStep
    >>> wall_times(np.array([0, 2 * 10**9]), np.array([0, 0]), Faults([ClockStep(by=-1, at=1)]), nodes=1).tolist()
    [0, 1000000000]
    """
    pairs = zip(t.tolist(), node.tolist(), strict=True)
    return np.array([t_ns + faults.clock_offset_ns(t_ns, one, nodes) for t_ns, one in pairs], dtype=np.int64)
