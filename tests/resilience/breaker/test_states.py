"""Closed, open, on trial, closed again: the reference timeline, and what each state lets through."""

import pytest

from workbench.errors import CircuitOpenError, InputError
from workbench.resilience.breaker import BreakerState, CircuitBreaker, Outcome

SECOND = 10**9
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
SUCCESS, FAILURE, IGNORE = Outcome.SUCCESS, Outcome.FAILURE, Outcome.IGNORE


def test_the_reference_timeline(clock, make):
    """resilience.md 3.3: 5 failures, 60 s, 2 successes, one call on trial. Times are seconds."""
    breaker: CircuitBreaker = make()
    start_ns = clock.monotonic_ns()

    def at(seconds: float) -> None:
        clock.advance_ns(start_ns + int(seconds * SECOND) - clock.monotonic_ns())

    def end(outcome: Outcome) -> BreakerState:
        breaker.record(breaker.acquire(), outcome)
        return breaker.state

    def rejected() -> float:
        with pytest.raises(CircuitOpenError) as caught:
            breaker.acquire()
        return caught.value.retry_after

    for second in range(4):
        at(second)
        assert end(FAILURE) is CLOSED
    at(4)
    assert (end(SUCCESS), breaker.failures) == (CLOSED, 0)
    at(5)
    slow = breaker.acquire()
    for second in range(6, 10):
        at(second)
        assert end(FAILURE) is CLOSED
    at(10)
    assert end(FAILURE) is OPEN
    at(10.5)
    assert rejected() == 59.5
    clock.advance_ns(70 * SECOND - 1 - int(10.5 * SECOND))
    assert rejected() == 1e-9
    breaker.record(slow, SUCCESS)
    assert breaker.state is OPEN
    at(70)
    assert breaker.state is HALF_OPEN
    first = breaker.acquire()
    rejected()
    breaker.record(first, SUCCESS)
    assert breaker.state is HALF_OPEN
    at(71)
    assert end(SUCCESS) is CLOSED
    for second in range(80, 84):
        at(second)
        assert end(FAILURE) is CLOSED
    at(84)
    assert end(FAILURE) is OPEN
    at(144)
    assert end(FAILURE) is OPEN
    at(203.9)
    assert rejected() == pytest.approx(0.1)
    at(204)
    assert end(IGNORE) is HALF_OPEN
    breaker.acquire()
    rejected()


def test_an_open_breaker_says_why_and_for_how_long_in_a_new_error_each_time(clock, make, fail):
    breaker = make("payments", failure_threshold=1, timeout=90)
    fail(breaker, ConnectionError("refused by 10.0.0.7"))
    clock.advance_ns(SECOND // 3)
    errors = []
    for _ in range(2):
        with pytest.raises(CircuitOpenError) as caught:
            breaker.call(print)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert str(errors[0]) == ("breaker 'payments' is open (ConnectionError: refused by 10.0.0.7); try again in 89.7 s")
    assert (errors[0].name, errors[0].retry_after) == ("payments", pytest.approx(90 - 1 / 3))
    assert errors[0].last_error == "ConnectionError: refused by 10.0.0.7"
    clock.advance_ns(SECOND)
    with pytest.raises(CircuitOpenError, match=r"try again in 88\.7 s"):
        breaker.call(print)


def test_on_trial_the_rejected_are_told_when_a_lost_call_is_given_up(clock, make):
    breaker = make(timeout=10, probe_timeout=4)
    breaker.trip("test")
    clock.advance_ns(10 * SECOND)
    breaker.acquire()
    clock.advance_ns(SECOND)
    with pytest.raises(CircuitOpenError, match=r"is on trial, with no slot free \(test\); try again in 3 s"):
        breaker.acquire()


def test_as_many_as_permitted_are_on_trial_at_a_time(clock, make):
    breaker = make(permits=3, success_threshold=5)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    tokens = [breaker.acquire() for _ in range(3)]
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    breaker.record(tokens.pop(), SUCCESS)
    breaker.acquire()
    with pytest.raises(CircuitOpenError):
        breaker.acquire()


def test_one_failure_on_trial_opens_it_again_and_the_other_trials_count_no_more(clock, make):
    breaker = make(permits=3, success_threshold=1)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    good, bad, late = (breaker.acquire() for _ in range(3))
    breaker.record(bad, FAILURE, "no")
    breaker.record(good, SUCCESS)
    breaker.record(late, FAILURE)
    assert (breaker.state, breaker.failures, breaker.retry_after) == (OPEN, 1, 60)
    assert breaker.snapshot()["calls_late"] == 2


def test_a_lost_call_on_trial_frees_its_slot_and_counts_no_more(clock, make):
    breaker = make(probe_timeout=5, success_threshold=1)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    lost = breaker.acquire()
    clock.advance_ns(5 * SECOND - 1)
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    clock.advance_ns(1)
    breaker.record(lost, SUCCESS)
    assert breaker.state is HALF_OPEN
    breaker.record(breaker.acquire(), SUCCESS)
    assert breaker.state is CLOSED


def test_a_token_counts_once(make):
    breaker = make(failure_threshold=2)
    token = breaker.acquire()
    breaker.record(token, FAILURE)
    breaker.record(token, FAILURE)
    assert (breaker.state, breaker.failures) == (CLOSED, 1)


def test_a_token_on_trial_counts_once(clock, make):
    breaker = make(permits=2)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    token, _ = breaker.acquire(), breaker.acquire()
    breaker.record(token, SUCCESS)
    breaker.record(token, SUCCESS)
    assert breaker.state is HALF_OPEN


def test_a_token_of_another_breaker_is_refused(make):
    with pytest.raises(InputError, match="<Token of 'one', generation 0> was given to breaker 'two'"):
        make("two").record(make("one").acquire(), SUCCESS)


def test_to_look_takes_no_slot(clock, make):
    breaker = make()
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    assert [breaker.state for _ in range(3)] == [HALF_OPEN] * 3
    assert (breaker.retry_after, breaker.snapshot()["state"]) == (0, "half-open")
    breaker.acquire()
    assert breaker.retry_after == 60


def test_a_breaker_looks_like_this_to_a_dashboard(clock, make, fail):
    breaker = make("db", failure_threshold=2)
    start_ns = clock.time_ns()
    breaker.call(str)
    fail(breaker, KeyboardInterrupt())
    early = breaker.acquire()
    fail(breaker, times=2)
    breaker.record(early, SUCCESS)
    clock.advance_ns(SECOND)
    with pytest.raises(CircuitOpenError):
        breaker.call(str)
    assert breaker.snapshot() == {
        "name": "db",
        "state": "open",
        "failures": 2,
        "successes": 0,
        "on_trial": 0,
        "since_ns": start_ns,
        "opened_since_ns": start_ns,
        "retry_after": 59.0,
        "calls": 5,
        "calls_succeeded": 1,
        "calls_failed": 2,
        "calls_ignored": 1,
        "calls_late": 1,
        "calls_rejected": 1,
        "listener_errors": 0,
        "last_error": "TimeoutError: no answer",
    }
    clock.advance_ns(59 * SECOND)
    breaker.acquire()
    told = breaker.snapshot()
    assert (told["state"], told["on_trial"]) == ("half-open", 1)
    assert (told["since_ns"], told["opened_since_ns"]) == (start_ns + 60 * SECOND, start_ns)
    breaker.reset()
    assert breaker.snapshot()["opened_since_ns"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"failure_threshold": 0}, "failure_threshold of a breaker is a whole number from 1 to a million, not 0"),
        ({"failure_threshold": 2.5}, "not 2.5"),
        ({"success_threshold": True}, "success_threshold of a breaker"),
        ({"permits": 0}, "permits of a breaker"),
        ({"timeout": 0}, "timeout of a breaker is a positive number of seconds below a billion, not 0"),
        ({"timeout": float("nan")}, "not nan"),
        ({"probe_timeout": -1}, "probe_timeout of a breaker"),
        ({"timeout": 10, "max_timeout": 5}, "max_timeout of a breaker is at least its timeout, not 5"),
        ({"excluded": ["x"]}, "excluded of a breaker holds classes of exceptions, not 'x'; judge with classify"),
        ({"excluded": KeyError}, "excluded of a breaker is a list of classes of exceptions, not <class 'KeyError'>"),
        ({"classify": 503}, "classify of a breaker is a function of (result, error), not 503"),
        ({"listeners": print}, "listeners of a breaker are a list of functions, not <built-in function print>"),
        ({"failure_rate": 0}, "failure_rate of a breaker is a share above 0 and up to 1, not 0"),
        ({"slow_rate": 0.5}, "slow_rate needs slow_call"),
        ({"failure_rate": 0.5, "window": 10, "min_calls": 11}, "min_calls of a breaker fits into its window of 10"),
        ({"jitter": 2}, "jitter of a breaker is a number from 0 to 1, not 2"),
        ({"backoff": 0.5}, "backoff of a breaker is a number from 1 to 100"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, said):
    with pytest.raises(InputError) as caught:
        CircuitBreaker("db", **options)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101, None])
def test_a_name_is_printable_and_short(name):
    with pytest.raises(InputError, match="the name of a breaker is 1 to 100 printable characters"):
        CircuitBreaker(name)


def test_the_defaults_are_five_failures_a_minute_and_two_successes():
    settings = CircuitBreaker("db").settings
    assert (settings.failure_threshold, settings.timeout_ns, settings.success_threshold) == (5, 60 * SECOND, 2)
    assert (settings.permits, settings.probe_timeout_ns, settings.jitter, settings.backoff) == (1, 60 * SECOND, 0, 1)


@pytest.mark.parametrize("outcome", ["failure", True, None])
def test_what_is_recorded_is_an_outcome_and_else_the_token_stays_good(outcome):
    breaker = CircuitBreaker("db", failure_threshold=1)
    token = breaker.acquire()
    with pytest.raises(
        InputError, match=r"breaker 'db': what is recorded is an Outcome, such as Outcome\.FAILURE, not"
    ):
        breaker.record(token, outcome)
    breaker.record(token, Outcome.FAILURE)
    assert repr(breaker) == "<CircuitBreaker 'db': open>"
