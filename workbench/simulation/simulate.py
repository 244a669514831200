"""Running a scenario: once, over many seeds, and side by side with others."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from workbench import __version__
from workbench.errors import InputError
from workbench.files import canonical_json, sha256_bytes
from workbench.simulation.attempt import Attempt
from workbench.simulation.calling import Callers
from workbench.simulation.draws import Draws
from workbench.simulation.engine import Engine
from workbench.simulation.faults import Faults
from workbench.simulation.limits import Gateway
from workbench.simulation.measures import measure, per_second
from workbench.simulation.outcomes import Ending, Run
from workbench.simulation.scenario import Scenario
from workbench.simulation.server import Station
from workbench.simulation.statistics import paired, summarise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MODEL_VERSION", "Simulation", "compare", "run_once", "simulate"]

MODEL_VERSION: Final = 1
"""Raised whenever the same scenario and seed give other results than before."""

_SECOND_NS: Final = 1_000_000_000
_USERS: Final = "users"


@dataclass(frozen=True, eq=False)
class Simulation:
    """What came of a scenario over ``seeds``.

    ``runs``: a row for each seed, in columns ``seed`` and the measures (see ``workbench.simulation.measures``).
    ``summary``: a row for each measure: ``mean`` over the seeds in which it has a value, ``low`` and ``high`` of its
    95 % t interval, and how many ``seeds`` those were. ``series``: a row for each second of each seed.
    ``trace_sha256``: of each seed's events. ``digest``: SHA-256 over the scenario's, the seeds and the versions; it
    stands in each table's ``attrs`` as well.
    """

    scenario: Scenario
    seeds: tuple[int, ...]
    runs: "pd.DataFrame"
    summary: "pd.DataFrame"
    series: "pd.DataFrame"
    trace_sha256: tuple[str, ...]
    digest: str

    def __repr__(self) -> str:
        return f"<Simulation of {self.scenario.name!r} over {len(self.seeds)} seeds, digest {self.digest[:12]}>"


def simulate(scenario: Scenario, *, seeds: int = 20, first_seed: int = 0, trace: bool = True) -> Simulation:
    """Run ``scenario`` under ``seeds`` seeds from ``first_seed`` on. The same arguments give the same result.

    ``trace``: keep the digest of all events; without it a simulation is a little faster, and ``trace_sha256`` is over
    what became of the requests. Raises ``InputError`` for seeds that are none.

    >>> from workbench.simulation import Exponential, Poisson, Server
    >>> queue = Scenario("queue", 20, traffic=(Poisson(50),), server=Server(1, Exponential(0.01)))
    >>> simulate(queue, seeds=2).runs[["seed", "goodput"]].values.tolist()
    [[0.0, 1.0], [1.0, 1.0]]
    """
    import pandas as pd

    numbers = _seeds(seeds, first_seed)
    rows: list[dict[str, Any]] = []
    series, traces = [], []
    for seed in numbers:
        run = run_once(scenario, seed, trace=trace)
        seconds = per_second(run)
        rows.append({"seed": seed, **measure(run, scenario, seconds)})
        series.append(seconds)
        traces.append(run.trace_sha256 or run.sha256)
    digest = _digest(scenario, numbers)
    runs, whole = pd.DataFrame(rows), pd.concat(series, ignore_index=True)
    tables = (runs, summarise(runs), whole)
    for table in tables:
        table.attrs["digest"] = digest
    return Simulation(scenario, numbers, *tables, trace_sha256=tuple(traces), digest=digest)


def compare(scenarios: Sequence[Scenario | Simulation], *, seeds: int = 20, first_seed: int = 0) -> "pd.DataFrame":
    """Scenarios side by side under the same seeds, so that the same traffic and luck meet each.

    A row for each scenario and measure: ``scenario``, ``measure``, ``mean``, ``low``, ``high``, ``seeds``, and the
    mean ``difference`` from the first scenario over the seeds in which both have a value, with ``difference_low`` and
    ``difference_high`` of its 95 % t interval. What was simulated already is taken as it is.
    Raises ``InputError`` for none, for two of one name, and for simulations of other seeds.
    """
    import pandas as pd

    done = [
        one if isinstance(one, Simulation) else simulate(one, seeds=seeds, first_seed=first_seed) for one in scenarios
    ]
    names = [one.scenario.name for one in done]
    if not done or len(set(names)) < len(names):
        raise InputError(f"scenarios to compare have names that differ; found {', '.join(names) or 'none'}")
    for one in done:
        if one.seeds != done[0].seeds:
            raise InputError(f"scenarios are compared under the same seeds; those of {one.scenario.name!r} are others")
    tables = [paired(one.runs, done[0].runs).assign(scenario=one.scenario.name) for one in done]
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "scenario", table.pop("scenario"))
    table.attrs["digest"] = sha256_bytes(canonical_json([one.digest for one in done]))
    return table


def run_once(scenario: Scenario, seed: int, *, trace: bool = True, draws: Draws | None = None) -> Run:
    """One run under ``seed``; with ``draws``, of those made before, which must be of the same scenario and seed."""
    drawn = Draws(scenario, seed) if draws is None else draws
    collects = gc.isenabled()
    gc.disable()  # a run makes no cycles; to look for them among its many small objects takes a fifth of its time
    try:
        return _World(scenario, seed, drawn, trace).run()
    finally:
        if collects:
            gc.enable()


class _World:
    """A scenario set up, once."""

    def __init__(self, scenario: Scenario, seed: int, draws: Draws, trace: bool) -> None:
        self._seed, self._draws, self._traced = seed, draws, trace
        self._engine = Engine(trace=trace)
        self._faults = Faults(scenario.faults)
        self._until_ns = round(scenario.duration * _SECOND_NS)
        self._callers = Callers(scenario, self._engine, draws, seed, self._idle)
        self._station = Station(scenario.server, self._engine, draws, self._callers.answered)
        self._callers.deliver = self._pass if scenario.limits else self._station.receive
        self._gateway = Gateway(scenario.limits, self._engine.clock, self._faults)
        arrivals = draws.arrivals
        self._key, self._cost = arrivals.key.tolist(), arrivals.cost.tolist()
        self._group = [arrivals.groups[source] for source in arrivals.source.tolist()]
        self._busy = True
        self._admitted: list[int] = []
        self._admitted_ns: list[int] = []
        self._queue: list[int] = []
        self._open: list[int] = []

    def run(self) -> Run:
        engine = self._engine
        for moment in self._faults.changes_ns:  # first, so that they come before all else of the same moment
            engine.post(moment, self._turn, (moment,))
        engine.post(min(_SECOND_NS, self._until_ns), self._look)
        self._callers.begin()
        engine.run(self._until_ns)
        if self._busy:
            engine.run()
        return self._record()

    def _turn(self, moment: int) -> None:
        """What holds changes."""
        condition = self._faults.at(moment)
        self._station.condition = self._callers.condition = self._gateway.condition = condition
        if condition.down:
            self._station.crash()

    def _look(self) -> None:
        """The end of a second."""
        self._queue.append(len(self._station.queue))
        self._open.append(self._callers.open)
        now_ns = self._engine.now_ns
        if now_ns < self._until_ns:
            self._engine.post(min(now_ns + _SECOND_NS, self._until_ns), self._look)

    def _pass(self, attempt: Attempt) -> None:
        """An attempt comes to the limits."""
        request = attempt.request
        closed = not self._key
        key = attempt.client if closed else self._key[request]
        group = _USERS if closed else self._group[request]
        cost = 1 if closed else self._cost[request]
        node = self._draws.node[request] if self._draws.node else 0
        if self._gateway.admits(key, group, cost, node):
            self._admitted.append(request)
            self._admitted_ns.append(self._engine.now_ns)
            self._station.receive(attempt)
        else:
            self._callers.answered(attempt, Ending.LIMITED)

    def _idle(self) -> None:
        self._busy = False
        if self._engine.now_ns >= self._until_ns:
            self._engine.stop()

    def _record(self) -> Run:
        callers, arrivals, engine = self._callers, self._draws.arrivals, self._engine
        t = np.array(callers.t, dtype=np.int64)
        client = np.array(callers.client[: len(t)], dtype=np.int32)
        closed = not arrivals.groups
        return Run(
            seed=self._seed,
            t=t,
            key=client.copy() if closed else arrivals.key,
            source=np.zeros(len(t), dtype=np.int16) if closed else arrivals.source,
            cost=np.ones(len(t), dtype=np.int32) if closed else arrivals.cost,
            groups=(_USERS,) if closed else arrivals.groups,
            client=client,
            ending=np.array(callers.ending, dtype=np.int8),
            end=np.array(callers.end, dtype=np.int64),
            attempts=np.array(callers.attempts, dtype=np.int32),
            sent=np.array(callers.sent, dtype=np.int64),
            admitted=np.array(self._admitted, dtype=np.int64),
            admitted_ns=np.array(self._admitted_ns, dtype=np.int64),
            queue=np.array(self._queue, dtype=np.int64),
            open=np.array(self._open, dtype=np.int64),
            probes=np.array(callers.probes, dtype=np.int64),
            changes=tuple(callers.changes),
            events=engine.events,
            trace_sha256=engine.trace_sha256 if self._traced else "",
        )


def _seeds(count: int, first: int) -> tuple[int, ...]:
    if type(count) is not int or not 1 <= count <= 100_000:
        raise InputError(f"a simulation has 1 to 100,000 seeds, not {count!r}")
    if type(first) is not int or not 0 <= first < 2**62:
        raise InputError(f"the first seed is a whole number of at least 0, not {first!r}")
    return tuple(range(first, first + count))


def _digest(scenario: Scenario, seeds: tuple[int, ...]) -> str:
    said = {
        "scenario": scenario.sha256,
        "first_seed": str(seeds[0]),
        "seeds": len(seeds),
        "model": MODEL_VERSION,
        "workbench": __version__,
    }
    return sha256_bytes(canonical_json(said))
