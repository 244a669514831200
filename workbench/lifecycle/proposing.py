"""From a situation to the sentence that is signed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from workbench.errors import InputError, LifecycleError, nearest
from workbench.files import canonical_json, sha256_bytes
from workbench.lifecycle.decision import Proposal
from workbench.lifecycle.guards import Situation, refusal_of
from workbench.lifecycle.record import Record
from workbench.lifecycle.subjects import Subject
from workbench.lifecycle.table import Action, State, Transition

__all__ = ["action_of", "proposal_of", "replacement_of", "spelled"]

_TOWARDS: Final = {
    State.REVIEW: Action.SUBMIT,
    State.ACTIVE: Action.APPROVE,
    State.DRAFT: Action.REJECT,
    State.RETIRED: Action.RETIRE,
}


def proposal_of(record: Record, subject: Subject, now: Situation, shown: Mapping[str, Any]) -> Proposal:
    """What is signed if ``now`` is allowed. Raises ``LifecycleError`` if another version may not be retired with it."""
    row = now.row
    assert row is not None and now.role is not None
    digest = sha256_bytes(canonical_json(dict(shown)))
    retires = None
    if row.target is State.ACTIVE and now.active is not None:
        track = record.track(now.active)
        retires = spelled(track.subject, track.sha256)
    given = now.approvers
    if now.action is Action.APPROVE:
        given = given | {now.person}
    elif now.action is Action.WITHDRAW:
        given = given - {now.person}
    elif now.action in (Action.REJECT, Action.SUBMIT):
        given = frozenset()
    if retires is not None and not _may_retire(now):
        raise LifecycleError(
            f"{now.active} would be retired in the same step, and {now.person} may not retire it: "
            "somebody who may retires it first"
        )
    return Proposal(
        subject, now.action, row.source, row.target, now.person, now.role, now.required, tuple(sorted(given)),
        retires, dict(shown), digest, _sentence(subject, now, row, given, retires, digest),
    )  # fmt: skip


def replacement_of(record: Record, proposal: Proposal) -> Proposal:
    """The retirement of the version that makes way, under the same sentence."""
    assert proposal.retires is not None
    now = record.situation(proposal.retires, Action.RETIRE, proposal.person)
    assert now.role is not None
    shown = {**proposal.shown, "subject": str(proposal.retires), "sha256": proposal.retires.sha256,
             "replaced_by": str(proposal.subject)}  # fmt: skip
    return replace(
        proposal, subject=proposal.retires, action=Action.RETIRE, source=State.ACTIVE, target=State.RETIRED,
        role=now.role, approvers=tuple(sorted(now.approvers)), retires=None, shown=shown,
        shown_sha256=sha256_bytes(canonical_json(shown)),
    )  # fmt: skip


def action_of(to: State | Action | str) -> Action:
    """The action that leads to a state, or the action itself. Raises ``InputError``.

    >>> action_of("ACTIVE").value
    'approve'
    """
    word = str(to)
    if word in set(State):
        return _TOWARDS[State(word)]
    if word in set(Action):
        return Action(word)
    known = [*map(str, State), *map(str, Action)]
    raise InputError(f"{word[:40]!r} is neither a state nor an action{nearest(word, known)}")


def spelled(about: str, sha256: str) -> Subject:
    """The subject that the ledger spells ``about``."""
    kind, name, version = Subject.parts(about)
    return Subject(kind, name, version, sha256)


def _may_retire(now: Situation) -> bool:
    return refusal_of(replace(now, subject=str(now.active), action=Action.RETIRE, state=State.ACTIVE)) is None


def _sentence(
    subject: Subject,
    now: Situation,
    row: Transition,
    given: frozenset[str],
    retires: Subject | None,
    digest: str,
) -> str:
    """The one sentence (or three) that is shown and signed."""
    words = {
        Action.SUBMIT: "submit {} for review",
        Action.APPROVE: "approve {}",
        Action.REJECT: "reject {}",
        Action.WITHDRAW: "withdraw my approval of {}",
        Action.RETIRE: "retire {}",
    }
    what = f"{subject} (SHA-256 {subject.sha256[:16]}…), as it was shown to me (SHA-256 {digest[:16]}…)"
    told = [f"I, {now.person}, as {now.role}, {words[now.action].format(what)}."]
    if row.source is row.target:
        told.append(f"It stays in {row.target} with {len(given)} of {now.required} required approvals.")
    else:
        told.append(f"It goes from {row.source} to {row.target}.")
    if retires is not None:
        told.append(f"{retires} (SHA-256 {retires.sha256[:16]}…) goes from ACTIVE to RETIRED.")
    return " ".join(told)
