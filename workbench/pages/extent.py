"""How high HTML will stand, judged from its text alone: a page without a script cannot measure what its frames hold."""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import chain
from typing import Final

__all__ = ["Extent"]

_BREAKS: Final = frozenset(
    {"p", "div", "li", "ul", "ol", "pre", "h3", "h4", "br", "caption", "table", "tr", "td", "th"}
)
# Height beside the lines themselves, in rem: margins, and the padding of what has a ground of its own.
_AROUND: Final = {"p": 0.6, "ul": 0.6, "ol": 0.6, "pre": 2.8, "h3": 1.3, "h4": 1.2, "caption": 0.5, "table": 0.6}
_ALLOWANCE: Final = 28  # the body's padding and a bar to scroll sideways
_WORD_WRAP: Final = 1.1  # lines end before the word that does not fit


@dataclass(frozen=True)
class _Medium:
    """The measures of ``base.css`` and ``frame.css`` on screen or on paper, in CSS pixels."""

    width: float
    rem: float
    cell: float  # font size in tables
    gutter: float  # right padding of a cell
    scrolls: bool  # sideways; what does not scroll splits words where they do not fit

    def text_height(self, length: int) -> float:
        return 1.55 * self.rem * _wrapped(length * 0.5 * self.rem, self.width)

    def code_height(self, length: int) -> float:
        """On screen code is scrolled sideways, on paper it wraps."""
        return 1.2 * self.rem * (_wrapped(length * 0.51 * self.rem, self.width) if not self.scrolls else 1)

    def cell_width(self, length: int) -> float:
        return length * 0.52 * self.cell + self.gutter


_SCREEN: Final = _Medium(width=810, rem=17, cell=15, gutter=11.9, scrolls=True)
_PAPER: Final = _Medium(width=710, rem=14, cell=11.4, gutter=4.9, scrolls=False)  # A4; Letter is wider


@dataclass
class _Cell:
    is_data: bool
    columns: int
    lines: list[str] = field(default_factory=lambda: [""])

    @property
    def longest(self) -> int:
        return max(map(_length, self.lines))

    @property
    def longest_word(self) -> int:
        return max((_length(word) for line in self.lines for word in line.split()), default=0)


@dataclass
class _Table:
    rows: list[list[_Cell]] = field(default_factory=list)

    def height(self, medium: _Medium) -> float:
        widths = self._widths(medium)
        return sum(self._row_height(row, widths, medium) for row in self.rows)

    @staticmethod
    def _row_height(row: list[_Cell], widths: dict[int, float], medium: _Medium) -> float:
        lines = 1
        for columns, cell in _placed(row):
            width = max(sum(widths.get(column, 0) for column in columns) - medium.gutter, medium.cell)
            needed = (_wrapped(medium.cell_width(_length(line)) - medium.gutter, width) for line in cell.lines if line)
            lines = max(lines, sum(needed))
        return lines * 1.55 * medium.cell + 0.8 * medium.rem + 1

    def fits(self, medium: _Medium) -> bool:
        """Whether every column has room for its longest word, with some to spare for other fonts."""
        least, _ = self._wishes(medium)
        return sum(least.values()) < 0.85 * medium.width

    def _widths(self, medium: _Medium) -> dict[int, float]:
        """What each column gets: all it wants if there is room, otherwise its longest word and a share of the rest."""
        least, wanted = self._wishes(medium)
        if not medium.scrolls and not self.fits(medium):
            least = dict.fromkeys(least, medium.cell_width(1))
        room, spread = medium.width - sum(least.values()), sum(wanted.values()) - sum(least.values())
        share = min(1.0, max(0.0, room / spread)) if spread > 0 else 1.0
        return {column: least[column] + share * (wanted[column] - least[column]) for column in wanted}

    def _wishes(self, medium: _Medium) -> tuple[dict[int, float], dict[int, float]]:
        """What each column needs for its longest word, and for its longest line."""
        least: dict[int, float] = defaultdict(float)
        wanted: dict[int, float] = defaultdict(float)
        for row in self.rows:
            for columns, cell in _placed(row):
                if len(columns) == 1:
                    column = columns[0]
                    least[column] = max(least[column], medium.cell_width(cell.longest_word))
                    wanted[column] = max(wanted[column], medium.cell_width(cell.longest))
        return least, wanted


def _placed(row: list[_Cell]) -> Iterator[tuple[range, _Cell]]:
    """Cells with their columns, counted from the right: cells of the rows above (``rowspan``) stand at the left."""
    right = 0
    for cell in reversed(row):
        yield range(right, right + cell.columns), cell
        right += cell.columns


def _wrapped(length: float, width: float) -> int:
    return 1 if length <= width else math.ceil(length * _WORD_WRAP / width)


def _length(text: str) -> int:
    """Letters, those of double width counted twice."""
    if text.isascii():
        return len(text)
    return len(text) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


class _Outline(HTMLParser):
    """Lines of text, lines of code and tables, as they stand one under another."""

    def __init__(self) -> None:
        super().__init__()
        self.around = 0.0  # rem
        self.text = [""]
        self.code = [""]
        self.tables: list[_Table] = []
        self._open_tables = 0
        self._open_codes = 0
        self._cell: _Cell | None = None

    @property
    def _lines(self) -> list[str]:
        if self._cell is not None:
            return self._cell.lines
        return self.code if self._open_codes else self.text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._lines[-1] = self._lines[-1] or " "
        self._break(tag)
        self._open_codes += tag == "pre"
        self._open_tables += tag == "table"
        if self._open_tables == 1:  # what stands in a table within a cell is lines of that cell
            self._lay_out(tag, dict(attrs).get("colspan") or "")

    def _lay_out(self, tag: str, columns: str) -> None:
        if tag == "table":
            self.tables.append(_Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in {"td", "th"} and self.tables[-1].rows:
            self._cell = _Cell(tag == "td", min(int(columns[:4]), 100) or 1 if re.fullmatch("[0-9]+", columns) else 1)
            self.tables[-1].rows[-1].append(self._cell)

    def handle_endtag(self, tag: str) -> None:
        self._break(tag)
        if self._cell is None:
            self.around += _AROUND.get(tag, 0)
        elif self._open_tables == 1 and tag in {"td", "th"}:
            self._cell = None
        self._open_codes -= tag == "pre"
        self._open_tables -= tag == "table"

    def _break(self, tag: str) -> None:
        if tag in _BREAKS and self._lines[-1]:
            self._lines.append("")

    def handle_data(self, data: str) -> None:
        if self._open_codes:
            first, *others = data.split("\n")
            self._lines[-1] += first
            self._lines.extend(others)
        else:
            said = re.sub(r"\s+", " ", data)
            self._lines[-1] += said if self._lines[-1].strip() else said.lstrip()

    def height(self, medium: _Medium) -> int:
        content = (
            sum(medium.text_height(_length(line)) for line in self.text if line)
            + sum(medium.code_height(_length(line)) for line in self.code[:-1])
            + sum(table.height(medium) for table in self.tables)
        )
        return math.ceil((content + self.around * medium.rem) * 1.03 + _ALLOWANCE)


@dataclass(frozen=True)
class Extent:
    """How high HTML stands on ``screen`` (52 rem wide) and on ``paper`` (A4), in CSS pixels, and its rows of data.

    ``dense``: on paper there is room for a table only if words are split.
    """

    screen: int
    paper: int
    rows: int
    dense: bool = False

    @classmethod
    def of(cls, html: str) -> "Extent | None":
        """A generous estimate from the text of what ``clean_html`` made; ``None`` if there is nothing to see.

        >>> Extent.of("<p>One line.</p>")
        Extent(screen=66, paper=60, rows=0, dense=False)
        """
        outline = _Outline()
        outline.feed(html)
        outline.close()
        rows = [row for table in outline.tables for row in table.rows]
        if not any(line.strip() for line in chain(outline.text, outline.code, *(c.lines for row in rows for c in row))):
            return None
        data_rows = sum(any(cell.is_data for cell in row) for row in rows)
        dense = not all(table.fits(_PAPER) for table in outline.tables)
        return cls(outline.height(_SCREEN), outline.height(_PAPER), data_rows, dense)
