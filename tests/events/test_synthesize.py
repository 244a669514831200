"""Generated events: the same for a seed, believable, and with known violations."""

import json
import os
import subprocess
import sys

import duckdb
import pytest

from workbench.errors import InputError
from workbench.events import ABSENT, BEHAVIOURS, OUTCOMES, Population, generate, list_datasets, summarise
from workbench.workspace import Workspace

HONEST = Population(scale=60, days=60, seed=7, label_noise=0)
NOISY = Population(scale=60, days=60, seed=7, label_noise=0.3)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("generated"))


@pytest.fixture(scope="module")
def honest(home):
    return generate(home, HONEST, name="honest")[0]


@pytest.fixture(scope="module")
def noisy(home):
    return generate(home, NOISY, name="noisy")[0]


@pytest.fixture
def ask():
    """Rows of a query over the tables ``events`` and ``labels`` of a dataset."""

    def asking(made, query):
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW events AS FROM {made.sql}; CREATE VIEW labels AS FROM {made.labels().sql}")
            return connection.execute(query).fetchall()

    return asking


def test_the_same_seed_gives_the_same_dataset(home, honest, tmp_path):
    again, was_there = generate(home, HONEST, name="again")
    elsewhere, was_there_elsewhere = generate(Workspace(tmp_path), HONEST)
    assert again.digest == honest.digest == elsewhere.digest
    assert again.labels().digest == honest.labels().digest == elsewhere.labels().digest
    assert (was_there, was_there_elsewhere) == (True, False)
    assert {"again", "honest"} <= set(list_datasets(home)[honest.digest])


@pytest.mark.parametrize(
    "change", [{"seed": 8}, {"scale": 61}, {"days": 61}, {"start": "2025-01-07"}, {"label_noise": 0.1}], ids=str
)
def test_everything_asked_for_changes_the_digest(workspace, change):
    small = {"scale": 4, "days": 4, "seed": 7}
    one, other = generate(workspace, Population(**small))[0], generate(workspace, Population(**{**small, **change}))[0]
    assert one.digest != other.digest


def test_noise_changes_labels_and_no_event(honest, noisy):
    """The ids carry the parameters, all else is the same."""

    def rows(made):
        return made.frame().drop(columns="event_id")

    assert rows(honest).equals(rows(noisy))
    assert honest.labels().digest != noisy.labels().digest


GENERATE = """
import sys
from pathlib import Path
import duckdb
from workbench.events import generate, Population
from workbench.workspace import Workspace
module = sys.modules["workbench.events.synthesize"]
connect = module.connect
def limited(*args, **kwargs):
    connection = connect(*args, **kwargs)
    connection.execute(f"SET threads = {sys.argv[1]}")
    return connection
module.connect = limited
made = generate(Workspace(Path(sys.argv[2])), Population(scale=30, days=30))[0]
print(made.digest, made.labels().digest)
"""


def test_the_digest_is_the_same_whatever_the_surroundings(tmp_path):
    """Another folder, zone, hash seed, file mode mask, locale and number of threads."""
    told = []
    for number, (zone, seed, mask, threads) in enumerate(
        [("UTC", "0", 0o022, 1), ("America/St_Johns", "77", 0o077, 5)]
    ):
        place = tmp_path / f"place-{number}"
        place.mkdir()
        told.append(
            subprocess.run(
                [sys.executable, "-c", GENERATE, str(threads), str(place)],
                cwd=place,
                env={**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": "C"},
                umask=mask,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert told[0] == told[1]
    assert [len(digest) for digest in told[0].split()] == [64, 64]


def test_scale_is_users_and_days_is_the_span(honest, ask):
    summary = summarise(honest)
    # One who left the day he joined need not have done anything.
    assert 0.95 * HONEST.scale <= summary.users <= HONEST.scale
    assert HONEST.days - 1 <= summary.days <= HONEST.days + 1.5
    assert 4 <= summary.rows / HONEST.scale / HONEST.days <= 8
    local = ask(honest, "SELECT min(timestamp + to_minutes(utc_offset_min::BIGINT))::DATE::VARCHAR FROM events")
    assert local == [("2025-01-06",)]


def test_every_behaviour_is_there_and_labelled(honest, ask):
    found = dict(ask(honest, "SELECT reason, count(*) FROM labels WHERE label = 'violation' GROUP BY 1"))
    assert set(found) == set(BEHAVIOURS)
    assert 0.005 < sum(found.values()) / honest.rows < 0.04


def test_without_noise_the_labels_are_the_behaviours(honest, ask):
    """Every event is labelled once, and each behaviour's events are what its description says."""
    assert ask(honest, "SELECT count(*), count(DISTINCT event_id) FROM labels") == [(honest.rows, honest.rows)]
    actions = ask(
        honest,
        "SELECT reason, list(DISTINCT action ORDER BY action) FROM events JOIN labels USING (event_id) "
        "WHERE label = 'violation' GROUP BY 1",
    )
    assert dict(actions) == {
        "off_hours_access": ["export", "read"],
        "mass_export": ["export"],
        "new_source_login": ["export", "login", "read"],
        "privilege_misuse": ["config_change", "grant"],
        "credential_stuffing": ["login"],
        "slow_exfiltration": ["export"],
    }
    # What only a behaviour does is labelled so without exception.
    assert ask(
        honest,
        "SELECT DISTINCT label FROM events JOIN labels USING (event_id) "
        "WHERE resource LIKE 'share/outside%' OR source LIKE 'unknown%'",
    ) == [("violation",)]
    assert ask(honest, "SELECT DISTINCT reason FROM labels WHERE label = 'compliant'") == [("",)]


def test_off_hours_are_off_hours_in_local_time(honest, ask):
    hours = ask(
        honest,
        "SELECT min(hour(here)), max(hour(here)) FROM (SELECT timestamp + to_minutes(utc_offset_min::BIGINT) AS here "
        "FROM events JOIN labels USING (event_id) WHERE reason = 'off_hours_access')",
    )[0]
    assert (hours[0], hours[1] <= 5) == (1, True)


def test_labels_are_wrong_about_as_often_as_stated(honest, noisy, ask):
    def said(made):
        return dict(ask(made, "SELECT e.seq, label FROM labels JOIN events e USING (event_id)"))

    truth, claimed = said(honest), said(noisy)
    guilty = [seq for seq, label in truth.items() if label == "violation"]
    missed = sum(claimed[seq] == "compliant" for seq in guilty) / len(guilty)
    alarms = sum(claimed[seq] == "violation" for seq, label in truth.items() if label == "compliant") / len(guilty)
    assert missed == pytest.approx(0.3, abs=0.08)
    assert alarms == pytest.approx(0.3, abs=0.08)


def test_labels_come_days_after_the_event(honest, ask):
    delays = ask(
        honest,
        "SELECT label, min(epoch(labelled_at - timestamp)) / 86400, max(epoch(labelled_at - timestamp)) / 86400 "
        "FROM labels JOIN events USING (event_id) GROUP BY 1 ORDER BY 1",
    )
    assert delays[0] == ("compliant", 14, 14)
    assert 0.5 <= delays[1][1] < delays[1][2] <= 10


def test_people_work_by_day_and_on_weekdays_where_they_are(honest, ask):
    rows = ask(
        honest,
        "SELECT avg((hour(here) BETWEEN 7 AND 18)::INT), avg((isodow(here) <= 5)::INT), count(DISTINCT utc_offset_min) "
        "FROM (SELECT *, timestamp + to_minutes(utc_offset_min::BIGINT) AS here FROM events) WHERE \"user\" NOT LIKE 'service%'",
    )[0]
    assert (rows[0] > 0.8, rows[1] > 0.9, rows[2] >= 3) == (True, True, True)


def test_services_work_around_the_clock(honest, ask):
    hours = ask(honest, "SELECT count(DISTINCT hour(timestamp)) FROM events WHERE \"user\" LIKE 'service%'")
    assert hours == [(24,)]


def test_nobody_acts_before_joining_but_by_another_s_hand(workspace, ask):
    """Joiners are seen from late first events on; a first sight long after the start is no accident for a daily user."""
    made = generate(workspace, Population(scale=150, days=60, seed=3, label_noise=0))[0]
    firsts = [
        row[0]
        for row in ask(
            made,
            'SELECT epoch(min(timestamp) - (SELECT min(timestamp) FROM events)) / 86400 FROM events GROUP BY "user"',
        )
    ]
    late = [day for day in firsts if day > 7]
    assert 0.05 < len(late) / len(firsts) < 0.2
    lasts = [
        row[0]
        for row in ask(
            made,
            'SELECT epoch((SELECT max(timestamp) FROM events) - max(timestamp)) / 86400 FROM events GROUP BY "user"',
        )
    ]
    assert 0.03 < len([day for day in lasts if day > 7]) / len(lasts) < 0.2


def test_habits_drift_half_way(honest, ask):
    before, after = ask(
        honest,
        "SELECT avg((action = 'export')::INT), avg((ip LIKE '100.%')::INT) FROM events JOIN labels USING (event_id) "
        "WHERE label = 'compliant' AND \"user\" NOT LIKE 'service%' "
        f"GROUP BY timestamp >= TIMESTAMP '2025-01-06' + INTERVAL {HONEST.days // 2} DAY "
        f"ORDER BY timestamp >= TIMESTAMP '2025-01-06' + INTERVAL {HONEST.days // 2} DAY",
    )
    assert after[0] > before[0] * 1.2
    assert after[1] > before[1] * 1.3


def test_every_event_is_complete(honest, ask):
    frame = honest.frame()
    assert not frame.isna().any().any()
    assert not (frame[["user", "source", "ip", "action", "resource"]] == ABSENT).any().any()
    assert set(frame["outcome"]) == set(OUTCOMES) - {"unknown"}
    assert frame["event_id"].is_unique
    assert frame["timestamp"].is_monotonic_increasing
    assert {tuple(json.loads(text)) for text in frame["attributes"]} == {(), ("bytes",)}


@pytest.mark.parametrize(
    "population", [Population(scale=1, days=2), Population(scale=1, days=2, seed=2**53 - 1)], ids=repr
)
def test_the_smallest_population_works(workspace, population):
    assert generate(workspace, population)[0].rows > 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"scale": 0}, "--scale 0: expected 1 to 1,000,000 users"),
        ({"scale": 1_000_001}, "--scale 1000001: expected 1 to 1,000,000 users"),
        ({"days": 1}, "--days 1: expected 2 to 3,650"),
        ({"seed": -1}, "--seed -1: expected 0 to 9,007,199,254,740,991"),
        ({"seed": 2**53}, "--seed 9007199254740992: expected 0 to 9,007,199,254,740,991"),
        ({"label_noise": 0.51}, "--label-noise 0.51: expected 0 to 0.5"),
        ({"label_noise": float("nan")}, "--label-noise nan: expected 0 to 0.5"),
        *(
            ({"start": start}, f"--start {start!r}: expected a date between 1971 and 2180, such as 2025-01-06")
            for start in ("soon", "20250106", "2025-W02-1", "1960-01-01", "2025-02-30", "2025-01-06'")
        ),
    ],
    ids=str,
)
def test_a_population_that_cannot_be_is_refused(change, complaint):
    with pytest.raises(InputError) as caught:
        Population(**change)
    assert str(caught.value) == complaint


def test_a_name_that_cannot_be_is_refused_before_anything_is_made(workspace):
    with pytest.raises(InputError, match=r"^'../x' cannot name a dataset"):
        generate(workspace, Population(scale=2, days=2), name="../x")
    assert not workspace.data.exists()
