"""Foreign HTML in a report: only in a sandboxed frame, with a policy and a style sheet of its own, high enough to read."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

import nbformat
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.pages import Frame, render
from workbench.pages.extent import Extent
from workbench.pages.shell import environment
from workbench.pages.styles import FRAME_POLICY, PAGE_POLICY, style
from workbench.reports.html import _output, _titled


def framed(html: str, *, title: str = "Output of cell 1") -> Frame:
    frame = Frame.around(html, title=title)
    assert frame is not None
    return frame


def shown(frame: Frame) -> str:
    """The frame as the page holds it."""
    return str(environment("workbench.pages").get_template("macros.html.j2").module.frame(frame))  # type: ignore[attr-defined]


class Tags(HTMLParser):
    """Every tag of a text, with its attributes as a browser reads them, and the texts of its style sheets."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []
        self._in_style = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.found]


BREAKOUTS = [
    '"></iframe><script>alert(1)</script>',
    "'></iframe><img src=x onerror=alert(1)>",
    "&quot;&gt;&lt;/iframe&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#34; onload=&#34;alert(1)",
    "&amp;quot; onload=&amp;quot;alert(1)",
    '" sandbox="allow-scripts allow-same-origin',
    "</body></html></iframe><base href=//example.org>",
    "</style></title></textarea><!-- --><script>alert(1)</script>",
]


@pytest.mark.parametrize("hostile", BREAKOUTS)
def test_no_content_breaks_out_of_the_frame(hostile: str) -> None:
    frame = framed(f"<b>kept {hostile}</b>", title=hostile)
    outer = Tags(shown(frame))
    assert outer.names == ["div", "iframe"]
    _, attributes = outer.found[1]
    assert set(attributes) == {"sandbox", "title", "height", "data-screen", "data-paper", "srcdoc"}
    assert (attributes["sandbox"], attributes["title"]) == ("", hostile)
    assert attributes["srcdoc"] == frame.document
    assert Tags(frame.document).names == ["html", "head", "meta", "meta", "title", "style", "body", "div", "b"]


@given(st.text(alphabet="<>\"'&;/=# \tabquotlgsrciframe0123456789"))
def test_whatever_the_content_the_page_gains_one_frame_and_nothing_else(content: str) -> None:
    frame = framed("kept" + content, title=content)
    outer = Tags(shown(frame))
    assert outer.names == ["div", "iframe"]
    assert outer.found[1][1]["srcdoc"] == frame.document
    assert not set(Tags(frame.document).names) & {
        "script",
        "iframe",
        "img",
        "a",
        "base",
        "form",
        "svg",
        "object",
        "link",
    }


def test_the_sandbox_allows_nothing() -> None:
    page = shown(framed("<table><tr><td>1</td></tr></table>"))
    assert re.findall(r"sandbox=\S*", page) == ['sandbox=""']
    assert "allow" not in page


def test_what_the_page_treats_as_safe_is_escaped_in_the_attribute_all_the_same() -> None:
    assert "<b>" not in shown(framed("<b>x</b>"))


def test_the_frame_has_a_policy_that_allows_its_own_style_sheet_alone() -> None:
    tags = Tags(framed("<p>x</p>").document)
    policies = [attributes["content"] for _, attributes in tags.found if attributes.get("http-equiv")]
    (sheet,) = tags.styles
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    expected = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert policies == [FRAME_POLICY] == [expected]


def test_the_page_allows_both_style_sheets_because_frames_inherit_its_policy() -> None:
    hashes = [base64.b64encode(hashlib.sha256(style(name).encode()).digest()).decode() for name in ("page", "frame")]
    expected = (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    page = render("workbench.pages", "page.html.j2")
    assert expected == PAGE_POLICY
    assert PAGE_POLICY in [attributes.get("content") for _, attributes in Tags(page).found]
    assert Tags(page).styles == [style("page")]


def test_html_with_nothing_to_see_makes_no_frame() -> None:
    for html in ("", "<script>draw()</script>", "<img src=x>", "<table><tr><td> </td></tr></table>", "<p>\n</p>"):
        assert Frame.around(html, title="x") is None, html


def table(rows: int, *, columns: int = 3, text: str = "1.25") -> str:
    frame = pd.DataFrame({f"column {i}": [text] * rows for i in range(columns)})
    return str(frame.to_html(max_rows=None, max_cols=None))


def test_a_frame_grows_with_rows_lines_and_wrapped_text() -> None:
    ladder = [table(1), table(2), table(10), table(60)]
    assert [Extent.of(html).rows for html in ladder] == [1, 2, 10, 60]  # type: ignore[union-attr]
    for smaller, larger in (
        *pairwise(ladder),
        (table(5), table(5, text="words that wrap " * 40)),
        ("<p>one</p>", "<p>one</p><p>two</p>"),
        ("one", "one<br>two"),
        ("one<br>two", "one<br><br>two"),
        ("<p>short</p>", "<p>" + "long " * 200 + "</p>"),
        ("<p>" + "letters " * 200 + "</p>", "<p>" + "流程挖掘流程挖 " * 200 + "</p>"),
        ("<pre>a</pre>", "<pre>a\nb\nc</pre>"),
        ("<table><tr><td>a</td></tr></table>", "<table><tr><td>a<table><tr><td>b</td></tr></table></td></tr></table>"),
    ):
        low, high = Extent.of(smaller), Extent.of(larger)
        assert low is not None and high is not None
        assert (low.screen < high.screen, low.paper < high.paper) == (True, True), (smaller[:60], larger[:60])


def test_the_height_holds_screen_and_paper_and_ends_at_twenty_pages() -> None:
    small, wide, long = framed(table(5)), framed(table(8, columns=22, text="-1.203259")), framed(table(1500))
    assert small.height == small.extent.screen > small.paper_height
    assert wide.height == wide.paper_height > wide.extent.screen  # paper wraps what a screen scrolls sideways
    assert (small.extent.dense, wide.extent.dense) == (False, True)
    assert long.height == long.paper_height == 20_000


@pytest.mark.parametrize(
    ("html", "screen", "paper"),
    [
        (table(1), "", "1 row."),
        (table(5), "", "5 rows."),
        (table(60), "60 rows; scroll to see all.", "60 rows."),
        (table(1500), "1,500 rows; scroll to see all.", "1,500 rows: paper shows the beginning, the file all."),
        ("<p>x</p>", "", ""),
        ("<p>x</p>" * 40, "Scroll to see all.", ""),
        ("<p>x</p>" * 2000, "Scroll to see all.", "Longer than this: paper shows the beginning, the file all."),
    ],
)
def test_what_does_not_fit_is_said_under_the_frame(html: str, screen: str, paper: str) -> None:
    frame = framed(html)
    assert (frame.note_on_screen, frame.note_on_paper) == (screen, paper)
    page = shown(frame)
    assert (f'<p class="on-screen">{screen}</p>' in page) == bool(screen)
    assert (f'<p class="on-paper">{paper}</p>' in page) == bool(paper)


@pytest.mark.parametrize("span", ["0", "999999999999", "9" * 5000, "-1", "x", "²"])
def test_an_odd_span_is_no_obstacle(span: str) -> None:
    html = f'<table><tr><td colspan="{span}">a</td><td>b</td></tr></table>'
    assert framed(html).extent.rows == 1


def test_frames_of_one_cell_have_titles_of_their_own() -> None:
    one, two = (nbformat.v4.new_output("display_data", {"text/html": f"<b>{name}</b>"}) for name in "ab")
    cell = nbformat.v4.new_code_cell("", outputs=[one])
    assert [title for _, title in _titled(cell, 3)] == ["Output of cell 3"]
    cell.outputs.append(two)
    assert [title for _, title in _titled(cell, 3)] == ["Output 1 of cell 3", "Output 2 of cell 3"]


def test_html_is_framed_and_what_our_own_renderer_makes_is_not() -> None:
    html = nbformat.v4.new_output("display_data", {"text/html": "<b>x</b>", "text/plain": "x"})
    assert _output(html, "t")["kind"] == "frame"
    markdown = nbformat.v4.new_output("display_data", {"text/markdown": "**x** <b>y</b>", "text/html": "<b>x</b>"})
    assert _output(markdown, "t")["html"] == "<p><strong>x</strong> &lt;b&gt;y&lt;/b&gt;</p>\n"
    nothing = nbformat.v4.new_output("display_data", {"text/html": "<script>1</script>", "text/plain": "a chart"})
    assert _output(nothing, "t") == {"kind": "text", "text": "a chart"}
