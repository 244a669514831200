"""What goes wrong, and when, as data. ``Faults`` tells what holds at a moment; the server and the nodes act on it.

All times are seconds of the simulation in the data and integer nanoseconds in the answers. A fault holds from its
``start`` to its ``end``, end excluded; without an end it stays.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Final

from workbench.clock import Clock
from workbench.errors import InputError
from workbench.simulation.distributions import Deterministic, Distribution, Exponential, LogNormal, Pareto
from workbench.simulation.values import Bound, Described, Seconds, Share

__all__ = [
    "FAULTS",
    "ClockSkew",
    "ClockStep",
    "Condition",
    "Crash",
    "Error",
    "Fault",
    "Faults",
    "Latency",
    "NodeClock",
    "Partition",
    "Slow",
    "StoreDown",
]

_SECOND_NS: Final = 1_000_000_000
Shift = Annotated[float, Bound(least=-1e9, most=1e9)]  # seconds


@dataclass(frozen=True)
class Fault(Described):
    """Base of all faults."""


@dataclass(frozen=True)
class _Lasting(Fault):
    _: KW_ONLY
    start: Seconds = 0.0
    end: Seconds | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end is not None and self.end <= self.start:
            raise InputError(f"{self.kind()}: it ends at {self.end:g} s, not after its start at {self.start:g} s")


@dataclass(frozen=True)
class Error(_Lasting):
    """Each request that is served fails with probability ``p``, independently. Several combine as independent."""

    p: Share


@dataclass(frozen=True)
class Latency(_Lasting):
    """Each request takes a further time drawn from ``distribution``, on the way and not in a worker. Several add up."""

    distribution: Deterministic | Exponential | LogNormal | Pareto


@dataclass(frozen=True)
class Slow(_Lasting):
    """Serving takes ``factor`` times as long; below 1 it is faster. Several multiply.

    It holds for the requests whose service begins meanwhile, to their end.
    """

    factor: Annotated[float, Bound(above=0, most=1e6)]


@dataclass(frozen=True)
class Crash(_Lasting):
    """The server is gone: what it was serving and what waited is lost, and calls are refused at once."""


@dataclass(frozen=True)
class Partition(_Lasting):
    """A ``share`` of the clients cannot reach the server: theirs is neither answered nor refused, so they time out.

    Cut off are the first of the clients by number, rounded up. Of several at once the largest holds.
    """

    share: Share


@dataclass(frozen=True)
class StoreDown(_Lasting):
    """The store that limiters share cannot be asked."""


@dataclass(frozen=True)
class ClockStep(Fault):
    """The wall clock of every node jumps ``by`` seconds (negative: back) ``at`` some second of true time."""

    by: Shift
    at: Seconds


@dataclass(frozen=True)
class ClockSkew(Fault):
    """The wall clocks of a ``share`` of the nodes (the first by number, rounded up) are off ``by`` seconds, always."""

    by: Shift
    share: Share = 1.0


@dataclass(frozen=True, slots=True)
class Condition:
    """What holds from one moment to the next change, at ``until_ns`` (``None``: nothing changes any more).

    ``factor``: of service times. ``error``: probability that a request fails. ``down``: the server is crashed.
    ``latency``: distributions of further time. ``cut_off``: share of clients that cannot reach the server.
    ``store_down``: the shared store cannot be asked. ``step_ns``: what all wall clocks have jumped by so far.
    """

    factor: float = 1.0
    error: float = 0.0
    down: bool = False
    latency: tuple[Distribution, ...] = ()
    cut_off: float = 0.0
    store_down: bool = False
    step_ns: int = 0
    until_ns: int | None = None

    def reaches(self, client: int, clients: int) -> bool:
        """Whether client number ``client`` (from 0) of ``clients`` can reach the server."""
        return not _among_first(client, clients, self.cut_off)


class Faults:
    """A list of faults, made ready to be asked at any moment: a look-up takes the logarithm of their number.

    >>> faults = Faults([Slow(4.0, start=60, end=75), Error(0.1, start=70)])
    >>> faults.at(70_000_000_000)
    Condition(factor=4.0, error=0.1, down=False, latency=(), cut_off=0.0, store_down=False, step_ns=0, \
until_ns=75000000000)
    """

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self.faults = tuple(faults)
        for fault in self.faults:
            if not isinstance(fault, Fault):
                raise InputError(f"a fault is one of {', '.join(sorted(FAULTS))}, not {fault!r:.60}")
        moments = {0}
        for fault in self.faults:
            if isinstance(fault, _Lasting):
                moments |= {_ns(fault.start)} | ({_ns(fault.end)} if fault.end is not None else set())
            elif isinstance(fault, ClockStep):
                moments.add(_ns(fault.at))
        self.changes_ns = tuple(sorted(moments))  # when what holds changes; the first is 0
        self._conditions = tuple(
            self._condition(moment, following)
            for moment, following in zip(self.changes_ns, (*self.changes_ns[1:], None), strict=True)
        )
        self._skews = tuple(fault for fault in self.faults if isinstance(fault, ClockSkew))

    def at(self, t_ns: int) -> Condition:
        """What holds at ``t_ns``; ask again at its ``until_ns``, not before."""
        return self._conditions[max(bisect_right(self.changes_ns, t_ns) - 1, 0)]

    def clock_offset_ns(self, t_ns: int, node: int = 0, nodes: int = 1) -> int:
        """What the wall clock of node number ``node`` (from 0) of ``nodes`` shows beyond true time at ``t_ns``."""
        skews = (_ns(skew.by) for skew in self._skews if _among_first(node, nodes, skew.share))
        return self.at(t_ns).step_ns + sum(skews)

    def _condition(self, moment: int, following: int | None) -> Condition:
        factor, error, cut_off, step_ns = 1.0, 0.0, 0.0, 0
        latency: list[Distribution] = []
        down = store_down = False
        for fault in self.faults:
            if isinstance(fault, ClockStep):
                step_ns += _ns(fault.by) if _ns(fault.at) <= moment else 0
            if not isinstance(fault, _Lasting) or not _holds(fault, moment):
                continue
            match fault:
                case Slow():
                    factor *= fault.factor
                case Error():
                    error += fault.p - error * fault.p
                case Latency():
                    latency.append(fault.distribution)
                case Partition():
                    cut_off = max(cut_off, fault.share)
                case Crash():
                    down = True
                case StoreDown():
                    store_down = True
        return Condition(factor, error, down, tuple(latency), cut_off, store_down, step_ns, following)


class NodeClock:
    """The clock of one node, off and stepping as the faults say, on top of true time. It is a ``Clock``.

    ``time_ns`` is the wall clock. ``monotonic_ns`` is true time, as the machine's is not set by anyone; with
    ``wall=True`` it tells the wall time too, as a store must that judges by the callers' clocks.

    >>> from workbench.clock import VirtualClock
    >>> clock = NodeClock(VirtualClock(start_ns=100), Faults([ClockSkew(-2)]))
    >>> clock.time_ns(), clock.monotonic_ns()
    (-1999999900, 100)
    """

    def __init__(self, clock: Clock, faults: Faults, *, node: int = 0, nodes: int = 1, wall: bool = False) -> None:
        self._clock, self._faults, self._node, self._nodes = clock, faults, node, nodes
        if wall:
            self.monotonic_ns = self.time_ns  # type: ignore[method-assign]

    def time_ns(self) -> int:
        true_ns = self._clock.monotonic_ns()
        return true_ns + self._faults.clock_offset_ns(true_ns, self._node, self._nodes)

    def monotonic_ns(self) -> int:
        return self._clock.monotonic_ns()

    def sleep_ns(self, duration_ns: int) -> None:
        self._clock.sleep_ns(duration_ns)


def _ns(seconds: float) -> int:
    return round(seconds * _SECOND_NS)


def _holds(fault: _Lasting, moment: int) -> bool:
    return _ns(fault.start) <= moment and (fault.end is None or moment < _ns(fault.end))


def _among_first(number: int, count: int, share: float) -> bool:
    """Whether ``number`` (from 0) is among the first ``share`` of ``count``, rounded up."""
    return number < -(-round(share * count * _SECOND_NS) // _SECOND_NS)  # 0.1 * 30 is 3, not a little more


# What YAML may call by its kind: ``read(FAULTS, mapping, what="a fault")``.
FAULTS: Final[dict[str, type[Fault]]] = {
    kind.kind(): kind for kind in (Error, Latency, Slow, Crash, Partition, StoreDown, ClockStep, ClockSkew)
}
