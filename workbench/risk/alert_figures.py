"""Figures of what alerts are worth: the four counts, scores beside the threshold, and squares for everybody."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from workbench.pages.palette import ALARM, FAINT, LINE
from workbench.risk.drawing import Interval, Scores, arrays, axes_of

__all__ = ["confusion_figure", "histogram_figure", "hundreds_figure"]


def confusion_figure(*, tp: int, fp: int, fn: int, tn: int) -> Figure:
    """The four counts of alerts and violations, named in words; the darker, the larger its share of its row."""
    figure, axes = axes_of(
        5.6,
        3.2,
        f"Of {tp + fn:,} violations {tp:,} raised an alert and {fn:,} did not; of {fp + tn:,} compliant events "
        f"{fp:,} raised an alert and {tn:,} did not.",
    )
    counts = np.array([[tp, fn], [fp, tn]])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [["found", "missed"], ["false alerts", "rightly quiet"]]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    for row in range(2):
        for column in range(2):
            colour = "white" if shares[row, column] > 0.65 else "black"
            text = f"{counts[row, column]:,}\n{names[row][column]}"
            axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks([0, 1], ["alert", "no alert"])
    axes.set_yticks([0, 1], ["violation", "compliant"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def histogram_figure(result: Scores, *, threshold: float, bins: int = 40) -> Figure:
    """How many events have which score, violations in front, on a logarithmic scale; the threshold is a line."""
    scored = arrays(result)
    alerts = int((scored.p >= threshold).sum())
    figure, axes = axes_of(
        7,
        3,
        f"Histogram of {len(scored.p):,} scores; {alerts:,} of them are at or above the threshold {threshold:.3f}.",
    )
    edges = np.linspace(0, max(float(scored.p.max(initial=0)), threshold, 1e-6), bins + 1).tolist()
    axes.hist(scored.p[scored.y != 1], edges, color=FAINT, label="compliant")
    axes.hist(scored.p[scored.y == 1], edges, color=ALARM, histtype="step", hatch="///", label="violation")
    axes.axvline(threshold, color="black", linewidth=1.2, linestyle="--", label=f"threshold {threshold:.3f}")
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="Score", ylabel="Events (log scale)")
    axes.legend(frameon=False)
    return figure


def hundreds_figure(precision: Interval, recall: Interval) -> Figure:
    """What an alert is worth, in squares: of 100 alerts those that are real, of 100 violations those that are found.

    Natural frequencies are understood better than probabilities (Gigerenzer and Hoffrage, Psychological Review 102,
    1995). Squares between the ends of the interval are hatched.
    """
    figure = Figure(figsize=(8.5, 3.4), layout="constrained")
    figure.set_label(
        f"Two fields of a hundred squares. Of 100 alerts {100 * precision.value:.0f} are real, of 100 violations "
        f"{100 * recall.value:.0f} are found."
    )
    for axes, share, name, yes, no in zip(
        figure.subplots(1, 2),
        (precision, recall),
        ("Of 100 alerts", "Of 100 violations"),
        ("are real", "are found"),
        ("are false alarms", "are missed"),
        strict=True,
    ):
        count, low, high = (round(100 * value) for value in (share.value, share.low, share.high))
        for k in range(100):
            unsure = low <= k < high
            axes.add_artist(
                Rectangle(
                    (k % 10, 9 - k // 10),
                    0.86,
                    0.86,
                    facecolor=LINE if k < count else "#e6eaee",
                    edgecolor="white" if k < count else FAINT,
                    hatch="////" if unsure else None,
                    linewidth=0,
                )
            )
        axes.set(xlim=(-0.1, 10), ylim=(-0.1, 10), aspect="equal")
        axes.axis("off")
        axes.set_title(f"{name}, {count} {yes}\n{100 - count} {no}", fontsize=11)
    return figure
