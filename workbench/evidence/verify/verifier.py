"""The order of the checks, and what the verdict says is proven."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from workbench.clock import Clock, SystemClock
from workbench.errors import CertificateError, InputError, MalformedError
from workbench.evidence.archive import ArchiveError, NameProblemError, read_archive
from workbench.evidence.certificates import (
    Role,
    fingerprint,
    identity_of,
    is_demo,
    pem,
    read_certificates,
    role_of,
    spki,
)
from workbench.evidence.checkpoint import Checkpoint, SignedCheckpoint
from workbench.evidence.merkle import Tree, leaf_hash
from workbench.evidence.verify.approvals import check_approvals, check_demands
from workbench.evidence.verify.content import check_files, check_runs
from workbench.evidence.verify.examination import Certificates, Demands, Examination
from workbench.evidence.verify.findings import Finding, Gravity, sentence
from workbench.evidence.verify.history import check_history, check_kept, check_keys, check_logged
from workbench.evidence.verify.log import check_log, read_log
from workbench.evidence.verify.signing import check_report_signature
from workbench.evidence.verify.verdict import Verdict

__all__ = ["Kept", "read_kept", "read_root", "verify", "verify_bytes"]

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_SOON: Final = timedelta(hours=24)  # an outside timestamp within that confirms the time of signing
# What no bundle can show by itself; said every time, so that VALID is not taken for more than it is.
_NEVER_CHECKED: Final = (
    "whether the run would give these results again: only running it again shows that",
    "whether a key was revoked, or a newer version made, after this bundle was packed",
    "who the people behind the pseudonyms are",
)


class Kept:
    """A checkpoint that the examiner has kept; ``entries`` if it came with its whole log, in another bundle."""

    def __init__(self, checkpoint: Checkpoint, entries: list[bytes] | None = None) -> None:
        self.checkpoint = checkpoint
        self.entries = entries


def read_root(given: str) -> str:
    """The root's SHA-256 from what an examiner types: 64 hex digits (colons and spaces are fine), or a PEM file.

    Raises ``InputError``.

    >>> read_root("AB:" * 31 + "AB") == "ab" * 32
    True
    """
    digits = re.sub(r"[\s:]", "", given).lower().removeprefix("sha256")
    if _FINGERPRINT.fullmatch(digits):
        return digits
    path = Path(given)
    try:
        data = path.read_bytes()
    except (OSError, ValueError):
        raise InputError(
            f"--root {given!r} is neither a fingerprint (64 hex digits) nor a certificate file that can be read"
        ) from None
    try:
        certificates = read_certificates(data)
    except CertificateError as error:
        raise InputError(f"--root {given!r}: {error}") from error
    if len(certificates) != 1:
        raise InputError(f"--root {given!r} holds {len(certificates)} certificates, expected one")
    return fingerprint(certificates[0])


def read_kept(path: Path) -> Kept:
    """A kept checkpoint (a signed note), or the log of another bundle. Raises ``InputError``."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"the kept checkpoint {str(path)!r} cannot be read: {error.strerror}") from error
    try:
        if data.startswith(b"PK"):
            files, _ = read_archive(data)
            checkpoint = SignedCheckpoint.read(files["log/checkpoint"]).checkpoint
            entries = files["log/entries.jsonl"].split(b"\n")[:-1]
            if Tree(map(leaf_hash, entries)).root() != checkpoint.root or len(entries) != checkpoint.size:
                raise MalformedError("its log is not the one that its checkpoint is of")
            return Kept(checkpoint, entries)
        return Kept(SignedCheckpoint.read(data).checkpoint)
    except (MalformedError, KeyError) as error:
        raise InputError(f"{path.name!r} is neither a checkpoint nor a bundle: {error}") from error


def verify(
    path: Path,
    root: str | None,
    *,
    kept: Kept | None = None,
    demands: Demands | None = None,
    outside: Sequence[x509.Certificate] = (),
    clock: Clock | None = None,
) -> Verdict:
    """Judge the bundle at ``path``, offline, by nothing but it and what the examiner holds.

    ``root`` is the SHA-256 of the root certificate (see ``read_root``), ``kept`` a checkpoint from before, ``outside``
    the roots of outside time authorities. Never raises for what is in the file.

    >>> verify(Path("not-there.evidence.zip"), "00" * 32).outcome.word
    'CANNOT CHECK'
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = f"It cannot be read: {(error.strerror or str(error)).lower()}."
        return Verdict(path.name, (Finding("C_FILE", path.name, reason),))
    return verify_bytes(data, root, name=path.name, kept=kept, demands=demands, outside=outside, clock=clock)


def verify_bytes(
    data: bytes,
    root: str | None,
    *,
    name: str = "bundle",
    kept: Kept | None = None,
    demands: Demands | None = None,
    outside: Sequence[x509.Certificate] = (),
    clock: Clock | None = None,
) -> Verdict:
    """As ``verify``, for a bundle in memory."""
    try:
        files, damaged = read_archive(data)
    except NameProblemError as error:
        return Verdict(name, (Finding("E_PATH", name, f"{sentence(error)} Nothing inside was opened."),))
    except ArchiveError as error:
        text = f"The file is not a well-formed bundle: {error}. Nothing inside was opened."
        return Verdict(name, (Finding("E_ZIP", name, text),))
    examination = Examination(
        files, Certificates({}, {}), clock or SystemClock(), demands or Demands(), outside=tuple(outside)
    )
    if root is None:
        examination.add("C_ROOT", name, "You gave no root fingerprint.")
        examination.not_checked.append("everything: there is nothing to hold the bundle against")
    elif _trust(examination, root):
        _examine(examination, kept)
    _note_damage(examination, damaged)
    values = tuple(examination.values)
    return Verdict(name, tuple(examination.findings), _proven(examination), tuple(examination.not_checked), values)


def _trust(examination: Examination, root: str) -> bool:
    """Load the certificates, and find the examiner's root among them."""
    name = "trust/certs.pem"
    data = examination.files.get(name)
    if data is None:
        examination.add("E_FILE_MISSING", name, "It is missing.")
        return False
    try:
        certificates = read_certificates(data)
    except CertificateError as error:
        examination.add("E_JSON", name, sentence(error))
        return False
    if pem(*certificates) != data or len(set(map(fingerprint, certificates))) != len(certificates):
        examination.add("E_JSON", name, "It is not a plain list of different certificates.")
    by_sha256 = {fingerprint(certificate): certificate for certificate in certificates if _is_ours(certificate)}
    examination.certificates.by_sha256 = by_sha256
    examination.strays = [fingerprint(one) for one in certificates if fingerprint(one) not in by_sha256]
    anchor = by_sha256.get(root)
    if anchor is None or role_of(anchor) is not Role.ROOT:
        roots = examination.certificates.of_role(Role.ROOT)
        examination.add(
            "E_ROOT",
            name,
            "This bundle was not issued by the authority whose fingerprint you entered.",
            expected=root,
            found=fingerprint(roots[-1]) if roots else "",
        )
        examination.not_checked.append("everything else: without a trusted root no signature means anything")
        return False
    examination.certificates.roots = {root: anchor}
    if is_demo(anchor):
        examination.add("L_DEMO", examination.called(anchor), "The bundle was made with demonstration keys.")
    return True


def _is_ours(certificate: x509.Certificate) -> bool:
    """Whether a certificate has what all of ours have; no other is looked at again. It may still be forged."""
    try:
        role_of(certificate), is_demo(certificate), spki(certificate)
        return _KEY_NAME.fullmatch(identity_of(certificate)) is not None
    except CertificateError:
        return False


def _examine(examination: Examination, kept: Kept | None) -> None:
    read_log(examination)  # first: it says which roots follow which, and which keys were revoked
    check_report_signature(examination)
    check_log(examination)
    if examination.signer is not None and examination.signed_at is not None:
        examination.check_standing(examination.signer, examination.signed_at, subject="attestations/report.dsse.json")
    for certificate, at, name in examination.stamped:
        examination.check_standing(certificate, at, subject=name)
    check_files(examination)
    check_keys(examination)
    check_logged(examination)
    report = examination.report
    if report is not None:
        check_history(examination, report.previousCheckpoint, subject="attestations/report.dsse.json")
    check_runs(examination)
    check_approvals(examination)
    check_demands(examination)
    if kept is not None:
        check_kept(examination, kept.checkpoint, kept.entries)
    else:
        examination.not_checked.append(
            "whether the log was rewritten as a whole: hold a checkpoint, or another bundle, against it (--checkpoint)"
        )
    _note_time(examination)
    examination.not_checked += _NEVER_CHECKED


def _note_time(examination: Examination) -> None:
    """Whether the time of signing is anybody's word but the workbench's own."""
    signed, seen = examination.signed_at, examination.external_at
    if signed is None:
        return
    if seen is None:
        examination.add("L_TIME_LOCAL", "timestamps/report.tsr", "There is no independent time that counts.")
    elif seen > signed + _SOON:
        examination.add(
            "L_TIME_LOCAL",
            "timestamps/report.tsr",
            f"It says {signed:%Y-%m-%d %H:%M} UTC. The nearest independent time is {seen:%Y-%m-%d %H:%M} UTC, later by "
            f"{(seen - signed).days} days: nobody outside shows that it was signed before that.",
        )


def _note_damage(examination: Examination, damaged: list[str]) -> None:
    """A wrong checksum on a file that is otherwise as signed is damage to the archive; else the change says it all."""
    told = {finding.subject for finding in examination.findings if finding.kind.gravity is Gravity.INVALID}
    for name in damaged:
        if name not in told:
            examination.add("E_ZIP", name, "Its checksum in the archive is not that of its content.")


def _proven(examination: Examination) -> tuple[tuple[str, str], ...]:
    report = examination.report
    if report is None or examination.signer is None or examination.signed_at is None:
        return ()
    kind = "the workbench's own authority: order, not the calendar date"
    log = f"{len(examination.entries)} entries, from the first to the report and on, none changed or taken out"
    pairs = [
        ("report", f"{report.reportId}, version {report.reportVersion}"),
        ("signed by", f"{examination.called(examination.signer)}, under the root you named"),
        ("signed at", f"{examination.signed_at:%Y-%m-%d %H:%M:%S} UTC by {kind}"),
        ("files", f"{len(examination.subjects)}, all as signed, none added, none missing"),
        ("runs", ", ".join(f"{run.runId} (entry {run.leafIndex})" for run in report.runs) or "none"),
        ("approvals", f"{len(examination.approvals)} of {report.policy.approvalsRequired} required"
         + (f": {', '.join(examination.approvals)}" if examination.approvals else "")),
        ("log", log),
    ]  # fmt: skip
    if examination.external_at is not None:
        pairs.insert(3, ("existed at", f"{examination.external_at:%Y-%m-%d %H:%M:%S} UTC by an outside authority"))
    return tuple(pairs)
