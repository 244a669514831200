"""All sources of a scenario as one stream of arrivals in time order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.simulation.traffic.source import Draw, Ints, Source

if TYPE_CHECKING:
    from workbench.simulation.streams import Streams

__all__ = ["Arrivals", "arrivals"]

_LARGEST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Requests in time order; arrays of shape (n,), read-only. Ties stand in the order of the sources.

    ``t``: ns since the start of the simulation. ``key``: numbered from 0 without gaps between the groups that own
    them, below ``keys``. ``source``: which source sent it; ``groups[source]`` is its group. ``cost``: units.
    """

    t: Ints
    key: npt.NDArray[np.int32]
    source: npt.NDArray[np.int16]
    cost: npt.NDArray[np.int32]
    groups: tuple[str, ...]
    keys: int

    def __post_init__(self) -> None:
        for array in (self.t, self.key, self.source, self.cost):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.t)

    def of(self, group: str) -> npt.NDArray[np.bool_]:
        """Which arrivals are of this group, shape (n,)."""
        members = np.array([name == group for name in self.groups], dtype=np.bool_)
        return np.asarray(members[self.source])


def arrivals(sources: Sequence[Source], streams: "Streams", *, duration: float) -> Arrivals:
    """The requests of all ``sources`` in [0, ``duration``) seconds.

    Each source draws from streams of its own, named by its group, its kind and its number among those of the same
    group and kind. So a source changes no other's times, costs and choice of keys, and what is asked of the system
    is the same whatever the policy. Keys of one group are shared by its sources; groups are numbered in the order in
    which they first come. Raises ``InputError`` for a duration that is not positive or more than 2^31 - 1 keys.

    >>> from workbench.simulation.streams import Streams
    >>> from workbench.simulation.traffic import Keys, Poisson
    >>> calm = arrivals([Poisson(50, keys=Keys(10))], Streams(7), duration=60)
    >>> bool((calm.t[1:] >= calm.t[:-1]).all()), calm.keys, calm.groups
    (True, 10, ('users',))
    """
    if not 0 < duration <= 1e9:
        raise InputError(f"a simulation lasts more than 0 and at most a billion seconds, not {duration!r}")
    if len(sources) >= 2**15:
        raise InputError(f"a scenario has at most {2**15 - 1:,} sources of traffic, not {len(sources):,}")
    until_ns = round(duration * 1e9)
    parts: list[tuple[Ints, Ints]] = []
    sizes: dict[str, int] = {}  # keys of each group
    seen: dict[str, int] = {}
    for source in sources:
        stem = f"traffic/{source.group}/{source.kind()}"
        seen[stem] = seen.get(stem, 0) + 1
        start_ns = round(source.start * 1e9)
        end_ns = until_ns if source.end is None else min(until_ns, round(source.end * 1e9))
        times, keys = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        if end_ns > start_ns:
            times, keys = source.requests(Draw(streams, f"{stem}/{seen[stem]}", start_ns, end_ns - start_ns))
            inside = times < end_ns - start_ns  # a float may be rounded up to the end itself
            times, keys = times[inside] + start_ns, keys[inside]
        parts.append((times, keys))
        used = max(int(keys.max(initial=-1)) + 1, source.key_count)
        sizes[source.keys_of] = max(sizes.get(source.keys_of, 0), used)
    first = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    total = sum(sizes.values())
    if total > _LARGEST:
        raise InputError(
            f"the traffic has {total:,} keys, more than the {_LARGEST:,} that can be told apart: use fewer"
        )
    t = np.concatenate([np.empty(0, dtype=np.int64), *(times for times, _ in parts)])
    order = np.argsort(t, kind="stable")
    counts = [len(times) for times, _ in parts]
    source_of = np.repeat(np.arange(len(sources), dtype=np.int16), counts)
    key = np.concatenate(
        [np.empty(0, dtype=np.int64), *(keys + first[s.keys_of] for s, (_, keys) in zip(sources, parts, strict=True))]
    )
    cost = np.repeat(np.array([source.cost for source in sources], dtype=np.int32), counts)
    return Arrivals(
        t=t[order],
        key=key[order].astype(np.int32),
        source=source_of[order],
        cost=cost[order],
        groups=tuple(source.group for source in sources),
        keys=total,
    )
