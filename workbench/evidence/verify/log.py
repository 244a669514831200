"""The log that travels with the bundle: whole, signed, timestamped, continuous with what was known before."""

import hashlib
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workbench.errors import EvidenceError, MalformedError, TimestampError
from workbench.evidence.certificates import Role, fingerprint, public_key_of
from workbench.evidence.checkpoint import Checkpoint, Proof, SignedCheckpoint, consistency_document
from workbench.evidence.entries import Entry, UnknownEntryError, read_entry
from workbench.evidence.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion
from workbench.evidence.strict import decode_base64, read_object
from workbench.evidence.timestamps import check_outside
from workbench.evidence.verify.examination import ROUNDING, Examination, parse_time
from workbench.evidence.verify.findings import sentence
from workbench.evidence.verify.signing import check_signer, check_timestamp

__all__ = ["check_log", "read_log"]

_CLOCK_TOLERANCE: Final = timedelta(minutes=5)  # how far the workbench's clock may be from an outside one


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
        examination.add("E_LOG", "log/entries.jsonl", sentence(problem))


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
            examination.add("C_VERSION", f"entry {seq} of the log", sentence(error))
            return False
        except (MalformedError, ValueError) as error:
            examination.add("E_LOG", f"entry {seq} of the log", sentence(error))
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
        examination.add("E_LOG", name, sentence(error))
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
    if examination.entries and parse_time(examination.entries[-1].time) > token.time + ROUNDING:
        examination.add("E_TIME", "timestamps/checkpoint.tsr", "The log was stamped before its last entry.")
    _check_outside(examination, checkpoint)
    examination.check_standing(signer, token.time, subject=name)


def _check_outside(examination: Examination, checkpoint: Checkpoint) -> None:
    """Timestamps by authorities outside: what the examiner knows to trust them is needed for them."""
    names = sorted(name for name in examination.files if name.startswith("timestamps/checkpoint-ext-"))
    own = examination.certificates.by_sha256  # who is in the bundle is not outside, whatever the examiner was told
    roots = [root for root in examination.outside if fingerprint(root) not in own]
    for name in names:
        if not roots:
            examination.not_checked.append(
                f"{name}: a timestamp by an outside authority; give its root certificate with --tsa-root to count it"
            )
            continue
        try:
            token = check_outside(examination.files[name], hashlib.sha256(checkpoint.body).digest(), roots=roots)
        except TimestampError as error:
            examination.add("E_TSR", name, sentence(error))
            continue
        if token.time > examination.now + _CLOCK_TOLERANCE:
            examination.add("E_FUTURE", name, f"The timestamp lies in your future: {token.time:%Y-%m-%d %H:%M:%S} UTC.")
        if examination.signed_at and token.time < examination.signed_at - _CLOCK_TOLERANCE:
            examination.add(
                "E_TIME",
                name,
                f"An outside authority stamped the log at {token.time:%Y-%m-%d %H:%M:%S} UTC, before the report in it, "
                f"which says that it was signed {examination.signed_at:%Y-%m-%d %H:%M:%S} UTC.",
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
            examination.add("E_LOG", name, sentence(error))
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
    return (
        sizes == [first, len(tree)]
        and roots[1] == tree.root()
        and verify_consistency(first, len(tree), roots[0], roots[1], proof)
        and consistency_document(tree, first) == data
    )
