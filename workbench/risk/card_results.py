"""What a model card says of a model's worth: evaluation, calibration, threshold, importances, drift."""

from collections.abc import Mapping
from typing import Final

from workbench.pages import number
from workbench.risk.card_blocks import NOT_RECORDED, SLICES, Block, Facts, Metrics, Rows, Text, interval
from workbench.risk.model import RiskModel
from workbench.risk.words import title

__all__ = ["calibration", "drift", "evaluation", "explanations", "importance", "threshold"]

METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "average_precision": (
        "Average precision",
        "how far up the list violations stand; chance is their share",
    ),
    "roc_auc": ("ROC area", "how often a violation scores above a compliant event; chance is 0.5"),
    "precision": ("Precision", "share of alerts that are violations"),
    "recall": ("Recall", "share of violations that raise an alert"),
    "f1": ("F1", "precision and recall in one number (harmonic mean)"),
    "recall_at_budget": ("Recall at the budget", "share of violations found if just the budget of alerts is looked at"),
    "brier": ("Brier score", "mean squared error of the stated risk; lower is better"),
    "ece": ("Calibration error", "mean distance of stated risk and observed share; lower is better"),
}


def evaluation(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    slices = {name: metrics.get("slices", {}).get(name) for name in SLICES}
    shown = {name: found for name, found in slices.items() if found}
    if not shown:
        return [Text(f"The metrics were {NOT_RECORDED}.")]
    rows = []
    for name, (called, words) in METRICS.items():
        cells = tuple(interval(found.get("metrics", {}).get(name)) for found in shown.values())
        rows.append((called, words, *cells))
    new_days = number(metrics.get("labels", {}).get("new_days", 7))
    counts = tuple(
        (SLICES[name][0], SLICES[name][1].format(new_days=new_days), found["rows"], found["positives"], found["users"])
        for name, found in shown.items()
    )
    columns = ("Metric", "What it says", *(SLICES[name][0] for name in shown))
    told: list[Block] = [
        Rows(("Slice", "What is in it", "Events", "Violations", "Users"), counts, "What it was tested on."),
        Rows(columns, tuple(rows), "Metrics at the threshold in use, in brackets their 95 % interval (by user)."),
    ]
    confusion = shown.get("test", {}).get("confusion")
    if confusion:
        told.append(
            Rows(
                ("", "Alert", "No alert"),
                (
                    ("Violation", confusion["tp"], confusion["fn"]),
                    ("Compliant", confusion["fp"], confusion["tn"]),
                ),
                "Alerts and labels, all users.",
            )
        )
    return told


def calibration(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    method = {
        "isotonic": "a rising curve of steps (isotonic regression)",
        "sigmoid": "an S-shaped curve (Platt's sigmoid)",
        "none": "nothing: the forest's own output is used",
    }[model.calibrator.method]
    bins = metrics.get("calibration", {}).get("bins", [])
    rows = tuple((f"{bin['predicted']:.3f}", f"{bin['observed']:.3f}", bin["rows"]) for bin in bins)
    told: list[Block] = [
        Text(
            "A risk of 0.20 should mean that 20 of 100 such events are violations. What turned the forest's output "
            f"into such a risk: {method}, fitted on events of its own."
        )
    ]
    if rows:
        told.append(Rows(("Stated risk", "Observed share", "Events"), rows, "Groups of tested events of similar risk."))
    return told


def threshold(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    chosen = model.threshold
    detail = chosen.detail
    rule = {
        "budget": f"the lowest that raises at most {number(detail.get('alerts_per_day'))} alerts a day",
        "cost": f"the least cost, a missed violation counting {number(detail.get('cost_miss'))} and a false alarm "
        f"{number(detail.get('cost_alarm'))}",
        "f1": "the best balance of precision and recall (F1)",
    }[chosen.rule]
    pairs = [("An event is an alert from", f"risk {chosen.value:.4f}"), ("Chosen as", rule)]
    if "alerts" in detail:
        pairs.append(
            (
                "On the events it was chosen on",
                (
                    f"{number(detail['alerts'])} alerts among {number(detail.get('rows'))} events, "
                    f"{number(detail.get('hits'))} of them real"
                ),
            )
        )
    budget = metrics.get("budget", {}).get("alerts_per_day")
    if budget is not None:
        pairs.append(("Recall at the budget is measured at", f"{number(budget)} alerts a day"))
    return [Facts(tuple(pairs))]


def importance(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    ranked = sorted(metrics.get("importance", []), key=lambda row: row["permutation_rank"])
    if not ranked:
        return [Text(f"Importances were {NOT_RECORDED}.")]
    rows = tuple(
        (
            str(row["permutation_rank"]),
            title(row["feature"]),
            f"{row['permutation']:.4f} ± {row['permutation_sd']:.4f}",
            "–" if row.get("impurity_rank") is None else str(row["impurity_rank"]),
        )
        for row in ranked
    )
    return [
        Text(
            "How much average precision falls on events that were not trained on when one feature is shuffled "
            "(permutation importance). Features that say the same share their importance, so a low one does not prove "
            "that a feature does not matter. The last column is the rank by use in training (impurity), which favours "
            "features of many values."
        ),
        Rows(("Rank", "Feature", "Fall when shuffled", "Rank in training"), rows, "From the most important on."),
    ]


def explanations(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    space = "probability" if model.forest.algorithm == "random_forest" else "log-odds"
    told: list[Block] = [
        Text(
            "Reasons for single scores are SHAP values (TreeSHAP, path-dependent: no background data), computed from "
            f"the model file in units of {space} and checked to add up to the model's output. They are shown as points "
            "of risk, by one factor for all reasons of an event. They say what moved the score, not what caused "
            "the event."
        )
    ]
    kept = metrics.get("shap")
    if kept:
        rows = tuple((title(row["feature"]), f"{row['mean_abs']:.4f}") for row in kept["features"][:10])
        told.append(
            Rows(
                ("Feature", f"Moves the score by, on average ({kept['space']})"),
                rows,
                f"The ten that move scores most, on {number(kept['rows'])} events.",
            )
        )
    return told


def drift(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    test = metrics.get("slices", {}).get("test", {})
    measured = {name: found["value"] for name, found in test.get("metrics", {}).items()}
    base = {**measured, **reference, "rows": reference.get("rows", test.get("rows"))}
    f1, positives = base.get("f1"), base.get("positives", test.get("positives"))
    if f1 is None:
        return [Text(f"What drift is measured against was {NOT_RECORDED}.")]
    return [
        Text(
            f"Later windows are held against F1 {f1:.3f} on {number(base['rows'])} tested events with "
            f"{number(positives)} violations. Below 95 % of it (under {0.95 * f1:.3f}) is a warning; train anew when "
            "even the upper end of the 95 % interval is below that, on at least 200 violations. A change in the "
            "features' distribution (PSI) is a reason to look, never to retrain."
        )
    ]
