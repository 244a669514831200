"""What one person sees and may do: questions and answers, without a page."""

import base64
import json

import pytest
from cryptography.x509 import load_pem_x509_certificate

from workbench.errors import (
    InputError,
    IntegrityError,
    KeyFileError,
    LifecycleError,
    NotFoundError,
    NotPermittedError,
    OvertakenError,
)
from workbench.events import Population, generate
from workbench.evidence.certificates import fingerprint
from workbench.evidence.envelope import Envelope
from workbench.files import canonical_json, sha256_bytes
from workbench.lifecycle import Action, State

NIGHT = "policy:night-export@2"


@pytest.mark.slow
def test_the_queue_puts_what_waits_for_me_first(office):
    seen = {
        person: [(one.subject, one.mine, [action.value for action in one.may]) for one in office.desk(person).queue()]
        for person in ("ann", "rob", "eve")
    }
    both, solo = ["approve", "reject"], "policy:solo@1"
    assert seen == {
        "ann": [(NIGHT, True, both), (solo, True, both)],
        "rob": [(NIGHT, True, both), (solo, True, ["reject"])],
        "eve": [(NIGHT, False, []), (solo, False, [])],
    }
    assert office.desk("ann").queue()[0].title == "Exports at <b>night</b>"


def test_an_item_is_told_whole(office):
    item = office.desk("ann").item(NIGHT)
    assert (item.state, item.required, item.approvers, item.active) == (
        State.REVIEW,
        1,
        (),
        "policy:night-export@1",
    )
    assert item.may == (Action.APPROVE, Action.REJECT)
    assert item.refusals[Action.WITHDRAW].startswith("there is no approval")
    assert item.shown["against"]["policy"]["severity"] == "high"
    assert item.shown["policy"]["severity"] == "critical"
    assert item.shown["conditions"][0] == 'the action is "export"'
    assert [row["action"] for row in item.history] == ["submit", "approve", "submit"]
    assert [(one.person.pseudonym, one.allowed) for one in item.voices] == [
        ("p:rob", True),
        ("p:ann", True),
        ("p:ben", True),
    ]
    assert (item.problems, item.backtest) == ((), None)


@pytest.mark.slow
def test_what_is_signed_is_the_digest_of_what_the_item_shows(office, words_of):
    desk = office.desk("ann")
    item = desk.item(NIGHT)
    proposal = desk.propose(item, Action.REJECT)
    receipt = desk.decide(proposal, reason="Too many.", passphrase=words_of("ann"))
    kept = json.loads((office.workspace.evidence / "_shown" / f"{receipt['shown_sha256']}.json").read_text())
    assert {key: kept[key] for key in item.shown} == item.shown
    assert receipt["shown_sha256"] == sha256_bytes(canonical_json(kept))
    assert receipt["statement"] == proposal.sentence
    assert (receipt["action"], receipt["to"], receipt["reason"]) == ("reject", "DRAFT", "Too many.")
    envelope = base64.b64decode(receipt["envelope_base64"])
    assert sha256_bytes(envelope) == receipt["envelope_sha256"]
    statement = Envelope.read(envelope, what="it").statement()
    assert statement["predicate"]["statementShown"] == proposal.sentence
    certificate = load_pem_x509_certificate(receipt["certificate_pem"].encode())
    assert fingerprint(certificate) == receipt["certificate_sha256"]
    assert desk.receipt(receipt["ledger_entry"], NIGHT) == receipt
    assert office.lifecycle.audit() == []


@pytest.mark.slow
def test_approving_what_replaces_another_needs_the_tick(office, words_of):
    desk = office.desk("ann")
    proposal = desk.propose(desk.item(NIGHT), Action.APPROVE)
    before = office.size
    with pytest.raises(InputError, match="tick the box: approving this takes version 1 of night-export out of use"):
        desk.decide(proposal, reason="Good.", passphrase=words_of("ann"))
    assert office.size == before
    desk.decide(proposal, reason="Good.", passphrase=words_of("ann"), agreed=True)
    assert (office.state(NIGHT), office.state("policy:night-export@1")) == ("ACTIVE", "RETIRED")


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"reason": "  "}, InputError, "a decision needs a reason"),
        ({"passphrase": "wrong"}, KeyFileError, "wrong passphrase; nothing was signed"),
        ({"passphrase": ""}, KeyFileError, "type your passphrase"),
        ({"reason": "x" * 4_001}, LifecycleError, "at most 4,000 characters"),
    ],
)
def test_what_is_refused_leaves_nothing_half_done(office, words_of, given, error, told):
    desk = office.desk("ann")
    proposal = desk.propose(desk.item("policy:solo@1"), Action.APPROVE)
    before = office.size
    with pytest.raises(error, match=told):
        desk.decide(proposal, **({"reason": "Good.", "passphrase": words_of("ann")} | given))
    assert (office.size, office.state("policy:solo@1")) == (before, "REVIEW")


def test_nobody_approves_their_own_and_an_examiner_decides_nothing(office):
    rob = office.desk("rob")
    item = rob.item("policy:solo@1")
    assert item.may == (Action.REJECT,)
    assert item.refusals[Action.APPROVE] == "p:rob submitted policy:solo@1: somebody else must approve it"
    with pytest.raises(NotPermittedError, match="somebody else must approve it"):
        rob.propose(item, Action.APPROVE)
    assert office.desk("eve").item("policy:solo@1").may == ()


@pytest.mark.slow
def test_whoever_is_late_is_told_and_signs_nothing(office, words_of):
    ann, ben = office.desk("ann"), office.desk("ben")
    proposals = [desk.propose(desk.item("policy:solo@1"), Action.APPROVE) for desk in (ann, ben)]
    ann.decide(proposals[0], reason="Good.", passphrase=words_of("ann"))
    before = office.size
    with pytest.raises(OvertakenError, match=r"somebody was faster: .* is ACTIVE .* nothing was recorded"):
        ben.decide(proposals[1], reason="Good.", passphrase=words_of("ben"))
    assert office.size == before
    with pytest.raises(LifecycleError):
        ben.propose(ben.item("policy:solo@1"), Action.REJECT)


@pytest.mark.slow
def test_with_two_required_an_approval_can_be_withdrawn(office, words_of):
    office.lifecycle.people.require("policy", 2, by="olga", passphrase=words_of("olga"))
    ann = office.desk("ann")
    ann.decide(ann.propose(ann.item("policy:solo@1"), Action.APPROVE), reason="Good.", passphrase=words_of("ann"))
    item = ann.item("policy:solo@1")
    assert (item.approvers, item.required, item.may) == (("p:ann",), 2, (Action.REJECT, Action.WITHDRAW))
    receipt = ann.decide(ann.propose(item, Action.WITHDRAW), reason="No.", passphrase=words_of("ann"))
    assert (receipt["action"], receipt["to"]) == ("withdraw", "REVIEW")
    assert ann.item("policy:solo@1").approvers == ()


def test_a_key_past_its_time_is_said_before_anything_is_typed(office):
    office.clock.advance_ns(20 * 365 * 86_400 * 1_000_000_000)
    item = office.desk("ann").item("policy:solo@1")
    assert item.may == ()
    assert item.refusals[Action.APPROVE].startswith("the key of p:ann may not sign now")


@pytest.mark.slow
def test_a_backtest_is_kept_and_becomes_part_of_what_is_signed(office, words_of):
    generate(office.workspace, Population(scale=10, days=30, seed=5), name="demo")
    desk = office.desk("ann")
    assert desk.datasets() == ["demo"]
    found = desk.try_on(desk.item(NIGHT), "demo")
    item = desk.item(NIGHT)
    assert item.backtest is not None and item.backtest.sha256 == found.sha256 == item.shown["backtest"]["sha256"]
    assert found.content["comparison"] is not None and found.content["labelled"] is not None
    proposal = desk.propose(item, Action.REJECT)
    assert proposal.shown["backtest"]["sha256"] == found.sha256


def test_a_changed_policy_cannot_be_opened_and_its_neighbours_can(office):
    desk = office.desk("ann")
    solo = desk.item("policy:solo@1").subject
    path = office.workspace.data / "policies" / f"{solo.sha256}.json"
    path.write_bytes(path.read_bytes().replace(b"Nobody", b"NOBODY"))
    assert [one.title for one in desk.queue()] == ["Exports at <b>night</b>", "policy:solo@1"]
    with pytest.raises(IntegrityError, match="was changed"):
        desk.item("policy:solo@1")


@pytest.mark.parametrize("text", ["policy:none@1", "policy:solo@9", "nonsense", "report:x", "policy:../../etc@1", ""])
def test_what_is_not_there_is_said(office, text):
    with pytest.raises(InputError):
        office.desk("ann").item(text)


@pytest.mark.parametrize(("seq", "subject"), [(1, "policy:solo@1"), (10**9, "policy:solo@1")])
def test_a_receipt_is_of_one_decision_on_one_subject(office, seq, subject):
    with pytest.raises(NotFoundError, match="is no decision on policy:solo@1"):
        office.desk("ann").receipt(seq, subject)
