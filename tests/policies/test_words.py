"""Plain words: for people who read no SQL, and never kinder than the expression."""

import pytest

from workbench.features import FEATURES, IP_USERS
from workbench.policies import Expression, conditions, describe
from workbench.policies.vocabulary import COLUMNS, FLAGS, NOUNS

UNTOLD = " Where this cannot be told because something is missing, the event is not flagged."

SAID = {
    "action = 'export' AND NOT off_hours AND events_24h > 40": (
        'the action is "export" AND it is within working hours AND the number of the user\'s events in the last 24 hours '
        "is more than 40"
    ),
    "NOT (action = 'x' OR (off_hours AND ip_is_new))": (
        'it is NOT so that (the action is "x" OR (it is outside working hours AND the IP address is new for this user))'
    ),
    "NOT (NOT is_first)": "it is the user's first event",
    "off_hours = 0 AND is_weekend <> 0 AND ip_is_new > 0 AND is_first = true": (
        "it is within working hours AND it is the weekend where it happens AND the IP address is new for this user AND "
        "it is the user's first event"
    ),
    "action NOT IN ('a', 'b', 'c')": 'the action is not one of "a", "b" or "c"',
    "NOT action IN ('a')": 'the action is not "a"',
    "hour NOT BETWEEN 8 AND 17": "the local hour is not between 8 and 17, both included",
    "20 <= hour": "the local hour is at least 20",
    "NOT hour < 20": "the local hour is at least 20",
    "user LIKE 'adm%' AND user NOT LIKE '%test%' AND resource LIKE '%.pem'": (
        'the user starts with "adm" AND the user does not contain "test" AND the resource ends with ".pem"'
    ),
    "user LIKE 'a_b%'": 'the user has the form "a_b%" (% is any text, _ any one character)',
    "user !~ '^x'": 'the user does not match the pattern "^x"',
    "user = 'Иван'": 'the user is "Иван" (in Cyrillic letters)',
    "timestamp >= TIMESTAMP '2025-01-01'": 'the time (UTC) is at or after "2025-01-01"',
    "extract(hour FROM timestamp + to_minutes(utc_offset_min)) < 6": (
        "the hour of (the time (UTC) plus the minutes that local time is ahead of UTC) is less than 6"
    ),
    "source_is_new + ip_is_new >= 2": (
        "((1 if the source is new for this user, otherwise 0) plus (1 if the IP address is new for this user, otherwise "
        "0)) is at least 2"
    ),
    "substring(user, 1, 3) <> substring(user, 1, 4)": (
        "the 3 characters of the user from number 1 is not the 4 characters of the user from number 1"
    ),
    "events_24h > if(is_weekend, 5, 50)": (
        "the number of the user's events in the last 24 hours is more than (5 if it is the weekend where it happens, "
        "otherwise 50)"
    ),
    "off_hours IS NOT TRUE": "it is within working hours",
    "risk >= 0.8": "the risk score of the model is at least 0.8" + UNTOLD,
    "(risk > 0.5) IS NOT TRUE": "(the risk score of the model is at most 0.5, or this cannot be told)" + UNTOLD,
    "TRY_CAST(attributes->>'bytes' AS BIGINT) > 5000": (
        'the entry "bytes" of the attributes as a whole number (64 bits) is more than 5,000' + UNTOLD
    ),
    "attributes->>'region' IS NULL": 'the entry "region" of the attributes is missing' + UNTOLD,
}


@pytest.mark.parametrize(("text", "words"), SAID.items(), ids=list(SAID))
def test_it_says_what_the_expression_asks(text, words):
    told, dot, rest = f"Flags an event when: {words.removesuffix(UNTOLD)}.", "", UNTOLD if UNTOLD in words else ""
    assert describe(Expression.parse(text)) == told + dot + rest


def test_every_column_has_words():
    assert set(NOUNS) | set(FLAGS) == set(COLUMNS)
    assert set(FLAGS) == {feature.name for feature in (*FEATURES, IP_USERS) if feature.unit == "0 or 1"}


def test_the_conditions_are_what_the_outermost_and_joins():
    expression = Expression.parse("is_first AND (off_hours OR ip_is_new) AND NOT (hour > 3 AND hour < 5)")
    assert conditions(expression) == (
        "it is the user's first event",
        "(it is outside working hours OR the IP address is new for this user)",
        "it is NOT so that (the local hour is more than 3 AND the local hour is less than 5)",
    )


def test_every_useful_expression_can_be_said():
    from importlib import util
    from pathlib import Path

    place = Path(__file__).with_name("test_useful_expressions.py")
    spec = util.spec_from_file_location("useful", place)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said = [describe(Expression.parse(text)) for text, _ in module.USEFUL]
    assert len(set(said)) == len(said)
    assert [sentence for sentence in said if "{" in sentence or "None" in sentence] == []
