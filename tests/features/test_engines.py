"""Compiled pass, SQL and online state give the same value in every cell, and it is the one that the definition says."""

from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.features import FEATURES, IP_USERS, FeatureSpec, FeatureState
from workbench.features.batch import compute, encode
from workbench.features.replaying import replayed

HOUR, DAY = 3_600_000_000, 86_400_000_000
MONTH = 30 * DAY
START = 1_740_000_000_000_000 // DAY * DAY  # midnight UTC
ALL = FeatureSpec(names=(*(feature.name for feature in FEATURES), IP_USERS.name))

History = tuple[list[dict[str, Any]], list[dict[str, Any]]]

# Steps whose sums fall exactly on a window's bound, or one microsecond to either side of it.
STEPS = [
    0,
    0,
    1,
    -1,
    HOUR,
    HOUR - 1,
    HOUR + 1,
    DAY,
    DAY - 1,
    DAY + 1,
    7 * DAY,
    7 * DAY + 1,
    MONTH,
    MONTH - 1,
    MONTH + 1,
]
BACK = [0, 0, 0, -1, -HOUR, -DAY, -7 * DAY - 1, -MONTH]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Up to 14 events of three users on two addresses, in order of arrival, and labels, all at awkward times."""
    clock, events = START, []
    for number in range(draw(st.integers(1, 14))):
        clock += draw(st.sampled_from(STEPS))
        events.append(
            {
                "seq": number,
                "event_id": f"e{number}",
                "t": clock + draw(st.sampled_from(BACK)),
                "offset": draw(st.sampled_from([0, 60, 330, -300, -570, 840])),
                "user": draw(st.sampled_from("aab")),
                "source": draw(st.sampled_from("sst")),
                "ip": draw(st.sampled_from("iij")),
                "action": draw(st.sampled_from("xy")),
                "resource": draw(st.sampled_from("pqr")),
                "outcome": draw(st.sampled_from(["denied", "success"])),
            }
        )
    labels = [
        {
            "event_id": event["event_id"],
            "label": draw(st.sampled_from(["violation", "violation", "compliant"])),
            "at": event["t"] + draw(st.sampled_from([0, 1, HOUR, DAY, MONTH, -DAY, 2 * DAY - 1])),
        }
        for event in events
        for _ in range(draw(st.sampled_from([0, 1, 1, 2])))
    ]
    return events, labels


def side_by_side(found: list[History]) -> History:
    """Histories in one relation: no user, address or event of one is in another."""
    events, labels = [], []
    for place, (its_events, its_labels) in enumerate(found):
        for event in its_events:
            renamed = {key: f"{place}/{event[key]}" for key in ("event_id", "user", "ip")}
            events.append(event | renamed | {"seq": len(events)})
        labels += [label | {"event_id": f"{place}/{label['event_id']}"} for label in its_labels]
    return events, labels


def hold_together(bench: Any, found: list[History], oracle: Callable[..., Any], same: Callable[..., bool]) -> None:
    bench.load(*side_by_side(found))
    expected = np.array([values for history in found for values in oracle(*history)])
    assert np.isfinite(expected).all()
    for engine in (bench.batch("kernel").X, bench.batch("sql").X, np.array(bench.online())):
        wrong = [ALL.names[column] for column in np.flatnonzero((engine != expected).any(axis=0))]
        assert same(engine, expected), wrong


@given(found=st.lists(histories(), min_size=1, max_size=20))
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_engines_and_the_definitions_agree_on_adversarial_histories(
    found: list[History], bench: Any, oracle: Any, same: Any
) -> None:
    hold_together(bench, found, oracle, same)


@pytest.mark.slow
@given(found=st.lists(histories(), min_size=20, max_size=20))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_engines_and_the_definitions_agree_on_thousands_of_histories(
    found: list[History], bench: Any, oracle: Any, same: Any
) -> None:
    hold_together(bench, found, oracle, same)


def packed_histories(count: int, seed: int) -> History:
    """Many small histories side by side: no user, address or label of one is in another."""
    rng = np.random.default_rng(seed)
    events: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for history in range(count):
        clock = START
        for _ in range(rng.integers(1, 13)):
            clock += int(rng.choice(STEPS))
            number = len(events)
            event = {
                "seq": number,
                "event_id": f"e{number}",
                "t": clock + int(rng.choice(BACK)),
                "offset": int(rng.choice([0, 60, 330, -300, -570, 840])),
                "user": f"{history}/{rng.choice(list('aab'))}",
                "source": str(rng.choice(list("sst"))),
                "ip": f"{history}/{rng.choice(list('iij'))}",
                "action": str(rng.choice(list("xy"))),
                "resource": str(rng.choice(list("pqr"))),
                "outcome": str(rng.choice(["denied", "success"])),
            }
            events.append(event)
            labels += [
                {
                    "event_id": event["event_id"],
                    "label": str(rng.choice(["violation", "violation", "compliant"])),
                    "at": event["t"] + int(rng.choice([0, 1, HOUR, DAY, MONTH, -DAY, 2 * DAY - 1])),
                }
                for _ in range(rng.choice([0, 1, 1, 2]))
            ]
    return events, labels


def test_the_engines_agree_on_a_thousand_histories_at_once(bench: Any, same: Any) -> None:
    events, labels = packed_histories(1_000, seed=11)
    bench.load(events, labels)
    kernel = bench.batch("kernel")
    assert (kernel.time > np.array([event["t"] for event in events])).mean() > 0.1, "too few late events"
    assert len(np.unique(kernel.time)) < len(events) / 2, "too few ties to test anything"
    assert same(kernel.X, bench.batch("sql").X)
    assert same(np.array(bench.online()), kernel.X)


@pytest.mark.parametrize("floor", [HOUR, 6 * HOUR])
def test_times_floored_to_hours_follow_the_definitions(bench: Any, oracle: Any, same: Any, floor: int) -> None:
    """Many ties, and windows that end exactly on events."""
    rng = np.random.default_rng(7)
    n = 400
    events = [
        {
            "seq": i,
            "event_id": f"e{i}",
            "t": START + int(at) // floor * floor,
            "offset": int(rng.choice([0, 330, -300])),
            "user": str(rng.choice(list("abcde"), p=[0.5, 0.2, 0.15, 0.1, 0.05])),
            "source": str(rng.choice(["s1", "s2", "s3", "∅"])),
            "ip": str(rng.choice(["10.0.0.1", "10.0.0.2", "∅"])),
            "action": str(rng.choice(["read", "export", "login"])),
            "resource": f"r{rng.integers(40)}",
            "outcome": str(rng.choice(["success", "denied", "failure"], p=[0.7, 0.2, 0.1])),
        }
        for i, at in enumerate(np.sort(rng.integers(0, 40 * DAY, n)))
    ]
    labels = [
        {"event_id": f"e{i}", "label": "violation", "at": events[i]["t"] + int(rng.integers(0, 3 * DAY))}
        for i in range(0, n, 9)
    ]
    bench.load(events, labels)
    expected = np.array(oracle(events, labels))
    constant = [ALL.names[column] for column in np.flatnonzero(np.ptp(expected, axis=0) == 0)]
    assert constant == ([] if floor == HOUR else ["events_1h"]), "a feature that never varies tests nothing"
    assert same(bench.batch("kernel").X, expected)
    assert same(bench.batch("sql").X, expected)
    assert same(np.array(bench.online()), expected)


def test_an_empty_relation_gives_an_empty_table(bench: Any) -> None:
    bench.load([], [])
    for engine in ("kernel", "sql"):
        assert bench.batch(engine).X.shape == (0, 24)


def test_times_before_1970_have_their_hour_and_day(bench: Any, oracle: Any, same: Any) -> None:
    events, labels = packed_histories(20, seed=5)
    events = [event | {"t": event["t"] - 2 * START - 7 * HOUR} for event in events]
    labels = [label | {"at": label["at"] - 2 * START - 7 * HOUR} for label in labels]
    bench.load(events, labels)
    expected = np.array(oracle(events, labels))
    for engine in ("kernel", "sql"):
        assert same(bench.batch(engine).X, expected)
    assert same(np.array(bench.online()), expected)


@pytest.mark.parametrize("engine", ["kernel", "sql"])
def test_only_the_named_columns_come_back_in_the_order_named(bench: Any, engine: str) -> None:
    bench.load(*packed_histories(50, seed=2))
    whole = bench.batch(engine)
    some = ("tenure_days", "ip_users_24h", "hour", "burst")
    found = bench.batch(engine, FeatureSpec(names=some))
    assert (whole.X[:, [ALL.names.index(name) for name in some]] == found.X).all()
    assert (np.array(bench.online(FeatureSpec(names=some))) == found.X).all()


@pytest.mark.parametrize("engine", ["kernel", "sql"])
def test_the_day_of_a_spec_decides_what_is_off_hours(bench: Any, engine: str) -> None:
    bench.load(*packed_histories(50, seed=2))
    names = ("hour", "off_hours")
    hour, off = bench.batch(engine, FeatureSpec(names=names, day_starts=9, day_ends=10)).X.T
    assert (off == (hour != 9)).all()
    assert (np.array(bench.online(FeatureSpec(names=names, day_starts=9, day_ends=10)))[:, 1] == off).all()


def test_rows_in_any_order_and_any_number_of_threads_give_the_same(bench: Any, same: Any) -> None:
    bench.load(*packed_histories(150, seed=3))
    expected = bench.batch("kernel")
    shuffled = "(SELECT * FROM happened ORDER BY hash(event_id))"
    for threads in (1, 2):
        bench.connection.execute(f"SET threads = {threads}")
        for engine in ("kernel", "sql"):
            found = compute(bench.connection, shuffled, "said", ALL, engine=engine)  # type: ignore[arg-type]
            assert same(found.X, expected.X), (threads, engine)
            assert found.event_id.tolist() == expected.event_id.tolist()
    bench.connection.execute("SET threads = 1")


def test_runs_of_users_on_several_threads_give_the_same_as_one(
    bench: Any, same: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.load(*packed_histories(150, seed=3))
    expected = bench.batch("kernel").X
    monkeypatch.setattr("workbench.features.batch._WORTH_THREADS", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(5)), raising=False)
    assert same(bench.batch("kernel").X, expected)


def test_a_key_that_is_null_is_refused_by_name(bench: Any) -> None:
    bench.load(*packed_histories(5, seed=3))
    holed = "(SELECT * REPLACE (CASE WHEN seq % 4 = 1 THEN NULL ELSE ip END AS ip) FROM happened)"
    with pytest.raises(InputError, match=r"^\d+ events have no ip: every event needs one$"):
        compute(bench.connection, holed, "said", ALL)


def test_a_label_without_a_time_never_counts_as_known(bench: Any) -> None:
    bench.load(*packed_histories(50, seed=4))
    nobody = "(SELECT * REPLACE (NULL::TIMESTAMP AS labelled_at) FROM said)"
    encoded = encode(bench.connection, "happened", nobody)
    assert set(encoded.y.tolist()) == {-1, 0, 1}
    assert (encoded.known == 2**63 - 1).all()
    assert (compute(bench.connection, "happened", nobody, FeatureSpec(names=("violations_30d",))).X == 0).all()


def test_of_several_labels_the_newest_decides_and_a_retraction_does_not_undo_the_past(bench: Any) -> None:
    base = {"offset": 0, "user": "a", "source": "s", "ip": "i", "action": "x", "resource": "p", "outcome": "success"}
    events = [base | {"seq": i, "event_id": f"e{i}", "t": START + i * DAY} for i in range(6)]
    labels = [
        {"event_id": "e0", "label": "violation", "at": START + DAY},
        {"event_id": "e0", "label": "compliant", "at": START + 3 * DAY},
        {"event_id": "e1", "label": "compliant", "at": START + 2 * DAY},
    ]
    bench.load(events, labels)
    rows = bench.batch("kernel", FeatureSpec(names=("violations_30d", "seconds_since_violation")))
    assert rows.y.tolist() == [0, 0, -1, -1, -1, -1]
    assert rows.known[:2].tolist() == [START + 3 * DAY, START + 2 * DAY]
    assert rows.X[:, 0].tolist() == [0, 0, 1, 1, 1, 1]  # known at e1's very moment: not yet for e1
    assert rows.X[:, 1].tolist() == [2_592_000, 2_592_000, 86_400, 172_800, 259_200, 345_600]


def test_a_late_event_counts_at_its_user_s_newest_time_and_not_its_own_label(bench: Any) -> None:
    """Its label was known before that time; it must not see it, nor what shares that time."""
    base = {"offset": 0, "user": "a", "source": "s", "ip": "i", "action": "x", "resource": "p", "outcome": "denied"}
    times = [0, 10 * HOUR, HOUR, 10 * HOUR + 1]
    events = [base | {"seq": i, "event_id": f"e{i}", "t": START + t} for i, t in enumerate(times)]
    bench.load(events, [{"event_id": "e2", "label": "violation", "at": START + 2 * HOUR}])
    names = ("hour", "seconds_since_last", "events_24h", "denials_24h", "violations_30d")
    rows = bench.batch("kernel", FeatureSpec(names=names))
    assert (rows.time - START).tolist() == [0, 10 * HOUR, 10 * HOUR, 10 * HOUR + 1]
    assert rows.X[2].tolist() == [1, 36_000, 1, 1, 0]
    assert rows.X[3].tolist() == [10, 1e-6, 3, 3, 1]


@pytest.mark.slow
def test_a_million_events_with_ties_late_arrivals_and_a_hot_user_agree_cell_by_cell(same: Any) -> None:
    n = 1_000_000
    with duckdb.connect() as connection:
        connection.execute(
            f"""CREATE TABLE happened AS SELECT i AS seq, 'e' || i AS event_id,
                TIMESTAMP '2025-01-01' + to_seconds(i * {180 * 86_400} // {n} // 60 * 60
                    - if(hash(i, 1) % 500 = 0, CAST(hash(i, 2) % 90000 AS BIGINT), 0)) AS "timestamp",
                CAST([0, 60, 330, -300][CAST(hash(i, 3) % 4 AS BIGINT) + 1] AS SMALLINT) AS utc_offset_min,
                'u' || if(hash(i, 4) % 100 < 3, 0, hash(i, 5) % 3300) AS "user",
                's' || (hash(i, 6) % 5) AS source, '10.0.' || (hash(i, 7) % 4000) AS ip,
                'a' || (hash(i, 8) % 9) AS action, 'r' || (hash(i, 9) % 700) AS resource,
                if(hash(i, 10) % 20 = 0, 'denied', 'success') AS outcome, '{{}}' AS attributes FROM range({n}) AS r(i)"""
        )
        connection.execute(
            """CREATE TABLE said AS SELECT event_id, if(hash(event_id) % 50 = 0, 'violation', 'compliant') AS label,
               "timestamp" + to_seconds(CAST(hash(event_id, 1) % 864000 AS BIGINT)) AS labelled_at FROM happened"""
        )
        kernel = compute(connection, "happened", "said", ALL)
        shares = connection.execute(
            """SELECT count(*) FILTER ("timestamp" < newest), count(*) - count(DISTINCT ("user", newest)),
               count(*) FILTER ("user" = 'u0') FROM (SELECT *, max("timestamp") OVER (PARTITION BY "user" ORDER BY seq
               ROWS UNBOUNDED PRECEDING) AS newest FROM happened)"""
        ).fetchall()[0]
        assert shares[0] > 400, "late arrivals"
        assert shares[1] > 400, "ties"
        assert shares[2] > 25_000, "a hot user"
        sql = compute(connection, "happened", "said", ALL, engine="sql")
        assert same(sql.X, kernel.X)
        assert same(sql.time, kernel.time)
        place, state = 0, FeatureState(ALL)
        for event, accused in replayed(connection, "happened", "said"):
            assert state.update(event) == kernel.X[place].tolist(), event
            if accused is not None:
                state.learn(event.user, event.event_id, accused)
            place += 1
        assert place == n
