"""Real logs as traffic: stamps and keys from a dataset or from arrays, and what their coarse stamps leave open.

Web logs have stamps of one second, and many requests share one. Where within its second each came is not recorded, so
it has to be assumed, and the assumption reported:

- ``none``: all at the stamp itself, as the log says;
- ``even``: the i-th of n (from 0) at (i + 1/2) / n of the second;
- ``uniform``: n independent uniform draws, in order: what a Poisson process within the second would give.

The order of requests is always that of the log: by stamp, and among equal stamps by line.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.clock import VirtualClock
from workbench.errors import InputError, IntegrityError, nearest
from workbench.resilience.limiter import RateLimiter
from workbench.resilience.quota import Quota
from workbench.resilience.stores.memory import MemoryStore
from workbench.simulation.values import Described

if TYPE_CHECKING:
    from workbench.events import Dataset

__all__ = ["Recording", "Spread", "decided", "sensitivity", "spread_stamps"]

Ints = npt.NDArray[np.int64]
Spread = Literal["none", "even", "uniform"]
Unit = Literal["s", "ms", "us", "ns"]

_UNIT_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_KEYS: Final = ("user", "source", "ip", "action", "resource")
_LATEST: Final = 2**62  # ns: sums of stamps and durations stay within 64 bits


@dataclass(frozen=True, eq=False)
class Recording(Described):
    """A log's requests in time order; arrays of shape (n,), read-only.

    ``t``: ns since the first stamp. ``key``: numbered from 0 in the order in which they first come; ``names[key]`` is
    what the log calls it. ``resolution_ns``: the coarsest of s, ms, us, ns that all stamps are whole multiples of.
    ``displaced``: requests that stood in the log behind a later stamp. ``dataset`` and ``by``: where it came from, if
    from a dataset. Make one with ``of`` or ``from_dataset``.

    >>> log = Recording.of([7, 7, 5, 9], ["a", "b", "a", "a"], unit="s")
    >>> log.times(spread="even").tolist()
    [500000000, 2250000000, 2750000000, 4500000000]
    >>> log.key.tolist(), log.names, log.displaced
    ([0, 0, 1, 0], ('a', 'b'), 1)
    """

    t: Ints
    key: Ints
    names: tuple[str, ...]
    resolution_ns: int
    displaced: int = 0
    dataset: str | None = None
    by: str | None = None
    sha256: str = field(init=False, default="")  # of the times and keys

    def __post_init__(self) -> None:
        digest = hashlib.sha256(b"recording 1\n" + self.t.astype("<i8").tobytes() + self.key.astype("<i8").tobytes())
        object.__setattr__(self, "sha256", digest.hexdigest())
        for array in (self.t, self.key):
            array.setflags(write=False)

    @classmethod
    def of(cls, stamps: npt.ArrayLike, keys: Sequence[Any] | npt.ArrayLike | None = None, *, unit: Unit = "ns") -> Self:
        """From arrays of shape (n,): whole numbers of ``unit`` since any moment, or datetimes; keys of any kind.

        Without ``keys`` all requests have the same. The order may be any: the sort is stable.
        Raises ``InputError`` for no requests, lengths that differ, or a stamp that is missing or not whole.
        """
        nanoseconds = _nanoseconds(stamps, unit)
        labels = np.zeros(len(nanoseconds), dtype=np.int64) if keys is None else np.asarray(keys, dtype=object)
        if labels.shape != nanoseconds.shape:
            raise InputError(f"{len(nanoseconds):,} stamps and {len(labels):,} keys: expected a key for each stamp")
        order = np.argsort(nanoseconds, kind="stable")
        ordered = nanoseconds[order]
        codes, found = pd.factorize(labels[order])
        if (codes < 0).any():
            raise InputError(f"{int((codes < 0).sum()):,} of {len(codes):,} requests have no key")
        return cls(
            t=ordered - ordered[0],
            key=codes.astype(np.int64),
            names=tuple(map(str, found)),
            resolution_ns=next(ns for ns in _UNIT_NS.values() if not (ordered % ns).any()),
            displaced=int((nanoseconds < np.maximum.accumulate(nanoseconds)).sum()),
        )

    @classmethod
    def from_dataset(cls, dataset: "Dataset", *, by: str = "user") -> Self:
        """The events of a dataset; ``by`` is the column whose values are the keys.

        Raises ``InputError`` for another column, or a dataset without events.
        """
        import duckdb

        if by not in _KEYS:
            raise InputError(f"events have no key column {by!r:.60}{nearest(by, _KEYS)}")
        with duckdb.connect() as connection:
            table = connection.execute(
                f"SELECT epoch_us(timestamp) AS stamp, {by} AS key FROM {dataset.sql} ORDER BY seq"
            ).df()
        made = cls.of(table["stamp"].to_numpy(), table["key"].to_numpy(), unit="us")
        object.__setattr__(made, "dataset", dataset.digest)
        object.__setattr__(made, "by", by)
        return made

    def __len__(self) -> int:
        return len(self.t)

    def __repr__(self) -> str:
        return f"Recording({len(self):,} requests, {len(self.names):,} keys, {self.t[-1] / 1e9:,.0f} s)"

    def times(self, *, spread: Spread, speed: float = 1.0, generator: np.random.Generator | None = None) -> Ints:
        """When each request comes, ns since the first stamp, shape (n,), sorted; ``speed`` times as fast as recorded.

        ``generator`` draws for ``uniform``. Raises ``InputError`` as ``spread_stamps`` does.
        """
        if not 0 < speed < float("inf"):
            raise InputError(f"the speed of a replay is a number above 0, not {speed!r}")
        times = spread_stamps(self.t, spread, resolution_ns=self.resolution_ns, generator=generator)
        return times if speed == 1 else np.floor(times / speed).astype(np.int64)

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind(), "dataset": self.dataset, "by": self.by, "sha256": self.sha256}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From ``{dataset: NAME, by: COLUMN}``, opened in the current workspace; ``sha256`` is checked if given.

        Raises ``NotFoundError`` for a dataset that is not there, ``IntegrityError`` if the requests are others.
        """
        from workbench.events import dataset

        known = ("by", "dataset", "kind", "sha256")
        for key in values:
            if key not in known:
                raise InputError(f"recording: unknown key {str(key)[:60]!r}{nearest(str(key), known)}")
        if not isinstance(values.get("dataset"), str):
            raise InputError("a recording in a file names its dataset, such as {dataset: demo, by: ip}")
        made = cls.from_dataset(dataset(values["dataset"]), by=str(values.get("by", "user")))
        if values.get("sha256") not in (None, made.sha256):
            raise IntegrityError(f"dataset {values['dataset']!r} holds other requests than were recorded from it")
        return made


def spread_stamps(t: Ints, method: Spread, *, resolution_ns: int, generator: np.random.Generator | None = None) -> Ints:
    """Sorted stamps ``t``, ns, shape (n,), whole multiples of ``resolution_ns``, spread by one of the stated methods.

    The result is sorted, and each request stays within its own [stamp, stamp + resolution).
    Raises ``InputError`` for another method, or for ``uniform`` without a generator.

    >>> spread_stamps(np.array([0, 0, 10]), "even", resolution_ns=10).tolist()
    [2, 7, 15]
    """
    if method == "none":
        return t
    if method == "even":
        _, first, counts = np.unique(t, return_index=True, return_counts=True)
        nth = np.arange(len(t), dtype=np.int64) - np.repeat(first, counts)
        return np.asarray(t + (2 * nth + 1) * resolution_ns // (2 * np.repeat(counts, counts)))
    if method != "uniform":
        raise InputError(f"no method of spreading is called {method!r}{nearest(method, ('none', 'even', 'uniform'))}")
    if generator is None:
        raise InputError("to spread stamps by 'uniform' a generator is needed; give one, or use 'even'")
    return np.sort(t + generator.integers(0, resolution_ns, len(t)))


def decided(quota: Quota, t: Ints, key: Ints) -> npt.NDArray[np.bool_]:
    """What the production limiter says to requests at the sorted times ``t``, ns, by ``key``: both, and the answer,
    of shape (n,).

    >>> decided(Quota(limit=1, per=1), np.array([0, 5, 10**9]), np.array([0, 0, 0])).tolist()
    [True, False, True]
    """
    clock = VirtualClock()
    store = MemoryStore(clock=clock, max_keys=int(key.max()) + 2)
    limiter = RateLimiter(quota, store=store)
    waits, names = np.diff(t, prepend=0).tolist(), list(map(str, key.tolist()))
    allowed = []
    for wait, name in zip(waits, names, strict=True):
        clock.advance_ns(wait)
        allowed.append(limiter.hit(name).allowed)
    return np.array(allowed, dtype=np.bool_)


def sensitivity(
    recording: Recording,
    quotas: Sequence[Quota],
    *,
    seeds: int = 20,
    first_seed: int = 0,
    speed: float = 1.0,
) -> pd.DataFrame:
    """How much the answers of limiters hang on where within its second each request is taken to have come.

    The production limiter decides the whole recording, by key, under each method; ``uniform`` once a seed. A row a
    quota and method: ``quota``, ``algorithm``, ``spread``, ``seeds``, ``requests``, ``refused`` (mean over seeds),
    ``refused_low`` and ``refused_high`` (least and most over seeds), and ``changed``: the share of requests decided
    otherwise than at the stamps themselves (mean over seeds).
    """
    from workbench.simulation.streams import Streams

    rows = []
    for quota in quotas:
        plain = decided(quota, recording.times(spread="none", speed=speed), recording.key)
        for method in get_args(Spread):
            drawn = range(first_seed, first_seed + seeds) if method == "uniform" else (first_seed,)
            runs = []
            for seed in drawn:
                generator = Streams(seed).generator("replay/spread")
                runs.append(
                    decided(quota, recording.times(spread=method, speed=speed, generator=generator), recording.key)
                )
            refused = [int((~allowed).sum()) for allowed in runs]
            rows.append(
                {
                    "quota": quota.name,
                    "algorithm": quota.algorithm,
                    "spread": method,
                    "seeds": len(runs),
                    "requests": len(recording),
                    "refused": float(np.mean(refused)),
                    "refused_low": min(refused),
                    "refused_high": max(refused),
                    "changed": float(np.mean([(allowed != plain).mean() for allowed in runs])),
                }
            )
    return pd.DataFrame(rows)


def _nanoseconds(stamps: npt.ArrayLike, unit: Unit) -> Ints:
    if unit not in _UNIT_NS:
        raise InputError(f"no unit of time is called {unit!r:.60}; known: {', '.join(_UNIT_NS)}")
    given = np.asarray(stamps)
    if given.ndim != 1 or not len(given):
        raise InputError(f"a recording needs at least one stamp in an array of one dimension, not shape {given.shape}")
    if given.dtype.kind == "M":
        if np.isnat(given).any():
            raise InputError(f"{int(np.isnat(given).sum()):,} of {len(given):,} requests have no stamp")
        return given.astype("datetime64[ns]").astype(np.int64)
    if given.dtype.kind not in "iu":
        raise InputError(f"stamps are whole numbers or datetimes, not {given.dtype}; give them in a finer unit")
    if int(given.max()) > _LATEST // _UNIT_NS[unit] or int(given.min()) < -_LATEST // _UNIT_NS[unit]:
        raise InputError(f"a stamp is beyond the years 1824 to 2116 when read in {unit!r}: is the unit another?")
    return given.astype(np.int64) * _UNIT_NS[unit]
