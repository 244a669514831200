"""Histories, states at any time, and that folding the entries in plain Python gives what the views say."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.evidence.certificates import Role
from workbench.ledger import MemoryLedger
from workbench.ledger.views import needed
from workbench.lifecycle.reading import moment_of

NOON = datetime(2026, 5, 3, 9, 20, tzinfo=UTC)
START_NS = 1_777_800_000_000_000_000


def second(number):
    return NOON + timedelta(seconds=number)


def test_history_has_what_an_auditor_asks_for(project, policy):
    project.act(policy, "submit", "rita", metadata={"commit": "1f0c2d3"})
    approved = project.act(policy, "approve", "ann", reason="the hits are all of one script")
    row = project.lifecycle.history(policy)[1]
    assert row == {
        "seq": approved.seq, "kind": "policy", "name": "bulk", "version": 1, "subject": "policy:bulk@1",
        "digest": policy.sha256, "action": "approve", "person": "p:ann", "role": "reviewer", "from_state": "REVIEW",
        "to_state": "ACTIVE", "time": "2026-05-03T09:20:02.000Z", "commitment": row["commitment"], "required": 1,
        "shown_sha256": approved.proposal.shown_sha256, "envelope_sha256": approved.envelope_sha256,
        "cert_sha256": approved.certificate_sha256, "timestamp": "none",
        "reason": "the hits are all of one script", "metadata": {},
    }  # fmt: skip
    assert re.fullmatch("[0-9a-f]{64}", row["commitment"])
    (approval,) = project.custody.ledger.query("FROM approvals")
    assert {name: approval[name] for name in ("approver", "decision", "from_state", "to_state", "cert_sha256")} == {
        "approver": "p:ann", "decision": "approve", "from_state": "REVIEW", "to_state": "ACTIVE",
        "cert_sha256": approved.certificate_sha256,
    }  # fmt: skip
    assert project.custody.ledger.query("FROM policy_history") == project.custody.ledger.query("FROM subject_history")


def test_a_name_s_history_has_all_its_versions(project, policy):
    project.activate(policy)
    second_version = project.kind.write("bulk", 2)
    project.act(second_version, "submit", "rita")
    other = project.kind.write("bulky", 1)
    project.act(other, "submit", "rita")
    assert [row["version"] for row in project.lifecycle.history("policy:bulk")] == [1, 1, 2]
    assert len(project.lifecycle.history()) == 4


def test_what_held_at_a_time_is_told_for_that_time(project, policy):
    project.activate(policy)
    project.act(policy, "retire", "ann")
    states = [
        [row["state"] for row in project.lifecycle.as_of(second(number) + timedelta(milliseconds=500))]
        for number in range(-1, 5)
    ]
    assert states == [[], [], ["REVIEW"], ["ACTIVE"], ["RETIRED"], ["RETIRED"]]
    assert [row["action"] for row in project.lifecycle.history(policy, until=second(2))] == ["submit", "approve"]
    between = project.lifecycle.history(since=second(1), until=second(2))
    assert [row["action"] for row in between] == ["approve"]


def test_the_kind_of_time_is_that_of_the_best_checkpoint_over_it(project, policy):
    project.act(policy, "submit", "rita")
    sealers = project.custody.unlock("working passphrase")
    project.custody.checkpoint(sealers)
    project.act(policy, "approve", "ann")
    assert [row["timestamp"] for row in project.lifecycle.history(policy)] == ["local", "none"]
    project.custody.ledger.sign_checkpoint(
        sealers.ledger.document_key, stamp=sealers.authority.stamp, authority="external"
    )
    project.act(policy, "retire", "ann")
    assert [row["timestamp"] for row in project.lifecycle.history(policy)] == ["external", "external", "none"]


def test_a_report_decided_in_both_ways_is_one_approval(project):
    """A report's bundle has entries of its own; the lifecycle's decision just before is the same one."""
    ledger = project.custody.ledger
    sha = "ab" * 32
    with ledger.transaction() as transaction:
        transaction.append(
            "subject.decided", "p:ann", commitment=sha, fields=decided("report:r@1", "approve", "ACTIVE")
        )
        bundled = {"reportId": "r", "reportVersion": 1, "payloadSha256": sha, "envelopeSha256": sha, "certSha256": sha}
        transaction.append("approval.recorded", "p:ann", fields={**bundled, "decision": "approve"})
        transaction.append("approval.recorded", "p:ben", fields={**bundled, "decision": "reject"})
    rows = ledger.query("SELECT approver, decision, role FROM approvals")
    assert [tuple(row.values()) for row in rows] == [("p:ann", "approve", "reviewer"), ("p:ben", "reject", None)]


@pytest.mark.parametrize("date", ["", "yesterday", "2026-13-01", "2026-05-03T25:00"])
def test_a_date_that_is_none_is_refused(date):
    with pytest.raises(InputError, match="is not a date: expected one like 2026-05-03 or 2026-05-03T10:00Z"):
        moment_of(date)


def test_a_query_makes_only_the_views_that_it_asks():
    assert needed("SELECT 1") == []
    assert needed("FROM people") == ["raw", "grants", "people"]
    assert needed("SELECT * FROM POLICY_HISTORY") == [
        "raw",
        "anchors",
        "decisions",
        "subject_history",
        "policy_history",
    ]


def test_a_key_of_the_wrong_role_is_not_a_person_s(project):
    assert [info.identity for info in project.custody.store.issued() if info.role is Role.APPROVAL] != []
    assert project.lifecycle.check(project.kind.write("fresh", 1)) == []


# Replay


def decided(about, action, target, role="reviewer"):
    sha = "ab" * 32
    return {
        "about": about, "subjectSha256": sha, "action": action, "fromState": "REVIEW", "toState": target, "role": role,
        "authors": [], "required": 1, "shownSha256": sha, "certSha256": sha, "envelopeSha256": sha,
    }  # fmt: skip


STEPS = st.tuples(
    st.sampled_from(["policy:a@1", "policy:a@2", "policy:a@12", "policy:ab@1", "model:a@1", "report:a.b_c-d@3"]),
    st.sampled_from(
        [("submit", "REVIEW"), ("approve", "REVIEW"), ("approve", "ACTIVE"), ("withdraw", "REVIEW"), ("reject", "DRAFT"),
         ("retire", "RETIRED")]
    ),
    st.sampled_from(["p:ann", "p:ben", "p:cara"]),
)  # fmt: skip
ROLE_STEPS = st.tuples(
    st.sampled_from(["role.granted", "role.revoked"]), st.sampled_from(["ann", "ben"]),
    st.sampled_from(["owner", "reviewer"]),
)  # fmt: skip


def folded(entries):
    """Plain Python over the entries' JSON: where each subject stands, and who holds which role."""
    states, roles = {}, {}
    for data in entries:
        entry = json.loads(data)
        about = entry["about"]
        if about.startswith("person:"):
            held = roles.setdefault("p:" + about[7:], set())
            (held.add if entry["type"] == "role.granted" else held.discard)(entry["role"])
            continue
        one = states.setdefault(about, {"submitter": None, "given": {}, "submitted": False})
        one |= {"state": entry["toState"], "since": entry["time"], "person": entry["actor"], "seq": entry["seq"]}
        if entry["action"] == "submit":
            one |= {"submitter": entry["actor"], "given": {}, "submitted": True}
        elif entry["action"] in ("approve", "withdraw") and one["submitted"]:
            one["given"][entry["actor"]] = entry["action"]
        one["rejected"] = entry["action"] == "reject"
    told = {
        about: (one["state"], one["since"], one["person"], one["submitter"], one["seq"],
                [] if one["rejected"] else sorted(who for who, what in one["given"].items() if what == "approve"))
        for about, one in states.items()
    }  # fmt: skip
    return told, {person: sorted(held) for person, held in roles.items() if held}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(st.one_of(STEPS, ROLE_STEPS), max_size=25), st.data())
def test_folding_the_entries_gives_what_the_views_say_at_any_time(steps, data):
    clock = VirtualClock(start_ns=START_NS)
    ledger = MemoryLedger(clock=clock)
    sha = "ab" * 32
    with ledger.transaction() as transaction:
        for step in steps:
            clock.advance_ns(data.draw(st.sampled_from([0, 1_000_000_000])))
            if step[0].startswith("role."):
                type, person, role = step
                fields = {"about": f"person:{person}", "role": role, "certSha256": sha, "envelopeSha256": sha}
                transaction.append(type, "p:olga", fields=fields)
            else:
                about, (action, target), person = step
                transaction.append("subject.decided", person, fields=decided(about, action, target), commitment=sha)
    size = data.draw(st.integers(0, len(steps)))
    states, roles = folded(ledger.entries(0, size))
    assert {
        row["subject"]: (row["state"], row["since"], row["person"], row["submitter"], row["seq"], row["approvers"])
        for row in ledger.query("FROM states", size=size)
    } == states
    held = {}
    for row in ledger.query("FROM grants WHERE until IS NULL", size=size):
        held.setdefault(row["person"], []).append(row["role"])
    assert {person: sorted(names) for person, names in held.items()} == roles
    for row in ledger.query("SELECT subject, kind, name, version FROM states", size=size):
        assert row["subject"] == f"{row['kind']}:{row['name']}@{row['version']}"
