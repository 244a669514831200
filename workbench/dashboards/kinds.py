"""What can be decided on in the approvals dashboard. Whoever plugs a kind of subject in adds a line."""

from workbench.custody import Custody
from workbench.lifecycle import Subject, SubjectKind
from workbench.policies import PolicyKind
from workbench.reports.lifecycle_kind import ReportKind
from workbench.risk.lifecycle_kind import ModelKind

__all__ = ["kinds_of"]


def kinds_of(custody: Custody) -> list[SubjectKind]:
    """The kinds of subjects of a workspace."""
    return [PolicyKind(custody.workspace, Subject, clock=custody.clock), ModelKind(custody), ReportKind(custody)]
