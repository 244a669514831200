"""The attack list of the design (trust, section 5A), case by case: forged, and found by name.

Each attack is a small function that makes the forgery from an honest world; the number is the list's. What each must be
found as stands beside it: exactly these codes, and for each code the objects that are named.
"""

import base64
import hashlib
import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.evidence.bundle import BundleFile, Policy, approval_fields
from workbench.evidence.certificates import KeyType, Role, fingerprint, generate_key, issue, pem
from workbench.evidence.checkpoint import SignedCheckpoint
from workbench.evidence.keys import Signer, issued_fields, rotation_message
from workbench.evidence.verify import Demands, Outcome, Verdict, read_kept

REPORT = "attestations/report.dsse.json"
ALICE, BOB = "attestations/approval-alice.dsse.json", "attestations/approval-bob.dsse.json"
HTML, POLICY = "payload/report.html", "payload/policy.json"
RUN = "payload/runs/demo-20260503-100000-abc123"
REPORT_TSR, CHECKPOINT_TSR = "timestamps/report.tsr", "timestamps/checkpoint.tsr"
ENTRIES, NOTE, PROOF, CERTS = "log/entries.jsonl", "log/checkpoint", "log/report.tlog-proof", "trust/certs.pem"
NOTHING_OPENED = "Nothing inside was opened."

Codes = Callable[[Verdict], list[str]]


@dataclass(frozen=True)
class Forged:
    """A forgery, and how the examiner who is to be deceived verifies it."""

    bundle: bytes
    how: dict[str, Any]


@dataclass(frozen=True)
class Attack:
    number: int
    name: str
    found: dict[str, str | tuple[str, ...]]
    forge: Callable[[Any, ModuleType], bytes | Forged]


ATTACKS: list[Attack] = []


def attack(number: int, name: str, **found: str | tuple[str, ...]) -> Callable[[Any], Any]:
    """Enter a forgery in the list. ``found``: code = the objects it names (all of them, in any order)."""

    def enter(forge: Callable[[Any, ModuleType], bytes | Forged]) -> Callable[[Any, ModuleType], bytes | Forged]:
        ATTACKS.append(Attack(number, name, found, forge))
        return forge

    return enter


# Payload


@attack(1, "report edited", E_FILE_CHANGED=HTML)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {HTML: lambda content: content.replace(b"0.91", b"0.97")})


@attack(2, "notebook output swapped", E_FILE_CHANGED=f"{RUN}/executed.ipynb")
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {f"{RUN}/executed.ipynb": b'{"cells": [1]}\n'})


@attack(3, "trailing newline", E_FILE_CHANGED=HTML)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {HTML: lambda content: content + b"\n"})


@attack(4, "CRLF", E_FILE_CHANGED=HTML)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {HTML: lambda content: content.replace(b"\n", b"\r\n")})


@attack(5, "file removed", E_FILE_MISSING=f"{RUN}/values.json")
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {f"{RUN}/values.json": None})


@attack(6, "extra payload file", E_EXTRA="payload/erratum.txt")
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {"payload/erratum.txt": b"The true value is 0.97\n"})


@attack(7, "extra file outside the payload", E_EXTRA=("READ-ME-FIRST.txt", "attestations/extra.json", "check/tsa.pem"))
def _(world, kit):
    names = ("READ-ME-FIRST.txt", "attestations/extra.json", "check/tsa.pem")
    return kit.edited(kit.make(world).bundle, dict.fromkeys(names, b"{}\n"))


@attack(8, "two files swapped", E_FILE_CHANGED=(f"{RUN}/values.json", f"{RUN}/executed.ipynb"))
def _(world, kit):
    bundle = kit.make(world).bundle
    names = (f"{RUN}/values.json", f"{RUN}/executed.ipynb")
    contents = [kit.opened(bundle)[name] for name in names]
    return kit.edited(bundle, dict(zip(names, reversed(contents), strict=True)))


# Container: the reader refuses before anything inside is looked at


def renamed(bundle: bytes, old: str, new: str) -> bytes:
    """The name of an entry replaced in its header and in the table of contents."""
    assert len(old.encode()) == len(new.encode()) and bundle.count(old.encode()) == 2
    return bundle.replace(old.encode(), new.encode())


for number, name, replacement in (
    (9, "a name that leads out", "../load/report.html"),
    (10, "absolute name", "/ayload/report.html"),
    (11, "backslash", "payload\\report.html"),
    (13, "name not in NFC", "payload/e\u0301ort.html"),
    (14, "name with a bidi override", "payload/\u202eort.html"),
):
    attack(number, name, E_PATH="bundle")(
        lambda world, kit, replacement=replacement: renamed(kit.make(world).bundle, HTML, replacement)
    )


@attack(12, "names that differ in case", E_PATH="bundle")
def _(world, kit):
    return renamed(kit.make(world).bundle, POLICY, "payload/Report.html")


@attack(15, "entry there twice", E_ZIP="bundle")
def _(world, kit):
    return renamed(kit.make(world).bundle, POLICY, HTML)


@attack(16, "symbolic link", E_ZIP="bundle")
def _(world, kit):
    regular, link = ((mode << 16).to_bytes(4, "little") for mode in (0o100644, 0o120777))
    head, _, tail = kit.make(world).bundle.rpartition(regular)
    return head + link + tail


@attack(17, "bytes in front", E_ZIP="bundle")
def _(world, kit):
    return b"#!/bin/sh\nexit 0\n" + kit.make(world).bundle


@attack(18, "cut off", E_ZIP="bundle")
def _(world, kit):
    return kit.make(world).bundle[:-200]


@attack(19, "a bit flipped in a header", E_ZIP="bundle")
def _(world, kit):
    bundle = kit.make(world).bundle
    return kit.flipped(bundle, bundle.rindex(b"PK\x01\x02") + 16)


@attack(20, "bomb", E_ZIP="bundle")
def _(world, kit):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in kit.opened(kit.make(world).bundle).items():
            archive.writestr(name, content)
        archive.writestr("payload/zeros", bytes(50_000_000))
    return packed.getvalue()


# Envelope


@attack(21, "payload changed", E_SIG=REPORT)
def _(world, kit):
    def change(envelope):
        statement = base64.b64decode(envelope["payload"]).replace(b'"reportVersion":1', b'"reportVersion":2')
        envelope["payload"] = base64.b64encode(statement).decode()

    return kit.edited(kit.make(world).bundle, {REPORT: lambda content: kit.spelled(content, change)})


@attack(22, "payload type changed", E_JSON=REPORT)
def _(world, kit):
    change = lambda envelope: envelope.update(payloadType="application/json")  # noqa: E731
    return kit.edited(kit.make(world).bundle, {REPORT: lambda content: kit.spelled(content, change)})


@attack(23, "no signature", E_JSON=REPORT)
def _(world, kit):
    change = lambda envelope: envelope.update(signatures=[])  # noqa: E731
    return kit.edited(kit.make(world).bundle, {REPORT: lambda content: kit.spelled(content, change)})


@attack(24, "second signature", E_JSON=REPORT)
def _(world, kit):
    change = lambda envelope: envelope["signatures"].append(envelope["signatures"][0])  # noqa: E731
    return kit.edited(kit.make(world).bundle, {REPORT: lambda content: kit.spelled(content, change)})


@attack(25, "a JSON key twice", E_JSON=REPORT)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {REPORT: lambda content: b'{"payload":"e30=",' + content[1:]})


@attack(26, "another spelling of base64", E_JSON=REPORT)
def _(world, kit):
    def change(envelope):
        envelope["signatures"][0]["sig"] = kit.base64_swapped(envelope["signatures"][0]["sig"])

    return kit.edited(kit.make(world).bundle, {REPORT: lambda content: kit.spelled(content, change)})


@attack(27, "white space", E_JSON=REPORT)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {REPORT: lambda content: json.dumps(json.loads(content)).encode()})


@attack(28, "unknown key", E_SIG=REPORT)
def _(world, kit):
    signer = kit.stranger(world).signers["report"]
    return kit.edited(
        kit.make(world).bundle, {REPORT: lambda content: kit.resigned(content, signer, lambda statement: None)}
    )


@attack(29, "everything under another root", E_ROOT=CERTS)
def _(world, kit):
    return kit.make(kit.stranger(world)).bundle


@attack(
    30,
    "the genuine root pasted in",
    E_EXTRA=f"{CERTS}, root key",
    E_TSR=(REPORT_TSR, CHECKPOINT_TSR),
    E_CERT=(ALICE, BOB),
    E_APPROVALS="demo",
)
def _(world, kit):
    return kit.edited(
        kit.make(kit.stranger(world)).bundle, {CERTS: lambda content: pem(world.signers["root"].certificate) + content}
    )


# Time


@attack(31, "timestamp removed", E_FILE_MISSING=REPORT_TSR)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {REPORT_TSR: None})


@attack(32, "timestamp of something else", E_TSR_IMPRINT=REPORT_TSR, E_NOT_LOGGED=REPORT_TSR)
def _(world, kit):
    bundle = kit.make(world).bundle
    return kit.edited(bundle, {REPORT_TSR: kit.opened(bundle)[CHECKPOINT_TSR]})


@attack(33, "a bit of the timestamp flipped", E_TSR=REPORT_TSR, E_NOT_LOGGED=REPORT_TSR)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {REPORT_TSR: kit.flipped})


@attack(34, "time in the token edited", E_TSR=REPORT_TSR, E_NOT_LOGGED=REPORT_TSR)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {REPORT_TSR: lambda content: content.replace(b"20260503", b"20250503")})


@attack(
    35,
    "the attacker's time authority and root put in",
    E_TSR=REPORT_TSR,
    E_NOT_LOGGED=REPORT_TSR,
    E_EXTRA=(f"{CERTS}, root key", f"{CERTS}, timestamp key"),
)
def _(world, kit):
    made = kit.make(world)
    root, authority = kit.outside_authority(world.now - timedelta(days=1), world.clock)
    signature = base64.b64decode(json.loads(made.report.envelope)["signatures"][0]["sig"])
    return kit.edited(
        made.bundle,
        {
            REPORT_TSR: authority.stamp(hashlib.sha256(signature).digest()),
            CERTS: lambda content: content + pem(root, authority.certificate),
        },
    )


@attack(36, "a report key as time authority", E_TSR=REPORT_TSR)
def _(world, kit):
    key, root = generate_key(KeyType.P256), world.signers["root"]
    certificate = issue(
        Role.REPORT, key.public_key(), identity="clock", root_key=root.key, root=root.certificate, clock=world.clock
    )
    world.log("key.issued", issued_fields(certificate))
    honest = world.authority
    signer = Signer(Role.REPORT, "clock", certificate, key)
    world.authority = SimpleNamespace(
        stamp=lambda digest: kit.token_at(signer, digest, world.now.replace(microsecond=0))
    )
    made = kit.reported(world, restore=honest)
    return kit.edited(made, {CERTS: lambda content: content + pem(certificate)})


@attack(37, "before the authority's certificate", E_TSR=REPORT_TSR)
def _(world, kit):
    honest, signer = world.authority, world.signers["timestamp"]
    before = world.now.replace(microsecond=0) - timedelta(hours=1)
    world.authority = SimpleNamespace(stamp=lambda digest: kit.token_at(signer, digest, before))
    return kit.reported(world, restore=honest)


@attack(38, "in the future", E_FUTURE=(REPORT_TSR, CHECKPOINT_TSR))
def _(world, kit):
    yesterday = VirtualClock(start_ns=kit.START_NS - 86_400 * 10**9)
    return Forged(kit.make(world).bundle, {"clock": yesterday})


@attack(39, "a day between statement and timestamp", E_TIME=REPORT_TSR)
def _(world, kit):
    honest = world.authority

    def stamp(digest):
        world.wait(25 * 3600)
        return honest.stamp(digest)

    world.authority = SimpleNamespace(stamp=stamp)
    return kit.reported(world, restore=honest)


@attack(41, "everything back-dated, against a kept checkpoint", E_LOG_FORK=NOTE)
def _(world, kit):
    kit.make(world)
    kept = world.notes[0]
    return Forged(kit.rewritten(world), {"kept": kit.kept(kept)})


# Approvals


@attack(42, "one approval deleted", E_APPROVALS="demo", E_APPROVAL_HIDDEN="entry 9 of the log")
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {BOB: None})


@attack(
    43, "both approvals deleted", E_APPROVALS="demo", E_APPROVAL_HIDDEN=("entry 8 of the log", "entry 9 of the log")
)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {ALICE: None, BOB: None})


@attack(
    44,
    "a rejection's row deleted and the log signed again",
    E_LOG_FORK=(BOB, "attestations/approval-carol.dsse.json"),
    E_APPROVALS="demo",
)
def _(world, kit):
    files, report = kit.report(world, "alice", "bob", "carol")
    world.approve(report, "alice", "reject")
    row = len(world.entries) - 1
    approvals = [world.approve(report, "bob"), world.approve(report, "carol")]
    del world.entries[row]
    world.entries = kit.renumbered(world.entries)
    return world.pack(files, report, approvals)


def replayed(world: Any, kit: ModuleType, **other: Any) -> bytes:
    """The decisions on one report put into another's bundle, and logged as if they were on it."""
    made = kit.make(world)
    world.wait(60)
    report = world.sign(made.files, [made.run], **other)
    _, fields = report.envelope, report.log_fields()
    for envelope in made.approvals:
        same = {name: fields[name] for name in ("reportId", "reportVersion", "payloadSha256")}
        world.log("approval.recorded", approval_fields(envelope) | same)
    return world.pack(made.files, report, made.approvals)


@attack(45, "approvals replayed on version 2", E_APPROVAL_OTHER=(ALICE, BOB), E_APPROVALS="demo")
def _(world, kit):
    return replayed(world, kit, version=2)


@attack(46, "approvals of another report", E_APPROVAL_OTHER=(ALICE, BOB), E_APPROVALS="other")
def _(world, kit):
    return replayed(world, kit, report_id="other")


@attack(47, "one reviewer twice", E_APPROVALS="demo")
def _(world, kit):
    files, report = kit.report(world, "alice", "bob")
    return world.pack(files, report, [world.approve(report, "alice"), world.approve(report, "alice")])


@attack(48, "the signer approves", E_ROLE=BOB, E_APPROVALS="demo")
def _(world, kit):
    files, report = kit.report(world, "alice", "bob")
    alice, bob = world.approve(report, "alice"), world.approve(report, "bob", log=False)
    forged = kit.resigned(bob, world.signers["report"], lambda statement: None)
    world.log("approval.recorded", approval_fields(forged), "p:bob")
    return world.pack(files, report, [alice, forged])


@attack(49, "alice as bob", E_ROLE=BOB, E_APPROVALS="demo")
def _(world, kit):
    files, report = kit.report(world, "alice", "bob")
    alice, bob = world.approve(report, "alice"), world.approve(report, "bob", log=False)
    forged = kit.resigned(bob, world.signers["alice"], lambda statement: None)
    world.log("approval.recorded", approval_fields(forged), "p:bob")
    return world.pack(files, report, [alice, forged])


@attack(50, "not logged", E_NOT_LOGGED=BOB, E_APPROVALS="demo")
def _(world, kit):
    files, report = kit.report(world, "alice", "bob")
    return world.pack(files, report, [world.approve(report, "alice"), world.approve(report, "bob", log=False)])


@attack(51, "rules lowered", E_POLICY="two-people", E_APPROVALS="demo")
def _(world, kit):
    world.policy = Policy("two-people", 0)
    files, report = kit.report(world)
    return Forged(world.pack(files, report, []), {"demands": Demands(approvals_required=2)})


@attack(51, "rules exchanged in the bundle", E_POLICY=POLICY, E_FILE_CHANGED=POLICY)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {POLICY: bytes(Policy("two-people", 0))})


@attack(52, "reviewer's key revoked before", E_REVOKED=ALICE, E_APPROVALS="demo")
def _(world, kit):
    files, report = kit.report(world, "alice", "bob")
    world.revoke("alice", "superseded", world.now)
    return world.pack(files, report, [world.approve(report, "alice"), world.approve(report, "bob")])


@attack(54, "report key revoked", E_REVOKED=REPORT)
def _(world, kit):
    world.wait(60)
    world.revoke("report", "cessationOfOperation", world.now - timedelta(seconds=30))
    return kit.make(world).bundle


# Log


@attack(55, "entry edited", E_LOG=(ENTRIES, "log/consistency.json"))
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {ENTRIES: lambda content: content.replace(b'"p:bob"', b'"p:eve"')})


@attack(56, "entry deleted", E_LOG=(ENTRIES, "entry 6 of the log"), E_LOG_FORK=REPORT)
def _(world, kit):
    bundle = kit.make(world).bundle
    lines = kit.entry_lines(bundle)
    return kit.edited(bundle, {ENTRIES: kit.joined(lines[:6] + lines[7:])})


@attack(57, "entries swapped", E_LOG=(ENTRIES, "entry 8 of the log"))
def _(world, kit):
    bundle = kit.make(world).bundle
    lines = kit.entry_lines(bundle)
    return kit.edited(bundle, {ENTRIES: kit.joined([*lines[:8], lines[9], lines[8]])})


@attack(58, "entry appended", E_LOG=(ENTRIES, "log/consistency.json"))
def _(world, kit):
    made = kit.make(world)
    world.log("tsa.degraded", {"trouble": "open"})
    return kit.edited(made.bundle, {ENTRIES: kit.joined(world.entries)})


@attack(59, "size edited", E_SIG=NOTE)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {NOTE: lambda content: content.replace(b"\n10\n", b"\n11\n")})


@attack(60, "checkpoint by a foreign key", E_SIG=NOTE)
def _(world, kit):
    key = kit.stranger(world).signers["ledger"].document_key
    return kit.edited(
        kit.make(world).bundle, {NOTE: lambda content: SignedCheckpoint.read(content).checkpoint.sign(key)}
    )


@attack(61, "CRLF in the log", E_LOG=(ENTRIES, "entry 0 of the log"), E_LOG_FORK=REPORT)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {ENTRIES: lambda content: content.replace(b"\n", b"\r\n")})


@attack(62, "another log's name", E_LOG_FORK=(REPORT, ALICE, BOB), E_APPROVALS="demo")
def _(world, kit):
    made = kit.make(world)
    checkpoint = replace(world.checkpoint(), origin="workbench/ledger/ffffffffffffffffffffffffffffffff")
    return kit.reclosed(world, made.bundle, checkpoint)


@attack(63, "history rewritten with the keys of log and time", E_LOG_FORK=(REPORT, ALICE, BOB), E_APPROVALS="demo")
def _(world, kit):
    world.log("tsa.degraded", {"trouble": "open"})
    made = kit.make(world)
    place = next(n for n, entry in enumerate(world.entries) if b"tsa.degraded" in entry)
    world.entries[place] = world.entries[place].replace(b'"open"', b'"invalid"')
    return world.pack(made.files, made.report, made.approvals)


@attack(64, "rolled back behind a kept checkpoint", E_LOG_ROLLBACK=NOTE)
def _(world, kit):
    made = kit.make(world)
    world.log("tsa.degraded", {"trouble": "open"})
    note, _ = world.sign_checkpoint()
    return Forged(made.bundle, {"kept": kit.kept(note)})


@attack(65, "split view", E_LOG_FORK=NOTE)
def _(world, kit):
    made = kit.make(world)
    world.entries[-1] = world.entries[-1].replace(b'"p:bob"', b'"p:eve"')
    other, _ = world.sign_checkpoint()
    return Forged(made.bundle, {"kept": kit.kept(other)})


@attack(66, "hash of the proof", E_LOG=PROOF)
def _(world, kit):
    def change(content):
        lines = content.split(b"\n")
        lines[2] = base64.b64encode(bytes(32))
        return b"\n".join(lines)

    return kit.edited(kit.make(world).bundle, {PROOF: change})


@attack(67, "index of the proof", E_LOG=PROOF)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {PROOF: lambda content: content.replace(b"\nindex 7\n", b"\nindex 6\n")})


@attack(68, "checkpoint's timestamp missing", E_FILE_MISSING=CHECKPOINT_TSR)
def _(world, kit):
    return kit.edited(kit.make(world).bundle, {CHECKPOINT_TSR: None})


@attack(70, "hidden rejection", E_APPROVAL_HIDDEN="entry 11 of the log")
def _(world, kit):
    files, report = kit.report(world, "alice", "bob", "carol")
    approvals = [world.approve(report, "alice"), world.approve(report, "bob")]
    world.approve(report, "carol", "reject")
    return world.pack(files, report, approvals)


@attack(71, "one key in two roles", E_KEY_REUSE=(CERTS, "attestations/approval-mallory.dsse.json"))
def _(world, kit):
    report_key, root = world.signers["report"], world.signers["root"]
    certificate = issue(
        Role.APPROVAL,
        report_key.key.public_key(),
        identity="mallory",
        root_key=root.key,
        root=root.certificate,
        clock=world.clock,
    )
    world.log("key.issued", issued_fields(certificate))
    world.signers["mallory"] = Signer(Role.APPROVAL, "mallory", certificate, report_key.key)
    files, report = kit.report(world, "alice", "bob")
    approvals = [world.approve(report, who) for who in ("alice", "bob", "mallory")]
    certificates = [*(info.certificate for info in world.store.issued()), certificate]
    return world.pack(files, report, approvals, certificates=certificates)


@attack(72, "foreign time authority's certificate", E_EXTRA=f"{CERTS}, timestamp key")
def _(world, kit):
    stranger = kit.stranger(world).signers["timestamp"]
    return kit.edited(kit.make(world).bundle, {CERTS: lambda content: content + pem(stranger.certificate)})


@attack(73, "no subject", E_JSON=REPORT, E_LOG=PROOF)
def _(world, kit):
    signer = world.signers["report"]

    def empty(statement):
        statement["subject"] = []

    return kit.edited(kit.make(world).bundle, {REPORT: lambda content: kit.resigned(content, signer, empty)})


@pytest.mark.parametrize("one", ATTACKS, ids=lambda one: f"{one.number:02} {one.name}")
def test_an_attack_is_found_and_named(one: Attack, world: Any, kit: ModuleType, codes: Codes) -> None:
    forged = one.forge(world, kit)
    bundle, how = (forged.bundle, forged.how) if isinstance(forged, Forged) else (forged, {})

    verdict = world.verify(bundle, **how)

    assert (verdict.outcome, int(verdict.outcome)) == (Outcome.INVALID, 1), verdict.text()
    assert codes(verdict) == sorted(one.found), verdict.text()
    for code, objects in one.found.items():
        expected = sorted((objects,) if isinstance(objects, str) else objects)
        named = sorted({finding.subject for finding in verdict.findings if finding.code == code})
        assert len(named) == len(expected), named
        assert all(name.startswith(begin) for name, begin in zip(named, expected, strict=True)), named
    if 9 <= one.number <= 20:
        assert NOTHING_OPENED in verdict.findings[0].text and len(verdict.findings) == 1


def test_every_case_of_the_list_is_here() -> None:
    """40, 53 and 69 are accepted by design, and stand below."""
    assert {one.number for one in ATTACKS} | {40, 53, 69} == set(range(1, 74))


# Accepted, by design


def test_an_untouched_bundle_is_accepted_and_says_that_its_time_is_its_own(made: Any, codes: Codes) -> None:
    verdict = made.world.verify(made.bundle)

    assert (verdict.outcome, int(verdict.outcome)) == (Outcome.VALID_WITH_LIMITS, 3)
    assert [finding.code for finding in verdict.findings] == ["L_TIME_LOCAL"]


def test_40_all_keys_back_dated_is_accepted_by_who_has_kept_nothing(world: Any, kit: ModuleType, codes: Codes) -> None:
    """The residual risk of every local authority. The verdict says that the log may have been rewritten as a whole."""
    kit.make(world)
    bundle = kit.rewritten(world)

    verdict = world.verify(bundle)

    assert (verdict.outcome, codes(verdict)) == (Outcome.VALID_WITH_LIMITS, [])
    assert any("rewritten as a whole" in item for item in verdict.not_checked)


@pytest.mark.parametrize("reason", ["superseded", "cessationOfOperation"])
@pytest.mark.parametrize("who", ["alice", "report", "ledger", "timestamp"])
def test_53_a_key_revoked_after_it_signed_still_counts(
    world: Any, kit: ModuleType, codes: Codes, who: str, reason: str
) -> None:
    files, report = kit.report(world, "alice", "bob")
    approvals = [world.approve(report, name) for name in ("alice", "bob")]
    world.wait(60)
    world.revoke(who, reason, world.now + timedelta(hours=1))

    assert codes(world.verify(world.pack(files, report, approvals))) == []


def test_69_an_older_version_is_authentic_and_named_as_superseded(made: Any, codes: Codes) -> None:
    world = made.world
    world.sign(made.files, [made.run], version=2)

    verdict = world.verify(world.pack(made.files, made.report, made.approvals))

    assert (verdict.outcome, codes(verdict)) == (Outcome.VALID_WITH_LIMITS, ["E_SUPERSEDED"])
    assert "version 2 exists" in verdict.text()


def test_a_version_that_was_signed_twice_is_named_as_superseded(made: Any, codes: Codes) -> None:
    """Two statements of one version: whoever holds the first must learn of the second."""
    world = made.world
    world.wait(60)
    world.sign([*made.files, BundleFile("payload/more.txt", b"more", "text/plain", "data")], [made.run])

    verdict = world.verify(world.pack(made.files, made.report, made.approvals))

    assert (verdict.outcome, codes(verdict)) == (Outcome.VALID_WITH_LIMITS, ["E_SUPERSEDED"])


def test_a_rejection_that_is_shown_is_a_limit(world: Any, kit: ModuleType, codes: Codes) -> None:
    files, report = kit.report(world, "alice", "bob", "carol")
    approvals = [world.approve(report, who) for who in ("alice", "bob")] + [world.approve(report, "carol", "reject")]

    verdict = world.verify(world.pack(files, report, approvals))

    assert (verdict.outcome, codes(verdict)) == (Outcome.VALID_WITH_LIMITS, ["L_REJECTED"])
    assert "carol rejected this report" in verdict.text()


def test_who_withdraws_no_longer_approves(world: Any, kit: ModuleType, codes: Codes) -> None:
    files, report = kit.report(world, "alice", "bob")
    approvals = [world.approve(report, who) for who in ("alice", "bob")] + [world.approve(report, "bob", "withdraw")]

    verdict = world.verify(world.pack(files, report, approvals))

    assert (verdict.outcome, codes(verdict)) == (Outcome.INVALID, ["E_APPROVALS"])
    assert "1 of 2 required approvals (alice)" in verdict.text()


def test_who_approves_again_after_withdrawing_counts(world: Any, kit: ModuleType, codes: Codes) -> None:
    files, report = kit.report(world, "alice", "bob")
    steps = [("alice", "approve"), ("bob", "approve"), ("bob", "withdraw"), ("bob", "approve")]

    assert codes(world.verify(world.pack(files, report, [world.approve(report, *step) for step in steps]))) == []


# What the examiner has kept


def test_a_kept_checkpoint_of_this_log_is_accepted(made: Any, kit: ModuleType, codes: Codes) -> None:
    for note in made.world.notes:
        verdict = made.world.verify(made.bundle, kept=kit.kept(note))
        assert codes(verdict) == [] and not any("rewritten" in item for item in verdict.not_checked)


def test_64_a_kept_bundle_of_a_longer_honest_log_is_accepted(made: Any, codes: Codes, tmp_path: Path) -> None:
    world = made.world
    world.log("tsa.degraded", {"trouble": "open"})
    (tmp_path / "later.zip").write_bytes(world.pack(made.files, made.report, made.approvals))

    assert codes(world.verify(made.bundle, kept=read_kept(tmp_path / "later.zip"))) == []


def test_64_a_kept_bundle_of_another_history_is_a_fork(made: Any, codes: Codes, tmp_path: Path) -> None:
    world = made.world
    world.entries[-1] = world.entries[-1].replace(b'"p:bob"', b'"p:eve"')
    world.log("tsa.degraded", {"trouble": "open"})
    (tmp_path / "other.zip").write_bytes(world.pack(made.files, made.report, made.approvals))

    verdict = world.verify(made.bundle, kept=read_kept(tmp_path / "other.zip"))

    assert (verdict.outcome, codes(verdict)) == (Outcome.INVALID, ["E_LOG_FORK"])


def test_a_kept_bundle_whose_log_is_not_its_checkpoints_is_refused(made: Any, kit: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(kit.edited(made.bundle, {ENTRIES: lambda content: content[:-700]}))

    with pytest.raises(InputError, match="its log is not the one"):
        read_kept(tmp_path / "cut.zip")


# Compromise: only outside time can tell before from after


def compromised(world: Any, kit: ModuleType, who: str, *, stamp: bool) -> tuple[bytes, Any]:
    """A bundle in which the key of ``who`` is declared compromised after it signed; and the outside root."""
    root, authority = kit.outside_authority(world.now - timedelta(days=1), world.clock)
    files, report = kit.report(world, "alice", "bob")
    approvals = [world.approve(report, name) for name in ("alice", "bob")]
    world.wait(60)
    world.revoke(who, "keyCompromise", world.now + timedelta(hours=1))
    token = authority.stamp(hashlib.sha256(world.checkpoint().body).digest())
    return world.pack(files, report, approvals, log={"external": [token] if stamp else []}), root


@pytest.mark.parametrize(
    ("who", "named"), [("alice", ALICE), ("report", REPORT), ("ledger", NOTE), ("timestamp", REPORT_TSR)]
)
def test_after_a_compromise_local_time_is_not_believed(
    world: Any, kit: ModuleType, codes: Codes, who: str, named: str
) -> None:
    bundle, _ = compromised(world, kit, who, stamp=False)

    verdict = world.verify(bundle)

    assert verdict.outcome is Outcome.INVALID and "E_REVOKED" in codes(verdict)
    found = [finding for finding in verdict.findings if finding.code == "E_REVOKED"]
    assert named in [finding.subject for finding in found]
    assert all("only a timestamp by an outside authority could show that" in finding.text for finding in found)


@pytest.mark.parametrize("who", ["alice", "report", "ledger", "timestamp"])
def test_after_a_compromise_outside_time_from_before_is_believed(world: Any, kit: ModuleType, who: str) -> None:
    bundle, root = compromised(world, kit, who, stamp=True)

    verdict = world.verify(bundle, outside=[root])

    assert (verdict.outcome, int(verdict.outcome)) == (Outcome.VALID, 0), verdict.text()
    assert world.verify(bundle).outcome is Outcome.INVALID


def test_a_revoked_time_authority_that_did_not_stamp_this_is_no_matter(
    world: Any, kit: ModuleType, codes: Codes
) -> None:
    """Its successor did."""
    old = fingerprint(world.signers["timestamp"].certificate)
    world.rotate("timestamp")
    world.log("key.revoked", world.store.revoke(old, "keyCompromise", world.now, root=world.signers["root"]))

    assert codes(world.verify(kit.make(world).bundle)) == []


# Outside time


def stamped_outside(world: Any, kit: ModuleType) -> tuple[bytes, Any]:
    root, authority = kit.outside_authority(world.now - timedelta(days=1), world.clock)
    files, report = kit.report(world, "alice", "bob")
    approvals = [world.approve(report, name) for name in ("alice", "bob")]
    token = authority.stamp(hashlib.sha256(world.checkpoint().body).digest())
    return world.pack(files, report, approvals, log={"external": [token]}), root


def test_with_outside_time_a_bundle_is_valid_without_limits(world: Any, kit: ModuleType) -> None:
    bundle, root = stamped_outside(world, kit)

    verdict = world.verify(bundle, outside=[root], demands=Demands(external_time=True))

    assert (verdict.outcome, int(verdict.outcome), verdict.findings) == (Outcome.VALID, 0, ())
    assert "existed at" in dict(verdict.proven)


def test_outside_time_that_the_examiner_does_not_know_is_not_counted_and_said(world: Any, kit: ModuleType) -> None:
    bundle, _ = stamped_outside(world, kit)

    verdict = world.verify(bundle)

    assert verdict.outcome is Outcome.VALID_WITH_LIMITS
    assert any("checkpoint-ext-1.tsr" in item and "--tsa-root" in item for item in verdict.not_checked)


def test_outside_time_by_somebody_else_is_refused(world: Any, kit: ModuleType, codes: Codes) -> None:
    bundle, _ = stamped_outside(world, kit)
    other, _ = kit.outside_authority(world.now - timedelta(days=1), world.clock)

    assert codes(world.verify(bundle, outside=[other])) == ["E_TSR"]


def test_an_outside_timestamp_of_something_else_is_refused(world: Any, kit: ModuleType, codes: Codes) -> None:
    root, authority = kit.outside_authority(world.now - timedelta(days=1), world.clock)
    made = kit.make(world)
    bundle = kit.edited(made.bundle, {"timestamps/checkpoint-ext-1.tsr": authority.stamp(bytes(32))})

    assert codes(world.verify(bundle, outside=[root])) == ["E_TSR"]


def test_outside_time_before_the_workbenchs_own_is_a_contradiction(world: Any, kit: ModuleType, codes: Codes) -> None:
    """The log was stamped outside an hour before the report in it says that it was signed: the workbench's clock lied."""
    slow = VirtualClock(start_ns=world.clock.time_ns() - 3600 * 10**9)
    root, authority = kit.outside_authority(world.now - timedelta(days=1), slow)
    made = kit.make(world)
    token = authority.stamp(hashlib.sha256(SignedCheckpoint.read(world.notes[-1]).checkpoint.body).digest())
    bundle = kit.edited(made.bundle, {"timestamps/checkpoint-ext-1.tsr": token})

    assert codes(world.verify(bundle, outside=[root])) == ["E_TIME"]


def test_outside_time_by_openssl_is_accepted(world: Any, kit: ModuleType, tmp_path: Path) -> None:
    """A token that no line of ours has made."""
    bundle, root = kit.stamped_by_openssl(world, tmp_path)

    verdict = world.verify(bundle, outside=[root])

    # openssl stamps today, and the report says that it was signed in May: that is what it can confirm, and no more.
    assert verdict.outcome is Outcome.VALID_WITH_LIMITS, verdict.text()
    assert [finding.code for finding in verdict.findings] == ["L_TIME_LOCAL"]
    assert "The nearest independent time is" in verdict.findings[0].text
    assert "existed at" in dict(verdict.proven)


# Beyond the list


def test_74_a_result_edited_before_signing_is_found(world: Any, kit: ModuleType, codes: Codes) -> None:
    world.policy = Policy("nobody", 0)
    run = world.run()
    values = kit.VALUES.replace(b"0.91", b"0.99")
    files = world.files(run, {**kit.OUTPUTS, "values.json": values})
    report = world.sign(files, [run])

    verdict = world.verify(world.pack(files, report, []))

    assert (verdict.outcome, codes(verdict)) == (Outcome.INVALID, ["E_RUN_MISMATCH"])
    assert verdict.findings[0].subject == f"{RUN}/values.json"


def test_a_run_that_was_logged_after_the_report_is_found(world: Any, kit: ModuleType, codes: Codes) -> None:
    """Invent the results, sign them, and let the log know of a run that fits."""
    world.policy = Policy("nobody", 0)
    honest = world.run()
    world.entries.pop()
    invented = replace(honest, leaf_index=len(world.entries) + 1)
    files = world.files(invented)
    report = world.sign(files, [invented])
    assert world.run().leaf_index == invented.leaf_index

    assert codes(world.verify(world.pack(files, report, []))) == ["E_RUN_MISMATCH"]


def test_a_result_that_is_left_out_is_found(world: Any, kit: ModuleType, codes: Codes) -> None:
    world.policy = Policy("nobody", 0)
    run = world.run()
    files = [file for file in world.files(run) if not file.name.endswith("values.json")]

    assert codes(world.verify(world.pack(files, world.sign(files, [run]), []))) == ["E_RUN_MISMATCH"]


def test_a_result_called_something_else_is_found(world: Any, kit: ModuleType, codes: Codes) -> None:
    world.policy = Policy("nobody", 0)
    run = world.run()
    files = [replace(file, role="data") if file.role == "result" else file for file in world.files(run)]

    assert codes(world.verify(world.pack(files, world.sign(files, [run]), []))) == ["E_RUN_MISMATCH"]


def test_a_timestamp_from_before_what_the_report_knew_is_found(world: Any, kit: ModuleType, codes: Codes) -> None:
    """Back-dating within the day, with the authority's key: the statement embeds a log that was not there yet."""
    honest, signer = world.authority, world.signers["timestamp"]
    began = world.now.replace(microsecond=0)
    world.wait(3600)
    world.log("tsa.degraded", {"trouble": "open"})
    early = VirtualClock(start_ns=int(began.timestamp() * 1e9))
    world.policy = Policy("nobody", 0)
    run = world.run()
    files = world.files(run)
    world.authority = SimpleNamespace(stamp=lambda digest: kit.token_at(signer, digest, began))
    report = world.sign(files, [run], clock=early)
    world.authority = honest

    assert codes(world.verify(world.pack(files, report, []))) == ["E_TIME"]


def test_a_signed_file_outside_the_payload_is_not_accepted(made: Any, kit: ModuleType, codes: Codes) -> None:
    """The recipe refuses it, so this verifier does."""
    world = made.world
    files = [*made.files, BundleFile("notes.txt", b"see here", "text/plain", "data")]
    world.policy = Policy("nobody", 0)
    report = world.sign(files, [made.run], version=2)

    assert codes(world.verify(world.pack(files, report, []))) == ["E_EXTRA"]


def test_a_wrong_checksum_in_the_archive_is_found_on_every_file(made: Any, kit: ModuleType, codes: Codes) -> None:
    """Also on those that other findings, which are mere limits, speak of."""
    for name, content in kit.opened(made.bundle).items():
        checksum = zlib.crc32(content).to_bytes(4, "little")
        wrong = made.bundle.replace(checksum, bytes(byte ^ 0xFF for byte in checksum))
        assert codes(made.world.verify(wrong)) == ["E_ZIP"], name


@pytest.mark.parametrize(
    "flaw", ["no name", "control characters", "key of unknown kind", "two purposes", "a name twice"]
)
def test_a_certificate_that_is_none_of_ours_is_named_and_never_followed(
    made: Any, kit: ModuleType, codes: Codes, flaw: str
) -> None:
    """Such a one must not stop the verifier, whatever it is asked to sign."""
    certificate, key = kit.flawed_certificate(flaw)
    world = made.world
    plain = kit.edited(made.bundle, {CERTS: lambda content: content + pem(certificate)})
    signer = Signer(Role.APPROVAL, "eve", certificate, key)
    envelope = kit.resigned(made.approvals[0], signer, lambda statement: None)
    signing = kit.edited(plain, {ALICE: envelope, REPORT: envelope})

    assert codes(world.verify(plain)) == ["E_EXTRA"]
    assert world.verify(signing).outcome is Outcome.INVALID


def test_a_rotation_that_the_root_did_not_sign_is_found(world: Any, kit: ModuleType, codes: Codes) -> None:
    world.add_reviewer("alice")
    other = kit.stranger(world)
    new = other.signers["ledger"].certificate
    message = rotation_message(Role.LEDGER, fingerprint(world.signers["ledger"].certificate), fingerprint(new))
    world.log("key.issued", issued_fields(new))
    world.log(
        "key.rotated",
        {
            "role": "ledger",
            "oldCertSha256": fingerprint(world.signers["ledger"].certificate),
            "newCertSha256": fingerprint(new),
            "oldSignature": base64.b64encode(world.signers["ledger"].sign(message)).decode(),
            "rootSignature": base64.b64encode(other.signers["root"].sign(message)).decode(),
        },
    )
    world.policy = Policy("nobody", 0)
    files, report = kit.report(world)
    world.signers["ledger"] = other.signers["ledger"]
    certificates = [*(info.certificate for info in world.store.issued()), new]

    verdict = world.verify(world.pack(files, report, [], certificates=certificates))

    assert (verdict.outcome, codes(verdict)) == (Outcome.INVALID, ["E_CERT", "E_LOG"])


@pytest.mark.parametrize("handed", ["from the root", "to the root"])
def test_a_handover_of_the_root_without_its_signature_is_no_handover(world: Any, kit: ModuleType, handed: str) -> None:
    """A stranger's whole bundle, with the examiner's root as its alleged predecessor or successor."""
    other = kit.stranger(world)
    ours, theirs = world.signers["root"], other.signers["root"]
    old, new = (ours, theirs) if handed == "from the root" else (theirs, ours)
    message = rotation_message(Role.ROOT, fingerprint(old.certificate), fingerprint(new.certificate))
    signature = base64.b64encode(theirs.sign(message)).decode()
    other.log("key.issued", issued_fields(ours.certificate))
    other.log(
        "key.rotated",
        {
            "role": "root",
            "oldCertSha256": fingerprint(old.certificate),
            "newCertSha256": fingerprint(new.certificate),
            "oldSignature": signature,
            "rootSignature": signature,
        },
    )
    bundle = kit.edited(kit.make(other).bundle, {CERTS: lambda content: pem(ours.certificate) + content})

    verdict = world.verify(bundle)

    assert verdict.outcome is Outcome.INVALID
    assert {"E_LOG", "E_TSR", "E_CERT"} <= {finding.code for finding in verdict.findings}


def test_a_revocation_that_the_root_did_not_sign_is_found(world: Any, kit: ModuleType, codes: Codes) -> None:
    sha256 = fingerprint(world.signers["report"].certificate)
    fields = world.store.revoke(sha256, "superseded", world.now, root=kit.stranger(world).signers["root"])
    world.log("key.revoked", fields)

    assert codes(world.verify(kit.make(world).bundle)) == ["E_LOG"]


@pytest.mark.parametrize("trick", ["logged again", "logged late"])
def test_a_withdrawn_approval_is_not_revived_by_the_order_of_the_log(
    world: Any, kit: ModuleType, codes: Codes, trick: str
) -> None:
    """Who keeps the log chooses the order of its rows; the time in a decision is its reviewer's."""
    files, report = kit.report(world, "alice", "bob")
    first = world.approve(report, "bob", log=trick == "logged again")
    approvals = [world.approve(report, "alice"), world.approve(report, "bob", "withdraw"), first]
    world.log("approval.recorded", approval_fields(first), "p:bob")

    assert codes(world.verify(world.pack(files, report, approvals))) == ["E_APPROVALS"]


def test_a_rejection_logged_under_another_version_is_found_by_its_digest(
    world: Any, kit: ModuleType, codes: Codes
) -> None:
    files, report = kit.report(world, "alice", "bob", "carol")
    approvals = [world.approve(report, "alice"), world.approve(report, "bob")]
    hidden = world.approve(report, "carol", "reject", log=False)
    world.log("approval.recorded", {**approval_fields(hidden), "reportVersion": 99}, "p:carol")

    assert codes(world.verify(world.pack(files, report, approvals))) == ["E_APPROVAL_HIDDEN"]


def test_a_compromise_is_not_forgotten_because_the_key_was_superseded_before(
    world: Any, kit: ModuleType, codes: Codes
) -> None:
    files, report = kit.report(world, "alice", "bob")
    approvals = [world.approve(report, who) for who in ("alice", "bob")]
    world.wait(60)
    world.revoke("report", "superseded", world.now)
    world.revoke("report", "keyCompromise", world.now + timedelta(hours=1))

    verdict = world.verify(world.pack(files, report, approvals))

    assert codes(verdict) == ["E_REVOKED"]
    assert "only a timestamp by an outside authority could show that" in verdict.findings[0].text


def test_the_projects_own_root_is_not_outside(world: Any, kit: ModuleType) -> None:
    """An examiner who is told to give it as the outside authority's gets no outside time for it."""
    files, report = kit.report(world, "alice", "bob")
    approvals = [world.approve(report, who) for who in ("alice", "bob")]
    token = world.authority.stamp(hashlib.sha256(world.checkpoint().body).digest())
    bundle = world.pack(files, report, approvals, log={"external": [token]})

    verdict = world.verify(bundle, outside=[world.signers["root"].certificate])

    assert verdict.outcome is Outcome.VALID_WITH_LIMITS
    assert any("checkpoint-ext-1.tsr" in item for item in verdict.not_checked)


def test_another_recipe_in_the_bundle_is_said(world: Any, kit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is signed with the rest, by somebody who may want the examiner to run another one."""
    with monkeypatch.context() as patched:
        patched.setattr("workbench.evidence.bundle.readme", lambda: b"echo 1 ok\n")
        bundle = kit.make(world).bundle

    verdict = world.verify(bundle)

    assert verdict.outcome is Outcome.VALID_WITH_LIMITS
    assert any(item.startswith("README-VERIFY.txt: it is not the text") for item in verdict.not_checked)


def test_a_flood_of_findings_is_no_standstill(made: Any, kit: ModuleType) -> None:
    """A forger without any key sends a log of lines out of order: each is named, and soon."""
    line = json.loads(kit.entry_lines(made.bundle)[0])
    lines = [
        kit.canonical_json({**line, "seq": seq, "time": f"2026-05-03T10:00:{59 - seq % 2}.000Z"})
        for seq in range(20_000)
    ]
    began = time.monotonic()

    verdict = made.world.verify(kit.edited(made.bundle, {ENTRIES: kit.joined(lines)}))

    assert verdict.outcome is Outcome.INVALID and len(verdict.findings) > 9_000
    assert time.monotonic() - began < 30
