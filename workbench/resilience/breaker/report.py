"""What a breaker tells those who watch it."""

from dataclasses import dataclass
from typing import TypedDict

from workbench.resilience.breaker.state import BreakerState

__all__ = ["BreakerSnapshot", "Change"]


@dataclass(frozen=True, slots=True)
class Change:
    """A breaker went from one state to another.

    ``generation`` orders the changes of a breaker, whatever order listeners hear of them in. ``time_ns``: wall time,
    nanoseconds since the Unix epoch. ``reason``: text of the last failure, or what was given for it.
    """

    name: str
    before: BreakerState
    after: BreakerState
    generation: int
    time_ns: int
    reason: str


class BreakerSnapshot(TypedDict):
    """A breaker at one moment, as a plain dict for dashboards.

    ``failures``: in a row. ``successes``: on trial so far. ``on_trial``: calls on trial now. ``since_ns``: wall time
    of the last change of state, and ``opened_since_ns`` the same while it is open or on trial, else ``None``.
    ``retry_after``: seconds until a call may pass. ``calls``: that came to an end, in four kinds; ``calls_late`` are
    those let through before the state last changed, which counted nowhere. ``calls_rejected`` were not made.
    """

    name: str
    state: str
    failures: int
    successes: int
    on_trial: int
    since_ns: int
    opened_since_ns: int | None
    retry_after: float
    calls: int
    calls_succeeded: int
    calls_failed: int
    calls_ignored: int
    calls_late: int
    calls_rejected: int
    listener_errors: int
    last_error: str
