"""What the log says of the report and of the keys, and how it stands to what was known of it before."""

import base64
from datetime import timedelta
from typing import Any, Final

from workbench.evidence.certificates import fingerprint, identity_of, role_of, spki
from workbench.evidence.checkpoint import Checkpoint
from workbench.evidence.entries import Entry
from workbench.evidence.merkle import Tree, leaf_hash
from workbench.evidence.statements import CheckpointReference, ReportPredicate
from workbench.evidence.verify.examination import ROUNDING, Examination, parse_time
from workbench.evidence.verify.findings import short
from workbench.files import sha256_bytes

__all__ = ["check_history", "check_kept", "check_keys", "check_logged"]

_LONGEST_WAIT: Final = timedelta(hours=24)  # between a timestamp and its entry in the log


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
    if logged < at - ROUNDING:
        examination.add("E_TIME", name, "It was logged before its timestamp was made.")
    known = report.previousCheckpoint.size if report.previousCheckpoint else 0
    if 0 < known <= len(examination.entries) and parse_time(examination.entries[known - 1].time) > at + ROUNDING:
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
