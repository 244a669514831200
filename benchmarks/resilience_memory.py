"""Limiters in this process: what a decision costs, what a decorated call costs, and what a key takes.

Hot: a hundred hits follow on one key, then on the next. Over 10,000 keys: each in turn, all of which have been there
before; their texts are made anew, as those of requests are. Bytes are what ``tracemalloc`` finds per key, without the
text of the key that ours is given; limits and throttled-py make one of their own, which counts, as they keep it.
"""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice

from benchmarks.resilience_peers import ALGORITHMS, LIMIT, Hit, check, in_memory
from benchmarks.timing import Case, each
from workbench.errors import RateLimitedError
from workbench.resilience import Algorithm, Quota, limit

__all__ = ["cases"]

_MANY = 10_000
_SMOOTH = Quota("benchmark", limit=LIMIT, per=3_600, algorithm="smooth")


def _name(number: int) -> str:
    return f"user:{number}"


def _timed(hit: Callable[[str], object], hits: int, keys: int) -> float:
    """Microseconds for a hit; ``keys``: 0 is hot."""
    for number in range(keys):
        hit(_name(number))
    names = iter([_name(number % keys if keys else number // LIMIT) for number in range(hits)])

    def some(count: int) -> None:
        for name in islice(names, count):
            hit(name)

    return each(some, hits)


def _refused(hit: Hit, hits: int) -> float:
    for _ in range(LIMIT):
        hit("spent")

    def some(count: int) -> None:
        for _ in range(count):
            hit("spent")

    return each(some, hits)


def _decorated(side: str) -> Callable[[str], str]:
    def function(user: str) -> str:
        return user

    if side == "ours":
        return limit(_SMOOTH, key=lambda user: user)(function)
    # The libraries' own decorators have one key for all calls, or there is none.
    hit = in_memory(side, "smooth" if side in ALGORITHMS["smooth"] else "fixed")

    def wrapper(user: str) -> str:
        if not hit(user):
            raise RateLimitedError("no room", quotas=(), retry_after=None)
        return function(user)

    return wrapper


def _bytes(side: str, algorithm: Algorithm, keys: int, hits: int) -> float:
    names = [_name(number) for number in range(keys)]
    hit = in_memory(side, algorithm)
    gc.collect()
    tracemalloc.start()
    try:
        for name in names:
            for _ in range(hits):
                hit(name)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / keys
    finally:
        tracemalloc.stop()


def _speed(name: str, size: str, measure: Callable[[str], float], peer: str, target: float | None = None) -> Case:
    ours, theirs = (lambda: measure("ours")), (lambda: measure(peer))
    return Case(name, size, "µs", ours, theirs, peer, target=target, records=1_000_000, rounds=3)


def _speeds(hits: int) -> Iterator[Case]:
    sizes = {"one key at a time": 0, f"{_MANY:,} keys": _MANY}
    for size, keys in sizes.items():
        for peer in ("throttled-py", "pyrate-limiter", "limits"):
            named = f"{peer}, fixed, by hand" if peer == "limits" else f"{peer}, by hand"
            case = _speed(
                "smooth: decorated call",
                size,
                lambda side, keys=keys: _timed(_decorated(side.partition(",")[0]), hits, keys),
                named,
                1.2,
            )
            yield case
    for algorithm, peers in ALGORITHMS.items():
        for size, keys in sizes.items():
            for peer in peers:
                yield _speed(
                    f"{algorithm}: hit",
                    size,
                    lambda side, algorithm=algorithm, keys=keys: _timed(in_memory(side, algorithm), hits, keys),
                    peer,
                )
        yield _speed(
            f"{algorithm}: hit refused",
            "one key",
            lambda side, algorithm=algorithm: _refused(in_memory(side, algorithm), hits),
            peers[0],
        )


def _sizes(scale: float) -> Iterator[Case]:
    def case(algorithm: Algorithm, keys: int, hits: int, peer: str) -> Case:
        return Case(
            f"{algorithm}: bytes per key",
            f"{hits} hit{'s' * (hits > 1)}, {keys:,} keys",
            "B",
            lambda: _bytes("ours", algorithm, keys, hits),
            lambda: _bytes(peer, algorithm, keys, hits),
            peer,
            target=64 if algorithm in ("smooth", "approx") else None,
            rounds=1,
        )

    for algorithm, peers in ALGORITHMS.items():
        for hits in (1, 10, LIMIT):
            for peer in peers:
                yield case(algorithm, int(1_000 * scale), hits, peer)
    # A dict doubles when it is two thirds full: just before that a key takes least, and just after it most.
    for keys in (10_922, 10_923):
        for algorithm in ("smooth", "approx"):
            yield case(algorithm, keys, 1, ALGORITHMS[algorithm][0])


def cases(scale: float) -> Iterator[Case]:
    """All cases at ``scale``."""
    for algorithm, peers in ALGORITHMS.items():
        for side in ("ours", *peers):
            check(in_memory(side, algorithm))
    yield from _speeds(int(10_000 * scale))
    yield from _sizes(scale)
