"""Folding the entries in plain Python gives, after every entry, what the views say."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.clock import VirtualClock
from workbench.ledger import MemoryLedger

SHA = "ab" * 32
DECISIONS = ("approve", "reject", "withdraw")
ACTIONS = [
    ("submit", "REVIEW"), ("approve", "REVIEW"), ("approve", "ACTIVE"), ("withdraw", "REVIEW"), ("reject", "DRAFT"),
    ("retire", "RETIRED"),
]  # fmt: skip
PEOPLE = ["p:ann", "p:ben"]
DECIDED = st.tuples(
    st.just("decided"), st.sampled_from(["policy:a@1", "policy:a@12", "report:r@1"]), st.sampled_from(ACTIONS),
    st.sampled_from(PEOPLE),
)  # fmt: skip
BUNDLED = st.tuples(
    st.just("bundled"), st.sampled_from(["report:r@1", "report:r@2"]), st.sampled_from(["approve", "reject"]),
    st.sampled_from(PEOPLE), st.sampled_from([SHA, "cd" * 32]),
)  # fmt: skip
BOTH = st.tuples(st.just("both"), st.sampled_from(DECISIONS), st.sampled_from(PEOPLE))
ANCHOR = st.tuples(st.just("anchor"), st.sampled_from(["local", "external"]))


def book():
    return MemoryLedger(clock=VirtualClock(start_ns=1_777_800_000_000_000_000))


def decide(tx, about, action, target, person):
    fields = {
        "about": about, "subjectSha256": SHA, "action": action, "fromState": "REVIEW", "toState": target,
        "role": "reviewer", "authors": [], "required": 1, "shownSha256": SHA, "certSha256": SHA, "envelopeSha256": SHA,
    }  # fmt: skip
    tx.append("subject.decided", person, fields=fields, commitment=SHA)


def bundle(tx, about, decision, person, digest=SHA):
    version = int(about.partition("@")[2])
    fields = {"reportId": "r", "reportVersion": version, "payloadSha256": digest, "decision": decision}
    tx.append("approval.recorded", person, fields={**fields, "envelopeSha256": SHA, "certSha256": SHA})


def append(tx, step):
    kind, *rest = step
    if kind == "decided":
        about, (action, target), person = rest
        decide(tx, about, action, target, person)
    elif kind == "bundled":
        bundle(tx, *rest)
    elif kind == "both":  # as the lifecycle of a report does it
        decide(tx, "report:r@1", rest[0], "REVIEW", rest[1])
        bundle(tx, "report:r@1", *rest)
    else:
        fields = {"size": tx.size, "root": "AAAA", "authority": rest[0], "timestampSha256": SHA}
        tx.append("checkpoint.anchored", fields=fields)


def folded(entries):
    """History, states and approvals, one entry after the other."""
    history, states, words, bundled, decided = [], {}, {}, {}, {}
    stamped = {"local": 0, "external": 0}
    for entry in entries:
        seq, actor = entry["seq"], entry["actor"]
        if entry["type"] == "checkpoint.anchored":
            stamped[entry["authority"]] = entry["size"]
        elif entry["type"] == "approval.recorded":
            about = f"report:{entry['reportId']}@{entry['reportVersion']}"
            bundled[about, entry["payloadSha256"], actor] = (seq, entry["decision"])
        else:
            about, action = entry["about"], entry["action"]
            history.append((seq, about, action, actor, entry["toState"]))
            _, _, _, submitter, approvers = states.get(about, (None, None, None, None, set()))
            if action == "submit":
                submitter, approvers = actor, set()
            elif action == "approve" and submitter is not None:
                approvers = approvers | {actor}
            elif action == "withdraw":
                approvers = approvers - {actor}
            states[about] = (action, entry["toState"], seq, submitter, approvers)
            if action in DECISIONS:
                words[about, actor] = (seq, action)
                decided[seq] = (about, actor)
    approvals = [(seq, about, actor, what) for (about, actor), (seq, what) in words.items()]
    approvals += [
        (seq, about, actor, what)
        for (about, _, actor), (seq, what) in bundled.items()
        if decided.get(seq - 1) != (about, actor)
    ]

    def timed(row):
        inside = max(stamped.values())
        return (*row, "external" if row[0] < stamped["external"] else "local" if row[0] < inside else "none")

    told = {
        about: (state, seq, submitter, [] if action == "reject" else sorted(approvers))
        for about, (action, state, seq, submitter, approvers) in states.items()
    }
    return list(map(timed, history)), told, list(map(timed, sorted(approvals)))


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(st.one_of(DECIDED, DECIDED, BUNDLED, BOTH, ANCHOR), min_size=6, max_size=18))
def test_after_every_entry_the_views_say_what_a_fold_in_python_says(steps):
    ledger = book()
    with ledger.transaction() as tx:
        for step in steps:
            append(tx, step)
    entries = [json.loads(line) for line in ledger.entries()]
    about = "kind || ':' || name || '@' || version AS about"
    for size in range(len(entries) + 1):
        history, states, approvals = folded(entries[:size])
        rows = ledger.query("SELECT seq, subject, action, person, to_state, timestamp FROM subject_history", size=size)
        assert [tuple(row.values()) for row in rows] == history
        rows = ledger.query("SELECT subject, state, seq, submitter, approvers FROM states", size=size)
        assert {row["subject"]: tuple(row.values())[1:] for row in rows} == states
        rows = ledger.query(f"SELECT seq, {about}, approver, decision, timestamp FROM approvals", size=size)
        assert [tuple(row.values()) for row in rows] == approvals


def test_whole_views_come_as_columns_with_the_rows_of_a_query():
    ledger = book()
    with ledger.transaction() as tx:
        decide(tx, "policy:a@1", "submit", "REVIEW", "p:ann")
        decide(tx, "policy:a@1", "approve", "ACTIVE", "p:ben")
        decide(tx, "policy:a@1", "reject", "DRAFT", "p:ann")
    for size in (None, 2, 1):
        rows = ledger.query("SELECT approver, decision, seq FROM approvals", size=size)
        frame = ledger.frame("SELECT approver, decision, seq FROM approvals", size=size)
        assert frame.to_dict("records") == rows
        assert list(frame.columns) == ["approver", "decision", "seq"]
