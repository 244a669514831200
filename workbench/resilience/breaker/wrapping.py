"""The decorator: the same guard around functions of all four kinds."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from workbench.errors import InputError
from workbench.resilience.breaker.outcome import Outcome
from workbench.resilience.relaying import relayed

if TYPE_CHECKING:
    from workbench.resilience.breaker.circuit import CircuitBreaker

__all__ = ["guarded"]

P = ParamSpec("P")
T = TypeVar("T")


def guarded(breaker: "CircuitBreaker", function: Callable[P, T]) -> Callable[P, T]:
    """``function`` behind ``breaker``. Raises ``InputError`` for what cannot be called."""
    if not callable(function):
        raise InputError(f"breaker {breaker.name!r} guards functions, not {function!r:.80}; put it below @classmethod")
    # An object with an ``async def __call__`` is as asynchronous as a function.
    kind = (
        function if inspect.isroutine(function) or isinstance(function, functools.partial) else type(function).__call__
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
    wrapper: Callable[P, T] = functools.wraps(function)(wrap(breaker, function))
    return wrapper


def _plain(breaker: "CircuitBreaker", function: Callable[..., Any]) -> Callable[..., Any]:
    # ``CircuitBreaker.call`` once more, line by line: another call around it would cost a quarter of its time.
    ticks = breaker._ticks

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = breaker._state
        token = None if state.calm else breaker.acquire()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            breaker._fail(token or breaker._token(state), error)
            raise
        if token is None and breaker._state is state and type(result) is not CoroutineType:
            next(ticks)
            return result
        breaker._succeed(token or breaker._token(state), result)
        return result

    return wrapper


def _coroutine(breaker: "CircuitBreaker", function: Callable[..., Any]) -> Callable[..., Any]:
    ticks = breaker._ticks

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = breaker._state
        token = None if state.calm else breaker.acquire()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            breaker._fail(token or breaker._token(state), error)
            raise
        if token is None and breaker._state is state:
            next(ticks)
            return result
        breaker._succeed(token or breaker._token(state), result)
        return result

    return wrapper


def _generator(breaker: "CircuitBreaker", function: Callable[..., Any]) -> Callable[..., Generator[Any, Any, Any]]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        token = breaker.acquire()
        try:
            result = yield from function(*args, **kwargs)
        except BaseException as error:
            breaker._fail(token, error, 0)
            raise
        breaker.record(token, Outcome.SUCCESS, None, 0)
        return result

    return wrapper


def _async_generator(
    breaker: "CircuitBreaker", function: Callable[..., Any]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def enter(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
        return breaker.acquire()

    def leave(token: Any, error: BaseException | None) -> None:
        if error is None:
            breaker.record(token, Outcome.SUCCESS, None, 0)
        else:
            breaker._fail(token, error, 0)

    return relayed(function, enter=enter, leave=leave)
