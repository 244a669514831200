"""The breaker as its users see it: a decorator, ``call`` and ``acall``, ``with``, or by hand."""

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from datetime import timedelta
from inspect import isawaitable
from types import CoroutineType, TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from workbench.clock import Clock, SystemClock
from workbench.errors import InputError
from workbench.resilience.breaker.machine import Machine
from workbench.resilience.breaker.outcome import Classify, Outcome, outcome_of_error
from workbench.resilience.breaker.report import Change
from workbench.resilience.breaker.settings import BreakerSettings
from workbench.resilience.breaker.state import Token
from workbench.resilience.breaker.wrapping import guarded

__all__ = ["CircuitBreaker"]

P = ParamSpec("P")
T = TypeVar("T")

# What each context has entered with ``with``: (breaker, token, the rest). One for all breakers, as a context keeps
# every ContextVar it ever saw.
_Entered = tuple["CircuitBreaker", Token, "_Entered | None"]
_ENTERED: Final[ContextVar["_Entered | None"]] = ContextVar("_ENTERED", default=None)


class CircuitBreaker(Machine):
    """Guards calls to one backend. Use it as a decorator, with ``call`` / ``acall``, with ``with``, or by hand.

    ``name``: how errors, snapshots and metrics call it. All durations are seconds or a ``timedelta``.

    ``failure_threshold``: failures in a row that open it; 5, or none if a rate is given.
    ``timeout``: how long it stays open. ``success_threshold``: successes on trial that close it.
    ``permits``: calls on trial at a time. ``probe_timeout``: after how long one that reported nothing is given up and
    its slot free again; ``timeout`` unless given. It is to be longer than any call takes: what is given up counts no
    more when it does report.
    ``excluded``: exceptions that tell nothing about the backend. ``classify``: judges ``(result, error)``, one of
    which is ``None``, and gives an ``Outcome``, or ``None`` for the usual one; so results can be failures too.
    ``failure_rate``, ``slow_rate``: shares (0 to 1] of the calls in ``window`` that open it, once there are
    ``min_calls`` (20, or a smaller whole window). ``slow_call``: from how long on a call is slow; on trial a slow one
    is a failure. ``window``: the last so many calls (100), or a ``timedelta`` of whole seconds.
    ``backoff``: factor of the open time for each further opening without closing, up to ``max_timeout`` (an hour, or
    ``timeout`` if longer). ``jitter``: each open time is lengthened by up to this share, at random, so that many
    breakers do not all try at once; ``seed`` makes that reproducible, for each name differently.
    ``listeners``: called with a ``Change`` after each one. What a listener raises is logged and counted, no more.

    What happened counts so: an exception is a failure; one that is no ``Exception`` (cancellation, ``GeneratorExit``,
    ``KeyboardInterrupt``, ``SystemExit``) is ignored. So put a time limit inside what is guarded: from outside it is a
    cancellation, and tells nothing. Raises ``InputError`` for options that cannot be meant.

    >>> from workbench.clock import VirtualClock
    >>> clock = VirtualClock()
    >>> breaker = CircuitBreaker("db", failure_threshold=1, timeout=30, success_threshold=1, clock=clock)
    >>> @breaker
    ... def ask(question: str) -> str:
    ...     if question == "why?":
    ...         raise TimeoutError("no answer")
    ...     return "42"
    >>> ask("what?")
    '42'
    >>> ask("why?")
    Traceback (most recent call last):
    TimeoutError: no answer
    >>> ask("what?")
    Traceback (most recent call last):
    workbench.errors.CircuitOpenError: breaker 'db' is open (TimeoutError: no answer); try again in 30 s
    >>> clock.advance_ns(30 * 10**9)
    >>> ask("what?"), breaker.state.value
    ('42', 'closed')
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        *,
        failure_threshold: int | None = None,
        timeout: float | timedelta = 60,
        success_threshold: int = 2,
        permits: int = 1,
        probe_timeout: float | timedelta | None = None,
        excluded: Iterable[type[BaseException]] = (),
        classify: Classify | None = None,
        failure_rate: float | None = None,
        slow_rate: float | None = None,
        slow_call: float | timedelta | None = None,
        window: int | timedelta = 100,
        min_calls: int | None = None,
        jitter: float = 0,
        backoff: float = 1,
        max_timeout: float | timedelta | None = None,
        seed: int | None = None,
        clock: Clock | None = None,
        listeners: Iterable[Callable[[Change], object]] = (),
    ) -> None:
        settings = BreakerSettings.of(
            failure_threshold=failure_threshold,
            timeout=timeout,
            success_threshold=success_threshold,
            permits=permits,
            probe_timeout=probe_timeout,
            excluded=excluded,
            classify=classify,
            failure_rate=failure_rate,
            slow_rate=slow_rate,
            slow_call=slow_call,
            window=window,
            min_calls=min_calls,
            jitter=jitter,
            backoff=backoff,
            max_timeout=max_timeout,
            seed=seed,
        )
        super().__init__(name, settings, SystemClock() if clock is None else clock, listeners)

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r}: {self.state.value}>"

    # Calling

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Guard every call of ``function``: plain, ``async def``, a generator or an asynchronous generator function.

        A generator is let through when its first item is asked for, and its outcome is known when it ends: exhausted
        is a success, closed early is ignored. Its time is also that of who reads it, so it is never a slow call, and
        ``classify`` is asked about its errors only.
        """
        return guarded(self, function)

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``function(*args, **kwargs)``, if it may pass. Raises ``CircuitOpenError`` if not."""
        state = self._state
        token = None if state.calm else self.acquire()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            self._fail(token or self._token(state), error)
            raise
        if token is None and self._state is state and type(result) is not CoroutineType:
            next(self._ticks)
            return result
        self._succeed(token or self._token(state), result)
        return result

    async def acall(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``await function(*args, **kwargs)``, if it may pass. Raises ``CircuitOpenError`` if not."""
        state = self._state
        token = None if state.calm else self.acquire()
        try:
            awaitable = function(*args, **kwargs)
            found: object = awaitable
            if type(found) is not CoroutineType and not isawaitable(found):
                token = token or self._token(state)
                self.record(token, Outcome.IGNORE)
                raise InputError(f"breaker {self.name!r}: acall is for what can be awaited; for the rest there is call")
            result = await awaitable
        except BaseException as error:
            self._fail(token or self._token(state), error)
            raise
        if token is None and self._state is state:
            next(self._ticks)
            return result
        self._succeed(token or self._token(state), result)
        return result

    def __enter__(self) -> "CircuitBreaker":
        _ENTERED.set((self, self.acquire(), _ENTERED.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token = self._left()
        if token is None:  # left in another context than entered; a call on trial is given up after its time
            return
        if error is None:
            self.record(token, Outcome.SUCCESS)
        else:
            self._fail(token, error)

    async def __aenter__(self) -> "CircuitBreaker":
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    # Within

    def _succeed(self, token: Token, result: Any) -> None:
        """The call gave ``result``, which may still be judged a failure."""
        if isinstance(result, CoroutineType):
            result.close()
            self.record(token, Outcome.IGNORE)
            raise InputError(f"breaker {self.name!r} was to call an asynchronous function; use acall, or decorate it")
        outcome = Outcome.IGNORE
        try:
            classify = self._settings.classify
            outcome = (None if classify is None else classify(result, None)) or Outcome.SUCCESS
        finally:
            # Of the result only its kind is told: what it holds may be anybody's.
            told = f"{type(result).__name__} judged a failure" if outcome is Outcome.FAILURE else None
            self.record(token, outcome, told)

    def _fail(self, token: Token, error: BaseException, duration_ns: int | None = None) -> None:
        outcome = Outcome.IGNORE
        try:
            outcome = outcome_of_error(error, self._settings.excluded, self._settings.classify)
        finally:
            self.record(token, outcome, error, duration_ns)

    def _left(self) -> Token | None:
        """The token of the innermost ``with`` on this breaker, which is taken off."""
        inner: list[tuple[CircuitBreaker, Token]] = []
        entered = _ENTERED.get()
        while entered is not None and entered[0] is not self:
            inner.append(entered[:2])
            entered = entered[2]
        if entered is None:
            return None
        token, rest = entered[1:]
        for breaker, other in reversed(inner):
            rest = (breaker, other, rest)
        _ENTERED.set(rest)
        return token
