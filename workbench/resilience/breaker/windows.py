"""What share of the last calls failed or was slow: over the last n calls, or over the last seconds.

A window belongs to one generation of a closed breaker, and is changed only under that breaker's lock.
"""

from collections import deque
from typing import Final, Protocol

from workbench.resilience.breaker.settings import BreakerSettings

__all__ = ["CallWindow", "TimeWindow", "Window", "new_window"]

_SECOND_NS: Final = 1_000_000_000


class Window(Protocol):
    """Sums over the calls that still count."""

    calls: int
    failures: int
    slow: int

    def add(self, failed: bool, slow: bool, now_ns: int) -> None: ...


class CallWindow:
    """The last ``size`` calls, one byte each.

    >>> window = CallWindow(2)
    >>> for failed in (True, False, False):
    ...     window.add(failed, False, 0)
    >>> window.calls, window.failures
    (2, 0)
    """

    __slots__ = ("_next", "_ring", "calls", "failures", "slow")

    def __init__(self, size: int) -> None:
        self._ring = bytearray(size)  # bit 0: it failed; bit 1: it was slow
        self._next = 0
        self.calls = self.failures = self.slow = 0

    def add(self, failed: bool, slow: bool, now_ns: int) -> None:  # noqa: ARG002
        old = self._ring[self._next]
        self._ring[self._next] = failed | slow << 1
        self._next = (self._next + 1) % len(self._ring)
        self.calls = min(self.calls + 1, len(self._ring))
        self.failures += failed - (old & 1)
        self.slow += slow - (old >> 1)


class TimeWindow:
    """The calls of the last ``span_ns``, in buckets of a second: a call counts until its whole second is too old.

    So with 10 s a call counts for more than 9 and at most 10 seconds. Memory: one bucket a second in which something
    came.

    >>> window = TimeWindow(2 * 10**9)
    >>> for second in (0, 1, 2):
    ...     window.add(True, False, second * 10**9)
    >>> window.calls, window.failures
    (2, 2)
    """

    __slots__ = ("_buckets", "_seconds", "calls", "failures", "slow")

    def __init__(self, span_ns: int) -> None:
        self._seconds = span_ns // _SECOND_NS
        self._buckets: deque[list[int]] = deque()  # [second, calls, failures, slow], in order
        self.calls = self.failures = self.slow = 0

    def add(self, failed: bool, slow: bool, now_ns: int) -> None:
        second = now_ns // _SECOND_NS
        if not self._buckets or second > self._buckets[-1][0]:
            self._buckets.append([second, 0, 0, 0])
            while self._buckets[0][0] <= second - self._seconds:
                _, calls, failures, slows = self._buckets.popleft()
                self.calls -= calls
                self.failures -= failures
                self.slow -= slows
        newest = self._buckets[-1]  # also for a call that ended before others but reports after them
        newest[1] += 1
        newest[2] += failed
        newest[3] += slow
        self.calls += 1
        self.failures += failed
        self.slow += slow


def new_window(settings: BreakerSettings) -> Window | None:
    """An empty window as the settings want it; ``None`` if they want none."""
    if not settings.has_rates:
        return None
    return TimeWindow(settings.window) if settings.by_time else CallWindow(settings.window)
