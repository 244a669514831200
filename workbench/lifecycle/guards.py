"""The conditions of the table, by name: each looks at a situation and lets it pass, or says why not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from workbench.errors import LifecycleError, NotPermittedError
from workbench.lifecycle.table import TRANSITIONS, Action, State, Transition, needs, permission, roles_with, row_of
from workbench.lifecycle.texts import unreadable

__all__ = ["GUARDS", "SIGNED_GUARDS", "Refusal", "Situation", "refusal_of"]


@dataclass(frozen=True)
class Situation:
    """Who wants to do what to which subject, and all that the conditions ask about it."""

    subject: str
    kind: str
    action: Action
    state: State
    person: str
    roles: tuple[str, ...]  # that the person holds
    submitter: str | None
    authors: frozenset[str]
    approvers: frozenset[str]  # whose approvals count, before this step
    required: int
    active: str | None  # another version of the name that is in use
    replaces: bool  # whether that one is retired in the same step
    unchanged: bool = True  # whether the subject is still what was submitted
    objections: tuple[str, ...] = ()  # of the kind, why it is not fit
    reason: str = "given"
    last: str = ""  # who did what last, for the sentences

    @property
    def role(self) -> str | None:
        """The role under which the person may do this, the first of the table; None if there is none."""
        return next((role for role in roles_with(needs(self.action)) if role in self.roles), None)

    @property
    def enough(self) -> bool:
        """Whether the required approvals are reached with this person's."""
        return len(self.approvers | {self.person}) >= self.required

    @property
    def row(self) -> Transition | None:
        return row_of(self.action, self.state, enough=self.enough)


@dataclass(frozen=True)
class Refusal:
    """Why a step is refused, by which guard (``state`` where the table has no such row)."""

    guard: str
    sentence: str

    def error(self) -> LifecycleError:
        personal = self.guard in ("permitted", "not_the_submitter", "not_an_author", "not_twice", "has_approved")
        return (NotPermittedError if personal else LifecycleError)(self.sentence)


def _reasoned(now: Situation) -> str | None:
    if not now.reason.strip():
        return f"a reason is needed to {now.action} {now.subject}: say it in a sentence"
    if len(now.reason) > 4_000:
        return "a reason has at most 4,000 characters"
    if found := unreadable(now.reason):
        return f"a reason has no character that cannot be seen ({found})"
    return None


def _permitted(now: Situation) -> str | None:
    if now.role is not None:
        return None
    wanted = needs(now.action)
    has = f"{now.person} is {' and '.join(now.roles)}" if now.roles else f"{now.person} has no role"
    return f"{permission(now.kind, wanted)} is what a {' or '.join(roles_with(wanted))} may do, and {has}"


def _unchanged(now: Situation) -> str | None:
    if now.unchanged:
        return None
    return f"{now.subject} is not what was submitted: its content was changed since. Make a new version"


def _not_the_submitter(now: Situation) -> str | None:
    if now.person != now.submitter:
        return None
    return f"{now.person} submitted {now.subject}: somebody else must approve it"


def _not_an_author(now: Situation) -> str | None:
    if now.person not in now.authors:
        return None
    return f"{now.person} is an author of {now.subject}: somebody else must approve it"


def _not_twice(now: Situation) -> str | None:
    if now.person not in now.approvers:
        return None
    return f"{now.person} has approved {now.subject} already: {now.required} different people are required"


def _has_approved(now: Situation) -> str | None:
    if now.person in now.approvers:
        return None
    return f"there is no approval of {now.subject} by {now.person} to withdraw"


def _fit(now: Situation) -> str | None:
    if not now.objections:
        return None
    more = f", and {len(now.objections) - 3} more" if len(now.objections) > 3 else ""
    return f"{now.subject} is not fit to be used: {'; '.join(now.objections[:3])}{more}"


def _only_active(now: Situation) -> str | None:
    if now.active is None or now.replaces:
        return None
    return f"{now.active} is ACTIVE, and only one version can be: agree to retire it in the same step (--retire-active)"


GUARDS: Final[dict[str, Callable[[Situation], str | None]]] = {
    "reasoned": _reasoned,
    "permitted": _permitted,
    "unchanged": _unchanged,
    "not_the_submitter": _not_the_submitter,
    "not_an_author": _not_an_author,
    "not_twice": _not_twice,
    "has_approved": _has_approved,
    "fit": _fit,
    "only_active": _only_active,
}

# What an audit can hold a recorded step against; the rest rests on what is kept elsewhere and may have changed since.
SIGNED_GUARDS: Final = (
    "permitted", "unchanged", "not_the_submitter", "not_an_author", "not_twice", "has_approved", "only_active",
)  # fmt: skip


def refusal_of(now: Situation, *, only: tuple[str, ...] | None = None) -> Refusal | None:
    """Why the table refuses this step, or None if it allows it. ``only`` some guards, for an audit.

    >>> now = Situation("policy:a@1", "policy", Action.APPROVE, State.DRAFT, "p:anna", ("reviewer",), None,
    ...     frozenset(), frozenset(), 1, None, False)
    >>> refusal_of(now).sentence
    'policy:a@1 is a DRAFT: approve is possible from REVIEW only'
    """
    row = now.row
    if row is None:
        if (permitted := _permitted(now)) and only is None:
            return Refusal("permitted", permitted)
        sources = sorted({row.source for row in _rows(now.action)})
        article = "a " if now.state is State.DRAFT else ""
        where = f"{now.subject} is {article}{now.state}{now.last}"
        return Refusal("state", f"{where}: {now.action} is possible from {' or '.join(sources)} only")
    for name in row.guards:
        if (only is None or name in only) and (sentence := GUARDS[name](now)):
            return Refusal(name, sentence)
    return None


def _rows(action: Action) -> list[Transition]:
    return [row for row in TRANSITIONS if row.action is action]
