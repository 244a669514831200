"""Risk: models that score events, and what their scores are worth.

Evaluation here never lets a user stand on both sides of a fold, and never reports a number without its interval.
"""

from workbench.risk.evaluate import CrossValidation, Metric, bootstrap, cross_validate, permutation_importance
from workbench.risk.figures import calibration_figure, curves_figure, importance_figure

__all__ = [
    "CrossValidation",
    "Metric",
    "bootstrap",
    "calibration_figure",
    "cross_validate",
    "curves_figure",
    "importance_figure",
    "permutation_importance",
]
