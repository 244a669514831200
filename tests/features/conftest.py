"""Histories as plain rows, in a DuckDB relation, and through every engine; and the datasets that leakage is tested on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from workbench.events import IngestOptions, Population, generate, ingest, load_mapping
from workbench.features import FEATURES, IP_USERS, FeatureSpec, FeatureState
from workbench.features.batch import Rows, compute
from workbench.features.replaying import replayed
from workbench.workspace import MARKER, Workspace

HOUR, DAY = 3_600_000_000, 86_400_000_000
WEEK, MONTH = 7 * DAY, 30 * DAY
ALL = FeatureSpec(names=(*(feature.name for feature in FEATURES), IP_USERS.name))


@dataclass(frozen=True)
class Source:
    """Events and labels as FROM items."""

    events: str
    labels: str


class Bench:
    """One DuckDB with two tables, ``happened`` and ``said``, filled anew for each history."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.source = Source("happened", "said")

    def load(self, events: list[dict[str, Any]], labels: list[dict[str, Any]]) -> None:
        """Events: seq, event_id, t (µs), offset, user, source, ip, action, resource, outcome. Labels: event_id, label, at."""
        happened = pd.DataFrame(
            events, columns=["seq", "event_id", "t", "offset", "user", "source", "ip", "action", "resource", "outcome"]
        )
        said = pd.DataFrame(labels, columns=["event_id", "label", "at"])
        self.connection.register("h", happened.astype({"t": "int64", "seq": "int64", "offset": "int64"}))
        self.connection.register("s", said.astype({"at": "int64", "event_id": "str", "label": "str"}))
        self.connection.execute(
            """CREATE OR REPLACE TEMP TABLE happened AS SELECT seq, event_id, make_timestamp(t) AS "timestamp",
               "offset"::SMALLINT AS utc_offset_min, "user", source, ip, action, resource, outcome, '{}' AS attributes FROM h"""
        )
        self.connection.execute(
            'CREATE OR REPLACE TEMP TABLE said AS SELECT event_id, label, make_timestamp("at") AS labelled_at FROM s'
        )

    def batch(self, engine: str, spec: FeatureSpec = ALL) -> Rows:
        return compute(self.connection, "happened", "said", spec, engine=engine)  # type: ignore[arg-type]

    def online(self, spec: FeatureSpec = ALL) -> list[list[float]]:
        return online(self.connection, self.source, spec)


def online(connection: duckdb.DuckDBPyConnection, source: Source, spec: FeatureSpec = ALL) -> list[list[float]]:
    """The events one by one through the online state."""
    state, found = FeatureState(spec), []
    for event, accused in replayed(connection, source.events, source.labels):
        found.append(state.update(event))
        if accused is not None:
            state.learn(event.user, event.event_id, accused)
    return found


def oracle(events: list[dict[str, Any]], labels: list[dict[str, Any]]) -> list[list[float]]:
    """Every feature by walking over all rows for each: the definitions in words, O(n²), events in order of seq."""
    first_said: dict[str, int] = {}
    for label in labels:
        if label["label"] == "violation":
            first_said[label["event_id"]] = min(label["at"], first_said.get(label["event_id"], label["at"]))
    rows = []
    for place, event in enumerate(events):
        before = [other["t"] for other in events[: place + 1] if other["user"] == event["user"]]
        there = [other["t"] for other in events[: place + 1] if other["ip"] == event["ip"]]
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event["t"], minutes=event["offset"])
        known = first_said.get(event["event_id"])
        known = None if known is None else max(known, *before)
        rows.append(event | {"eff": max(before), "ip_t": max(there), "local": local, "known": known})
    return [_values(rows, row) for row in rows]


def _values(rows: list[dict[str, Any]], row: dict[str, Any]) -> list[float]:
    t, local = row["eff"], row["local"]
    mine = [r for r in rows if r["user"] == row["user"]]
    prior = [r for r in mine if r["eff"] < t]

    def within(window: int) -> list[dict[str, Any]]:
        return [r for r in prior if t - window <= r["eff"]]

    known = [r["known"] for r in mine if r["known"] is not None and r["known"] < t]
    lately = sum(t - MONTH <= moment for moment in known)
    month = len(within(MONTH))
    values = [
        local.hour,
        local.weekday(),
        local.weekday() >= 5,
        local.hour < 6 or local.hour >= 20,
        not prior,
        min(t - max((r["eff"] for r in prior), default=t - MONTH), MONTH) / 1e6,
        len(within(HOUR)),
        len(within(DAY)),
        len(within(WEEK)),
        (24 * len(within(HOUR)) + 24) / (len(within(DAY)) + 24),
        lately,
        (lately + 0.5) / (month + 50),
        min(t - max(known, default=t - MONTH), MONTH) / 1e6,
        sum(r["outcome"] == "denied" for r in within(DAY)),
        *(all(r[key] != row[key] for r in prior) for key in ("source", "ip", "resource", "action")),
        len({r["ip"] for r in within(DAY)}),
        len({r["resource"] for r in within(DAY)}),
        len({r["source"] for r in within(WEEK)}),
        (sum(r["local"].hour == local.hour for r in within(MONTH)) + 1) / (month + 24),
        (t - min((r["eff"] for r in prior), default=t)) / DAY,
        len({r["user"] for r in rows if r["ip"] == row["ip"] and row["ip_t"] - DAY <= r["ip_t"] < row["ip_t"]}),
    ]
    return [float(value) for value in values]


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Cell by cell with ``==``; neither may be masked, and a NaN is equal to nothing."""
    assert not isinstance(found, np.ma.MaskedArray)
    assert not isinstance(expected, np.ma.MaskedArray)
    return found.shape == expected.shape and bool((found == expected).all())


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for all datasets of these tests."""
    root = tmp_path_factory.mktemp("features") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    return Workspace(root)


@pytest.fixture(scope="session")
def demo(home: Workspace) -> Source:
    made, _ = generate(home, Population(scale=30, days=60, seed=3), name="demo")
    return Source(made.sql, made.labels().sql)


@pytest.fixture(scope="session")
def wiki_edits(home: Workspace, shared_data: Path, project: Path) -> Source:
    mapping = load_mapping(project / "tests" / "data" / "wiki_edits.yaml")
    edits = str(shared_data / "wiki_edits" / "edits.csv")
    made = ingest(home, [edits], options=IngestOptions(mapping), name="wiki").dataset
    return Source(made.sql, made.labels().sql)


@pytest.fixture(scope="session")
def cloudtrail(home: Workspace, shared_data: Path) -> Source:
    """Labels from the attack tool's name in the user agent, known an hour later; no feature reads that attribute."""
    made = ingest(home, [str(shared_data / "cloudtrail" / "*.json")], format="cloudtrail", name="trail").dataset
    labels = f"""(SELECT event_id, "timestamp" + INTERVAL 10 MINUTE AS labelled_at,
        CASE WHEN contains(attributes, 'stratus-red-team') THEN 'violation' ELSE 'compliant' END AS label FROM {made.sql})"""
    return Source(made.sql, labels)


@pytest.fixture(params=["demo", "wiki_edits", "cloudtrail"])
def source(request: pytest.FixtureRequest) -> Source:
    return request.getfixturevalue(request.param)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture(scope="session", name="online")
def online_fixture() -> Any:
    return online


@pytest.fixture(scope="session", name="oracle")
def oracle_fixture() -> Any:
    return oracle


@pytest.fixture(scope="session", name="same")
def same_fixture() -> Any:
    return same
