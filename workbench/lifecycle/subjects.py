"""What is decided on, and how policies, models and reports plug in from above.

The lifecycle knows a subject by kind, name, version and digest. Everything that only the kind can know (does it exist,
is it fit for use, what is shown, what follows from a decision) it asks a ``SubjectKind`` for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.evidence.keys import Signer
    from workbench.ledger import Transaction
    from workbench.lifecycle.decision import Decision

__all__ = ["Subject", "SubjectKind", "split_reference"]

_SPELLED: Final = re.compile(r"([a-z]{2,20}):([A-Za-z0-9][A-Za-z0-9._-]{0,119})@([1-9][0-9]{0,8})")
_RESERVED: Final = ("person", "rule")


@dataclass(frozen=True, order=True)
class Subject:
    """One version of a policy, model or report, and the SHA-256 of exactly that version.

    ``authors`` are pseudonyms (``p:reviewer-1``) of those who made it: they never approve it.

    >>> str(Subject("policy", "bulk-export", 2, "ab" * 32))
    'policy:bulk-export@2'
    """

    kind: str
    name: str
    version: int
    sha256: str = field(compare=False)
    authors: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Raises ``InputError`` for what cannot stand in the ledger."""
        if not _SPELLED.fullmatch(str(self)) or self.kind in _RESERVED:
            raise InputError(
                f"{str(self)[:80]!a} is not a subject: expected KIND:NAME@VERSION, such as policy:bulk-export@2, "
                "the name of letters, digits, '.', '_' and '-'"
            )
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise InputError(f"the digest of {self} is not a SHA-256")

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}@{self.version}"

    @staticmethod
    def parts(spelled: str) -> tuple[str, str, int]:
        """Kind, name and version of a subject as the ledger spells it. Raises ``InputError``.

        >>> Subject.parts("model:risk@3")
        ('model', 'risk', 3)
        """
        found = _SPELLED.fullmatch(spelled)
        if found is None:
            raise InputError(f"{spelled[:80]!a} is not a subject: expected KIND:NAME@VERSION")
        return found[1], found[2], int(found[3])


class SubjectKind(Protocol):
    """What a kind of subject must answer. ``kind`` is its word: ``policy``, ``model``, ``report``."""

    kind: str

    def find(self, reference: str) -> Subject:
        """The subject that a person means by ``reference``, the part after ``KIND:`` (``bulk-export@2``, ``v3``).

        Its digest is computed from what is stored now. Raises ``NotFoundError``.
        """

    def subjects(self) -> Iterable[Subject]:
        """All there are, drafts too."""

    def objections(self, subject: Subject) -> Sequence[str]:
        """Why it is not fit to be submitted or approved, a clause each (``it names no known control``); or none."""

    def shown(self, subject: Subject, active: Subject | None) -> Mapping[str, Any]:
        """What a person is shown before deciding, as JSON: digests and small facts. ``active`` is the version in use.

        It is kept and its digest signed. Two keys are the lifecycle's: ``subject`` and ``sha256``.
        """

    def decided(self, decision: "Decision", *, signer: "Signer", transaction: "Transaction") -> None:
        """Called inside the ledger's transaction, right after the entry: append what else follows (a model becomes
        champion, a report's decision goes into its bundle). An exception here undoes the decision.
        """


def split_reference(text: str) -> tuple[str, str]:
    """Kind and reference of a subject as it is typed. Raises ``InputError``.

    >>> split_reference("policy:bulk-export@2")
    ('policy', 'bulk-export@2')
    """
    kind, colon, reference = text.partition(":")
    if not colon or not re.fullmatch("[a-z]{2,20}", kind) or not reference:
        raise InputError(
            f"{text[:80]!a} is not a subject: expected one like policy:NAME@VERSION, model:v3 or report:ID"
        )
    return kind, reference
