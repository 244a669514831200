"""The colours of all figures, which differ in grey too, and axes without a box."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ALARM", "FAINT", "LINE", "QUIET", "plain"]

LINE: Final = "#1f5fa8"
FAINT: Final = "#b9c4d0"
ALARM: Final = "#b5472f"
QUIET: Final = "#555555"


def plain(*axes: "Axes") -> None:
    """No box around the plot: only the two axes that are read."""
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
