"""Those who watch a breaker hear of each change, and are never in the way."""

import inspect
import logging

import pytest

from workbench.errors import InputError
from workbench.resilience.breaker import BreakerOptions, Breakers, BreakerState, Change, CircuitBreaker

SECOND = 10**9
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def test_every_change_is_told_once(clock, make, fail):
    heard = []
    breaker = make(failure_threshold=2, success_threshold=1, listeners=[heard.append])
    start_ns = clock.time_ns()
    fail(breaker, times=2)
    clock.advance_ns(60 * SECOND)
    breaker.call(str)
    breaker.force_open("by hand")
    breaker.reset()
    breaker.reset()
    later_ns, reason = start_ns + 60 * SECOND, "TimeoutError: no answer"
    assert heard == [
        Change("db", CLOSED, OPEN, 1, start_ns, reason),
        Change("db", OPEN, HALF_OPEN, 2, later_ns, reason),
        Change("db", HALF_OPEN, CLOSED, 3, later_ns, reason),
        Change("db", CLOSED, BreakerState.FORCED_OPEN, 4, later_ns, "by hand"),
        Change("db", BreakerState.FORCED_OPEN, CLOSED, 5, later_ns, ""),
    ]


def test_a_listener_may_come_later_and_may_use_the_breaker(make):
    breaker = make()
    heard = []
    breaker.on_change(lambda change: heard.append((breaker.snapshot()["state"], breaker._lock._is_owned())))
    breaker.trip()
    assert heard == [("open", False)]


def test_what_a_listener_raises_is_logged_and_counted_and_no_more(make, fail, caplog):
    def broken(change):
        raise ZeroDivisionError

    heard = []
    breaker = make(failure_threshold=1, listeners=[broken, heard.append])
    with caplog.at_level(logging.ERROR):
        fail(breaker)
    assert (len(heard), breaker.state, breaker.snapshot()["listener_errors"]) == (1, OPEN, 1)
    assert "a listener of breaker 'db' failed" in caplog.text


# The registry


def test_the_same_name_gives_the_same_breaker(clock):
    heard = []
    breakers = Breakers(clock=clock, listeners=[heard.append])
    db = breakers.get("db", timeout=30, excluded=[KeyError])
    assert breakers.get("db") is breakers.get("db", timeout=30.0, excluded=(KeyError,)) is db
    assert breakers.get("api") is not db
    db.trip()
    assert len(heard) == 1
    assert ([breaker.name for breaker in breakers], len(breakers)) == (["api", "db"], 2)
    assert [(row["name"], row["state"], row["retry_after"]) for row in breakers.snapshot()] == [
        ("api", "closed", 0),
        ("db", "open", 30),
    ]


def test_a_name_that_is_there_with_other_settings_is_refused():
    breakers = Breakers()
    breakers.get("db", timeout=30, probe_timeout=9)
    with pytest.raises(InputError) as caught:
        breakers.get("db", timeout=2.5, probe_timeout=9, permits=2)
    assert str(caught.value) == (
        "breaker 'db' is there already with timeout 30, not 2.5, permits 1, not 2; ask for it with the same options"
    )


def test_there_are_not_more_breakers_than_allowed():
    breakers = Breakers(most=2)
    breakers.get("a"), breakers.get("b")
    with pytest.raises(InputError, match="there are 2 breakers already, so 'user 42' was not made; name them after"):
        breakers.get("user 42")
    breakers.get("a")


def test_the_registry_takes_the_options_of_a_breaker():
    taken = set(inspect.signature(CircuitBreaker).parameters) - {"name", "clock", "listeners"}
    assert taken == set(BreakerOptions.__annotations__)
