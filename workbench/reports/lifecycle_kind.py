"""Signed reports as what is decided on: what the lifecycle asks of them, what a reviewer is shown, and how a decision
gets into the report's bundle.

A report's subject is ``report:ID@2`` for its second signed version, and its digest that of the signed statement, which
has the digest of every file.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from workbench.custody import Custody
from workbench.errors import EvidenceError, InputError, IntegrityError, NotFoundError, nearest
from workbench.evidence.bundle import sign_approval
from workbench.evidence.envelope import Envelope
from workbench.evidence.statements import ReportPredicate, read_report
from workbench.experiments import Run
from workbench.files import sha256_bytes, sha256_file
from workbench.lifecycle import Action, Subject
from workbench.reports.bundle import record_within
from workbench.reports.html import report_html

if TYPE_CHECKING:
    from workbench.evidence.keys import Signer
    from workbench.ledger import Transaction
    from workbench.lifecycle import Decision

__all__ = ["ReportKind"]

FORMAT_VERSION: Final = 1
# What a decision says in a bundle. A retirement is none: what was approved was approved.
_SAID: Final[dict[Action, Literal["approve", "reject", "withdraw"]]] = {
    Action.APPROVE: "approve",
    Action.REJECT: "reject",
    Action.WITHDRAW: "withdraw",
}
_PAGE: Final = "payload/report.html"
_OF_CLAIM: Final = ("id", "sentence", "value", "expect", "measured", "outcome")
_OF_VALUE: Final = ("name", "value", "low", "high", "unit")
_SIGNED: Final = """
    SELECT entry ->> 'reportId' AS id, (entry ->> 'reportVersion')::BIGINT AS version, actor,
        entry ->> 'payloadSha256' AS payload, entry ->> 'envelopeSha256' AS envelope
    FROM entries WHERE type = 'report.signed' ORDER BY seq
"""


class ReportKind:
    """The signed reports of a workspace, for the lifecycle."""

    kind = "report"

    def __init__(self, custody: Custody) -> None:
        self._custody = custody

    def find(self, reference: str) -> Subject:
        """The subject that ``ID@2``, ``ID`` (its newest version) or the beginning of an id names.

        Raises ``NotFoundError`` if none was signed, ``InputError`` if there are several.
        """
        name, at, number = reference.partition("@")
        rows = self._signed()
        ids = {row["id"] for row in rows}
        fitting = [name] if name in ids else sorted(one for one in ids if one.startswith(name))
        if len(fitting) > 1:
            raise InputError(f"several reports begin with {name!r}: {', '.join(fitting[:3])}")
        if not fitting:
            raise NotFoundError(
                f"no report {name[:60]!a} was signed{nearest(name, ids)}: `workbench bundle RUN` signs one"
            )
        versions = {row["version"]: row for row in rows if row["id"] == fitting[0]}
        wanted = max(versions) if not at else int(number) if number.isdecimal() else 0
        if wanted not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise NotFoundError(f"report {fitting[0]} has no version {number[:20]!a}; signed: {known}")
        return self._made(versions[wanted])

    def subjects(self) -> Iterable[Subject]:
        """Every signed version of every report."""
        return [self._made(row) for row in self._signed()]

    def title(self, name: str) -> str:
        """What the run behind a report is called. Raises ``NotFoundError`` or ``IntegrityError`` if that is gone."""
        return str(Run.read(self._custody.workspace.runs / name).record["title"])

    def _signed(self) -> list[dict[str, Any]]:
        return self._custody.ledger.query(_SIGNED)

    def _made(self, row: Mapping[str, Any]) -> Subject:
        try:
            sha256 = sha256_bytes(Envelope.read(self._statement(row["id"], row["version"])).payload)
        except (IntegrityError, EvidenceError):  # the objections say so; to reject or retire it must stay possible
            sha256 = row["payload"]
        return Subject(self.kind, row["id"], row["version"], sha256, (str(row["actor"]),))

    def _statement(self, report_id: str, version: int) -> bytes:
        path = self._custody.workspace.evidence / report_id / f"v{version}" / "report.dsse.json"
        try:
            return path.read_bytes()
        except OSError as error:
            raise IntegrityError(f"the signed report {report_id}, version {version}, is gone: restore it") from error

    def _is_here(self, subject: Subject, transaction: "Transaction") -> bool:
        try:
            payload = Envelope.read(self._statement(subject.name, subject.version)).payload
        except (IntegrityError, EvidenceError):
            return False
        return any(
            (row["id"], row["version"], row["payload"]) == (subject.name, subject.version, sha256_bytes(payload))
            for row in transaction.query(_SIGNED)
        )

    def _read(self, subject: Subject) -> ReportPredicate:
        """What was signed, if it is what the ledger recorded, and the run's files are still those that it covers."""
        data = self._statement(subject.name, subject.version)
        row = next(one for one in self._signed() if (one["id"], one["version"]) == (subject.name, subject.version))
        payload = Envelope.read(data).payload
        if (sha256_bytes(data), sha256_bytes(payload)) != (row["envelope"], row["payload"]):
            raise IntegrityError(f"the signed report {subject.name}, version {subject.version}, was changed")
        subjects, predicate = read_report(Envelope.read(data).statement())
        for file in predicate.files:
            if file.role == "result" and file.runId is not None:
                path = self._custody.workspace.runs / file.runId / file.name.rpartition("/")[2]
                if not path.is_file() or sha256_file(path) != subjects[file.name].sha256:
                    raise IntegrityError(f"{path.name} of run {file.runId} is not the file that was signed")
        return predicate

    def objections(self, subject: Subject) -> Sequence[str]:
        """Why it is not fit to be submitted or approved: it or its run was changed, a later version was signed, or its
        own rules ask for more people than would decide here."""
        try:
            predicate = self._read(subject)
        except (IntegrityError, EvidenceError) as error:
            return [str(error)]
        found = []
        newest = max(row["version"] for row in self._signed() if row["id"] == subject.name)
        if newest != subject.version:
            found.append(f"version {newest} of it was signed since: decide on that one")
        rules = self._custody.ledger.query("SELECT required FROM rules WHERE kind = 'report'")
        here, wanted = rules[0]["required"] if rules else 1, predicate.policy.approvalsRequired
        if wanted > here:
            found.append(
                f"its own rules ask for {wanted} approvals, and {here} would do here: "
                f"`workbench people require report {wanted}` comes first"
            )
        return found

    def shown(self, subject: Subject, active: Subject | None) -> Mapping[str, Any]:
        """What a reviewer is shown: the report's run, its claims with their outcome, its values, what went into it, its
        rules, and digests. The digest of it is what an approval signs."""
        told: dict[str, Any] = dict.fromkeys(("run", "rules", "signed", "page_sha256", "damage"))
        told |= {"claims": [], "values": [], "inputs": [], "files": []}
        try:
            predicate = self._read(subject)
            told |= {
                "rules": {"id": predicate.policy.id, "approvals_required": predicate.policy.approvalsRequired},
                "signed": predicate.createdAt,
                **self._files(subject, predicate),
                **self._run(predicate),
            }
        except (IntegrityError, EvidenceError, InputError) as error:
            told["damage"] = str(error)
        return {
            "format": FORMAT_VERSION,
            "report": {"id": subject.name, "version": subject.version, "statement_sha256": subject.sha256, **told},
            "against": None if active is None else {"version": active.version, "sha256": active.sha256},
        }

    def _files(self, subject: Subject, predicate: ReportPredicate) -> dict[str, Any]:
        digests, _ = read_report(Envelope.read(self._statement(subject.name, subject.version)).statement())
        page = digests.get(_PAGE)
        return {
            "page_sha256": None if page is None else page.sha256,
            "files": [
                {"name": file.name, "role": file.role, "size": file.size, "sha256": digests[file.name].sha256}
                for file in predicate.files
            ],
        }

    def _run(self, predicate: ReportPredicate) -> dict[str, Any]:
        run = Run.read(self._custody.workspace.runs / predicate.runs[0].runId)
        record, code = run.record, run.record["code"]
        return {
            "run": {
                "id": run.id,
                "status": run.status.value,
                "detail": record["detail"],
                **{name: record[name] for name in ("experiment", "title", "question", "started", "ended", "seconds")},
                "parameters": {name: str(value) for name, value in record["parameters"].items()},
                "code": {name: code[name] for name in ("workbench", "commit", "dirty")},
                "outputs_sha256": predicate.runs[0].outputsSha256,
            },
            "claims": [{name: claim.get(name) for name in _OF_CLAIM} for claim in run.claims],
            "values": [{name: value.get(name) for name in _OF_VALUE} for value in run.results["values"]],
            "inputs": [{"name": name, **given} for name, given in record["inputs"].items()],
        }

    def page(self, subject: Subject) -> str:
        """The report itself, as HTML: just what was signed.

        Raises ``IntegrityError`` if that does not come out of the run's files, and as ``find`` does.
        """
        predicate = self._read(subject)
        made = report_html(Run.read(self._custody.workspace.runs / predicate.runs[0].runId))
        if sha256_bytes(made.encode()) != self._files(subject, predicate)["page_sha256"]:
            raise IntegrityError(
                "this workbench makes another page from the run's files than the one that was signed: "
                "open the report that lies in the bundle"
            )
        return made

    def decided(self, decision: "Decision", *, signer: "Signer", transaction: "Transaction") -> None:
        """Sign the decision for the bundle too, with the same key, and enter it as ``approval.recorded`` just after.

        Raises ``IntegrityError`` if the signed report is gone or changed, which undoes the decision; a rejection stands
        even then, and no bundle can be made of that report.
        """
        subject, proposal = decision.subject, decision.proposal
        if decision.action not in _SAID or (
            decision.action is Action.REJECT and not self._is_here(subject, transaction)
        ):
            return
        envelope = sign_approval(
            self._statement(subject.name, subject.version),
            _SAID[decision.action],
            signer=signer,
            statement_shown=proposal.sentence,
            from_state=proposal.source.value,
            to_state=proposal.target.value,
            previous=decision.previous,
            clock=self._custody.clock,
        )
        record_within(transaction, self._custody, subject.name, envelope, actor=decision.person)
