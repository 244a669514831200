"""What one reviewer sees and does, without a page around it: the queue, one item, a decision, its receipt.

Every question is put to the lifecycle and the policies, and every answer is theirs, in words that fit on a page.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from workbench.custody import Custody
from workbench.dashboards.kinds import kinds_of
from workbench.dashboards.unlocking import Unlocking
from workbench.errors import InputError, KeyFileError, NotFoundError, WorkbenchError
from workbench.events import list_datasets, open_dataset
from workbench.evidence.certificates import fingerprint
from workbench.evidence.envelope import Envelope
from workbench.lifecycle import Action, Lifecycle, Person, Proposal, State, Subject
from workbench.lifecycle.attestations import Attestations
from workbench.lifecycle.guards import refusal_of
from workbench.lifecycle.reading import read_record
from workbench.lifecycle.record import Record
from workbench.lifecycle.table import roles_with
from workbench.policies import Backtest, PolicyKind, backtest
from workbench.workspace import Workspace

__all__ = ["DECISIONS", "Desk", "Item", "Voice", "Waiting"]

# What a page offers; submitting and retiring belong to the command line.
DECISIONS: Final = (Action.APPROVE, Action.REJECT, Action.WITHDRAW)


@dataclass(frozen=True)
class Waiting:
    """A line of the queue. ``may`` is what this person may do."""

    subject: str
    title: str
    severity: str | None
    since: str
    submitter: str
    may: tuple[Action, ...]

    @property
    def mine(self) -> bool:
        return bool(self.may)


@dataclass(frozen=True)
class Voice:
    """Somebody who could decide: whether they may now, and if not, why not."""

    person: Person
    allowed: bool
    why_not: str
    approved: bool


@dataclass(frozen=True)
class Item:
    """One subject, as it was read at one moment. ``shown`` is what a signature will be over; ``refusals`` say why this
    person may not take a step, and ``names`` what people are called."""

    subject: Subject
    state: State
    shown: Mapping[str, Any]
    required: int
    approvers: tuple[str, ...]
    active: str | None
    before: Mapping[str, Any] | None  # the content of the version in use
    backtest: Backtest | None
    history: tuple[Mapping[str, Any], ...]
    problems: tuple[str, ...]
    voices: tuple[Voice, ...]
    names: Mapping[str, str]
    refusals: Mapping[Action, str]

    @property
    def may(self) -> tuple[Action, ...]:
        """What this person may do with it."""
        return tuple(action for action in DECISIONS if action not in self.refusals)


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

    def names(self) -> dict[str, str]:
        """What people are called, by pseudonym; who was erased is called by that."""
        return _names(self.lifecycle.people.all())

    # Looking

    def queue(self) -> list[Waiting]:
        """Everything in review, what waits for this person first, the longest first."""
        found, records = [], dict[str, Record]()
        titles = self._titles()
        for row in self.lifecycle.waiting():
            kind, name, version = Subject.parts(row["subject"])
            if (about := f"{kind}:{name}") not in records:
                records[about] = read_record(self.custody, self.custody.ledger, about)
            subject = Subject(kind, name, version, row["digest"])
            refused = self._refusals(records[about], subject)
            may = tuple(action for action in DECISIONS if action not in refused)
            title, severity = titles.get(row["subject"], (row["subject"], None))
            found.append(Waiting(row["subject"], title, severity, row["since"], row["submitter"] or "", may))
        return sorted(found, key=lambda one: (not one.mine, one.since))

    def _titles(self) -> dict[str, tuple[str, str | None]]:
        kind = self.lifecycle.kind("policy")
        assert isinstance(kind, PolicyKind)
        titles: dict[str, tuple[str, str | None]] = {}
        for version in (one for several in kind.store.versions().values() for one in several):
            try:
                titles[f"policy:{version}"] = (version.policy.title, version.policy.severity)
            except WorkbenchError:  # gone or changed: opening it says so
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

    def item(self, text: str) -> Item:
        """One subject, whole. Raises ``NotFoundError`` or ``InputError`` if there is none of that name."""
        subject = self.lifecycle.find(text)
        kind, name = self.lifecycle.kind(subject.kind), f"{subject.kind}:{subject.name}"
        record = read_record(self.custody, self.custody.ledger, name)
        track, active = record.track(str(subject)), record.active(subject.kind, subject.name, besides=str(subject))
        in_use = None if active is None else self.lifecycle.find(active.subject)
        shown = dict(kind.shown(subject, in_use))
        refusals = self._refusals(record, subject)
        try:
            self.lifecycle.people.check_key(record, self.person.pseudonym)
        except KeyFileError as error:
            refusals |= {action: str(error) for action in DECISIONS if action not in refusals}
        if Action.APPROVE not in refusals and (objections := kind.objections(subject)):
            refusals[Action.APPROVE] = f"{subject} is not fit to be used: {'; '.join(objections)}"
        people = self.lifecycle.people.all()
        return Item(
            subject=subject,
            state=track.state,
            shown=shown,
            required=record.required.get(subject.kind, 1),
            approvers=tuple(sorted(track.approvers)),
            active=None if active is None else active.subject,
            before=self._content(in_use),
            backtest=self._backtest(shown),
            history=tuple(self.lifecycle.history(name)),
            problems=tuple(one.sentence for one in record.problems_of(subject.kind, subject.name)),
            voices=self._voices(record, subject, people),
            names=_names(people),
            refusals=refusals,
        )

    def propose(self, item: Item, action: Action) -> Proposal:
        """What this person would sign, word for word, over exactly what ``item`` shows.

        Raises ``LifecycleError`` or ``IntegrityError`` with the reason if it is not possible now.
        """
        return self.lifecycle.propose(
            item.subject, action, self.person.pseudonym, retire_active=True, shown=dict(item.shown)
        )

    def _backtest(self, shown: Mapping[str, Any]) -> Backtest | None:
        named = shown.get("backtest")
        return Backtest.open(self.workspace, named["sha256"]) if isinstance(named, Mapping) else None

    def _content(self, subject: Subject | None) -> Mapping[str, Any] | None:
        if subject is None:
            return None
        kind = self.lifecycle.kind(subject.kind)
        return kind.version(subject).policy.content if isinstance(kind, PolicyKind) else None

    def _voices(self, record: Record, subject: Subject, people: Iterable[Person]) -> tuple[Voice, ...]:
        voices = []
        for person in people:
            if not set(person.roles) & set(roles_with(Action.APPROVE)):
                continue
            refused = refusal_of(record.situation(subject, Action.APPROVE, person.pseudonym, replaces=True))
            approved = person.pseudonym in record.track(str(subject)).approvers
            voices.append(Voice(person, refused is None, "" if refused is None else refused.sentence, approved))
        return tuple(voices)

    # Backtests

    def datasets(self) -> list[str]:
        """Names of datasets, or the beginning of their digests."""
        return [
            reference
            for digest, names in list_datasets(self.workspace).items()
            for reference in (sorted(names)[:1] or [digest[:12]])
        ]

    def try_on(self, item: Item, dataset: str, *, progress: Callable[[str], None] = lambda message: None) -> Backtest:
        """What the policy would have done on a dataset, kept. Raises ``InputError`` if that cannot be told."""
        kind = self.lifecycle.kind(item.subject.kind)
        if not isinstance(kind, PolicyKind):
            raise InputError(f"a {item.subject.kind} is not tried on a dataset")
        against = None if item.active is None else kind.version(kind.find(item.active.partition(":")[2]))
        opened = open_dataset(self.workspace, dataset)
        said = opened.labels() if opened.chosen is not None or opened.label_sets() else None
        found = backtest(kind.version(item.subject), opened, against=against, labels=said, progress=progress)
        found.save(self.workspace)
        return found

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
