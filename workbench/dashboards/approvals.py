"""The approvals page: a queue, one item, and a decision. Widgets only; what they show and do is the desk's."""

import contextlib
import re
from collections.abc import Callable
from typing import Any, Final

import ipywidgets as widgets

from workbench.custody import Custody
from workbench.dashboards import render
from workbench.dashboards.desk import Desk, Item
from workbench.dashboards.request import Request, wait_for_request
from workbench.errors import OvertakenError, WorkbenchError
from workbench.events import list_datasets
from workbench.lifecycle import Action, Proposal
from workbench.lifecycle.history import waiting
from workbench.workspace import find_workspace

__all__ = ["ApprovalsPage", "approvals"]

_CHOICES: Final = {
    Action.APPROVE: "Approve",
    Action.REJECT: "Reject: send it back to its author",
    Action.WITHDRAW: "Withdraw my approval",
}
_SIGN: Final = {
    Action.APPROVE: "Sign and approve",
    Action.REJECT: "Sign and reject",
    Action.WITHDRAW: "Sign and withdraw",
}


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

    from workbench.dashboards.figures import days_image

    render.notice_html("ready")
    days_image([{"day": "2026-01-01", "hits": 1}])
    with contextlib.suppress(WorkbenchError):  # told to whoever comes
        waiting(custody)


class ApprovalsPage:
    """The widgets of one visitor."""

    def __init__(self, custody: Custody, request: Request) -> None:
        assert request.person is not None
        self.desk = Desk(custody, request.person)
        self.names = self.desk.names()
        self.item: Item | None = None
        self.proposal: Proposal | None = None
        self._busy = False
        self.top = _html(render.top_html(self.desk.person, custody.store.demo), "wb-top")
        self.queue = _box("wb-queue")
        self.main = _box("wb-main")
        self.widget = _box("wb-app", self.top, _box("wb-body", self.queue, self.main))
        self._make_form()
        wanted = request.value("item")
        if wanted:
            self.open(wanted, receipt=request.value("receipt"))
        else:
            self.refresh()

    # The queue

    def _fill_queue(self) -> None:
        found = self.desk.queue()
        self._mine, self._all = sum(one.mine for one in found), len(found)
        children: list[widgets.Widget] = []
        for title, mine in (("Waits for you", True), ("Waits for others", False)):
            group = [one for one in found if one.mine is mine]
            if group or mine:
                children.append(_html(f'<h2 class="wb-group">{title} <span>{len(group)}</span></h2>'))
            for one in group:
                button = widgets.Button(description=render.line(one, self.names), tooltip="")
                button.add_class("wb-line")
                if self.item is not None and one.subject == str(self.item.subject):
                    button.add_class("wb-current")
                button.on_click(self._opener(one.subject))
                children.append(button)
        refresh = widgets.Button(description="Look again", tooltip="Read the queue again")
        refresh.add_class("wb-quiet")
        refresh.on_click(self._guarded(self.refresh))
        self.queue.children = (*children, refresh)

    def refresh(self) -> None:
        """Read everything again."""
        if self.item is None:
            self._fill_queue()
            self._show_nothing()
        else:
            self.open(str(self.item.subject))

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

    def _say(self, text: str, kind: str = "bad") -> None:
        self.notice.value = render.notice_html(text, kind)
        if self.notice not in self.main.children and self.form not in self.main.children:
            self.main.children = (self.notice, *self.main.children)

    def _show_nothing(self) -> None:
        self.item = None
        self.main.children = (_html(render.part("empty", self._mine, self._all)),)

    # One item

    def open(self, subject: str, *, receipt: str | None = None) -> None:
        """Show a subject, and beside it the receipt of a decision on it, by its ledger entry."""
        self.notice.value = ""
        try:
            self.item = self.desk.item(subject)
        except WorkbenchError as error:
            self.item = None
            self._fill_queue()
            self.main.children = (_html(render.notice_html(str(error))),)
            return
        self._fill_queue()
        self._show_item(self._receipt(subject, receipt))

    def _receipt(self, subject: str, receipt: str | None) -> tuple[widgets.Widget, ...]:
        if receipt is None or not re.fullmatch("[0-9]{1,18}", receipt):
            return ()
        try:
            return (_html(render.receipt_html(self.desk.receipt(int(receipt), subject))),)
        except WorkbenchError as error:
            return (_html(render.notice_html(str(error))),)

    def _show_item(self, top: tuple[widgets.Widget, ...]) -> None:
        assert self.item is not None
        before, after = render.item_html(self.item)
        datasets = list_datasets(self.desk.workspace)
        named = {digest: sorted(names)[0] for digest, names in datasets.items() if names}
        self.tried = _html(render.backtest_html(self.item, named))
        tools = []
        if self.item.subject.kind == "policy" and (known := self.desk.datasets()):
            self.dataset.options = [("Choose a dataset", ""), *((one, one) for one in known)]
            self.dataset.value = ""
            tools = [_box("wb-tools", self.dataset, self.compute)]
        self.decision.value = render.part("decision", self.item)
        self.main.children = (*top, _html(before), self.tried, *tools, _html(after), self.form)
        self._fill_form()

    def _compute(self) -> None:
        assert self.item is not None
        if not self.dataset.value:
            self._tell_tool("choose a dataset first")
            return
        self.compute.disabled, self.compute.description = True, "Computing …"
        try:
            self.desk.try_on(self.item, self.dataset.value)
            self.open(str(self.item.subject))
        except WorkbenchError as error:
            self._tell_tool(str(error))
        finally:
            self.compute.disabled, self.compute.description = False, "Show what it would have done"

    def _tell_tool(self, text: str) -> None:
        self.tried.value = render.notice_html(text) + self.tried.value

    # The decision

    def _make_form(self) -> None:
        self.notice = _html("", "wb-message")
        self.decision = _html("")
        self.choice = widgets.RadioButtons(options=[("", None)], description="I decide to")
        self.sentence = _html("")
        self.agreed = widgets.Checkbox(value=False, indent=False, description="")
        self.reason = widgets.Textarea(description="Reason", placeholder="", continuous_update=False, rows=3)
        self.passphrase = widgets.Password(description="Your passphrase", continuous_update=False)
        self.sign = widgets.Button(description="Sign")
        self.dataset = widgets.Dropdown(description="Dataset", options=[""])
        self.compute = widgets.Button(description="Show what it would have done")
        for widget, name in (
            (self.choice, "wb-choice"), (self.agreed, "wb-agree"), (self.reason, "wb-reason"),
            (self.passphrase, "wb-passphrase"), (self.sign, "wb-sign"), (self.compute, "wb-quiet"),
        ):  # fmt: skip
            widget.add_class(name)
        self.choice.observe(lambda _: self._choose(), names="value")
        self.sign.on_click(self._guarded(self._decide))
        self.compute.on_click(self._guarded(self._compute))
        self.form = _box("wb-form")

    def _fill_form(self) -> None:
        assert self.item is not None
        actions = self.item.may
        self.reason.value = self.passphrase.value = ""
        self.agreed.value = False
        if not actions:
            self.form.children = (self.decision, self.notice)
            return
        self.choice.options = [(_CHOICES[action], action.value) for action in actions]
        self.choice.value = None
        self.form.children = (self.decision, self.choice, self.notice)

    def _choose(self) -> None:
        if self.item is None or self.choice.value is None:
            return
        action = Action(self.choice.value)
        try:
            self.proposal = proposal = self.desk.propose(self.item, action)
        except WorkbenchError as error:
            self.form.children = (self.decision, self.choice, self.notice)
            self._say(str(error))
            return
        self.sentence.value = render.sentence_html(proposal)
        self.sign.description = _SIGN[action]
        agree = []
        if proposal.retires is not None:
            old = proposal.retires
            self.agreed.description = f"I agree that version {old.version} of {old.name}, which is in use, is retired"
            agree = [self.agreed]
        self.notice.value = ""
        self.form.children = (
            self.decision, self.choice, self.sentence, *agree, self.reason, self.passphrase, self.notice, self.sign,
        )  # fmt: skip

    def _decide(self) -> None:
        item, proposal, passphrase = self.item, self.proposal, self.passphrase.value
        self.passphrase.value = ""
        if item is None or proposal is None:
            return
        self.sign.disabled = True
        try:
            receipt = self.desk.decide(
                proposal, reason=self.reason.value, passphrase=passphrase, agreed=self.agreed.value
            )
        except OvertakenError as error:
            reason = self.reason.value
            self.open(str(item.subject))
            self.reason.value = reason  # what was typed is not lost
            self._say(str(error))
            return
        finally:
            self.sign.disabled = False
        self.open(str(item.subject), receipt=str(receipt["ledger_entry"]))


def _html(text: str, name: str | None = None) -> widgets.HTML:
    made = widgets.HTML(text)
    if name:
        made.add_class(name)
    return made


def _box(name: str, *children: widgets.Widget) -> widgets.VBox:
    made = widgets.VBox(children)
    made.add_class(name)
    return made
