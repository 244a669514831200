"""A hostile insider with a shell, keys of their own and the ledger's file: what they try does not count, and shows."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.clock import utc
from workbench.custody import Custody
from workbench.errors import (
    InputError,
    IntegrityError,
    KeyFileError,
    LedgerError,
    LifecycleError,
    NotFoundError,
    NotPermittedError,
)
from workbench.evidence.certificates import Role
from workbench.evidence.entries import Entry
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import Signer
from workbench.evidence.merkle import leaf_hash
from workbench.evidence.statements import CHANGE_TYPE, DECISION_TYPE
from workbench.files import canonical_json, sha256_bytes
from workbench.lifecycle import State
from workbench.lifecycle.attestations import Attestations, sign
from workbench.lifecycle.texts import alike, checked_name
from workbench.workspace import MARKER, Workspace

ROOT = "root passphrase"
SECOND = 1_000_000_000
START = datetime(2026, 5, 3, 9, 20, tzinfo=UTC)
HERE = Path(__file__).resolve().parent


def words(person):
    return f"the words of {person}"


@pytest.fixture
def rewrite(project):
    """``rewrite(entries)`` writes the ledger's last entries anew, in this order, as its file's owner can."""

    def rewrite(start, entries):
        values = []
        for seq, entry in enumerate(entries, start):
            data = bytes(replace(entry, seq=seq))
            values.append(("INSERT INTO audit VALUES (?, ?, ?)", [seq, data, leaf_hash(data)]))
        project.forge(
            ("DROP TRIGGER IF EXISTS no_delete ON audit",), ("DELETE FROM audit WHERE seq >= ?", [start]), *values,
        )  # fmt: skip

    return rewrite


@pytest.fixture
def append(project):
    """``append(type, actor, **fields)`` writes an entry with everything right that needs no key, past all guards."""

    def append(type, actor, commitment=None, time=None, **fields):
        seq = project.custody.ledger.size
        entry = Entry(seq, time or utc(project.clock.time_ns()), type, actor, fields, commitment)
        project.forge(("INSERT INTO audit VALUES (?, ?, ?)", [seq, bytes(entry), leaf_hash(bytes(entry))]))
        return seq

    return append


@pytest.fixture
def signed(project, append):
    """``signed(signer, subject, action, ...)``: a decision that somebody signs and writes into the ledger by hand."""

    def signed(signer, subject, action, person, source, target, role="reviewer", **changed):
        kept = Attestations(project.custody)
        shown = kept.keep_shown({"subject": str(subject), "sha256": subject.sha256})
        said = {
            "about": str(subject), "action": action, "person": person, "role": role, "fromState": source,
            "toState": target, "authors": [], "approvalsRequired": 1, "reasonCommitment": "ab" * 32,
            "previousCheckpoint": None, "statementShown": "I say so", **changed,
        }  # fmt: skip
        envelope = sign(
            DECISION_TYPE, {str(subject): subject.sha256, "shown": shown}, said, signer=signer,
            time_ns=project.clock.time_ns(),
        )  # fmt: skip
        return append(
            "subject.decided", person, "ab" * 32, about=str(subject), subjectSha256=subject.sha256, action=action,
            fromState=source, toState=target, role=role, authors=said["authors"], required=said["approvalsRequired"],
            shownSha256=shown, certSha256=envelope.keyid, envelopeSha256=kept.keep(envelope),
        )  # fmt: skip

    return signed


def entries(project, start):
    found = []
    for number, data in enumerate(project.custody.ledger.entries(start), start):
        content = json.loads(data)
        fields = {
            name: value
            for name, value in content.items()
            if name not in ("v", "seq", "time", "type", "actor", "commitment")
        }
        found.append(
            Entry(number, content["time"], content["type"], content["actor"], fields, content.get("commitment"))
        )
    return found


# Somebody else's hand


def test_an_author_who_is_left_out_by_the_caller_still_does_not_approve(project):
    policy = project.kind.write("bulk", 1, authors="p:rob")
    hidden = replace(policy, authors=())
    project.act(hidden, "submit", "rita")
    assert project.lifecycle.can_transition(hidden, "approve", "rob") == (
        False,
        "p:rob is an author of policy:bulk@1: somebody else must approve it",
    )
    with pytest.raises(NotPermittedError, match="is an author"):
        project.act(hidden, "approve", "rob")
    assert entries(project, project.custody.ledger.size - 1)[0].fields["authors"] == ["p:rob"]  # signed with it


def test_an_author_who_was_left_out_by_hand_is_named(project, signed):
    """Rita signs that nobody made it, past the workbench; rob, who did, approves. The stored author tells."""
    policy = project.kind.write("bulk", 1, authors="p:rob")
    rita, rob = (project.lifecycle.people.signer(one, words(one)) for one in ("rita", "rob"))
    signed(rita, policy, "submit", "p:rita", "DRAFT", "REVIEW", role="researcher")
    signed(rob, policy, "approve", "p:rob", "REVIEW", "ACTIVE")
    assert project.lifecycle.check(policy) == [
        "policy:bulk@1 counts on the approval of p:rob, who is an author of it",
    ]


def test_a_proposal_that_leaves_out_an_author_is_not_what_is_signed(project):
    policy = project.kind.write("bulk", 1, authors="p:rob")
    proposal = project.lifecycle.propose(policy, "submit", "p:rita")
    project.act(policy, "submit", "rita", proposal=replace(proposal, subject=replace(policy, authors=())))
    assert entries(project, project.custody.ledger.size - 1)[0].fields["authors"] == ["p:rob"]


def test_a_key_under_another_s_certificate_records_nothing(project, policy):
    project.act(policy, "submit", "rob")
    own = project.lifecycle.people.signer("rob", words("rob"))
    sha256 = project.lifecycle.people.find("ann").certificate_sha256
    stolen = Signer(Role.APPROVAL, "ann", project.custody.store.certificate(sha256).certificate, own.key)
    before = project.custody.ledger.size
    with pytest.raises(IntegrityError, match="does not belong to this statement and this key; nothing was recorded"):
        project.lifecycle.transition(policy, "approve", "ann", reason="mine", signer=stolen)
    assert (project.custody.ledger.size, project.lifecycle.audit()) == (before, [])


def test_a_proposal_made_up_by_the_caller_records_nothing(project, policy):
    """What the page shows is the page's; what is signed over must still be the subject's."""
    project.act(policy, "submit", "rita")
    proposal = project.lifecycle.propose(policy, "approve", "p:ann")
    before = project.custody.ledger.size
    for changed in (
        {"shown": {}}, {"shown_sha256": "ab" * 32}, {"sentence": "I approve nothing."}, {"target": State.DRAFT},
        {"role": "owner"}, {"required": 0}, {"approvers": ()}, {"subject": replace(policy, sha256="ab" * 32)},
    ):  # fmt: skip
        if "subject" in changed:
            assert replace(proposal, **changed) == proposal  # a subject's digest is no part of its equality ...
            continue  # ... and the one that is signed is the lifecycle's own
        with pytest.raises((LifecycleError, IntegrityError), match="nothing was recorded"):
            project.act(policy, "approve", "ann", proposal=replace(proposal, **changed))
    assert project.custody.ledger.size == before
    other = replace(proposal, subject=replace(policy, sha256="ab" * 32))
    project.act(policy, "approve", "ann", proposal=other)
    assert entries(project, before)[0].fields["subjectSha256"] == policy.sha256
    assert project.lifecycle.audit() == []


def test_what_was_shown_without_the_subject_records_nothing(project, policy):
    project.act(policy, "submit", "rita")
    proposal = project.lifecycle.propose(policy, "approve", "p:ann")
    shown = {"subject": "policy:other@1", "sha256": policy.sha256}
    digest = sha256_bytes(canonical_json(shown))
    forged = replace(
        proposal, shown=shown, shown_sha256=digest,
        sentence=proposal.sentence.replace(proposal.shown_sha256[:16], digest[:16]),
    )  # fmt: skip
    before = project.custody.ledger.size
    with pytest.raises(IntegrityError, match="what was shown is something else than the subject; nothing was recorded"):
        project.act(policy, "approve", "ann", proposal=forged)
    assert (project.custody.ledger.size, project.lifecycle.audit()) == (before, [])


def test_a_statement_whose_step_was_undone_is_not_left_for_somebody_to_record(project, policy, append):
    project.act(policy, "submit", "rita")
    kept = project.workspace.evidence / "_decisions"
    before = {path.name for path in kept.iterdir()}
    project.kind.fail = True
    with pytest.raises(NotFoundError):
        project.act(policy, "approve", "ann")
    assert {path.name for path in kept.iterdir()} == before
    assert project.lifecycle.audit() == []


def test_a_statement_that_was_signed_long_ago_is_not_recorded_now(project, policy, signed, rewrite):
    """A step that was killed between signature and entry leaves a statement: it is worth nothing soon after."""
    project.act(policy, "submit", "rita")
    signer = project.lifecycle.people.signer("ann", words("ann"))
    seq = signed(signer, policy, "approve", "p:ann", "REVIEW", "ACTIVE")
    assert project.lifecycle.state(policy) is State.ACTIVE
    (entry,) = entries(project, seq)
    rewrite(seq, [replace(entry, time="2026-05-03T10:20:00.000Z")])
    assert "it was signed at 2026-05-03T09:20:01.000Z, and recorded at" in project.lifecycle.audit()[0]
    assert project.lifecycle.state(policy) is State.REVIEW


def test_an_approval_that_was_rejected_since_cannot_be_recorded_again(project, policy, rewrite):
    """With two required: ann approves, ben rejects, it is submitted again; ann's approval is copied behind it."""
    project.lifecycle.people.require("policy", 2, by="olga", passphrase=words("olga"))
    project.act(policy, "submit", "rita")
    given = project.act(policy, "approve", "ann")
    project.act(policy, "reject", "ben")
    project.act(policy, "submit", "rita")
    (copied,) = [one for one in entries(project, given.seq) if one.seq == given.seq]
    size = project.custody.ledger.size
    rewrite(size, [replace(copied, time=utc(project.clock.time_ns()))])
    assert "was recorded before" in project.lifecycle.audit()[0]
    with pytest.raises(IntegrityError, match="was recorded before; restore what was changed, or reject or retire"):
        project.lifecycle.propose(policy, "approve", "p:ben")
    respelled = Attestations(project.custody).read(given.envelope_sha256)
    data = json.dumps(json.loads(bytes(respelled)), indent=1).encode()
    (project.workspace.evidence / "_decisions" / f"{sha256_bytes(data)}.dsse.json").write_bytes(data)
    fields = {**copied.fields, "envelopeSha256": sha256_bytes(data)}
    rewrite(size, [replace(copied, time=utc(project.clock.time_ns()), fields=fields)])
    assert "does not count" in project.lifecycle.audit()[0]


def test_entries_in_another_order_do_not_make_an_approval(project, policy, rewrite):
    submitted = project.act(policy, "submit", "rita")
    project.act(policy, "approve", "ann")
    first, second = entries(project, submitted.seq)
    rewrite(submitted.seq, [replace(second, time=first.time), replace(first, time=second.time)])
    assert project.lifecycle.state(policy) is State.REVIEW
    assert "approve is possible from REVIEW only" in project.lifecycle.audit()[0]


def test_an_approval_of_another_version_or_from_another_workspace_does_not_count(
    project, policy, append, cast_template, tmp_path
):
    approved = project.activate(policy)
    second = project.kind.write("bulk", 2)
    project.act(second, "submit", "rita")
    (entry,) = [one for one in entries(project, approved.seq) if one.seq == approved.seq]
    fields = {**entry.fields, "about": "policy:bulk@2", "subjectSha256": second.sha256}
    append("subject.decided", "p:ann", entry.commitment, **fields)
    assert project.lifecycle.state(second) is State.REVIEW

    root = tmp_path / "elsewhere"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    cheap = KeyDerivation(memory=64, passes=1)
    elsewhere = Custody.begin(
        Workspace(root), root_passphrase=ROOT, passphrase="working passphrase", clock=project.clock, derivation=cheap
    )
    elsewhere.add(Role.APPROVAL, words("ann"), root=elsewhere.root_signer(ROOT), identity="ann")
    foreign = elsewhere.store.unlock(Role.APPROVAL, words("ann"), "ann")
    kept = Attestations(project.custody)
    envelope = kept.read(entry.fields["envelopeSha256"])
    said = envelope.statement()["predicate"]
    said = {name: value for name, value in said.items() if name not in ("nonce", "createdAt")}
    shown = kept.keep_shown({"subject": str(second), "sha256": second.sha256})
    again = sign(
        DECISION_TYPE, {str(second): second.sha256, "shown": shown}, {**said, "about": str(second)}, signer=foreign,
        time_ns=project.clock.time_ns(),
    )  # fmt: skip
    fields |= {"shownSha256": shown, "certSha256": again.keyid, "envelopeSha256": kept.keep(again)}
    append("subject.decided", "p:ann", entry.commitment, **fields)
    assert project.lifecycle.state(second) is State.REVIEW
    assert "the ledger does not know that the key" in project.lifecycle.audit()[1]


def test_one_person_with_two_keys_is_one_of_two(project, policy):
    project.lifecycle.people.require("policy", 2, by="olga", passphrase=words("olga"))
    project.act(policy, "submit", "rita")
    project.act(policy, "approve", "ann")
    root = project.custody.root_signer(ROOT)
    old = project.custody.store.unlock(Role.APPROVAL, words("ann"), "ann")
    project.custody.rotate(old, words("ann"), root=root)
    with pytest.raises(NotPermittedError, match="has approved policy:bulk@1 already"):
        project.act(policy, "approve", "ann")
    assert project.lifecycle.state(policy) is State.REVIEW


# Keys that are not good any more


def revoked(project, person, reason, since):
    sha256 = project.lifecycle.people.find(person).certificate_sha256
    project.custody.revoke(sha256, reason, since, root=project.custody.root_signer(ROOT))


def test_after_a_theft_what_no_outside_authority_has_stamped_counts_no_more(project, policy):
    """The same rule as for bundles: whoever has the key can write any date, so a date of ours proves nothing."""
    project.activate(policy)
    project.clock.advance_ns(3_600 * SECOND)
    revoked(project, "ann", "keyCompromise", START.replace(hour=10, minute=0))
    (found,) = project.lifecycle.check(policy)
    assert found.endswith(
        "was declared compromised from 2026-05-03 10:00 UTC on, and no outside authority's timestamp shows that it is "
        "older"
    )
    assert project.lifecycle.state(policy) is State.REVIEW


@pytest.mark.parametrize("hour,counts", [(9, True), (10, False)], ids=["before", "after"])
def test_after_a_theft_what_was_stamped_outside_before_still_counts(project, policy, hour, counts):
    project.activate(policy)
    project.clock.advance_ns((hour - 9) * 3_600 * SECOND)
    size = project.custody.ledger.size
    project.custody.ledger.append(
        "checkpoint.anchored",
        fields={"size": size, "root": "aGk=", "authority": "external", "timestampSha256": "ab" * 32},
    )
    project.clock.advance_ns(3_600 * SECOND)
    revoked(project, "ann", "keyCompromise", START.replace(hour=9, minute=40))
    assert (project.lifecycle.state(policy) is State.ACTIVE) is counts


def test_a_key_that_was_only_replaced_keeps_what_it_signed(project, policy):
    project.activate(policy)
    project.clock.advance_ns(3_600 * SECOND)
    revoked(project, "ann", "superseded", START.replace(hour=10))
    assert (project.lifecycle.state(policy), project.lifecycle.check(policy)) == (State.ACTIVE, [])


def test_a_withdrawal_that_nobody_signed_withdraws_nothing(project, policy, append):
    project.activate(policy)
    ann = project.lifecycle.people.find("ann").certificate_sha256
    seq = append(
        "key.revoked", "p:local", certSha256=ann, reason="keyCompromise", invalidFrom="2026-05-03T09:00:00.000Z",
        rootSignature="aGk=",
    )  # fmt: skip
    assert project.lifecycle.state(policy) is State.ACTIVE
    assert project.lifecycle.audit() == [
        f"entry {seq} (key.revoked by p:local) does not count: it is not signed by the root"
    ]


def test_a_replacement_that_nobody_signed_replaces_nothing(project, policy, append):
    project.activate(policy)
    people = project.lifecycle.people
    seq = append(
        "key.rotated", "p:local", role="approval", oldCertSha256=people.find("olga").certificate_sha256,
        newCertSha256=people.find("rob").certificate_sha256, oldSignature="aGk=", rootSignature="aGk=",
    )  # fmt: skip
    append(
        "key.rotated", "p:local", role="root", oldCertSha256="ab" * 32,
        newCertSha256=project.custody.store.issued()[0].sha256, oldSignature="aGk=", rootSignature="aGl=",
    )  # fmt: skip
    assert people.find("olga").certificate_sha256 is not None
    with pytest.raises(NotPermittedError, match="there is an owner"):
        people.make_owner("rob", root=project.custody.root_signer(ROOT))
    assert f"entry {seq} (key.rotated by p:local) does not count: it is not signed by" in project.lifecycle.audit()[0]


def test_a_certificate_is_whose_it_is_made_out_to(project, policy, rewrite):
    """Rita is enrolled last, and writes the entry of her key anew: she would be ann."""
    root = project.custody.root_signer(ROOT)
    project.lifecycle.people.enrol("Mallory", passphrase=words("mallory"), root=root, pseudonym="mallory")
    project.act(policy, "submit", "rita")
    start = project.custody.ledger.size - 3
    issued, enrolled, submitted = entries(project, start)
    assert issued.type == "key.issued"
    mine = replace(issued, fields={**issued.fields, "identity": "ann"})
    rewrite(start, [mine, enrolled, submitted])
    assert project.lifecycle.people.find("ann").certificate_sha256 != issued.fields["certSha256"]
    assert "is made out to the approval key 'mallory'" in project.lifecycle.audit()[0]


def test_the_root_decides_nothing_in_anybody_s_name(project, policy, signed, append):
    project.act(policy, "submit", "rita")
    root = project.custody.root_signer(ROOT)
    signed(root, policy, "approve", "p:ann", "REVIEW", "ACTIVE")
    assert project.lifecycle.state(policy) is State.REVIEW
    assert "it is signed by the root" in project.lifecycle.audit()[0]
    kept, ann = Attestations(project.custody), project.lifecycle.people.find("ann").certificate_sha256
    for actor in ("p:olga", "p:local"):
        said = {"change": "revoke", "role": "reviewer", "required": None, "about": "person:ann", "person": actor,
                "previousCheckpoint": None, "statementShown": "I take it"}  # fmt: skip
        envelope = sign(CHANGE_TYPE, {"person:ann": ann}, said, signer=root, time_ns=project.clock.time_ns())
        append(
            "role.revoked", actor, about="person:ann", role="reviewer", certSha256=envelope.keyid,
            envelopeSha256=kept.keep(envelope),
        )  # fmt: skip
    assert project.lifecycle.people.find("ann").roles == ("reviewer",)


def test_nobody_but_an_owner_gives_themself_a_role(project, append):
    rita = project.lifecycle.people.signer("rita", words("rita"))
    digest = project.lifecycle.people.find("rita").certificate_sha256
    kept = Attestations(project.custody)
    for role in ("owner", "reviewer"):
        said = {"change": "grant", "role": role, "required": None, "about": "person:rita", "person": "p:rita",
                "previousCheckpoint": None, "statementShown": "I grant it"}  # fmt: skip
        envelope = sign(CHANGE_TYPE, {"person:rita": digest}, said, signer=rita, time_ns=project.clock.time_ns())
        append(
            "role.granted", "p:rita", about="person:rita", role=role, certSha256=envelope.keyid,
            envelopeSha256=kept.keep(envelope),
        )  # fmt: skip
    assert project.lifecycle.people.find("rita").roles == ("researcher",)
    assert all("p:rita had no role with people.grant" in one for one in project.lifecycle.audit()[:2])


def test_a_clock_that_is_set_back_signs_nothing(project, policy):
    project.act(policy, "submit", "rita")
    project.clock.advance_ns(400 * 86_400 * SECOND)  # ann's key is past its time; what was recorded since says so
    old = project.custody.store.unlock(Role.APPROVAL, words("ben"), "ben")
    project.custody.rotate(old, words("ben"), root=project.custody.root_signer(ROOT))
    project.clock._now_ns = project.clock.time_ns() - 200 * 86_400 * SECOND
    before = project.custody.ledger.size
    with pytest.raises(LedgerError, match="check the clock; nothing was appended"):
        project.act(policy, "approve", "ann")
    assert project.custody.ledger.size == before
    assert len(list((project.workspace.evidence / "_decisions").iterdir())) == len(
        [one for one in entries(project, 0) if "envelopeSha256" in one.fields]
    )


# What people write


@pytest.mark.parametrize(
    "reason,told", [("fine\x1b[2J", "U+001B"), ("fine \u202e", "U+202E"), ("half \ud800", "U+D800"), ("a\rb", "U+000D")]
)
def test_a_reason_that_would_be_misread_is_refused(project, policy, reason, told):
    sentence = f"a reason has no character that cannot be seen ({told})"
    with pytest.raises(LifecycleError) as caught:
        project.act(policy, "submit", "rita", reason=reason)
    assert str(caught.value) == sentence
    with pytest.raises(InputError, match="has a character that cannot be seen"):
        project.act(policy, "submit", "rita", metadata={"ticket": reason})
    project.act(policy, "submit", "rita", reason="First.\n\tSecond: نمی‌خواهم 👩‍🔬")
    assert project.lifecycle.audit() == []


@pytest.mark.parametrize("length", [4_001, 1_000_000])
def test_a_huge_reason_is_refused(project, policy, length):
    with pytest.raises(LifecycleError, match="a reason has at most 4,000 characters"):
        project.act(policy, "submit", "rita", reason="x" * length)


@pytest.mark.parametrize(
    "name,told",
    [
        ("Аnn Example", "is of letters of Cyrillic and Latin, which look alike: write it in one script"),
        ("Ann Ex\u0430mple", "is of letters of Cyrillic and Latin"),
        ("\u0391nn", "is of letters of Greek and Latin"),
        ("Ann\u200b Example", r"no character that cannot be seen \(U\+200B\)"),
        ("Ann \u202eelpmaxE", r"no character that cannot be seen \(U\+202E\)"),
        ("Ann\x1b[8m", r"no character that cannot be seen \(U\+001B\)"),
        ("Ann \udcff", r"no character that cannot be seen \(U\+DCFF\)"),
    ],
)
def test_a_name_that_looks_like_another_is_refused(name, told):
    with pytest.raises(InputError, match=told):
        checked_name(name)


def test_a_name_that_cannot_be_enrols_nobody(project):
    before = project.custody.ledger.size
    with pytest.raises(InputError, match="which look alike"):
        project.lifecycle.people.enrol("Аnn", passphrase=words("mallory"), root=project.custody.root_signer(ROOT))
    assert project.custody.ledger.size == before


@pytest.mark.parametrize("name", ["Ａｎｎ Example", "Ann\u00a0Example", "ANN  EXAMPLE", "𝐀𝐧𝐧 Example"])
def test_another_spelling_of_a_name_is_the_same_name(name):
    assert alike(checked_name(name)) == alike("Ann Example")


def test_a_name_is_found_in_any_spelling(project):
    assert project.lifecycle.people.find("Ａｎｎ  example").pseudonym == "p:ann"


@pytest.mark.parametrize("name", ["Zoë Ångström", "Иван Петров", "山田 太郎", "أمينة", "Νίκος", "O’Neil", "Jean-Luc"])
def test_names_of_all_scripts_are_kept(name):
    assert checked_name(name) == name


# A machine that stops

KILLED = """
import importlib.util, os, signal, sys
from pathlib import Path
from workbench.clock import VirtualClock
from workbench.custody import Custody
from workbench.evidence.keyfile import KeyDerivation
from workbench.lifecycle import Lifecycle
from workbench.workspace import Workspace

spec = importlib.util.spec_from_file_location("kinds", sys.argv[2])
kinds = importlib.util.module_from_spec(spec)
sys.modules["kinds"] = kinds
spec.loader.exec_module(kinds)
workspace = Workspace(Path(sys.argv[1]))
custody = Custody(workspace, clock=VirtualClock(start_ns=int(sys.argv[3])), derivation=KeyDerivation(memory=64, passes=1))
kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
class Kind(kinds.TextKind):
    decided = kill
life = Lifecycle(custody, [Kind(workspace.root / "texts")])
if sys.argv[4] == "decide":
    life.transition(life.find("policy:bulk@1"), "approve", "ann", reason="x", passphrase=kinds.words("ann"))
else:
    life.people._private.bind = kill
    life.people.enrol("Zoe", passphrase=kinds.words("zoe"), root=custody.root_signer(kinds.ROOT), pseudonym="zoe")
"""


def killed(project, what):
    """A process that is killed in the middle of the transaction."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(project.workspace.root), str(HERE / "conftest.py"),
         str(project.clock.time_ns()), what],
        env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.slow
def test_killed_in_the_middle_of_a_decision_nothing_was_decided(project, policy):
    project.act(policy, "submit", "rita")
    killed(project, "decide")
    assert project.lifecycle.state(policy) is State.REVIEW
    assert project.custody.ledger.verify().problems == ()
    assert project.act(policy, "approve", "ann").state is State.ACTIVE
    assert project.lifecycle.audit() == []


@pytest.mark.slow
def test_killed_in_the_middle_of_an_enrolment_the_person_is_enrolled_the_next_time(project):
    killed(project, "enrol")
    with pytest.raises(NotFoundError):
        project.lifecycle.people.find("zoe")
    assert project.custody.ledger.verify().problems == ()
    root = project.custody.root_signer(ROOT)
    with pytest.raises(KeyFileError, match="wrong passphrase for the approval key 'zoe'"):
        project.lifecycle.people.enrol("Zoe", passphrase="other words", root=root, pseudonym="zoe")
    assert project.lifecycle.people.enrol("Zoe", passphrase=words("zoe"), root=root, pseudonym="zoe").name == "Zoe"
    assert project.lifecycle.audit() == []
