"""What a decision is: proposed, as it will be signed, and taken, as it was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.evidence.checkpoint import Checkpoint
from workbench.lifecycle.subjects import Subject
from workbench.lifecycle.table import Action, State

__all__ = ["Decision", "Proposal"]


@dataclass(frozen=True)
class Proposal:
    """What a person is about to sign: ``sentence`` word for word, over the SHA-256 of ``shown``.

    Hand it to ``Lifecycle.transition``: if anything in it no longer holds by then, nothing is signed.
    """

    subject: Subject
    action: Action
    source: State
    target: State
    person: str
    role: str
    required: int
    approvers: tuple[str, ...]  # whose approvals count once this is signed
    retires: Subject | None
    shown: Mapping[str, Any] = field(repr=False)
    shown_sha256: str
    sentence: str


@dataclass(frozen=True)
class Decision:
    """A recorded decision: the proposal, and where and how it stands in the ledger. Also a receipt.

    ``envelope`` is the signed statement (DSSE); ``time`` is the workbench's own until an outside authority stamps a
    checkpoint of the ledger (``Lifecycle.history`` says which kind of time a decision has).
    """

    proposal: Proposal
    seq: int
    time: str
    envelope_sha256: str
    certificate_sha256: str
    envelope: bytes = field(repr=False)
    reason: str = field(repr=False)
    metadata: Mapping[str, str] = field(repr=False)
    previous: Checkpoint | None = field(repr=False, default=None)

    @property
    def subject(self) -> Subject:
        return self.proposal.subject

    @property
    def action(self) -> Action:
        return self.proposal.action

    @property
    def state(self) -> State:
        """Where the subject stands now."""
        return self.proposal.target

    @property
    def person(self) -> str:
        return self.proposal.person

    def as_dict(self) -> dict[str, Any]:
        """The receipt, as JSON."""
        proposal = self.proposal
        return {
            "format": 1,
            "subject": str(proposal.subject),
            "subject_sha256": proposal.subject.sha256,
            "action": proposal.action.value,
            "from": proposal.source.value,
            "to": proposal.target.value,
            "person": proposal.person,
            "role": proposal.role,
            "approvers": list(proposal.approvers),
            "approvals_required": proposal.required,
            "retires": None if proposal.retires is None else str(proposal.retires),
            "statement": proposal.sentence,
            "shown_sha256": proposal.shown_sha256,
            "envelope_sha256": self.envelope_sha256,
            "certificate_sha256": self.certificate_sha256,
            "ledger_entry": self.seq,
            "time": self.time,
        }
