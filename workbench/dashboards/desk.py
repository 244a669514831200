"""What one reviewer sees and does, without a page around it: the queue, one item, a decision, its receipt.

Every question is put to the lifecycle and to the kinds of subjects, and every answer is theirs.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from workbench.custody import Custody
from workbench.dashboards.items import DECISIONS, Item, Voice, Waiting
from workbench.dashboards.kinds import kinds_of
from workbench.dashboards.trying import cautions_of, datasets_of, try_policy
from workbench.dashboards.unlocking import Unlocking
from workbench.errors import InputError, KeyFileError, NotFoundError, WorkbenchError
from workbench.evidence.certificates import fingerprint
from workbench.evidence.envelope import Envelope
from workbench.lifecycle import Action, Lifecycle, Person, Proposal, Subject, SubjectKind
from workbench.lifecycle.attestations import Attestations
from workbench.lifecycle.guards import refusal_of
from workbench.lifecycle.proposing import spelled
from workbench.lifecycle.reading import read_record
from workbench.lifecycle.record import Record
from workbench.lifecycle.table import roles_with
from workbench.policies import Backtest, PolicyKind, PolicyVersion
from workbench.reports.lifecycle_kind import ReportKind
from workbench.risk.lifecycle_kind import ModelKind
from workbench.workspace import Workspace

__all__ = ["Desk"]


class Desk:
    """The desk of one person. Nothing is kept between calls but who they are."""

    def __init__(self, custody: Custody, person: str) -> None:
        self.custody = custody
        self.lifecycle = Lifecycle(custody, kinds_of(custody))
        self.person = self.lifecycle.people.find(person)
        self._unlocking = Unlocking(custody)
        self._attestations = Attestations(custody)

    @property
    def workspace(self) -> Workspace:
        return self.custody.workspace

    # Looking

    def queue(self) -> list[Waiting]:
        """Everything in review, what waits for this person first, the longest first."""
        rows = self.lifecycle.waiting()
        if not rows:
            return []
        records, names = dict[str, Record](), _names(self.lifecycle.people.all())
        titles = self._titles([row["subject"] for row in rows])
        found = []
        for row in rows:
            kind, name, version = Subject.parts(row["subject"])
            if (about := f"{kind}:{name}") not in records:
                records[about] = read_record(self.custody, self.custody.ledger, about)
            refused = self._refusals(records[about], Subject(kind, name, version, row["digest"]))
            may = tuple(action for action in DECISIONS if action not in refused)
            submitter = row["submitter"] or ""
            title, note = titles[row["subject"]]
            found.append(Waiting(row["subject"], title, note, row["since"], names.get(submitter, submitter), may))
        return sorted(found, key=lambda one: (not one.mine, one.since))

    def _titles(self, subjects: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Title and note of each; of what is gone or changed, its name: opening it says so."""
        titles, policies = {}, dict[str, PolicyVersion]()
        for subject in subjects:
            kind, name, version = Subject.parts(subject)
            titles[subject] = (f"Risk model, version {version}" if kind == "model" else subject, "")
            try:
                if kind == "policy":
                    if not policies:
                        known = self._policies().store.versions().values()
                        policies = {str(one): one for several in known for one in several}
                    if (found := policies.get(f"{name}@{version}")) is not None:
                        titles[subject] = (found.policy.title, f"{found.policy.severity} severity")
                elif kind == "report":
                    titles[subject] = (self._reports().title(name), "")
            except WorkbenchError:
                continue
        return titles

    def _refusals(self, record: Record, subject: Subject) -> dict[Action, str]:
        """Why this person may not take each step, by what the table asks of people, roles and states."""
        person = self.person.pseudonym
        found = {}
        for action in DECISIONS:
            if refused := refusal_of(record.situation(subject, action, person, replaces=True)):
                found[action] = refused.sentence
        return found

    def item(self, text: str, *, whole: bool = True) -> Item:
        """One subject; unless it is asked for ``whole``, without what would take long, which its ``pending`` names.

        Raises ``NotFoundError`` or ``InputError`` if there is none of that name.
        """
        subject = self.lifecycle.find(text)
        kind, name = self.lifecycle.kind(subject.kind), f"{subject.kind}:{subject.name}"
        record = read_record(self.custody, self.custody.ledger, name)
        track, active = record.track(str(subject)), record.active(subject.kind, subject.name, besides=str(subject))
        shown, pending = self._shown(
            kind, subject, None if active is None else spelled(active.subject, active.sha256), whole
        )
        refusals = self._refusals(record, subject)
        try:
            self.lifecycle.people.check_key(record, self.person.pseudonym)
        except KeyFileError as error:
            refusals |= {action: str(error) for action in DECISIONS if action not in refusals}
        if Action.APPROVE not in refusals and not pending and (objections := kind.objections(subject)):
            refusals[Action.APPROVE] = f"{subject} is not fit to be used: {'; '.join(objections)}"
        people = self.lifecycle.people.all()
        tried = self._backtest(shown)
        return Item(
            subject=subject,
            state=track.state,
            shown=shown,
            required=record.required.get(subject.kind, 1),
            approvers=tuple(sorted(track.approvers)),
            active=None if active is None else active.subject,
            backtest=tried,
            cautions=cautions_of(tried, self._models().registry),
            history=tuple(self.lifecycle.history(name)),
            problems=tuple(one.sentence for one in record.problems_of(subject.kind, subject.name)),
            voices=self._voices(record, subject, people),
            names=_names(people),
            refusals=refusals,
            pending=pending,
        )

    def _shown(
        self, kind: SubjectKind, subject: Subject, active: Subject | None, whole: bool
    ) -> tuple[dict[str, Any], str]:
        """What the kind shows, and what is missing from it yet."""
        if isinstance(kind, ModelKind) and not whole:
            facts = kind.facts(subject)
            if kind.to_repeat(facts):
                return facts, "The comparison with the champion is being made again on this machine, from the same data"
        return dict(kind.shown(subject, active)), ""

    def propose(self, item: Item, action: Action) -> Proposal:
        """What this person would sign, word for word, over exactly what ``item`` shows.

        Raises ``LifecycleError`` or ``IntegrityError`` with the reason if it is not possible now.
        """
        return self.lifecycle.propose(
            item.subject, action, self.person.pseudonym, retire_active=True, shown=dict(item.shown)
        )

    def page(self, item: Item) -> str:
        """The report itself, or the card of a model, as an HTML page. Raises ``IntegrityError`` if it was changed."""
        kind = self.lifecycle.kind(item.subject.kind)
        if not isinstance(kind, ModelKind | ReportKind):
            raise InputError(f"a {item.subject.kind} has no page of its own")
        return kind.page(item.subject)

    def _voices(self, record: Record, subject: Subject, people: Iterable[Person]) -> tuple[Voice, ...]:
        voices = []
        for person in people:
            if not set(person.roles) & set(roles_with(Action.APPROVE)):
                continue
            refused = refusal_of(record.situation(subject, Action.APPROVE, person.pseudonym, replaces=True))
            approved = person.pseudonym in record.track(str(subject)).approvers
            voices.append(Voice(person, refused is None, "" if refused is None else refused.sentence, approved))
        return tuple(voices)

    def _policies(self) -> PolicyKind[Subject]:
        kind = self.lifecycle.kind("policy")
        assert isinstance(kind, PolicyKind)
        return kind

    def _models(self) -> ModelKind:
        kind = self.lifecycle.kind("model")
        assert isinstance(kind, ModelKind)
        return kind

    def _reports(self) -> ReportKind:
        kind = self.lifecycle.kind("report")
        assert isinstance(kind, ReportKind)
        return kind

    # Backtests

    def _backtest(self, shown: Mapping[str, Any]) -> Backtest | None:
        named = shown.get("backtest")
        return Backtest.open(self.workspace, named["sha256"]) if isinstance(named, Mapping) else None

    def datasets(self) -> list[str]:
        """Names of datasets, or the beginning of their digests."""
        return datasets_of(self.workspace)

    def try_on(self, item: Item, dataset: str, *, progress: Callable[[str], None] = lambda message: None) -> Backtest:
        """What the policy would have done on a dataset, beside the version in use, kept. Raises as ``try_policy``."""
        if item.subject.kind != "policy":
            raise InputError(f"a {item.subject.kind} is not tried on a dataset")
        kind = self._policies()
        against = None if item.active is None else kind.version(kind.find(item.active.partition(":")[2]))
        return try_policy(kind.version(item.subject), against, dataset, self._models().registry, progress=progress)

    # Deciding

    def decide(self, proposal: Proposal, *, reason: str, passphrase: str, agreed: bool = False) -> Mapping[str, Any]:
        """Sign and record what was proposed, and return the receipt. ``agreed`` is the tick that the version in use
        may be retired.

        Raises ``LifecycleError``, ``KeyFileError``, ``IntegrityError`` or ``InputError`` with a sentence for the page;
        nothing is recorded then.
        """
        subject = proposal.subject
        if not reason.strip():
            raise InputError("say why, in a sentence: a decision needs a reason")
        if proposal.retires is not None and not agreed:
            raise InputError(
                f"tick the box: approving this takes version {proposal.retires.version} of {subject.name} out of use"
            )
        signer = self._unlocking.unlock(self.person.pseudonym, passphrase)
        decision = self.lifecycle.transition(
            subject,
            proposal.action,
            self.person.pseudonym,
            reason=reason.strip(),
            signer=signer,
            retire_active=agreed,
            proposal=proposal,
        )
        return self.receipt(decision.seq, str(subject))

    def receipt(self, seq: int, subject: str) -> dict[str, Any]:
        """The receipt of a decision, made from what is recorded: the same now and at any later time.

        Raises ``NotFoundError`` if that entry is no decision on ``subject``, ``IntegrityError`` if it was changed.
        """
        name = subject.partition("@")[0]
        row = next((one for one in self.lifecycle.history(name) if one["seq"] == seq), None)
        if row is None or row["subject"] != subject:
            raise NotFoundError(f"entry {seq} of the ledger is no decision on {subject}")
        envelope: Envelope = self._attestations.read(row["envelope_sha256"])
        statement = envelope.statement()
        certificate = next(one for one in self.custody.certificates() if fingerprint(one) == row["cert_sha256"])
        return {
            "format": 1,
            "subject": row["subject"],
            "subject_sha256": row["digest"],
            "action": row["action"],
            "from": row["from_state"],
            "to": row["to_state"],
            "person": row["person"],
            "role": row["role"],
            "reason": row["reason"],
            "statement": statement["predicate"]["statementShown"],
            "shown_sha256": row["shown_sha256"],
            "ledger_entry": row["seq"],
            "time": row["time"],
            "time_kind": row["timestamp"],
            "envelope_sha256": row["envelope_sha256"],
            "certificate_sha256": row["cert_sha256"],
            "certificate_pem": certificate.public_bytes(Encoding.PEM).decode(),
            "envelope_base64": base64.b64encode(bytes(envelope)).decode(),
        }


def _names(people: Iterable[Person]) -> dict[str, str]:
    return {one.pseudonym: one.name or one.pseudonym.removeprefix("p:") for one in people}
