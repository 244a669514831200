"""What an expression may be: each passes, and says of made-up events what the same rule in Python says."""

import json
import random
from datetime import datetime, timedelta

import duckdb
import pandas as pd
import pytest

from workbench.events import EVENT_COLUMNS, OUTCOMES
from workbench.events.sql_tree import SETTINGS
from workbench.features import FEATURES, IP_USERS
from workbench.policies import Expression
from workbench.policies.vocabulary import COLUMNS, FLAGS

day = datetime.fromisoformat


def local(e):
    return e["timestamp"] + timedelta(minutes=e["utc_offset_min"])


def attribute(e, name):
    value = json.loads(e["attributes"]).get(name)
    return None if value is None else str(value)


def number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


USEFUL = [
    ("outcome = 'denied'", lambda e: e["outcome"] == "denied"),
    ("risk >= 0.8", lambda e: e["risk"] is not None and e["risk"] >= 0.8),
    ("action = 'export' AND NOT off_hours AND events_24h > 40", lambda e: e["action"] == "export" and not e["off_hours"] and e["events_24h"] > 40),
    ("action = 'export' AND (off_hours OR is_weekend)", lambda e: e["action"] == "export" and (e["off_hours"] or e["is_weekend"])),
    ("off_hours = 1 AND is_first = 0", lambda e: e["off_hours"] == 1 and e["is_first"] == 0),
    ("source_is_new AND ip_is_new AND NOT is_first", lambda e: e["source_is_new"] and e["ip_is_new"] and not e["is_first"]),
    ("source_is_new + ip_is_new + resource_is_new >= 2", lambda e: e["source_is_new"] + e["ip_is_new"] + e["resource_is_new"] >= 2),
    ("action IN ('login', 'export')", lambda e: e["action"] in ("login", "export")),
    ("action NOT IN ('login', 'export')", lambda e: e["action"] not in ("login", "export")),
    ("hour BETWEEN 2 AND 4", lambda e: 2 <= e["hour"] <= 4),
    ("hour NOT BETWEEN 2 AND 4", lambda e: not 2 <= e["hour"] <= 4),
    ("hour < 6 OR hour >= 20", lambda e: e["hour"] < 6 or e["hour"] >= 20),
    ("day_of_week IN (5, 6)", lambda e: e["day_of_week"] in (5, 6)),
    ("user LIKE 'adm%'", lambda e: e["user"].startswith("adm")),
    ("user NOT LIKE 'adm%'", lambda e: not e["user"].startswith("adm")),
    ("resource ILIKE '%SECRET%'", lambda e: "secret" in e["resource"].lower()),
    ("starts_with(ip, '10.')", lambda e: e["ip"].startswith("10.")),
    ("NOT starts_with(ip, '10.')", lambda e: not e["ip"].startswith("10.")),
    ("ends_with(resource, '.pem')", lambda e: e["resource"].endswith(".pem")),
    ("contains(resource, 'payroll')", lambda e: "payroll" in e["resource"]),
    ("resource ~ '^(hr|fin)/'", lambda e: e["resource"].startswith(("hr/", "fin/"))),
    ("regexp_matches(user, '[0-9]+$')", lambda e: e["user"][-1].isdigit()),
    ("split_part(resource, '/', 1) = 'hr'", lambda e: e["resource"].split("/")[0] == "hr"),
    ("lower(user) = 'admin-1'", lambda e: e["user"].lower() == "admin-1"),
    ("length(resource) > 12", lambda e: len(e["resource"]) > 12),
    ("left(user, 3) = 'adm' OR right(user, 1) = '2'", lambda e: e["user"][:3] == "adm" or e["user"][-1] == "2"),
    ("substring(user, 1, 3) = 'adm'", lambda e: e["user"][:3] == "adm"),
    ("source = '∅'", lambda e: e["source"] == "∅"),
    ("user = 'Zoë' OR user = '山田'", lambda e: e["user"] in ("Zoë", "山田")),
    ("user = 'o''brien'", lambda e: e["user"] == "o'brien"),
    ("\"timestamp\" >= TIMESTAMP '2025-02-01'", lambda e: e["timestamp"] >= day("2025-02-01")),
    ("timestamp < '2025-02-01' AND action = 'read'", lambda e: e["timestamp"] < day("2025-02-01") and e["action"] == "read"),
    ("extract(hour FROM timestamp) = 3", lambda e: e["timestamp"].hour == 3),
    ("extract(hour FROM timestamp + to_minutes(utc_offset_min)) < 6", lambda e: local(e).hour < 6),
    ("date_part('isodow', timestamp) >= 6", lambda e: e["timestamp"].isoweekday() >= 6),
    ("date_trunc('month', timestamp) = DATE '2025-01-01'", lambda e: (e["timestamp"].year, e["timestamp"].month) == (2025, 1)),
    ("timestamp - INTERVAL 3 DAY > TIMESTAMP '2025-02-01'", lambda e: e["timestamp"] - timedelta(days=3) > day("2025-02-01")),
    ("attributes->>'region' = 'eu'", lambda e: attribute(e, "region") == "eu"),
    ("attributes->>'region' IS NULL", lambda e: attribute(e, "region") is None),
    ("TRY_CAST(attributes->>'bytes' AS DOUBLE) > 1e6", lambda e: number(attribute(e, "bytes")) is not None and number(attribute(e, "bytes")) > 1e6),
    ("coalesce(TRY_CAST(attributes->>'bytes' AS DOUBLE), 0) <= 1_000_000", lambda e: (number(attribute(e, "bytes")) or 0) <= 1e6),
    ("NOT (attributes->>'region' = 'eu')", lambda e: attribute(e, "region") not in (None, "eu")),
    ("attributes->>'region' IS DISTINCT FROM 'eu'", lambda e: attribute(e, "region") != "eu"),
    ("risk > 0.5 OR denials_24h >= 3", lambda e: (e["risk"] is not None and e["risk"] > 0.5) or e["denials_24h"] >= 3),
    ("(risk > 0.5) IS NOT TRUE", lambda e: e["risk"] is None or e["risk"] <= 0.5),
    ("off_hours IS TRUE AND events_1h > 10", lambda e: e["off_hours"] and e["events_1h"] > 10),
    ("events_1h > 0.5 * events_24h AND events_24h > 20", lambda e: e["events_1h"] > 0.5 * e["events_24h"] > 10),
    ("events_1h / events_24h > 0.5", lambda e: e["events_24h"] > 0 and e["events_1h"] / e["events_24h"] > 0.5),
    ("events_7d % 2 = 0", lambda e: e["events_7d"] % 2 == 0),
    ("CASE WHEN off_hours THEN events_24h > 10 ELSE events_24h > 60 END", lambda e: e["events_24h"] > (10 if e["off_hours"] else 60)),
    ("events_24h > if(is_weekend, 5, 50)", lambda e: e["events_24h"] > (5 if e["is_weekend"] else 50)),
    ("greatest(ips_24h, sources_7d) >= 80", lambda e: max(e["ips_24h"], e["sources_7d"]) >= 80),
    ("seconds_since_last < 60 AND burst > 5", lambda e: e["seconds_since_last"] < 60 and e["burst"] > 5),
    ("ip_users_24h > 90", lambda e: e["ip_users_24h"] > 90),
    ("user || '@' || source = 'admin-1@laptop'", lambda e: f"{e['user']}@{e['source']}" == "admin-1@laptop"),
    ("nullif(source, '∅') IS NULL", lambda e: e["source"] == "∅"),
    ("ACTION = 'export' and Off_Hours", lambda e: e["action"] == "export" and e["off_hours"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def events():
    rng = random.Random(3)
    features = [feature.name for feature in (*FEATURES, IP_USERS)]
    rows = []
    for place in range(400):
        attributes = {}
        if rng.random() < 0.7:
            attributes["region"] = rng.choice(["eu", "us"])
        if rng.random() < 0.7:
            attributes["bytes"] = rng.choice(["17", "2000000", "many", 5_000_000])
        row = {
            "event_id": f"e{place}",
            "timestamp": day("2025-01-01") + timedelta(minutes=rng.randrange(90 * 24 * 60)),
            "utc_offset_min": rng.choice([-300, 0, 60, 330]),
            "user": rng.choice(["admin-1", "Admin-1", "clerk-2", "o'brien", "Zoë", "山田", "bob"]),
            "source": rng.choice(["laptop", "∅"]),
            "ip": rng.choice(["10.0.0.1", "192.168.1.1"]),
            "action": rng.choice(["login", "read", "export"]),
            "resource": rng.choice(["hr/payroll", "fin/Secret.txt", "dev/key.pem", "x"]),
            "outcome": rng.choice(OUTCOMES),
            "attributes": json.dumps(attributes),
            "risk": rng.choice([None, rng.random(), 0.8]),
        }
        row |= {name: float(rng.randrange(2 if name in FLAGS else 100)) for name in features}
        row["hour"] = float(rng.randrange(24))
        row["day_of_week"] = float(rng.randrange(7))
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def table(events):
    with duckdb.connect() as connection:
        for setting in SETTINGS:
            connection.execute(setting)
        frame = pd.DataFrame(events, columns=list(COLUMNS))
        connection.register("frame", frame)
        casts = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in COLUMNS.items())
        connection.execute(f"CREATE TABLE events AS SELECT {casts} FROM frame")
        connection.execute("UPDATE events SET risk = NULL WHERE isnan(risk)")
        yield connection


def test_there_are_enough_of_them():
    assert len({one[0] for one in USEFUL}) >= 40


@pytest.mark.parametrize(("text", "rule"), USEFUL, ids=[one[0][:60] for one in USEFUL])
def test_it_flags_what_the_same_rule_in_python_flags(text, rule, events, table):
    expression = Expression.parse(text)
    found = table.execute(f"SELECT event_id FROM events WHERE {expression.sql} ORDER BY event_id").fetchall()
    expected = sorted(event["event_id"] for event in events if rule(event))
    assert [row[0] for row in found] == expected
    assert 0 < len(expected) < len(events)


@pytest.mark.parametrize("text", [one[0] for one in USEFUL if "risk" not in one[0]])
def test_an_expression_that_says_that_it_is_never_unknown_never_is(text, table):
    expression = Expression.parse(text)
    if not expression.may_be_unknown:
        ((unknown,),) = table.execute(f"SELECT count(*) FROM events WHERE ({expression.sql}) IS NULL").fetchall()
        assert unknown == 0


def test_every_column_of_an_event_and_every_feature_is_in_reach():
    assert set(COLUMNS) == {*EVENT_COLUMNS, *(feature.name for feature in (*FEATURES, IP_USERS)), "risk"}
    listed = " OR ".join(f'"{name}" IS NULL' for name in COLUMNS)
    assert Expression.parse(listed).columns == set(COLUMNS)
