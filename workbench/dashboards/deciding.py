"""The form of a decision: what one may do, the sentence that would be signed, the reason, the passphrase."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import ipywidgets as widgets

from workbench.dashboards import render
from workbench.dashboards.boxes import box, html
from workbench.dashboards.desk import Desk
from workbench.dashboards.items import Item
from workbench.errors import OvertakenError, WorkbenchError
from workbench.lifecycle import Action, Proposal

__all__ = ["DecisionForm"]

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


class DecisionForm:
    """The widgets of one decision. ``guarded`` wraps what a click does; ``decided`` is told of a receipt, ``overtaken``
    of a decision that somebody else made first."""

    def __init__(
        self,
        desk: Desk,
        *,
        guarded: Callable[[Callable[[], None]], Callable[[Any], None]],
        decided: Callable[[Mapping[str, Any]], None],
        overtaken: Callable[[str, str], None],
    ) -> None:
        self.desk = desk
        self.item: Item | None = None
        self.proposal: Proposal | None = None
        self._decided, self._overtaken = decided, overtaken
        self.notice = html("", "wb-message")
        self.head = html("")
        self.sentence = html("")
        self.choice = widgets.RadioButtons(options=[("", None)], description="I decide to")
        self.agreed = widgets.Checkbox(value=False, indent=False, description="")
        self.reason = widgets.Textarea(description="Reason", placeholder="", continuous_update=False, rows=3)
        self.passphrase = widgets.Password(description="Your passphrase", continuous_update=False)
        self.sign = widgets.Button(description="Sign")
        for widget, name in (
            (self.choice, "wb-choice"), (self.agreed, "wb-agree"), (self.reason, "wb-reason"),
            (self.passphrase, "wb-passphrase"), (self.sign, "wb-sign"),
        ):  # fmt: skip
            widget.add_class(name)
        self.choice.observe(lambda _: self._choose(), names="value")
        self.sign.on_click(guarded(self._decide))
        self.widget = box("wb-form")

    def say(self, text: str, kind: str = "bad") -> None:
        """A sentence above the button."""
        self.notice.value = render.notice_html(text, kind)

    def fill(self, item: Item) -> None:
        """Begin anew, for ``item``."""
        self.item, self.proposal = item, None
        self.notice.value = self.reason.value = self.passphrase.value = ""
        self.agreed.value = False
        self.head.value = render.part("decision", item)
        if not item.may:
            self.widget.children = (self.head, self.notice)
            return
        self.choice.options = [(_CHOICES[action], action.value) for action in item.may]
        self.choice.value = None
        self.widget.children = (self.head, self.choice, self.notice)

    def _choose(self) -> None:
        if self.item is None or self.choice.value is None:
            return
        action = Action(self.choice.value)
        try:
            self.proposal = proposal = self.desk.propose(self.item, action)
        except WorkbenchError as error:
            self.proposal = None
            self.widget.children = (self.head, self.choice, self.notice)
            self.say(str(error))
            return
        self.sentence.value = render.sentence_html(proposal)
        self.sign.description = _SIGN[action]
        agree = []
        if (old := proposal.retires) is not None:
            self.agreed.description = f"I agree that version {old.version} of {old.name}, which is in use, is retired"
            agree = [self.agreed]
        self.notice.value = ""
        self.widget.children = (
            self.head, self.choice, self.sentence, *agree, self.reason, self.passphrase, self.notice, self.sign,
        )  # fmt: skip

    def _decide(self) -> None:
        proposal, passphrase = self.proposal, self.passphrase.value
        self.passphrase.value = ""
        if proposal is None:
            return
        self.sign.disabled = True
        try:
            receipt = self.desk.decide(
                proposal, reason=self.reason.value, passphrase=passphrase, agreed=self.agreed.value
            )
        except OvertakenError as error:
            self._overtaken(str(error), self.reason.value)
            return
        finally:
            self.sign.disabled = False
        self._decided(receipt)
