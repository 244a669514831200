"""Features look at the past only, and are what their definitions say: held against a plain, slow oracle."""

import bisect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.events import Dataset, IngestOptions, Population, generate, ingest, load_mapping
from workbench.features import FEATURES, build, spec_sha256
from workbench.workspace import Workspace

DAY, HOUR = 86_400_000_000, 3_600_000_000
MONTH = 30 * DAY

MAPPING = """
format: csv
columns: {event_id: event_id, timestamp: timestamp, user: user, source: source, ip: ip, action: action,
          resource: resource, outcome: outcome}
label: {column: label, meaning: {v: violation, c: compliant}}
"""


def snapshot(workspace: Workspace, frame: pd.DataFrame, name: str) -> Dataset:
    """A dataset of exactly these rows."""
    table, mapping = workspace.root / f"{name}.csv", workspace.root / "mapping.yaml"
    frame.to_csv(table, index=False)
    mapping.write_text(MAPPING)
    return ingest(workspace, [str(table)], options=IngestOptions(load_mapping(mapping)), name=name).dataset


@pytest.fixture
def events() -> pd.DataFrame:
    """400 events of five users in twelve days; times are floored to the hour, so that many tie and windows end exactly on events."""
    rng = np.random.default_rng(7)
    n = 400
    start = datetime(2025, 3, 1, tzinfo=UTC)
    hours = np.sort(rng.integers(0, 24 * 12, n))
    offsets = rng.choice(["+00:00", "+05:30", "-05:00"], n)
    stamps = []
    for hour, offset in zip(hours, offsets, strict=True):
        minutes = {"+00:00": 0, "+05:30": 330, "-05:00": -300}[offset]
        local = start + timedelta(hours=int(hour)) + timedelta(minutes=minutes)
        stamps.append(f"{local:%Y-%m-%dT%H:%M:%S}{offset}")
    return pd.DataFrame(
        {
            "event_id": [f"e{i:04d}" for i in range(n)],
            "timestamp": stamps,
            "user": rng.choice(list("abcde"), n, p=[0.5, 0.2, 0.15, 0.1, 0.05]),
            "source": rng.choice(["s1", "s2", "s3", ""], n),
            "ip": rng.choice(["10.0.0.1", "10.0.0.2", ""], n),
            "action": rng.choice(["read", "export", "login"], n, p=[0.6, 0.3, 0.1]),
            "resource": rng.choice([f"r{i}" for i in range(40)], n),
            "outcome": rng.choice(["success", "denied", "failure"], n, p=[0.7, 0.2, 0.1]),
            "label": rng.choice(["v", "c", ""], n, p=[0.1, 0.8, 0.1]),
        }
    )


def oracle(rows: list[dict[str, Any]], row: dict[str, Any]) -> dict[str, float]:
    """Every feature of ``row`` by walking over all ``rows``: the definitions in words, as plain Python."""
    prior = [r for r in rows if r["user"] == row["user"] and r["t"] < row["t"]]

    def within(window: int) -> list[dict[str, Any]]:
        return [r for r in prior if row["t"] - window <= r["t"]]

    local = datetime.fromtimestamp(row["t"] / 1e6, tz=UTC) + timedelta(minutes=row["offset"])
    since = min(row["t"] - max((r["t"] for r in prior), default=row["t"] - MONTH), MONTH)
    first = min(r["t"] for r in rows if r["user"] == row["user"])
    return {
        "hour": local.hour,
        "is_weekend": local.weekday() >= 5,
        "working_hours": local.weekday() < 5 and 6 <= local.hour < 20,
        "is_first": not prior,
        "seconds_since_last": since / 1e6,
        "events_last_1h": len(within(HOUR)),
        "events_last_24h": len(within(DAY)),
        "events_last_7d": len(within(7 * DAY)),
        "exports_last_24h": sum(r["action"] == "export" for r in within(DAY)),
        "denials_last_24h": sum(r["outcome"] == "denied" for r in within(DAY)),
        **{f"{key}_is_new": all(r[key] != row[key] for r in prior) for key in ("source", "ip", "resource", "action")},
        "tenure_days": (row["t"] - first) / DAY,
    }


def rows_of(dataset: Dataset) -> list[dict[str, Any]]:
    frame = dataset.frame()
    frame["t"] = frame["timestamp"].astype("datetime64[us]").astype("int64")
    frame = frame.rename(columns={"utc_offset_min": "offset"})
    return frame.to_dict("records")


def test_every_feature_is_what_its_definition_says(workspace: Workspace, events: pd.DataFrame) -> None:
    dataset = snapshot(workspace, events, "known")
    table = build(dataset)
    rows = rows_of(dataset)
    by_id = {row["event_id"]: row for row in rows}
    assert list(table.X.columns) == [feature.name for feature in FEATURES]
    assert len(table.X) == (events["label"] != "").sum()
    expected = pd.DataFrame([oracle(rows, by_id[event_id]) for event_id in table.event_id]).astype(float)
    pd.testing.assert_frame_equal(table.X, expected[list(table.X.columns)], check_exact=True)
    assert len({row["t"] for row in rows}) < 0.8 * len(rows), "too few ties to test anything"


def test_labels_are_the_ones_given(workspace: Workspace, events: pd.DataFrame) -> None:
    table = build(snapshot(workspace, events, "known"))
    said = events.set_index("event_id")["label"].to_dict()
    assert [said[event_id] == "v" for event_id in table.event_id] == table.y.astype(bool).tolist()
    who = events.set_index("event_id")["user"].to_dict()
    assert [who[event_id] for event_id in table.event_id] == table.users.tolist()


@pytest.mark.parametrize("garble", ["deleted", "poisoned"])
def test_the_future_changes_nothing(workspace: Workspace, events: pd.DataFrame, garble: str) -> None:
    """Prefix invariance and future poisoning: what comes after a moment has no influence on what came before it."""
    whole = snapshot(workspace, events, "whole")
    stamps = whole.frame()[["event_id", "timestamp"]]
    cut = stamps["timestamp"].iloc[len(stamps) // 2]
    early = set(stamps.loc[stamps["timestamp"] < cut, "event_id"])
    late = ~events["event_id"].isin(early)
    changed = events[~late].copy() if garble == "deleted" else events.copy()
    if garble == "poisoned":
        changed.loc[late, ["source", "ip", "action", "resource", "outcome"]] = ["x", "9.9.9.9", "export", "z", "denied"]
    tables = [build(snapshot(workspace, frame, name)) for frame, name in ((events, "whole"), (changed, "changed"))]
    before = [table.X[np.isin(table.event_id.astype(str), sorted(early))].reset_index(drop=True) for table in tables]
    assert len(before[0]) > 100
    pd.testing.assert_frame_equal(*before, check_exact=True)


def test_a_window_that_includes_its_own_event_would_be_caught(workspace: Workspace, events: pd.DataFrame) -> None:
    """Negative control: the inclusive bound must differ, or the tests above could not fail."""
    dataset = snapshot(workspace, events, "known")
    inclusive = build(
        dataset,
        extra={
            "leaky": f'count(*) OVER (PARTITION BY "user" ORDER BY t RANGE BETWEEN {HOUR} PRECEDING AND CURRENT ROW)'
        },
    )
    assert (inclusive.X["leaky"] > inclusive.X["events_last_1h"]).all()


def test_own_outcome_is_no_input(workspace: Workspace, events: pd.DataFrame) -> None:
    flipped = events.copy()
    newest = flipped["event_id"] == "e0399"
    flipped.loc[newest, "outcome"] = "denied" if flipped.loc[newest, "outcome"].item() != "denied" else "success"
    flipped.loc[newest, "label"] = events.loc[newest, "label"] = "v"
    tables = [build(snapshot(workspace, frame, name)) for frame, name in ((events, "as-is"), (flipped, "flipped"))]
    pd.testing.assert_frame_equal(tables[0].X, tables[1].X, check_exact=True)


def test_row_order_and_threads_change_nothing(
    workspace: Workspace, events: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffled = events.sample(frac=1, random_state=3)
    one = build(snapshot(workspace, events, "ordered"))
    connect = duckdb.connect

    def single_threaded(*arguments: Any, **options: Any) -> duckdb.DuckDBPyConnection:
        return connect(*arguments, **{**options, "config": {"threads": 1}})

    monkeypatch.setattr(duckdb, "connect", single_threaded)
    two = build(snapshot(workspace, shuffled, "shuffled"))
    order = [bisect.bisect_left(sorted(one.event_id), event_id) for event_id in one.event_id]
    other = [bisect.bisect_left(sorted(two.event_id), event_id) for event_id in two.event_id]
    pd.testing.assert_frame_equal(
        one.X.iloc[np.argsort(order)].reset_index(drop=True), two.X.iloc[np.argsort(other)].reset_index(drop=True)
    )


def test_only_named_features_are_computed_and_unknown_ones_refused(workspace: Workspace) -> None:
    dataset, _ = generate(workspace, Population(scale=5, days=7))
    assert list(build(dataset, features=["hour", "is_first"]).X.columns) == ["hour", "is_first"]
    with pytest.raises(InputError, match=r"unknown feature 'hours'; did you mean 'hour'\?"):
        build(dataset, features=["hours"])


def test_the_spec_digest_covers_features_of_ones_own() -> None:
    assert spec_sha256() == spec_sha256({})
    assert spec_sha256() != spec_sha256({"mine": "1"})


@pytest.fixture
def policies(project: Path) -> Iterator[list[dict[str, Any]]]:
    import yaml

    yield [yaml.safe_load(path.read_text()) for path in sorted((project / "policies").glob("*.yaml"))]


def test_the_example_policies_speak_of_columns_that_exist(workspace: Workspace, policies: list[dict[str, Any]]) -> None:
    dataset, _ = generate(workspace, Population(scale=20, days=30))
    table = build(dataset)
    frame = dataset.frame().merge(table.X.assign(event_id=table.event_id), on="event_id")
    assert len(policies) == 2
    for policy in policies:
        assert set(policy) == {"name", "title", "description", "severity", "controls", "expression", "rationale"}
        with duckdb.connect() as connection:
            connection.register("known", frame)
            ((hits,),) = connection.execute(f"SELECT count(*) FROM known WHERE {policy['expression']}").fetchall()
        assert 0 <= hits < len(frame) / 10
