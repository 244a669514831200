"""Decisions on the report: whose, on what, logged or not, and whether they are enough."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from workbench.errors import MalformedError
from workbench.evidence.certificates import Role, identity_of, spki
from workbench.evidence.entries import Entry
from workbench.evidence.statements import ApprovalPredicate, UnknownStatementError, read_approval
from workbench.evidence.verify.examination import Examination, parse_time
from workbench.evidence.verify.findings import sentence
from workbench.evidence.verify.history import check_history
from workbench.evidence.verify.signing import check_envelope, check_signer
from workbench.files import sha256_bytes

__all__ = ["check_approvals", "check_demands"]

_NAME: Final = re.compile(r"attestations/approval-([a-z0-9-]+)(?:\.n[0-9]+)?\.dsse\.json")
_LONGEST_WAIT: Final = timedelta(hours=24)  # between a decision and its entry in the log


@dataclass(frozen=True)
class _Decision:
    """A decision that counts: by whom, and when they say that they made it."""

    reviewer: str
    decision: str
    key: bytes
    made: tuple[datetime, int]  # time as signed, then place in the log


def check_approvals(examination: Examination) -> None:
    """Judge every decision in the bundle, look for such as were left out, and count."""
    report = examination.report
    if report is None or not examination.entries:
        examination.not_checked.append("approvals: they rest on the report's statement and the log")
        return
    recorded = [
        entry
        for entry in examination.entries
        if entry.type == "approval.recorded"
        and (
            (entry.fields["reportId"], entry.fields["reportVersion"]) == (report.reportId, report.reportVersion)
            or entry.fields["payloadSha256"] == examination.payload_sha256
        )
    ]
    by_envelope: dict[str, Entry] = {}
    for entry in recorded:  # the first counts: to log a decision once more does not make it new
        by_envelope.setdefault(entry.fields["envelopeSha256"], entry)
    shown = set()
    counted: list[_Decision] = []
    for name in sorted(name for name in examination.files if name.startswith("attestations/approval-")):
        digest = sha256_bytes(examination.files[name])
        shown.add(digest)
        decision = _judge(examination, name, by_envelope.get(digest))
        if decision is not None:
            counted.append(decision)
    for digest, entry in by_envelope.items():
        if digest not in shown:
            examination.add(
                "E_APPROVAL_HIDDEN",
                f"entry {entry.seq} of the log",
                f"The audit log records a decision on this report ({entry.fields['decision']} by {entry.actor[2:]!r}, "
                f"{entry.time[:10]}) that was left out of the bundle.",
            )
    _count(examination, counted)


def _judge(examination: Examination, name: str, entry: Entry | None) -> _Decision | None:
    """The decision in file ``name``, if it counts; otherwise what is wrong with it was found."""
    before = len(examination.findings)
    found = check_envelope(examination, name, Role.APPROVAL, what="decisions")
    if found is None:
        return None
    envelope, certificate = found
    try:
        payload, predicate = read_approval(envelope.statement(what=f"{name!r}"), what=f"{name!r}")
        created = parse_time(predicate.createdAt)
    except UnknownStatementError as error:
        examination.add("C_VERSION", name, sentence(error))
        return None
    except (MalformedError, ValueError) as error:
        examination.add("E_JSON", name, sentence(error))
        return None
    _check_object(examination, name, payload, predicate)
    called = _NAME.fullmatch(name)
    if called is None or called[1] != predicate.reviewer:
        examination.add("E_EXTRA", name, f"The file is not called after {predicate.reviewer!r}, whose decision it is.")
    if identity_of(certificate) != predicate.reviewer:
        examination.add(
            "E_ROLE", name, f"It says to be by {predicate.reviewer!r}, and is signed by {identity_of(certificate)!r}."
        )
    if examination.signer is not None and spki(certificate) == spki(examination.signer):
        examination.add("E_KEY_REUSE", name, "The report's signer decided on the report.")
    if entry is None or entry.fields["decision"] != predicate.decision:
        examination.add("E_NOT_LOGGED", name, "The log has not recorded this decision.")
        return None
    at = parse_time(entry.time)
    if not created - timedelta(seconds=1) <= at <= created + _LONGEST_WAIT:
        examination.add(
            "E_TIME", name, f"It says {created:%Y-%m-%d %H:%M} UTC, and was logged {at:%Y-%m-%d %H:%M} UTC."
        )
    check_signer(examination, certificate, Role.APPROVAL, at, name)
    examination.check_standing(certificate, at, subject=name)
    check_history(examination, predicate.previousCheckpoint, subject=name)
    if len(examination.findings) > before:
        return None
    return _Decision(predicate.reviewer, predicate.decision, spki(certificate), (created, entry.seq))


def _check_object(examination: Examination, name: str, payload: str, predicate: ApprovalPredicate) -> None:
    """Was it this report, in this version, under these rules, that was decided on?"""
    report = examination.report
    assert report is not None
    who = predicate.reviewer
    if predicate.reportId != report.reportId:
        examination.add("E_APPROVAL_OTHER", name, f"{who} decided on report {predicate.reportId!r}; this is another.")
    elif predicate.reportVersion != report.reportVersion:
        examination.add(
            "E_APPROVAL_OTHER",
            name,
            f"{who} decided on version {predicate.reportVersion}; this is version {report.reportVersion}.",
        )
    elif payload != examination.payload_sha256:
        examination.add(
            "E_APPROVAL_OTHER",
            name,
            f"{who} decided on another statement of this version.",
            expected=examination.payload_sha256,
            found=payload,
        )
    if (predicate.policyId, predicate.policySha256) != (report.policy.id, report.policy.sha256):
        examination.add("E_APPROVAL_OTHER", name, f"{who} decided under other rules than those of this report.")


def _count(examination: Examination, decisions: list[_Decision]) -> None:
    """The last decision of each person counts, and each key once."""
    report = examination.report
    assert report is not None
    last: dict[str, _Decision] = {}
    for decision in sorted(decisions, key=lambda one: one.made):
        last[decision.reviewer] = decision
    approving = {one.key: one.reviewer for one in last.values() if one.decision == "approve"}
    examination.approvals = sorted(approving.values())
    for one in last.values():
        if one.decision == "reject":
            examination.add("L_REJECTED", report.reportId, f"{one.reviewer} rejected this report.")
    required = max(report.policy.approvalsRequired, examination.demands.approvals_required)
    if len(approving) < required:
        have = f" ({', '.join(examination.approvals)})" if approving else ""
        others = sorted(identity_of(one) for one in _possible(examination) if spki(one) not in approving)
        missing = f" Could still approve: {', '.join(others)}." if others else ""
        examination.add(
            "E_APPROVALS", report.reportId, f"{len(approving)} of {required} required approvals{have}.{missing}"
        )


def _possible(examination: Examination) -> list[x509.Certificate]:
    return examination.certificates.of_role(Role.APPROVAL)


def check_demands(examination: Examination) -> None:
    """The examiner's own least demands."""
    report, demands = examination.report, examination.demands
    if report is None:
        return
    if report.policy.approvalsRequired < demands.approvals_required:
        examination.add(
            "E_POLICY",
            report.policy.id,
            f"Its rules ask for {report.policy.approvalsRequired} approvals, yours for {demands.approvals_required}.",
            expected=str(demands.approvals_required),
            found=str(report.policy.approvalsRequired),
        )
    if demands.external_time and examination.external_at is None:
        examination.add(
            "E_POLICY", report.reportId, "You ask for a timestamp by an outside authority, and none counts."
        )
