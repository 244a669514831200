"""Judging a bundle: offline, from the bundle and what the examiner holds, in words that name the thing that failed.

Nothing here makes evidence; the only code shared with the makers is the formats themselves. What is in the file can
never raise: it becomes a finding.
"""

from workbench.evidence.verify.examination import Demands
from workbench.evidence.verify.findings import CODES, Code, Finding, Gravity
from workbench.evidence.verify.verdict import Outcome, Verdict
from workbench.evidence.verify.verifier import Kept, read_kept, read_root, verify, verify_bytes

__all__ = [
    "CODES",
    "Code",
    "Demands",
    "Finding",
    "Gravity",
    "Kept",
    "Outcome",
    "Verdict",
    "read_kept",
    "read_root",
    "verify",
    "verify_bytes",
]
