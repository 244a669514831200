"""A decision is a signature on what was shown: it holds outside, a changed character voids it, and a forged one shows."""

import base64
import json
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from workbench.clock import utc
from workbench.errors import IntegrityError, MalformedError
from workbench.evidence.entries import Entry
from workbench.evidence.envelope import Envelope
from workbench.evidence.merkle import leaf_hash
from workbench.evidence.statements import DECISION_TYPE, read_change, read_decision
from workbench.files import canonical_json, sha256_bytes
from workbench.lifecycle import State
from workbench.lifecycle.attestations import Attestations, sign
from workbench.lifecycle.people import private_store


@pytest.fixture
def active(project, policy):
    project.act(policy, "submit", "rita")
    return project.act(policy, "approve", "ann", metadata={"ticket": "SEC-7"})


def decisions(project):
    return project.workspace.evidence / "_decisions"


def certificate_of(project, person):
    sha256 = project.lifecycle.people.find(person).certificate_sha256
    return project.custody.store.certificate(sha256).certificate


def test_the_statement_says_exactly_what_was_on_screen(project, policy, active):
    content = json.loads(Envelope.read(active.envelope).payload)
    shown = (project.workspace.evidence / "_shown" / f"{active.proposal.shown_sha256}.json").read_bytes()
    assert json.loads(shown) == {
        "format": 1, "subject": "policy:bulk@1", "sha256": policy.sha256, "active": None,
        "diff_sha256": sha256_bytes(b"None -> policy:bulk@1"),
    }  # fmt: skip
    assert content["subject"] == [
        {"name": "policy:bulk@1", "digest": {"sha256": policy.sha256}},
        {"name": "shown", "digest": {"sha256": sha256_bytes(shown)}},
    ]
    predicate = content["predicate"]
    assert (len(bytes.fromhex(predicate.pop("nonce"))), predicate.pop("previousCheckpoint")["size"]) == (16, 4)
    (row,) = project.lifecycle.history(policy)[1:]
    assert predicate == {
        "about": "policy:bulk@1", "action": "approve", "person": "p:ann", "role": "reviewer", "fromState": "REVIEW",
        "toState": "ACTIVE", "authors": [], "approvalsRequired": 1, "reasonCommitment": row["commitment"],
        "createdAt": active.time, "statementShown": active.proposal.sentence,
    }  # fmt: skip
    assert active.proposal.sentence == (
        f"I, p:ann, as reviewer, approve policy:bulk@1 (SHA-256 {policy.sha256[:16]}…), as it was shown to me "
        f"(SHA-256 {active.proposal.shown_sha256[:16]}…). It goes from REVIEW to ACTIVE."
    )


def test_no_name_and_no_reason_is_in_the_ledger_or_in_a_statement(project, policy, active):
    everything = b"".join(project.custody.ledger.entries())
    everything += b"".join(path.read_bytes() for path in (project.workspace.evidence).rglob("*.json"))
    everything += b"".join(Envelope.read(path.read_bytes()).payload for path in decisions(project).iterdir())
    assert b"p:ann" in everything
    assert [word for word in (b"Example", b"because", b"SEC-7") if word in everything] == []


def test_securesystemslib_verifies_a_decision(project, active):
    key = SSlibKey.from_crypto(certificate_of(project, "ann").public_key(), keyid=active.certificate_sha256)
    other = SSlibKey.from_crypto(certificate_of(project, "ben").public_key(), keyid=active.certificate_sha256)
    envelope = OtherEnvelope.from_dict(json.loads(active.envelope))
    assert list(envelope.verify([key], 1)) == [active.certificate_sha256]
    with pytest.raises(VerificationError):
        envelope.verify([other], 1)


def test_openssl_verifies_a_decision_with_the_certificate_alone(project, active, tmp_path):
    envelope = json.loads(active.envelope)
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    (tmp_path / "signed").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "cert.pem").write_bytes(certificate_of(project, "ann").public_bytes(Encoding.PEM))
    (tmp_path / "root.pem").write_bytes(project.custody.store.root.public_bytes(Encoding.PEM))

    def openssl(*arguments):
        return subprocess.run(["openssl", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    pem = openssl("x509", "-in", "cert.pem", "-noout", "-pubkey").stdout
    (tmp_path / "key.pem").write_text(pem)
    verify = ("pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "signed", "-sigfile", "signature")
    assert openssl(*verify).stdout.strip() == "Signature Verified Successfully"
    at = str(project.clock.time_ns() // 10**9)
    chain = openssl("verify", "-attime", at, "-ignore_critical", "-CAfile", "root.pem", "cert.pem")
    assert chain.stdout.strip() == "cert.pem: OK"
    (tmp_path / "signed").write_bytes((tmp_path / "signed").read_bytes().replace(b"approve", b"approvE"))
    assert openssl(*verify).returncode == 1


def test_a_changed_character_in_what_was_shown_voids_the_approval(project, policy, active):
    path = project.workspace.evidence / "_shown" / f"{active.proposal.shown_sha256}.json"
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2'))
    found = project.lifecycle.check(policy)
    assert len(found) == 2  # what was shown is the same for both
    assert found[1].startswith(
        f"entry {active.seq} (approve of policy:bulk@1 by p:ann) does not count: what was shown, "
    )
    assert " was changed (it is " in found[1]
    assert project.lifecycle.state(policy) is State.DRAFT
    assert project.lifecycle.audit()[-1] == (
        f"policy:bulk@1 is shown as ACTIVE (entry {active.seq}); by what counts it is DRAFT"
    )


@pytest.mark.parametrize("damage", ["changed", "gone", "other"])
def test_a_changed_statement_voids_the_approval(project, policy, active, damage):
    path = decisions(project) / f"{active.envelope_sha256}.dsse.json"
    if damage == "gone":
        path.unlink()
    else:
        (submission,) = (row for row in project.lifecycle.history(policy) if row["action"] == "submit")
        other = (decisions(project) / f"{submission['envelope_sha256']}.dsse.json").read_bytes()
        path.write_bytes(other if damage == "other" else path.read_bytes().replace(b"A", b"B", 1))
    (found,) = project.lifecycle.check(policy)
    assert f"entry {active.seq} (approve of policy:bulk@1 by p:ann) does not count: the signed statement " in found
    assert project.lifecycle.state(policy) is State.REVIEW
    second = project.kind.write("bulk", 2)
    with pytest.raises(
        IntegrityError, match=r"does not count: .*; restore what was changed, or reject or retire policy:bulk@1"
    ):
        project.act(second, "submit", "rita")
    assert project.lifecycle.can_transition(second, "submit", "rita")[0] is False
    project.act(policy, "reject", "ben")  # to send back is always possible, and settles it
    assert project.act(second, "submit", "rita").state is State.REVIEW


def test_a_subject_that_was_changed_afterwards_is_told(project, policy, active):
    changed = project.kind.write("bulk", 1, "risk >= 0.1")
    assert project.lifecycle.check(policy) == []
    assert project.lifecycle.check(changed) == [
        f"policy:bulk@1 is not what was decided on: expected {policy.sha256[:16]}, found {changed.sha256[:16]}"
    ]


def append_by_sql(project, type="subject.decided", actor="p:ann", commitment=None, **fields):
    """An entry with everything right that needs no key: number, time, hash."""
    seq = project.custody.ledger.size
    entry = Entry(seq, utc(project.clock.time_ns()), type, actor, fields, commitment)
    project.forge(("INSERT INTO audit VALUES (?, ?, ?)", [seq, bytes(entry), leaf_hash(bytes(entry))]))
    return seq


def fields_of(project, seq):
    content = json.loads(project.custody.ledger.entries(seq, seq + 1)[0])
    commitment = content.pop("commitment")
    return {
        name: value for name, value in content.items() if name not in ("v", "seq", "time", "type", "actor")
    }, commitment


def test_an_approval_written_with_sql_does_not_count_and_shows(project, policy):
    submitted = project.act(policy, "submit", "rita")
    fields, commitment = fields_of(project, submitted.seq)
    forged = {**fields, "action": "approve", "fromState": "REVIEW", "toState": "ACTIVE", "role": "reviewer"}
    seq = append_by_sql(project, commitment=commitment, **forged)
    assert project.custody.ledger.verify().problems == ()  # the bytes alone cannot tell
    assert project.lifecycle.state(policy) is State.REVIEW
    found = project.lifecycle.audit()
    assert found == [
        (
            f"entry {seq} (approve of policy:bulk@1 by p:ann) does not count: its signed statement, "
            f"{fields['envelopeSha256'][:16]}, was recorded before"
        ),
        f"policy:bulk@1 is shown as ACTIVE (entry {seq}); by what counts it is REVIEW",
    ]


def test_an_approval_of_another_policy_cannot_be_used_again(project, policy, active):
    """The statement is genuine, and about something else."""
    other = project.kind.write("other", 1)
    submitted = project.act(other, "submit", "rita")
    fields, commitment = fields_of(project, active.seq)
    seq = append_by_sql(
        project, commitment=commitment, **{**fields, "about": "policy:other@1", "subjectSha256": other.sha256}
    )
    assert (
        f"entry {seq} (approve of policy:other@1 by p:ann) does not count: its signed statement, "
        in project.lifecycle.audit()[0]
    )
    assert project.lifecycle.state(other) is State.REVIEW
    assert submitted.seq < seq


def test_the_approval_of_the_submitter_signed_with_their_own_key_does_not_count(project, policy):
    """Whoever holds a key and writes the ledger by hand can sign, and the table still refuses."""
    project.act(policy, "submit", "rob")
    signer = project.lifecycle.people.signer("rob", "the words of rob")
    size = project.custody.ledger.size
    with project.custody.ledger.transaction() as transaction:
        kept, shown = Attestations(project.custody), {"subject": "policy:bulk@1", "sha256": policy.sha256}
        shown_sha256 = kept.keep_shown(shown)
        predicate = {
            "about": "policy:bulk@1", "action": "approve", "person": "p:rob", "role": "reviewer", "fromState": "REVIEW",
            "toState": "ACTIVE", "authors": [], "approvalsRequired": 1, "reasonCommitment": "ab" * 32,
            "previousCheckpoint": None, "statementShown": "I approve my own",
        }  # fmt: skip
        envelope = sign(
            DECISION_TYPE, {"policy:bulk@1": policy.sha256, "shown": shown_sha256}, predicate, signer=signer,
            time_ns=project.clock.time_ns(),
        )  # fmt: skip
        transaction.append(
            "subject.decided", "p:rob", commitment="ab" * 32,
            fields={
                "about": "policy:bulk@1", "subjectSha256": policy.sha256, "action": "approve", "fromState": "REVIEW",
                "toState": "ACTIVE", "role": "reviewer", "authors": [], "required": 1, "shownSha256": shown_sha256,
                "certSha256": envelope.keyid, "envelopeSha256": kept.keep(envelope),
            },
        )  # fmt: skip
    assert project.lifecycle.state(policy) is State.REVIEW
    assert project.lifecycle.audit()[0] == (
        f"entry {size} (approve of policy:bulk@1 by p:rob) does not count: "
        "p:rob submitted policy:bulk@1: somebody else must approve it"
    )


def test_a_role_written_with_sql_gives_no_permission(project, policy):
    granted = project.custody.ledger.query("SELECT * FROM grants WHERE person = 'p:ann'")[0]
    seq = append_by_sql(
        project, "role.granted", "p:olga", about="person:rita", role="reviewer", certSha256=granted["cert_sha256"],
        envelopeSha256=granted["envelope_sha256"],
    )  # fmt: skip
    assert project.lifecycle.people.find("rita").roles == ("researcher",)
    project.act(policy, "submit", "rob")
    void = f"entry {seq} (role.granted of person:rita by p:olga) does not count: its signed statement"
    may, why_not = project.lifecycle.can_transition(policy, "approve", "rita")
    sentence = "policy.approve_policy is what a reviewer may do, and p:rita is researcher; "
    assert (may, why_not.startswith(sentence + void)) == (False, True)
    assert void in project.lifecycle.audit()[0]


def test_a_damaged_grant_is_named_as_the_cause(project, policy):
    project.act(policy, "submit", "rita")
    granted = project.custody.ledger.query("SELECT * FROM grants WHERE person = 'p:rita'")[0]["envelope_sha256"]
    (decisions(project) / f"{granted}.dsse.json").unlink()
    found = project.lifecycle.check(policy)
    assert [
        "(role.granted of person:rita by p:olga) does not count: the signed statement " in found[0],
        len(found),
    ] == [True, 2]
    assert found[1].endswith("policy.submit_policy is what a researcher may do, and p:rita has no role")


def test_entries_that_are_deleted_or_changed_with_sql_are_found_by_the_ledger(project, policy, active):
    old = project.custody.ledger.entries(active.seq)[0]
    project.forge(
        ("DROP TRIGGER no_update ON audit",),
        ("UPDATE audit SET entry = ? WHERE seq = ?", [old.replace(b"p:ann", b"p:ben"), active.seq]),
    )
    problems = project.custody.ledger.verify().problems
    assert any(f"entry {active.seq} was changed" in problem for problem in problems)
    project.forge(("DROP TRIGGER no_delete ON audit",), ("DELETE FROM audit WHERE seq = ?", [active.seq]))
    assert project.custody.ledger.verify().problems != ()


def test_a_history_that_was_rewritten_under_a_statement_shows(project, policy, active):
    """A statement names the checkpoint before it: a ledger with another beginning is not the one it was signed in."""
    first = project.custody.ledger.entries(1, 2)[0]
    other = first.replace(b'"time":"2026-05-03T09:20:00.000Z"', b'"time":"2026-05-03T09:19:59.000Z"')
    project.forge(
        ("DROP TRIGGER no_update ON audit",),
        ("UPDATE audit SET entry = ?, leaf = ? WHERE seq = 1", [other, leaf_hash(other)]),
    )
    assert any("was signed when the ledger had 4 other entries" in problem for problem in project.lifecycle.audit())


def test_a_reason_that_was_changed_shows_and_one_that_was_erased_does_not(project, policy, active):
    approve = project.lifecycle.history(policy)[1]
    (sealed,) = (project.workspace.state / "private").glob(f"*/{approve['commitment']}.sealed")
    kept = sealed.read_bytes()
    sealed.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    (found,) = project.lifecycle.check(policy)
    assert found.startswith(f"the reason of entry {active.seq}: what is kept under ")
    assert project.lifecycle.history(policy)[1]["reason"] == "changed: it is not what was given"
    sealed.write_bytes(kept)
    private_store(project.custody).erase("p:ann", project.custody.ledger, basis="art-17", actor="p:olga")
    assert project.lifecycle.check(policy) == []
    assert project.lifecycle.audit() == []
    assert [(row["reason"], row["metadata"]) for row in project.lifecycle.history(policy)] == [
        ("because", {}), ("erased", {}),
    ]  # fmt: skip
    assert project.lifecycle.people.find("ann").name is None
    assert project.lifecycle.state(policy) is State.ACTIVE


def test_after_the_root_was_rotated_earlier_decisions_still_count(project, policy, active):
    root = project.custody.root_signer("root passphrase")
    project.custody.rotate(root, "a newer root passphrase", root=root)
    assert project.lifecycle.audit() == []
    project.act(policy, "retire", "ann")
    assert project.lifecycle.audit() == []


@pytest.mark.parametrize("read,change", [
    (read_decision, {"action": "bless"}), (read_decision, {"nonce": "00"}), (read_decision, {"about": "policy:other@1"}),
    (read_decision, {"extra": 1}), (read_change, {}),
])  # fmt: skip
def test_a_statement_of_another_form_is_refused(active, read, change):
    content = json.loads(Envelope.read(active.envelope).payload)
    content["predicate"] |= change
    with pytest.raises(MalformedError):
        read(content, what="the statement")
    assert canonical_json(content) != b""
