"""Backtests: what a policy would have flagged, counted again here the slow way."""

import json

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError, IntegrityError, NotFoundError
from workbench.features import build
from workbench.files import canonical_json, sha256_bytes
from workbench.policies import Backtest, PolicyStore, Scores, backtest


@pytest.fixture
def versions(workspace, policy):
    store = PolicyStore(workspace)

    def versions(*expressions):
        return [store.add(policy(one))[0] for one in expressions]

    return versions


@pytest.fixture
def frame(events):
    table = build(events, labelled_only=False)
    joined = pd.concat([events.frame().reset_index(drop=True), table.X.drop(columns=["hour"])], axis=1)
    return joined.assign(y=table.y)


def test_it_counts_what_pandas_counts(events, frame, versions):
    (version,) = versions("action = 'export' AND (off_hours OR events_24h > 25)")
    found = backtest(version, events, labels=events.labels()).content
    hit = (frame.action == "export") & ((frame.off_hours == 1) | (frame.events_24h > 25))
    assert found["events"] == len(frame) and found["hits"] == hit.sum() > 10
    assert found["users_hit"] == frame[hit].user.nunique()
    days = frame[hit].timestamp.dt.date.astype(str).value_counts()
    assert {row["day"]: row["hits"] for row in found["by_day"] if row["hits"]} == days.to_dict()
    assert pd.date_range(found["first"][:10], found["last"][:10]).size == len(found["by_day"])
    for name in ("user", "action", "source"):
        counted = frame[hit][name].value_counts().to_dict()
        shown = {row["value"]: row["hits"] for row in found[f"by_{name}"]["values"]}
        assert shown.items() <= counted.items() and len(shown) == min(20, len(counted))
        assert found[f"by_{name}"]["hits_of_others"] == hit.sum() - sum(shown.values())
        listed = [(-row["hits"], row["value"]) for row in found[f"by_{name}"]["values"]]
        assert listed == sorted(listed)
    said = found["labelled"]
    expected = {
        "tp": (hit & (frame.y == 1)).sum(),
        "fp": (hit & (frame.y == 0)).sum(),
        "fn": (~hit & (frame.y == 1)).sum(),
        "tn": (~hit & (frame.y == 0)).sum(),
    }
    assert said["confusion"] == expected
    assert said["precision"]["value"] == pytest.approx(expected["tp"] / (expected["tp"] + expected["fp"]), abs=1e-6)
    assert said["recall"]["low"] <= said["recall"]["value"] <= said["recall"]["high"]


def test_it_says_what_one_version_adds_to_another_and_drops(events, frame, versions):
    old, new = versions("action = 'export' AND off_hours", "action = 'export' AND events_24h > 20")
    found = backtest(new, events, against=old, labels=events.labels()).content["comparison"]
    one = (frame.action == "export") & (frame.events_24h > 20)
    two = (frame.action == "export") & (frame.off_hours == 1)
    for name, rows in (("added", one & ~two), ("dropped", two & ~one), ("kept", one & two)):
        assert found[name]["events"] == rows.sum() > 0
        assert found[name]["violations"] == (rows & (frame.y == 1)).sum()
    added = {row["event_id"] for row in found["added_examples"]}
    assert added <= set(frame[one & ~two].event_id) and len(added) == min(10, (one & ~two).sum())
    swapped = backtest(old, events, against=new, labels=events.labels()).content["comparison"]
    assert swapped["added"] == found["dropped"] and swapped["dropped_examples"] == found["added_examples"]
    assert swapped["difference"]["f1"]["value"] == -found["difference"]["f1"]["value"]


def test_examples_carry_what_was_asked_of_them(events, frame, versions):
    (version,) = versions("action = 'export' AND off_hours")
    rows = backtest(version, events, labels=events.labels()).content["examples"]
    known = frame.set_index("event_id")
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
    for row in rows:
        assert row["features"] == {"off_hours": 1.0} and row["action"] == "export"
        assert row["user"] == known.loc[row["event_id"]].user
        assert row["label"] == {1: "violation", 0: "compliant", -1: None}[known.loc[row["event_id"]].y]


def test_the_same_gives_the_same_digest_whatever_the_threads(events, versions):
    old, new = versions("off_hours", "off_hours AND hour < 23")
    runs = [backtest(new, events, against=old, labels=events.labels(), threads=many) for many in (1, 2, 2)]
    assert len({run.sha256 for run in runs}) == 1
    assert runs[0].sha256 == sha256_bytes(canonical_json(dict(runs[0].content)))
    assert "seconds" not in json.dumps(runs[0].content)
    assert backtest(new, events, labels=events.labels()).sha256 != runs[0].sha256
    assert backtest(new, events, against=old).sha256 != runs[0].sha256
    assert backtest(new, events, against=old, labels=events.labels(), seed=1).sha256 != runs[0].sha256


def test_runs_of_several_row_groups_are_put_together(events, versions, monkeypatch):
    from workbench.policies import evaluation

    (version,) = versions("action = 'export' AND off_hours")
    whole = backtest(version, events, threads=1)
    monkeypatch.setattr(evaluation, "_ROW_GROUP", 100)
    cut = evaluation._cuts(events.rows, 7)
    assert cut[0] == 0 and cut[-1] == events.rows and len(cut) == 8
    assert backtest(version, events, threads=7).sha256 == whole.sha256


def test_without_features_or_labels_none_are_built(events, versions, workspace):
    (version,) = versions("outcome = 'denied'")
    found = backtest(version, events).content
    assert (found["features"], found["labels"], found["labelled"], found["comparison"]) == (None, None, None, None)
    assert found["hits"] == (events.frame().outcome == "denied").sum()
    assert not workspace.features.exists()


def test_a_policy_that_flags_nothing_is_told_as_such(events, versions):
    (version,) = versions("off_hours AND user = 'nobody'")
    found = backtest(version, events, labels=events.labels()).content
    assert (found["hits"], found["examples"], found["by_user"]["values"]) == (0, [], [])
    assert found["labelled"]["precision"] == {"value": None, "low": None, "high": None}
    assert found["labelled"]["recall"]["value"] == 0.0


def test_risk_is_given_by_the_caller_and_named_by_its_model(events, versions):
    (version,) = versions("risk >= 0.5")
    with pytest.raises(InputError, match="night-export@1 speaks of risk: say which model gives it with --model"):
        backtest(version, events)
    values = np.linspace(0, 1, events.rows)
    values[:10] = np.nan
    scores = Scores(values, "ab" * 32, learnt_until=1_735_689_600_000_001)
    found = backtest(version, events, risk=scores).content
    assert found["hits"] == (values >= 0.5).sum() and found["unknown"] == 10
    assert found["risk"] == {
        "model": "ab" * 32,
        "scores": scores.sha256,
        "learnt_until": "2025-01-01T00:00:00.000001",
    }
    assert all(row["features"]["risk"] >= 0.5 for row in found["examples"])
    with pytest.raises(InputError, match=r"scores of shape \(3,\), expected one for each of"):
        backtest(version, events, risk=Scores(np.zeros(3), "ab" * 32))


def test_a_division_by_zero_flags_nothing_in_any_thread(events, frame, versions, monkeypatch):
    from workbench.policies import evaluation

    monkeypatch.setattr(evaluation, "_ROW_GROUP", 500)
    (version,) = versions("denials_24h / events_1h > 0")
    found = backtest(version, events, threads=3).content
    assert found["unknown"] == (frame.events_1h == 0).sum() > 0
    assert found["hits"] == ((frame.events_1h > 0) & (frame.denials_24h > 0)).sum() > 0


def test_ip_users_24h_is_built_where_it_is_named(events, versions):
    (version,) = versions("ip_users_24h > 1")
    assert backtest(version, events).content["hits"] >= 0


def test_an_expression_that_fails_on_an_event_says_so(events, versions):
    (version,) = versions("TRY_CAST(split_part(event_id, '-', 2) AS BIGINT) * 9000000000000000 > 3")
    with pytest.raises(InputError, match="cannot be evaluated on every event of the dataset"):
        backtest(version, events)


def test_it_is_kept_under_its_digest_and_checked_when_opened(events, versions, workspace):
    (version,) = versions("off_hours")
    found = backtest(version, events)
    path = found.save(workspace)
    assert path.name == f"{found.sha256}.json"
    assert Backtest.open(workspace, found.sha256) == found
    path.write_bytes(path.read_bytes().replace(b'"hits"', b'"hats"'))
    with pytest.raises(IntegrityError, match="was changed: its content does not match its digest"):
        Backtest.open(workspace, found.sha256)
    with pytest.raises(NotFoundError, match="there is no backtest abababababab"):
        Backtest.open(workspace, "ab" * 32)


@pytest.mark.parametrize("table", ["events", "features"])
def test_changed_inputs_are_noticed_where_that_is_asked_for(events, versions, workspace, table):
    (version,) = versions("off_hours")
    backtest(version, events, labels=events.labels(), verify=True)
    (path,) = workspace.data.glob(f"*/*/{table}.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=f"{table}.parquet of .* was changed after it was written"):
        backtest(version, events, labels=events.labels(), verify=True)
