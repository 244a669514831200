"""Limiters in a Redis of this part's own, on loopback: decisions one after another, and of many coroutines at once.

Each library makes its client itself; all stand on redis-py with hiredis. A key is hit a hundred times, then the next,
so everything passes and is written. Client and server share the machine. Coroutines each hit keys of their own; a
measurement ends when the last of them has its last answer. A PING stands for the least a round trip takes.
"""

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import limits
import limits.aio
import pyrate_limiter
import redis
import throttled
import throttled.asyncio

from benchmarks.resilience_peers import ALGORITHMS, LIMIT, Hit, check
from benchmarks.timing import Case, each
from workbench.resilience import Algorithm, AsyncRateLimiter, Quota, RateLimiter
from workbench.resilience.stores import AsyncRedisStore, RedisStore

__all__ = ["cases"]

AsyncHit = Callable[[str], Awaitable[bool]]

_CONNECTIONS = 1_000  # of the libraries at most: they need one for each coroutine
_PATIENT = 10.0  # seconds: a measurement is not to end because the machine is busy
_SYNC_TARGET = 1e6 / 20_000  # µs of a decision
_ASYNC_TARGET = 1e6 / 35_000  # the same, of 100 coroutines

_NAMES = count()


def cases(folder: Path, scale: float) -> Iterator[Case]:
    """All cases at ``scale``. The server runs as long as they are asked for."""
    with _server(folder) as url, asyncio.Runner() as runner:
        yield from _one_by_one(url, int(2_000 * scale))
        yield from _many_at_once(url, runner, int(2_000 * scale))


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*words, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        with contextlib.closing(redis.Redis(port=port)) as client:
            for _ in range(500):
                with contextlib.suppress(redis.RedisError):
                    client.ping()
                    break
                time.sleep(0.01)
            client.info()  # raises if it never came
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(_PATIENT)


def _quota(algorithm: Algorithm) -> Quota:
    return Quota("benchmark", limit=LIMIT, per=3_600, algorithm=algorithm)


def _sync(side: str, algorithm: Algorithm, url: str) -> Hit:
    if side == "ours":
        hit = RateLimiter(_quota(algorithm), store=RedisStore(url, fail="closed", timeout=_PATIENT)).hit
        return lambda key: hit(key).allowed
    if side == "limits":
        kind = {
            "approx": limits.strategies.SlidingWindowCounterRateLimiter,
            "exact": limits.strategies.MovingWindowRateLimiter,
            "fixed": limits.strategies.FixedWindowRateLimiter,
        }[algorithm]
        asked, item = kind(limits.storage.RedisStorage(url)).hit, limits.RateLimitItemPerHour(LIMIT)
        return lambda key: asked(item, key)
    if side == "throttled-py":
        using = {"smooth": "gcra", "approx": "sliding_window", "fixed": "fixed_window"}[algorithm]
        store = throttled.RedisStore(server=url)
        limit = throttled.Throttled(using=using, quota=throttled.per_hour(LIMIT, burst=LIMIT), store=store).limit
        return lambda key: not limit(key).limited
    return _pyrate(algorithm, redis.Redis.from_url(url))


def _pyrate(algorithm: Algorithm, client: "redis.Redis") -> Hit:
    """One bucket for a key, made when it is first seen."""
    rates = [pyrate_limiter.Rate(LIMIT, 3_600_000)]
    limiters: dict[str, Any] = {}

    def hit(key: str) -> bool:
        acquire = limiters.get(key)
        if acquire is None:
            if algorithm == "exact":
                bucket: Any = pyrate_limiter.RedisBucket.init(rates, client, key)
            else:
                bucket = pyrate_limiter.StateBucket(rates, store=pyrate_limiter.RedisStateStore(client, key))
            factory = pyrate_limiter.SingleBucketFactory(bucket, schedule_leak=False)
            acquire = limiters[key] = pyrate_limiter.Limiter(factory).try_acquire
        return bool(acquire(key, blocking=False))

    return hit


def _async(side: str, url: str) -> tuple[AsyncHit, Callable[[], Awaitable[object]]]:
    """How to hit, and how to close. Called within the loop."""
    if side == "ours":
        store = AsyncRedisStore(url, fail="closed", timeout=_PATIENT)
        hit = AsyncRateLimiter(_quota("smooth"), store=store).hit

        async def ours(key: str) -> bool:
            return (await hit(key)).allowed

        return ours, store.aclose
    if side == "limits":
        address = f"async+{url}"
        storage = limits.aio.storage.RedisStorage(address, implementation="redispy", max_connections=_CONNECTIONS)
        asked = limits.aio.strategies.FixedWindowRateLimiter(storage).hit
        item = limits.RateLimitItemPerHour(LIMIT)
        return lambda key: asked(item, key), storage.bridge.storage.aclose
    connections = {"REUSE_CONNECTION": False, "CONNECTION_POOL_KWARGS": {"max_connections": _CONNECTIONS}}
    kept = throttled.asyncio.RedisStore(server=url, options=connections)
    quota = throttled.asyncio.per_hour(LIMIT, burst=LIMIT)
    limit = throttled.asyncio.Throttled(using="gcra", quota=quota, store=kept).limit

    async def theirs(key: str) -> bool:
        return not (await limit(key)).limited

    return theirs, kept._backend.get_client().aclose


def _one_by_one(url: str, hits: int) -> Iterator[Case]:
    def measured(side: str, algorithm: Algorithm) -> float:
        hit = _sync(side, algorithm, url)
        turn = f"{side}:{next(_NAMES)}"
        names = iter([f"{turn}:{number // LIMIT}" for number in range(hits)])

        def some(count: int) -> None:
            for name in islice(names, count):
                if not hit(name):
                    raise AssertionError(f"{side} refused what should pass")

        hit(f"{turn}:warm")
        return each(some, hits)

    def ping() -> float:
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            return each(lambda count: [client.ping() for _ in range(count)], hits)

    yield _hit_case("smooth", hits, lambda: measured("ours", "smooth"), ping, "PING, decides nothing")
    for algorithm, peers in ALGORITHMS.items():
        for side in ("ours", *peers):
            made = _sync(side, algorithm, url)
            tag = next(_NAMES)
            check(lambda key, made=made, tag=tag: made(f"{key}:{tag}"))
        for peer in peers:
            yield _hit_case(
                algorithm,
                hits,
                lambda algorithm=algorithm: measured("ours", algorithm),
                lambda algorithm=algorithm, peer=peer: measured(peer, algorithm),
                peer,
            )


def _hit_case(
    algorithm: Algorithm, hits: int, ours: Callable[[], float], theirs: Callable[[], float], peer: str
) -> Case:
    name, size = f"Redis, {algorithm}: hit", f"{hits:,} hits"
    return Case(name, size, "µs", ours, theirs, peer, target=_SYNC_TARGET, records=1_000_000, rounds=3)


def _many_at_once(url: str, runner: asyncio.Runner, hits: int) -> Iterator[Case]:
    async def all_hits(side: str, coroutines: int) -> float:
        hit, close = _async(side, url)
        turn = f"{side}:{next(_NAMES)}"
        share = max(1, hits // coroutines)

        async def one(number: int, lot: int) -> None:
            for at in range(share):
                if not await hit(f"{turn}:{lot}:{number}:{at // LIMIT}"):
                    raise AssertionError(f"{side} refused what should pass")

        times = []
        for lot in range(3):  # the first makes the connections
            start = time.perf_counter()
            await asyncio.gather(*(one(number, lot) for number in range(coroutines)))
            times.append(time.perf_counter() - start)
        await close()
        return min(times[1:]) / (share * coroutines) * 1e6

    for coroutines in (10, 100, 400):
        for peer, what in (("throttled-py", "throttled-py"), ("limits", "limits, fixed")):
            yield Case(
                "Redis, smooth: hit, awaited",
                f"{coroutines} coroutines",
                "µs",
                lambda coroutines=coroutines: runner.run(all_hits("ours", coroutines)),
                lambda coroutines=coroutines, peer=peer: runner.run(all_hits(peer, coroutines)),
                what,
                target=_ASYNC_TARGET if coroutines == 100 else None,
                records=1_000_000,
                rounds=3,
            )
