"""The event loop in virtual time."""

import hashlib
import struct

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.resilience import CircuitBreaker, MemoryStore, RateLimiter
from workbench.simulation.engine import Engine


def test_events_come_in_the_order_of_their_times_and_then_of_their_scheduling():
    engine, told = Engine(), []
    for name, t_ns in (("c", 5), ("a", 1), ("d", 5), ("b", 1)):
        engine.at(t_ns, told.append, name)
    engine.run()
    assert told == ["a", "b", "c", "d"]


def test_what_an_event_schedules_for_now_comes_after_all_that_was_scheduled_for_now():
    engine, told = Engine(), []
    engine.at(7, lambda: (told.append(1), engine.after(0, told.append, 3)))
    engine.at(7, told.append, 2)
    engine.run()
    assert (told, engine.now_ns) == ([1, 2, 3], 7)


def test_random_schedules_run_as_a_stable_sort_would_have_them():
    times = np.random.default_rng(0).integers(0, 50, 2_000).tolist()
    engine, told = Engine(), []
    for number, t_ns in enumerate(times):
        engine.at(t_ns, told.append, number)
    engine.run()
    assert told == sorted(range(2_000), key=lambda number: times[number])


def test_run_until_includes_its_last_moment_and_leaves_the_rest():
    engine, told = Engine(), []
    for t_ns in (10, 20, 21):
        engine.at(t_ns, told.append, t_ns)
    engine.run(20)
    assert (told, engine.now_ns, engine.events) == ([10, 20], 20, 2)
    engine.run(20)
    assert told == [10, 20]
    engine.run(30)
    assert (told, engine.now_ns, engine.clock.monotonic_ns(), engine.events) == ([10, 20, 21], 30, 30, 3)


def test_a_cancelled_event_does_not_run_and_is_not_counted():
    engine, told = Engine(), []
    engine.at(1, told.append, 1)
    handle = engine.at(2, told.append, 2)
    engine.at(3, handle.cancel)
    engine.at(2, told.append, "two")
    engine.at(1, handle.cancel)
    engine.run()
    assert (told, engine.events) == ([1, "two"], 4)


def test_stop_ends_the_run_after_the_event_that_calls_it():
    engine, told = Engine(), []
    engine.at(1, engine.stop)
    engine.at(1, told.append, "later")
    engine.run(100)
    assert (told, engine.now_ns) == ([], 1)
    engine.run()
    assert told == ["later"]


def test_what_an_event_raises_leaves_an_engine_that_can_go_on():
    engine, told = Engine(), []

    def fail():
        raise ZeroDivisionError

    engine.at(1, fail)
    engine.at(2, told.append, 2)
    with pytest.raises(ZeroDivisionError):
        engine.run()
    engine.run()
    assert told == [2]


def test_nothing_can_be_scheduled_in_the_past():
    engine = Engine(start_ns=100)
    with pytest.raises(InputError, match=r"^it is 100 ns already: nothing can be scheduled at 99 ns$"):
        engine.at(99, print)
    with pytest.raises(InputError, match="already"):
        engine.after(-1, print)


def test_an_event_can_neither_sleep_nor_run_the_engine():
    engine = Engine()
    engine.at(1, engine.clock.sleep_ns, 5)
    engine.at(2, engine.run)
    with pytest.raises(InputError, match=r"^something wanted to wait 5 ns within an event; schedule the rest"):
        engine.run()
    with pytest.raises(InputError, match="running already"):
        engine.run()


def test_production_limiters_and_breakers_live_in_its_time():
    engine, told = Engine(), []
    limiter = RateLimiter("2/second", store=MemoryStore(clock=engine.clock))
    breaker = CircuitBreaker("b", failure_threshold=1, timeout=3, clock=engine.clock)
    engine.at(0, breaker.trip)
    for tenth in range(0, 41, 4):
        engine.at(tenth * 100_000_000, lambda: told.append((limiter.hit("u").allowed, breaker.state.value)))
    engine.run()
    assert [allowed for allowed, _ in told] == [True, True, False] * 3 + [True, True]
    assert [state for _, state in told] == ["open"] * 8 + ["half-open"] * 3


def test_the_trace_covers_the_time_the_number_and_the_name_of_every_event():
    engine = Engine(trace=True)

    def tick():
        pass

    for t_ns in (3, 1):
        engine.at(t_ns, tick)
    engine.run()
    expected = b"events 1\n" + struct.pack("<4q", 1, 3, 2, 1) + b"tick\ntick"
    assert engine.trace_sha256 == hashlib.sha256(expected).hexdigest()


def traced(times, *, looks=()):
    engine = Engine(trace=True)
    for t_ns in times:
        engine.at(t_ns, int)
    for until in looks:
        engine.run(until)
        assert len(engine.trace_sha256) == 64
    engine.run()
    return engine.trace_sha256


def test_looking_at_a_trace_does_not_change_it():
    assert traced(range(2_000)) == traced(range(2_000), looks=(0, 511, 512, 1_500))


@pytest.mark.parametrize("times", [range(1_999), [*range(1_999), 2_000], [1, 0, *range(2, 2_000)]])
def test_other_events_have_another_trace(times):
    assert traced(times) != traced(range(2_000))


def test_an_engine_without_a_trace_says_so():
    with pytest.raises(InputError, match=r"Engine\(trace=True\)"):
        Engine().trace_sha256  # noqa: B018
