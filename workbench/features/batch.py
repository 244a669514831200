"""Many events at once: DuckDB reads, joins labels and turns words into codes; an engine computes.

Works on any relation with the columns of the event schema and ``seq``: its rows may lie in any order, and events may
be late.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

import duckdb
import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, nearest
from workbench.features.definitions import FEATURES, IP_USERS
from workbench.features.reference import extra_query, feature_query, said_relation
from workbench.features.spec import FeatureSpec

__all__ = ["ENGINES", "Encoded", "Engine", "Rows", "compute", "encode"]

Engine = Literal["kernel", "sql"]
ENGINES: Final = ("kernel", "sql")

_MOST_THREADS: Final = 8
_WORTH_THREADS: Final = 50_000  # events; below that, starting threads takes longer than it saves
_KEYS: Final = ("user", "source", "ip", "action", "resource")
_PLACE: Final = {feature.name: place for place, feature in enumerate(FEATURES)}

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """What ``compute`` found, in order of ``seq``.

    ``X``: shape (n, columns of the spec), float64, finite. ``y``: shape (n,), 1, 0 or -1. ``seq``, ``time`` and
    ``known``: shape (n,), int64. ``users`` and ``event_id``: shape (n,).
    """

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.int8]
    seq: Ints
    time: Ints
    known: Ints
    users: npt.NDArray[np.object_]
    event_id: npt.NDArray[np.object_]


@dataclass(frozen=True)
class Encoded:
    """Events in order of ``seq`` with codes for words. All arrays: shape (n,).

    ``keys``: codes by key; ``sizes``: how many there are of each. ``words``: the users, by code. ``known`` and
    ``accused`` are ``NEVER`` (the largest int64) where nobody said anything.
    """

    seq: Ints
    event_id: npt.NDArray[np.object_]
    timestamp: Ints
    offset_min: Codes
    denied: npt.NDArray[np.bool_]
    keys: dict[str, Codes]
    sizes: dict[str, int]
    words: npt.NDArray[np.object_]
    y: npt.NDArray[np.int8]
    known: Ints
    accused: Ints


def compute(
    connection: duckdb.DuckDBPyConnection,
    events: str,
    labels: str | None,
    spec: FeatureSpec,
    *,
    engine: Engine = "kernel",
    labelled_only: bool = False,
) -> Rows:
    """Features of the events in the FROM item ``events``, with labels of the FROM item ``labels``.

    Every event counts towards the past of later ones; with ``labelled_only``, only rows for labelled ones come back.
    Raises ``InputError`` for an unknown engine, and for SQL in ``spec.extra`` that fails or
    gives NULL, NaN or infinity.
    """
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}{nearest(engine, ENGINES)}")
    encoded = encode(connection, events, labels)
    n = len(encoded.seq)
    chosen = np.flatnonzero(encoded.y >= 0) if labelled_only else np.arange(n)
    X = np.empty((len(chosen), len(spec.columns)))
    if engine == "kernel":
        time = _by_kernel(encoded, spec, chosen, X)
    else:
        time = _by_sql(connection, events, labels, spec, chosen, X)
    if spec.extra:
        _add_extra(connection, events, spec, chosen, X)
    return Rows(
        X=X,
        y=encoded.y[chosen],
        seq=encoded.seq[chosen],
        time=time[chosen],
        known=encoded.known[chosen],
        users=encoded.words[encoded.keys["user"][chosen]],
        event_id=encoded.event_id[chosen],
    )


def encode(connection: duckdb.DuckDBPyConnection, events: str, labels: str | None) -> Encoded:
    """Read the relation ``events`` and its ``labels`` into arrays, in order of ``seq``."""
    for key in _KEYS:
        connection.execute(f'CREATE OR REPLACE TEMP TYPE {key}_word AS ENUM (SELECT DISTINCT "{key}" FROM {events})')
    codes = ", ".join(f'CAST(enum_code(CAST("{key}" AS {key}_word)) AS INTEGER) AS "{key}"' for key in _KEYS)
    found = connection.execute(
        f"""SELECT CAST(seq AS BIGINT) AS seq, event_id, epoch_us("timestamp") AS t,
                   CAST(utc_offset_min AS INTEGER) AS offset_min, outcome = 'denied' AS denied, {codes} FROM {events}"""
    ).fetchnumpy()
    sizes = dict(
        zip(
            _KEYS,
            connection.execute(f"SELECT {', '.join(f'len(enum_range(NULL::{key}_word))' for key in _KEYS)}").fetchall()[
                0
            ],
            strict=True,
        )
    )
    words = connection.execute("SELECT unnest(enum_range(NULL::user_word))::VARCHAR AS word").fetchnumpy()["word"]
    seq = _plain(found["seq"], "seq")
    if len(seq) and not (seq[1:] > seq[:-1]).all():
        order = np.argsort(seq, kind="stable")
        found = {name: column[order] for name, column in found.items()}
        seq = seq[order]
    n = len(seq)
    y, known, accused = np.full(n, -1, np.int8), np.full(n, 2**63 - 1), np.full(n, 2**63 - 1)
    if labels is not None:
        said = connection.execute(
            f"""SELECT CAST(seq AS BIGINT) AS seq, y, known, coalesce(accused, {2**63 - 1}) AS accused
                FROM {events} JOIN {said_relation(labels)} USING (event_id)"""
        ).fetchnumpy()
        rows = np.searchsorted(seq, said["seq"])
        y[rows], known[rows], accused[rows] = said["y"], said["known"], said["accused"]
    return Encoded(
        seq=seq,
        event_id=np.asarray(found["event_id"], dtype=object),
        timestamp=_plain(found["t"], "timestamp"),
        offset_min=_plain(found["offset_min"], "utc_offset_min"),
        denied=_plain(found["denied"], "outcome"),
        keys={key: _plain(found[key], key) for key in _KEYS},
        sizes=sizes,
        words=np.asarray(words, dtype=object),
        y=y,
        known=known,
        accused=accused,
    )


def _plain(column: Any, name: str) -> Any:
    """``column`` as it is; DuckDB hands over a masked array where there is a NULL, and no column here may hold one."""
    if isinstance(column, np.ma.MaskedArray):
        if column.mask.any():
            raise InputError(f"{int(column.mask.sum()):,} events have no {name}: every event needs one")
        return column.data
    return column


def _by_kernel(encoded: Encoded, spec: FeatureSpec, chosen: Ints, X: npt.NDArray[np.float64]) -> Ints:
    from workbench.features import kernel  # brings numba

    n = len(encoded.seq)
    wanted = np.full(n, -1)
    wanted[chosen] = np.arange(len(chosen))
    shipped = [name for name in spec.names if name != IP_USERS.name]
    places = [column for column, name in enumerate(spec.names) if name != IP_USERS.name]
    keys, sizes = encoded.keys, encoded.sizes
    order, starts = kernel.grouped(keys["user"], sizes["user"])
    # The pass writes whole rows side by side; only where other columns stand among them it goes through a copy.
    direct = places == list(range(X.shape[1]))
    out = X if direct else np.empty((len(chosen), len(shipped)))
    time = np.empty(n, np.int64)
    several = np.array([sizes[key] for key in _KEYS[1:]])
    columns = np.array([_PLACE[name] for name in shipped], dtype=np.int64)

    def part(bounds: Ints) -> None:
        """The users between these places of ``starts``; no user is in two parts."""
        rows = order[bounds[0] : bounds[-1]]
        found = np.empty(len(rows), np.int64)
        source, ip, action, resource = (keys[key][rows] for key in _KEYS[1:])
        kernel.sweep(
            bounds - bounds[0],
            encoded.timestamp[rows],
            encoded.offset_min[rows],
            source,
            ip,
            action,
            resource,
            encoded.denied[rows],
            encoded.accused[rows],
            several,
            spec.day_starts,
            spec.day_ends,
            wanted[rows],
            columns,
            out,
            found,
        )
        time[rows] = found

    _each(part, starts)
    if not direct:
        X[:, places] = out
    if IP_USERS.name in spec.names:
        order, starts = kernel.grouped(keys["ip"], sizes["ip"])
        users = np.empty(len(chosen))
        kernel.ip_users(starts, encoded.timestamp[order], keys["user"][order], sizes["user"], wanted[order], users)
        X[:, spec.names.index(IP_USERS.name)] = users
    return time


def _each(part: Callable[[Ints], None], starts: Ints) -> None:
    """Call ``part`` for runs of users of about the same number of events, on all processors."""
    threads = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, _MOST_THREADS)
    n = int(starts[-1])
    if threads == 1 or n < _WORTH_THREADS:
        part(starts)
        return
    cuts = np.searchsorted(starts, np.linspace(0, n, threads + 1)[1:-1])
    bounds = np.unique([0, *cuts, len(starts) - 1])
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, [starts[low : high + 1] for low, high in pairwise(bounds)]))


def _by_sql(
    connection: duckdb.DuckDBPyConnection,
    events: str,
    labels: str | None,
    spec: FeatureSpec,
    chosen: Ints,
    X: npt.NDArray[np.float64],
) -> Ints:
    found = connection.execute(f"{feature_query(events, labels, spec)} ORDER BY seq").fetchnumpy()
    for column, name in enumerate(spec.names):
        X[:, column] = _plain(found[name], name)[chosen]
    time: Ints = _plain(found["t"], "timestamp")
    return time


def _add_extra(
    connection: duckdb.DuckDBPyConnection, events: str, spec: FeatureSpec, chosen: Ints, X: npt.NDArray[np.float64]
) -> None:
    try:
        found = connection.execute(extra_query(events, spec)).fetchnumpy()
    except duckdb.Error as error:
        names = ", ".join(name for name, _ in spec.extra)
        said = str(error).splitlines()[0]
        raise InputError(f"the SQL of the features of one's own ({names}) failed: {said}") from error
    for column, (name, _) in enumerate(spec.extra, start=len(spec.names)):
        column_found: Any = found[name]
        values = np.ma.filled(column_found, np.nan)[chosen]
        if bad := int((~np.isfinite(values)).sum()):
            raise InputError(
                f"the feature {name!r} of one's own is NULL or not finite for {bad:,} events: use coalesce"
            )
        X[:, column] = values
