"""The simulation part: events, queues and limiters in virtual time, beside simulators one would take instead.

The queue is one worker at 80 % load. All simulators are given the same arrivals and services, and the sum of the times
that requests stay is checked to agree. Ours is a whole scenario, with time limits, endings and a record of each
request; the peers' models have a queue and nothing else. A production breaker in the loop has no peer: beside it stands
the least that SimPy does for an event, a timeout of which nothing comes. A trace of limited requests has 10,000 keys,
the k-th busiest with a share in proportion to k^-1.1, and about a third of the requests pass.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.timing import Case, seconds
from workbench.resilience import Algorithm, Quota
from workbench.simulation import (
    Backoff,
    BreakerSpec,
    Clients,
    Draws,
    Exponential,
    Poisson,
    Scenario,
    Server,
    Slow,
    run_once,
)
from workbench.simulation.des import run_compiled
from workbench.simulation.kernels import replay
from workbench.simulation.replay import decided
from workbench.simulation.streams import Streams
from workbench.simulation.theory import lindley

__all__ = ["cases"]

_KEYS = 10_000
_ALGORITHMS: tuple[Algorithm, ...] = ("smooth", "fixed", "approx", "exact")
_EVENT_TARGET = 1e6 / 500_000  # µs
_COMPILED_TARGET = 1e6 / 5_000_000  # µs
_DECISION_TARGET = 1e6 / 4_000_000  # µs
_KERNEL_TARGET = 200_000_000  # a second, of GCRA
_SLOW_SHARE = 100  # what is too slow for the whole trace is given this part of it, and scaled


def cases(folder: Path, scale: float) -> Iterator[Case]:  # noqa: ARG001 - all parts are called alike
    """All cases at ``scale`` (1 is full size)."""
    yield from _breakers(scale)
    yield from _queues(int(20_000 * scale))
    yield _recursion(int(2_000_000 * scale))
    yield from _limiters(int(5_000_000 * scale))


def _breakers(scale: float) -> Iterator[Case]:
    from benchmarks import simulation_peers  # here and not above, as only this part needs these libraries

    storm = Scenario(
        "storm",
        240 * scale,
        traffic=(Poisson(160),),
        clients=Clients(20, 1, Backoff(3, base=0.1, cap=10), BreakerSpec(5, 5, 2)),
        server=Server(1, Exponential(0.005)),
        faults=(Slow(4, start=60 * scale, end=75 * scale),),
    )
    draws = Draws(storm, 0)
    events = run_once(storm, 0, trace=False, draws=draws).events

    def production() -> float:
        return seconds(lambda: run_once(storm, 0, trace=False, draws=draws)) / events * 1e6

    yield Case(
        "simulation: event, with the production breaker",
        f"{events:,} events",
        "µs",
        production,
        lambda: seconds(lambda: simulation_peers.bare_timeouts(events)) / events * 1e6,
        "SimPy, bare timeouts",
        target=_EVENT_TARGET,
        records=1_000_000,
    )
    compiled = run_compiled(storm, 0, draws=draws)
    if not np.array_equal(compiled.end, run_once(storm, 0, trace=False, draws=draws).end):
        raise AssertionError("the compiled simulation gives requests other ends")
    yield Case(
        "simulation: event, compiled",
        f"{compiled.events:,} events",
        "µs",
        lambda: seconds(lambda: run_compiled(storm, 0, draws=draws)) / compiled.events * 1e6,
        production,
        "the same with the production breaker",
        target=_COMPILED_TARGET,
        records=1_000_000,
    )


def _queues(requests: int) -> Iterator[Case]:
    from benchmarks import simulation_peers

    queue = Scenario(
        "queue", requests / 80, traffic=(Poisson(80),), clients=Clients(1, 1e6), server=Server(1, Exponential(0.01))
    )
    draws = Draws(queue, 0)
    t, service = draws.arrivals.t, np.array(draws.service[0])
    stay = (lindley(t, service) + service).sum() / 1e9
    arrive, serve = (t / 1e9).tolist(), (service / 1e9).tolist()

    def ours() -> float:
        return float(run_once(queue, 0, trace=False, draws=draws).latency.sum())

    for name, simulated in simulation_peers.QUEUES.items():
        for total in (ours(), simulated(arrive, serve)):
            if abs(total - stay) > 1e-6 * stay:
                raise AssertionError(f"requests stay {total} s beside {name}, not {stay} s")
        yield Case(
            "simulation: one worker's queue",
            f"{len(t):,} requests",
            "s",
            lambda: seconds(ours),
            lambda simulated=simulated: seconds(lambda: simulated(arrive, serve)),
            name,
            records=len(t),
            rounds=3,
        )


def _recursion(requests: int) -> Case:
    generator = Streams(0).generator("recursion")
    t = np.cumsum(generator.exponential(1e9 / 80, requests)).astype(np.int64)
    service = generator.exponential(1e9 / 100, requests).astype(np.int64)
    gaps, served = np.diff(t).tolist(), service.tolist()

    def plain() -> list[int]:
        wait, waits = 0, [0]
        for gap, takes in zip(gaps, served, strict=False):
            wait = max(0, wait + takes - gap)
            waits.append(wait)
        return waits

    if lindley(t, service).tolist() != plain():
        raise AssertionError("the waits of the recursion differ")
    return Case(
        "simulation: waits of one worker's queue",
        f"{requests:,} requests",
        "s",
        lambda: seconds(lambda: lindley(t, service)),
        lambda: seconds(plain),
        "Lindley's recursion in a loop",
        records=requests,
    )


def _trace(requests: int) -> tuple[np.ndarray, np.ndarray]:
    generator = Streams(0).generator("trace")
    shares = np.cumsum(np.arange(1, _KEYS + 1) ** -1.1)
    ranks = np.searchsorted(shares / shares[-1], generator.random(requests))
    key = generator.permutation(_KEYS)[np.minimum(ranks, _KEYS - 1)].astype(np.int32)
    # So long that 100 a minute is little for the busiest, however many requests there are.
    return np.sort(generator.integers(0, requests * 120_000, requests)), key


def _limiters(requests: int) -> Iterator[Case]:
    from benchmarks import simulation_peers

    t, key = _trace(requests)
    part = len(t) // _SLOW_SHARE
    early, few = t[:part], key[:part]
    for algorithm in _ALGORITHMS:
        quota = Quota(limit=100, per=60, algorithm=algorithm)

        def production(quota: Quota = quota) -> float:
            return seconds(lambda: decided(quota, early, few))

        def theirs(algorithm: Algorithm = algorithm) -> float:
            return seconds(lambda: simulation_peers.limited(algorithm, early, few))

        if not np.array_equal(replay(quota, early, few), decided(quota, early, few)):
            raise AssertionError(f"{algorithm}: the kernel and the production limiter differ")
        yield Case(
            f"simulation: {algorithm}, compiled, over a trace",
            f"{requests:,} requests",
            "s",
            lambda quota=quota: seconds(lambda: replay(quota, t, key)),
            lambda production=production: production() * len(t) / part,
            f"the production limiter, 1/{_SLOW_SHARE} scaled",
            target=requests / _KERNEL_TARGET if algorithm == "smooth" else None,
            records=requests,
        )
        if algorithm in simulation_peers.IN_LIMITS:
            yield Case(
                f"simulation: {algorithm}, the production limiter over a trace",
                f"{part:,} requests",
                "µs",
                lambda production=production: production() / part * 1e6,
                lambda algorithm=algorithm: (
                    seconds(lambda: simulation_peers.limited(algorithm, early, few)) / part * 1e6
                ),
                "limits, its clock replaced",
                target=_DECISION_TARGET,
                records=1_000_000,
            )
