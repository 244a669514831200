"""The lifecycle: who may decide on what, and decisions that are signatures on exactly what was shown.

Here: one table of transitions, people with keys and roles, signed decisions, and readings of the ledger that believe
nothing unsigned. Policies, models and reports plug in from above as a ``SubjectKind``; nothing here may import them.
"""

from workbench.lifecycle.decision import Decision, Proposal
from workbench.lifecycle.history import audit
from workbench.lifecycle.lifecycle import Lifecycle
from workbench.lifecycle.people import People
from workbench.lifecycle.person import Person
from workbench.lifecycle.subjects import Subject, SubjectKind
from workbench.lifecycle.table import KINDS, ROLES, TRANSITIONS, Action, State, Transition

__all__ = [
    "KINDS",
    "ROLES",
    "TRANSITIONS",
    "Action",
    "Decision",
    "Lifecycle",
    "People",
    "Person",
    "Proposal",
    "State",
    "Subject",
    "SubjectKind",
    "Transition",
    "audit",
]
