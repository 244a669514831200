"""What the checks share: the bundle's files, the certificates that stand under the root, and the findings so far."""

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509

from workbench.clock import Clock
from workbench.errors import CertificateError
from workbench.evidence.certificates import Role, check_certificate, fingerprint, identity_of, role_of
from workbench.evidence.checkpoint import Checkpoint
from workbench.evidence.entries import Entry
from workbench.evidence.keys import revocation_message, rotation_message, verify_message
from workbench.evidence.merkle import Tree
from workbench.evidence.statements import ReportPredicate, Subject
from workbench.evidence.verify.findings import Finding, short

__all__ = ["ROUNDING", "Certificates", "Demands", "Examination", "Revocation", "parse_time"]

ROUNDING: Final = timedelta(seconds=6)  # tokens carry whole seconds, and the log forgives a clock 5 s


def parse_time(text: str) -> datetime:
    """A time as documents and entries write it. They are matched against a pattern first, but 31 February is not.

    Raises ``ValueError``.
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Demands:
    """The examiner's own least demands (``--policy``), whatever the bundle says of itself."""

    approvals_required: int = 0
    external_time: bool = False


@dataclass(frozen=True)
class Revocation:
    """A certificate withdrawn, from when on, why, and which entry of the log says so."""

    cert_sha256: str
    reason: str
    invalid_from: datetime
    seq: int


@dataclass
class Certificates:
    """The bundle's certificates by SHA-256, and the roots that are trusted: the examiner's, and its successors."""

    by_sha256: dict[str, x509.Certificate]
    roots: dict[str, x509.Certificate]
    revocations: dict[str, list[Revocation]] = field(default_factory=dict)

    def of_role(self, role: Role) -> list[x509.Certificate]:
        found = []
        for certificate in self.by_sha256.values():
            try:
                if role_of(certificate) is role:
                    found.append(certificate)
            except CertificateError:
                continue
        return found

    def issuer(self, certificate: x509.Certificate, role: Role, at: datetime) -> x509.Certificate:
        """The trusted root under which ``certificate`` could act as ``role`` then. Raises ``CertificateError``."""
        problem: CertificateError | None = None
        for root in self.roots.values():
            try:
                check_certificate(certificate, role, root=root, at=at)
            except CertificateError as error:
                if problem is None or "not issued by" in str(problem):
                    problem = error
            else:
                return root
        raise problem or CertificateError("there is no trusted root")

    def follow(self, entries: list[Entry]) -> list[str]:
        """Trust the roots that a trusted root handed over to, or took over from, by the log's signed entries.

        Returns a sentence for each rotation or revocation whose signatures do not hold.
        """
        problems = []
        handovers = [entry for entry in entries if entry.type == "key.rotated" and entry.fields["role"] == Role.ROOT]
        while any(self._follow_root(entry) for entry in handovers):  # one may make another one trusted
            pass
        for entry in entries:
            if entry.type == "key.rotated":
                problems += self._follow_rotation(entry)
            elif entry.type == "key.revoked":
                problems += self._follow_revocation(entry)
        return problems

    def _follow_root(self, entry: Entry) -> bool:
        """Trust the other root of a handover that one trusted root has part in; whether that was news."""
        pair = {entry.fields["oldCertSha256"], entry.fields["newCertSha256"]}
        if len(pair & set(self.roots)) != 1 or self._follow_rotation(entry):
            return False
        self.roots |= {sha256: self.by_sha256[sha256] for sha256 in pair}
        return True

    def _follow_rotation(self, entry: Entry) -> list[str]:
        said = entry.fields
        role = Role(said["role"])
        old, new = (self.by_sha256.get(said[name]) for name in ("oldCertSha256", "newCertSha256"))
        message = rotation_message(role, said["oldCertSha256"], said["newCertSha256"])
        wrong = [f"entry {entry.seq} of the log (key.rotated) is not signed by the old key and the root"]
        if old is None or new is None:
            return [f"entry {entry.seq} of the log (key.rotated) is about a certificate that is not in the bundle"]
        if (role_of(old), role_of(new)) != (role, role):
            return [f"entry {entry.seq} of the log (key.rotated) is about a key of another role"]
        endorsers = [new] if role is Role.ROOT else list(self.roots.values())
        by_root = base64.b64decode(said["rootSignature"])
        if not verify_message(old, base64.b64decode(said["oldSignature"]), message):
            return wrong
        if not any(verify_message(root, by_root, message) for root in endorsers):
            return wrong
        return []

    def _follow_revocation(self, entry: Entry) -> list[str]:
        said = entry.fields
        message = revocation_message(said["certSha256"], said["reason"], said["invalidFrom"])
        signature = base64.b64decode(said["rootSignature"])
        if not any(verify_message(root, signature, message) for root in self.roots.values()):
            return [f"entry {entry.seq} of the log (key.revoked) is not signed by the root"]
        revocation = Revocation(said["certSha256"], said["reason"], parse_time(said["invalidFrom"]), entry.seq)
        self.revocations.setdefault(revocation.cert_sha256, []).append(revocation)
        return []


@dataclass
class Examination:
    """One verification under way."""

    files: dict[str, bytes]
    certificates: Certificates
    clock: Clock
    demands: Demands
    outside: tuple[x509.Certificate, ...] = ()  # roots of outside time authorities, given by the examiner
    strays: list[str] = field(default_factory=list)  # SHA-256 of certificates that are none of ours
    findings: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    _told: set[Finding] = field(default_factory=set)  # a forger may cause as many findings as there are lines
    # What the checks establish, in this order
    subjects: dict[str, Subject] = field(default_factory=dict)
    report: ReportPredicate | None = None
    payload_sha256: str = ""
    signer: x509.Certificate | None = None
    signed_at: datetime | None = None
    stamped: list[tuple[x509.Certificate, datetime, str]] = field(default_factory=list)  # by whom, when, which file
    entries: list[Entry] = field(default_factory=list)
    tree: Tree = field(default_factory=Tree)
    checkpoint: Checkpoint | None = None
    checkpoint_at: datetime | None = None
    external_at: datetime | None = None
    approvals: list[str] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)

    def add(self, code: str, subject: str, text: str, *, expected: str = "", found: str = "") -> None:
        finding = Finding(code, subject, text, expected, found)
        if finding not in self._told:
            self._told.add(finding)
            self.findings.append(finding)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time_ns() / 1e9, tz=UTC)

    def called(self, certificate: x509.Certificate) -> str:
        """A key as readers know it: role and name, e.g. ``approval key 'alice'``."""
        try:
            return f"{role_of(certificate).value} key {identity_of(certificate)!r}"
        except CertificateError:
            return f"key {short(fingerprint(certificate))}"

    def check_standing(self, certificate: x509.Certificate, signed_at: datetime, *, subject: str) -> None:
        """Whether the key had been revoked when it signed. After a compromise only outside time shows "before"."""
        for revocation in self.certificates.revocations.get(fingerprint(certificate), ()):
            self._check_revocation(revocation, certificate, signed_at, subject)

    def _check_revocation(
        self, revocation: Revocation, certificate: x509.Certificate, signed_at: datetime, subject: str
    ) -> None:
        day = f"{revocation.invalid_from:%Y-%m-%d %H:%M} UTC"
        key = self.called(certificate)
        if signed_at >= revocation.invalid_from:
            why = "was declared compromised" if revocation.reason == "keyCompromise" else "was withdrawn"
            self.add(
                "E_REVOKED",
                subject,
                f"The {key} {why} from {day}; this signature is dated {signed_at:%Y-%m-%d %H:%M} UTC. "
                f"Signatures before {day} stay valid.",
            )
        elif revocation.reason == "keyCompromise" and (
            self.external_at is None or self.external_at >= revocation.invalid_from
        ):
            self.add(
                "E_REVOKED",
                subject,
                f"The {key} was declared compromised from {day}. This signature says {signed_at:%Y-%m-%d %H:%M} UTC, "
                "but only a timestamp by an outside authority could show that, and there is none from before.",
            )

    def check_role(self, certificate: x509.Certificate, role: Role, *, subject: str, what: str) -> bool:
        """Whether the certificate is for ``role``; if not, that is found."""
        try:
            found = role_of(certificate)
        except CertificateError as error:
            self.add("E_ROLE", subject, f"The signer has no role here: {error}.")
            return False
        if found is not role:
            does = {
                Role.ROOT: "issue certificates",
                Role.LEDGER: "sign the audit log",
                Role.REPORT: "sign reports",
                Role.APPROVAL: "sign decisions",
                Role.TIMESTAMP: "sign timestamps",
            }[found]
            self.add("E_ROLE", subject, f"The key {identity_of(certificate)!r} may {does}, not {what}.")
            return False
        return True
