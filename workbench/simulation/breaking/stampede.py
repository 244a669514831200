"""Calls on trial: how many reach a backend that is still ill, each time that a breaker tries it."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workbench.clock import Clock
from workbench.errors import CircuitOpenError
from workbench.resilience.breaker import Outcome
from workbench.simulation.clients import BreakerSpec
from workbench.simulation.engine import Engine

__all__ = ["Guard", "Ungated", "calls_let_through", "sizes_of_trials"]


class Guard(Protocol):
    """What is asked of a breaker here: that of production has it."""

    def acquire(self) -> Any: ...
    def record(self, token: Any, outcome: Outcome) -> object: ...


class Ungated:
    """A breaker without a gate, as many are written: once its open time is over it lets everyone through until one
    of the calls reports. For comparison only; ``spec``: its thresholds and its open time.

    >>> from workbench.clock import VirtualClock
    >>> clock = VirtualClock()
    >>> breaker = Ungated(BreakerSpec(1, timeout=5), clock=clock)
    >>> breaker.record(None, Outcome.FAILURE)
    >>> clock.advance_ns(5 * 10**9)
    >>> len([breaker.acquire() for _ in range(50)])  # none is refused
    50
    """

    def __init__(self, spec: BreakerSpec, *, clock: Clock) -> None:
        self._clock, self._timeout_ns = clock, round(spec.timeout * 1e9)
        self._state, self._count, self._since_ns = "closed", 0, 0
        self._failures, self._successes = spec.failure_threshold or 5, spec.success_threshold

    def acquire(self) -> None:
        """Leave to make a call. Raises ``CircuitOpenError`` while it is open."""
        if self._state == "open":
            wait_ns = self._since_ns + self._timeout_ns - self._clock.monotonic_ns()
            if wait_ns > 0:
                raise CircuitOpenError("the breaker is open", name="ungated", retry_after=wait_ns / 1e9)
            self._state, self._count = "trial", 0

    def record(self, token: None, outcome: Outcome) -> None:  # noqa: ARG002
        """What a call came to. While it is open nothing counts."""
        failed = outcome is Outcome.FAILURE
        if self._state == "closed":
            self._count = self._count + 1 if failed else 0
            if self._count >= self._failures:
                self._open()
        elif self._state == "trial":
            self._count += 1
            if failed:
                self._open()
            elif self._count >= self._successes:
                self._state, self._count = "closed", 0

    def _open(self) -> None:
        self._state, self._since_ns = "open", self._clock.monotonic_ns()


def calls_let_through(
    make: Callable[[Clock], Guard], t: npt.NDArray[np.int64], *, answer_ns: int
) -> npt.NDArray[np.int64]:
    """Of calls wanted at ``t``, ns, sorted, the times of those that ``make(clock)`` lets through, shape (n,).

    Each of these fails ``answer_ns`` later: the backend is ill all the while.

    >>> t = np.array([0, 1, 6, 6, 6]) * 10**9
    >>> spec = BreakerSpec(1, timeout=5)
    >>> (calls_let_through(lambda clock: spec.make("x", clock=clock, seed=0), t, answer_ns=1) // 10**9).tolist()
    [0, 6]
    """
    engine = Engine()
    guard = make(engine.clock)
    through: list[int] = []

    def ask() -> None:
        try:
            token = guard.acquire()
        except CircuitOpenError:
            return
        through.append(engine.now_ns)
        engine.post(engine.now_ns + answer_ns, guard.record, (token, Outcome.FAILURE))

    for moment in t.tolist():
        engine.post(moment, ask)
    engine.run()
    return np.array(through, dtype=np.int64)


def sizes_of_trials(t: npt.NDArray[np.int64], *, apart_ns: int) -> npt.NDArray[np.int64]:
    """How many calls at ``t``, ns, sorted, lie together, with no gap of ``apart_ns`` between them; shape (trials,).

    >>> sizes_of_trials(np.array([0, 1, 2, 10, 20, 21]), apart_ns=5).tolist()
    [3, 1, 2]
    """
    if not len(t):
        return np.empty(0, dtype=np.int64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(t) >= apart_ns) + 1, [len(t)]])
    return np.diff(starts)
