"""Taking a decision, inside a transaction: what is proposed is signed, kept, logged, and read back as it will be."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.custody import Custody
from workbench.evidence.certificates import fingerprint
from workbench.evidence.keys import Signer
from workbench.evidence.statements import DECISION_TYPE
from workbench.ledger import Transaction
from workbench.lifecycle.attestations import Attestations, checkpoint_reference, sign
from workbench.lifecycle.changes import require_counted
from workbench.lifecycle.decision import Decision, Proposal
from workbench.lifecycle.people import private_store
from workbench.lifecycle.proposing import replacement_of
from workbench.lifecycle.record import Record
from workbench.lifecycle.subjects import SubjectKind

__all__ = ["Step"]


@dataclass
class Step:
    """A decision under way: who signs, why, and in which transaction. ``record`` is what the transaction found."""

    custody: Custody
    transaction: Transaction
    record: Record
    signer: Signer
    reason: str
    metadata: Mapping[str, str]
    _kept: list[str] = field(default_factory=list)  # statements

    def take(self, proposal: Proposal, kind: SubjectKind | None) -> Decision:
        """Record ``proposal``, with the retirement of the version that makes way, and what ``kind`` adds.

        If anything fails, the transaction undoes the entries, and the statements that were signed are removed.
        Raises ``IntegrityError`` if what was recorded would not count.
        """
        try:
            private = {"reason": self.reason, "metadata": dict(self.metadata)}
            commitment = private_store(self.custody).bind(proposal.person, private)
            if proposal.retires is not None:
                # First out with the old, so that at no entry of the ledger two versions are in use.
                self._append(replacement_of(self.record, proposal), commitment)
            decision = self._append(proposal, commitment)
            if kind is not None:
                kind.decided(decision, signer=self.signer, transaction=self.transaction)
        except BaseException:
            for sha256 in self._kept:
                Attestations(self.custody).drop(sha256)
            raise
        return decision

    def _append(self, proposal: Proposal, commitment: str) -> Decision:
        about, subject = str(proposal.subject), proposal.subject
        authors = sorted(self.record.track(about).authors | set(subject.authors))
        attestations, checkpoints = Attestations(self.custody), self.custody.ledger.checkpoints()
        previous = checkpoints[-1].checkpoint if checkpoints else None
        envelope = sign(
            DECISION_TYPE,
            {about: subject.sha256, "shown": attestations.keep_shown(proposal.shown)},
            {
                "about": about,
                "action": proposal.action.value,
                "person": proposal.person,
                "role": proposal.role,
                "fromState": proposal.source.value,
                "toState": proposal.target.value,
                "authors": authors,
                "approvalsRequired": proposal.required,
                "reasonCommitment": commitment,
                "previousCheckpoint": checkpoint_reference(previous),
                "statementShown": proposal.sentence,
            },
            signer=self.signer,
            time_ns=self.custody.clock.time_ns(),
        )
        sha256, certificate = attestations.keep(envelope), fingerprint(self.signer.certificate)
        self._kept.append(sha256)
        entry = self.transaction.append(
            "subject.decided",
            proposal.person,
            commitment=commitment,
            fields={
                "about": about,
                "subjectSha256": subject.sha256,
                "action": proposal.action.value,
                "fromState": proposal.source.value,
                "toState": proposal.target.value,
                "role": proposal.role,
                "authors": authors,
                "required": proposal.required,
                "shownSha256": proposal.shown_sha256,
                "certSha256": certificate,
                "envelopeSha256": sha256,
            },
        )
        require_counted(self.record, entry)
        return Decision(
            proposal, entry.seq, entry.time, sha256, certificate, bytes(envelope), self.reason, dict(self.metadata),
            previous,
        )  # fmt: skip
