"""Figures of SHAP values: what moves the scores of all events, and of one. Our own drawing, in the house style."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from workbench.errors import InputError, nearest
from workbench.pages.palette import ALARM, FAINT, LINE, QUIET
from workbench.risk.drawing import axes_of, listed
from workbench.risk.explain import Explanation
from workbench.risk.treeshap import Summary
from workbench.risk.words import title

__all__ = ["beeswarm_figure", "dependence_figure", "explanation_figure", "shap_bar_figure"]

Floats = npt.NDArray[np.float64]


def beeswarm_figure(summary: Summary, *, top: int = 12) -> Figure:
    """One dot an event and feature: to the right it raised the score, dark means a high value of the feature."""
    chosen = summary.order[:top]
    names = [title(summary.features[k]) for k in chosen]
    figure, axes = axes_of(
        8.5,
        0.45 * len(chosen) + 1,
        f"Dots of {len(summary.X):,} events for each of {len(chosen)} features. {listed(names[:3])} move the score "
        "most. Dark dots are events with a high value of the feature; dots to the right raised the score.",
    )
    axes.axvline(0, color=QUIET, linewidth=0.8)
    dots = None
    for place, k in enumerate(chosen[::-1]):
        values = summary.values[:, k]
        dots = axes.scatter(
            values,
            place + _spread(values),
            c=_rank(summary.X[:, k]),
            cmap="Blues",
            vmin=-0.35,
            vmax=1,
            s=7,
            linewidths=0,
            rasterized=True,  # thousands of dots as shapes make a page of megabytes
        )
    axes.set_yticks(np.arange(len(chosen)), names[::-1])
    axes.set_xlabel(_moved(summary.space))
    if dots is not None:
        bar = figure.colorbar(dots, ax=axes, shrink=0.5, aspect=18, boundaries=np.linspace(0, 1, 64))
        bar.set_ticks([0, 1], labels=["low", "high"])
        bar.set_label("value of the feature")
        bar.outline.set_visible(False)
    return figure


def shap_bar_figure(summary: Summary | Mapping[str, Any], *, top: int = 15) -> Figure:
    """How far each feature moves a score on average, up or down; the strongest on top.

    ``summary`` may be what ``Summary.as_metrics`` gave, as ``metrics.json`` keeps it.
    """
    kept = summary.as_metrics() if isinstance(summary, Summary) else summary
    rows = kept["features"][:top]
    names = [title(row["feature"]) for row in rows]
    figure, axes = axes_of(
        7,
        0.32 * len(rows) + 0.9,
        f"Bars of how far each feature moves a score on average; the strongest are {listed(names[:3])}.",
    )
    axes.barh(np.arange(len(rows)), [row["mean_abs"] for row in rows[::-1]], color=LINE, height=0.7)
    axes.set_yticks(np.arange(len(rows)), names[::-1])
    axes.set_xlabel(f"{_moved(kept['space'])}, on average either way")
    return figure


def dependence_figure(summary: Summary, feature: str) -> Figure:
    """How far one feature moved each score, against its value; the line is the median.

    Raises ``InputError`` if the model has no such feature.
    """
    if feature not in summary.features:
        raise InputError(f"the model has no feature {feature!r}{nearest(feature, summary.features)}")
    k = summary.features.index(feature)
    x, moved = summary.X[:, k], summary.values[:, k]
    known = ~np.isnan(x)
    x, moved = x[known], moved[known]
    figure, axes = axes_of(7, 3.2, f"{len(x):,} events: how far {title(feature)} moved the score, against its value.")
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.scatter(x, moved, s=9, color=FAINT, linewidths=0, rasterized=True)
    middles, medians = _medians(x, moved)
    axes.plot(middles, medians, color=LINE, linewidth=2, marker="o", markersize=4)
    if len(x) and x.min() >= 0 and x.max() > 1_000:
        axes.set_xscale("symlog", linthresh=1)
    axes.set(xlabel=f"{title(feature)} ({feature})", ylabel=_moved(summary.space))
    return figure


def explanation_figure(explanation: Explanation, *, top: int = 8) -> Figure:
    """One event: bars to the right raised its risk, hatched ones to the left lowered it, the strongest on top."""
    words, values = zip(*explanation.shares(top), strict=True)
    figure, axes = axes_of(8.5, 0.42 * len(words) + 0.9, f"Bars of what moved the risk. {explanation.words}.")
    places = np.arange(len(words))[::-1]
    for place, value in zip(places, values, strict=True):
        raised = value >= 0
        axes.barh(
            place,
            value,
            height=0.65,
            color=ALARM if raised else "white",
            edgecolor=ALARM if raised else LINE,
            hatch=None if raised else "///",
        )
        axes.annotate(
            f"{value:+.2f}",
            (value, place),
            xytext=(4 if raised else -4, 0),
            textcoords="offset points",
            va="center",
            ha="left" if raised else "right",
            fontsize=9,
        )
    axes.margins(x=0.15)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(places, words)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(
        "lowers the risk  ←  points of risk  →  raises it" if explanation.shares_out else _moved(explanation.space)
    )
    return figure


def _moved(space: str) -> str:
    return "Moves the score by" + (" (log-odds)" if space == "log-odds" else "")


def _rank(x: Floats) -> Floats:
    """Values as their rank between 0 and 1, ties alike: one large value must not make all others pale."""
    unique, place = np.unique(x, return_inverse=True)
    ranked: Floats = place / max(len(unique) - 1, 1)
    return ranked


def _spread(values: Floats, *, bins: int = 80, height: float = 0.38) -> Floats:
    """How far up or down each dot stands, so that dots of about the same value stand beside each other."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    bin = np.zeros(len(values), dtype=int)
    if high > low:
        bin = np.minimum(((values - low) / (high - low) * bins).astype(int), bins - 1)
    order = np.lexsort((np.arange(len(values)), bin))
    counts = np.bincount(bin, minlength=bins)
    position = np.empty(len(values), dtype=int)
    position[order] = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    side = np.where(position % 2 == 0, 1, -1) * ((position + 1) // 2)
    spread: Floats = height * side / max(float(np.abs(side).max(initial=0)), 12.0)
    return spread


def _medians(x: Floats, moved: Floats, *, bins: int = 12) -> tuple[list[float], list[float]]:
    """Medians of ``moved`` at each value of ``x`` or, of many, in equally filled bins."""
    if not len(x):
        return [], []
    values = np.unique(x)
    edges = values if len(values) <= bins else np.unique(np.quantile(x, np.linspace(0, 1, bins + 1))[:-1])
    place = np.searchsorted(edges, x, side="right") - 1
    kept = [k for k in range(len(edges)) if (place == k).any()]
    return [float(np.median(x[place == k])) for k in kept], [float(np.median(moved[place == k])) for k in kept]
