"""Simulation: the limiters and breakers of production in virtual time, under traffic and faults that are data.

``Scenario`` says what is simulated, ``simulate`` runs it over seeds, ``compare`` sets scenarios side by side under the
same traffic. Nothing here may decide as a limiter or a breaker does: those of ``workbench.resilience`` do, unchanged.
Times are integer nanoseconds within, and seconds where people write or read them.
"""

from workbench.simulation.clients import Backoff, BreakerSpec, Budget, Clients, ClosedLoop, Immediate, NoRetry
from workbench.simulation.distributions import Deterministic, Exponential, LogNormal, Pareto
from workbench.simulation.draws import Draws
from workbench.simulation.engine import Engine
from workbench.simulation.faults import (
    ClockSkew,
    ClockStep,
    Crash,
    Error,
    Latency,
    Partition,
    Slow,
    StoreDown,
)
from workbench.simulation.limits import LimitSpec
from workbench.simulation.measures import goodput_between
from workbench.simulation.outcomes import Ending, Run
from workbench.simulation.replay import Recording
from workbench.simulation.scenario import Scenario
from workbench.simulation.server import Server
from workbench.simulation.simulate import Simulation, compare, run_once, simulate
from workbench.simulation.streams import Streams
from workbench.simulation.traffic import (
    BoundaryBurst,
    Bursty,
    CredentialStuffing,
    Diurnal,
    FlashCrowd,
    KeyFlood,
    Keys,
    Poisson,
    Recorded,
    SlowDrip,
)
from workbench.simulation.upstream import Upstream

__all__ = [
    "Backoff",
    "BoundaryBurst",
    "BreakerSpec",
    "Budget",
    "Bursty",
    "Clients",
    "ClockSkew",
    "ClockStep",
    "ClosedLoop",
    "Crash",
    "CredentialStuffing",
    "Deterministic",
    "Diurnal",
    "Draws",
    "Ending",
    "Engine",
    "Error",
    "Exponential",
    "FlashCrowd",
    "Immediate",
    "KeyFlood",
    "Keys",
    "Latency",
    "LimitSpec",
    "LogNormal",
    "NoRetry",
    "Pareto",
    "Partition",
    "Poisson",
    "Recorded",
    "Recording",
    "Run",
    "Scenario",
    "Server",
    "Simulation",
    "Slow",
    "SlowDrip",
    "StoreDown",
    "Streams",
    "Upstream",
    "compare",
    "goodput_between",
    "run_once",
    "simulate",
]
