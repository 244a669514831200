"""The event loop: callbacks in the order of their times, on a clock that jumps from one to the next.

Times are integer nanoseconds, and events of the same time come in the order in which they were scheduled. So a run
hangs on nothing but what it is given: no machine's speed, no rounding, no order of a set.
"""

import hashlib
from collections.abc import Callable
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any, Final

import numpy as np

from workbench.clock import VirtualClock
from workbench.errors import InputError

__all__ = ["Engine", "EngineClock", "Handle"]

_NEVER: Final = 1 << 63
_BLOCK: Final = 1 << 9  # events put into the digest at once
_NAME: Final = attrgetter("__name__")

_Event = tuple[int, int, Callable[..., object], tuple[Any, ...]]


class EngineClock(VirtualClock):
    """The time of the event that is running. Only its engine moves it.

    Sleeping raises ``InputError``: an event lasts no time, and what is to come later is scheduled.
    """

    def advance_ns(self, duration_ns: int) -> None:
        raise InputError(
            f"something wanted to wait {duration_ns} ns within an event; schedule the rest with Engine.after instead"
        )


class Handle:
    """An event that was scheduled, so that it can be cancelled."""

    __slots__ = ("_cancelled", "_number", "t_ns")

    def __init__(self, t_ns: int, number: int, cancelled: set[int]) -> None:
        self.t_ns = t_ns
        self._number = number
        self._cancelled = cancelled

    def cancel(self) -> None:
        """Do not run it. Of one that has run already, nothing."""
        self._cancelled.add(self._number)


class Engine:
    """Runs callbacks at their virtual times. Give ``clock`` to breakers, stores and all else that reads a clock.

    ``start_ns``: the first moment. ``trace``: keep a digest of every event, for ``trace_sha256``; it takes a fifth of
    a microsecond each. ``now_ns`` is the time, for reading.

    >>> engine, told = Engine(), []
    >>> _ = engine.after(2_000, told.append, "second")
    >>> _ = engine.after(1_000, told.append, "first")
    >>> engine.after(1_500, told.append, "never").cancel()
    >>> engine.run()
    >>> told, engine.now_ns, engine.clock.time_ns(), engine.events
    (['first', 'second'], 2000, 2000, 2)
    """

    __slots__ = ("_cancelled", "_dropped", "_heap", "_number", "_running", "_stopped", "_trace", "clock", "now_ns")

    def __init__(self, *, start_ns: int = 0, trace: bool = False) -> None:
        self.clock = EngineClock(start_ns=start_ns)
        self.now_ns = start_ns
        self._heap: list[_Event] = []
        self._number = self._dropped = 0
        self._cancelled: set[int] = set()
        self._running = self._stopped = False
        self._trace = _Trace() if trace else None

    def at(self, t_ns: int, function: Callable[..., object], *args: Any) -> Handle:
        """Call ``function(*args)`` at ``t_ns``. Raises ``InputError`` for a time that has passed."""
        if t_ns < self.now_ns:
            raise InputError(f"it is {self.now_ns} ns already: nothing can be scheduled at {t_ns} ns")
        self.post(t_ns, function, args)
        return Handle(t_ns, self._number, self._cancelled)

    def after(self, delay_ns: int, function: Callable[..., object], *args: Any) -> Handle:
        """Call ``function(*args)`` in ``delay_ns`` nanoseconds. Raises ``InputError`` for a negative delay."""
        return self.at(self.now_ns + delay_ns, function, *args)

    def post(self, t_ns: int, function: Callable[..., object], args: tuple[Any, ...] = ()) -> None:
        """``at`` for what is never cancelled, unchecked: half the time, for models with millions of events."""
        self._number = number = self._number + 1
        heappush(self._heap, (t_ns, number, function, args))

    def stop(self) -> None:
        """Return from ``run`` after the event that is running. What is scheduled stays."""
        self._stopped = True

    def run(self, until_ns: int | None = None) -> None:
        """Run all events up to and including those at ``until_ns``, which is then the time; or all there are.

        What an event raises ends the run, and the engine can go on from there. Raises ``InputError`` if called from
        within an event.
        """
        if self._running:
            raise InputError("the engine is running already: an event cannot run it")
        self._running, self._stopped = True, False
        try:
            self._run(_NEVER if until_ns is None else until_ns)
        finally:
            self._running = False
        if until_ns is not None and not self._stopped and until_ns > self.now_ns:
            self._move(until_ns)

    @property
    def events(self) -> int:
        """How many events ran so far, with the one that is running."""
        return self._number - len(self._heap) - self._dropped

    @property
    def trace_sha256(self) -> str:
        """SHA-256 over (time, number, name of the function) of every event so far, in hexadecimal.

        Raises ``InputError`` for an engine that was made without ``trace``.
        """
        if self._trace is None:
            raise InputError("this engine keeps no trace; make it with Engine(trace=True)")
        return self._trace.hexdigest()

    def _run(self, until_ns: int) -> None:
        heap, clock, cancelled, trace = self._heap, self.clock, self._cancelled, self._trace
        waiting = [] if trace is None else trace.waiting
        while heap and not self._stopped:
            event = heappop(heap)
            t_ns, number, function, args = event
            if t_ns > until_ns:
                heappush(heap, event)
                return
            if cancelled and number in cancelled:
                cancelled.discard(number)
                self._dropped += 1
                continue
            self.now_ns = clock._now_ns = t_ns
            if trace is not None:
                waiting.append(event)
                if len(waiting) == _BLOCK:
                    trace.feed()
            function(*args)
        if not heap:
            cancelled.clear()  # of events that had run already

    def _move(self, t_ns: int) -> None:
        self.now_ns = self.clock._now_ns = t_ns


class _Trace:
    """A running digest, fed in blocks: a hash call for each event would cost more than the event."""

    __slots__ = ("_hash", "waiting")

    def __init__(self) -> None:
        self._hash = hashlib.sha256(b"events 1\n")
        self.waiting: list[_Event] = []

    def feed(self) -> None:
        """Take up the events that wait."""
        self._hash = self._fed()
        self.waiting.clear()

    def hexdigest(self) -> str:
        return self._fed().hexdigest()

    def _fed(self) -> "hashlib._Hash":
        digest = self._hash.copy()
        if self.waiting:
            times, numbers, functions, _ = zip(*self.waiting, strict=True)
            digest.update(np.array([times, numbers], dtype="<i8").tobytes())
            digest.update("\n".join(map(_NAME, functions)).encode())
        return digest
