"""Coroutines that share limits through Redis: exact, in few round trips, through failures, in one loop after another."""

import asyncio
import contextlib
import gc
import threading
import time

import pytest

from workbench.clock import VirtualClock
from workbench.errors import InputError, StoreUnavailableError
from workbench.resilience.breaker import BreakerState
from workbench.resilience.limiter import AsyncRateLimiter
from workbench.resilience.quota import Quota
from workbench.resilience.stores import AsyncRedisStore, Charge

LONG = 40_000_000
QUOTA = Quota("q", limit=50, per=LONG, algorithm="exact")
CHARGE = [Charge(QUOTA, "u")]
NARROW = Quota("narrow", limit=1, per=LONG, algorithm="smooth")


def open_store(server, **options):
    return AsyncRedisStore(server.url, **{"fail": "closed", "timeout": 10, "prefix": "t", **options})


def test_a_hundred_coroutines_together_pass_exactly_the_limit_in_few_round_trips(fresh):
    async def scenario():
        async with open_store(fresh) as store:
            limiter = AsyncRateLimiter(QUOTA, store=store)

            async def ask():
                return sum([(await limiter.hit("u")).allowed for _ in range(3)])

            return sum(await asyncio.gather(*(ask() for _ in range(100)))), store.counts["degraded"]

    with contextlib.closing(fresh.client()) as client:
        before = client.info("stats")["total_reads_processed"]
        assert asyncio.run(scenario()) == (50, 0)
        assert client.info("stats")["total_reads_processed"] - before < 60


def test_it_peeks_resets_checks_and_decides_together_as_the_other_does(fresh):
    async def scenario():
        async with open_store(fresh) as store:
            await store.check()
            both = [Charge(QUOTA, "u"), Charge(NARROW, "v")]
            told = [[one.allowed for one in await ask(both)] for ask in (store.peek, store.hit, store.hit)]
            left = (await store.peek(CHARGE))[0].remaining
            await store.reset(both)
            return told, left, (await store.peek(both))[0].remaining, await store.hit([])

    assert asyncio.run(scenario()) == ([[True, True], [True, True], [True, False]], 49, 50, [])


def test_a_server_that_lost_the_script_is_given_it_again(fresh):
    async def scenario():
        async with open_store(fresh) as store:
            await store.hit(CHARGE)
            with contextlib.closing(fresh.client()) as client:
                client.script_flush()
            decisions = await asyncio.gather(*(store.hit(CHARGE) for _ in range(10)))
            assert sorted(one.remaining for (one,) in decisions) == list(range(39, 49))
            assert store.counts["degraded"] == 0

    asyncio.run(scenario())


def test_to_close_answers_what_was_asked_and_leaves_neither_task_nor_connection(fresh):
    async def scenario():
        store = open_store(fresh)
        tasks = [asyncio.create_task(store.hit(CHARGE)) for _ in range(300)]
        await asyncio.sleep(0)
        await store.aclose()
        decisions = await asyncio.gather(*tasks)
        assert sum(one.allowed for (one,) in decisions) == 50
        assert store.counts["degraded"] == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        until = time.monotonic() + 5
        while client.info("clients")["connected_clients"] > before and time.monotonic() < until:
            await asyncio.sleep(0.001)
        assert client.info("clients")["connected_clients"] == before
        await store.aclose()

    with contextlib.closing(fresh.client()) as client:
        before = client.info("clients")["connected_clients"]
        asyncio.run(scenario())


def test_one_who_gives_up_disturbs_no_other(fresh):
    async def scenario():
        async with open_store(fresh) as store:
            tasks = [asyncio.create_task(store.hit(CHARGE)) for _ in range(40)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, False] * 20
            assert (await store.peek(CHARGE))[0].remaining == 30  # and those who left in time were not charged

    asyncio.run(scenario())


def test_one_store_serves_one_loop_after_another(fresh):
    store = open_store(fresh)

    async def once():
        async with store:
            return (await store.hit(CHARGE))[0].remaining

    assert [asyncio.run(once()) for _ in range(3)] == [49, 48, 47]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ended_in_the_middle_does_not_spoil_the_next(fresh):
    store = open_store(fresh)

    async def left_in_the_middle():
        await store.hit(CHARGE)
        asyncio.get_running_loop().create_task(store.hit(CHARGE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def after():
        async with store:
            return (await store.hit(CHARGE))[0]

    asyncio.run(left_in_the_middle())
    decision = asyncio.run(after())
    gc.collect()
    assert (decision.remaining in {47, 48}, decision.degraded) == (True, "")


def test_one_store_serves_loops_in_several_threads(fresh):
    store, passed = open_store(fresh), []

    async def ask():
        async with store:
            decisions = await asyncio.gather(*(store.hit(CHARGE) for _ in range(30)))
        passed.append(sum(one.allowed for (one,) in decisions))

    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(passed), store.counts["degraded"]) == (50, 0)


@pytest.mark.parametrize(("fail", "passed"), [("open", 100), ("closed", 0), ("local", 25)])
def test_coroutines_go_on_as_said_when_redis_is_killed_and_return_when_it_does(frail, fail, passed):
    clock = VirtualClock()

    async def scenario():
        async with open_store(frail, fail=fail, instances=2, clock=clock) as store:
            await store.hit(CHARGE)
            frail.kill()
            decisions = [(await one)[0] for one in [asyncio.create_task(store.hit(CHARGE)) for _ in range(100)]]
            assert sum(one.allowed for one in decisions) == passed
            assert {one.degraded for one in decisions} == {fail}
            while store.breaker.state is not BreakerState.OPEN:
                await store.peek(CHARGE)
            tried = store.counts["unanswered"]
            assert (await store.hit(CHARGE))[0].degraded == fail
            assert store.counts["unanswered"] == tried
            with pytest.raises(StoreUnavailableError):
                await store.reset(CHARGE)
            frail.start()
            clock.advance_ns(1_000_000_000)
            back = (await store.hit(CHARGE))[0]
            assert (back.remaining, back.degraded) == (49, "")

    asyncio.run(scenario())


def test_coroutines_wait_no_longer_than_the_time_limit_for_a_paused_redis(frail):
    async def scenario():
        async with open_store(frail, timeout=0.3, clock=VirtualClock()) as store:
            assert (await store.hit(CHARGE))[0].degraded == ""
            frail.pause()
            decisions = await asyncio.gather(*(store.hit(CHARGE) for _ in range(100)))
            assert {one.degraded for (one,) in decisions} == {"closed"}
            frail.resume()

    asyncio.run(scenario())


def test_no_error_of_redis_reaches_the_caller_as_an_exception_that_grows(frail):
    async def scenario():
        async with open_store(frail, clock=VirtualClock()) as store:
            frail.kill()
            for _ in range(20):
                await asyncio.gather(*(store.hit(CHARGE) for _ in range(20)))
            assert store.counts["degraded"] == 400

    asyncio.run(scenario())


def test_input_that_cannot_be_meant_is_refused_before_anything_is_asked(fresh):
    async def scenario():
        async with open_store(fresh) as store:
            for charges in ([Charge(QUOTA, "u", -1)], [Charge(Quota(limit=10**6, per=1, algorithm="exact"), "u")]):
                with pytest.raises(InputError):
                    await store.hit(charges)
            assert store.counts["answered"] == 0

    asyncio.run(scenario())
