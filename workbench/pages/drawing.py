"""Figures as SVG, the same bytes every time."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_svg"]


def figure_svg(figure: "Figure") -> str:
    """A matplotlib figure as SVG text: no date, no random ids, letters as shapes so that no font is needed."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "workbench", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
