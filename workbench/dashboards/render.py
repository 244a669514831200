"""The parts of the approvals page as HTML, from the template beside; every value is escaped."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from markupsafe import Markup

from workbench.dashboards.desk import Item, Waiting
from workbench.dashboards.figures import days_image, metrics_image, top_image
from workbench.dashboards.words import TIME_KINDS, changed_rows, day, unified_lines
from workbench.lifecycle import Action, Person, Proposal
from workbench.pages.shell import environment

__all__ = [
    "VERBS",
    "backtest_html",
    "item_html",
    "line",
    "notice_html",
    "part",
    "receipt_html",
    "sentence_html",
    "top_html",
]

VERBS: Final = {
    "submit": "submitted",
    "approve": "approved",
    "reject": "rejected",
    "withdraw": "withdrew the approval",
    "retire": "retired",
}
_DONE: Final = {"approve": "Approved", "reject": "Rejected", "withdraw": "Approval withdrawn"}


@cache
def _module() -> Any:
    return environment("workbench.dashboards").get_template("item.html.j2").module


def part(name: str, *given: Any) -> str:
    """One macro of the template, rendered."""
    return str(getattr(_module(), name)(*given))


def notice_html(text: str, kind: str = "bad") -> str:
    """A sentence to be seen: ``bad``, ``good`` or ``warn``."""
    return part("notice", text, kind)


def line(one: Waiting, names: Mapping[str, str]) -> str:
    """A line of the queue, as the text of its button."""
    _, _, rest = one.subject.partition(":")
    name, _, version = rest.partition("@")
    severity = f"{one.severity} severity · " if one.severity else ""
    who = names.get(one.submitter, one.submitter.removeprefix("p:"))
    return f"{one.title}\n{name} · version {version}\n{severity}submitted by {who}, {day(one.since)}"


def item_html(item: Item) -> tuple[str, str]:
    """What stands before the backtest, and what stands after it."""
    policy = item.shown.get("policy") if item.subject.kind == "policy" else None
    before = part("heading", item, policy)
    if policy is not None:
        rows = changed_rows(item.before, policy) if item.before is not None else []
        difference = item.shown["difference"]
        before += part("difference", item, rows, unified_lines(difference["unified"]) if difference else [])
    return before, part("history", item, item.names, VERBS)


def backtest_html(item: Item, datasets: Mapping[str, str]) -> str:
    """Plots and examples of the backtest that the signature will cover; ``datasets``: names by digest."""
    found = None if item.backtest is None else item.backtest.content
    images: dict[str, Any] = {}
    if found is not None:
        compared = found["comparison"]
        tops = [
            (name, top_image(found[f"by_{name}"]["values"], name))
            for name in ("user", "action", "source")
            if len(found[f"by_{name}"]["values"]) > 1
        ]
        images = {"days": days_image(found["by_day"]), "top": tops, "metrics": None}
        if found["labelled"] is not None:
            images["metrics"] = metrics_image(found["labelled"], compared["against"] if compared else None)
    return part("backtest", item, found, datasets, images)


def sentence_html(proposal: Proposal) -> str:
    return part("sentence", proposal)


def top_html(person: Person, demo: bool) -> str:
    return part("top", person, demo)


def receipt_html(receipt: Mapping[str, Any]) -> str:
    """A receipt with links that save it: ``data:`` addresses, so that nothing is asked for."""
    whole = json.dumps(dict(receipt), indent=1, ensure_ascii=False).encode() + b"\n"
    envelope = base64.b64decode(receipt["envelope_base64"])
    verb = _DONE.get(Action(receipt["action"]).value, receipt["action"])
    kind = TIME_KINDS.get(receipt["time_kind"], receipt["time_kind"])
    return part("receipt", receipt, verb, kind, _uri(whole), _uri(envelope))


def _uri(data: bytes) -> Markup:
    return Markup("data:application/json;base64,") + base64.b64encode(data).decode()
