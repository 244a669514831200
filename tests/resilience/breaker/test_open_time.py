"""How long it stays open, and what is done by hand."""

from datetime import timedelta

import pytest

from workbench.errors import CircuitOpenError
from workbench.resilience.breaker import BreakerState, Outcome

SECOND = 10**9
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def open_times(breaker, clock, count):
    """Seconds that it stays open, ``count`` times in a row with a failure on trial between."""
    breaker.trip()
    times = []
    for _ in range(count):
        times.append(breaker.retry_after)
        clock.advance_ns(round(breaker.retry_after * SECOND))
        breaker.record(breaker.acquire(), Outcome.FAILURE)
    return times


def test_backoff_lengthens_the_open_time_up_to_its_cap(clock, make):
    assert open_times(make(timeout=10, backoff=2, max_timeout=50), clock, 5) == [10, 20, 40, 50, 50]


def test_without_backoff_the_open_time_stays(clock, make):
    assert open_times(make(timeout=timedelta(minutes=1)), clock, 3) == [60, 60, 60]


def test_the_cap_is_an_hour_unless_the_open_time_is_longer(clock, make):
    assert open_times(make(timeout=1800, backoff=100), clock, 90)[-1] == 3600
    assert open_times(make(timeout=7200, backoff=100), clock, 3) == [7200] * 3


def test_closing_ends_the_backoff(clock, make):
    breaker = make(timeout=10, backoff=2, success_threshold=1)
    open_times(breaker, clock, 3)
    clock.advance_ns(80 * SECOND)
    breaker.call(str)
    breaker.trip()
    assert breaker.retry_after == 10


def test_jitter_lengthens_by_up_to_its_share_the_same_for_the_same_seed(clock, make):
    times = open_times(make(timeout=10, jitter=0.5, seed=1), clock, 20)
    assert all(10 <= time <= 15 for time in times)
    assert len(set(times)) == 20
    assert open_times(make(timeout=10, jitter=0.5, seed=1), clock, 20) == times
    assert open_times(make(timeout=10, jitter=0.5, seed=2), clock, 20) != times
    assert open_times(make("other", timeout=10, jitter=0.5, seed=1), clock, 20) != times


def test_jitter_is_drawn_for_openings_only(clock, make):
    one, other = (make(timeout=10, jitter=0.5, seed=1) for _ in range(2))
    for _ in range(9):
        other.record(other.acquire(), Outcome.SUCCESS)
    assert open_times(one, clock, 3) == open_times(other, clock, 3)


def test_tripped_by_hand_it_opens_for_the_usual_time(clock, make):
    breaker = make()
    breaker.trip("the certificate is wrong")
    assert (breaker.state, breaker.retry_after, breaker.last_error) == (OPEN, 60, "the certificate is wrong")
    clock.advance_ns(59 * SECOND)
    breaker.trip("again")
    assert (breaker.retry_after, breaker.last_error) == (60, "again")
    assert breaker.snapshot()["since_ns"] == clock.time_ns() - 59 * SECOND
    clock.advance_ns(60 * SECOND)
    assert breaker.state is HALF_OPEN


def test_forced_open_it_stays_open_until_reset(clock, make):
    breaker = make()
    breaker.force_open("maintenance")
    clock.advance_ns(10**6 * SECOND)
    with pytest.raises(CircuitOpenError, match=r"is held open \(maintenance\); try again in 60 s"):
        breaker.call(str)
    assert breaker.state is BreakerState.FORCED_OPEN
    breaker.reset()
    assert (breaker.state, breaker.last_error) == (CLOSED, "")
    breaker.call(str)


def test_disabled_it_lets_everything_through_and_judges_nothing(make, fail):
    breaker = make(failure_threshold=1)
    breaker.disable()
    fail(breaker, times=10)
    assert (breaker.state, breaker.failures, breaker.snapshot()["calls_failed"]) == (BreakerState.DISABLED, 0, 10)
    breaker.reset()
    fail(breaker)
    assert breaker.state is OPEN


@pytest.mark.parametrize("change", ["reset", "disable", "force_open", "trip"])
def test_what_was_let_through_before_a_change_by_hand_counts_no_more(make, change):
    breaker = make(failure_threshold=1)
    early = breaker.acquire()
    getattr(breaker, change)()
    breaker.reset()
    breaker.record(early, Outcome.FAILURE)
    assert (breaker.state, breaker.snapshot()["calls_late"]) == (CLOSED, 1)


def test_reset_forgets_failures_and_keeps_totals(make, fail):
    breaker = make()
    fail(breaker, times=3)
    breaker.reset()
    assert (breaker.failures, breaker.last_error, breaker.snapshot()["calls_failed"]) == (0, "", 3)
