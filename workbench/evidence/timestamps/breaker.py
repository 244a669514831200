"""The circuit breaker of ``workbench.resilience`` for the authority outside, kept in a file between commands.

    CLOSED ──3 failures in a row, or one invalid token──▶ OPEN ──15 minutes──▶ HALF_OPEN ──success──▶ CLOSED
                                                           ▲                       │
                                                           └────────failure────────┘

National authorities shut out whoever asks too often, for a day; so after failures nobody asks for a while, whatever
command it is. An invalid token opens the breaker at once: something stands where the authority should be.
"""

import contextlib
import json
import math
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from workbench.clock import Clock
from workbench.errors import CircuitOpenError, InputError, TimestampError
from workbench.files import one_at_a_time, write_atomic
from workbench.resilience.breaker import BreakerState, CircuitBreaker, Outcome, Token

__all__ = ["Breaker", "BreakerState"]

_VERSION: Final = 2
_PROBE_S: Final = 60  # a call let through on trial that reports nothing for so long has died
_NAME: Final = "timestamp authority"


class _WallClock:
    """A clock by which a time means the same to another process. It may go back: ``CircuitBreaker.restore`` knows."""

    def __init__(self, clock: Clock) -> None:
        self.time_ns = self.monotonic_ns = clock.time_ns
        self.sleep_ns = clock.sleep_ns


class Breaker:
    """Opens after ``failures`` failures in a row, or at once on ``trip``, for ``open_for_s`` seconds.

    The state is kept in the JSON file ``path``, or in this object alone without one. A damaged file counts as closed,
    and ``note`` says so: it protects an authority from us, nothing depends on it.

    >>> from workbench.clock import VirtualClock
    >>> clock = VirtualClock()
    >>> breaker = Breaker(None, clock=clock, failures=1)
    >>> breaker.record(breaker.acquire(), Outcome.FAILURE, "it answered 503")
    >>> breaker.state.value, breaker.remaining_s
    ('open', 900)
    >>> clock.advance_ns(900 * 10**9)
    >>> breaker.state.value
    'half-open'
    """

    def __init__(self, path: Path | None, *, clock: Clock, failures: int = 3, open_for_s: float = 900) -> None:
        self._path = path
        self._clock = _WallClock(clock)
        self._failures = failures
        self._open_for_s = open_for_s
        self._kept: Mapping[str, Any] | None = None
        self._lock = threading.Lock()
        self.note: str | None = None

    @property
    def state(self) -> BreakerState:
        """The state now, without taking the one call that a half-open breaker lets through."""
        return self._read().state

    @property
    def remaining_s(self) -> int:
        """Whole seconds until a call may pass again; 0 if one may."""
        return math.ceil(self._read().retry_after)

    @property
    def reason(self) -> str:
        """Why it is open, or was until the call on trial; empty while it is closed."""
        breaker = self._read()
        return "" if breaker.state is BreakerState.CLOSED else breaker.last_error

    def acquire(self) -> Token:
        """To be called before each call to the authority. Raises ``TimestampError`` while none may pass."""
        with self._changed() as breaker:
            try:
                return breaker.acquire()
            except CircuitOpenError as error:
                raise TimestampError(
                    f"the timestamp authority is left alone for another {math.ceil(error.retry_after)} s: "
                    f"{error.last_error or 'it failed'}. What was to be stamped can be stamped later"
                ) from error

    def record(self, token: Token, outcome: Outcome, reason: str = "") -> None:
        """Tell how the call came out that ``token`` was given for: broken off is ``IGNORE``, and frees its place."""
        with self._changed() as breaker:
            breaker.record(token, outcome, reason)

    def trip(self, reason: str) -> None:
        """Open at once: what was answered is not to be trusted."""
        with self._changed() as breaker:
            breaker.trip(reason)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[CircuitBreaker]:
        """The breaker as it was left, written again where it is another afterwards."""
        with self._lock, contextlib.nullcontext() if self._path is None else one_at_a_time(self._path):
            breaker = self._read()
            before = breaker.save()
            yield breaker
            after = breaker.save()
            if after == before:
                return
            self._kept = after
            if self._path is not None:
                write_atomic(self._path, json.dumps({"version": _VERSION, "breaker": after}).encode())

    def _read(self) -> CircuitBreaker:
        breaker = CircuitBreaker(
            _NAME,
            failure_threshold=self._failures,
            timeout=self._open_for_s,
            success_threshold=1,
            probe_timeout=_PROBE_S,
            clock=self._clock,
        )
        if self._path is None:
            if self._kept is not None:
                breaker.restore(self._kept)
            return breaker
        try:
            content = json.loads(self._path.read_bytes())
            if content["version"] == _VERSION:
                breaker.restore(content["breaker"])
            else:
                breaker.restore(_of_version_1(content, breaker))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, LookupError, RecursionError, InputError) as error:
            self.note = f"{self._path.name!r} was damaged and counts as closed ({error})"
        return breaker


def _of_version_1(content: Mapping[str, Any], breaker: CircuitBreaker) -> dict[str, Any]:
    """What the workbench wrote before its breakers were one: failures, when it opened, when a call on trial began."""
    if content["version"] != 1:
        raise ValueError(f"its version is {content['version']!r}, not 1 or {_VERSION}")
    opened_ns, probe_ns = content["opened_ns"], content["probe_ns"]
    record = {**breaker.save(), "failures": content["failures"], "last_error": content["reason"]}
    if opened_ns is not None:
        state = BreakerState.OPEN if probe_ns is None else BreakerState.HALF_OPEN
        probes = [] if probe_ns is None else [[1, probe_ns]]
        record |= {"state": state.value, "generation": 1, "issued": len(probes), "probes": probes, "openings": 1}
        record |= {"opened_ns": opened_ns, "open_for_ns": breaker.settings.timeout_ns, "opened_since_ns": opened_ns}
    return record
