"""Demand as it was recorded: a log's requests, played again."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

import numpy as np

from workbench.simulation.replay import Recording, Spread
from workbench.simulation.traffic.source import Draw, Requests, Source
from workbench.simulation.values import Bound

__all__ = ["Recorded"]


@dataclass(frozen=True)
class Recorded(Source):
    """The requests of ``recording``, its first stamp at ``start``, ``speed`` times as fast as they came.

    ``spread``: where within the resolution of its stamps they are taken to have come (``workbench.simulation.replay``).
    A log holds the demand that was served, not what was offered: what its server refused or lost is not in it.
    """

    recording: Recording
    _: KW_ONLY
    spread: Spread = "even"
    speed: Annotated[float, Bound(above=0, most=1e6)] = 1.0

    @property
    def key_count(self) -> int:
        return len(self.recording.names)

    def requests(self, draw: Draw) -> Requests:
        times = self.recording.times(spread=self.spread, speed=self.speed, generator=draw.generator("spread"))
        inside = int(np.searchsorted(times, draw.length_ns))
        return times[:inside], self.recording.key[:inside]
