"""A limit on the calls of a function."""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import timedelta
from typing import Any, Final, Literal, ParamSpec, TypeVar

from workbench.clock import SystemClock
from workbench.errors import InputError, RateLimitedError
from workbench.resilience.decision import NEVER, Decision
from workbench.resilience.quota import Quota, quota_of
from workbench.resilience.relaying import relayed
from workbench.resilience.stores.memory import MemoryStore
from workbench.resilience.stores.store import (
    AsyncStore,
    Charge,
    Store,
    check_cost,
    check_fits,
    must_be_awaited,
    unawaited,
)

__all__ = ["limit"]

P = ParamSpec("P")
T = TypeVar("T")

_LEAST_PAUSE_NS: Final = 100_000  # sleeping for less takes longer than it should anyway
_SECOND_NS: Final = 1_000_000_000


def limit(
    quota: Quota | str,
    *,
    key: Callable[..., str] | None = None,
    cost: int | Callable[..., int] = 1,
    on_limited: Literal["raise", "wait"] | Callable[[Decision], Any] = "raise",
    max_wait: float | timedelta | None = None,
    store: Store | AsyncStore | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Charge ``quota`` for each call, and call only if there is room.

    ``quota``: a ``Quota``, or words such as ``100/minute``. ``key``: of the call's arguments, whom to count it for;
    unless given, all calls of the function are counted together. ``cost``: units a call takes, or a function of its
    arguments. ``store``: where to count; unless given, in a memory of its own. Functions that share a store, a quota
    and keys share counts.

    ``on_limited``: ``raise`` raises ``RateLimitedError``. ``wait`` waits for its turn and tries again, for at most
    ``max_wait`` (seconds or a ``timedelta``) in all; if that is not enough the error is raised without waiting.
    A function is called with the decision, and what it returns is returned (and awaited, of a coroutine function).

    Functions may be plain, coroutine functions, generator functions (charged when the first item is asked for) and
    asynchronous generator functions (likewise). An ``AsyncStore`` needs one of the asynchronous kinds.
    Raises ``InputError`` for options that do not go together.

    >>> @limit("2/minute", key=lambda user: user)
    ... def greet(user):
    ...     return f"Hello {user}"
    >>> greet("ann"), greet("ann"), greet("bob")
    ('Hello ann', 'Hello ann', 'Hello bob')
    >>> greet("ann")
    Traceback (most recent call last):
    workbench.errors.RateLimitedError: quota '2/60s' has no room for this call of greet; try again in 60 s
    """
    rule = quota_of(quota)
    if not callable(cost):
        check_cost(rule, cost)
        if cost > rule.capacity:
            raise InputError(f"quota {rule.name!r}: a cost of {cost} never fits; at most {rule.capacity} do")
    if key is not None and not callable(key):
        raise InputError(f"key is a function of the arguments of the call, not {key!r:.80}")
    if not callable(on_limited) and on_limited not in {"raise", "wait"}:
        raise InputError(f"on_limited is 'raise', 'wait' or a function, not {on_limited!r}")
    if (max_wait is not None) != (on_limited == "wait"):
        raise InputError("on_limited='wait' needs max_wait, the most seconds a call may wait, and only it has that")
    max_wait_ns = 0 if max_wait is None else _span_ns(max_wait)

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if not callable(function):
            raise InputError(f"a limit is for functions, not for {function!r:.80}; put it below @classmethod")
        # An object with an ``async def __call__`` is as asynchronous as a function.
        named = inspect.isroutine(function) or isinstance(function, functools.partial)
        kind: Any = function if named else type(function).__call__
        asynchronous = inspect.iscoroutinefunction(kind) or inspect.isasyncgenfunction(kind)
        counts = MemoryStore() if store is None else store if asynchronous else unawaited(store)
        gate = _Gate(
            rule, getattr(function, "__qualname__", repr(function)), key, cost, on_limited, max_wait_ns, counts
        )
        wrap: Callable[..., Any]
        if inspect.isasyncgenfunction(kind):
            wrap = _async_generator
        elif inspect.iscoroutinefunction(kind):
            wrap = _coroutine
        elif inspect.isgeneratorfunction(kind):
            wrap = _generator
        else:
            wrap = _plain
        if wrap in {_generator, _async_generator} and callable(on_limited):
            raise InputError(f"{gate.name} makes items one by one: on_limited is 'raise' or 'wait' for it")
        wrapper: Callable[P, T] = functools.wraps(function)(wrap(gate, function))
        return wrapper

    return decorate


def _span_ns(max_wait: float | timedelta) -> int:
    seconds = max_wait.total_seconds() if isinstance(max_wait, timedelta) else max_wait
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
        raise InputError(f"max_wait is a positive number of seconds below a billion, not {max_wait!r}")
    return round(seconds * _SECOND_NS)


class _Gate:
    """What all calls of one function go through."""

    def __init__(
        self,
        quota: Quota,
        name: str,
        key: Callable[..., str] | None,
        cost: int | Callable[..., int],
        on_limited: str | Callable[[Decision], Any],
        max_wait_ns: int,
        store: Any,
    ) -> None:
        self.name = name
        self.key = key
        self.cost = cost
        self.answer = on_limited if callable(on_limited) else None
        self.waits = on_limited == "wait"
        self.max_wait_ns = max_wait_ns
        self.awaits = must_be_awaited(store)
        check_fits(store, quota)
        # Each of the three says None to what passes.
        self.admit: Callable[[str, int], Any]
        if isinstance(store, MemoryStore):
            self.admit = store.table(quota).admit
            self.sleep_ns = store.clock.sleep_ns
        else:
            self.admit = _admit_awaited(quota, store) if self.awaits else _admit(quota, store)
            self.sleep_ns = SystemClock().sleep_ns

    def charge(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, int]:
        """The key and the cost of a call."""
        key = self.name if self.key is None else self.key(*args, **kwargs)
        return key, self.cost(*args, **kwargs) if callable(self.cost) else self.cost

    def enter(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Decision | None:
        """Wait or raise as it was said; a decision is for the one who answers in place of the function."""
        charge = self.charge(args, kwargs)
        refusal: Decision | None = self.admit(*charge)
        waited = 0
        while refusal is not None and self.answer is None:
            pause = self.pause_ns(refusal, waited)
            self.sleep_ns(pause)
            waited += pause
            refusal = self.admit(*charge)
        return refusal

    async def enter_awaited(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Decision | None:
        """``enter``, without stopping the loop."""
        charge = self.charge(args, kwargs)
        refusal: Decision | None = await self.admit(*charge) if self.awaits else self.admit(*charge)
        waited = 0
        while refusal is not None and self.answer is None:
            pause = self.pause_ns(refusal, waited)
            await asyncio.sleep(pause / _SECOND_NS)
            waited += pause
            refusal = await self.admit(*charge) if self.awaits else self.admit(*charge)
        return refusal

    def pause_ns(self, refusal: Decision, waited: int) -> int:
        """How long to wait before the next attempt; raises if that is too long, or waiting was not asked for."""
        pause = max(refusal.retry_after_ns, _LEAST_PAUSE_NS)
        never = refusal.retry_after_ns == NEVER
        if self.waits and not never and waited + pause <= self.max_wait_ns:
            return pause
        names = " and ".join(repr(name) for name in refusal.refused)
        advice = "it costs more than ever fits" if never else f"try again in {refusal.retry_after:.3g} s"
        raise RateLimitedError(
            f"quota {names} has no room for this call of {self.name}; {advice}",
            quotas=refusal.refused,
            retry_after=refusal.retry_after,
        )


def _admit(quota: Quota, store: Store) -> Callable[[str, int], Decision | None]:
    def admit(key: str, cost: int) -> Decision | None:
        decision = store.hit((Charge(quota, key, cost),))[0]
        return None if decision.allowed else decision

    return admit


def _admit_awaited(quota: Quota, store: AsyncStore) -> Callable[[str, int], Any]:
    async def admit(key: str, cost: int) -> Decision | None:
        decision = (await store.hit((Charge(quota, key, cost),)))[0]
        return None if decision.allowed else decision

    return admit


def _plain(gate: _Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    admit, key, cost, name, answer = gate.admit, gate.key, gate.cost, gate.name, gate.answer
    if callable(cost) or gate.waits:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            refusal = gate.enter(args, kwargs)
            return function(*args, **kwargs) if refusal is None or answer is None else answer(refusal)

        return wrapper

    # The same with nothing between the call and the count: this is the usual case, and it takes half the time.
    def shortest(*args: Any, **kwargs: Any) -> Any:
        refusal = admit(name if key is None else key(*args, **kwargs), cost)
        if refusal is None:
            return function(*args, **kwargs)
        if answer is not None:
            return answer(refusal)
        return gate.pause_ns(refusal, 0)  # raises

    return shortest


def _coroutine(gate: _Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        refusal = await gate.enter_awaited(args, kwargs)
        if refusal is None or gate.answer is None:
            return await function(*args, **kwargs)
        answer = gate.answer(refusal)
        return await answer if inspect.isawaitable(answer) else answer

    return wrapper


def _generator(gate: _Gate, function: Callable[..., Any]) -> Callable[..., Generator[Any, Any, Any]]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        gate.enter(args, kwargs)
        return (yield from function(*args, **kwargs))

    return wrapper


def _async_generator(gate: _Gate, function: Callable[..., Any]) -> Callable[..., AsyncGenerator[Any, Any]]:
    return relayed(function, enter=gate.enter_awaited, leave=lambda _entered, _error: None)
