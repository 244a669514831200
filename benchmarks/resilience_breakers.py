"""Breakers: what a call costs while all is well, and what a refusal costs while nothing is.

pybreaker guards coroutines only for tornado, and is not asked to. aiobreaker and purgatory raise one exception again
and again, so each measurement is of new breakers.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import aiobreaker
import circuitbreaker
import pybreaker
from purgatory.service._async.circuitbreaker import AsyncCircuitBreakerFactory
from purgatory.service._sync.circuitbreaker import SyncCircuitBreakerFactory

from benchmarks.timing import Case, each
from workbench.resilience import CircuitBreaker

__all__ = ["cases"]

_A_MINUTE = 60
_FAILURES = 5

_PLAIN: dict[str, Callable[[], Callable[..., Any]]] = {
    "ours": lambda: CircuitBreaker("benchmark", failure_threshold=_FAILURES, timeout=_A_MINUTE),
    "circuitbreaker": lambda: circuitbreaker.CircuitBreaker(_FAILURES, _A_MINUTE, name="benchmark"),
    "pybreaker": lambda: pybreaker.CircuitBreaker(_FAILURES, _A_MINUTE),
    "aiobreaker": lambda: aiobreaker.CircuitBreaker(_FAILURES, timedelta(seconds=_A_MINUTE)),
    "purgatory": lambda: SyncCircuitBreakerFactory(_FAILURES, _A_MINUTE)("benchmark"),
}
_AWAITED: dict[str, Callable[[], Callable[..., Any]]] = {
    "ours": _PLAIN["ours"],
    "circuitbreaker": _PLAIN["circuitbreaker"],
    "aiobreaker": _PLAIN["aiobreaker"],
    "purgatory": lambda: AsyncCircuitBreakerFactory(_FAILURES, _A_MINUTE)("benchmark"),
}


class _BackendError(Exception):
    """What the guarded function raises once it is told to."""


def _guarded(side: str, *, fails: bool) -> Callable[[], Any]:
    def function() -> int:
        if fails:
            raise _BackendError
        return 42

    return _PLAIN[side]()(function)


def _closed(side: str, calls: int) -> float:
    call = _guarded(side, fails=False)

    def some(count: int) -> None:
        for _ in range(count):
            call()

    return each(some, calls)


def _closed_awaited(side: str, calls: int) -> float:
    async def function() -> int:
        return 42

    call: Callable[[], Awaitable[int]] = _AWAITED[side]()(function)

    async def some(count: int) -> None:
        for _ in range(count):
            await call()

    with asyncio.Runner() as runner:
        return each(lambda count: runner.run(some(count)), calls)


def _open(side: str, calls: int) -> float:
    call = _guarded(side, fails=True)
    for _ in range(_FAILURES):
        with contextlib.suppress(Exception):  # pybreaker's last failure is already a refusal
            call()
    refusal = _what_is_raised(call)
    if refusal is _BackendError:
        raise AssertionError(f"{side} did not open after {_FAILURES} failures")

    def some(count: int) -> None:
        for _ in range(count):
            try:  # noqa: SIM105 - suppress() takes longer than what is measured
                call()
            except refusal:
                pass

    return each(some, calls)


def _what_is_raised(call: Callable[[], Any]) -> type[Exception]:
    try:
        call()
    except Exception as error:
        return type(error)
    raise AssertionError("an open breaker let a call through")


def cases(scale: float) -> Iterator[Case]:
    """All cases at ``scale``."""
    calls, refusals = int(40_000 * scale), int(5_000 * scale)
    measured = [
        ("breaker: closed call", _closed, calls, _PLAIN, 0.25),
        ("breaker: closed call, awaited", _closed_awaited, calls, _AWAITED, None),
        ("breaker: refusal while open", _open, refusals, _PLAIN, None),
    ]
    for name, measure, count, sides, target in measured:
        for peer in sides:
            if peer != "ours":
                yield Case(
                    name,
                    f"{count:,} calls",
                    "µs",
                    lambda measure=measure, count=count: measure("ours", count),
                    lambda measure=measure, count=count, peer=peer: measure(peer, count),
                    peer,
                    target=target,
                )
