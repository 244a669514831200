"""The features part: the 23 features of many events, and of one event after the other.

Events as in the design's measurements: 300 of each user over 180 days, one user with 3 % of all, whole seconds (so
that some tie), 2 % labelled violations days later. Where it says so, words are encoded before the clock starts, for
every side alike. Peers that are not installed are named and left out.
"""

import datetime
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import duckdb
import numpy as np

from benchmarks import feature_peers as peers
from benchmarks.timing import Case, seconds
from workbench.features import FeatureSpec, FeatureState
from workbench.features.batch import Encoded, _by_kernel, compute, encode
from workbench.features.event import Event
from workbench.features.reference import feature_query
from workbench.features.replaying import replayed

__all__ = ["cases"]

_SPEC: Final = FeatureSpec()
_ONLINE: Final = 100_000


def _made(rows: int) -> duckdb.DuckDBPyConnection:
    """Tables ``events`` and ``labels``, and ``codes``, the same events with numbers for words."""
    connection = duckdb.connect()
    connection.execute(
        f"""CREATE TABLE events AS SELECT row_number() OVER (ORDER BY moment, i) - 1 AS seq, 'event-' || i AS event_id,
            TIMESTAMP '2025-01-01' + to_seconds(moment) AS "timestamp", 60::SMALLINT AS utc_offset_min,
            'user-' || if(hash(i, 2) % 100 < 3, 0, hash(i, 3) % {max(1, rows // 300)}) AS "user",
            'laptop-' || (hash(i, 4) % 4) AS source, '10.0.0.' || (hash(i, 5) % 10) AS ip,
            'action-' || (hash(i, 6) % 7) AS action, 'share/' || (hash(i, 7) % 500) AS resource,
            if(hash(i, 8) % 20 = 0, 'denied', 'success') AS outcome
            FROM (SELECT i, CAST(hash(i, 1) % {180 * 86_400} AS BIGINT) AS moment FROM range({rows}) AS r(i))"""
    )
    connection.execute(
        """CREATE TABLE labels AS SELECT event_id, 'violation' AS label,
           "timestamp" + to_seconds(CAST(hash(event_id) % 864000 AS BIGINT)) AS labelled_at
           FROM events WHERE hash(event_id, 1) % 50 = 0"""
    )
    words = [f"dense_rank() OVER (ORDER BY {key}) AS {key}" for key in ('"user"', "source", "ip", "action", "resource")]
    connection.execute(
        f"""CREATE TABLE codes AS SELECT seq, event_id, "timestamp", utc_offset_min, {", ".join(words)}, outcome
            FROM events"""
    )
    return connection


def _ours(encoded: Encoded) -> np.ndarray:
    out = np.empty((len(encoded.seq), len(_SPEC.columns)))
    _by_kernel(encoded, _SPEC, np.arange(len(encoded.seq)), out)
    return out


def _in_sql(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE found AS {feature_query('codes', 'labels', _SPEC)}")


def _numbers(connection: duckdb.DuckDBPyConnection) -> tuple[Any, Any]:
    """Events and labels as pandas DataFrames of whole numbers."""
    keys = ", ".join(f"CAST({key} AS INTEGER) AS {key}" for key in ('"user"', "source", "ip", "action", "resource"))
    events = connection.execute(
        f"""SELECT seq, epoch_us("timestamp") AS t, utc_offset_min::BIGINT AS "offset", {keys},
            CAST(outcome = 'denied' AS INTEGER) AS denied FROM codes ORDER BY seq"""
    ).df()
    known = connection.execute(
        """SELECT CAST("user" AS INTEGER) AS "user", epoch_us(labelled_at) AS known
           FROM codes JOIN labels USING (event_id) ORDER BY known"""
    ).df()
    return events, known


def _batch(rows: int, against: tuple[str, ...], rounds: int, target: float | None) -> list[Case]:
    connection = _made(rows)
    encoded = encode(connection, "events", "labels")
    events, known = _numbers(connection)
    ours = _ours(encoded)
    found: list[Case] = []

    def case(peer: Callable[[], object], name: str) -> None:
        found.append(
            Case(
                "features, words encoded before",
                f"{rows:,} events",
                "s",
                lambda: seconds(lambda: _ours(encoded)),
                lambda: seconds(peer),
                name,
                target=target,
                records=rows,
                rounds=rounds,
            )
        )

    _in_sql(connection)
    columns = ", ".join(_SPEC.columns)
    values = connection.execute(f"SELECT {columns} FROM found ORDER BY seq").fetchnumpy()
    peers.check("DuckDB SQL", np.column_stack([values[name] for name in _SPEC.columns]), ours, _SPEC.columns)
    case(lambda: _in_sql(connection), "DuckDB SQL")
    if "Polars" in against and _installed("polars"):
        import polars

        frames = tuple(polars.DataFrame({name: frame[name].to_numpy() for name in frame}) for frame in (events, known))
        made = peers.polars_features(*frames)
        peers.check("Polars", made.select(_SPEC.columns).to_numpy().astype(float), ours, _SPEC.columns)
        case(lambda: peers.polars_features(*frames), "Polars")
    if "pandas" in against:
        peers.check("pandas", peers.pandas_features(events, known)[list(_SPEC.columns)].to_numpy(), ours, _SPEC.columns)
        case(lambda: peers.pandas_features(events, known), "pandas")
    return found


def _installed(name: str) -> bool:
    if find_spec(name) is None:
        print(f"left out: {name} is not installed", flush=True)
        return False
    return True


def _whole(rows: int) -> Case:
    """Reading, encoding and joining labels included: from tables of words to features."""
    connection = _made(rows)
    return Case(
        "features, from words on",
        f"{rows:,} events",
        "s",
        lambda: seconds(lambda: compute(connection, "events", "labels", _SPEC)),
        lambda: seconds(lambda: compute(connection, "events", "labels", _SPEC, engine="sql")),
        "DuckDB SQL",
        records=rows,
        rounds=3,
    )


def _online(rows: int) -> list[Case]:
    with _made(rows) as connection:
        stream = list(replayed(connection, "events", "labels"))
    if not _installed("river"):
        return []
    times = [
        datetime.datetime.fromtimestamp(event.t / 1e6, tz=datetime.UTC).replace(tzinfo=None) for event, _ in stream
    ]
    river = peers.river_window(times, [event.user for event, _ in stream])
    return [
        Case(
            "online: our 23 features, river one window",
            f"{rows:,} events",
            "s",
            lambda: seconds(lambda: _fed(stream)),
            lambda: seconds(river),
            "river",
            records=rows,
        ),
        Case(
            "online: median time of an event × 100,000",
            f"{rows:,} events",
            "s",
            lambda: median(_fed(stream)) * 100_000,
            lambda: seconds(river) / rows * 100_000,
            "river, one window, mean",
            target=0.8,  # 8 µs an event
        ),
    ]


def _fed(stream: list[tuple[Event, int | None]]) -> list[float]:
    """Seconds of every update."""
    state, spent = FeatureState(_SPEC), []
    for event, accused in stream:
        start = perf_counter()
        state.update(event)
        spent.append(perf_counter() - start)
        if accused is not None:
            state.learn(event.user, event.event_id, accused)
    return spent


def cases(folder: Path, scale: float) -> list[Case]:  # noqa: ARG001  # all of it is in memory
    """All cases at ``scale`` (1 is full size)."""
    million = int(1_000_000 * scale)
    small = _batch(million, ("Polars", "pandas"), rounds=3, target=million / 5_000_000)
    large = _batch(10 * million, ("Polars",), rounds=1, target=None) if scale == 1 else []
    return [*small, *large, _whole(million), *_online(int(_ONLINE * scale))]
