"""A circuit breaker for the authority outside that survives between commands.

    CLOSED ──3 failures in a row, or one invalid token──▶ OPEN ──15 minutes──▶ HALF_OPEN ──success──▶ CLOSED
                                                           ▲                       │
                                                           └────────failure────────┘

National authorities shut out whoever asks too often, for a day; so after failures nobody asks for a while, whatever
command it is. An invalid token opens the breaker at once: something stands where the authority should be.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from workbench.clock import Clock
from workbench.errors import TimestampError
from workbench.files import one_at_a_time, write_atomic

__all__ = ["Breaker", "BreakerState"]

_VERSION: Final = 1
_PROBE_S: Final = 60  # a call let through on trial that reports nothing for so long has died
_SECOND_NS: Final = 1_000_000_000


class BreakerState(StrEnum):
    """Whether calls pass (``CLOSED``), do not (``OPEN``), or one may, on trial (``HALF_OPEN``)."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class _Record:
    """What is kept. Times are nanoseconds since the epoch: they have to mean something to another process."""

    version: int = _VERSION
    failures: int = 0
    opened_ns: int | None = None
    probe_ns: int | None = None
    reason: str = ""


class Breaker:
    """Opens after ``failures`` failures in a row, or at once on ``trip``, for ``open_for_s`` seconds.

    The state is kept in the JSON file ``path``, or in this object alone without one. A damaged file counts as closed,
    and ``note`` says so: it protects an authority from us, nothing depends on it.

    >>> from workbench.clock import VirtualClock
    >>> clock = VirtualClock()
    >>> breaker = Breaker(None, clock=clock, failures=1)
    >>> breaker.failure()
    >>> breaker.state.value, breaker.remaining_s
    ('open', 900)
    >>> clock.advance_ns(900 * 10**9)
    >>> breaker.state.value
    'half-open'
    """

    def __init__(self, path: Path | None, *, clock: Clock, failures: int = 3, open_for_s: float = 900) -> None:
        self._path = path
        self._clock = clock
        self._limit = failures
        self._open_for_ns = int(open_for_s * _SECOND_NS)
        self._record = _Record()
        self._lock = threading.Lock()
        self.note: str | None = None

    @property
    def state(self) -> BreakerState:
        """The state now, without taking the one call that a half-open breaker lets through."""
        return self._state_of(self._read())

    @property
    def remaining_s(self) -> int:
        """Whole seconds until a call may pass again; 0 if one may."""
        return self._remaining_s(self._read())

    @property
    def reason(self) -> str:
        """Why it is open, or was last."""
        return self._read().reason

    def before(self) -> None:
        """To be called before each call to the authority. Raises ``TimestampError`` while none may pass."""
        with self._held():
            record = self._read()
            left = self._remaining_s(record)
            if left:
                raise TimestampError(
                    f"the timestamp authority is left alone for another {left} s: {record.reason or 'it failed'}. "
                    "What was to be stamped can be stamped later"
                )
            if record.opened_ns is not None:
                self._write(_Record(_VERSION, record.failures, record.opened_ns, self._clock.time_ns(), record.reason))

    def success(self) -> None:
        """The authority answered with a valid token."""
        with self._held():
            if self._read() != _Record():
                self._write(_Record())

    def failure(self, reason: str = "") -> None:
        """The authority could not be reached, or refused."""
        with self._held():
            record = self._read()
            count = record.failures + 1
            opens = count >= self._limit or record.opened_ns is not None
            opened_ns = self._clock.time_ns() if opens else None
            self._write(_Record(_VERSION, count, opened_ns, None, reason or f"it failed {count} times in a row"))

    def trip(self, reason: str) -> None:
        """Open at once: what was answered is not to be trusted."""
        with self._held():
            self._write(_Record(_VERSION, self._read().failures + 1, self._clock.time_ns(), None, reason))

    def _state_of(self, record: _Record) -> BreakerState:
        if record.opened_ns is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._left_ns(record.opened_ns, self._open_for_ns) else BreakerState.HALF_OPEN

    def _remaining_s(self, record: _Record) -> int:
        """Of the pause; and after it, while a call is on trial, of its time."""
        left = 0
        if record.opened_ns is not None:
            left = self._left_ns(record.opened_ns, self._open_for_ns)
        if not left and record.probe_ns is not None:
            left = self._left_ns(record.probe_ns, _PROBE_S * _SECOND_NS)
        return -(-left // _SECOND_NS)

    def _left_ns(self, since_ns: int, duration_ns: int) -> int:
        """What is left of a time span; nothing if the clock was set back to before it, so that none lasts for ever."""
        passed = self._clock.time_ns() - since_ns
        return max(0, duration_ns - passed) if passed >= 0 else 0

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with self._lock, contextlib.nullcontext() if self._path is None else one_at_a_time(self._path):
            yield

    def _read(self) -> _Record:
        if self._path is None:
            return self._record
        try:
            return _parse(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return _Record()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            self.note = f"{self._path.name!r} was damaged and counts as closed ({error})"
            return _Record()

    def _write(self, record: _Record) -> None:
        self._record = record
        if self._path is not None:
            write_atomic(self._path, json.dumps(asdict(record)).encode())


def _parse(document: Any) -> _Record:
    record = _Record(**document)
    numbers = (record.failures, record.opened_ns or 0, record.probe_ns or 0)
    if record.version != _VERSION or not isinstance(record.reason, str) or not all(type(n) is int for n in numbers):
        raise ValueError("it does not follow its format")
    return record
