"""A source of requests: what all of them have, and what each must give."""

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.simulation.traffic.keys import Keys
from workbench.simulation.values import Count, Described, Name, Seconds

if TYPE_CHECKING:
    from workbench.simulation.streams import Streams

__all__ = ["Draw", "Ints", "Keyed", "Requests", "Source", "nanoseconds"]

Ints = npt.NDArray[np.int64]
Requests = tuple[Ints, Ints]  # times in ns from the source's start, and keys from 0; the times need not be sorted


@dataclass(frozen=True, slots=True)
class Draw:
    """What a source draws its requests from: ``length_ns`` from ``start_ns``, and streams that are its own."""

    streams: "Streams"
    stem: str  # what the names of its streams begin with
    start_ns: int
    length_ns: int

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.length_ns / 1e9

    def generator(self, name: str) -> np.random.Generator:
        return self.streams.generator(f"{self.stem}/{name}")


@dataclass(frozen=True)
class Source(Described):
    """Requests from ``start`` to ``end`` (seconds of the simulation; to its end unless given), end excluded.

    ``group``: whose they are, so that fairness and leakage can be measured by group; sources of one group draw from
    the same keys. ``cost``: units that one request takes from a limit.
    """

    _: KW_ONLY
    group: Name = "users"
    start: Seconds = 0.0
    end: Seconds | None = None
    cost: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end is not None and self.end <= self.start:
            raise InputError(f"{self.kind()}: it ends at {self.end:g} s, not after its start at {self.start:g} s")

    @property
    def keys_of(self) -> str:
        """The group whose keys it uses: its own, unless it attacks the accounts of others."""
        return self.group

    @property
    def key_count(self) -> int:
        """How many keys it has, asked or not; 0 if only the requests tell."""
        return 0

    def requests(self, draw: Draw) -> Requests:
        """Its requests, each array of shape (n,)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Keyed(Source):
    """A source whose requests spread over ``keys`` independently of when they come."""

    _: KW_ONLY
    keys: Keys = field(default_factory=Keys)

    @property
    def key_count(self) -> int:
        return self.keys.count

    def with_keys(self, seconds: npt.NDArray[np.float64], draw: Draw) -> Requests:
        """Requests at these times, in seconds from the start, shape (n,), each with a key."""
        return nanoseconds(seconds), self.keys.draw(draw.generator("keys"), len(seconds))


def nanoseconds(seconds: npt.NDArray[np.float64]) -> Ints:
    """Whole nanoseconds, rounded down."""
    return (seconds * 1e9).astype(np.int64)
