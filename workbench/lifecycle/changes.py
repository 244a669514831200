"""Changes of roles and rules: signed by who makes them, logged, and counted at once or not made at all."""

from typing import Any

from workbench.custody import Custody
from workbench.errors import IntegrityError
from workbench.evidence.certificates import Role, fingerprint
from workbench.evidence.entries import Entry
from workbench.evidence.keys import Signer
from workbench.evidence.statements import CHANGE_TYPE
from workbench.ledger import Transaction
from workbench.lifecycle.attestations import Attestations, checkpoint_reference, sign
from workbench.lifecycle.record import Record, rule_digest

__all__ = ["Changes", "require_counted"]


class Changes:
    """What may be changed of people and rules. Whether it may be is asked before, and by ``record`` once more."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._attestations = Attestations(custody)

    def role(
        self,
        transaction: Transaction,
        record: Record,
        change: str,
        identity: str,
        digest: str,
        role: str,
        granter: Signer,
    ) -> None:
        """``change`` is ``grant`` or ``revoke``; ``digest`` is that of the certificate a person was enrolled with."""
        who = "The root of this workspace" if granter.role is Role.ROOT else f"I, p:{granter.identity},"
        verb = {"grant": "grant", "revoke": "take from"}[change] + ("s" if granter.role is Role.ROOT else "")
        self._log(
            transaction, record, "role.granted" if change == "grant" else "role.revoked", f"person:{identity}", digest,
            granter, f"{who} {verb} p:{identity} the role {role}.",
            {"change": change, "role": role, "required": None}, {"role": role},
        )  # fmt: skip

    def rule(self, transaction: Transaction, record: Record, kind: str, required: int, granter: Signer) -> None:
        """From now on ``required`` approvals are needed for each ``kind``."""
        self._log(
            transaction, record, "approvals.required", f"rule:{kind}", rule_digest(kind, required), granter,
            f"I, p:{granter.identity}, require {required} approval(s) for each {kind} from now on.",
            {"change": "require", "role": None, "required": required}, {"required": required},
        )  # fmt: skip

    def _log(
        self,
        transaction: Transaction,
        record: Record,
        type: str,
        about: str,
        digest: str,
        signer: Signer,
        sentence: str,
        said: dict[str, Any],
        fields: dict[str, Any],
    ) -> None:
        actor = "p:local" if signer.role is Role.ROOT else f"p:{signer.identity}"
        checkpoints = self._custody.ledger.checkpoints()
        envelope = sign(
            CHANGE_TYPE,
            {about: digest},
            {
                **said,
                "about": about,
                "person": actor,
                "previousCheckpoint": checkpoint_reference(checkpoints[-1].checkpoint if checkpoints else None),
                "statementShown": sentence,
            },
            signer=signer,
            time_ns=self._custody.clock.time_ns(),
        )
        sha256 = self._attestations.keep(envelope)
        try:
            entry = transaction.append(
                type,
                actor,
                fields={
                    "about": about,
                    **fields,
                    "certSha256": fingerprint(signer.certificate),
                    "envelopeSha256": sha256,
                },
            )
            require_counted(record, entry)
        except BaseException:
            self._attestations.drop(sha256)
            raise


def require_counted(record: Record, entry: Entry) -> None:
    """Read ``entry``, which was just appended, as everybody will: what would not count is not recorded.

    Raises ``IntegrityError`` with the reason; inside a transaction that undoes the entry.
    """
    before = len(record.problems)
    record.read([entry])
    if len(record.problems) > before:
        raise IntegrityError(f"{record.problems[-1].sentence}; nothing was recorded")
