"""A real server with many clients at a time admits exactly what the limit says, and tells every one of them how it is."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.load import LIMIT, Load, faults_of, serving

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("clients", [100, 400])
def test_many_clients_are_admitted_exactly_and_told_rightly(clients):
    with serving() as server:
        load = Load(server.port, clients, rate=1_000, seconds=3)
        with ThreadPoolExecutor(1) as thread:  # a browser of other tests may have a loop running in this one
            thread.submit(asyncio.run, load.run()).result()
        counted = server.snapshot()
    sent = round(load.rate * load.seconds / clients) * clients
    assert load.statuses() == {200: LIMIT, 429: sent - LIMIT}
    assert load.dropped == 0
    assert [fault for reply in load.replies for fault in faults_of(reply)] == []
    left = sorted(int(reply.headers["x-ratelimit-remaining"]) for reply in load.replies if reply.status == 200)
    assert left == list(range(LIMIT))
    assert (counted["allowed"], counted["refused"], counted["degraded"]) == (LIMIT, sent - LIMIT, 0)
