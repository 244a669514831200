"""A real service's bad days, played again: recorded probes as an upstream whose answers hang on the time.

A probe tells of one moment. Between two probes the earlier one's answer is taken to hold, which is a choice: what
happened between them is not recorded, and outages shorter than the gap are seen or missed by chance.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InputError, IntegrityError, NotFoundError, nearest
from workbench.simulation.values import Bound, Described, Name

__all__ = ["Reply", "Upstream"]

_COLUMNS = ("timestamp", "endpoint", "status", "latency_ms")


class Reply(NamedTuple):
    """What the upstream answers: after how long, and whether well."""

    latency_ns: int
    ok: bool


@dataclass(frozen=True, eq=False)
class _Source(Described):
    """What a file says of an upstream."""

    path: Annotated[str, "a path of 1 to 100 printable characters"]
    endpoint: Name
    loop: bool = True
    speed: Annotated[float, Bound(above=0, most=1e6)] = 1.0
    sha256: Name | None = None

    @classmethod
    def kind(cls) -> str:
        return "upstream"


@dataclass(frozen=True, eq=False)
class Upstream(Described):
    """An endpoint's probes in time order; arrays of shape (n,), read-only. Time 0 is the first probe.

    ``t``: ns. ``latency_ns``: how long the answer took. ``ok``: whether it was up. ``loop``: after the last probe it
    begins anew, the last one holding for the median gap; otherwise the last one holds for ever. ``speed``: how many
    recorded seconds pass in one of the simulation; latencies are not changed. Make one with ``of`` or ``from_csv``.

    >>> site = Upstream.of([0, 10, 20], [5, 6, 900], [True, True, False], unit_ns=1_000_000_000)
    >>> site.at(12_000_000_000), site.at(31_000_000_000)
    (Reply(latency_ns=6, ok=True), Reply(latency_ns=5, ok=True))
    """

    t: npt.NDArray[np.int64]
    latency_ns: npt.NDArray[np.int64]
    ok: npt.NDArray[np.bool_]
    loop: bool = True
    speed: float = 1.0
    path: str | None = None
    endpoint: str | None = None
    sha256: str = field(init=False, default="")  # of the probes
    period_ns: int = field(init=False, default=0)  # of the simulation, after which it begins anew
    _moments: list[int] = field(init=False, repr=False)
    _replies: list[Reply] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 1e6:
            raise InputError(f"the speed of an upstream is above 0 and at most a million, not {self.speed!r}")
        digest = hashlib.sha256(b"upstream 1\n")
        for array in (self.t.astype("<i8"), self.latency_ns.astype("<i8"), self.ok.astype("u1")):
            digest.update(array.tobytes())
        recorded = int(self.t[-1]) + (int(np.median(np.diff(self.t))) if len(self.t) > 1 else 1)
        values = {
            "sha256": digest.hexdigest(),
            "period_ns": max(int(recorded / self.speed), 1),
            "_moments": np.floor(self.t / self.speed).astype(np.int64).tolist(),
            "_replies": [Reply(*pair) for pair in zip(self.latency_ns.tolist(), self.ok.tolist(), strict=True)],
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        for array in (self.t, self.latency_ns, self.ok):
            array.setflags(write=False)

    @classmethod
    def of(
        cls,
        t: npt.ArrayLike,
        latency_ns: npt.ArrayLike,
        ok: npt.ArrayLike,
        *,
        unit_ns: int = 1,
        loop: bool = True,
        speed: float = 1.0,
    ) -> Self:
        """From arrays of shape (n,): whole times in units of ``unit_ns``, latencies in ns, and whether it was up.

        The order may be any. Raises ``InputError`` for no probes, lengths that differ or a negative latency.
        """
        times, latency = np.asarray(t, dtype=np.int64) * unit_ns, np.asarray(latency_ns, dtype=np.int64)
        up = np.asarray(ok, dtype=np.bool_)
        if times.ndim != 1 or not len(times) or not times.shape == latency.shape == up.shape:
            raise InputError(
                f"an upstream needs at least one probe, and as many latencies and outcomes as times; "
                f"found {times.size:,}, {latency.size:,} and {up.size:,}"
            )
        if (latency < 0).any():
            raise InputError(f"{int((latency < 0).sum()):,} of {len(latency):,} probes have a latency below 0")
        order = np.argsort(times, kind="stable")
        return cls(times[order] - times[order[0]], latency[order], up[order], loop=loop, speed=speed)

    @classmethod
    def from_csv(cls, path: Path | str, *, endpoint: str, loop: bool = True, speed: float = 1.0) -> Self:
        """The probes of one ``endpoint`` in a CSV file with timestamp (ISO 8601), endpoint, status and latency_ms.

        Only the status ``up`` is well. Raises ``NotFoundError`` for a file or endpoint that is not there,
        ``InputError`` for a file that is not of this form.
        """
        shown = Path(path).name
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except FileNotFoundError:
            raise NotFoundError(f"there is no file of probes {str(path)!r}") from None
        except (OSError, ValueError) as cause:  # pandas' parser errors and undecodable text are ValueErrors
            raise InputError(f"the probes {shown!r} cannot be read as CSV: {str(cause)[:100]}") from cause
        if missing := [name for name in _COLUMNS if name not in table.columns]:
            raise InputError(f"the probes {shown!r} have no column {missing[0]!r}; expected {', '.join(_COLUMNS)}")
        rows = table[table["endpoint"] == endpoint]
        if rows.empty:
            raise NotFoundError(
                f"the probes {shown!r} have no endpoint {endpoint!r:.60}{nearest(endpoint, set(table['endpoint']))}"
            )
        stamps = pd.to_datetime(rows["timestamp"], format="ISO8601", utc=True, errors="coerce")
        latency = pd.to_numeric(rows["latency_ms"], errors="coerce")
        bad = stamps.isna() | ~(latency >= 0) | (latency > 1e9)
        if bad.any():
            place = rows.index[bad][0]
            raise InputError(
                f"row {place + 1:,} of the probes {shown!r} has the timestamp {rows['timestamp'][place]!r:.40} and the "
                f"latency {rows['latency_ms'][place]!r:.40}; expected ISO 8601 and milliseconds"
            )
        times = stamps.to_numpy(dtype="datetime64[ns]").astype(np.int64)
        latency_ns = np.rint(latency.to_numpy(dtype=np.float64) * 1e6).astype(np.int64)
        made = cls.of(times, latency_ns, (rows["status"] == "up").to_numpy(), loop=loop, speed=speed)
        object.__setattr__(made, "path", str(path))
        object.__setattr__(made, "endpoint", endpoint)
        return made

    def __len__(self) -> int:
        return len(self.t)

    def __repr__(self) -> str:
        name = f"{self.endpoint}, " if self.endpoint else ""
        return f"Upstream({name}{len(self):,} probes, {int((~self.ok).sum()):,} down)"

    def at(self, t_ns: int) -> Reply:
        """What it answers to a call at ``t_ns`` of the simulation."""
        moment = t_ns % self.period_ns if self.loop else t_ns
        return self._replies[max(bisect_right(self._moments, moment) - 1, 0)]

    def replies(self, t: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """``at`` for many times: latencies in ns and outcomes, each of the shape of ``t``."""
        moments = t % self.period_ns if self.loop else t
        probe = np.maximum(np.searchsorted(self._moments, moments, side="right") - 1, 0)
        return self.latency_ns[probe], self.ok[probe]

    def as_dict(self) -> dict[str, Any]:
        """What ``from_dict`` takes. Give the path relative to the workspace: it is part of a scenario's digest."""
        names = ("path", "endpoint", "loop", "speed", "sha256")
        return {"kind": self.kind(), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From ``{path: FILE, endpoint: NAME}`` and, if wanted, ``loop``, ``speed`` and ``sha256``, which is checked.

        Raises as ``from_csv`` does, and ``IntegrityError`` if the probes are others.
        """
        said = _Source.from_dict(values)
        made = cls.from_csv(said.path, endpoint=said.endpoint, loop=said.loop, speed=said.speed)
        if said.sha256 not in (None, made.sha256):
            raise IntegrityError(f"the probes {Path(said.path).name!r} of {said.endpoint!r} are not those recorded")
        return made
