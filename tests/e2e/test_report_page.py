"""The report in a real browser, from ``file://`` with the network off."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from workbench.experiments import open_run, plan, run
from workbench.reports import publish
from workbench.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.browser]

HOSTILE = """
from IPython.display import HTML, Markdown, SVG, Javascript, display
bait = "http://127.0.0.1:9/bait"
display(HTML(f'''<table><tr><th scope="col">kept</th></tr><tr><td onclick="document.title='owned'">1</td></tr></table>
<script>document.title = "owned"</script><img src="{bait}/img" onerror="document.title='owned'">
<svg onload="document.title='owned'"></svg><iframe srcdoc="<script>parent.document.title='owned'</script>"></iframe>
<object data="{bait}/object"></object><link rel=stylesheet href="{bait}/css"><style>@import url({bait}/import);</style>
<form action="{bait}"><input autofocus onfocus="document.title='owned'"></form><base href="{bait}/">
<meta http-equiv="refresh" content="0;url={bait}/refresh"><a href="javascript:document.title='owned'">click</a>
<link rel=prefetch href="{bait}/prefetch"><audio src="{bait}/audio" autoplay></audio><div style="background:url({bait}/bg)">x</div>'''))
display(Markdown(f"![picture]({bait}/markdown) <script>document.title='owned'</script> [link](javascript:alert(1))"))
display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>document.title="owned"</script></svg>'))
display(Javascript("document.title = 'owned'"))
"""
FIGURE = """
import pandas as pd, workbench as wb
from matplotlib.figure import Figure
figure = Figure(figsize=(12, 3)); figure.subplots().plot([1, 3, 2])
wb.figure("line", figure, alt="A line that rises and falls.", caption="A <b>bold</b> caption.")
wb.table("wide", pd.DataFrame({f"column {i}": [i / 7, i, f"<i>{i}</i>"] for i in range(14)}), caption="Wide.")
wb.record("answer", 42.1234567, low=40, high=44)
wb.record("script", "<script>document.title='owned'</script>")
print("\\x1b[31mred\\x1b[0m")
"""
MATH = "# A heading with $x^2$\n\nInline $t-W$ and\n\n$$\\sum_{i=1}^n \\frac{x_i}{n}$$\n\n<script>document.title='owned'</script>"
CLAIMS = [
    {"id": "high", "sentence": "It is high.", "value": "answer", "expect": ">= 42"},
    {"id": "low", "sentence": "It is low <b>now</b>.", "value": "answer", "expect": "< 1"},
    {"id": "absent", "sentence": "It is absent.", "value": "nothing", "expect": "< 1"},
]


@pytest.fixture
def report(workspace: Workspace, make: Callable[..., Path]) -> Path:
    (one,) = plan(workspace, make(MATH, FIGURE, HOSTILE, "import sys; print('note', file=sys.stderr)", claims=CLAIMS))
    done = run(workspace, one)
    assert done.status == "COMPLETED", done.record
    return publish(workspace, open_run(workspace, done.id))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_request_leaves_and_nothing_complains_or_runs(
    report: Path, open_page: Callable[..., object], dark: bool
) -> None:
    opened = open_page(report, dark=dark)
    opened.page.wait_for_timeout(300)
    assert opened.requests == []
    assert opened.complaints == []
    assert opened.page.title().startswith("A small experiment")
    assert opened.page.locator("script, iframe, object, form, base, [onclick], [onerror]").count() == 0


def test_the_readers_see_claims_first_then_values_figures_and_tables(
    report: Path, open_page: Callable[..., object]
) -> None:
    page = open_page(report).page
    claims = page.locator("#claims tbody tr")
    assert [claims.nth(i).locator("td").first.inner_text() for i in range(3)] == [
        "✓ supported", "✗ not supported", "– not tested",
    ]  # fmt: skip
    assert page.locator("#values tbody tr").first.inner_text().split("\t")[:3] == ["answer", "42.12", "40 to 44"]
    assert page.locator("#values data").first.get_attribute("value") == "42.1234567"
    assert page.locator("figure img").first.evaluate("image => image.naturalWidth") > 100
    assert page.locator("math").count() == 3
    assert "<b>bold</b>" in page.locator("figcaption").first.inner_text()
    assert page.get_by_text("red", exact=True).count() == 1
    code = page.locator("details.code").first
    assert code.get_attribute("open") is None
    code.locator("summary").click()
    assert code.locator("pre").is_visible()


def test_the_page_is_accessible(report: Path, open_page: Callable[..., object]) -> None:
    page = open_page(report).page
    for landmark in ("header", "nav", "main", "footer"):
        assert page.locator(landmark).count() == 1, landmark
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.evaluate("[...document.images].every(image => image.alt.trim().length > 3)")
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.querySelector('th[scope]'))")
    targets = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href'))")
    assert targets and all(page.locator(target).count() == 1 for target in targets)


CONTRAST = """
() => {
  const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const poor = [];
  document.querySelectorAll("details").forEach(details => details.open = true);
  for (const element of document.querySelectorAll("body *")) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    if (element.closest(".skip, math")) continue;
    const [a, b] = [luminance(numbers(getComputedStyle(element).color)), luminance(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName} ${element.className} "${element.textContent.trim().slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return poor;
}
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_has_a_contrast_of_at_least_4_5(report: Path, open_page: Callable[..., object], dark: bool) -> None:
    assert open_page(report, dark=dark).page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [360, 1000])
def test_nothing_hangs_out_of_the_page(report: Path, open_page: Callable[..., object], width: int) -> None:
    page = open_page(report, width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_everything_is_there_but_the_code(report: Path, open_page: Callable[..., object]) -> None:
    page = open_page(report, width=718).page  # A4 without its margins
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator("details.code pre").first.is_hidden()
    assert page.get_by_text("Cell 3", exact=True).is_visible()
    assert page.locator("#claims").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 718


def test_a_run_that_failed_says_so_on_top(
    workspace: Workspace, make: Callable[..., Path], open_page: Callable[..., object]
) -> None:
    (one,) = plan(workspace, make("# The fault", "1 / 0", claims=CLAIMS[:1]))
    opened = open_page(publish(workspace, run(workspace, one)))
    alert = opened.page.get_by_role("alert").inner_text()
    assert "ended FAILED at cell 3 (“The fault”): ZeroDivisionError: division by zero" in alert
    assert opened.page.locator("#claims tbody td").first.inner_text() == "– not tested"
    assert opened.complaints == []


def test_a_dataset_page_opens_the_same_way(
    workspace: Workspace, cli: Callable[..., object], open_page: Callable[..., object]
) -> None:
    cli("events", "generate", "--scale", "10", "--days", "20")
    assert cli("events", "show", "demo", "--html", "page.html").code == 0
    opened = open_page(workspace.root / "page.html")
    assert (opened.requests, opened.complaints) == ([], [])
    assert opened.page.locator("figure img").count() == 3
    assert opened.page.evaluate(CONTRAST) == []
