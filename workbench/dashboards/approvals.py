"""The approvals page: a queue, one item, and a decision. Widgets only; what they show and do is the desk's."""

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from workbench.custody import Custody
from workbench.dashboards import render
from workbench.dashboards.boxes import box, button, html
from workbench.dashboards.deciding import DecisionForm
from workbench.dashboards.desk import Desk
from workbench.dashboards.items import Item
from workbench.dashboards.request import Request, wait_for_request
from workbench.errors import WorkbenchError
from workbench.events import list_datasets
from workbench.lifecycle.history import waiting
from workbench.workspace import find_workspace

__all__ = ["ApprovalsPage", "approvals"]

_TRY = "Show what it would have done"
_READ = {"report": "Read the report here", "model": "Read the whole model card"}


def approvals() -> widgets.Widget:
    """The page, for whoever the server says has signed in. In a kernel started ahead it waits for them."""
    custody = Custody(find_workspace())
    _warm_up(custody)
    request = wait_for_request()
    if request.person is None:
        return widgets.HTML(
            render.notice_html("this page is opened with `workbench dashboard approvals`, which asks who you are")
        )
    try:
        return ApprovalsPage(custody, request).widget
    except WorkbenchError as error:
        return widgets.HTML(render.notice_html(str(error)))


def _warm_up(custody: Custody) -> None:
    """What the first visitor would otherwise wait for."""
    import websockets.sync.client  # noqa: F401

    if custody.workspace.models.is_dir():
        import workbench.risk.card  # noqa: F401
    for template in ("item", "policy", "model", "report"):
        render.load(template)
    with contextlib.suppress(WorkbenchError):  # told to whoever comes
        waiting(custody)


class ApprovalsPage:
    """The widgets of one visitor.

    What can be told at once is shown at once; the rest follows when the browser has it on its screen and asks for more
    (``more``, which the page's script presses): the queue beside an item, and what ``Item.pending`` names.
    """

    def __init__(self, custody: Custody, request: Request) -> None:
        assert request.person is not None
        self.desk = Desk(custody, request.person)
        self.item: Item | None = None
        self._busy = False
        self._lines: dict[str, widgets.Button] = {}
        self.form = DecisionForm(
            self.desk, guarded=self._guarded, decided=self._show_decision, overtaken=self._show_overtaken
        )
        self.tried, self.progress = html(""), html("", "wb-message")
        self.dataset = widgets.Dropdown(description="Dataset", options=[""])
        self.compute, self.read = button(_TRY, "wb-quiet"), button("", "wb-quiet")
        self.frame = html("")
        self.compute.on_click(self._guarded(self._compute))
        self.read.on_click(self._guarded(self._read))
        self.queue, self.main = box("wb-queue"), box("wb-main")
        self.more = button("Go on", "wb-more")
        top = html(render.top_html(self.desk.person, custody.store.demo), "wb-top")
        self.widget = box("wb-app", top, box("wb-body", self.queue, self.main))
        wanted = request.value("item")
        if wanted:
            self.open(wanted, receipt=request.value("receipt"))
        else:
            self.refresh()

    # The queue

    def refresh(self) -> None:
        """Read everything again."""
        if self.item is None:
            mine, all_ = self._fill_queue()
            self.main.children = (html(render.part("empty", mine, all_)),)
        else:
            self.open(str(self.item.subject))

    def _fill_queue(self) -> tuple[int, int]:
        """Returns how many wait for this person, and how many there are."""
        found = self.desk.queue()
        children: list[widgets.Widget] = []
        self._lines = {}
        for title, mine in (("Waits for you", True), ("Waits for others", False)):
            group = [one for one in found if one.mine is mine]
            if group or mine:
                children.append(html(f'<h2 class="wb-group">{title} <span>{len(group)}</span></h2>'))
            for one in group:
                self._lines[one.subject] = made = button(render.line(one), "wb-line")
                made.on_click(self._opener(one.subject))
                children.append(made)
        again = button("Look again", "wb-quiet")
        again.on_click(self._guarded(self.refresh))
        self.queue.children = (*children, again)
        self._mark()
        return sum(one.mine for one in found), len(found)

    def _mark(self) -> None:
        """Which line of the queue is open."""
        for subject, one in self._lines.items():
            current = self.item is not None and subject == str(self.item.subject)
            (one.add_class if current else one.remove_class)("wb-current")

    def _ask_for_more(self) -> None:
        self.more = button("Go on", "wb-more")
        self.more.on_click(self._guarded(self._go_on))
        lines = self.queue.children[:-1] if self._lines else (html(render.part("working", "Reading the queue")),)
        self.queue.children = (*lines, self.more)

    def _go_on(self) -> None:
        if self.item is not None and self.item.pending:
            self._show(str(self.item.subject), ())
        self._fill_queue()

    def _opener(self, subject: str) -> Callable[[Any], None]:
        return self._guarded(lambda: self.open(subject))

    def _guarded(self, do: Callable[[], None]) -> Callable[[Any], None]:
        """``do`` for a click: one at a time, and an error becomes a sentence on the page."""

        def clicked(_: Any) -> None:
            if self._busy:
                return
            self._busy = True
            try:
                do()
            except WorkbenchError as error:
                self._say(str(error))
            except Exception:
                self._say("this did not work, and it is not your fault; nothing was recorded by it. Reload the page")
                raise
            finally:
                self._busy = False

        return clicked

    def _say(self, text: str) -> None:
        self.form.say(text)
        if self.form.notice not in self.main.children and self.form.widget not in self.main.children:
            self.main.children = (self.form.notice, *self.main.children)

    # One item

    def open(self, subject: str, *, receipt: str | None = None) -> None:
        """Show a subject, and beside it the receipt of a decision on it, by its ledger entry."""
        self._show(subject, self._receipt(subject, receipt), whole=False)
        if self.item is None:
            self._fill_queue()
            return
        self._mark()
        self._ask_for_more()

    def _receipt(self, subject: str, receipt: str | None) -> tuple[widgets.Widget, ...]:
        if receipt is None or not re.fullmatch("[0-9]{1,18}", receipt):
            return ()
        try:
            return (html(render.receipt_html(self.desk.receipt(int(receipt), subject))),)
        except WorkbenchError as error:
            return (html(render.notice_html(str(error))),)

    def _show(self, subject: str, top: tuple[widgets.Widget, ...], *, whole: bool = True) -> None:
        try:
            self.item = item = self.desk.item(subject, whole=whole)
        except WorkbenchError as error:
            self.item = None
            self.main.children = (html(render.notice_html(str(error))),)
            return
        before, after = render.item_html(item)
        self.form.fill(item)
        tools = self._tools(item)
        self.main.children = (*top, html(before), *tools, html(after), self.form.widget)

    def _tools(self, item: Item) -> tuple[widgets.Widget, ...]:
        """What can be asked for: a backtest, or the page of a report or a model."""
        self.frame.value = self.progress.value = ""
        if item.subject.kind != "policy":
            self.read.description = _READ[item.subject.kind]
            return (box("wb-tools", self.read), self.frame)
        named = {digest: sorted(names)[0] for digest, names in list_datasets(self.desk.workspace).items() if names}
        self.tried.value = render.backtest_html(item, named)
        if not (known := self.desk.datasets()):
            return (self.tried,)
        self.dataset.options = [("Choose a dataset", ""), *((one, one) for one in known)]
        self.dataset.value = ""
        return (self.tried, box("wb-tools", self.dataset, self.compute), self.progress)

    def _compute(self) -> None:
        assert self.item is not None
        if not self.dataset.value:
            self.progress.value = render.notice_html("choose a dataset first")
            return
        self.compute.disabled, self.compute.description = True, "Computing …"
        try:
            self.desk.try_on(self.item, self.dataset.value, progress=self._progress)
        except WorkbenchError as error:
            self.progress.value = render.notice_html(str(error))
            return
        finally:
            self.compute.disabled, self.compute.description = False, _TRY
        self.open(str(self.item.subject))

    def _progress(self, message: str) -> None:
        self.progress.value = render.part("working", message[:1].upper() + message[1:])

    def _read(self) -> None:
        assert self.item is not None
        self.frame.value = render.part("working", "Opening it")
        try:
            self.frame.value = render.frame_html(self.desk.page(self.item), self.item)
        except WorkbenchError as error:
            self.frame.value = render.notice_html(str(error))

    # The decision

    def _show_decision(self, receipt: Mapping[str, Any]) -> None:
        self.open(str(receipt["subject"]), receipt=str(receipt["ledger_entry"]))

    def _show_overtaken(self, sentence: str, reason: str) -> None:
        assert self.item is not None
        self.open(str(self.item.subject))
        self.form.reason.value = reason  # what was typed is not lost
        self._say(sentence)
