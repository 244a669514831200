"""The online state: score first, then admit; ask without changing; save and restore; refuse what is not a state."""

import json
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError, MalformedError
from workbench.events import Dataset, Population, generate
from workbench.features import FEATURES, IP_USERS, Event, FeatureSpec, FeatureState, arrivals, build, owner
from workbench.features.replaying import replayed
from workbench.workspace import Workspace

ALL = FeatureSpec(names=(*(feature.name for feature in FEATURES), IP_USERS.name))
HOUR, DAY = 3_600_000_000, 86_400_000_000
FIRST = Event("e0", 1_740_000_000_000_000, 60, "ada", "laptop", "10.0.0.1", "read", "file", "success")


@pytest.fixture(scope="module")
def dataset(home: Workspace) -> Dataset:
    return generate(home, Population(scale=12, days=60, seed=5), name="online")[0]


@pytest.fixture(scope="module")
def stream(dataset: Dataset) -> list[tuple[Event, int | None]]:
    with duckdb.connect() as connection:
        return list(replayed(connection, dataset.sql, dataset.labels().sql))


def through(state: FeatureState, stream: list[tuple[Event, int | None]]) -> list[list[float]]:
    found = []
    for event, accused in stream:
        found.append(state.update(event))
        if accused is not None:
            state.learn(event.user, event.event_id, accused)
    return found


def test_a_first_event_has_the_values_that_the_definitions_state() -> None:
    values = dict(zip(FeatureSpec().names, FeatureState().update(FIRST), strict=True))
    for feature in FEATURES:
        if feature.first != "-":
            assert values[feature.name] == pytest.approx(float(feature.first.split()[0]), abs=1e-6), feature.name
    assert all(type(value) is float for value in values.values())


def test_an_event_is_scored_before_it_is_admitted_and_ties_never_see_each_other() -> None:
    state = FeatureState(FeatureSpec(names=("events_1h", "denials_24h", "ip_is_new")))
    denied = FIRST._replace(outcome="denied")
    assert state.update(denied) == [0, 0, 1]
    assert state.update(denied._replace(event_id="e1")) == [0, 0, 1]
    assert state.update(denied._replace(event_id="e2", t=FIRST.t + 1)) == [2, 2, 0]


def test_peek_gives_what_update_gives_and_changes_nothing(stream: list[tuple[Event, int | None]]) -> None:
    state = FeatureState(ALL)
    for place, (event, accused) in enumerate(stream):
        if place % 37 == 0:
            before = state.save()
            far = state.peek(event._replace(t=event.t + 40 * DAY))
            assert far[ALL.names.index("events_7d")] == 0
            expected = state.peek(event)
            assert state.save() == before
            assert state.update(event) == expected
        else:
            state.update(event)
        if accused is not None:
            state.learn(event.user, event.event_id, accused)


def test_a_label_counts_once_from_the_moment_it_was_known() -> None:
    state = FeatureState(FeatureSpec(names=("violations_30d", "seconds_since_violation")))
    state.update(FIRST)
    state.learn("ada", "e0", FIRST.t + HOUR)
    state.learn("ada", "e0", FIRST.t + 2 * HOUR)
    assert state.update(FIRST._replace(t=FIRST.t + HOUR)) == [0, 2_592_000]
    assert state.update(FIRST._replace(t=FIRST.t + HOUR + 1)) == [1, 1e-6]
    state.learn("ada", "e0", FIRST.t + HOUR - 1)
    assert state.update(FIRST._replace(t=FIRST.t + HOUR + 1)) == [1, 2e-6]
    assert state.update(FIRST._replace(t=FIRST.t + HOUR - 1 + 30 * DAY)) == [1, 2_592_000]
    assert state.update(FIRST._replace(t=FIRST.t + HOUR + 30 * DAY)) == [0, 2_592_000]


def test_a_label_may_be_learned_of_a_user_not_seen_since_the_start() -> None:
    state = FeatureState(FeatureSpec(names=("is_first", "violations_30d")))
    state.learn("ada", "older", FIRST.t - DAY)
    assert FeatureState.restore(state.save()).update(FIRST) == state.update(FIRST) == [1, 1]


def test_learning_what_arrives_gives_the_features_of_the_batch(dataset: Dataset) -> None:
    """As the how-to's service does it: what is known by then is learned, then the event is scored."""
    table = build(dataset, spec=ALL, labelled_only=False)
    half = datetime.fromtimestamp(int(table.time[len(table) // 2]) // 1_000_000, UTC)
    begin = int(half.timestamp()) * 1_000_000
    state, found, known_at = FeatureState.replay(dataset, spec=ALL, until=half), {}, []
    for event, known in arrivals(dataset, since=half):
        for violation in known:
            assert begin <= violation.known_us < event.t
            known_at.append(violation.known_us)
            state.learn(*violation)
        found[event.event_id] = state.update(event)
    later = [row for row, name in enumerate(table.event_id) if name in found]
    assert len(found) == len(later) > 1_000
    assert len(known_at) > 5 and known_at == sorted(known_at)
    assert [found[name] for name in table.event_id[later]] == table.X.to_numpy()[later].tolist()


def test_arrivals_are_all_events_in_order_and_every_violation_that_became_known(
    dataset: Dataset, stream: list[tuple[Event, int | None]]
) -> None:
    told = list(arrivals(dataset))
    assert [event for event, _ in told] == [event for event, _ in stream]
    newest = max(event.t for event, _ in stream)
    assert sorted(violation for _, known in told for violation in known) == sorted(
        (event.user, event.event_id, accused) for event, accused in stream if accused is not None and accused < newest
    )
    until = stream[100][0].t
    early = list(arrivals(dataset, until=until))
    assert [event for event, _ in early] == [event for event, _ in stream if event.t < until]
    assert not list(arrivals(dataset, since=newest + 1))
    with pytest.raises(InputError, match="has no zone"):
        arrivals(dataset, since=datetime(2025, 1, 1))  # noqa: DTZ001


def test_replay_up_to_a_moment_and_going_on_equals_the_whole(
    dataset: Dataset, stream: list[tuple[Event, int | None]]
) -> None:
    """Labels known after that moment are learned when they become known."""
    until = stream[len(stream) // 2][0].t
    state = FeatureState.replay(dataset, dataset.labels(), spec=ALL, until=until)
    early = [(event, accused) for event, accused in stream if event.t < until]
    waiting = sorted((a, event.user, event.event_id) for event, a in early if a is not None and a >= until)
    assert len(waiting) > 5
    found = []
    for event, accused in stream[len(early) :]:
        while waiting and waiting[0][0] <= event.t:
            known, user, event_id = waiting.pop(0)
            state.learn(user, event_id, known)
        found.append(state.update(event))
        if accused is not None:
            state.learn(event.user, event.event_id, accused)
    assert found == through(FeatureState(ALL), stream)[len(early) :]
    moment = datetime.fromtimestamp(until // 1_000_000, tz=UTC).replace(microsecond=until % 1_000_000)
    again = FeatureState.replay(dataset, dataset.labels(), spec=ALL, until=moment)
    assert again.save() == FeatureState.replay(dataset, dataset.labels(), spec=ALL, until=until).save()
    with pytest.raises(InputError, match=r"has no zone: say which"):
        FeatureState.replay(dataset, until=moment.replace(tzinfo=None))


def test_a_replay_gives_the_values_of_the_table(dataset: Dataset, stream: list[tuple[Event, int | None]]) -> None:
    table = build(dataset, spec=ALL, labelled_only=False)
    assert (np.array(through(FeatureState(ALL), stream)) == table.X.to_numpy()).all()


def test_a_saved_state_goes_on_where_it_was(stream: list[tuple[Event, int | None]]) -> None:
    whole, state = FeatureState(ALL), FeatureState(ALL)
    expected = through(whole, stream)
    third = len(stream) // 3
    found = through(state, stream[:third])
    for part in (stream[third : 2 * third], stream[2 * third :]):
        data = state.save()
        state = FeatureState.restore(data, spec=ALL)
        assert state.save() == data
        found += through(state, part)
    assert found == expected
    assert len(state) == len(whole)
    assert state.save() == whole.save()


def test_what_is_forgotten_makes_no_difference_and_memory_stays_bounded() -> None:
    """A busy user for a year: only the last 30 days are kept."""
    state = FeatureState()
    for number in range(9_000):
        state.update(FIRST._replace(event_id=f"e{number}", t=FIRST.t + number * HOUR, resource=f"r{number % 7}"))
    kept = json.loads(state.save())["users"]["ada"]["times"]
    assert len(kept) == 30 * 24 + 1
    assert len(state._users["ada"].times) < 3 * len(kept)


def test_features_of_ones_own_are_batch_only() -> None:
    with pytest.raises(InputError, match=r"^features of one's own \(mine\) are computed in batch only"):
        FeatureState(FeatureSpec(extra=(("mine", "1"),)))


def test_a_state_of_another_spec_is_refused() -> None:
    data = FeatureState(FeatureSpec(names=("hour",))).save()
    with pytest.raises(MalformedError, match=r"^feature state: made for the spec [0-9a-f]{12}, expected [0-9a-f]{12}"):
        FeatureState.restore(data, spec=FeatureSpec())


def small() -> dict[str, Any]:
    state = FeatureState(ALL)
    for number in range(4):
        state.update(FIRST._replace(event_id=f"e{number}", t=FIRST.t + number * HOUR, source=f"s{number % 2}"))
    state.update(FIRST._replace(event_id="late", t=FIRST.t))
    state.learn("ada", "e1", FIRST.t + 2 * HOUR)
    return json.loads(state.save())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 2),
        ("kind", "pickle"),
        ("spec.sha256", "0" * 64),
        ("spec.extra", [["mine", "1"]]),
        ("users", []),
        ("users.ada", None),
        ("users.ada.first", None),
        ("users.ada.first", 2**70),
        ("users.ada.first", True),
        ("users.ada.times", [3, 2, 1, 0, 0]),
        ("users.ada.times", []),
        ("users.ada.source", [0, 0, 0, 0, 9]),
        ("users.ada.source", [0, 0, 0, 0, -1]),
        ("users.ada.source", [1, 0, 0, 0, 0]),
        ("users.ada.hour", [24, 0, 0, 0, 0]),
        ("users.ada.denied", [2, 0, 0, 0, 0]),
        ("users.ada.denied", [0]),
        ("users.ada.seen", [[], [], [], []]),
        ("users.ada.seen", [[["s0", 0]], [], [], []]),
        ("users.ada.labelled", {"e1": "soon"}),
        ("users.ada.late", {"e1": 2**61}),
        ("users.ada.more", 1),
        ("addresses", None),
        ("addresses.a", {}),
        ("addresses.a", {"times": [], "users": [], "who": []}),
        ("addresses.a", {"times": [0, 10**12], "users": ["ada"], "who": [0, 0]}),
        ("addresses.a", {"times": [0], "users": ["ada", "ada"], "who": [0]}),
        ("addresses.a", {"times": [0], "users": ["ada"], "who": [1]}),
    ],
)
def test_a_changed_state_is_refused(path: str, value: object) -> None:
    content = small()
    assert FeatureState.restore(json.dumps(content).encode())
    *way, last = path.split(".")
    place = content
    for key in way:
        place = place[key]
    place[last] = value
    with pytest.raises(MalformedError, match=r"^feature state: "):
        FeatureState.restore(json.dumps(content).encode())


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"null", b"[" * 100_000, b'{"a": 1, "a": 2}', b'{"a": 1.5}', b'{"a": NaN}', b"1" * 10_000]
)
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError, match=r"^feature state: "):
        FeatureState.restore(data)


@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_is_refused_or_gives_a_state_that_works(place: int, byte: int) -> None:
    data = bytearray(json.dumps(small(), separators=(",", ":")).encode())
    data[place % len(data)] = byte
    try:
        state = FeatureState.restore(bytes(data))
    except MalformedError:
        return
    values = state.update(FIRST._replace(event_id="next", t=FIRST.t + 50 * HOUR))
    assert np.isfinite(values).all()
    assert (np.array(values) >= 0).all()


def test_every_user_has_one_owner_and_it_is_the_bucket_of_the_batch() -> None:
    users = ["ada", "∅", "analyst-00001", "", "名前"]
    with duckdb.connect() as connection:
        for buckets in (1, 7, 256):
            sql = "SELECT CAST(CAST('0x' || left(md5(u), 8) AS UBIGINT) % ? AS INTEGER) FROM (SELECT unnest(?) AS u)"
            found = connection.execute(sql, [buckets, users]).fetchall()
            assert [owner(user, buckets) for user in users] == [bucket for (bucket,) in found]


def test_two_owners_together_give_what_one_gives(stream: list[tuple[Event, int | None]]) -> None:
    expected = through(FeatureState(), stream)
    owners = [FeatureState() for _ in range(2)]
    found = []
    for event, accused in stream:
        state = owners[owner(event.user, 2)]
        found.append(state.update(event))
        if accused is not None:
            state.learn(event.user, event.event_id, accused)
    assert found == expected
    assert all(len(state) > 0 for state in owners)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "event: event_id is missing"),
        ({"event_id": "e", "user": ""}, "event: user is missing"),
        ({"event_id": "e", "user": 7}, "event: user is int, expected text"),
        ({"event_id": "e", "user": "ada"}, "event: timestamp None, expected ISO 8601 with an offset"),
        (
            {"event_id": "e", "user": "ada", "timestamp": "2025-01-06"},
            "event: timestamp '2025-01-06', expected ISO 8601",
        ),
        ({"event_id": "e", "user": "ada", "timestamp": "soon"}, "event: timestamp 'soon', expected ISO 8601"),
        ({"event_id": "e", "user": "ada", "t": 1.5}, "event: t is 1.5, expected whole microseconds"),
        ({"event_id": "e", "user": "ada", "t": 2**63}, "event: t is 9223372036854775808, expected whole microseconds"),
        ({"event_id": "e", "user": "ada", "t": 0, "utc_offset_min": 1440}, "event: utc_offset_min is 1440"),
        ({"event_id": "e", "user": "ada", "t": 0, "outcome": "no"}, "event: outcome 'no', expected one of success"),
    ],
)
def test_what_is_no_event_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        Event.of(given)
    assert str(refused.value).startswith(message)


def test_an_event_takes_its_offset_from_its_stamp_and_absent_keys_are_marked() -> None:
    event = Event.of({"event_id": "e", "user": "ada", "timestamp": "2025-01-06T01:30:00.000001+05:30", "ip": ""})
    assert event == ("e", 1_736_107_200_000_001, 330, "ada", "∅", "∅", "∅", "∅", "unknown")
    stamp = datetime(2025, 1, 5, 20, 0, 0, 1, tzinfo=UTC)
    assert Event.of({"event_id": "e", "user": "ada", "timestamp": stamp}).t == event.t
