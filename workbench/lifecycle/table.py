"""The one table of the lifecycle: which steps there are, who may take them, and under which conditions.

Everything else is made from it: what ``Lifecycle`` allows, what an audit holds the ledger against, the diagram and the
tables of docs/reference/lifecycle.md, and the help of the commands.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = [
    "KINDS",
    "ROLES",
    "ROLE_MEANINGS",
    "TRANSITIONS",
    "Action",
    "State",
    "Transition",
    "ascii_diagram",
    "mermaid_diagram",
    "needs",
    "permission",
    "permissions_of",
    "roles_with",
    "row_of",
]


class State(StrEnum):
    """Where a subject stands. Whatever was never submitted is a DRAFT."""

    DRAFT = "DRAFT"
    REVIEW = "REVIEW"
    ACTIVE = "ACTIVE"
    RETIRED = "RETIRED"


class Action(StrEnum):
    """What a person does to a subject."""

    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    RETIRE = "retire"


@dataclass(frozen=True)
class Transition:
    """One row: ``action`` leads from ``source`` to ``target`` if every one of ``guards`` lets it.

    ``needs`` is the action whose permission is asked for; ``enough`` says whether the row is the one with the last
    required approval (None where approvals are not counted).
    """

    action: Action
    source: State
    target: State
    needs: Action
    guards: tuple[str, ...]
    meaning: str
    enough: bool | None = None


TRANSITIONS: Final = (
    Transition(
        Action.SUBMIT, State.DRAFT, State.REVIEW, Action.SUBMIT,
        ("reasoned", "permitted", "unchanged", "fit"),
        "asks the reviewers to decide",
    ),
    Transition(
        Action.APPROVE, State.REVIEW, State.REVIEW, Action.APPROVE,
        ("reasoned", "permitted", "unchanged", "not_the_submitter", "not_an_author", "not_twice", "fit"),
        "approves, and further approvals are required",
        enough=False,
    ),
    Transition(
        Action.APPROVE, State.REVIEW, State.ACTIVE, Action.APPROVE,
        ("reasoned", "permitted", "unchanged", "not_the_submitter", "not_an_author", "fit", "only_active"),
        "gives the last approval that is required",
        enough=True,
    ),
    Transition(
        Action.WITHDRAW, State.REVIEW, State.REVIEW, Action.APPROVE,
        ("reasoned", "permitted", "has_approved"),
        "takes back one's own approval while others are still awaited",
    ),
    Transition(
        Action.REJECT, State.REVIEW, State.DRAFT, Action.REJECT,
        ("reasoned", "permitted"),
        "sends it back; approvals given so far are void",
    ),
    Transition(
        Action.RETIRE, State.ACTIVE, State.RETIRED, Action.RETIRE,
        ("reasoned", "permitted"),
        "takes it out of use for good",
    ),
)  # fmt: skip

KINDS: Final = ("policy", "model", "report")

# What each role may do. A permission is KIND.ACTION_KIND for the steps above; those of people stand as they are.
ROLES: Final[dict[str, tuple[str, ...]]] = {
    "researcher": (Action.SUBMIT,),
    "reviewer": (Action.APPROVE, Action.REJECT, Action.RETIRE),
    "owner": (Action.RETIRE, "people.grant", "people.revoke", "approvals.require"),
    "examiner": (),
}
ROLE_MEANINGS: Final = {
    "researcher": "makes policies, models and reports, and submits them",
    "reviewer": "decides on what others made and submitted",
    "owner": "says who has which role and how many approvals are required",
    "examiner": "reads everything and decides on nothing",
}


def permission(kind: str, action: str) -> str:
    """The name of the permission to do ``action`` to subjects of ``kind``.

    >>> permission("policy", Action.APPROVE)
    'policy.approve_policy'
    >>> permission("", "people.grant")
    'people.grant'
    """
    return str(action) if "." in action else f"{kind}.{action}_{kind}"


def permissions_of(role: str, kinds: tuple[str, ...] = KINDS) -> tuple[str, ...]:
    """All permissions of a role, over ``kinds``.

    >>> permissions_of("researcher")
    ('policy.submit_policy', 'model.submit_model', 'report.submit_report')
    """
    return tuple(
        name
        for action in ROLES[role]
        for name in ([action] if "." in action else [permission(kind, action) for kind in kinds])
    )


def roles_with(action: str) -> tuple[str, ...]:
    """The roles that may do ``action``, in the table's order.

    >>> roles_with(Action.RETIRE)
    ('reviewer', 'owner')
    """
    return tuple(role for role, allowed in ROLES.items() if action in allowed)


def needs(action: Action) -> Action:
    """The action whose permission ``action`` asks for.

    >>> needs(Action.WITHDRAW).value
    'approve'
    """
    return next(row.needs for row in TRANSITIONS if row.action is action)


def row_of(action: Action, source: State, *, enough: bool = True) -> Transition | None:
    """The row for ``action`` from ``source``; ``enough`` says whether the required approvals are reached with it.

    >>> row_of(Action.APPROVE, State.REVIEW).target.value
    'ACTIVE'
    >>> row_of(Action.APPROVE, State.DRAFT) is None
    True
    """
    for row in TRANSITIONS:
        if row.action is action and row.source is source and row.enough in (None, enough):
            return row
    return None


def mermaid_diagram() -> str:
    """The diagram as Mermaid draws it."""
    arrows = [f"    {row.source} --> {row.target}: {_label(row)}" for row in TRANSITIONS]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {State.DRAFT}", *arrows, f"    {State.RETIRED} --> [*]"])


def ascii_diagram() -> str:
    """The diagram in plain letters, a line for each row of the table."""
    labels = [_label(row) for row in TRANSITIONS]
    width = max(map(len, labels))
    return "\n".join(
        f"{row.source:<7} --{label:-^{width + 2}}--> {row.target}"
        for row, label in zip(TRANSITIONS, (f" {label} " for label in labels), strict=True)
    )


def _label(row: Transition) -> str:
    more = {None: "", True: " (the last required)", False: " (more required)"}[row.enough]
    return f"{row.action}{more}"
