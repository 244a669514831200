"""A breaker's state outlives its process."""

import json

import pytest

from workbench.errors import CircuitOpenError, InputError
from workbench.resilience.breaker import BreakerState, Outcome

SECOND = 10**9


def moved(breaker, make, **options):
    other = make(**options)
    other.restore(json.loads(json.dumps(breaker.save())))
    return other


def test_a_state_goes_on_in_another_process(clock, make, fail):
    breaker = make()
    fail(breaker, times=4)
    breaker = moved(breaker, make)
    fail(breaker)
    breaker = moved(breaker, make)
    assert (breaker.state, breaker.last_error) == (BreakerState.OPEN, "TimeoutError: no answer")
    clock.advance_ns(60 * SECOND)
    token = breaker.acquire()
    breaker = moved(breaker, make)
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    breaker.record(token, Outcome.SUCCESS)
    breaker = moved(breaker, make)
    breaker.call(str)
    assert breaker.state is BreakerState.CLOSED


def test_a_token_of_an_older_generation_changes_nothing_after_moving(make):
    breaker = make(failure_threshold=1)
    token = breaker.acquire()
    breaker.trip()
    breaker = moved(breaker, make, failure_threshold=1)
    breaker.reset()
    breaker.record(token, Outcome.FAILURE)
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize("by_hand", ["force_open", "disable", "reset", "trip"])
def test_what_was_set_by_hand_is_kept(make, by_hand):
    breaker = make()
    getattr(breaker, by_hand)()
    assert moved(breaker, make).save() == breaker.save()
    assert moved(breaker, make).state is breaker.state


def test_a_rejection_after_restoring_is_told_with_the_restored_reason(make):
    breaker = make()
    for reason in ("one", "two"):
        other = make()
        other.trip(reason)
        breaker.restore(other.save())
        with pytest.raises(CircuitOpenError, match=reason):
            breaker.acquire()


def test_times_in_the_future_are_taken_for_over(clock, make):
    breaker = make()
    breaker.trip()
    record = breaker.save()
    record["opened_ns"] += 1
    breaker.restore(record)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.acquire()
    record = breaker.save()
    record["probes"][0][1] += 1
    breaker.restore(record)
    breaker.acquire()


def test_no_stored_state_keeps_it_open_for_longer_than_the_settings_allow(make):
    breaker = make(timeout=10, max_timeout=20)
    breaker.trip()
    breaker.restore({**breaker.save(), "open_for_ns": 10**30})
    assert breaker.retry_after == 20


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"state": "ajar"},
        {"failures": "3"},
        {"failures": -1},
        {"generation": True},
        {"probes": [[1]]},
        {"probes": 5},
        {"last_error": None},
        {"more": 1},
    ],
)
def test_what_save_never_gives_is_refused_and_changes_nothing(make, change):
    breaker = make()
    before = breaker.save()
    with pytest.raises(InputError, match="this is not the state of a breaker"):
        breaker.restore({**before, **change})
    with pytest.raises(InputError, match="this is not the state of a breaker"):
        breaker.restore([])
    assert breaker.save() == before
