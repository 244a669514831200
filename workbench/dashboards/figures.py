"""Plots of a backtest, as SVG images that need neither script nor network."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from workbench.pages import figure_svg, svg_uri

__all__ = ["days_image", "metrics_image", "top_image"]

_HITS: Final = "#1f6fb2"
_SOFT: Final = "#5d6670"


def days_image(rows: Sequence[Mapping[str, Any]]) -> str:
    """Hits by day, as an image's address."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.3), layout="constrained")
    axes = figure.subplots()
    days = [date.fromisoformat(row["day"]) for row in rows]
    axes.bar(days, [row["hits"] for row in rows], width=0.85, color=_HITS)  # type: ignore[arg-type]
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_ylabel("events a day")
    _plain(axes)
    return svg_uri(figure_svg(figure))


def top_image(values: Sequence[Mapping[str, Any]], name: str) -> str:
    """The values of a column with the most hits, as an image's address."""
    from matplotlib.figure import Figure

    shown = list(values)[:8]
    figure = Figure(figsize=(4, 0.55 + 0.28 * max(1, len(shown))), layout="constrained")
    axes = figure.subplots()
    labels = [_short(str(row["value"])) for row in shown]
    axes.barh(range(len(shown)), [row["hits"] for row in shown], color=_HITS, height=0.7)
    axes.set_yticks(range(len(shown)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(f"events, by {name}")
    _plain(axes)
    return svg_uri(figure_svg(figure))


def metrics_image(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """Precision, recall and F1 with their 95 % intervals; the version in use beside, if there is one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 1.9), layout="constrained")
    axes = figure.subplots()
    names = ("precision", "recall", "f1")
    for shift, found, colour, label in ((-0.14, now, _HITS, "this version"), (0.14, before, "#b5541b", "in use")):
        if found is None:
            continue
        for place, name in enumerate(names):
            one = found[name]
            if one["value"] is None:
                continue
            axes.plot([one["low"], one["high"]], [place + shift] * 2, color=colour, linewidth=2)
            axes.plot(one["value"], place + shift, "o", color=colour, label=label if place == 0 else None)
    axes.set_yticks(range(3), ["precision", "recall", "F1"])
    axes.set_ylim(2.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    if before is not None:
        axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _plain(axes)
    return svg_uri(figure_svg(figure))


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_SOFT)
    axes.tick_params(colors=_SOFT, labelsize=8)
    axes.xaxis.label.set(color=_SOFT, fontsize=8)
    axes.yaxis.label.set(color=_SOFT, fontsize=8)


def _short(text: str) -> str:
    shown = text if len(text) <= 24 else f"{text[:23]}…"
    return shown.replace("$", r"\$")
