"""The report in a real browser, from ``file://`` with the network off."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest
from markupsafe import Markup
from playwright.sync_api import Browser, Frame, Page

from workbench.experiments import open_run, plan, run
from workbench.reports import publish
from workbench.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OWN = "document.title='owned'"


@dataclass
class Bait:
    """A server that nothing may reach. The browser's own events leave out requests of isolated frames; this does not."""

    url: str
    connections: list[object] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)


@pytest.fixture
def bait() -> Iterator[Bait]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            laid.paths.add(self.path.removeprefix("/bait/"))
            self.send_error(404)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def verify_request(self, request: object, client_address: object) -> bool:
            laid.connections.append(client_address)
            return True

        def handle_error(self, *_: object) -> None:
            """A browser may hang up when it likes."""

    with Server(("127.0.0.1", 0), Handler) as server:
        laid = Bait(f"http://127.0.0.1:{server.server_port}/bait")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield laid
        server.shutdown()
        thread.join()


def vectors(bait: str) -> list[str]:
    return [
        f'<table><tr><th scope="col">kept</th></tr><tr><td onclick="{OWN}">1</td></tr></table>',
        f"<script>{OWN}</script>",
        f'<script src="{bait}/script"></script>',
        f'<img src="{bait}/img" onerror="{OWN}">',
        f'<svg onload="{OWN}"></svg>',
        f"""<iframe srcdoc="<script>parent.{OWN}</script>"></iframe>""",
        f'<iframe src="{bait}/frame"></iframe>',
        f'<object data="{bait}/object"></object>',
        f'<embed src="{bait}/embed">',
        f'<link rel=stylesheet href="{bait}/css">',
        f"<style>@import url({bait}/import);</style>",
        f'<form action="{bait}/form"><input autofocus onfocus="{OWN}"><button>send</button></form>',
        f'<base href="{bait}/">',
        f'<meta http-equiv="refresh" content="0;url={bait}/refresh">',
        f'<a href="javascript:{OWN}">click</a>',
        f'<a href="{bait}/link" target="_top" ping="{bait}/ping">away</a>',
        f'<link rel=prefetch href="{bait}/prefetch">',
        f'<audio src="{bait}/audio" autoplay></audio><video poster="{bait}/poster"></video>',
        f'<div style="background:url({bait}/bg);position:fixed;inset:0">x</div>',
        f"<details open ontoggle={OWN}><summary>more</summary></details>",
        f"""\"'></iframe></body></html><script>top.{OWN}</script>""",
        f"<noscript><p title='</noscript><img src=x onerror={OWN}>'></noscript>",
    ]


LOADED = {"script", "img", "frame", "object", "embed", "css", "import", "prefetch", "audio", "poster", "bg"}


def hostile(bait: str) -> str:
    return f"""
from IPython.display import HTML, Markdown, SVG, Javascript, display
for vector in {vectors(bait)!r}:
    display(HTML("<p>seen</p>" + vector))
display(Markdown("![picture]({bait}/markdown) <script>document.title='owned'</script> [link](javascript:alert(1))"))
display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>document.title="owned"</script></svg>'))
display(Javascript("document.title = 'owned'"))
"""


PANDAS = """
import pandas as pd
display(pd.DataFrame({"user": ["alice", "bob"], "events": [120, 44]}))
pd.DataFrame({"row": range(60)})
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
def report(workspace: Workspace, make: Callable[..., Path], bait: Bait) -> Path:
    (one,) = plan(
        workspace,
        make(MATH, FIGURE, hostile(bait.url), "import sys; print('note', file=sys.stderr)", PANDAS, claims=CLAIMS),
    )
    done = run(workspace, one)
    assert done.status == "COMPLETED", done.record
    return publish(workspace, open_run(workspace, done.id))


@contextmanager
def online(browser: Browser, path: Path) -> Iterator[Page]:
    """A page whose requests would arrive."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(path.resolve().as_uri())
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(700)
        yield page


def test_the_bait_is_taken_where_nothing_guards(tmp_path: Path, browser: Browser, bait: Bait) -> None:
    for number, vector in enumerate(vectors(bait.url)):
        path = tmp_path / f"{number}.html"
        path.write_text(f"<!DOCTYPE html><title>unguarded</title>{vector}")
        with browser.new_context() as context:
            context.new_page().goto(path.as_uri(), wait_until="commit")
            context.pages[0].wait_for_timeout(500)
    assert bait.paths >= LOADED | {"refresh"}


def test_nothing_connects_anywhere(report: Path, browser: Browser, bait: Bait) -> None:
    with online(browser, report) as page:
        assert page.url == report.resolve().as_uri()
    assert (bait.connections, bait.paths) == ([], set())


def becomes_true(page: Page, frame: Frame, condition: str) -> None:
    """``wait_for_function`` cannot: where no script may run, its timer does not either."""
    for _ in range(600):
        if frame.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true in {frame.title()}: {condition}")


ACTIVE = "object, form, base, link[href^=http], [onclick], [onerror], [onload], [onfocus], [ontoggle], [style]"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_request_leaves_and_nothing_complains_or_runs(
    report: Path, open_page: Callable[..., object], bait: Bait, dark: bool
) -> None:
    opened = open_page(report, dark=dark)
    opened.page.wait_for_timeout(300)
    assert opened.requests == []
    assert opened.complaints == []
    assert opened.page.title().startswith("A small experiment")
    assert opened.page.locator(f"script, iframe:not([sandbox='']), {ACTIVE}").count() == 0
    frames = opened.page.frames[1:]
    assert len(frames) == len(vectors(bait.url)) + 2
    for vector, frame in zip(vectors(bait.url), frames, strict=False):
        assert frame.url == "about:srcdoc", vector
        assert frame.evaluate("origin") == "null", vector
        assert frame.get_by_text("seen", exact=True).is_visible(), vector
        assert frame.locator(f"script, iframe, img, svg, a, embed, audio, video, {ACTIVE}").count() == 0, vector
        assert frame.title().startswith("Output "), vector


def test_frame_and_policy_hold_even_if_nothing_is_cleaned(
    workspace: Workspace, make: Callable[..., Path], browser: Browser, bait: Bait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request arrives and no script runs. A frame in the frame may still connect, and then ask for nothing."""
    (one,) = plan(workspace, make(hostile(bait.url)))
    done = run(workspace, one)
    monkeypatch.setattr("workbench.pages.frames.clean_html", Markup)
    path = publish(workspace, open_run(workspace, done.id))
    assert f"{bait.url}/img" in path.read_text()
    with online(browser, path) as page:
        assert page.url == path.resolve().as_uri()
        assert page.title().startswith("A small experiment")
        titles = [frame.title() for frame in page.main_frame.child_frames]
        assert len(titles) == len(vectors(bait.url)) and "owned" not in titles
    assert bait.paths == set()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000])
def test_a_table_of_pandas_is_read_in_its_frame(
    report: Path, open_page: Callable[..., object], dark: bool, width: int
) -> None:
    page = open_page(report, dark=dark, width=width).page
    small, long = page.frames[-2:]
    assert small.locator("thead").inner_text().split() == ["user", "events"]
    cell = small.get_by_role("cell", name="alice")
    page.locator("iframe").nth(-2).scroll_into_view_if_needed()
    assert cell.is_visible()
    assert small.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert small.evaluate("getComputedStyle(document.documentElement).backgroundColor") == page.evaluate(
        "getComputedStyle(document.documentElement).backgroundColor"
    )
    assert [small.evaluate(CONTRAST), long.evaluate(CONTRAST)] == [[], []]
    assert page.get_by_text("60 rows; scroll to see all.").is_visible()
    box = long.frame_element().bounding_box()
    assert box is not None and box["height"] == 600


def test_a_frame_is_named_and_scrolled_with_the_keyboard(report: Path, open_page: Callable[..., object]) -> None:
    page = open_page(report).page
    titles = page.evaluate("[...document.querySelectorAll('iframe')].map(frame => frame.title)")
    assert len(set(titles)) == len(titles) and all(
        re.fullmatch(r"Output (\d+ )?of cell \d+", title) for title in titles
    )
    long = page.frames[-1]
    assert long.get_by_role("region", name=titles[-1]).count() == 1
    page.locator("details.code summary").last.focus()
    for frame in page.frames[-2:]:
        page.keyboard.press("Tab")
        becomes_true(page, frame, "document.activeElement.getAttribute('role') === 'region'")
    page.locator("iframe").last.scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # an isolated frame that just came into view is not yet drawn
    page.keyboard.press("PageDown")
    becomes_true(page, long, "scrollY > 300")


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
    assert page.get_by_text("60 rows.", exact=True).is_visible()
    assert page.get_by_text("scroll to see all").is_hidden()
    for frame in page.frames[1:]:
        becomes_true(page, frame, "document.documentElement.scrollHeight <= innerHeight")


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
