"""What tells something about the backend, and what does not."""

import asyncio

import pytest

from workbench.errors import CircuitOpenError, RateLimitedError
from workbench.resilience.breaker import BreakerState, Outcome, http_outcome

SECOND = 10**9
GIVEN_UP = [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt(), SystemExit(1)]


@pytest.mark.parametrize("error", GIVEN_UP, ids=lambda error: type(error).__name__)
def test_a_caller_that_gives_up_changes_no_count(make, fail, error):
    breaker = make(failure_threshold=3)
    fail(breaker, times=2)
    fail(breaker, error, times=5)
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 2)
    fail(breaker)
    assert breaker.state is BreakerState.OPEN


@pytest.mark.parametrize("error", GIVEN_UP, ids=lambda error: type(error).__name__)
def test_a_caller_that_gives_up_on_trial_frees_its_slot(clock, make, fail, error):
    breaker = make(success_threshold=1)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    fail(breaker, error)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.call(lambda: 1) == 1
    assert breaker.state is BreakerState.CLOSED


def test_excluded_exceptions_are_neither_failures_nor_successes(clock, make, fail):
    breaker = make(failure_threshold=2, success_threshold=1, excluded=[LookupError])
    fail(breaker)
    fail(breaker, KeyError("no such user"), times=3)
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 1)
    fail(breaker)
    clock.advance_ns(60 * SECOND)
    fail(breaker, KeyError("no such user"))
    assert breaker.state is BreakerState.HALF_OPEN


def test_results_can_be_failures(make):
    breaker = make(failure_threshold=2, classify=lambda status, error: http_outcome(status) if error is None else None)
    assert [breaker.call(lambda: status) for status in (500, 404, 503)] == [500, 404, 503]  # noqa: B023
    assert breaker.state is BreakerState.OPEN


def test_errors_can_be_judged_by_what_they_hold(make, fail):
    def classify(result, error):
        return Outcome.IGNORE if error is not None and "client" in str(error) else None

    breaker = make(failure_threshold=1, classify=classify)
    fail(breaker, ValueError("client error"))
    breaker.call(str)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, ValueError("server error"))
    assert breaker.state is BreakerState.OPEN


@pytest.mark.parametrize("ends", ["returns", "raises"])
def test_a_judge_that_fails_is_heard_of_and_holds_no_slot(clock, make, ends):
    def classify(result, error):
        raise ZeroDivisionError

    def call():
        if ends == "raises":
            raise TimeoutError

    breaker = make(classify=classify)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            breaker.call(call)
    assert breaker.state is BreakerState.HALF_OPEN


@pytest.mark.parametrize("error", [CircuitOpenError("open", name="other", retry_after=1), RateLimitedError("too many")])
def test_a_call_that_another_breaker_or_limiter_stopped_tells_nothing(make, fail, error):
    breaker = make(failure_threshold=1)
    fail(breaker, error)
    assert breaker.state is BreakerState.CLOSED


def test_the_outcome_of_an_http_status():
    told = {status: http_outcome(status).value for status in (200, 204, 304, 400, 404, 429, 499, 500, 503)}
    assert told == {
        200: "success",
        204: "success",
        304: "success",
        400: "ignore",
        404: "ignore",
        429: "ignore",
        499: "ignore",
        500: "failure",
        503: "failure",
    }
    assert http_outcome(429, too_many=Outcome.FAILURE) is Outcome.FAILURE


def test_the_text_of_an_error_is_one_short_line_and_never_in_the_way(make, fail):
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    breaker = make(failure_threshold=100)
    for error, text in (
        (ValueError(), "ValueError"),
        (ValueError("a\n  b"), "ValueError: a b"),
        (ValueError("x" * 10_000), "ValueError: " + "x" * 188),
        (UnprintableError(), "UnprintableError"),
    ):
        fail(breaker, error)
        assert breaker.last_error == text


def test_of_a_result_that_was_judged_a_failure_only_its_kind_is_told(make):
    breaker = make(failure_threshold=1, classify=lambda result, error: Outcome.FAILURE)
    breaker.call(lambda: {"password": "secret"})
    assert breaker.last_error == "dict judged a failure"
