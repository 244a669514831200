"""The simulators and the limiters of libraries, each given the same requests as ours.

Queues: one worker, first come first served; arrivals and services in seconds, shape (n,), and the sum of the times that
requests stay comes back.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from unittest import mock

import ciw
import limits
import numpy as np
import salabim
import simpy

__all__ = ["IN_LIMITS", "QUEUES", "bare_timeouts", "limited"]

IN_LIMITS: dict[str, Callable[[limits.storage.MemoryStorage], limits.strategies.RateLimiter]] = {
    "fixed": limits.strategies.FixedWindowRateLimiter,
    "approx": limits.strategies.SlidingWindowCounterRateLimiter,
    "exact": limits.strategies.MovingWindowRateLimiter,
}


def bare_timeouts(events: int) -> None:
    """So many events of SimPy, of 20 processes that only wait."""
    environment = simpy.Environment()

    def clock() -> Iterator[simpy.Event]:
        for _ in range(events // 20):
            yield environment.timeout(1)

    for _ in range(20):
        environment.process(clock())
    environment.run()


def limited(algorithm: str, t: np.ndarray, key: np.ndarray) -> list[bool]:
    """limits reads the machine's clock where it stands, so the trace's is put in its place."""
    now = 0.0
    item = limits.RateLimitItemPerMinute(100)
    with mock.patch("time.time", lambda: now):
        hit = IN_LIMITS[algorithm](limits.storage.MemoryStorage()).hit
        allowed = []
        for now, name in zip((t / 1e9 + 1e9).tolist(), map(str, key.tolist()), strict=True):  # noqa: B007 - read above
            allowed.append(hit(item, name))
    return allowed


def _in_simpy(arrive: list[float], serve: list[float]) -> float:
    environment = simpy.Environment()
    worker = simpy.Resource(environment)
    stay = 0.0

    def request(takes: float) -> Iterator[simpy.Event]:
        nonlocal stay
        came = environment.now
        with worker.request() as turn:
            yield turn
            yield environment.timeout(takes)
        stay += environment.now - came

    def source() -> Iterator[simpy.Event]:
        for moment, takes in zip(arrive, serve, strict=True):
            yield environment.timeout(moment - environment.now)
            environment.process(request(takes))

    environment.process(source())
    environment.run()
    return stay


def _in_salabim(arrive: list[float], serve: list[float]) -> float:
    salabim.yieldless(False)
    environment = salabim.Environment(trace=False)
    worker = salabim.Resource(monitor=False)
    stay = 0.0

    class Request(salabim.Component):
        def process(self, takes: float) -> Iterator[None]:
            nonlocal stay
            came = environment.now()
            yield self.request(worker)
            yield self.hold(takes)
            self.release()
            stay += environment.now() - came

    class Source(salabim.Component):
        def process(self) -> Iterator[None]:
            for moment, takes in zip(arrive, serve, strict=True):
                yield self.hold(till=moment)
                Request(takes=takes)

    Source()
    environment.run()
    return stay


def _in_ciw(arrive: list[float], serve: list[float]) -> float:
    gaps = [arrive[0], *(later - earlier for earlier, later in pairwise(arrive)), float("inf")]
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential(gaps)],
        service_distributions=[ciw.dists.Sequential(serve)],
        number_of_servers=[1],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(len(arrive), method="Finish")
    return float(sum(record.waiting_time + record.service_time for record in simulation.get_all_records()))


QUEUES = {"SimPy": _in_simpy, "salabim": _in_salabim, "Ciw": _in_ciw}
