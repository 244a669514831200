"""Policies as what is decided on: what the lifecycle asks, and what a reviewer is shown."""

from dataclasses import dataclass

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.files import canonical_json
from workbench.policies import PolicyKind, PolicyStore, backtest, controls_of, shown


@dataclass(frozen=True)
class Subject:
    """As the lifecycle's."""

    kind: str
    name: str
    version: int
    sha256: str
    authors: tuple[str, ...] = ()


@pytest.fixture
def kind(workspace):
    return PolicyKind(workspace, Subject)


@pytest.fixture
def two(workspace, policy):
    store = PolicyStore(workspace)
    old, _ = store.add(policy(), author="p:ada")
    new, _ = store.add(
        policy("action = 'export' AND off_hours AND events_24h > 5", severity="critical"), author="p:bob"
    )
    return old, new


def test_it_finds_versions_with_their_authors(kind, two):
    old, new = two
    assert kind.find("night-export@1") == Subject("policy", "night-export", 1, old.sha256, ("p:ada",))
    assert list(kind.subjects()) == [kind.find("night-export@1"), kind.find(new.sha256[:10])]


def test_a_good_policy_has_no_objections_and_a_bad_one_says_why(kind, workspace, policy, two):
    assert list(kind.objections(kind.find("night-export"))) == []
    PolicyStore(workspace).add(policy(name="loose", controls=["OWN-9"]))
    assert list(kind.objections(kind.find("loose"))) == [
        "the control OWN-9 is in no catalogue; add it in policies/controls/",
        "it names no known control: at least one is needed",
    ]
    gone = kind.find("night-export@1")
    two[0].path.unlink()
    (objection,) = kind.objections(gone)
    assert "its file is gone" in objection


def test_a_subject_with_another_digest_is_not_taken(kind, two):
    with pytest.raises(IntegrityError, match="not abababababab as was said"):
        kind.version(Subject("policy", "night-export", 1, "ab" * 32))


def test_what_is_shown_is_the_whole_policy_its_words_the_difference_and_the_backtest(kind, two, events, workspace):
    old, new = two
    subject, active = kind.find("night-export@2"), kind.find("night-export@1")
    without = kind.shown(subject, active)
    assert without["backtest"] is None
    found = backtest(new, events, against=old, labels=events.labels())
    found.save(workspace)
    backtest(new, events).save(workspace)  # of another question
    told = kind.shown(subject, active)
    assert told["policy"] == new.policy.content and told["authors"] == ["p:bob"]
    assert told["controls"] == {"NIST-AC-6": "Least Privilege"}
    assert told["words"].startswith('Flags an event when: the action is "export" AND it is outside working hours AND')
    assert told["against"] == {"version": 1, "sha256": old.sha256, "policy": old.policy.content}
    assert told["difference"]["words"][0] == "The severity goes up from high to critical."
    assert told["backtest"]["sha256"] == found.sha256
    assert told["backtest"]["headline"]["hits"] == found.content["hits"]
    assert told["backtest"]["headline"]["added"] == found.content["comparison"]["added"]
    assert canonical_json(told) == canonical_json(kind.shown(subject, active))
    assert kind.shown(subject, None)["backtest"]["sha256"] != found.sha256
    assert not {"subject", "sha256"} & told.keys()


def test_a_backtest_of_something_else_is_not_shown(two, events):
    old, new = two
    with pytest.raises(InputError, match="is not one of night-export@2 against night-export@1"):
        shown(new, old, backtest(new, events), controls_of(None))
    with pytest.raises(InputError, match="is not one of night-export@2 against no other version"):
        shown(new, None, backtest(old, events), controls_of(None))


def test_damaged_backtests_are_passed_over(kind, two, events, workspace):
    (path,) = [backtest(two[1], events).save(workspace)]
    path.write_bytes(b"{}")
    assert kind.shown(kind.find("night-export@2"), None)["backtest"] is None
