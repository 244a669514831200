"""A breaker in virtual time, and one way to make a call come out as wanted."""

from collections.abc import Callable
from typing import Any

import pytest

from workbench.clock import VirtualClock
from workbench.resilience.breaker import CircuitBreaker


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(start_ns=1_700_000_000 * 10**9)


@pytest.fixture
def make(clock: VirtualClock) -> Callable[..., CircuitBreaker]:
    """``make(timeout=30)``: a breaker called ``db`` on the virtual clock."""

    def make(name: str = "db", **options: Any) -> CircuitBreaker:
        return CircuitBreaker(name, **{"clock": clock, **options})

    return make


@pytest.fixture
def fail() -> Callable[..., None]:
    """``fail(breaker)``, ``fail(breaker, times=3)``, ``fail(breaker, KeyError("x"))``: calls that raise."""

    def fail(breaker: CircuitBreaker, error: BaseException | None = None, *, times: int = 1) -> None:
        def call() -> None:
            raise TimeoutError("no answer") if error is None else error

        for _ in range(times):
            with pytest.raises(TimeoutError if error is None else type(error)):
                breaker.call(call)

    return fail
