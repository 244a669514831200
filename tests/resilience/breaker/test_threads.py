"""Many at once: nothing waits for anything of the user's, and the end is that of some order one after the other."""

import asyncio
import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from workbench.errors import CircuitOpenError
from workbench.resilience.breaker import Breakers, BreakerState, Outcome

SECOND = 10**9
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(count: int, work: Callable[[int], None]) -> None:
    """``work(0)``, ``work(1)``, ... in so many threads that begin at one moment."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(30)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []


@pytest.mark.parametrize("options", [{}, {"failure_rate": 0.5}, {"slow_call": 9, "slow_rate": 1}])
def test_twenty_calls_run_at_the_same_time(make, options):
    """Each call waits until all the others are inside too, which no lock around calls would ever let happen."""
    breaker = make(**options)
    inside = threading.Barrier(20)
    together(20, lambda number: breaker.call(inside.wait, 30))
    assert breaker.snapshot()["calls_succeeded"] == 20


def test_a_listener_does_not_keep_others_from_calling(make):
    breaker = make(failure_threshold=1)
    told, go_on = threading.Event(), threading.Event()

    def listen(change):
        told.set()
        assert go_on.wait(30)

    breaker.on_change(listen)
    thread = threading.Thread(target=breaker.trip, daemon=True)
    thread.start()
    assert told.wait(30)
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    assert breaker.snapshot()["state"] == "open"
    go_on.set()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("permits", [1, 3])
def test_of_fifty_threads_exactly_as_many_as_permitted_are_let_through_on_trial(hasty, clock, make, permits):
    breaker = make(permits=permits)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    through, rejected, all_decided = [], [], threading.Barrier(50)

    def ask(number: int) -> None:
        try:
            token = breaker.acquire()
        except CircuitOpenError:
            rejected.append(number)
            all_decided.wait(30)
            return
        through.append(number)
        all_decided.wait(30)
        breaker.record(token, Outcome.IGNORE)

    together(50, ask)
    assert (len(through), len(rejected)) == (permits, 50 - permits)
    assert breaker.snapshot()["on_trial"] == 0


@pytest.mark.parametrize("permits", [1, 3])
def test_of_fifty_tasks_exactly_as_many_as_permitted_are_let_through_on_trial(clock, make, permits):
    breaker = make(permits=permits, success_threshold=permits)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    calls = []

    @breaker
    async def ask():
        calls.append(1)
        for _ in range(3):
            await asyncio.sleep(0)

    async def main():
        return await asyncio.gather(*(ask() for _ in range(50)), return_exceptions=True)

    came = asyncio.run(main())
    assert (len(calls), sum(isinstance(end, CircuitOpenError) for end in came)) == (permits, 50 - permits)
    assert breaker.state is CLOSED


def test_it_opens_exactly_at_the_threshold_however_many_fail_at_once(hasty, make):
    """4 threads x 25 failures: with a threshold of 100 the last one opens it, with 101 none does."""
    for threshold, state in ((100, OPEN), (101, CLOSED)):
        breaker = make(failure_threshold=threshold)

        def work(number: int, breaker=breaker) -> None:
            for _ in range(25):
                breaker.record(breaker.acquire(), Outcome.FAILURE)

        together(4, work)
        assert (breaker.state, breaker.failures) == (state, 100)
        assert breaker.snapshot()["calls_failed"] == 100


@pytest.mark.parametrize("options", [{}, {"failure_rate": 1, "window": 1000, "min_calls": 1000}])
def test_totals_are_exact(hasty, make, options):
    breaker = make(failure_threshold=10**6, **options)

    @breaker
    def work(number: int) -> None:
        if number % 4 == 0:
            raise TimeoutError

    def run(_: int) -> None:
        for number in range(500):
            with contextlib.suppress(TimeoutError):
                work(number)
            if number % 50 == 0:
                breaker.snapshot()

    together(8, run)
    told = breaker.snapshot()
    assert (told["calls"], told["calls_succeeded"], told["calls_failed"]) == (4000, 3000, 1000)


def test_each_change_of_many_threads_begins_where_the_last_one_ended(hasty, clock, make):
    heard = []
    breaker = make(failure_threshold=2, success_threshold=1, timeout=1e-9, listeners=[heard.append])

    def work(number: int) -> None:
        for step in range(200):
            try:
                token = breaker.acquire()
            except CircuitOpenError:
                clock._now_ns += 1
                continue
            breaker.record(token, Outcome.FAILURE if (step + number) % 3 else Outcome.SUCCESS)

    together(6, work)
    heard.sort(key=lambda change: change.generation)
    assert [change.generation for change in heard] == list(range(1, len(heard) + 1))
    assert [change.before for change in heard] == [CLOSED, *(change.after for change in heard[:-1])]
    assert {(change.before, change.after) for change in heard} <= {
        (CLOSED, OPEN),
        (OPEN, HALF_OPEN),
        (HALF_OPEN, CLOSED),
        (HALF_OPEN, OPEN),
    }
    assert len(heard) > 10


def test_a_generator_that_is_collected_while_the_lock_is_held_does_not_wait_for_itself(clock, make):
    """The collector runs in any line of any thread; it may close a guarded generator in one of the breaker's own."""
    breaker = make()

    @breaker
    def items():
        yield 1
        yield 2

    breaker.trip()
    clock.advance_ns(60 * SECOND)

    def collect(_: int) -> None:
        reading = items()
        next(reading)
        with breaker._lock:
            del reading
            gc.collect()

    together(1, collect)
    assert breaker.snapshot()["on_trial"] == 0


def test_a_registry_makes_one_breaker_of_a_name(hasty):
    breakers = Breakers()
    found = []
    together(20, lambda number: found.append(breakers.get("db", timeout=30)))
    assert len({id(breaker) for breaker in found}) == 1
