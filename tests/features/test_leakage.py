"""Nothing of the future, of the event's own outcome or label, in any feature: on made and on real events."""

from typing import Any

import duckdb
import numpy as np
import pytest

from workbench.features import FEATURES, IP_USERS, FeatureSpec
from workbench.features.batch import Rows, compute

ALL = FeatureSpec(names=(*(feature.name for feature in FEATURES), IP_USERS.name))
# What one would like to use and must not: each sees what its event's time does not show yet.
LEAKY = {
    "inclusive": 'count(*) OVER (PARTITION BY "user" ORDER BY t RANGE BETWEEN 3600000000 PRECEDING AND CURRENT ROW)',
    "whole_file": 'count(*) OVER (PARTITION BY "user")',
    "own_outcome": "denied",
}


def cut_of(connection: duckdb.DuckDBPyConnection, events: str) -> int:
    """The moment (µs) at which half of the events have happened."""
    return int(connection.execute(f'SELECT quantile_disc(epoch_us("timestamp"), 0.5) FROM {events}').fetchall()[0][0])


def prefix(source: Any, cut: int) -> tuple[str, str]:
    """The world as it was at ``cut``: later events and what became known later are not there."""
    return (
        f'(SELECT * FROM {source.events} WHERE epoch_us("timestamp") < {cut})',
        f"(SELECT * FROM {source.labels} WHERE epoch_us(labelled_at) < {cut})",
    )


def poisoned(source: Any, cut: int) -> tuple[str, str]:
    """All that happens from ``cut`` on is something else, and everybody is accused."""
    late = f'epoch_us("timestamp") >= {cut}'
    words = ("source", "ip", "action", "resource")
    garbled = ", ".join(f"CASE WHEN {late} THEN 'poison' ELSE {word} END AS {word}" for word in words)
    return (
        f"(SELECT * REPLACE ({garbled}, CASE WHEN {late} THEN 'denied' ELSE outcome END AS outcome) FROM {source.events})",
        f"""(SELECT event_id, CASE WHEN epoch_us(labelled_at) >= {cut} THEN 'violation' ELSE label END AS label,
            labelled_at FROM {source.labels})""",
    )


def before(rows: Rows, count: int) -> np.ndarray:
    return rows.X[:count]


@pytest.mark.parametrize("engine", ["kernel", "sql"])
@pytest.mark.parametrize("future", [prefix, poisoned])
def test_the_future_changes_nothing(
    source: Any, engine: Any, future: Any, connection: duckdb.DuckDBPyConnection, same: Any
) -> None:
    """Prefix invariance and future poisoning."""
    cut = cut_of(connection, source.events)
    events, labels = future(source, cut)
    n = connection.execute(f'SELECT count(*) FROM {source.events} WHERE epoch_us("timestamp") < {cut}').fetchall()[0][0]
    assert n > 1_000
    whole = compute(connection, source.events, source.labels, ALL, engine=engine)
    other = compute(connection, events, labels, ALL, engine=engine)
    assert same(whole.X[:n], other.X[:n])
    assert whole.time[:n].tolist() == other.time[:n].tolist()
    assert whole.event_id[:n].tolist() == other.event_id[:n].tolist()


def test_what_does_look_at_the_future_or_at_itself_would_be_caught(
    source: Any, connection: duckdb.DuckDBPyConnection
) -> None:
    """Negative control: the tests above can fail, and the inclusive bound differs in every row."""
    spec = FeatureSpec(names=("events_1h",), extra=tuple(LEAKY.items()))
    cut = cut_of(connection, source.events)
    whole = compute(connection, source.events, source.labels, spec)
    other = compute(connection, *prefix(source, cut), spec)
    n = len(other.seq)
    assert (whole.X[:, 1] > whole.X[:, 0]).all()
    assert (whole.X[:n, 2] != other.X[:, 2]).mean() > 0.05
    flipped = f"(SELECT * REPLACE (if(seq = {n}, if(outcome = 'denied', 'success', 'denied'), outcome) AS outcome) FROM {source.events})"
    third = compute(connection, flipped, source.labels, spec)
    assert third.X[n, 3] != whole.X[n, 3]


def test_an_event_s_own_outcome_and_label_are_no_input(
    source: Any, connection: duckdb.DuckDBPyConnection, same: Any
) -> None:
    """Both flipped for each user's last event, which nothing of that user comes after: no value moves."""
    rows = compute(connection, source.events, source.labels, ALL)
    last = connection.execute(
        f'SELECT max(seq), arg_max(event_id, seq) FROM {source.events} GROUP BY "user"'
    ).fetchall()
    places = ", ".join(str(seq) for seq, _ in last)
    ids = ", ".join(f"'{event_id}'" for _, event_id in last)
    flip = f"if(seq IN ({places}), if(outcome = 'denied', 'success', 'denied'), outcome) AS outcome"
    turn = f"if(event_id IN ({ids}), if(label = 'violation', 'compliant', 'violation'), label) AS label"
    events = f"(SELECT * REPLACE ({flip}) FROM {source.events})"
    labels = f"(SELECT event_id, {turn}, labelled_at FROM {source.labels})"
    other = compute(connection, events, labels, ALL)
    assert same(rows.X, other.X)
    assert (rows.y != other.y).sum() > 0.9 * len(last)


def test_the_online_state_gives_the_same_as_the_batch(
    source: Any, connection: duckdb.DuckDBPyConnection, online: Any, same: Any
) -> None:
    kernel = compute(connection, source.events, source.labels, ALL)
    assert same(np.array(online(connection, source)), kernel.X)


def test_shuffled_rows_and_threads_change_nothing(
    source: Any, connection: duckdb.DuckDBPyConnection, same: Any
) -> None:
    expected = compute(connection, source.events, source.labels, ALL)
    connection.execute("SET threads = 1")
    shuffled = [f"(SELECT * FROM {relation} ORDER BY hash(event_id))" for relation in (source.events, source.labels)]
    for engine in ("kernel", "sql"):
        found = compute(connection, *shuffled, ALL, engine=engine)  # type: ignore[arg-type]
        assert same(found.X, expected.X)
        assert (found.y == expected.y).all()


def test_every_cell_is_a_number(source: Any, connection: duckdb.DuckDBPyConnection) -> None:
    for engine in ("kernel", "sql"):
        X = compute(connection, source.events, source.labels, ALL, engine=engine).X  # type: ignore[arg-type]
        assert not isinstance(X, np.ma.MaskedArray)
        assert np.isfinite(X).all()


def test_no_single_feature_gives_the_label_away(source: Any, connection: duckdb.DuckDBPyConnection) -> None:
    """An AUC above 0.9 with one feature is a leak until shown otherwise."""
    from sklearn.metrics import roc_auc_score

    rows = compute(connection, source.events, source.labels, ALL, labelled_only=True)
    areas = {name: roc_auc_score(rows.y, rows.X[:, column]) for column, name in enumerate(ALL.names)}
    assert {name: area for name, area in areas.items() if max(area, 1 - area) > 0.9} == {}


def test_features_of_the_attack_tool_s_name_are_out_of_reach(
    cloudtrail: Any, connection: duckdb.DuckDBPyConnection
) -> None:
    """No shipped definition reads the attributes, where the label of these events stands."""
    blanked = f"(SELECT * REPLACE ('{{}}' AS attributes) FROM {cloudtrail.events})"
    rows = compute(connection, cloudtrail.events, cloudtrail.labels, ALL)
    other = compute(connection, blanked, cloudtrail.labels, ALL)
    assert (rows.X == other.X).all()
