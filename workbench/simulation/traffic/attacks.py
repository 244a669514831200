"""Attackers: each aims at one weakness of limits. Groups keep them apart from honest demand in the measures."""

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from workbench.errors import InputError
from workbench.simulation.traffic.keys import rotation
from workbench.simulation.traffic.processes import poisson
from workbench.simulation.traffic.source import Draw, Requests, Source, nanoseconds
from workbench.simulation.values import Count, Name, Period, Rate, Share

__all__ = ["BoundaryBurst", "CredentialStuffing", "KeyFlood", "SlowDrip"]


@dataclass(frozen=True)
class CredentialStuffing(Source):
    """Log-ins with stolen passwords: ``rate`` per second in all, from many addresses, at many accounts.

    Aims at limits by address: each of ``addresses`` makes only ``rate / addresses`` attempts per second, since all
    take turns in random order; so do the ``accounts``. The key that a limiter sees is the address or the account,
    ``by`` choice. By account they are keys of the group ``victims``, whose owners then share their limits with the
    attacker (lock-out).
    """

    rate: Rate
    addresses: Count = 1_000
    accounts: Count = 10_000
    _: KW_ONLY
    by: Literal["address", "account"] = "address"
    victims: Name = "users"
    group: Name = "stuffing"

    @property
    def keys_of(self) -> str:
        return self.victims if self.by == "account" else self.group

    @property
    def key_count(self) -> int:
        return self.addresses if self.by == "address" else self.accounts

    def requests(self, draw: Draw) -> Requests:
        seconds = poisson(draw.generator("times"), self.rate, draw.seconds)
        return nanoseconds(seconds), rotation(draw.generator(self.by), self.key_count, len(seconds))


@dataclass(frozen=True)
class KeyFlood(Source):
    """``rate`` requests per second, each with a key never seen before. Aims at what a limiter keeps for each key."""

    rate: Rate
    _: KW_ONLY
    group: Name = "flood"

    def requests(self, draw: Draw) -> Requests:
        seconds = poisson(draw.generator("times"), self.rate, draw.seconds)
        return nanoseconds(seconds), np.arange(len(seconds), dtype=np.int64)


@dataclass(frozen=True)
class SlowDrip(Source):
    """Each of ``addresses`` stays just under ``limit`` requests in ``per`` seconds, for as long as it likes.

    Its requests are evenly apart, by ``per / limit * (1 + margin)`` seconds, from a random start within the first gap.
    Aims at limits that see one key at a time: ``exact``, ``smooth`` and ``fixed`` never refuse it, and together the
    addresses load the system. ``approx`` refuses a part, as it takes the last window's requests to be spread evenly.
    """

    limit: Count
    per: Period
    addresses: Count = 100
    _: KW_ONLY
    margin: Share = 0.01
    group: Name = "drip"

    @property
    def rate(self) -> float:
        """Requests per second of all addresses together."""
        return self.addresses * self.limit / (self.per * (1 + self.margin))

    @property
    def key_count(self) -> int:
        return self.addresses

    def requests(self, draw: Draw) -> Requests:
        gap_ns = int(np.ceil(self.per * (1 + self.margin) / self.limit * 1e9))
        first = (draw.generator("starts").random(self.addresses) * gap_ns).astype(np.int64)
        counts = np.maximum(-(-(draw.length_ns - first) // gap_ns), 0)
        keys = np.repeat(np.arange(self.addresses, dtype=np.int64), counts)
        nth = np.arange(len(keys), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
        return first[keys] + nth * gap_ns, keys


@dataclass(frozen=True)
class BoundaryBurst(Source):
    """Each of ``addresses`` sends ``limit`` requests just before a window of ``per`` seconds ends, and as many after.

    Aims at limits that count in fixed windows: twice the limit passes within ``2 * spread`` seconds. Windows begin at
    the multiples of ``per`` from time 0 of the simulation. Only every second edge is used, since a burst needs a
    window that is still empty before it. The requests of a side are evenly apart; the first after stands on the edge.
    """

    limit: Count
    per: Period
    addresses: Count = 1
    _: KW_ONLY
    spread: Period = 0.1
    group: Name = "burst"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spread > self.per:
            raise InputError(f"boundary_burst: its spread, {self.spread:g} s, is more than a window of {self.per:g} s")

    @property
    def key_count(self) -> int:
        return self.addresses

    def requests(self, draw: Draw) -> Requests:
        per_ns, spread_ns = round(self.per * 1e9), round(self.spread * 1e9)
        edges = np.arange(1, (draw.start_ns + draw.length_ns + spread_ns) // per_ns + 1, 2, dtype=np.int64) * per_ns
        steps = np.arange(self.limit, dtype=np.int64) * spread_ns // self.limit
        burst = np.concatenate([steps - spread_ns, steps])
        once = (edges[:, None] + burst).ravel() - draw.start_ns
        keys = np.tile(np.arange(self.addresses, dtype=np.int64), len(once))
        times = np.repeat(once, self.addresses)
        inside = (times >= 0) & (times < draw.length_ns)
        return times[inside], keys[inside]
