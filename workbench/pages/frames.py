"""Foreign HTML kept apart: a document of its own, for a sandboxed frame in which nothing may act."""

from dataclasses import dataclass
from typing import Final

from workbench.pages.content import clean_html
from workbench.pages.extent import Extent
from workbench.pages.shell import environment
from workbench.pages.styles import FRAME_POLICY, style

__all__ = ["Frame"]

_SCREEN_LIMIT: Final = 600  # CSS pixels, as `.foreign iframe` in page.css
_PAPER_LIMIT: Final = 20_000  # CSS pixels, some 20 pages


@dataclass(frozen=True)
class Frame:
    """What ``make.frame`` of ``macros.html.j2`` shows: a whole document, and how much of it there is to see.

    On screen the style sheet holds every frame to 600 pixels and the reader scrolls in it; on paper it has its height.
    """

    title: str
    document: str
    extent: Extent

    @classmethod
    def around(cls, html: str, *, title: str) -> "Frame | None":
        """``html`` of others, reduced by ``clean_html``, as a frame; ``None`` if nothing of it can be seen."""
        content = clean_html(html)
        extent = Extent.of(content)
        if extent is None:
            return None
        document = environment("workbench.pages").get_template("frame.html.j2")
        written = document.render(
            title=title, content=content, dense=extent.dense, style=style("frame"), policy=FRAME_POLICY
        )
        return cls(title, written, extent)

    @property
    def height(self) -> int:
        """CSS pixels that hold the content on screen, and on paper too; up to some 20 pages."""
        return min(max(self.extent.screen, self.extent.paper), _PAPER_LIMIT)

    @property
    def paper_height(self) -> int:
        """CSS pixels that hold the content on paper alone, up to some 20 pages."""
        return min(self.extent.paper, _PAPER_LIMIT)

    @property
    def note_on_screen(self) -> str:
        """What the reader is told under a frame that does not show all at once."""
        if self.extent.screen <= _SCREEN_LIMIT:
            return ""
        return f"{self._rows}; scroll to see all." if self.extent.rows else "Scroll to see all."

    @property
    def note_on_paper(self) -> str:
        """How many rows there are, so that none is missed, and whether they are more than paper shows."""
        if self.extent.paper <= _PAPER_LIMIT:
            return f"{self._rows}." if self.extent.rows else ""
        return f"{self._rows or 'Longer than this'}: paper shows the beginning, the file all."

    @property
    def _rows(self) -> str:
        rows = self.extent.rows
        return "" if not rows else "1 row" if rows == 1 else f"{rows:,} rows"
