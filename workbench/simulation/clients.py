"""Who calls the server, and what they do when it does not answer well: time limits, retries and breakers, as data."""

from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt

from workbench.clock import Clock
from workbench.errors import InputError
from workbench.resilience.breaker import CircuitBreaker
from workbench.resilience.breaker.settings import BreakerOptions, BreakerSettings
from workbench.simulation.distributions import Deterministic, Exponential, LogNormal, Pareto
from workbench.simulation.values import Bound, Count, Described, Period, Share

__all__ = ["Backoff", "BreakerSpec", "Budget", "Clients", "ClosedLoop", "Immediate", "NoRetry", "Retry"]

_LEAST_THINK: Final = 1e-4  # seconds

Retries = Annotated[int, Bound(least=1, most=20)]
Jitter = Literal["full", "equal", "none"]
Factor = Annotated[float, Bound(least=1, most=100)]


@dataclass(frozen=True)
class Retry(Described):
    """What is done after an attempt that failed or was not answered in time."""

    @property
    def most(self) -> int:
        """Retries of one request, at most."""
        return 0

    def delays_ns(self, number: int, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """How long to wait before retry ``number`` (from 1), in ns, one for each uniform draw of [0, 1)."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoRetry(Retry):
    """One attempt, and no more."""


@dataclass(frozen=True)
class Immediate(Retry):
    """Up to ``n`` retries, each at once."""

    n: Retries = 3

    @property
    def most(self) -> int:
        return self.n

    def delays_ns(self, number: int, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:  # noqa: ARG002
        return np.zeros(len(uniform), dtype=np.int64)


@dataclass(frozen=True)
class Backoff(Retry):
    """Up to ``n`` retries; before the k-th a time of at most ``c = min(cap, base * 2 ** (k - 1))`` seconds.

    ``jitter``: ``full`` waits uniformly between 0 and c, ``equal`` between c / 2 and c, ``none`` waits c (Brooker,
    "Exponential backoff and jitter", AWS Architecture Blog 2015).

    >>> Backoff(3, base=0.1, cap=0.3).delays_ns(2, np.array([0.5])).tolist()
    [100000000]
    """

    n: Retries = 3
    base: Period = 0.1
    cap: Period = 10.0
    jitter: Jitter = "full"

    @property
    def most(self) -> int:
        return self.n

    def delays_ns(self, number: int, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        longest = min(self.cap, self.base * 2 ** (number - 1))
        waits = {"full": uniform, "equal": 0.5 + uniform / 2, "none": np.ones_like(uniform)}[self.jitter]
        return np.asarray(np.rint(np.minimum(waits * longest, 1e9) * 1e9).astype(np.int64))


@dataclass(frozen=True)
class Budget(Backoff):
    """``Backoff`` with a budget: each request pays in ``ratio``, each retry takes out 1, and without that much there
    is none. At most ``reserve`` is kept, which is there at the beginning.

    So in any time the retries are at most ``reserve`` and the share ``ratio`` of the requests, whatever fails. One
    budget for each client. (The scheme of Finagle's ``RetryBudget`` and of gRPC's retry throttling, A6.)
    """

    _: KW_ONLY
    ratio: Share = 0.1
    reserve: Annotated[float, Bound(least=1, most=1e6)] = 10.0


@dataclass(frozen=True)
class BreakerSpec(Described):
    """The options of ``CircuitBreaker``, as data; what they mean is said there. Durations are seconds.

    ``window``: the last so many calls, or ``window_seconds``: the calls of so many seconds.
    """

    failure_threshold: Count | None = None
    timeout: Period = 60.0
    success_threshold: Count = 2
    _: KW_ONLY
    permits: Count = 1
    probe_timeout: Period | None = None
    failure_rate: Share | None = None
    slow_rate: Share | None = None
    slow_call: Period | None = None
    window: Count = 100
    window_seconds: Count | None = None
    min_calls: Count | None = None
    jitter: Share = 0.0
    backoff: Factor = 1.0
    max_timeout: Period | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        BreakerSettings.of(**self._options())

    def _options(self) -> BreakerOptions:
        return {
            "failure_threshold": self.failure_threshold,
            "timeout": self.timeout,
            "success_threshold": self.success_threshold,
            "permits": self.permits,
            "probe_timeout": self.probe_timeout,
            "failure_rate": self.failure_rate,
            "slow_rate": self.slow_rate,
            "slow_call": self.slow_call,
            "window": self.window if self.window_seconds is None else timedelta(seconds=self.window_seconds),
            "min_calls": self.min_calls,
            "jitter": self.jitter,
            "backoff": self.backoff,
            "max_timeout": self.max_timeout,
        }

    def make(self, name: str, *, clock: Clock, seed: int) -> CircuitBreaker:
        """The breaker of production, on this clock."""
        return CircuitBreaker(name, clock=clock, **self._options() | BreakerOptions(seed=seed))


@dataclass(frozen=True)
class Clients(Described):
    """``count`` callers that pass requests on as they come: an open loop. A request goes to any of them by chance.

    ``timeout``: seconds that an attempt may take; its answer is then no more waited for, though the server may still
    be busy with it. An answer in the last nanosecond is too late. ``breaker``: for each client its own, or one
    ``shared`` by all (``per``). What a breaker or a limit refuses is not tried again.
    """

    count: Annotated[int, Bound(least=1, most=100_000)] = 1
    timeout: Period = 1.0
    retry: NoRetry | Immediate | Backoff | Budget = NoRetry()
    breaker: BreakerSpec | None = None
    per: Literal["client", "shared"] = "client"


@dataclass(frozen=True)
class ClosedLoop(Clients):
    """``count`` users of whom each sends a request, waits for its end, thinks, and sends the next.

    ``think``: how long. The first request of each comes after one such time, so that they do not all begin at once;
    with ``Deterministic`` they do. A closed loop asks less when the server is slow, so it hides what an open loop
    shows (Schroeder, Wierman and Harchol-Balter, "Open versus closed: a cautionary tale", NSDI 2006).
    """

    _: KW_ONLY
    think: Deterministic | Exponential | LogNormal | Pareto

    def __post_init__(self) -> None:
        super().__post_init__()
        usual = float(self.think.quantile(np.array([0.5]))[0])
        if usual < _LEAST_THINK:  # a user who is refused at once would come back for ever within the same moment
            raise InputError(f"closed_loop.think is {usual:g} s in the middle: expected at least {_LEAST_THINK:g} s")
