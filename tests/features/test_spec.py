"""A spec is a value with a digest that says which rules were in force."""

import dataclasses

import pytest

from workbench.errors import InputError
from workbench.features import FEATURES, IP_USERS, SPEC_VERSION, FeatureSpec

NAMES = [
    "hour",
    "day_of_week",
    "is_weekend",
    "off_hours",
    "is_first",
    "seconds_since_last",
    "events_1h",
    "events_24h",
    "events_7d",
    "burst",
    "violations_30d",
    "violation_rate_30d",
    "seconds_since_violation",
    "denials_24h",
    "source_is_new",
    "ip_is_new",
    "resource_is_new",
    "action_is_new",
    "ips_24h",
    "resources_24h",
    "sources_7d",
    "hour_share_30d",
    "tenure_days",
]


def test_the_features_are_these_twenty_three() -> None:
    assert [feature.name for feature in FEATURES] == NAMES
    assert FeatureSpec().columns == tuple(NAMES)
    assert IP_USERS.name == "ip_users_24h"


def test_every_feature_says_what_it_is() -> None:
    for feature in (*FEATURES, IP_USERS):
        for field in dataclasses.fields(feature):
            assert getattr(feature, field.name), (feature.name, field.name)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("denials_24h", 0.0, "no denials in 24 h"),
        ("denials_24h", 1.0, "1 denial in 24 h"),
        ("events_7d", 1234.0, "1,234 events in 7 days"),
        ("ip_is_new", 0.0, "an IP seen before"),
        ("ip_is_new", 1.0, "first time from this IP"),
        ("day_of_week", 6.0, "on a Sunday"),
        ("hour", 7.0, "at 07 h local time"),
        ("seconds_since_last", 2_592_000.0, "no event in the 30 days before"),
        ("seconds_since_last", 90.0, "90 s since the last event"),
        ("seconds_since_last", 7_200.0, "2 h since the last event"),
        ("seconds_since_violation", 2_592_000.0, "no violation known in 30 days"),
        ("seconds_since_violation", 2_591_999.0, "30 days since a violation became known"),
        ("seconds_since_violation", 0.0, "0 s since a violation became known"),
        ("violation_rate_30d", 0.0123, "violation rate 1.2 % in 30 days"),
        ("hour_share_30d", 0.0716, "7.2 % of the user's events fall in this hour"),
    ],
)
def test_a_value_can_be_said_in_words(name: str, value: float, words: str) -> None:
    assert next(feature for feature in FEATURES if feature.name == name).say(value) == words


def test_the_digest_covers_names_settings_and_sql_of_ones_own() -> None:
    specs = [
        FeatureSpec(),
        FeatureSpec(names=("hour",)),
        FeatureSpec(names=("hour", "is_first")),
        FeatureSpec(names=("is_first", "hour")),
        FeatureSpec(day_starts=7),
        FeatureSpec(day_ends=19),
        FeatureSpec(extra=(("mine", "1"),)),
        FeatureSpec(extra=(("mine", "2"),)),
        FeatureSpec(extra=(("yours", "1"),)),
    ]
    assert len({spec.sha256 for spec in specs}) == len(specs)
    assert FeatureSpec().sha256 == FeatureSpec().sha256


def test_the_digest_of_the_shipped_spec_changes_only_with_its_version() -> None:
    """Definitions changed? Then SPEC_VERSION goes up with this digest: old models must not run on new features."""
    assert (SPEC_VERSION, FeatureSpec().sha256) == (
        2,
        "189234d05ea6e8f7010204ccf3b191c82fa0b1d270edf84a1550f3889d129e7a",
    )


def test_a_spec_survives_the_way_through_json() -> None:
    spec = FeatureSpec(names=("hour", "ip_users_24h"), day_starts=7, extra=(("mine", "length(resource)"),))
    assert FeatureSpec.from_dict(spec.as_dict()) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"version": True},
        {"names": ["nothing"]},
        {"names": "hour"},
        {"names": [1]},
        {"day_starts": 6.0},
        {"day_starts": 21},
        {"extra": [["a"]]},
        {"extra": {"a": "b"}},
        {"sha256": "0" * 64},
        {"more": 1},
    ],
)
def test_what_is_no_spec_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        FeatureSpec.from_dict(FeatureSpec().as_dict() | change)


@pytest.mark.parametrize("content", [None, [], "spec", {}, 3])
def test_what_is_not_even_a_mapping_of_a_spec_is_refused(content: object) -> None:
    with pytest.raises(InputError, match=r"^not a feature spec"):
        FeatureSpec.from_dict(content)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": ("hours",)}, "unknown feature 'hours'; did you mean 'hour'?"),
        ({"names": ("hour", "hour")}, "feature named twice: hour"),
        ({"names": ()}, "a feature spec needs at least one feature"),
        ({"extra": (("hour", "1"),)}, "'hour' cannot name a feature of one's own"),
        ({"extra": (('a"b', "1"),)}, "cannot name a feature of one's own"),
        ({"day_starts": 20, "day_ends": 6}, "a day from 20 h to 6 h: expected 0 <= start < end <= 24"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        FeatureSpec(**given)  # type: ignore[arg-type]
    assert message in str(refused.value)
