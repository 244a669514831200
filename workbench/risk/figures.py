"""Figures of an evaluation, for reports: plain matplotlib, readable in grey, each with its description.

Every function takes a ``CrossValidation``, or plain arrays as ``Scored(y, p)``; ``alt_text(figure)`` says what is
to be seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from workbench.pages.palette import ALARM, FAINT, LINE, QUIET, plain
from workbench.risk.drawing import Interval, Scored, Scores, arrays, axes_of, listed
from workbench.risk.words import title

__all__ = [
    "calibration_figure",
    "curve_points",
    "curves_figure",
    "importance_figure",
    "precision_recall_figure",
    "roc_figure",
    "stored_curves_figure",
]

Floats = npt.NDArray[np.float64]


def curves_figure(result: Scores, roc: Interval, precision: Interval) -> Figure:
    """ROC and precision-recall curves side by side: all rows in front, single folds behind."""
    scored = arrays(result)
    figure, (left, right) = _pair(
        f"Two curves. ROC, area {_said(roc)}. Precision against recall, average precision {_said(precision)}."
    )
    _draw_roc(left, scored, f"ROC, area {roc.value:.3f}")
    _draw_precision_recall(right, scored, f"Precision-recall, average {precision.value:.3f}")
    return figure


def roc_figure(result: Scores, roc: Interval) -> Figure:
    """The ROC curve; chance is dotted."""
    figure, axes = axes_of(4.5, 4, f"ROC curve, area {_said(roc)}. Chance is a dotted diagonal.")
    _draw_roc(axes, arrays(result), f"ROC, area {roc.value:.3f}")
    return figure


def precision_recall_figure(result: Scores, precision: Interval, *, threshold: float | None = None) -> Figure:
    """Precision against recall; chance is dotted, and ``threshold`` is marked with what it gives."""
    scored = arrays(result)
    figure, axes = axes_of(4.5, 4, f"Precision against recall, average precision {_said(precision)}.")
    _draw_precision_recall(axes, scored, f"Precision-recall, average {precision.value:.3f}")
    if threshold is not None:
        alerted = scored.p >= threshold
        real, hits = int((scored.y == 1).sum()), int((scored.y[alerted] == 1).sum())
        if alerted.any() and real:
            _mark(axes, hits / real, hits / int(alerted.sum()))
    return figure


def curve_points(y: npt.NDArray[Any], p: Floats, *, most: int = 200) -> dict[str, dict[str, list[float]]]:
    """Both curves as at most ``most`` points each, as ``metrics.json`` keeps them.

    >>> curve_points(np.array([0, 1]), np.array([0.1, 0.9]))["roc"]
    {'fpr': [0.0, 0.0, 1.0], 'tpr': [0.0, 1.0, 1.0]}
    """
    precisions, recalls, _ = precision_recall_curve(y, p)
    false, true, _ = roc_curve(y, p)

    recalls, precisions = _thinned(recalls, precisions, most)
    false, true = _thinned(false, true, most)
    return {
        "precision_recall": {"recall": recalls.tolist(), "precision": precisions.tolist()},
        "roc": {"fpr": false.tolist(), "tpr": true.tolist()},
    }


def _thinned(x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """At most ``most`` points of a curve, evenly spaced along it, both ends among them."""
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    keep = np.unique(np.searchsorted(along, np.linspace(0, along[-1], most)))
    keep = keep if len(x) > most else np.arange(len(x))
    return x[keep], y[keep]


def stored_curves_figure(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    prevalence: float,
    roc: Interval,
    precision: Interval,
    point: tuple[float, float] | None = None,
) -> Figure:
    """As ``curves_figure``, from ``curve_points``. ``point`` is the recall and precision of the threshold in use."""
    figure, (left, right) = _pair(
        f"Two curves. ROC, area {_said(roc)}. Precision against recall, average precision {_said(precision)}"
        + (f"; at the threshold in use recall {point[0]:.2f} and precision {point[1]:.2f}." if point else ".")
    )
    stored = curves["roc"]
    _roc_axes(left, np.asarray(stored["fpr"]), np.asarray(stored["tpr"]), f"ROC, area {roc.value:.3f}")
    stored = curves["precision_recall"]
    _precision_recall_axes(
        right,
        np.asarray(stored["recall"]),
        np.asarray(stored["precision"]),
        prevalence,
        f"Precision-recall, average {precision.value:.3f}",
    )
    if point:
        _mark(right, *point)
    return figure


def calibration_figure(result: Scores | Sequence[Mapping[str, float]], *, bins: int = 10) -> Figure:
    """Observed share of violations against the predicted probability, in ``bins`` equally filled bins.

    ``result`` may also be the stored bins of ``metrics.json``: ``predicted``, ``observed`` and ``rows`` of each.
    """
    if isinstance(result, Sequence) and not isinstance(result, tuple):
        predicted, observed = (np.array([bin[key] for bin in result]) for key in ("predicted", "observed"))
    else:
        scored = arrays(result)
        observed, predicted = calibration_curve(scored.y, scored.p, n_bins=bins, strategy="quantile")
    largest = float(np.max(np.abs(observed - predicted), initial=0))
    figure, axes = axes_of(
        4.5,
        4,
        f"Observed share of violations against predicted probability in {len(observed)} groups; perfect is a dotted "
        f"diagonal, the largest distance from it is {largest:.2f}.",
    )
    end = max(1.05 * float(np.max([observed, predicted], initial=0)), 1e-3)
    axes.plot([0, end], [0, end], color=QUIET, linewidth=1, linestyle=":")
    axes.plot(predicted, observed, color=LINE, marker="o", linewidth=1.5)
    axes.set(xlabel="Predicted probability", ylabel="Observed share of violations", xlim=(0, end), ylim=(0, end))
    return figure


def importance_figure(importance: pd.DataFrame | Sequence[Mapping[str, Any]]) -> Figure:
    """Bars of permutation importance with one standard deviation, the most important on top.

    ``importance`` has ``feature``, ``mean``, ``sd`` and ``rank``, or is the list of ``metrics.json`` (``permutation``,
    ``permutation_sd``, ``permutation_rank``). Where there is ``impurity``, it stands beside, with both ranks: a
    feature that ranks high by impurity alone was used much in training and helps little on new events.
    """
    frame = pd.DataFrame(importance).rename(
        columns={"permutation": "mean", "permutation_sd": "sd", "permutation_rank": "rank"}
    )
    rows = frame.sort_values("rank", kind="stable").iloc[::-1]
    both = "impurity" in rows and rows["impurity"].notna().any()
    best = [title(name) for name in rows["feature"].iloc[::-1][:3]]
    height = 0.32 * len(rows) + 0.9
    figure = Figure(figsize=(8.5 if both else 7, height), layout="constrained")
    figure.set_label(f"Bars of permutation importance of {len(rows)} features; the highest are {listed(best)}.")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2)) if both else (figure.subplots(), None)
    places = np.arange(len(rows))
    left.barh(places, rows["mean"], xerr=rows["sd"], color=LINE, ecolor="#777777", height=0.7)
    left.set_yticks(
        places, [f"{title(name)}  {int(rank)}" for name, rank in zip(rows["feature"], rows["rank"], strict=True)]
    )
    left.set_xlabel("Fall in average precision when shuffled")
    left.axvline(0, color=QUIET, linewidth=0.8)
    plain(left)
    if right is not None:
        values = rows["impurity"].to_numpy(dtype=float)
        right.barh(places, values, color=FAINT, height=0.7)
        for place, value, rank in zip(places, values, rows["impurity_rank"], strict=True):
            right.text(value, place, f" {int(rank)}", va="center", fontsize=8)
        right.set_xlabel("Use in training (impurity)")
        right.tick_params(axis="y", length=0)
        plain(right)
    return figure


def _pair(alt: str) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.set_label(alt)
    both: Sequence[Axes] = figure.subplots(1, 2)
    plain(*both)
    return figure, both


def _said(number: Interval) -> str:
    return f"{number.value:.3f} (95 % interval {number.low:.3f} to {number.high:.3f})"


def _single_folds(scored: Scored) -> list[Scored]:
    if scored.fold is None:
        return []
    kept = (scored.fold == k for k in np.unique(scored.fold[scored.fold >= 0]))
    return [Scored(scored.y[rows], scored.p[rows]) for rows in kept]


def _draw_roc(axes: Axes, scored: Scored, name: str) -> None:
    for one in _single_folds(scored):
        axes.plot(*roc_curve(one.y, one.p)[:2], color=FAINT, linewidth=0.8)
    false, true, _ = roc_curve(scored.y, scored.p)
    _roc_axes(axes, false, true, name)


def _roc_axes(axes: Axes, false: Floats, true: Floats, name: str) -> None:
    axes.plot(false, true, color=LINE, linewidth=2)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
    axes.set(xlabel="False positive rate", ylabel="True positive rate", title=name)


def _draw_precision_recall(axes: Axes, scored: Scored, name: str) -> None:
    for one in _single_folds(scored):
        precisions, recalls, _ = precision_recall_curve(one.y, one.p)
        axes.plot(recalls, precisions, color=FAINT, linewidth=0.8)
    precisions, recalls, _ = precision_recall_curve(scored.y, scored.p)
    _precision_recall_axes(axes, recalls, precisions, float(np.mean(scored.y)), name)


def _precision_recall_axes(axes: Axes, recalls: Floats, precisions: Floats, prevalence: float, name: str) -> None:
    axes.plot(recalls, precisions, color=LINE, linewidth=2)
    axes.axhline(prevalence, color=QUIET, linewidth=1, linestyle=":")
    axes.set(xlabel="Recall", ylabel="Precision", ylim=(0, 1.02), title=name)


def _mark(axes: Axes, recall: float, precision: float) -> None:
    axes.plot([recall], [precision], color=ALARM, marker="D", markersize=7, linestyle="none", label="threshold in use")
    axes.legend(frameon=False, loc="best")
