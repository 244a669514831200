"""Risk: models that score events, and what their scores are worth.

Training (``train``), what it leaves in the registry (``Registry``), scoring (``load_scorer``), explanation
(``explain_event``), and the tests a model must pass: ``validate``, ``compare``, ``drift``. Evaluation here never lets
a model see what came later, or was not known yet, and never reports a number without its interval.

Whatever needs scikit-learn, SHAP or matplotlib is fetched on first use, so that a scorer or a list of models does not
wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from workbench.risk.calibration import Calibrator
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.registry import Registry
from workbench.risk.threshold import Threshold
from workbench.risk.version import Version

if TYPE_CHECKING:
    from workbench.risk.alert_figures import confusion_figure, histogram_figure, hundreds_figure
    from workbench.risk.card import card_markdown, card_page
    from workbench.risk.course_figures import drift_figure, folds_figure, learning_curve_figure, promotion_figure
    from workbench.risk.criteria import PromotionRules
    from workbench.risk.crossval import CrossValidation, cross_validate, folds_of, permutation_importance
    from workbench.risk.drawing import Scored, alt_text
    from workbench.risk.explain import Explanation, explain_event, explainer, summarise
    from workbench.risk.f1 import DriftRules
    from workbench.risk.figures import (
        calibration_figure,
        curves_figure,
        importance_figure,
        precision_recall_figure,
        roc_figure,
    )
    from workbench.risk.metrics import Evaluation, Metric, bootstrap, calibration_bins, evaluate
    from workbench.risk.monitoring import DriftReport, drift
    from workbench.risk.promotion import Promotion, compare, fitted_until
    from workbench.risk.score import Score
    from workbench.risk.scorelog import ScoreLog, audit, read_scores
    from workbench.risk.scorer import Scorer, load_scorer
    from workbench.risk.shap_figures import beeswarm_figure, dependence_figure, explanation_figure, shap_bar_figure
    from workbench.risk.splits import Slices, TemporalGroupSplit, held_out, label_delay, time_slices
    from workbench.risk.threshold import choose
    from workbench.risk.training import Training, train
    from workbench.risk.trials import Rate, try_drift_rule, try_promotion
    from workbench.risk.tuning import Tuning, estimator, search
    from workbench.risk.validation import Validation, score_events, validate

_MODULES: Final = {
    "alert_figures": ("confusion_figure", "histogram_figure", "hundreds_figure"),
    "card": ("card_markdown", "card_page"),
    "course_figures": ("drift_figure", "folds_figure", "learning_curve_figure", "promotion_figure"),
    "criteria": ("PromotionRules",),
    "crossval": ("CrossValidation", "cross_validate", "folds_of", "permutation_importance"),
    "drawing": ("Scored", "alt_text"),
    "explain": ("Explanation", "explain_event", "explainer", "summarise"),
    "f1": ("DriftRules",),
    "figures": ("calibration_figure", "curves_figure", "importance_figure", "precision_recall_figure", "roc_figure"),
    "metrics": ("Evaluation", "Metric", "bootstrap", "calibration_bins", "evaluate"),
    "monitoring": ("DriftReport", "drift"),
    "promotion": ("Promotion", "compare", "fitted_until"),
    "score": ("Score",),
    "scorelog": ("ScoreLog", "audit", "read_scores"),
    "scorer": ("Scorer", "load_scorer"),
    "shap_figures": ("beeswarm_figure", "dependence_figure", "explanation_figure", "shap_bar_figure"),
    "splits": ("Slices", "TemporalGroupSplit", "held_out", "label_delay", "time_slices"),
    "threshold": ("choose",),
    "training": ("Training", "train"),
    "trials": ("Rate", "try_drift_rule", "try_promotion"),
    "tuning": ("Tuning", "estimator", "search"),
    "validation": ("Validation", "score_events", "validate"),
}
_LATER: Final = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Calibrator",
    "CrossValidation",
    "DriftReport",
    "DriftRules",
    "Evaluation",
    "Explanation",
    "Forest",
    "Metric",
    "Promotion",
    "PromotionRules",
    "Rate",
    "Registry",
    "RiskModel",
    "Score",
    "ScoreLog",
    "Scored",
    "Scorer",
    "Slices",
    "TemporalGroupSplit",
    "Threshold",
    "Training",
    "Tuning",
    "Validation",
    "Version",
    "alt_text",
    "audit",
    "beeswarm_figure",
    "bootstrap",
    "calibration_bins",
    "calibration_figure",
    "card_markdown",
    "card_page",
    "choose",
    "compare",
    "confusion_figure",
    "cross_validate",
    "curves_figure",
    "dependence_figure",
    "drift",
    "drift_figure",
    "estimator",
    "evaluate",
    "explain_event",
    "explainer",
    "explanation_figure",
    "fitted_until",
    "folds_figure",
    "folds_of",
    "held_out",
    "histogram_figure",
    "hundreds_figure",
    "importance_figure",
    "label_delay",
    "learning_curve_figure",
    "load_scorer",
    "permutation_importance",
    "precision_recall_figure",
    "promotion_figure",
    "read_scores",
    "roc_figure",
    "score_events",
    "search",
    "shap_bar_figure",
    "summarise",
    "time_slices",
    "train",
    "try_drift_rule",
    "try_promotion",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'workbench.risk' has no attribute {name!r}")
    return getattr(import_module(f"workbench.risk.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
