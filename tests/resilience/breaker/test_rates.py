"""Opening by the share of calls that failed or were slow, over the last calls or the last seconds."""

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.resilience.breaker import BreakerState, CircuitBreaker, Outcome
from workbench.resilience.breaker.windows import CallWindow, TimeWindow

SECOND = 10**9
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def run(breaker: CircuitBreaker, outcomes: str) -> BreakerState:
    """``+`` a success, ``-`` a failure, ``.`` one that tells nothing."""
    for outcome in outcomes:
        breaker.record(breaker.acquire(), {"+": Outcome.SUCCESS, "-": Outcome.FAILURE, ".": Outcome.IGNORE}[outcome])
    return breaker.state


def test_it_opens_when_the_rate_is_reached_and_not_before_there_are_enough_calls(make):
    breaker = make(failure_rate=0.5, window=10, min_calls=4)
    assert run(breaker, "---") is CLOSED
    assert run(breaker, "-") is OPEN
    assert breaker.last_error == "4 of the last 4 calls failed"


def test_a_success_can_be_the_call_that_makes_enough(make):
    breaker = make(failure_rate=0.5, window=10, min_calls=4)
    assert run(breaker, "--+") is CLOSED
    assert run(breaker, "+") is OPEN


def test_with_a_rate_failures_in_a_row_do_not_open_it_unless_asked(make):
    assert run(make(failure_rate=0.5, window=100), "+" * 20 + "-" * 10) is CLOSED
    assert run(make(failure_rate=0.5, window=100, failure_threshold=10), "+" * 20 + "-" * 10) is OPEN


def test_calls_that_have_left_the_window_count_no_more(make):
    breaker = make(failure_rate=0.5, window=4, min_calls=4)
    assert run(breaker, "+-+" + "++-+" * 50) is CLOSED
    assert run(breaker, "+") is CLOSED
    assert run(breaker, "-") is OPEN


def test_what_tells_nothing_is_not_in_the_window(make):
    assert run(make(failure_rate=0.5, window=4, min_calls=4), "..-..-..-..") is CLOSED


def test_a_window_of_time_forgets_whole_seconds(clock, make):
    breaker = make(failure_rate=0.5, window=timedelta(seconds=10), min_calls=3)
    clock.advance_ns(-clock.monotonic_ns() % SECOND)
    run(breaker, "--")
    clock.advance_ns(10 * SECOND - 1)
    assert run(breaker, "+") is OPEN
    breaker.reset()
    clock.advance_ns(1)
    run(breaker, "--")
    clock.advance_ns(10 * SECOND)
    assert run(breaker, "+++") is CLOSED


def test_after_closing_the_window_is_empty(clock, make):
    breaker = make(failure_rate=0.5, window=4, min_calls=4, success_threshold=1)
    assert run(breaker, "----") is OPEN
    clock.advance_ns(60 * SECOND)
    assert run(breaker, "+---") is CLOSED
    assert run(breaker, "-") is OPEN


def test_late_results_are_not_in_the_window(clock, make):
    breaker = make(failure_rate=0.5, window=4, min_calls=1)
    late = breaker.acquire()
    breaker.reset()
    breaker.record(late, Outcome.FAILURE)
    assert breaker.state is CLOSED


def test_slow_calls_open_it_though_none_fails(clock, make):
    breaker = make(slow_rate=0.5, slow_call=2, window=10, min_calls=4)

    def call(seconds: float) -> None:
        breaker.call(clock.advance_ns, int(seconds * SECOND))

    for seconds in (0.1, 1.999, 2):
        call(seconds)
    assert breaker.state is CLOSED
    call(3)
    assert (breaker.state, breaker.last_error) == (OPEN, "2 of the last 4 calls were slow")


def test_on_trial_a_slow_success_is_a_failure(clock, make):
    breaker = make(slow_call=2, success_threshold=1)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    breaker.call(clock.advance_ns, 2 * SECOND)
    assert (breaker.state, breaker.last_error) == (OPEN, "a call on trial took 2 s")
    clock.advance_ns(60 * SECOND)
    breaker.call(clock.advance_ns, 2 * SECOND - 1)
    assert breaker.state is CLOSED


def test_the_duration_can_be_told(make):
    breaker = make(slow_rate=1, slow_call=2, window=1)
    breaker.record(breaker.acquire(), Outcome.SUCCESS, duration_ns=2 * SECOND)
    assert breaker.state is OPEN


def test_the_time_of_who_reads_a_generator_is_not_the_backend_s(clock, make):
    breaker = make(slow_rate=1, slow_call=2, window=1)

    @breaker
    def items():
        yield 1

    for _ in items():
        clock.advance_ns(9 * SECOND)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("window", [timedelta(0), timedelta(seconds=1.5), timedelta(days=2), 0, 10.0])
def test_a_window_is_calls_or_whole_seconds(window):
    with pytest.raises(InputError, match="window of a breaker is a whole number"):
        CircuitBreaker("db", failure_rate=0.5, window=window)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_a_window_of_calls_is_the_last_calls(size, calls):
    window = CallWindow(size)
    for count, (failed, slow) in enumerate(calls, start=1):
        window.add(failed, slow, 0)
        last = calls[max(0, count - size) : count]
        assert (window.calls, window.failures, window.slow) == (
            len(last),
            sum(failed for failed, _ in last),
            sum(slow for _, slow in last),
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 2 * SECOND), st.booleans()), max_size=60))
def test_a_window_of_time_is_the_last_seconds(seconds, steps):
    window, now_ns, seen = TimeWindow(seconds * SECOND), 0, []
    for step_ns, failed in steps:
        now_ns += step_ns
        seen.append((now_ns // SECOND, failed))
        window.add(failed, False, now_ns)
        last = [failed for second, failed in seen if second > now_ns // SECOND - seconds]
        assert (window.calls, window.failures) == (len(last), sum(last))
        assert len(window._buckets) <= seconds


def test_a_result_that_reports_after_newer_ones_is_counted(make):
    window = TimeWindow(3 * SECOND)
    window.add(True, False, 5 * SECOND)
    window.add(True, False, 4 * SECOND)
    assert (window.calls, window.failures) == (2, 2)


@pytest.mark.slow
def test_false_openings_are_as_rare_as_theory_says():
    """Mean number of calls before 5 failures in a row at p = 0.5: (1 - p^5) / (p^5 (1 - p)) = 62."""
    drawn, lengths = random.Random(5), []
    for _ in range(3_000):
        breaker = CircuitBreaker("db", clock=VirtualClock())
        calls = 0
        while breaker.state is CLOSED:
            calls += 1
            breaker.record(breaker.acquire(), Outcome.FAILURE if drawn.random() < 0.5 else Outcome.SUCCESS)
        lengths.append(calls)
    assert sum(lengths) / len(lengths) == pytest.approx(62, rel=0.08)
