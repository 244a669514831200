"""Figures of a cross-validation, for reports: plain matplotlib, readable in grey."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from workbench.risk.evaluate import CrossValidation, Metric

__all__ = ["calibration_figure", "curves_figure", "importance_figure"]

_LINE, _FAINT = "#1f5fa8", "#b9c4d0"


def curves_figure(result: CrossValidation, roc: Metric, precision: Metric) -> Figure:
    """ROC and precision-recall curves side by side: all rows in front, single folds behind."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    y, p = result.table.y, result.scores
    for k in range(len(result.models)):
        rows = result.fold == k
        left.plot(*roc_curve(y[rows], p[rows])[:2], color=_FAINT, linewidth=0.8)
        precision_k, recall_k, _ = precision_recall_curve(y[rows], p[rows])
        right.plot(recall_k, precision_k, color=_FAINT, linewidth=0.8)
    left.plot(*roc_curve(y, p)[:2], color=_LINE, linewidth=2)
    left.plot([0, 1], [0, 1], color="#555555", linewidth=1, linestyle=":")
    left.set(xlabel="False positive rate", ylabel="True positive rate", title=f"ROC, area {roc.value:.3f}")
    precisions, recalls, _ = precision_recall_curve(y, p)
    right.plot(recalls, precisions, color=_LINE, linewidth=2)
    right.axhline(float(y.mean()), color="#555555", linewidth=1, linestyle=":")
    right.set(
        xlabel="Recall",
        ylabel="Precision",
        ylim=(0, 1.02),
        title=f"Precision-recall, average {precision.value:.3f}",
    )
    return figure


def calibration_figure(result: CrossValidation, *, bins: int = 10) -> Figure:
    """Observed share of violations against the predicted probability, in ``bins`` equally filled bins."""
    figure = Figure(figsize=(4.5, 4), layout="constrained")
    axes = figure.subplots()
    observed, predicted = calibration_curve(result.table.y, result.scores, n_bins=bins, strategy="quantile")
    end = 1.05 * float(max(observed.max(), predicted.max()))
    axes.plot([0, end], [0, end], color="#555555", linewidth=1, linestyle=":")
    axes.plot(predicted, observed, color=_LINE, marker="o", linewidth=1.5)
    axes.set(xlabel="Predicted probability", ylabel="Observed share of violations", xlim=(0, end), ylim=(0, end))
    return figure


def importance_figure(importance: pd.DataFrame) -> Figure:
    """Bars of permutation importance with one standard deviation, the most important on top."""
    figure = Figure(figsize=(7, 0.32 * len(importance) + 0.9), layout="constrained")
    axes = figure.subplots()
    rows = importance.iloc[::-1]
    axes.barh(np.arange(len(rows)), rows["mean"], xerr=rows["sd"], color=_LINE, ecolor="#777777", height=0.7)
    axes.set_yticks(np.arange(len(rows)), rows["feature"])
    axes.set_xlabel("Fall in average precision when shuffled")
    return figure
