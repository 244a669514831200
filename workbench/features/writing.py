"""Features of a dataset as one Parquet file, with bounded memory: bucket by bucket of users.

Every feature of a user depends on that user's events alone, so users can be dealt into buckets by the MD5 of their name
(stable across versions and languages) and done one bucket after the other; ``ip_users_24h`` takes buckets of addresses.
The result is the same for any number of buckets. A single user, or address, cannot be divided.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import duckdb
import pandas as pd

from workbench.errors import InputError
from workbench.events import Dataset, LabelSet
from workbench.events.formats.reading import path_text, quoted, text
from workbench.events.snapshot import connect
from workbench.features.batch import Rows, compute
from workbench.features.definitions import IP_USERS, SPEC_VERSION
from workbench.features.reference import extra_query
from workbench.features.spec import FeatureSpec
from workbench.files import staging, storage_errors

__all__ = ["write_features"]

_PER_BUCKET: Final = 1_000_000  # events
_BYTES_PER_EVENT: Final = 1_000  # of a bucket in work, all arrays together, with room
_FEWEST: Final = 10_000  # events in a bucket, however little memory
_MOST_BUCKETS: Final = 256
_UNITS: Final = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def write_features(
    dataset: Dataset,
    labels: LabelSet | None,
    path: Path,
    *,
    spec: FeatureSpec | None = None,
    buckets: int | None = None,
    memory_limit: str | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> int:
    """Write features of every event of ``dataset`` to the Parquet file ``path``; returns how many rows.

    Columns: ``event_id``, ``user``, ``t`` (effective time, µs UTC), ``y`` (1, 0, or -1 where nobody said anything),
    ``known`` (µs UTC, the largest int64 where there is none), then those of the spec, DOUBLE; rows in event order. The
    file's metadata name the spec. ``memory_limit`` (such as ``1GB``) bounds what DuckDB holds and the size of buckets.

    Raises ``InputError`` for buckets or a limit that make no sense, ``StorageError``.
    """
    spec = spec or FeatureSpec()
    buckets = _buckets(dataset.rows, buckets, memory_limit)
    with staging(path.parent) as folder, connect(folder, memory_limit=memory_limit) as connection:
        built = folder / "features.parquet"
        said = labels.sql if labels else None
        try:
            if buckets == 1:
                progress(f"features of {dataset.rows:,} events")
                _put(connection, compute(connection, dataset.sql, said, spec), spec, built, seq=False)
            else:
                _in_buckets(connection, folder, dataset.sql, said, spec, buckets, built, progress)
        except duckdb.OutOfMemoryException as error:
            limit = memory_limit or "of this machine"
            raise InputError(
                f"the memory limit {limit} is too small for {dataset.rows:,} events: give more, or more buckets"
            ) from error
        with storage_errors(path):
            built.rename(path)
    return dataset.rows


def _buckets(rows: int, given: int | None, memory_limit: str | None) -> int:
    if given is not None:
        if not 1 <= given <= _MOST_BUCKETS:
            raise InputError(f"--buckets {given}: expected 1 to {_MOST_BUCKETS}")
        return given
    most = _PER_BUCKET
    if memory_limit is not None:
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([KMGT]?I?B)", memory_limit.strip().upper())
        if found is None:
            raise InputError(f"memory limit {memory_limit!r}: expected a size such as 512MB")
        most = min(most, max(_FEWEST, int(float(found[1]) * _UNITS.get(found[2], 2**40)) // _BYTES_PER_EVENT))
    return min(_MOST_BUCKETS, max(1, math.ceil(rows / most)))


def _in_buckets(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    events: str,
    labels: str | None,
    spec: FeatureSpec,
    buckets: int,
    built: Path,
    progress: Callable[[str], None],
) -> None:
    own = replace(spec, names=tuple(name for name in spec.names if name != IP_USERS.name), extra=())
    columns = 'seq, event_id, "timestamp", utc_offset_min, "user", source, ip, action, resource, outcome'
    progress(f"dealing {buckets} buckets of users")
    connection.execute("SET preserve_insertion_order = false")  # buckets are put in order when they are read
    _deal(connection, f"SELECT {columns} FROM {events}", "user", buckets, folder / "events")
    if labels is not None:
        said = f'SELECT l.*, e."user" FROM {labels} l JOIN (SELECT event_id, "user" FROM {events}) e USING (event_id)'
        _deal(connection, said, "user", buckets, folder / "labels")
    parts = folder / "parts"
    parts.mkdir()
    for number, dealt in _dealt(folder / "events"):
        progress(f"features, bucket {number + 1} of {buckets}")
        its_labels = next((item for place, item in _dealt(folder / "labels") if place == number), None)
        _put(connection, compute(connection, dealt, its_labels, own), own, parts / f"{number}.parquet", seq=True)
    joined = f"{_all_in(parts)} AS parts"
    if IP_USERS.name in spec.names:
        joined += f" JOIN {_addresses(connection, folder, events, buckets, progress)} AS addresses USING (seq)"
    if spec.extra:
        extra = folder / "extra.parquet"
        connection.execute(f"COPY ({extra_query(events, spec)}) TO {text(str(extra))} (FORMAT parquet)")
        _check_extra(connection, extra, spec)
        joined += f" JOIN read_parquet({path_text(extra)}) AS extra USING (seq)"
    progress("putting the buckets together")
    connection.execute("SET preserve_insertion_order = true")
    listed = ", ".join(quoted(name) for name in ("event_id", "user", "t", "y", "known", *spec.columns))
    _copy(connection, f"SELECT {listed} FROM {joined} ORDER BY seq", spec, built)


def _addresses(
    connection: duckdb.DuckDBPyConnection, folder: Path, events: str, buckets: int, progress: Callable[[str], None]
) -> str:
    """The relation of ``seq`` and ``ip_users_24h``, done in buckets of addresses."""
    progress(f"dealing {buckets} buckets of addresses")
    columns = """seq, '' AS event_id, "timestamp", utc_offset_min, "user", '' AS source, ip, '' AS action,
        '' AS resource, outcome"""
    _deal(connection, f"SELECT {columns} FROM {events}", "ip", buckets, folder / "addresses")
    spec = FeatureSpec(names=(IP_USERS.name,))
    parts = folder / "address_parts"
    parts.mkdir()
    for number, dealt in _dealt(folder / "addresses"):
        rows = compute(connection, dealt, None, spec)
        found = pd.DataFrame({"seq": rows.seq, IP_USERS.name: rows.X[:, 0]})
        connection.register("found", found)
        connection.execute(f"COPY found TO {text(str(parts / f'{number}.parquet'))} (FORMAT parquet)")
        connection.unregister("found")
    return _all_in(parts)


def _deal(connection: duckdb.DuckDBPyConnection, query: str, key: str, buckets: int, folder: Path) -> None:
    """Write the rows of ``query`` to one folder a bucket of ``key``; the same rule as ``state.owner``."""
    bucket = f"CAST(CAST('0x' || left(md5({quoted(key)}), 8) AS UBIGINT) % {buckets} AS INTEGER) AS bucket"
    connection.execute(
        f"COPY (SELECT *, {bucket} FROM ({query})) TO {text(str(folder))} (FORMAT parquet, PARTITION_BY (bucket))"
    )


def _dealt(folder: Path) -> Iterator[tuple[int, str]]:
    """The buckets in ``folder`` that hold anything: number and relation."""
    for place in sorted(folder.glob("bucket=*"), key=lambda place: int(place.name[7:])):
        yield int(place.name[7:]), f"(SELECT * FROM {_all_in(place)})"


def _all_in(folder: Path) -> str:
    """The relation of all Parquet files in ``folder``."""
    return f"read_parquet({path_text(folder)[:-1]}/*.parquet', hive_partitioning=false)"


def _put(connection: duckdb.DuckDBPyConnection, rows: Rows, spec: FeatureSpec, path: Path, *, seq: bool) -> None:
    found = {"event_id": rows.event_id, "user": rows.users, "t": rows.time, "y": rows.y, "known": rows.known}
    frame = pd.DataFrame({"seq": rows.seq} | found)
    features = pd.DataFrame(rows.X, columns=list(spec.columns), copy=False)
    connection.register("found", frame)
    connection.register("features", features)
    columns = f"SELECT * {'' if seq else 'EXCLUDE (seq)'} FROM found POSITIONAL JOIN features"
    _copy(connection, columns, spec, path)
    connection.unregister("found")
    connection.unregister("features")


def _copy(connection: duckdb.DuckDBPyConnection, query: str, spec: FeatureSpec, path: Path) -> None:
    said = f"{{spec_version: '{SPEC_VERSION}', spec_sha256: '{spec.sha256}'}}"
    try:
        connection.execute(
            f"COPY ({query}) TO {text(str(path))} "
            f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, KV_METADATA {said})"
        )
    except duckdb.IOException as error:
        if "No space left" in str(error):
            raise OSError(28, "No space left on device") from error
        raise


def _check_extra(connection: duckdb.DuckDBPyConnection, extra: Path, spec: FeatureSpec) -> None:
    for name, _ in spec.extra:
        bad = connection.execute(
            f"SELECT count(*) FROM read_parquet({path_text(extra)}) WHERE NOT coalesce(isfinite({quoted(name)}), false)"
        ).fetchall()[0][0]
        if bad:
            raise InputError(
                f"the feature {name!r} of one's own is NULL or not finite for {bad:,} events: use coalesce"
            )
