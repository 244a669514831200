"""What changed: in plain words, and line by line."""

import pytest

from workbench.policies import compare


def test_each_field_has_its_sentence(policy):
    old = policy()
    new = policy("action = 'export' AND events_24h > 9", severity="low", controls=["NIST-AC-2"], title="Other")
    difference = compare(old, new, old_name="night-export@1", new_name="night-export@2")
    assert difference.changed == ("title", "severity", "controls", "expression")
    assert difference.words == (
        "The title is worded anew.",
        "The severity goes down from high to low.",
        "It now also implements NIST-AC-2.",
        "It no longer implements NIST-AC-6.",
        "Dropped condition: it is outside working hours.",
        "New condition: the number of the user's events in the last 24 hours is more than 9.",
    )
    assert difference.unified.split("\n")[:2] == ["--- night-export@1", "+++ night-export@2"]
    assert "-expression: action = 'export' AND off_hours" in difference.unified
    assert "+expression: action = 'export' AND events_24h > 9" in difference.unified


@pytest.mark.parametrize(
    ("old", "new", "last"),
    [
        ("off_hours", "off_hours AND ip_is_new", "New condition: the IP address is new for this user. It flags the same events or fewer."),
        ("off_hours AND ip_is_new", "ip_is_new", "Dropped condition: it is outside working hours. It flags the same events or more."),
        ("off_hours", "off_hours OR ip_is_new", "New condition: it is outside working hours OR the IP address is new for this user."),
        ("hour > 3", "hour  >  3", "The expression is written differently; in plain words it reads the same."),
    ],
)  # fmt: skip
def test_it_says_which_way_an_expression_moves_only_where_that_is_sure(policy, old, new, last):
    words = compare(policy(old), policy(new)).words
    if "OR" not in new:
        assert words[-1] == last
    else:
        assert "same events" not in " ".join(words)


def test_the_same_policy_has_no_difference(policy):
    assert compare(policy(), policy()).as_dict() == {"changed": [], "words": ["Nothing changed."], "unified": ""}
