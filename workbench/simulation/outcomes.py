"""How a request came to its end, and what one run leaves behind."""

from dataclasses import dataclass, fields
from enum import IntEnum
from hashlib import sha256

import numpy as np
import numpy.typing as npt

__all__ = ["Ending", "Opening", "Run"]


class Ending(IntEnum):
    """How a request ended: as its last attempt did.

    ``GOOD``: answered well and in time. ``FAILED``: answered with an error, or lost in a crash. ``TIMED_OUT``: not
    answered in time. ``REFUSED``: by the server, whose queue was full or which was down. ``LIMITED``: by a limit.
    ``REJECTED``: not sent, as the breaker was open.
    """

    GOOD = 0
    FAILED = 1
    TIMED_OUT = 2
    REFUSED = 3
    LIMITED = 4
    REJECTED = 5


@dataclass(frozen=True, slots=True)
class Opening:
    """A change of a breaker's state: when (ns), of whose breaker (client, from 0), and to which state."""

    t_ns: int
    client: int
    state: str


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Run:
    """What happened in one run, request by request. Arrays of shape (requests,) unless said otherwise.

    ``t``: ns at which it was to be sent. ``key``, ``source``, ``cost``: of the traffic; ``groups[source]`` names its
    group. ``client``: who passed it on. ``ending``: an ``Ending``. ``end``: ns at which it ended. ``attempts``: sent.
    ``sent``: ns of every attempt sent, shape (attempts,). ``admitted``, ``admitted_ns``: request and time of each
    attempt that passed the limits, shape (n,); empty without limits. ``queue``, ``open``: how many waited, and how
    many breakers were not closed, at the end of each second, shape (seconds,). ``probes``: ns of every call on trial.
    ``changes``: of breakers, in order. ``events``: that the engine ran. ``trace_sha256``: over all of them.
    """

    seed: int
    t: npt.NDArray[np.int64]
    key: npt.NDArray[np.int32]
    source: npt.NDArray[np.int16]
    cost: npt.NDArray[np.int32]
    groups: tuple[str, ...]
    client: npt.NDArray[np.int32]
    ending: npt.NDArray[np.int8]
    end: npt.NDArray[np.int64]
    attempts: npt.NDArray[np.int32]
    sent: npt.NDArray[np.int64]
    admitted: npt.NDArray[np.int64]
    admitted_ns: npt.NDArray[np.int64]
    queue: npt.NDArray[np.int64]
    open: npt.NDArray[np.int64]
    probes: npt.NDArray[np.int64]
    changes: tuple[Opening, ...]
    events: int
    trace_sha256: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __repr__(self) -> str:
        return f"<Run under seed {self.seed}: {len(self.t):,} requests, {self.events:,} events>"

    @property
    def sha256(self) -> str:
        """Over everything that happened to every request: another way to tell two runs apart than by their events."""
        digest = sha256(b"run 1\n")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                digest.update(f"{field.name} {value.dtype.str} {len(value)}\n".encode())
                digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
        digest.update("\n".join(f"{one.t_ns} {one.client} {one.state}" for one in self.changes).encode())
        return digest.hexdigest()

    @property
    def latency(self) -> npt.NDArray[np.float64]:
        """Seconds from the intended time of sending to the end, however it came."""
        return np.asarray((self.end - self.t) / 1e9)

    def of(self, group: str) -> npt.NDArray[np.bool_]:
        """Which requests are of this group, shape (requests,)."""
        members = np.array([name == group for name in self.groups], dtype=np.bool_)
        return np.asarray(members[self.source])
