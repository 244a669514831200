"""A real server goes on while its Redis is killed and comes back empty, under each policy."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.load import LIMIT, Load, faults_of, serving

pytestmark = pytest.mark.slow
INSTANCES = 4


@pytest.mark.parametrize("fail", ["open", "closed", "local"])
def test_a_server_goes_on_exactly_while_its_redis_is_killed_and_comes_back_empty(frail, fail):
    async def fault(load: Load) -> None:
        await load.until(lambda replies: len(replies) > LIMIT + 100)
        await asyncio.to_thread(frail.kill)
        killed = len(load.replies)
        await load.until(lambda replies: len(replies) > killed + LIMIT + 100)
        await asyncio.to_thread(frail.start)

    async def run(load: Load) -> None:
        await asyncio.gather(load.run(), fault(load))

    with serving(redis=frail.url, fail=fail, instances=INSTANCES) as server:
        load = Load(server.port, clients=100, rate=1_000, seconds=4)
        with ThreadPoolExecutor(1) as thread:  # a browser of other tests may have a loop running in this one
            thread.submit(asyncio.run, run(load)).result()
        counted = server.snapshot()
    statuses = load.statuses()
    # Once before the end of the first Redis, once after the beginning of the second, which knows of nothing.
    without = {"open": counted["degraded"], "closed": 0, "local": LIMIT // INSTANCES}[fail]
    assert (set(statuses), load.dropped) == ({200, 429}, 0)
    assert statuses[200] == counted["allowed"] == 2 * LIMIT + without
    assert statuses[429] == counted["refused"] == 4_000 - statuses[200]
    assert counted["degraded"] > LIMIT
    assert [fault for reply in load.replies for fault in faults_of(reply)] == []
