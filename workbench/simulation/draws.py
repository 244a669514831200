"""All that chance decides in one run, drawn before it or in blocks, in streams that no policy changes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from workbench.simulation.clients import ClosedLoop
from workbench.simulation.distributions import Distribution
from workbench.simulation.faults import Error, Latency
from workbench.simulation.streams import Streams
from workbench.simulation.traffic import arrivals

if TYPE_CHECKING:
    from workbench.simulation.scenario import Scenario

__all__ = ["Draws"]

_BLOCK: Final = 4_096


class Draws:
    """The draws of ``scenario`` under ``seed``, request by request; each is a list, as that is read one by one.

    ``arrivals``: of the traffic; empty for a closed loop. ``client``: who passes each request on. ``node``: which
    node's limits it meets. ``service[k][i]``: ns that the k-th attempt (from 0) at request i takes to serve; empty if
    an upstream tells. ``error[k][i]``: in [0, 1), below the probability of an error if it fails. ``latency[d][k][i]``:
    further ns on the way by distribution d. ``delay[k][i]``: ns before retry k. ``think[i]``: ns, of a closed loop.

    Each list has a stream of its own, each attempt's number too. So the first attempts of all policies meet the same
    luck, whatever they do after them, and so do their first retries.
    """

    __slots__ = (
        "_sources",
        "arrivals",
        "client",
        "delay",
        "error",
        "latency",
        "node",
        "requests",
        "service",
        "think",
    )

    def __init__(self, scenario: "Scenario", seed: int) -> None:
        streams = Streams(seed)
        clients, retry = scenario.clients, scenario.clients.retry
        tries = range(1 + retry.most)
        self.arrivals = arrivals(scenario.traffic, streams, duration=scenario.duration)
        self._sources: list[tuple[list[int] | list[float], Callable[[int], list[int] | list[float]]]] = []
        self.requests = 0

        def floats(name: str) -> list[float]:
            into: list[float] = []
            generator = streams.generator(name)
            self._sources.append((into, lambda size: generator.random(size).tolist()))
            return into

        def ints(name: str, draw: Callable[[np.random.Generator, int], np.ndarray]) -> list[int]:
            into: list[int] = []
            generator = streams.generator(name)
            self._sources.append((into, lambda size: draw(generator, size).tolist()))
            return into

        def below(count: int) -> Callable[[np.random.Generator, int], np.ndarray]:
            return lambda generator, size: (generator.random(size) * count).astype(np.int64)

        def delays(k: int) -> Callable[[np.random.Generator, int], np.ndarray]:
            return lambda generator, size: retry.delays_ns(k, generator.random(size))

        closed = isinstance(clients, ClosedLoop)
        nodes = max((limit.nodes for limit in scenario.limits), default=1)
        self.client = [] if closed else ints("clients", below(clients.count))
        self.node = ints("nodes", below(nodes)) if nodes > 1 else []
        self.think = ints("think", clients.think.draw_ns) if isinstance(clients, ClosedLoop) else []
        self.service: list[list[int]] = []
        if isinstance(scenario.server.service, Distribution):
            self.service = [ints(f"service/{k}", scenario.server.service.draw_ns) for k in tries]
        self.delay = [[], *(ints(f"retry/{k}", delays(k)) for k in tries[1:])]
        self.error: list[list[float]] = []
        if any(isinstance(fault, Error) for fault in scenario.faults):
            self.error = [floats(f"faults/error/{k}") for k in tries]
        slow = dict.fromkeys(fault.distribution for fault in scenario.faults if isinstance(fault, Latency))
        self.latency: dict[Distribution, list[list[int]]] = {
            one: [ints(f"faults/latency/{place}/{k}", one.draw_ns) for k in tries]
            for place, one in enumerate(slow, start=1)
        }
        if closed:
            self.grow()
        else:
            self.grow(len(self.arrivals))

    def grow(self, requests: int = _BLOCK) -> None:
        """Draw for so many requests more: a closed loop does not know before how many it will send."""
        self.requests += requests
        for into, draw in self._sources:
            into.extend(draw(requests))  # type: ignore[arg-type]
