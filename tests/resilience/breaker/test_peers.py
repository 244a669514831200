"""What other breakers do wrong (each reproduced in a current release), and what pybreaker's own tests ask for."""

import asyncio
import gc
import traceback
import weakref

import pytest

from workbench.errors import CircuitOpenError
from workbench.resilience.breaker import BreakerState, Outcome

SECOND = 10**9
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


# Defects (that of calls one after the other, and of fifty let through on trial, are in test_threads.py)


def test_a_decorated_coroutine_function_that_fails_opens_it(make):
    """pybreaker: five failures of an ``async def``, closed, count 0."""
    breaker = make()

    @breaker
    async def ask():
        raise ConnectionError

    for _ in range(5):
        with pytest.raises(ConnectionError):
            asyncio.run(ask())
    assert (breaker.state, breaker.failures) == (OPEN, 5)


def test_cancelled_calls_do_not_open_it(make, fail):
    """pybreaker and purgatory: three cancellations opened it."""
    breaker = make(failure_threshold=3)
    fail(breaker, asyncio.CancelledError(), times=10)
    assert (breaker.state, breaker.failures) == (CLOSED, 0)


def test_a_cancelled_call_does_not_forget_failures(make, fail):
    """circuitbreaker: a cancelled task reset the count from 2 to 0."""
    breaker = make()
    fail(breaker, times=2)
    fail(breaker, asyncio.CancelledError())
    assert breaker.failures == 2


def test_a_late_success_does_not_close_it(make, fail):
    """circuitbreaker: a call from before it opened closed it when it came back."""
    breaker = make(success_threshold=1)
    late = breaker.acquire()
    fail(breaker, times=5)
    breaker.record(late, Outcome.SUCCESS)
    assert breaker.state is OPEN


def test_a_late_failure_does_not_open_it_again(clock, make, fail):
    breaker = make(failure_threshold=1, success_threshold=1)
    late = breaker.acquire()
    fail(breaker)
    clock.advance_ns(60 * SECOND)
    on_trial = breaker.acquire()
    breaker.record(late, Outcome.FAILURE)
    assert breaker.state is HALF_OPEN
    breaker.record(on_trial, Outcome.SUCCESS)
    assert breaker.state is CLOSED


def test_the_ten_thousandth_rejection_is_as_short_as_the_first(make):
    """purgatory: one exception raised again and again, with 36,060 frames after 6,010 rejections."""
    breaker = make()
    breaker.trip()
    lengths = set()
    for _ in range(10_000):
        try:
            breaker.call(str)
        except CircuitOpenError as error:
            lengths.add(len(traceback.extract_tb(error.__traceback__)))
    assert len(lengths) == 1
    assert lengths.pop() <= 4


def test_neither_the_breaker_nor_its_errors_keep_what_a_failed_call_held(make):
    class Load:
        pass

    breaker = make(failure_threshold=1)
    kept = []

    def call() -> None:
        load = Load()
        kept.append(weakref.ref(load))
        raise TimeoutError(load)

    with pytest.raises(TimeoutError):
        breaker.call(call)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call(call)
    error = caught.value
    del caught
    gc.collect()
    assert (error.__cause__, error.__context__, kept[0]()) == (None, None, None)


# What pybreaker's tests ask for, asked anew (what differs on purpose: docs/design/resilience.md)


def test_the_failure_that_opens_it_is_raised_as_it_is(make, fail):
    breaker = make(failure_threshold=3)
    fail(breaker, NotImplementedError("x"), times=3)
    assert (breaker.state, breaker.failures) == (OPEN, 3)
    with pytest.raises(CircuitOpenError):
        breaker.call(str)
    assert breaker.failures == 3


def test_a_success_between_starts_the_count_anew(make, fail):
    breaker = make()
    fail(breaker)
    assert (breaker.call(lambda: True), breaker.failures, breaker.state) == (True, 0, CLOSED)


def test_a_failure_after_the_open_time_opens_it_again(clock, make, fail):
    breaker = make(failure_threshold=3, timeout=0.5)
    fail(breaker, times=3)
    clock.advance_ns(SECOND // 2)
    fail(breaker)
    assert (breaker.state, breaker.failures, breaker.retry_after) == (OPEN, 4, 0.5)


def test_a_success_after_the_open_time_is_called_once_and_closes_it(clock, make, fail):
    calls = []
    breaker = make(failure_threshold=3, success_threshold=1)
    fail(breaker, times=3)
    with pytest.raises(CircuitOpenError):
        breaker.call(calls.append, 1)
    clock.advance_ns(60 * SECOND)
    breaker.call(calls.append, 1)
    assert (calls, breaker.state, breaker.failures) == ([1], CLOSED, 0)


def test_so_many_successes_on_trial_as_asked_for_close_it(clock, make, fail):
    breaker = make(failure_threshold=3, success_threshold=3)
    fail(breaker, times=3)
    clock.advance_ns(60 * SECOND)
    for successes in (1, 2):
        breaker.call(str)
        assert (breaker.state, breaker.snapshot()["successes"]) == (HALF_OPEN, successes)
    breaker.call(str)
    assert (breaker.state, breaker.snapshot()["successes"]) == (CLOSED, 0)


def test_a_failure_on_trial_forgets_the_successes_on_trial(clock, make, fail):
    breaker = make(success_threshold=3)
    breaker.trip()
    for _ in range(2):
        clock.advance_ns(60 * SECOND)
        breaker.call(str)
        breaker.call(str)
        fail(breaker)
        assert (breaker.state, breaker.snapshot()["successes"]) == (OPEN, 0)


def test_results_and_arguments_go_through(make):
    assert make().call(lambda *given, **named: (given, named), 42, "abc", a=1) == ((42, "abc"), {"a": 1})
    assert make()(lambda *given, **named: (given, named))(42, b=2) == ((42,), {"b": 2})


def test_a_generator_that_fails_later_counts_as_a_failure(make):
    breaker = make()

    @breaker
    def items(value):
        heard = yield value
        raise NotImplementedError(heard)

    reading = items(True)
    next(reading)
    assert breaker.failures == 0
    with pytest.raises(NotImplementedError):
        reading.send(True)
    assert breaker.failures == 1
