"""Time is injected: every part that reads a clock takes one of these.

``SystemClock`` is the default everywhere; ``VirtualClock`` is a public part, for simulations and tests.
Times are integer nanoseconds since the Unix epoch, UTC.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "VirtualClock", "utc"]


class Clock(Protocol):
    """What a clock can do. ``monotonic_ns`` never goes back; ``time_ns`` may, as wall clocks do."""

    def time_ns(self) -> int: ...
    def monotonic_ns(self) -> int: ...
    def sleep_ns(self, duration_ns: int) -> None: ...


class SystemClock:
    """The machine's own clocks, called without a detour: a limiter asks a million times a second."""

    time_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    def sleep_ns(self, duration_ns: int) -> None:
        time.sleep(duration_ns / 1e9)


class VirtualClock:
    """A clock that moves only when told to; sleeping moves it and returns at once.

    >>> clock = VirtualClock(start_ns=1_000)
    >>> clock.sleep_ns(500)
    >>> clock.time_ns()
    1500
    """

    def __init__(self, *, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def time_ns(self) -> int:
        return self._now_ns

    def monotonic_ns(self) -> int:
        return self._now_ns

    def sleep_ns(self, duration_ns: int) -> None:
        self.advance_ns(duration_ns)

    def advance_ns(self, duration_ns: int) -> None:
        """Move forward by ``duration_ns`` nanoseconds; a negative duration is a ``ValueError``."""
        if duration_ns < 0:
            raise ValueError(f"a clock cannot advance by {duration_ns} ns")
        self._now_ns += duration_ns


def utc(time_ns: int) -> str:
    """ISO 8601 in UTC with milliseconds.

    >>> utc(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123Z'
    """
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1_000_000:03d}Z"
