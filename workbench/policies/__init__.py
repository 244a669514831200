"""Policies: a boolean SQL expression over events, features and risk; versions; what each would have done.

Here: the expression and everything that it may not be, its plain words, immutable versions, differences, backtests.
Nothing here may know how a model makes its scores, or decide anything: models are handed in, decisions are the
lifecycle's.
"""

from workbench.policies.backtest import Backtest, Scores, backtest
from workbench.policies.controls import Catalogue, controls_of
from workbench.policies.difference import Difference, compare
from workbench.policies.expression import Expression
from workbench.policies.kind import PolicyKind, kept_backtests, shown
from workbench.policies.policy import SEVERITIES, Policy, check_policy, load_policy
from workbench.policies.scoring import scores_of
from workbench.policies.store import PolicyStore, PolicyVersion
from workbench.policies.words import conditions, describe

__all__ = [
    "SEVERITIES",
    "Backtest",
    "Catalogue",
    "Difference",
    "Expression",
    "Policy",
    "PolicyKind",
    "PolicyStore",
    "PolicyVersion",
    "Scores",
    "backtest",
    "check_policy",
    "compare",
    "conditions",
    "controls_of",
    "describe",
    "kept_backtests",
    "load_policy",
    "scores_of",
    "shown",
]
