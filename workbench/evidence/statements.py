"""What is signed: the statements on a report, on how it came about, on a decision about it, and the lifecycle's own.

Each is an in-toto Statement v1; the models below are its ``predicate``, read strictly. Digests are SHA-256, 64 lower
case hex digits; times are ISO 8601 in UTC with milliseconds.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, ValidationError

from workbench.documents import Strict, explain
from workbench.errors import MalformedError
from workbench.evidence.envelope import STATEMENT_TYPE

__all__ = [
    "APPROVAL_TYPE",
    "CHANGE_TYPE",
    "DECISION_TYPE",
    "PROVENANCE_TYPE",
    "REPORT_NAME",
    "REPORT_TYPE",
    "ApprovalPredicate",
    "ChangePredicate",
    "CheckpointReference",
    "DecisionPredicate",
    "FileRecord",
    "PolicyReference",
    "ReportPredicate",
    "RunReference",
    "Subject",
    "SupersededReport",
    "UnknownStatementError",
    "WorkbenchReference",
    "read_approval",
    "read_change",
    "read_decision",
    "read_report",
    "statement",
]

REPORT_TYPE: Final = "urn:workbench:attestation:research-report:v1"
APPROVAL_TYPE: Final = "urn:workbench:attestation:approval:v1"
DECISION_TYPE: Final = "urn:workbench:attestation:decision:v1"
CHANGE_TYPE: Final = "urn:workbench:attestation:change:v1"
PROVENANCE_TYPE: Final = "https://slsa.dev/provenance/v1"
REPORT_NAME: Final = "attestations/report.dsse.json"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$")]
Count = Annotated[int, Field(ge=0, le=2**53, strict=True)]
Person = Annotated[str, Field(pattern=r"^p:[a-z0-9][a-z0-9-]{0,39}$")]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Shown = Annotated[str, Field(min_length=1, max_length=10_000)]
Duty = Literal["researcher", "reviewer", "owner", "examiner"]
Standing = Literal["DRAFT", "REVIEW", "ACTIVE", "RETIRED"]
SubjectName = Annotated[str, Field(pattern=r"^[a-z]{2,20}:[A-Za-z0-9][A-Za-z0-9._-]{0,119}@[1-9][0-9]{0,8}$")]


class UnknownStatementError(MalformedError):
    """A statement of a type that this version does not read: not wrong, but not to be judged here."""


class _Predicate(Strict):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Subject(_Predicate):
    """A file (by name) and its digest."""

    name: str
    digest: dict[Literal["sha256"], Sha256]

    @property
    def sha256(self) -> str:
        return self.digest["sha256"]


class FileRecord(_Predicate):
    """A file of the payload. ``role``: report, result, source, data, lock, policy, readme; results belong to a run."""

    name: str
    size: Count
    mediaType: str
    role: Literal["report", "result", "source", "data", "lock", "policy", "readme"]
    runId: Name | None


class RunReference(_Predicate):
    """A run that the report rests on: where the log says how it ended, and the digest over its outputs' digests."""

    runId: Name
    leafIndex: Count
    outputsSha256: Sha256


class PolicyReference(_Predicate):
    """The rules under which the report may be called approved: ``payload/policy.json``."""

    id: Name
    sha256: Sha256
    approvalsRequired: Count


class CheckpointReference(_Predicate):
    """The last checkpoint before the signature: it ties the statement to the log's history."""

    origin: str
    size: Count
    root: str


class SupersededReport(_Predicate):
    payloadSha256: Sha256


class WorkbenchReference(_Predicate):
    name: str
    version: str


class ReportPredicate(_Predicate):
    reportId: Name
    reportVersion: Annotated[int, Field(ge=1, le=2**31, strict=True)]
    createdAt: Time
    supersedes: SupersededReport | None
    files: list[FileRecord]
    runs: list[RunReference]
    policy: PolicyReference
    previousCheckpoint: CheckpointReference | None
    workbench: WorkbenchReference


class ApprovalPredicate(_Predicate):
    decision: Literal["approve", "reject", "withdraw"]
    reportId: Name
    reportVersion: Annotated[int, Field(ge=1, le=2**31, strict=True)]
    policyId: Name
    policySha256: Sha256
    reviewer: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    nonce: Nonce
    createdAt: Time
    fromState: str | None
    toState: str
    previousCheckpoint: CheckpointReference | None
    statementShown: Shown


class DecisionPredicate(_Predicate):
    """A person's step in the lifecycle of ``about``; the digests of that and of what was shown are the subjects.

    ``reasonCommitment`` binds the reason and the metadata, which are kept where they can be erased.
    """

    about: SubjectName
    action: Literal["submit", "approve", "reject", "withdraw", "retire"]
    person: Person
    role: Duty
    fromState: Standing
    toState: Standing
    authors: list[Person]
    approvalsRequired: Count
    reasonCommitment: Sha256
    nonce: Nonce
    createdAt: Time
    previousCheckpoint: CheckpointReference | None
    statementShown: Shown


class ChangePredicate(_Predicate):
    """Who may do what from now on: a role granted or revoked, or how many approvals a kind of subject requires."""

    change: Literal["grant", "revoke", "require"]
    about: Annotated[str, Field(pattern=r"^(person:[a-z0-9][a-z0-9-]{0,39}|rule:[a-z]{2,20})$")]
    role: Duty | None
    required: Count | None
    person: Person
    nonce: Nonce
    createdAt: Time
    previousCheckpoint: CheckpointReference | None
    statementShown: Shown


def statement(predicate_type: str, subjects: dict[str, str], predicate: dict[str, Any]) -> dict[str, Any]:
    """An in-toto Statement v1 over ``subjects`` (name to SHA-256), sorted by name."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


class _Frame(_Predicate):
    subject: list[Subject]


def _read(content: dict[str, Any], expected: str, what: str) -> dict[str, Subject]:
    if content["predicateType"] != expected:
        raise UnknownStatementError(f"{what} is of a type that this version does not read")
    try:
        subjects = _Frame.model_validate({"subject": content["subject"]}).subject
    except ValidationError as error:
        raise MalformedError(f"{what}: {explain(error)}") from error
    names = [subject.name for subject in subjects]
    if not names or names != sorted(set(names)):
        raise MalformedError(f"{what} names no files, or one twice, or not in order")
    return {subject.name: subject for subject in subjects}


def read_report(content: dict[str, Any]) -> tuple[dict[str, Subject], ReportPredicate]:
    """Subjects and predicate of a report's statement. Raises ``MalformedError``."""
    what = "the report's statement"
    subjects = _read(content, REPORT_TYPE, what)
    try:
        predicate = ReportPredicate.model_validate(content["predicate"])
    except ValidationError as error:
        raise MalformedError(f"{what}: {explain(error)}") from error
    if [file.name for file in predicate.files] != list(subjects):
        raise MalformedError(f"{what} lists other files than it gives digests for")
    return subjects, predicate


def read_approval(content: dict[str, Any], *, what: str) -> tuple[str, ApprovalPredicate]:
    """The digest of the report's payload that was decided on, and the predicate. Raises ``MalformedError``."""
    subjects = _read(content, APPROVAL_TYPE, what)
    if list(subjects) != [REPORT_NAME]:
        raise MalformedError(f"{what} is not about {REPORT_NAME}")
    try:
        predicate = ApprovalPredicate.model_validate(content["predicate"])
    except ValidationError as error:
        raise MalformedError(f"{what}: {explain(error)}") from error
    return subjects[REPORT_NAME].sha256, predicate


def read_decision(content: dict[str, Any], *, what: str) -> tuple[dict[str, str], DecisionPredicate]:
    """The digests of the subject and of ``shown`` by name, and the predicate. Raises ``MalformedError``."""
    subjects = _read(content, DECISION_TYPE, what)
    try:
        predicate = DecisionPredicate.model_validate(content["predicate"])
    except ValidationError as error:
        raise MalformedError(f"{what}: {explain(error)}") from error
    if set(subjects) != {predicate.about, "shown"}:
        raise MalformedError(f"{what} is not about {predicate.about} and what was shown of it")
    return {name: subject.sha256 for name, subject in subjects.items()}, predicate


def read_change(content: dict[str, Any], *, what: str) -> tuple[str, ChangePredicate]:
    """The digest of what the change is about (a person's certificate), and the predicate. Raises ``MalformedError``."""
    subjects = _read(content, CHANGE_TYPE, what)
    try:
        predicate = ChangePredicate.model_validate(content["predicate"])
    except ValidationError as error:
        raise MalformedError(f"{what}: {explain(error)}") from error
    if set(subjects) != {predicate.about}:
        raise MalformedError(f"{what} is not about {predicate.about}")
    return subjects[predicate.about].sha256, predicate
