"""Figures of a model's course: as it got more data, over time, and against its challenger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.pages.palette import ALARM, FAINT, LINE, QUIET
from workbench.risk.criteria import Criterion
from workbench.risk.drawing import axes_of, listed
from workbench.risk.monitoring import DriftReport

__all__ = ["drift_figure", "folds_figure", "learning_curve_figure", "promotion_figure"]


def learning_curve_figure(points: Sequence[Mapping[str, float]]) -> Figure:
    """Average precision and ROC area against the number of rows trained on.

    ``points``: ``rows``, ``average_precision`` and ``roc_auc`` of each, as in ``metrics.json``.
    """
    rows = [point["rows"] for point in points]
    last = points[-1]
    figure, axes = axes_of(
        7,
        3.2,
        f"Learning curve from {rows[0]:,} to {rows[-1]:,} rows; at the end average precision is "
        f"{last['average_precision']:.3f} and the ROC area {last['roc_auc']:.3f}.",
    )
    axes.plot(rows, [point["roc_auc"] for point in points], color=QUIET, marker="s", linestyle="--", label="ROC area")
    axes.plot(rows, [point["average_precision"] for point in points], color=LINE, marker="o", label="average precision")
    axes.set(xlabel="Rows trained on", ylabel="Score on later rows", ylim=(0, 1.02))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(frameon=False)
    return figure


def folds_figure(folds: Sequence[Mapping[str, Any]]) -> Figure:
    """Average precision of each forward fold, the earliest first, with the share of violations (chance) below.

    ``folds``: ``average_precision``, ``rows``, ``positives`` of each, and where known ``from``, the day it starts.
    """
    values = [fold["average_precision"] for fold in folds]
    figure, axes = axes_of(
        7,
        3,
        f"Average precision of {len(folds)} folds in the order of time, from {min(values):.3f} to {max(values):.3f}; "
        "the line below is chance.",
    )
    places = np.arange(len(folds))
    axes.bar(places, values, color=LINE, width=0.6, label="average precision")
    chance = [fold["positives"] / max(fold["rows"], 1) for fold in folds]
    axes.plot(places, chance, color="black", linestyle=":", marker="_", markersize=24, label="chance")
    names = [
        f"{str(fold.get('from', number))[:10]}\n{fold['positives']:,} violations"
        for number, fold in enumerate(folds, 1)
    ]
    axes.set_xticks(places, names)
    axes.set(xlabel="Fold, tested from", ylabel="Average precision", ylim=(0, max(1e-3, *values) * 1.25))
    axes.legend(frameon=False, ncols=2)
    return figure


def drift_figure(windows: Sequence[DriftReport]) -> Figure:
    """F1 window by window, up to its one-sided upper bound, against the reference and the line below which it warns.

    Retraining is advised where even the upper bound is below the dotted line. Windows without an F1 are left blank.
    """
    verdicts = [window.verdict for window in windows]
    told = ", ".join(f"{verdicts.count(word)} {word}" for word in _MARKS if word in verdicts)
    reference, share = windows[-1].reference_f1, windows[-1].rules.share
    figure, axes = axes_of(
        8.5, 3.2, f"F1 in {len(windows)} windows against the reference {reference:.3f}, by verdict: {told}."
    )
    for height, name, style, side in (
        (reference, "reference", "-", "bottom"),
        (share * reference, f"{100 * (1 - share):.0f} % below", ":", "top"),
    ):
        axes.axhline(height, color=QUIET, linewidth=1, linestyle=style)
        axes.annotate(name, (1, height), xycoords=("axes fraction", "data"), va=side, ha="right", fontsize=8)
    for place, window in enumerate(windows):
        if window.f1.value is not None and window.f1.upper is not None:
            axes.vlines(place, window.f1.value, window.f1.upper, color=FAINT, linewidth=3)
    for verdict, (marker, colour) in _MARKS.items():
        kept = [k for k, word in enumerate(verdicts) if word == verdict and windows[k].f1.value is not None]
        if kept:
            values = [windows[k].f1.value for k in kept]
            axes.plot(kept, values, color=colour, marker=marker, linestyle="none", label=verdict)  # type: ignore[arg-type]
    axes.set_xticks(range(len(windows)), [str(window.window.get("until", ""))[:10] for window in windows])
    axes.set_xlim(-0.5, len(windows) - 0.2)
    axes.tick_params(axis="x", rotation=30)
    axes.set(xlabel="window, until", ylabel="F1")
    axes.legend(frameon=False, loc="lower left", ncols=4)
    return figure


def promotion_figure(criteria: Sequence[Criterion]) -> Figure:
    """Challenger against champion, criterion by criterion: a difference with its interval, or what was found in words.

    Each difference has a scale of its own. The interval must not reach the shaded side of the dotted bound. What is
    not met is hollow and red, what could not be judged is grey.
    """
    rows = [row for criterion in criteria for row in _rows(criterion)]
    failed = [row.name for row in rows if row.passed is False]
    figure = Figure(figsize=(8.5, 0.85 * len(rows) + 0.3), layout="constrained")
    met = sum(row.passed is True for row in rows)
    figure.set_label(
        f"Challenger against champion by {len(rows)} criteria; {met} met"
        + (f", not met: {listed(failed)}." if failed else ".")
    )
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        _draw(axes, row)
    return figure


_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "OK": ("o", LINE),
    "EXTEND": ("s", QUIET),
    "WARN": ("^", "#8a6d00"),
    "RETRAIN": ("D", ALARM),
}


@dataclass(frozen=True)
class _Row:
    """One line of the promotion figure; ``interval`` is (value, low, high, bound), ``low`` None where one-sided."""

    name: str
    passed: bool | None
    statement: str
    interval: tuple[float, float | None, float, float] | None = None


def _rows(criterion: Criterion) -> list[_Row]:
    numbers = criterion.numbers
    if {"champion", "challenger", "low", "high", "floor"} <= numbers.keys():
        value = numbers["challenger"] - numbers["champion"]
        interval = (value, numbers["low"], numbers["high"], numbers["floor"])
        return [_Row(criterion.name, criterion.passed, criterion.statement, interval)]
    made = []
    for key, name in (("brier", "Brier score"), ("ece", "calibration error")):
        if key in numbers:
            part = numbers[key]
            interval = (part["challenger"] - part["champion"], None, part["high"], part["most"])
            made.append(_Row(name, part["high"] <= part["most"], criterion.statement, interval))
    return made or [_Row(criterion.name, criterion.passed, criterion.statement)]


def _draw(axes: Axes, row: _Row) -> None:
    colour = {True: LINE, False: ALARM, None: QUIET}[row.passed]
    verdict = {True: "met", False: "not met", None: "not judged"}[row.passed]
    axes.set_yticks([0], [f"{row.name}\n{verdict}"])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_ylim(-1, 1)
    if row.interval is None:
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])
        words = "\n".join(wrap(row.statement, 88)[:3])
        axes.text(0, 0, words, va="center", fontsize=8.5, transform=axes.get_yaxis_transform())
        return
    value, low, high, bound = row.interval
    axes.axvline(0, color=QUIET, linewidth=0.8)
    axes.plot([value if low is None else low, high], [0, 0], color=colour, linewidth=2)
    axes.plot(value, 0, marker="o", color=colour, markerfacecolor=colour if row.passed else "white")
    axes.axvline(bound, color="black", linestyle=":", linewidth=1.5)
    axes.margins(x=0.1)
    left, right = axes.get_xlim()
    axes.axvspan(*((bound, right) if low is None else (left, bound)), color=FAINT, alpha=0.35, linewidth=0)
    axes.set_xlim(left, right)
    axes.tick_params(axis="x", labelsize=8)
