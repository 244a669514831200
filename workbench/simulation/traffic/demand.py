"""Honest demand: steady, bursty, daily, and the crowd that comes all at once."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

import numpy as np

from workbench.errors import InputError
from workbench.simulation.traffic.processes import Floats, modulated, poisson, thinned
from workbench.simulation.traffic.source import Draw, Keyed, Requests
from workbench.simulation.values import Bound, Period, Rate, Seconds, Share

__all__ = ["Bursty", "Diurnal", "FlashCrowd", "Poisson"]


@dataclass(frozen=True)
class Poisson(Keyed):
    """Independent requests at ``rate`` per second: many people who do not know of one another.

    >>> from workbench.simulation.traffic import Keys
    >>> Poisson(100, keys=Keys(1000, zipf=0.8)).group
    'users'
    """

    rate: Rate

    def requests(self, draw: Draw) -> Requests:
        return self.with_keys(poisson(draw.generator("times"), self.rate, draw.seconds), draw)


@dataclass(frozen=True)
class Bursty(Keyed):
    """Requests at ``low`` per second, and in bursts at ``high``: a Markov-modulated Poisson process of two phases.

    A quiet phase lasts ``mean_low`` seconds on average and a burst ``mean_high``, each exponential. The long-run rate
    is ``rate``; ``low=0`` gives bursts with silence between them.
    """

    low: Annotated[float, Bound(least=0, most=1e9)]
    high: Rate
    mean_low: Period
    mean_high: Period

    @property
    def rate(self) -> float:
        """Requests per second in the long run."""
        return (self.low * self.mean_low + self.high * self.mean_high) / (self.mean_low + self.mean_high)

    def requests(self, draw: Draw) -> Requests:
        rates, means = (self.low, self.high), (self.mean_low, self.mean_high)
        seconds = modulated(draw.generator("times"), draw.generator("phases"), rates, means, draw.seconds)
        return self.with_keys(seconds, draw)


@dataclass(frozen=True)
class Diurnal(Keyed):
    """A Poisson process whose rate goes up and down: ``rate * (1 + amplitude * sin(2 pi (t + phase) / period))``.

    ``t`` is in seconds of the simulation, ``period`` and ``phase`` are in seconds, ``amplitude`` is at most 1.
    """

    rate: Rate
    amplitude: Share
    period: Period = 86_400.0
    _: KW_ONLY
    phase: Seconds = 0.0

    def rate_at(self, seconds: Floats) -> Floats:
        """Requests per second at these times, same shape."""
        turns = (seconds + self.phase) / self.period
        return np.asarray(self.rate * (1 + self.amplitude * np.sin(2 * np.pi * turns)))

    def requests(self, draw: Draw) -> Requests:
        start, peak = draw.start_ns / 1e9, self.rate * (1 + self.amplitude)
        seconds = thinned(
            draw.generator("times"), draw.generator("thinning"), lambda t: self.rate_at(t + start), peak, draw.seconds
        )
        return self.with_keys(seconds, draw)


@dataclass(frozen=True)
class FlashCrowd(Keyed):
    """A Poisson process at ``rate`` per second until a crowd comes ``at`` some second of the simulation.

    The rate then climbs in a straight line for ``ramp`` seconds to ``peak``, stays there for ``hold`` seconds, and
    falls back as ``exp(-t / decay)``; ``decay=0`` drops it at once. These are the phases of Ari, Hong, Miller, Brandt
    and Long, "Managing flash crowds on the Internet" (MASCOTS 2003); the exponential fall is this module's choice.
    """

    rate: Rate
    peak: Rate
    at: Seconds
    ramp: Seconds
    hold: Seconds
    decay: Seconds

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.peak < self.rate:
            raise InputError(f"flash_crowd: its peak, {self.peak:g} per second, is below its rate, {self.rate:g}")

    def rate_at(self, seconds: Floats) -> Floats:
        """Requests per second at these times, same shape."""
        since = seconds - self.at
        falling = np.maximum(since - self.ramp - self.hold, 0.0)
        fallen = np.exp(-falling / self.decay) if self.decay else np.where(falling > 0, 0.0, 1.0)
        risen = np.clip(since / self.ramp, 0.0, 1.0) if self.ramp else np.where(since >= 0, 1.0, 0.0)
        return np.asarray(self.rate + (self.peak - self.rate) * risen * fallen)

    def requests(self, draw: Draw) -> Requests:
        start = draw.start_ns / 1e9
        seconds = thinned(
            draw.generator("times"),
            draw.generator("thinning"),
            lambda t: self.rate_at(t + start),
            self.peak,
            draw.seconds,
        )
        return self.with_keys(seconds, draw)
