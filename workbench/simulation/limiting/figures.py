"""Figures of experiments on limiters: axes with units, names beside their lines, readable in grey."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from workbench.pages.palette import ALARM, FAINT, LINE, QUIET, plain
from workbench.simulation.limiting.admitted import Estimate, Ints

__all__ = ["keys_figure", "panels_figure", "ratios_figure", "rolling_figure", "tradeoff_figure", "worst_figure"]

_MARKS: Final = "osD^v"


def rolling_figure(admitted: Mapping[str, Ints], *, limit: int, period_ns: int) -> Figure:
    """For each limiter, how many requests it let through in the period before each moment, against its limit.

    ``admitted``: by the limiter's name, the times in ns of what it let through, sorted.
    """
    figure = Figure(figsize=(8.5, 0.6 + 1.7 * -(-len(admitted) // 2)), layout="constrained")
    columns = 2 if len(admitted) > 1 else 1
    grid = figure.subplots(-(-len(admitted) // columns), columns, sharex=True, sharey=True, squeeze=False)
    end_ns = max(int(t[-1]) for t in admitted.values() if len(t))
    moments = np.linspace(0, end_ns, 2_000).astype(np.int64)
    places = grid.ravel()
    for axes, (name, t) in zip(places, admitted.items(), strict=False):
        inside = np.searchsorted(t, moments, side="right") - np.searchsorted(t, moments - period_ns, side="right")
        seconds = moments / 1e9
        axes.fill_between(seconds, limit, np.maximum(inside, limit), color=ALARM, alpha=0.35, linewidth=0)
        axes.plot(seconds, inside, color=LINE, linewidth=1.6)
        axes.axhline(limit, color=QUIET, linewidth=1, linestyle=":")
        axes.set_title(f"{name}: at most {inside.max():,}", loc="left", fontsize=10)
        plain(axes)
    for axes in places[len(admitted) :]:
        axes.set_visible(False)
    figure.supxlabel("time, s", fontsize=10)
    figure.supylabel(f"let through in {period_ns / 1e9:g} s", fontsize=10)
    return figure


def worst_figure(rows: Sequence[tuple[str, float, float]], *, attacks: tuple[str, str]) -> Figure:
    """A row a limiter: its name, and what each of two attacks got from it as a multiple of the limit."""
    figure = Figure(figsize=(8.5, 0.5 * len(rows) + 1.0), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    places = np.arange(len(rows))[::-1]
    for place, (_, one, other) in zip(places, rows, strict=True):
        axes.plot([1, max(one, other)], [place, place], color=FAINT, linewidth=3, zorder=1)
    for column, (label, marker, colour) in enumerate(zip(attacks, _MARKS, (ALARM, LINE), strict=False), start=1):
        values = [float(row[column]) for row in rows]
        axes.scatter(
            values, places, marker=marker, s=52 - 16 * (column - 1), color=colour, label=label, zorder=column + 1
        )
    axes.axvline(1, color=QUIET, linewidth=1, linestyle=":")
    axes.set_yticks(places, [row[0] for row in rows])
    axes.set_xlabel("let through in the busiest period, as a multiple of the limit")
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    return figure


def keys_figure(kept: Mapping[str, Sequence[int]], seconds: Sequence[float], *, since: float) -> Figure:
    """How many keys each limiter keeps over time, with the flood's beginning at ``since`` seconds.

    ``kept``: by the limiter's name, the numbers at ``seconds``; names that share a line are drawn as one.
    """
    figure = Figure(figsize=(8.5, 3.2), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    for (name, keys), style in zip(kept.items(), ("-", "--", "-."), strict=False):
        axes.plot(seconds, keys, color=LINE, linestyle=style, linewidth=1.8)
        axes.annotate(
            name,
            (seconds[-1], keys[-1]),
            xytext=(-4, 5),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=9,
        )
    axes.axvline(since, color=ALARM, linewidth=1, linestyle=":")
    axes.annotate(
        "flood begins",
        (since, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -10),
        textcoords="offset points",
        fontsize=9,
        color=ALARM,
    )
    axes.set_ylim(0, None)
    axes.margins(y=0.15)
    axes.set(xlabel="time, s", ylabel="keys kept")
    return figure


def panels_figure(
    rows: Mapping[str, Mapping[str, Estimate]], *, titles: Mapping[str, str], right: Mapping[str, float]
) -> Figure:
    """A panel a measure, a row a limiter, each a mean with its 95 % interval.

    ``rows``: by the limiter's name, its estimates by measure. ``titles``: by measure, the axis with its unit.
    ``right``: by measure, the value that is right or wanted, drawn as a dotted line.
    """
    figure = Figure(figsize=(8.5, 0.42 * len(rows) + 1.0), layout="constrained")
    grid = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
    places = np.arange(len(rows))[::-1]
    for axes, (measure, title) in zip(grid, titles.items(), strict=True):
        plain(axes)
        found = [estimates[measure] for estimates in rows.values()]
        values = [one.value for one in found]
        error = [[one.value - one.low for one in found], [one.high - one.value for one in found]]
        axes.axvline(right[measure], color=QUIET, linewidth=1, linestyle=":")
        axes.errorbar(values, places, xerr=error, fmt="o", color=LINE, markersize=6, capsize=3, linewidth=1.4)
        axes.set_xlabel(title, fontsize=9)
        axes.set_xlim(0, 1.12 * max(right[measure], *(one.high for one in found)))
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_yticks(places, list(rows))
    return figure


def ratios_figure(
    panels: Mapping[str, Mapping[str, Sequence[Estimate]]], at: Sequence[float], *, xlabel: str, ylabel: str
) -> Figure:
    """A panel a case; in it a line a limiter over the values ``at``, with its 95 % interval and its name."""
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    every = [one.value for lines in panels.values() for found in lines.values() for one in found]
    gap = 0.06 * (max(every) - min(every))
    for axes, (title, lines) in zip(grid, panels.items(), strict=True):
        plain(axes)
        axes.axhline(1, color=QUIET, linewidth=1, linestyle=":")
        for found, marker, style in zip(lines.values(), _MARKS, ("-", "--", "-."), strict=False):
            values = [one.value for one in found]
            axes.fill_between(at, [one.low for one in found], [one.high for one in found], color=FAINT, alpha=0.7)
            axes.plot(at, values, color=LINE, marker=marker, linestyle=style, markersize=5, linewidth=1.5)
        ends = {name: found[-1].value for name, found in lines.items()}
        for name, height in _apart(ends, gap).items():
            axes.annotate(name, (at[-1], height), xytext=(7, 0), textcoords="offset points", va="center", fontsize=9)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlim(at[0] - 0.04 * (at[-1] - at[0]), at[-1] + 0.45 * (at[-1] - at[0]))
        axes.set_xticks(at)
        axes.set_xlabel(xlabel)
    grid[0].set_ylabel(ylabel)
    return figure


def tradeoff_figure(points: Mapping[str, tuple[float, Estimate]], *, xlabel: str, ylabel: str) -> Figure:
    """A point a limiter, its name beside it: what it costs (on a scale of powers of ten) against what it gets wrong."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    plain(axes)
    for (name, (cost, wrong)), marker in zip(points.items(), _MARKS, strict=False):
        error = [[wrong.value - wrong.low], [wrong.high - wrong.value]]
        axes.errorbar([cost], [wrong.value], yerr=error, fmt=marker, color=LINE, markersize=7, capsize=3)
        axes.annotate(name, (cost, wrong.value), xytext=(9, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(0.7 * min(cost for cost, _ in points.values()), 2.5 * max(cost for cost, _ in points.values()))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure


def _apart(heights: Mapping[str, float], gap: float) -> dict[str, float]:
    """Where to write the names of lines that end at these heights, none nearer to another than ``gap``."""
    placed: dict[str, float] = {}
    last = float("-inf")
    for name, height in sorted(heights.items(), key=lambda item: item[1]):
        placed[name] = last = max(height, last + gap)
    return placed
