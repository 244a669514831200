"""What the desk hands to the page: a line of the queue, and one subject as it was read at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from workbench.lifecycle import Action, Person, State, Subject
from workbench.policies import Backtest

__all__ = ["DECISIONS", "Item", "Voice", "Waiting"]

# What a page offers; submitting and retiring belong to the command line.
DECISIONS: Final = (Action.APPROVE, Action.REJECT, Action.WITHDRAW)


@dataclass(frozen=True)
class Waiting:
    """A line of the queue. ``submitter`` is what they are called; ``may`` is what this person may do."""

    subject: str
    title: str
    note: str  # what is worth knowing before opening it, or nothing
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
    person may not take a step, and ``names`` what people are called.

    ``pending`` says what must be looked at first, in a sentence: as long as there is anything, ``shown`` is not whole
    and nobody may decide.
    """

    subject: Subject
    state: State
    shown: Mapping[str, Any]
    required: int
    approvers: tuple[str, ...]
    active: str | None
    backtest: Backtest | None
    cautions: tuple[str, ...]  # about the backtest
    history: tuple[Mapping[str, Any], ...]
    problems: tuple[str, ...]
    voices: tuple[Voice, ...]
    names: Mapping[str, str]
    refusals: Mapping[Action, str]
    pending: str = ""

    @property
    def may(self) -> tuple[Action, ...]:
        """What this person may do with it."""
        return () if self.pending else tuple(action for action in DECISIONS if action not in self.refusals)
