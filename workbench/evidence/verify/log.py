"""The log that travels with the bundle: whole, signed, timestamped, continuous with what was known before."""

import base64
import hashlib
from datetime import timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workbench.errors import EvidenceError, MalformedError, TimestampError
from workbench.evidence.certificates import Role, fingerprint, identity_of, public_key_of, role_of, spki
from workbench.evidence.checkpoint import Checkpoint, Proof, SignedCheckpoint
from workbench.evidence.entries import Entry, UnknownEntryError, read_entry
from workbench.evidence.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion
from workbench.evidence.statements import CheckpointReference, ReportPredicate
from workbench.evidence.strict import decode_base64, read_object
from workbench.evidence.timestamps import check_outside
from workbench.evidence.verify.examination import Examination, parse_time
from workbench.evidence.verify.findings import short
from workbench.evidence.verify.signing import check_signer, check_timestamp
from workbench.files import sha256_bytes

__all__ = ["check_history", "check_kept", "check_keys", "check_log", "check_logged", "read_log"]

_LONGEST_WAIT: Final = timedelta(hours=24)  # between a timestamp and its entry in the log
_CLOCK_TOLERANCE: Final = timedelta(minutes=5)  # how far the workbench's clock may be from an outside one
_ROUNDING: Final = timedelta(seconds=6)  # tokens carry whole seconds, and the log forgives a clock 5 s


def read_log(examination: Examination) -> None:
    """The entries, the tree over them, and what they say of roots and revocations."""
    data = examination.files.get("log/entries.jsonl")
    if data is None or "log/checkpoint" not in examination.files:
        for name in ("log/entries.jsonl", "log/checkpoint"):
            if name not in examination.files:
                examination.add("E_FILE_MISSING", name, "It is missing.")
        examination.not_checked.append("the log, and all that rests on it: approvals, revocations, results of runs")
        return
    lines = data.split(b"\n")
    if lines.pop() != b"" or not lines:
        examination.add("E_LOG", "log/entries.jsonl", "The list of entries is cut off.")
    examination.tree = Tree(map(leaf_hash, lines))
    if not _read_entries(examination, lines):
        examination.not_checked.append("what the log says: not all of it can be read")
        return
    for problem in examination.certificates.follow(examination.entries):
        examination.add("E_LOG", "log/entries.jsonl", f"{problem[0].upper()}{problem[1:]}.")


def check_log(examination: Examination) -> None:
    """The checkpoint over the entries, its timestamps, and the two proofs that stand on it."""
    note = examination.files.get("log/checkpoint")
    if note is not None and "log/entries.jsonl" in examination.files:
        _check_checkpoint(examination, note)  # even if an entry cannot be read: a changed one is not a newer one
        if examination.entries:
            _check_proofs(examination, note)


def _read_entries(examination: Examination, lines: list[bytes]) -> bool:
    entries: list[Entry] = []
    newest = ""
    for seq, line in enumerate(lines):
        try:
            entry = read_entry(line, seq)
            parse_time(entry.time)
        except UnknownEntryError as error:
            examination.add("C_VERSION", f"entry {seq} of the log", f"{error}.")
            return False
        except (MalformedError, ValueError) as error:
            examination.add("E_LOG", f"entry {seq} of the log", f"{error}.")
            return False
        if entry.time < newest:
            examination.add(
                "E_TIME", f"entry {seq} of the log", f"It is dated {entry.time}, before the entry above it."
            )
        newest = max(newest, entry.time)
        entries.append(entry)
        if entry.type == "erasure.executed":
            examination.add(
                "L_ERASED",
                f"entry {seq} of the log",
                f"Personal details of {entry.fields['subject']} were erased on {entry.time[:10]} "
                f"under {entry.fields['basis']}.",
            )
    examination.entries = entries
    return True


def _check_checkpoint(examination: Examination, note: bytes) -> None:
    name = "log/checkpoint"
    try:
        signed = SignedCheckpoint.read(note)
    except MalformedError as error:
        examination.add("E_LOG", name, f"{error}.")
        return
    checkpoint = signed.checkpoint
    if len(signed.signatures) != 1:
        examination.add("E_LOG", name, "It has other signatures than the log's.")
    candidates = {}
    for certificate in examination.certificates.of_role(Role.LEDGER):
        key = public_key_of(certificate)
        if isinstance(key, Ed25519PublicKey):
            candidates[fingerprint(certificate)] = (certificate, key)
    signer = None
    for certificate, key in candidates.values():
        try:
            signed.verify(key)
        except EvidenceError:
            continue
        signer = certificate
    if signer is None:
        examination.add("E_SIG", name, "The checkpoint is not signed by a log key of this project.")
        return
    examination.checkpoint = checkpoint
    tree = examination.tree
    if checkpoint.size != len(tree):
        examination.add(
            "E_LOG",
            "log/entries.jsonl",
            f"The signed checkpoint counts {checkpoint.size} entries, the bundle holds {len(tree)}.",
            expected=str(checkpoint.size),
            found=str(len(tree)),
        )
    elif checkpoint.root != tree.root():
        examination.add(
            "E_LOG",
            "log/entries.jsonl",
            "An entry was changed, exchanged or moved: the hash over all entries is not the one that was signed.",
            expected=checkpoint.root.hex(),
            found=tree.root().hex(),
        )
    token = check_timestamp(
        examination, "timestamps/checkpoint.tsr", hashlib.sha256(checkpoint.body).digest(), of="the log's checkpoint"
    )
    if token is None:
        return
    examination.checkpoint_at = token.time
    check_signer(examination, signer, Role.LEDGER, token.time, name)
    if examination.signed_at and token.time < examination.signed_at:
        examination.add("E_TIME", "timestamps/checkpoint.tsr", "The log was stamped before the report that is in it.")
    if examination.entries and parse_time(examination.entries[-1].time) > token.time + _ROUNDING:
        examination.add("E_TIME", "timestamps/checkpoint.tsr", "The log was stamped before its last entry.")
    _check_outside(examination, checkpoint)
    examination.check_standing(signer, token.time, subject=name)


def _check_outside(examination: Examination, checkpoint: Checkpoint) -> None:
    """Timestamps by authorities outside: what the examiner knows to trust them is needed for them."""
    names = sorted(name for name in examination.files if name.startswith("timestamps/checkpoint-ext-"))
    for name in names:
        if not examination.outside:
            examination.not_checked.append(
                f"{name}: a timestamp by an outside authority; give its root certificate with --tsa-root to count it"
            )
            continue
        try:
            token = check_outside(
                examination.files[name], hashlib.sha256(checkpoint.body).digest(), roots=examination.outside
            )
        except TimestampError as error:
            examination.add("E_TSR", name, f"{error}.")
            continue
        if token.time > examination.now + _CLOCK_TOLERANCE:
            examination.add("E_FUTURE", name, f"The timestamp lies in your future: {token.time:%Y-%m-%d %H:%M:%S} UTC.")
        if examination.signed_at and token.time < examination.signed_at - _CLOCK_TOLERANCE:
            examination.add(
                "E_TIME",
                name,
                f"An outside authority stamped the log at {token.time:%Y-%m-%d %H:%M:%S} UTC, before the workbench says "
                f"that the report was signed ({examination.signed_at:%Y-%m-%d %H:%M:%S} UTC).",
            )
        examination.external_at = min(token.time, examination.external_at or token.time)


def _check_proofs(examination: Examination, note: bytes) -> None:
    """The two proofs in the bundle are there for other tools; here they must be right, and written as we write them."""
    tree, checkpoint = examination.tree, examination.checkpoint
    name = "log/report.tlog-proof"
    data = examination.files.get(name)
    if data is None:
        examination.add("E_FILE_MISSING", name, "It is missing.")
    elif checkpoint is not None:
        try:
            proof = Proof.read(data)
        except MalformedError as error:
            examination.add("E_LOG", name, f"{error}.")
        else:
            held = proof.index < len(examination.entries) and verify_inclusion(
                leaf_hash(bytes(examination.entries[proof.index])), proof.index, checkpoint.size, proof.hashes,
                checkpoint.root,
            )  # fmt: skip
            right = held and examination.entries[proof.index].type == "report.signed"
            if not right or bytes(proof) != data or proof.note != note:
                examination.add("E_LOG", name, "It does not prove that the report is in this log.")
            elif examination.entries[proof.index].fields["payloadSha256"] != examination.payload_sha256 != "":
                examination.add("E_LOG", name, "It is the proof of another report.")
    name = "log/consistency.json"
    data = examination.files.get(name)
    if data is None:
        examination.add("E_FILE_MISSING", name, "It is missing.")
        return
    report = examination.report
    if report is None:
        return  # it does not say from where on
    first = report.previousCheckpoint.size if report.previousCheckpoint else 0
    if first <= len(tree) and not _consistency_holds(data, first, tree):
        examination.add("E_LOG", name, "It does not prove that the log only grew.")


def _consistency_holds(data: bytes, first: int, tree: Tree) -> bool:
    try:
        content = read_object(data, what="the consistency proof")
        proof = [decode_base64(node, what="a hash") for node in content["proof"]]
        roots = [decode_base64(content[name]["root"], what="a root") for name in ("first", "second")]
        sizes = [content[name]["size"] for name in ("first", "second")]
    except (MalformedError, KeyError, TypeError):
        return False
    from workbench.evidence.bundle import consistency  # the one spelling

    return (
        sizes == [first, len(tree)]
        and roots[1] == tree.root()
        and verify_consistency(first, len(tree), roots[0], roots[1], proof)
        and consistency(tree, first) == data
    )


def check_history(examination: Examination, reference: CheckpointReference | None, *, subject: str) -> None:
    """The log must begin as it stood when something in the bundle was signed."""
    if reference is None or examination.checkpoint is None:
        return
    tree = examination.tree
    same_log = reference.origin == examination.checkpoint.origin
    root = base64.b64encode(tree.root(reference.size)).decode() if reference.size <= len(tree) else ""
    if not same_log or root != reference.root:
        examination.add(
            "E_LOG_FORK",
            subject,
            f"When it was signed the log had {reference.size} entries"
            + (" under another name" if not same_log else ", and not these")
            + ": the audit history was rewritten since.",
            expected=reference.root,
            found=root,
        )


def check_logged(examination: Examination) -> None:
    """The report itself must be in the log, with exactly these bytes; and no newer version."""
    report, signer = examination.report, examination.signer
    if report is None or signer is None or not examination.entries:
        return
    signed = [entry for entry in examination.entries if entry.type == "report.signed"]
    own = [entry for entry in signed if entry.fields["payloadSha256"] == examination.payload_sha256]
    expected: dict[str, Any] = {
        "reportId": report.reportId,
        "reportVersion": report.reportVersion,
        "envelopeSha256": _digest(examination, "attestations/report.dsse.json"),
        "timestampSha256": _digest(examination, "timestamps/report.tsr"),
        "provenanceSha256": _digest(examination, "attestations/provenance.dsse.json"),
        "certSha256": fingerprint(signer),
    }
    expected = {name: value for name, value in expected.items() if value}  # what is missing was found already
    if not own:
        examination.add("E_NOT_LOGGED", "attestations/report.dsse.json", "The log knows no report with this statement.")
    elif not any({**entry.fields, **expected} == entry.fields for entry in own):
        differing = [name for name, value in expected.items() if own[-1].fields[name] != value]
        names = {
            "envelopeSha256": "attestations/report.dsse.json",
            "timestampSha256": "timestamps/report.tsr",
            "provenanceSha256": "attestations/provenance.dsse.json",
        }
        for name in differing:
            examination.add(
                "E_NOT_LOGGED",
                names.get(name, "attestations/report.dsse.json"),
                "The log has recorded another one for this report.",
                expected=str(own[-1].fields[name]),
                found=str(expected[name]),
            )
    if own:
        _check_order(examination, own[0])
    _check_newest(examination, report, signed)


def _check_order(examination: Examination, own: Entry) -> None:
    """What the report rests on comes first: the log that it knew, its timestamp, its entry."""
    report, at, name = examination.report, examination.signed_at, "attestations/report.dsse.json"
    assert report is not None
    for run in report.runs:
        if run.leafIndex > own.seq:
            examination.add(
                "E_RUN_MISMATCH", run.runId, f"The end of the run was logged after the report (entry {own.seq})."
            )
    if at is None:
        return
    logged = parse_time(own.time)
    if logged > at + _LONGEST_WAIT:
        examination.add("E_TIME", name, "It was logged more than 24 hours after its timestamp.")
    if logged < at - _ROUNDING:
        examination.add("E_TIME", name, "It was logged before its timestamp was made.")
    known = report.previousCheckpoint.size if report.previousCheckpoint else 0
    if 0 < known <= len(examination.entries) and parse_time(examination.entries[known - 1].time) > at + _ROUNDING:
        examination.add(
            "E_TIME", "timestamps/report.tsr", f"It is from before entry {known - 1}, which the report knew."
        )


def _check_newest(examination: Examination, report: ReportPredicate, signed: list[Entry]) -> None:
    same = [entry.fields for entry in signed if entry.fields["reportId"] == report.reportId]
    newest = max((fields["reportVersion"] for fields in same), default=0)
    if newest > report.reportVersion:
        examination.add(
            "E_SUPERSEDED",
            report.reportId,
            f"This is version {report.reportVersion}. Authentic, but version {newest} exists.",
        )
    of_version = [fields["payloadSha256"] for fields in same if fields["reportVersion"] == report.reportVersion]
    if of_version and of_version[-1] != examination.payload_sha256:
        examination.add(
            "E_SUPERSEDED",
            report.reportId,
            f"Authentic, but version {report.reportVersion} was signed once more afterwards, with another statement.",
            expected=of_version[-1],
            found=examination.payload_sha256,
        )


def _digest(examination: Examination, name: str) -> str:
    return sha256_bytes(examination.files[name]) if name in examination.files else ""


def check_keys(examination: Examination) -> None:
    """Every certificate must be one that the log says was issued, and no key may have two roles."""
    for sha256 in examination.strays:
        examination.add(
            "E_EXTRA",
            f"trust/certs.pem, key {short(sha256)}",
            "A certificate was added that is none of this project's.",
        )
    if not examination.entries:
        examination.not_checked.append("whether the certificates are those that were issued: the log says it")
        return
    issued = {e.fields["certSha256"]: e.fields for e in examination.entries if e.type == "key.issued"}
    roles: dict[str, set[str]] = {}
    for fields in issued.values():
        roles.setdefault(fields["spkiSha256"], set()).add(fields["role"])
    for sha256, certificate in examination.certificates.by_sha256.items():
        subject = f"trust/certs.pem, {examination.called(certificate)}"
        role, identity = role_of(certificate).value, identity_of(certificate)
        key = sha256_bytes(spki(certificate))
        roles.setdefault(key, set()).add(role)
        if sha256 not in issued:
            examination.add("E_EXTRA", subject, "The log does not know that this certificate was ever issued.")
        elif issued[sha256] != {"role": role, "identity": identity, "certSha256": sha256, "spkiSha256": key}:
            examination.add("E_LOG", subject, "The log says something else of this certificate than the certificate.")
    for shared in roles.values():
        if len(shared) > 1:
            listed = " and ".join(sorted(shared))
            examination.add("E_KEY_REUSE", "trust/certs.pem", f"One key is used in several roles: {listed}.")
    missing = set(issued) - set(examination.certificates.by_sha256)
    if missing:
        examination.add(
            "E_FILE_MISSING", "trust/certs.pem", f"{len(missing)} certificates that were issued are missing."
        )


def check_kept(examination: Examination, kept: Checkpoint, entries: list[bytes] | None) -> None:
    """Compare with a checkpoint, or another bundle's whole log (``entries``), that the examiner has kept."""
    if examination.checkpoint is None:
        examination.not_checked.append("the kept checkpoint: the bundle's log cannot be believed")
        return
    tree, subject = examination.tree, "log/checkpoint"
    if kept.origin != examination.checkpoint.origin:
        examination.add(
            "E_LOG_FORK",
            subject,
            "The checkpoint that you hold is of another log.",
            expected=kept.origin.rpartition("/")[2],
            found=examination.checkpoint.origin.rpartition("/")[2],
        )
    elif kept.size <= len(tree):
        if tree.root(kept.size) != kept.root:
            examination.add(
                "E_LOG_FORK",
                subject,
                f"The first {kept.size} entries are not those of the checkpoint that you hold.",
                expected=kept.root.hex(),
                found=tree.root(kept.size).hex(),
            )
    elif entries is not None:
        if Tree(map(leaf_hash, entries)).root(len(tree)) != tree.root():
            examination.add(
                "E_LOG_FORK", subject, f"Its {len(tree)} entries do not begin the longer log that you hold."
            )
    else:
        examination.add(
            "E_LOG_ROLLBACK",
            subject,
            f"The checkpoint that you hold counts {kept.size} entries, this bundle's log {len(tree)}.",
            expected=str(kept.size),
            found=str(len(tree)),
        )
