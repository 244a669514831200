"""Traffic: who asks for what and when, as data, and drawn from seeds so that every policy meets the same.

Here: sources of requests (honest, attacking, recorded) and ``arrivals``, which merges them. Nothing here may know of
limits, servers or faults: what is done with a request is not its sender's matter.
"""

from typing import Final

from workbench.simulation.traffic.arrivals import Arrivals, arrivals
from workbench.simulation.traffic.attacks import BoundaryBurst, CredentialStuffing, KeyFlood, SlowDrip
from workbench.simulation.traffic.demand import Bursty, Diurnal, FlashCrowd, Poisson
from workbench.simulation.traffic.keys import Keys
from workbench.simulation.traffic.recorded import Recorded
from workbench.simulation.traffic.source import Source

__all__ = [
    "SOURCES",
    "Arrivals",
    "BoundaryBurst",
    "Bursty",
    "CredentialStuffing",
    "Diurnal",
    "FlashCrowd",
    "KeyFlood",
    "Keys",
    "Poisson",
    "Recorded",
    "SlowDrip",
    "Source",
    "arrivals",
]

# What YAML may call by its kind: ``read(SOURCES, mapping, what="traffic")``.
SOURCES: Final[dict[str, type[Source]]] = {
    kind.kind(): kind
    for kind in (
        Poisson,
        Bursty,
        Diurnal,
        FlashCrowd,
        CredentialStuffing,
        KeyFlood,
        SlowDrip,
        BoundaryBurst,
        Recorded,
    )
}
