"""Deciding: who may do what with which subject, and the one step that makes it so.

Everything is decided inside one ledger transaction, on what is verified there: of two people at once exactly one
succeeds, and the other is told what happened. Nothing is half-done: a refusal appends nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from workbench.custody import Custody
from workbench.errors import InputError, IntegrityError, KeyFileError, OvertakenError, nearest
from workbench.evidence.certificates import Role
from workbench.evidence.keys import Signer
from workbench.ledger import Ledger, Transaction
from workbench.lifecycle.decision import Decision, Proposal
from workbench.lifecycle.guards import Refusal, Situation, refusal_of
from workbench.lifecycle.history import as_of, audit, check, history, waiting
from workbench.lifecycle.people import People
from workbench.lifecycle.proposing import action_of, proposal_of, spelled
from workbench.lifecycle.reading import read_record
from workbench.lifecycle.record import Record
from workbench.lifecycle.subjects import Subject, SubjectKind, split_reference
from workbench.lifecycle.table import Action, State, Transition
from workbench.lifecycle.taking import Step
from workbench.lifecycle.texts import checked_metadata

__all__ = ["Lifecycle"]


class Lifecycle:
    """The lifecycle of a workspace's policies, models and reports. ``kinds`` plug in what only they can know.

    People are named by pseudonym (``p:reviewer-1``); ``to`` is a state (``ACTIVE``) or an action (``approve``).
    """

    def __init__(self, custody: Custody, kinds: Iterable[SubjectKind] = ()) -> None:
        self.custody = custody
        self.people = People(custody)
        self._kinds = {kind.kind: kind for kind in kinds}

    # Asking

    def kind(self, name: str) -> SubjectKind:
        """Raises ``InputError`` for a kind that is not plugged in."""
        if name not in self._kinds:
            raise InputError(f"nothing here knows subjects of the kind {name[:40]!r}{nearest(name, self._kinds)}")
        return self._kinds[name]

    def find(self, text: str) -> Subject:
        """The subject that ``text`` names: ``policy:NAME@VERSION``, ``model:v3``, ``report:ID``."""
        kind, reference = split_reference(text)
        return self.kind(kind).find(reference)

    def state(self, subject: Subject) -> State:
        """Where the subject stands, believed only as far as signatures carry it."""
        return self._record(self.custody.ledger, subject).track(str(subject)).state

    def active(self, kind: str, name: str) -> str | None:
        """The version in use of a name (``policy:bulk-export@2``), verified; None if there is none."""
        track = read_record(self.custody, self.custody.ledger, f"{kind}:{name}").active(kind, name)
        return None if track is None else track.subject

    def can_transition(
        self, subject: Subject, to: State | Action | str, person: str, *, retire_active: bool = False
    ) -> tuple[bool, str]:
        """Whether ``person`` may do this now, and if not, why not. Nothing is consumed by asking."""
        subject, record, now, refused = self._consider(subject, action_of(to), person, retire_active)
        try:
            self._require_sound(record, subject, now.action)
            if refused is not None:
                return False, refused.sentence
            self.people.check_key(record, now.person)
        except (IntegrityError, KeyFileError) as error:
            return False, str(error)
        return True, ""

    def available_transitions(self, subject: Subject, person: str) -> tuple[Transition, ...]:
        """What ``person`` may do with the subject now, as rows of the table."""
        rows = []
        record = self._record(self.custody.ledger, subject)
        for action in Action:
            _, _, now, refused = self._consider(subject, action, person, True, record=record)
            if refused is None and now.row is not None:
                rows.append(now.row)
        return tuple(rows)

    def propose(
        self,
        subject: Subject,
        to: State | Action | str,
        person: str,
        *,
        retire_active: bool = False,
        shown: Mapping[str, Any] | None = None,
    ) -> Proposal:
        """What ``person`` would sign, word for word. ``shown`` adds what was on the page to what the kind shows.

        Raises ``LifecycleError`` with the reason if it is not possible.
        """
        subject, record, now, refused = self._consider(subject, action_of(to), person, retire_active)
        self._require_sound(record, subject, now.action)
        if refused is not None:
            raise refused.error()
        return proposal_of(record, subject, now, self._shown(record, subject, now, shown))

    def waiting(self, person: str | None = None) -> list[dict[str, Any]]:
        """The queue: rows of the view ``states`` that are in REVIEW, the longest first.

        For a ``person``, each with ``may``: the actions that they may take, and ``why_not``: why they cannot approve.
        """
        rows = waiting(self.custody, self._kinds)
        if person is None:
            return rows
        told = []
        for row in rows:
            subject = self.find(row["subject"])
            may = [row.action.value for row in self.available_transitions(subject, person)]
            _, why_not = self.can_transition(subject, Action.APPROVE, person, retire_active=True)
            told.append({**row, "may": may, "why_not": why_not})
        return told

    def history(
        self, subject: Subject | str | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[dict[str, Any]]:
        """Every step of a subject, of a name (``policy:NAME``) or of all, oldest first, with reason and metadata."""
        return history(self.custody, subject, since=since, until=until)

    def as_of(self, moment: datetime) -> list[dict[str, Any]]:
        """Where every subject that was ever submitted stood at ``moment``: rows of the view ``states``."""
        return as_of(self.custody, moment)

    def check(self, subject: Subject) -> list[str]:
        """What is wrong with the evidence of this subject's decisions; empty if every one counts."""
        return check(self.custody, subject)

    def check_name(self, name: str) -> list[str]:
        """The same for all versions of a name (``policy:bulk-export``) that were ever submitted."""
        rows = self.custody.ledger.query(
            "SELECT subject, digest FROM states WHERE starts_with(subject, ?)", [f"{name}@"]
        )
        return [problem for row in rows for problem in self.check(spelled(row["subject"], row["digest"]))]

    def audit(self) -> list[str]:
        """What is wrong with the evidence of any decision, role or rule; empty if every one counts."""
        return audit(self.custody)

    # Deciding

    def transition(
        self,
        subject: Subject,
        to: State | Action | str,
        person: str,
        *,
        reason: str,
        metadata: Mapping[str, str] | None = None,
        passphrase: str = "",
        signer: Signer | None = None,
        retire_active: bool = False,
        shown: Mapping[str, Any] | None = None,
        proposal: Proposal | None = None,
    ) -> Decision:
        """Do it: sign with the person's key (unlocked by ``passphrase``, or given as ``signer``), and record it.

        ``proposal`` is what the person was shown; if it no longer holds, nothing is signed. ``retire_active`` is their
        agreement that the version in use is retired in the same step. ``metadata`` (git commit, ticket ...) is kept
        with the reason, where both can be erased.

        Raises ``NotPermittedError``, ``OvertakenError`` or ``LifecycleError`` with the reason if it is refused,
        ``KeyFileError`` for a passphrase or a key that does not do, ``IntegrityError`` if the evidence of earlier
        decisions was changed, ``InputError`` for metadata that cannot be kept. Nothing is recorded then.
        """
        action = action_of(to)
        kept = checked_metadata(metadata or {})
        subject, record, now, refused = self._consider(subject, action, person, retire_active, reason)
        if proposal is not None and (proposal.subject, proposal.action, proposal.person) != (
            subject,
            action,
            now.person,
        ):
            raise InputError("the proposal is about something else: propose again")
        self._require_sound(record, subject, action)
        if refused is not None:
            if proposal is not None and refused.guard != "reasoned":  # it was possible when the person was shown it
                raise OvertakenError(f"somebody was faster: {refused.sentence}; nothing was recorded")
            raise refused.error()
        before = proposal or proposal_of(record, subject, now, self._shown(record, subject, now, shown))
        signer = self._signer(record, now.person, passphrase, signer)
        with self.custody.ledger.transaction() as transaction:
            record = self._record(transaction, subject)
            now = replace(record.situation(subject, action, now.person, replaces=retire_active), reason=reason)
            self._require_sound(record, subject, action)
            if refused := refusal_of(now):
                raise OvertakenError(f"somebody was faster: {refused.sentence}; nothing was recorded")
            again = proposal_of(record, subject, now, before.shown)
            if again != before:
                raise OvertakenError(
                    f"what was shown no longer holds{now.last}: it would now say {again.sentence!r}; "
                    "look at it again; nothing was recorded"
                )
            self.people.check_key(record, now.person, signer)
            step = Step(self.custody, transaction, record, signer, reason, kept)
            return step.take(again, self._kinds.get(subject.kind))

    # What both rest on

    def _record(self, asked: Ledger | Transaction, subject: Subject) -> Record:
        return read_record(self.custody, asked, f"{subject.kind}:{subject.name}")

    def _consider(
        self,
        subject: Subject,
        action: Action,
        person: str,
        retire_active: bool,
        reason: str = "asked",
        *,
        record: Record | None = None,
    ) -> tuple[Subject, Record, Situation, Refusal | None]:
        """The situation now, or when ``record`` was read, with what only the kind can say; outside any transaction,
        for that may be slow.

        The subject is returned with the authors that the kind knows: whoever asks cannot leave any of them out.
        """
        kind = self.kind(subject.kind)
        record = record or self._record(self.custody.ledger, subject)
        person = self.people.find(person, record).pseudonym
        objections: tuple[str, ...] = ()
        present = subject
        if action in (Action.SUBMIT, Action.APPROVE):
            present = kind.find(str(subject).partition(":")[2])
            subject = replace(subject, authors=tuple(sorted({*subject.authors, *present.authors})))
            objections = tuple(kind.objections(subject))
        now = record.situation(subject, action, person, replaces=retire_active)
        now = replace(
            now, reason=reason, objections=objections, unchanged=now.unchanged and present.sha256 == subject.sha256
        )
        refused = refusal_of(now)
        void = [problem.sentence for problem in record.problems if problem.about == f"person:{person[2:]}"]
        if refused is not None and refused.guard == "permitted" and void:
            refused = replace(refused, sentence=f"{refused.sentence}; {void[0]}")
        return subject, record, now, refused

    def _shown(
        self, record: Record, subject: Subject, now: Situation, more: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        active = record.active(subject.kind, subject.name, besides=str(subject))
        shown = dict(
            self.kind(subject.kind).shown(subject, None if active is None else spelled(active.subject, active.sha256))
        )
        own = {"format": 1, "subject": str(subject), "sha256": subject.sha256, "active": now.active}
        return {**shown, **(more or {}), **own}

    def _require_sound(self, record: Record, subject: Subject, action: Action) -> None:
        """To send back or to retire is always possible; nothing is built on evidence that was changed."""
        problems = record.problems_of(subject.kind, subject.name)
        if problems and action in (Action.SUBMIT, Action.APPROVE, Action.WITHDRAW):
            raise IntegrityError(
                f"{problems[0].sentence}; restore what was changed, or reject or retire {problems[0].about}"
            )

    def _signer(self, record: Record, person: str, passphrase: str, signer: Signer | None) -> Signer:
        if signer is not None:
            if (signer.role, f"p:{signer.identity}") != (Role.APPROVAL, person):
                raise KeyFileError(f"this is the {signer.role.value} key {signer.identity!r}, not that of {person}")
            return signer
        self.people.check_key(record, person)
        return self.custody.store.unlock(Role.APPROVAL, passphrase, person[2:])
