"""The report's signature: who made it, over what, when, and whether they could."""

import hashlib
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from workbench.errors import CertificateError, EvidenceError, MalformedError
from workbench.evidence.certificates import Role, fingerprint
from workbench.evidence.envelope import Envelope
from workbench.evidence.statements import PROVENANCE_TYPE, REPORT_NAME, UnknownStatementError, read_report
from workbench.evidence.timestamps import Timestamp, TokenInvalidError, TokenMismatchError, check_response
from workbench.evidence.verify.examination import Examination, parse_time
from workbench.evidence.verify.findings import sentence, short
from workbench.files import sha256_bytes

__all__ = ["check_envelope", "check_report_signature", "check_timestamp"]

_CLOCK_TOLERANCE: Final = timedelta(minutes=5)  # how far the examiner's clock may be behind
_LONGEST_WAIT: Final = timedelta(hours=24)  # between writing the statement and its timestamp


def check_envelope(
    examination: Examination, name: str, role: Role, *, what: str
) -> tuple[Envelope, x509.Certificate] | None:
    """The envelope called ``name`` and its signer, if it is whole and signed by a key of ``role``; else findings."""
    data = examination.files.get(name)
    if data is None:
        examination.add("E_FILE_MISSING", name, "It is missing.")
        return None
    try:
        envelope = Envelope.read(data, what=f"{name!r}")
    except MalformedError as error:
        examination.add("E_JSON", name, sentence(error))
        return None
    certificate = examination.certificates.by_sha256.get(envelope.keyid)
    if certificate is None:
        examination.add("E_SIG", name, f"Its signer's certificate {short(envelope.keyid)!a} is not in the bundle.")
        return None
    if not examination.check_role(certificate, role, subject=name, what=what):
        return None
    try:
        envelope.verify(certificate)
    except EvidenceError:
        examination.add("E_SIG", name, f"The signature by the {examination.called(certificate)} does not belong to it.")
        return None
    return envelope, certificate


def check_timestamp(examination: Examination, name: str, digest: bytes, *, of: str) -> Timestamp | None:
    """The token called ``name``, if one of the project's time authorities issued it over ``digest``."""
    data = examination.files.get(name)
    if data is None:
        examination.add("E_FILE_MISSING", name, f"The timestamp of {of} is missing.")
        return None
    problems: list[Exception] = []
    for certificate in examination.certificates.of_role(Role.TIMESTAMP):
        for root in examination.certificates.roots.values():
            try:
                token = check_response(data, digest, certificate=certificate, root=root)
            except (TokenInvalidError, TokenMismatchError) as error:
                problems.append(error)
            else:
                if token.time > examination.now + _CLOCK_TOLERANCE:
                    examination.add(
                        "E_FUTURE",
                        name,
                        f"The timestamp lies in your future: it says {token.time:%Y-%m-%d %H:%M:%S} UTC, this computer "
                        f"{examination.now:%Y-%m-%d %H:%M:%S} UTC.",
                    )
                examination.stamped.append((certificate, token.time, name))
                return token
    mismatch = next((error for error in problems if isinstance(error, TokenMismatchError)), None)
    if mismatch is not None:
        examination.add("E_TSR_IMPRINT", name, f"The timestamp is genuine but belongs to something else than {of}.")
    elif problems:
        # With several authorities the most telling reason is the one that is not merely "another signer".
        reason = min(problems, key=lambda error: "signer" in str(error) or "certificate" in str(error))
        examination.add("E_TSR", name, sentence(reason))
    else:
        examination.add("E_TSR", name, "The bundle names no time authority under your root.")
    return None


def check_report_signature(examination: Examination) -> None:
    """Envelope, statement, timestamp and certificate of the report, and its provenance."""
    found = check_envelope(examination, REPORT_NAME, Role.REPORT, what="reports")
    if found is None:
        return
    envelope, certificate = found
    examination.signer = certificate
    examination.payload_sha256 = sha256_bytes(envelope.payload)
    try:
        examination.subjects, examination.report = read_report(envelope.statement(what="the report's statement"))
        created = parse_time(examination.report.createdAt)
    except UnknownStatementError as error:
        examination.add("C_VERSION", REPORT_NAME, sentence(error))
        return
    except (MalformedError, ValueError) as error:
        examination.add("E_JSON", REPORT_NAME, sentence(error))
        return
    token = check_timestamp(
        examination, "timestamps/report.tsr", hashlib.sha256(envelope.signature).digest(), of="the report's signature"
    )
    if token is None:
        examination.not_checked.append("whether the signer's certificate was valid: the time of signing is not proven")
    else:
        examination.signed_at = token.time
        _check_times(examination, token, created)
        check_signer(examination, certificate, Role.REPORT, token.time, REPORT_NAME)
    _check_provenance(examination)


def check_signer(
    examination: Examination, certificate: x509.Certificate, role: Role, at: datetime, subject: str
) -> None:
    """The certificate's validity at the time of signing."""
    try:
        examination.certificates.issuer(certificate, role, at)
    except CertificateError as error:
        examination.add("E_CERT", subject, sentence(error))


def _check_times(examination: Examination, token: Timestamp, created: datetime) -> None:
    # Tokens carry whole seconds, so up to one second of "before" is rounding.
    if not created - timedelta(seconds=1) <= token.time <= created + _LONGEST_WAIT:
        examination.add(
            "E_TIME",
            "timestamps/report.tsr",
            f"The statement says it was written {created:%Y-%m-%d %H:%M:%S} UTC, its timestamp "
            f"{token.time:%Y-%m-%d %H:%M:%S} UTC; a timestamp follows within 24 hours.",
        )


def _check_provenance(examination: Examination) -> None:
    name = "attestations/provenance.dsse.json"
    found = check_envelope(examination, name, Role.REPORT, what="how reports came about")
    if found is None:
        return
    envelope, certificate = found
    if examination.signer is not None and fingerprint(certificate) != fingerprint(examination.signer):
        examination.add("E_ROLE", name, "It is signed by another key than the report.")
    try:
        statement = envelope.statement(what=f"{name!r}")
        subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    except (MalformedError, TypeError, KeyError) as error:
        examination.add("E_JSON", name, sentence(error))
        return
    if statement["predicateType"] != PROVENANCE_TYPE:
        examination.add("C_VERSION", name, "It is of a type that this version does not read.")
    for subject, digest in subjects.items():
        if subject not in examination.subjects or examination.subjects[subject].sha256 != digest:
            examination.add("E_FILE_CHANGED", name, f"It speaks of another {subject!a} than the report.")
