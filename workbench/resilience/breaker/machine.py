"""The states of a breaker at work: a clock, a lock and totals around the pure functions of ``state``.

The state is one immutable object. Whoever changes it works the next one out first and swaps it in only if nobody else
did meanwhile, so the lock is held for one comparison: never while the guarded call runs, and never for listeners.
Where nothing changes no lock is taken.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from workbench.clock import Clock
from workbench.errors import CircuitOpenError, InputError
from workbench.resilience.breaker import stored
from workbench.resilience.breaker.outcome import Outcome
from workbench.resilience.breaker.report import BreakerSnapshot, Change
from workbench.resilience.breaker.settings import BreakerSettings
from workbench.resilience.breaker.state import (
    BreakerState,
    State,
    Token,
    admitted,
    begun,
    opened,
    retry_after_ns,
    seen,
    settled,
)
from workbench.resilience.tally import Tally

__all__ = ["Machine"]

_SECOND_NS: Final = 1_000_000_000
_MAX_TEXT: Final = 200
_MAX_NAME: Final = 100
_WORDS: Final = {
    BreakerState.OPEN: "open",
    BreakerState.HALF_OPEN: "on trial, with no slot free",
    BreakerState.FORCED_OPEN: "held open",
}
# Read through their class they would cost as much as the clock does.
_OPEN: Final = BreakerState.OPEN
_SUCCESS: Final = Outcome.SUCCESS
_LOGGER: Final = logging.getLogger(__name__)


class Machine:
    """What ``CircuitBreaker`` stands on: it lets calls through and is told how they came out."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_late",
        "_listener_errors",
        "_listeners",
        "_lock",
        "_now",
        "_random",
        "_rejected",
        "_rejections",
        "_settings",
        "_state",
        "_tallies",
        "_ticks",
        "_told",
        "name",
    )

    def __init__(
        self, name: str, settings: BreakerSettings, clock: Clock, listeners: Iterable[Callable[[Change], object]]
    ) -> None:
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _MAX_NAME:
            raise InputError(f"the name of a breaker is 1 to {_MAX_NAME} printable characters, not {name!r:.120}")
        self.name = name
        self._settings = settings
        self._clock = clock
        self._now = self._clock.monotonic_ns
        self._random = random.Random(None if settings.seed is None else f"{settings.seed} {name}")  # noqa: S311 - spreads, hides nothing
        if not isinstance(listeners, Iterable):
            raise InputError(f"listeners of a breaker are a list of functions, not {listeners!r:.80}")
        self._listeners = tuple(listeners)
        # Re-entrant: the collector may close a guarded generator in any line of ours, and that reports too.
        self._lock = threading.RLock()
        self._tallies = {outcome: Tally() for outcome in Outcome}
        self._late, self._rejections, self._listener_errors = Tally(), Tally(), Tally()
        self._ticks = self._tallies[Outcome.SUCCESS].ticks
        self._rejected = self._rejections.ticks
        self._told: tuple[State | None, int, str] = (None, 0, "")
        first = begun(BreakerState.CLOSED, 0, self._settings)
        self._state = replace(first, since_ns=self._clock.time_ns())

    # Asking

    @property
    def settings(self) -> BreakerSettings:
        """The options, checked; durations in nanoseconds."""
        return self._settings

    @property
    def state(self) -> BreakerState:
        """The state as a caller would find it now. To look takes no slot."""
        return seen(self._state, self._now())

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._state.failures

    @property
    def last_error(self) -> str:
        """Text of the last failure, or the reason given by hand; empty after ``reset``."""
        return self._state.last_error

    @property
    def retry_after(self) -> float:
        """Seconds until a call may pass; 0 if one may now. A breaker forced open says its ``timeout``."""
        return retry_after_ns(self._state, self._settings, self._now()) / _SECOND_NS

    def snapshot(self) -> BreakerSnapshot:
        """Everything a dashboard shows, at this moment."""
        state, now_ns = self._state, self._now()
        came_to = {outcome: tally.read() for outcome, tally in self._tallies.items()}
        late = self._late.read()
        return {
            "name": self.name,
            "state": seen(state, now_ns).value,
            "failures": state.failures,
            "successes": state.successes,
            "on_trial": len(state.probes),
            "since_ns": state.since_ns,
            "opened_since_ns": None if state.passes else state.opened_since_ns,
            "retry_after": retry_after_ns(state, self._settings, now_ns) / _SECOND_NS,
            "calls": sum(came_to.values()) + late,
            "calls_succeeded": came_to[Outcome.SUCCESS],
            "calls_failed": came_to[Outcome.FAILURE],
            "calls_ignored": came_to[Outcome.IGNORE],
            "calls_late": late,
            "calls_rejected": self._rejections.read(),
            "listener_errors": self._listener_errors.read(),
            "last_error": state.last_error,
        }

    # By hand

    def acquire(self) -> Token:
        """Ask to make one call, and tell its end to ``record``. Raises ``CircuitOpenError`` if it may not be made."""
        state = self._state
        if state.passes:
            return self._token(state)
        now_ns = self._now()
        if state.kind is _OPEN:
            left_ns = state.opened_ns + state.open_for_ns - now_ns
            if left_ns > 0:
                raise self._refusal(state, left_ns)
        settings = self._settings
        before, after = self._turn(lambda state: admitted(state, settings, now_ns))
        if before is not after:
            return Token(self.name, after.generation, after.issued, now_ns)
        if after.passes:
            return self._token(after)
        raise self._refusal(after, retry_after_ns(after, settings, now_ns))

    def record(
        self,
        token: Token,
        outcome: Outcome,
        error: BaseException | str | None = None,
        duration_ns: int | None = None,
    ) -> None:
        """Tell how the call that ``token`` was given for came out. A second time, or too late, it changes nothing.

        ``error``: only its text is kept. ``duration_ns``: nanoseconds it took; since ``acquire`` unless given.
        Raises ``InputError`` for a token of another breaker.
        """
        if outcome is not _SUCCESS and not isinstance(outcome, Outcome):
            raise InputError(
                f"breaker {self.name!r}: what is recorded is an Outcome, such as Outcome.FAILURE, not {outcome!r:.80}"
            )
        if token.breaker != self.name:
            raise InputError(f"{token!r} was given to breaker {self.name!r}; give it to the one it was acquired from")
        if token.spent:
            return
        token.spent = True
        state = self._state
        as_before = outcome is _SUCCESS and state.passes and not state.failures
        as_before = as_before and token.generation == state.generation
        if as_before and state.window is None:
            next(self._ticks)
            return
        settings, now_ns, told = self._settings, self._now(), _text(error)
        slow = False
        if settings.slow_call_ns is not None:
            took_ns = now_ns - token.started_ns if duration_ns is None else duration_ns
            slow = took_ns >= settings.slow_call_ns
            if slow and token.number and outcome is Outcome.SUCCESS:
                outcome, told = Outcome.FAILURE, f"a call on trial took {took_ns / _SECOND_NS:.3g} s"
        over_rate = self._watched(token, outcome, slow, now_ns)
        if as_before and not over_rate and self._state is state:
            next(self._ticks)
            return
        before, after = self._turn(
            lambda state: settled(
                state,
                settings,
                token,
                outcome,
                over_rate=bool(over_rate),
                now_ns=now_ns,
                spread=self._random.random,
                last_error=told or over_rate,
            )
        )
        late = before is after if token.number else token.generation != before.generation
        next((self._late if late else self._tallies[outcome]).ticks)

    def trip(self, reason: str = "") -> None:
        """Open at once, for as long as failures would have opened it."""
        settings, now_ns, told = self._settings, self._now(), _text(reason)
        self._turn(
            lambda state: opened(
                state, settings, now_ns=now_ns, spread=self._random.random, failures=state.failures, last_error=told
            )
        )

    def force_open(self, reason: str = "") -> None:
        """Let nothing through until ``reset`` (or ``trip``) is called."""
        self._begin(BreakerState.FORCED_OPEN, _text(reason))

    def disable(self, reason: str = "") -> None:
        """Let everything through and judge nothing until ``reset`` (or ``trip``) is called."""
        self._begin(BreakerState.DISABLED, _text(reason))

    def reset(self) -> None:
        """Close, with nothing counted. Totals stay."""
        self._begin(BreakerState.CLOSED, "")

    def on_change(self, listener: Callable[[Change], object]) -> None:
        """Call ``listener`` with each ``Change`` from now on."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    # Between processes

    def save(self) -> dict[str, Any]:
        """The state as a JSON object, without totals and windows. ``restore`` takes it.

        Times are of the breaker's own clock: for another process, give both a clock whose ``monotonic_ns`` means the
        same to both.
        """
        return stored.write(self._state)

    def restore(self, record: Mapping[str, Any]) -> None:
        """Go on from what ``save`` gave; no listener is told. Raises ``InputError`` for what ``save`` never gives.

        What lies in the future, because the clock was set back, is taken for over, so that nothing lasts for ever.
        """
        state = stored.read(record, self._settings, self._now())
        with self._lock:
            self._state = state

    # Within

    def _begin(self, kind: BreakerState, told: str) -> None:
        self._turn(lambda state: begun(kind, state.generation + 1, self._settings, last_error=told))

    def _token(self, state: State) -> Token:
        """For a call that needs no slot."""
        return Token(self.name, state.generation, 0, 0 if self._settings.slow_call_ns is None else self._now())

    def _refusal(self, state: State, wait_ns: int) -> CircuitOpenError:
        """A new error each time: one raised again and again would grow by a frame each time. Its text is kept."""
        next(self._rejected)
        tenths = -(-wait_ns // (_SECOND_NS // 10))
        refused, told_tenths, text = self._told
        if refused is not state or told_tenths != tenths:
            reason = f" ({state.last_error})" if state.last_error else ""
            text = f"breaker {self.name!r} is {_WORDS[state.kind]}{reason}; try again in {tenths / 10:g} s"
            self._told = (state, tenths, text)
        return CircuitOpenError(text, name=self.name, retry_after=wait_ns / _SECOND_NS, last_error=state.last_error)

    def _watched(self, token: Token, outcome: Outcome, slow: bool, now_ns: int) -> str:
        """Put the call into the window; in words the rate that is now reached, or nothing."""
        state, settings = self._state, self._settings
        window = state.window
        if window is None or outcome is Outcome.IGNORE or token.generation != state.generation:
            return ""
        with self._lock:
            window.add(outcome is Outcome.FAILURE, slow, now_ns)
            calls, failures, slows = window.calls, window.failures, window.slow
        if calls < settings.min_calls:
            return ""
        if settings.failure_rate is not None and failures >= settings.failure_rate * calls:
            return f"{failures} of the last {calls} calls failed"
        if settings.slow_rate is not None and slows >= settings.slow_rate * calls:
            return f"{slows} of the last {calls} calls were slow"
        return ""

    def _turn(self, step: Callable[[State], State]) -> tuple[State, State]:
        """Swap the state for what ``step`` makes of it. ``step`` is asked again if another was faster."""
        while True:
            before = self._state
            after = step(before)
            if after is before:
                return before, before
            if after.generation != before.generation:
                after = self._stamped(before, after)
            with self._lock:
                if self._state is before:
                    self._state = after
                    break
        if after.kind is not before.kind:
            self._tell(Change(self.name, before.kind, after.kind, after.generation, after.since_ns, after.last_error))
        return before, after

    def _stamped(self, before: State, after: State) -> State:
        """With the wall time of the change, for those who look at it; nothing is decided by it."""
        time_ns = self._clock.time_ns()
        return replace(
            after,
            since_ns=before.since_ns if after.kind is before.kind else time_ns,
            opened_since_ns=time_ns if before.passes else before.opened_since_ns,
        )

    def _tell(self, change: Change) -> None:
        for listener in self._listeners:
            try:
                listener(change)
            except Exception:
                next(self._listener_errors.ticks)
                _LOGGER.exception("a listener of breaker %r failed", self.name)


def _text(error: BaseException | str | None) -> str:
    """One short line. The exception itself is not kept: it would keep its frames, and they all they hold."""
    if error is None or isinstance(error, str):
        text = error or ""
    else:
        try:
            text = f"{type(error).__name__}: {error}".removesuffix(": ")
        except Exception:
            text = type(error).__name__
    return " ".join(text[: 2 * _MAX_TEXT].split())[:_MAX_TEXT]
