"""asyncio in virtual time: production code as it is, hours in no time, the same order always."""

import asyncio
import socket
import time
from itertools import groupby

import pytest

from workbench.clock import VirtualClock
from workbench.errors import CircuitOpenError, InputError, RateLimitedError
from workbench.resilience import CircuitBreaker, MemoryStore, limit
from workbench.simulation.loop import VirtualLoop, run_virtual

SECOND = 1_000_000_000


@pytest.fixture
def clock():
    return VirtualClock(start_ns=1_700_000_000 * SECOND)


def seconds(clock):
    return (clock.monotonic_ns() - 1_700_000_000 * SECOND) / SECOND


def test_sleeping_a_year_takes_no_time_and_moves_the_clock(clock):
    began = time.monotonic()
    run_virtual(asyncio.sleep(365 * 86_400), clock=clock)
    assert seconds(clock) == 365 * 86_400
    assert time.monotonic() - began < 60


def test_timers_of_the_same_time_run_in_the_order_in_which_they_were_set():
    told = []

    async def main():
        loop = asyncio.get_running_loop()
        for number in range(200):
            loop.call_at(5 if number % 3 else 4, told.append, number)
        await asyncio.sleep(6)

    run_virtual(main())
    assert told == [*range(0, 200, 3), *(number for number in range(200) if number % 3)]


def test_tasks_interleave_by_their_times(clock):
    told = []

    async def beat(name, every, times):
        for _ in range(times):
            await asyncio.sleep(every)
            told.append((name, seconds(clock)))

    async def main():
        await asyncio.gather(beat("a", 2, 3), beat("b", 3, 2))

    run_virtual(main(), clock=clock)
    assert told == [("a", 2), ("b", 3), ("a", 4), ("b", 6), ("a", 6)]


def test_a_time_limit_cancels_what_takes_longer(clock):
    told = []

    async def slow():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            told.append(seconds(clock))
            raise

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await slow()
        async with asyncio.timeout(2.5):
            await asyncio.sleep(2.4)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow(), 1)

    run_virtual(main(), clock=clock)
    assert told == [2.5, pytest.approx(5.9)]


def test_a_queue_joins_producers_and_consumers(clock):
    taken = []

    async def main():
        queue = asyncio.Queue(maxsize=2)

        async def consume():
            while True:
                item = await queue.get()
                await asyncio.sleep(1)
                taken.append((item, seconds(clock)))
                queue.task_done()

        consumer = asyncio.create_task(consume())
        for item in range(4):
            await queue.put(item)
        await queue.join()
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer

    run_virtual(main(), clock=clock)
    assert taken == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_the_limit_decorator_waits_for_its_turn_to_the_nanosecond(clock):
    passed = []

    @limit("2 per 10 seconds", on_limited="wait", max_wait=100, store=MemoryStore(clock=clock))
    async def ask(number):
        passed.append((number, seconds(clock)))

    async def main():
        for number in range(6):
            await ask(number)

    run_virtual(main(), clock=clock)
    assert passed == [(0, 0), (1, 0), (2, 10), (3, 10), (4, 20), (5, 20)]


def test_a_client_with_limit_breaker_retries_and_time_limits_runs_unmodified(clock):
    """The backend is silent from 5 s to 25 s: two time limits open the breaker, which tries once in vain, then well."""
    told = []
    breaker = CircuitBreaker("backend", failure_threshold=2, timeout=10, success_threshold=1, clock=clock)

    async def backend():
        if 5 <= seconds(clock) < 25:
            await asyncio.sleep(3_600)
        await asyncio.sleep(0.25)
        return "answer"

    @breaker
    @limit("100/minute", store=MemoryStore(clock=clock))
    async def ask():
        async with asyncio.timeout(1):
            return await backend()

    async def client():
        while seconds(clock) < 34:
            try:
                outcome = await ask()
            except (TimeoutError, CircuitOpenError) as error:
                outcome = type(error).__name__
            told.append(outcome)
            await asyncio.sleep(1)

    run_virtual(client(), clock=clock)
    refused = ["TimeoutError", "CircuitOpenError"]
    assert [outcome for outcome, _ in groupby(told)] == ["answer", *refused, *refused, "answer"]
    assert told.count("TimeoutError") == 3
    assert breaker.state.value == "closed"


def test_a_limit_that_raises_does_so_in_a_coroutine_too(clock):
    @limit("1/minute", store=MemoryStore(clock=clock))
    async def ask():
        return True

    async def main():
        await ask()
        with pytest.raises(RateLimitedError):
            await ask()
        await asyncio.sleep(60)
        return await ask()

    assert run_virtual(main(), clock=clock)


def test_a_wait_that_nothing_can_end_is_named():
    async def stuck():
        await asyncio.get_running_loop().create_future()

    async def main():
        await asyncio.gather(asyncio.create_task(stuck(), name="the stuck one"), asyncio.sleep(5))

    with pytest.raises(
        InputError, match=r"^nothing is scheduled, so these wait for ever: .*the stuck one in .*stuck at line \d+$"
    ):
        run_virtual(main())


async def thread():
    await asyncio.to_thread(print)


async def connection():
    await asyncio.open_connection("localhost", 1)


async def process():
    await asyncio.create_subprocess_exec("true")


async def reading():
    one, other = socket.socketpair()
    with one, other:
        await asyncio.get_running_loop().sock_recv(one, 1)


async def name():
    await asyncio.get_running_loop().getaddrinfo("localhost", 1)


@pytest.mark.parametrize("real", [thread, connection, process, reading, name])
def test_what_lives_in_real_time_is_refused(real):
    with pytest.raises(
        InputError, match=r"^a virtual loop has no \w+: threads, sockets and processes live in real time$"
    ):
        run_virtual(real())


def test_errors_and_results_come_out():
    async def fail():
        await asyncio.sleep(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_virtual(fail())
    assert run_virtual(asyncio.sleep(1, "result")) == "result"


def test_it_runs_within_a_running_loop_as_in_a_notebook():
    async def cell():
        return run_virtual(asyncio.sleep(1_000, "result"))

    assert asyncio.run(cell()) == "result"


def test_nothing_is_left_running():
    ended = []

    async def forever():
        try:
            while True:
                await asyncio.sleep(1)
        finally:
            ended.append(True)

    async def main():
        task = asyncio.create_task(forever())
        await asyncio.sleep(3)
        assert not task.done()

    run_virtual(main())
    assert ended == [True]


def test_late_times_do_not_stop_the_clock():
    """After 30 years a float of seconds no longer tells nanoseconds apart; timers must still come due."""
    clock = VirtualClock()

    async def main():
        await asyncio.sleep(1e9)
        for _ in range(100):
            await asyncio.sleep(1e-9)

    run_virtual(main(), clock=clock)
    assert clock.monotonic_ns() >= 10**18


def test_the_loop_can_be_used_by_hand():
    loop = VirtualLoop()
    try:
        assert loop.run_until_complete(asyncio.sleep(2, "x")) == "x"
        assert loop.time() == 2
    finally:
        loop.close()
