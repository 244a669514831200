"""asyncio in virtual time: ``async def`` code runs as it is, and waiting takes no time.

Where the usual loop would wait for its next timer, this one moves a ``VirtualClock`` there. So an hour of retries and
time limits takes as long as the code between them, and the same code always runs in the same order. For tests and
small models; ``Engine`` runs several times as many events a second.
"""

import asyncio
import math
from asyncio import BaseEventLoop, TimerHandle
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from heapq import heappush
from itertools import count
from typing import Any, Final, NoReturn, TypeVar

from workbench.clock import VirtualClock
from workbench.errors import InputError

__all__ = ["VirtualLoop", "run_virtual"]

T = TypeVar("T")

_SHOWN: Final = 5
_REFUSED: Final = (
    "add_reader",
    "add_writer",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "run_in_executor",
    "sendfile",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
)


class VirtualLoop(BaseEventLoop):
    """An event loop on ``clock``; ``time()`` is the seconds since the loop was made.

    Timers that are due at the same time run in the order in which they were set. Threads, sockets and processes live
    in real time, so whatever needs them raises ``InputError``. So does a wait that nothing can end: the message names
    the tasks that wait, and where.
    """

    def __init__(self, clock: VirtualClock | None = None) -> None:
        super().__init__()
        self.clock = VirtualClock() if clock is None else clock
        self._start_ns = self.clock.monotonic_ns()
        self._numbers = count()
        self._selector = _Waiting(self)  # what the base asks when it has nothing to run

    def time(self) -> float:
        return (self.clock.monotonic_ns() - self._start_ns) / 1e9

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        timer = _Timer(when, callback, args, self, context, next(self._numbers))
        heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    @property
    def _clock_resolution(self) -> float:
        """How much later than now a timer may be and still run: as little as floats can tell, so that one that is due
        now does, however late it is."""
        return math.ulp(self.time())

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        """The base sets that of the machine's clock, which is of no matter here."""

    # What the base leaves to its subclasses.

    def _process_events(self, events: list[Any]) -> None:
        """There are none: nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nothing to wake: it never sleeps."""


def run_virtual(coroutine: Coroutine[Any, Any, T], *, clock: VirtualClock | None = None) -> T:
    """What ``coroutine`` returns, as of ``asyncio.run``, in virtual time; ``clock`` moves with it.

    Give the same ``clock`` to the limiters and breakers that the code uses. Within a running loop, as in a notebook,
    it runs in a thread of its own. Raises ``InputError`` for a wait without end, and for input and output.

    >>> async def patient() -> str:
    ...     await asyncio.sleep(3_600)
    ...     return "done"
    >>> clock = VirtualClock()
    >>> run_virtual(patient(), clock=clock), clock.monotonic_ns()
    ('done', 3600000000000)
    """

    def run() -> T:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
            return runner.run(coroutine)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


class _Timer(TimerHandle):
    """A timer that comes after all that were set before it for the same time."""

    __slots__ = ("_number",)

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Any,
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
        number: int,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self._number = number

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self.when(), self._number) < (other.when(), other._number)


class _Waiting:
    """In place of a selector: time goes on instead of being waited for."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise InputError(_deadlock(self._loop))
        if timeout > 0:
            # Upwards, or the timer would not be due yet; what rounding of floats added is no nanosecond more.
            self._loop.clock.advance_ns(max(1, math.ceil(timeout * 1e9 - 1e-3)))
        return []


def _deadlock(loop: VirtualLoop) -> str:
    places = []
    for task in asyncio.all_tasks(loop):
        stack = task.get_stack(limit=1)
        where = f" in {stack[0].f_code.co_qualname} at line {stack[0].f_lineno}" if stack else ""
        places.append(f"{task.get_name()}{where}")
    shown = "; ".join(sorted(places)[:_SHOWN])
    more = f"; and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return f"nothing is scheduled, so these wait for ever: {shown}{more}"


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise InputError(f"a virtual loop has no {name}: threads, sockets and processes live in real time")

    return refuse


for _name in _REFUSED:
    setattr(VirtualLoop, _name, _refusing(_name))
