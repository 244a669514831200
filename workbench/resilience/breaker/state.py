"""The state of a breaker, one immutable object, and the pure functions that make the next one of it.

    CLOSED ──failure_threshold failures in a row, or a rate──▶ OPEN ──timeout──▶ HALF_OPEN ──successes──▶ CLOSED
                                                                ▲                    │
                                                                └──────failure───────┘

``force_open`` and ``disable`` lead to two states more, which only ``reset`` or ``trip`` ends. Each change of the kind
of state begins a new generation: what was let through in an older one changes nothing any more.

No clock and no lock here, and chance comes in as an argument. Times are nanoseconds of the breaker's clock.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from workbench.resilience.breaker.outcome import Outcome
from workbench.resilience.breaker.settings import BreakerSettings
from workbench.resilience.breaker.windows import Window, new_window

__all__ = [
    "BreakerState",
    "Probe",
    "State",
    "Token",
    "admitted",
    "begun",
    "opened",
    "retry_after_ns",
    "seen",
    "settled",
]

_MOST_DOUBLINGS: Final = 64  # beyond any cap; keeps the power of a large backoff within a float


class BreakerState(StrEnum):
    """Which calls pass: all (``CLOSED``), none (``OPEN``), ``permits`` at a time on trial (``HALF_OPEN``).

    Set by hand: none until further notice (``FORCED_OPEN``), all and uncounted (``DISABLED``).
    """

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    FORCED_OPEN = "forced-open"
    DISABLED = "disabled"


class Token:
    """One call that was let through; to be given to ``record`` once. Its parts are the breaker's own business."""

    __slots__ = ("breaker", "generation", "number", "spent", "started_ns")

    def __init__(self, breaker: str, generation: int, number: int, started_ns: int) -> None:
        self.breaker = breaker
        self.generation = generation
        self.number = number  # of a call on trial, within its generation; 0 for others
        self.started_ns = started_ns
        self.spent = False

    def __repr__(self) -> str:
        return f"<Token of {self.breaker!r}, generation {self.generation}>"


@dataclass(frozen=True, slots=True)
class Probe:
    """A call on trial that has not reported yet."""

    number: int
    started_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything a breaker knows but its totals.

    ``passes``: any call may pass, without a slot. ``calm``: and one that returns changes nothing: closed, no failures,
    nothing to judge or to watch. ``failures``: in a row, those on trial too.
    ``openings``: how often in a row it opened without closing between.
    ``issued``: calls on trial let through in this generation. ``since_ns``: wall time of the last change of ``kind``.
    ``opened_since_ns``: wall time at which it last stopped being closed.
    """

    kind: BreakerState = BreakerState.CLOSED
    generation: int = 0
    passes: bool = False
    calm: bool = False
    failures: int = 0
    successes: int = 0
    issued: int = 0
    probes: tuple[Probe, ...] = ()
    opened_ns: int = 0
    open_for_ns: int = 0
    openings: int = 0
    since_ns: int = 0
    opened_since_ns: int = 0
    last_error: str = ""
    window: Window | None = None


def begun(
    kind: BreakerState,
    generation: int,
    settings: BreakerSettings,
    *,
    last_error: str = "",
    openings: int = 0,
    failures: int = 0,
) -> State:
    """A generation's first state, of any kind but ``OPEN``."""
    closed = kind is BreakerState.CLOSED
    return State(
        kind=kind,
        generation=generation,
        passes=closed or kind is BreakerState.DISABLED,
        calm=closed and failures == 0 and settings.is_plain,
        failures=failures,
        openings=openings,
        last_error=last_error,
        window=new_window(settings) if closed else None,
    )


def opened(
    state: State, settings: BreakerSettings, *, now_ns: int, spread: Callable[[], float], failures: int, last_error: str
) -> State:
    """Open from now on, for ``timeout`` lengthened by backoff and by what ``spread`` draws (0 to 1) of the jitter.

    For the n-th opening in a row that is min(max_timeout, timeout * backoff ** (n - 1) * (1 + jitter * spread)).
    """
    openings = state.openings + 1
    factor = settings.backoff ** min(openings - 1, _MOST_DOUBLINGS)
    if settings.jitter:
        factor *= 1 + settings.jitter * spread()
    open_for_ns = (
        settings.timeout_ns if factor == 1 else int(min(settings.max_timeout_ns, settings.timeout_ns * factor))
    )
    return State(
        kind=BreakerState.OPEN,
        generation=state.generation + 1,
        failures=failures,
        opened_ns=now_ns,
        open_for_ns=open_for_ns,
        openings=openings,
        last_error=last_error,
    )


def seen(state: State, now_ns: int) -> BreakerState:
    """The state as a caller would find it now: an open time that has passed is one on trial."""
    over = state.kind is BreakerState.OPEN and now_ns - state.opened_ns >= state.open_for_ns
    return BreakerState.HALF_OPEN if over else state.kind


def retry_after_ns(state: State, settings: BreakerSettings, now_ns: int) -> int:
    """Nanoseconds until a call may pass; 0 if one may now.

    On trial with no slot free it is the time until the oldest call on trial is given up, at the latest. Forced open it
    is ``timeout``: nobody knows, but so long a rest hurts nobody.
    """
    if state.kind is BreakerState.OPEN:
        return max(0, state.opened_ns + state.open_for_ns - now_ns)
    if state.kind is BreakerState.FORCED_OPEN:
        return settings.timeout_ns
    alive = _alive(state, settings, now_ns)
    if len(alive) < settings.permits:
        return 0
    return min(probe.started_ns for probe in alive) + settings.probe_timeout_ns - now_ns


def admitted(state: State, settings: BreakerSettings, now_ns: int) -> State:
    """After one more call was let through; the same object if that changes nothing, or if none may pass."""
    if seen(state, now_ns) is not BreakerState.HALF_OPEN or retry_after_ns(state, settings, now_ns):
        return state
    if state.kind is BreakerState.OPEN:
        state = begun(
            BreakerState.HALF_OPEN,
            state.generation + 1,
            settings,
            last_error=state.last_error,
            openings=state.openings,
            failures=state.failures,
        )
    number = state.issued + 1
    probes = (*_alive(state, settings, now_ns), Probe(number, now_ns))
    return replace(state, issued=number, probes=probes)


def settled(
    state: State,
    settings: BreakerSettings,
    token: Token,
    outcome: Outcome,
    *,
    over_rate: bool,
    now_ns: int,
    spread: Callable[[], float],
    last_error: str,
) -> State:
    """After ``token``'s call came to its end; the same object if that changes nothing."""
    if token.generation != state.generation:
        return state
    if state.kind is BreakerState.CLOSED:
        failures = state.failures
        if outcome is not Outcome.IGNORE:
            failures = failures + 1 if outcome is Outcome.FAILURE else 0
        threshold = settings.failure_threshold
        if over_rate or (threshold is not None and failures >= threshold):
            told = last_error or state.last_error
            return opened(state, settings, now_ns=now_ns, spread=spread, failures=failures, last_error=told)
        if failures == state.failures:
            return state
        calm = failures == 0 and settings.is_plain
        return replace(state, calm=calm, failures=failures, last_error=last_error or state.last_error)
    alive = _alive(state, settings, now_ns)
    probes = tuple(probe for probe in alive if probe.number != token.number)
    if len(probes) == len(alive):  # no call on trial, or given up as lost
        return state
    if outcome is Outcome.FAILURE:
        told = last_error or state.last_error
        return opened(state, settings, now_ns=now_ns, spread=spread, failures=state.failures + 1, last_error=told)
    if outcome is Outcome.IGNORE:
        return replace(state, probes=probes)
    if state.successes + 1 >= settings.success_threshold:
        return begun(BreakerState.CLOSED, state.generation + 1, settings, last_error=state.last_error)
    return replace(state, successes=state.successes + 1, failures=0, probes=probes)


def _alive(state: State, settings: BreakerSettings, now_ns: int) -> tuple[Probe, ...]:
    """The calls on trial that may still report."""
    return tuple(probe for probe in state.probes if now_ns - probe.started_ns < settings.probe_timeout_ns)
