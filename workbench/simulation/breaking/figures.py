"""Figures of experiments on breakers: axes with units, names beside their lines, readable in grey."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from workbench.pages.palette import ALARM, FAINT, LINE, QUIET, plain
from workbench.simulation.limiting.admitted import Estimate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["law_figure", "let_through_figure", "levels_figure", "seconds_figure"]

_MARKS: Final = "osD^v"


def seconds_figure(
    series: Mapping[str, "pd.DataFrame"], *, trouble: tuple[float, float], smooth: int = 1, columns: int = 2
) -> Figure:
    """A panel a policy: attempts sent (dashed) and requests answered well (solid) a second, mean over the seeds.

    ``series``: by the panel's title, ``Simulation.series``. ``trouble``: from when to when, seconds, is shaded.
    ``smooth``: over how many seconds a running mean is taken.
    """
    rows = -(-len(series) // columns)
    figure = Figure(figsize=(8.5, 0.7 + 1.45 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, (axes, (title, seconds)) in enumerate(zip(grid, series.items(), strict=False)):
        means = seconds.groupby("second")[["offered", "sent", "good"]].mean().rolling(smooth, min_periods=1).mean()
        axes.axvspan(*trouble, color=FAINT, alpha=0.6, linewidth=0)
        axes.plot(means.index, means["offered"], color=QUIET, linewidth=1, linestyle=":", label="asked for")
        axes.plot(means.index, means["sent"], color=ALARM, linewidth=1.2, linestyle="--", label="attempts sent")
        axes.plot(means.index, means["good"], color=LINE, linewidth=1.7, label="answered well")
        axes.set_title(title, loc="left", fontsize=10)
        plain(axes)
        if not place:
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    for axes in grid[len(series) :]:
        axes.set_visible(False)
    grid[0].set_ylim(0, None)  # shared by all, so not before the last is drawn
    figure.supxlabel("time, s", fontsize=10)
    figure.supylabel("a second", fontsize=10)
    return figure


def levels_figure(
    rows: Mapping[str, Sequence[Estimate]], *, names: Sequence[str], xlabel: str, logarithmic: bool = False
) -> Figure:
    """A row a case, a mark for each of ``names``, with its 95 % interval."""
    figure = Figure(figsize=(8.5, 0.42 * len(rows) + 1.1), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    places = np.arange(len(rows))[::-1]
    for column, (name, marker, colour) in enumerate(zip(names, _MARKS, (ALARM, LINE, QUIET), strict=False)):
        found = [estimates[column] for estimates in rows.values()]
        values = [one.value for one in found]
        error = [[one.value - one.low for one in found], [one.high - one.value for one in found]]
        axes.errorbar(values, places, xerr=error, fmt=marker, color=colour, capsize=3, markersize=6, label=name)
    axes.set_yticks(places, list(rows))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(xlabel)
    if logarithmic:
        axes.set_xscale("log")
    figure.legend(loc="outside upper right", ncols=len(names), frameon=False, fontsize=9)
    return figure


def law_figure(
    law: Callable[[int, float], float],
    points: Mapping[int, Sequence[tuple[float, Estimate]]],
    *,
    shares: tuple[float, float],
) -> Figure:
    """``law(k, p)`` over ``p`` in ``shares``, a line for each k, and on it the ``points``, (p, found), of that k."""
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    grid = np.geomspace(*shares, 100)
    for (k, found), marker in zip(points.items(), _MARKS, strict=False):
        heights = [law(k, float(p)) for p in grid]
        axes.plot(grid, heights, color=LINE, linewidth=1.3)
        values = [one.value for _, one in found]
        error = [[one.value - one.low for _, one in found], [one.high - one.value for _, one in found]]
        axes.errorbar(
            [p for p, _ in found], values, yerr=error, fmt=marker, color=ALARM, markersize=6, capsize=3, zorder=3
        )
        axes.annotate(
            f"{k} in a row", (grid[0], heights[0]), xytext=(-5, 0), textcoords="offset points", ha="right", va="center"
        )
    axes.set(xscale="log", yscale="log", xlabel="share of calls that fail", ylabel="calls until it opens")
    axes.set_xlim(shares[0] / 1.7, shares[1])
    ticks = (0.05, 0.1, 0.2, 0.3, 0.5)
    axes.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks])
    axes.minorticks_off()
    return figure


def let_through_figure(through: Mapping[str, npt.NDArray[np.int64]], *, seconds: float) -> Figure:
    """For each breaker, how many calls have reached the backend by each moment. ``through``: their times, ns."""
    figure = Figure(figsize=(8.5, 3.2), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    gap = 0.07 * max(len(t) for t in through.values())
    heights: dict[str, float] = {}  # of the names, none nearer to another than the gap
    for name, t in sorted(through.items(), key=lambda item: len(item[1])):
        heights[name] = max(len(t), max(heights.values(), default=-gap) + gap)
    for (name, t), style in zip(through.items(), ("-", "--", "-."), strict=False):
        moments = np.concatenate([[0.0], t / 1e9, [seconds]])
        counts = np.concatenate([np.arange(len(t) + 1), [len(t)]])
        axes.step(moments, counts, where="post", color=LINE, linestyle=style, linewidth=1.7)
        axes.annotate(
            f"{name}: {len(t):,}",
            (seconds, heights[name]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xlim(0, 1.25 * seconds)
    axes.set_xticks(np.linspace(0, seconds, 7))
    axes.set(xlabel="time, s", ylabel="calls that reached the backend")
    return figure
