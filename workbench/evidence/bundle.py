"""Making a bundle: ``*.evidence.zip``, everything an examiner needs and nothing that must be fetched.

    payload/...                          the report, results, data, sources
    attestations/report.dsse.json        the signed statement on all of it
    attestations/provenance.dsse.json    how it came about (SLSA v1)
    attestations/approval-<who>.dsse.json
    timestamps/report.tsr                RFC 3161, over the signature
    timestamps/checkpoint.tsr, checkpoint-ext-<n>.tsr      over the checkpoint's body
    log/checkpoint, report.tlog-proof, entries.jsonl, consistency.json
    trust/certs.pem                      to look certificates up in; never an anchor
    README-VERIFY.txt                    how to check it with openssl and sha256sum alone

Three steps, because other things happen in between: ``sign_report``, log it, ``pack``. Deciding on a report is
``sign_approval``. Reading and judging is in ``workbench.evidence.verify`` and shares none of this code.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cryptography import x509
from rfc3161_client import decode_timestamp_response

from workbench import __version__
from workbench.clock import Clock, SystemClock, utc
from workbench.errors import EvidenceError
from workbench.evidence.archive import write_archive
from workbench.evidence.certificates import Role, fingerprint, identity_of, pem, role_of
from workbench.evidence.checkpoint import Checkpoint, Proof, SignedCheckpoint, consistency_document
from workbench.evidence.envelope import Envelope
from workbench.evidence.keys import Signer
from workbench.evidence.merkle import Tree, leaf_hash
from workbench.evidence.recipe import README_NAME, readme
from workbench.evidence.statements import (
    APPROVAL_TYPE,
    PROVENANCE_TYPE,
    REPORT_NAME,
    REPORT_TYPE,
    read_approval,
    read_report,
    statement,
)
from workbench.files import canonical_json, sha256_bytes

__all__ = [
    "BundleFile",
    "LogExtract",
    "Policy",
    "RunResult",
    "SignedReport",
    "approval_fields",
    "pack",
    "sign_approval",
    "sign_report",
]

Stamp = Callable[[bytes], bytes]
_ROLE_ORDER: Final = {role: number for number, role in enumerate((Role.ROOT, Role.TIMESTAMP, Role.REPORT, Role.LEDGER))}


@dataclass(frozen=True)
class BundleFile:
    """A file of the payload: name within the bundle, content, kind, and the run that made it, if one did."""

    name: str
    content: bytes
    media_type: str
    role: Literal["report", "result", "source", "data", "lock", "policy", "readme"]
    run_id: str | None = None


@dataclass(frozen=True)
class RunResult:
    """What the log says of a run: the entry (from 0) and the digests of its outputs by file name."""

    run_id: str
    leaf_index: int
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Policy:
    """Under which rules a report may be called approved."""

    id: str = "open"
    approvals_required: int = 0

    def __bytes__(self) -> bytes:
        return canonical_json({"v": 1, "id": self.id, "approvalsRequired": self.approvals_required})


@dataclass(frozen=True)
class SignedReport:
    """The signed statement on a report, with its timestamp and provenance: bytes as they go into the bundle."""

    envelope: bytes
    timestamp: bytes
    provenance: bytes

    @property
    def payload_sha256(self) -> str:
        """SHA-256 of the statement's bytes: what reviewers decide on."""
        return sha256_bytes(Envelope.read(self.envelope).payload)

    def log_fields(self) -> dict[str, Any]:
        """The fields of the log's ``report.signed``."""
        envelope = Envelope.read(self.envelope)
        _, predicate = read_report(envelope.statement())
        return {
            "reportId": predicate.reportId,
            "reportVersion": predicate.reportVersion,
            "payloadSha256": sha256_bytes(envelope.payload),
            "envelopeSha256": sha256_bytes(self.envelope),
            "timestampSha256": sha256_bytes(self.timestamp),
            "timestampSerial": str(decode_timestamp_response(self.timestamp).tst_info.serial_number),
            "provenanceSha256": sha256_bytes(self.provenance),
            "certSha256": envelope.keyid,
        }


@dataclass(frozen=True)
class LogExtract:
    """The whole log as it travels: all entries that the checkpoint covers, the checkpoint, and its timestamps."""

    entries: Sequence[bytes]
    note: bytes
    timestamp: bytes
    external: Sequence[bytes] = field(default=())


def _reference(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    root = base64.b64encode(checkpoint.root).decode()
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": root}


def _all_files(files: Sequence[BundleFile], policy: Policy) -> list[BundleFile]:
    """The files with those that every bundle has, by name."""
    own = [
        BundleFile("payload/policy.json", bytes(policy), "application/json", "policy"),
        BundleFile(README_NAME, readme(), "text/plain", "readme"),
    ]
    return sorted([*files, *own], key=lambda file: file.name)


def sign_report(
    files: Sequence[BundleFile],
    *,
    report_id: str,
    version: int,
    runs: Sequence[RunResult],
    signer: Signer,
    stamp: Stamp,
    policy: Policy | None = None,
    previous: Checkpoint | None = None,
    supersedes: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> SignedReport:
    """Sign the statement on ``files`` and have the signature timestamped.

    ``stamp`` takes a SHA-256 digest and returns an RFC 3161 response. ``supersedes`` is the payload digest of the
    version before; ``previous`` the log's last checkpoint; ``provenance`` an SLSA v1 predicate.
    """
    policy = policy or Policy()
    everything = _all_files(files, policy)
    predicate = {
        "reportId": report_id,
        "reportVersion": version,
        "createdAt": utc((clock or SystemClock()).time_ns()),
        "supersedes": None if supersedes is None else {"payloadSha256": supersedes},
        "files": [
            {
                "name": file.name,
                "size": len(file.content),
                "mediaType": file.media_type,
                "role": file.role,
                "runId": file.run_id,
            }
            for file in everything
        ],
        "runs": [
            {
                "runId": run.run_id,
                "leafIndex": run.leaf_index,
                "outputsSha256": sha256_bytes(canonical_json(dict(run.outputs))),
            }
            for run in runs
        ],
        "policy": {
            "id": policy.id,
            "sha256": sha256_bytes(bytes(policy)),
            "approvalsRequired": policy.approvals_required,
        },
        "previousCheckpoint": _reference(previous),
        "workbench": {"name": "workbench", "version": __version__},
    }
    subjects = {file.name: sha256_bytes(file.content) for file in everything}
    content = statement(REPORT_TYPE, subjects, predicate)
    read_report(content)  # what we would refuse to read is not signed
    envelope = Envelope.sign(content, signer.document_key, signer.certificate)
    results = {file.name: subjects[file.name] for file in everything if file.role == "result"} or subjects
    origin = statement(PROVENANCE_TYPE, results, dict(provenance or {}))
    return SignedReport(
        bytes(envelope),
        stamp(hashlib.sha256(envelope.signature).digest()),
        bytes(Envelope.sign(origin, signer.document_key, signer.certificate)),
    )


def sign_approval(
    report: bytes,
    decision: Literal["approve", "reject", "withdraw"],
    *,
    signer: Signer,
    statement_shown: str,
    from_state: str | None = "REVIEW",
    to_state: str = "ACTIVE",
    previous: Checkpoint | None = None,
    clock: Clock | None = None,
) -> bytes:
    """A person's decision on exactly this report envelope, as an envelope of its own.

    ``statement_shown`` is the sentence that the person saw when deciding. Raises ``EvidenceError`` if the key is not an
    approval key.
    """
    if signer.role is not Role.APPROVAL:
        raise EvidenceError(f"a {signer.role.value} key does not sign decisions")
    payload = Envelope.read(report).payload
    _, predicate = read_report(Envelope.read(report).statement())
    content = statement(
        APPROVAL_TYPE,
        {REPORT_NAME: sha256_bytes(payload)},
        {
            "decision": decision,
            "reportId": predicate.reportId,
            "reportVersion": predicate.reportVersion,
            "policyId": predicate.policy.id,
            "policySha256": predicate.policy.sha256,
            "reviewer": signer.identity,
            "nonce": secrets.token_hex(16),
            "createdAt": utc((clock or SystemClock()).time_ns()),
            "fromState": from_state,
            "toState": to_state,
            "previousCheckpoint": _reference(previous),
            "statementShown": statement_shown,
        },
    )
    return bytes(Envelope.sign(content, signer.document_key, signer.certificate))


def approval_fields(envelope: bytes) -> dict[str, Any]:
    """The fields of the log's ``approval.recorded`` for a decision."""
    read = Envelope.read(envelope)
    payload_sha256, predicate = read_approval(read.statement(), what="the approval")
    return {
        "reportId": predicate.reportId,
        "reportVersion": predicate.reportVersion,
        "payloadSha256": payload_sha256,
        "envelopeSha256": sha256_bytes(envelope),
        "decision": predicate.decision,
        "certSha256": read.keyid,
    }


def pack(
    files: Sequence[BundleFile],
    report: SignedReport,
    *,
    log: LogExtract,
    certificates: Sequence[x509.Certificate],
    approvals: Sequence[bytes] = (),
    policy: Policy | None = None,
) -> bytes:
    """The bundle, as bytes; ``files`` and ``policy`` are those that were signed.

    Raises ``EvidenceError`` if the log does not hold the report: it must be logged before it is packed.
    """
    tree = Tree(map(leaf_hash, log.entries))
    own = sha256_bytes(report.envelope)
    index = next((seq for seq, entry in enumerate(log.entries) if own.encode() in entry), None)
    if index is None:
        raise EvidenceError("the report is not in the log: log it, sign a checkpoint, then pack")
    _, predicate = read_report(Envelope.read(report.envelope).statement())
    previous = predicate.previousCheckpoint
    first = 0 if previous is None else previous.size
    members: dict[str, bytes] = {README_NAME: readme()}
    members |= {file.name: file.content for file in _all_files(files, policy or Policy())}
    members[REPORT_NAME] = report.envelope
    members["attestations/provenance.dsse.json"] = report.provenance
    members |= _named(approvals)
    members["timestamps/report.tsr"] = report.timestamp
    members["timestamps/checkpoint.tsr"] = log.timestamp
    members |= {f"timestamps/checkpoint-ext-{n}.tsr": token for n, token in enumerate(log.external, start=1)}
    members["log/checkpoint"] = log.note
    members["log/report.tlog-proof"] = bytes(Proof(index, tuple(tree.inclusion_proof(index)), log.note))
    members["log/entries.jsonl"] = b"".join(entry + b"\n" for entry in log.entries)
    members["log/consistency.json"] = consistency_document(tree, first)
    members["trust/certs.pem"] = pem(*sorted(certificates, key=_certificate_order))
    if SignedCheckpoint.read(log.note).checkpoint.root != tree.root():
        raise EvidenceError("the checkpoint is not one of these entries")
    return write_archive(members)


def _named(approvals: Sequence[bytes]) -> dict[str, bytes]:
    """Each decision under its reviewer's name; a second one of the same person gets a number."""
    named: dict[str, bytes] = {}
    for envelope in approvals:
        _, predicate = read_approval(Envelope.read(envelope).statement(), what="an approval")
        taken = sum(f"-{predicate.reviewer}." in name or f"-{predicate.reviewer}.n" in name for name in named)
        suffix = f".n{taken + 1}" if taken else ""
        named[f"attestations/approval-{predicate.reviewer}{suffix}.dsse.json"] = envelope
    return named


def _certificate_order(certificate: x509.Certificate) -> tuple[int, str, str]:
    """The root first, so that a reader with nothing but a text editor finds it."""
    role = role_of(certificate)
    return _ROLE_ORDER.get(role, len(_ROLE_ORDER)), identity_of(certificate), fingerprint(certificate)
