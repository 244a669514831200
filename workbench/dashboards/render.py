"""The parts of the approvals page as HTML, from the templates beside; every value is escaped."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from jinja2 import Environment
from markupsafe import Markup

from workbench.dashboards.figures import bars_of, days_of, hundred_of, ranges_of
from workbench.dashboards.items import Item, Waiting
from workbench.dashboards.words import (
    CRITERIA,
    TIME_KINDS,
    changed_rows,
    covers,
    day,
    follows,
    sentences,
    title_of,
    unified_lines,
    verdict_of,
)
from workbench.lifecycle import Action, Person, Proposal
from workbench.pages import markdown_html
from workbench.pages.shell import environment

__all__ = [
    "VERBS",
    "backtest_html",
    "frame_html",
    "item_html",
    "line",
    "load",
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
def _environment() -> Environment:
    made = environment("workbench.dashboards")
    made.filters |= {"base64": lambda text: base64.b64encode(text.encode()).decode(), "prose": _prose}
    made.globals |= {"covers": covers, "follows": follows, "sentences": sentences}
    return made


@cache
def load(template: str) -> Any:
    """The macros of a template."""
    return _environment().get_template(f"{template}.html.j2").module


def part(name: str, *given: Any, of: str = "item") -> str:
    """One macro of a template, rendered."""
    return str(getattr(load(of), name)(*given))


def _prose(text: str) -> Markup:
    return Markup(markdown_html(text))  # noqa: S704 - raw HTML in it is escaped there


def notice_html(text: str, kind: str = "bad") -> str:
    """A sentence to be seen: ``bad``, ``good`` or ``warn``."""
    return part("notice", text, kind)


def line(one: Waiting) -> str:
    """A line of the queue, as the text of its button."""
    kind, _, rest = one.subject.partition(":")
    name, _, version = rest.partition("@")
    what = f"{name} · version {version}" if kind == "policy" else f"{kind} · {name if kind == 'report' else ''}"
    note = f"{one.note} · " if one.note else ""
    who = one.submitter.removeprefix("p:")
    return f"{one.title}\n{what.removesuffix(' · ')}\n{note}submitted by {who}, {day(one.since)}"


def item_html(item: Item) -> tuple[str, str]:
    """What stands before the backtest, and what stands after it."""
    kind, shown = item.subject.kind, item.shown
    before = part("heading", item, title_of(item))
    if kind == "policy":
        before += part("about", shown, of="policy")
        against, difference = shown["against"], shown["difference"]
        rows = changed_rows(against["policy"], shown["policy"]) if against else []
        lines = unified_lines(difference["unified"]) if difference else []
        before += part("difference", item, rows, lines, of="policy")
    elif kind == "model":
        before += _model_html(item)
    elif kind == "report":
        before += part("about", shown, verdict_of(shown["report"]), of="report")
    after = part("history", item, item.names, VERBS)
    return before, after if item.pending else part("covered", item) + after


def _model_html(item: Item) -> str:
    shown = item.shown
    card = dict.fromkeys(("plain", "data", "calibration", "threshold", "outside", "limits"))
    card |= {section["name"]: section for section in shown["model"]["card"]}
    measured = ((shown["model"]["test"] or {}).get("metrics")) or {}
    squares = None
    if {"precision", "recall"} <= measured.keys():
        squares = {name: hundred_of(measured[name]) for name in ("precision", "recall")}
    compared = (
        part("working", item.pending) if item.pending else part("compared", shown, CRITERIA, item.subject, of="model")
    )
    return part("about", shown, card, squares, of="model") + compared + part("made", shown, card, of="model")


def backtest_html(item: Item, datasets: Mapping[str, str]) -> str:
    """Drawings and examples of the backtest that the signature will cover; ``datasets``: names by digest."""
    found = None if item.backtest is None else item.backtest.content
    drawn: dict[str, Any] = {}
    if found is not None:
        compared = found["comparison"]
        drawn = {
            "days": days_of(found["by_day"]),
            "top": [
                (name, bars_of(found[f"by_{name}"]["values"]))
                for name in ("user", "action", "source")
                if len(found[f"by_{name}"]["values"]) > 1
            ],
            "ranges": found["labelled"] and ranges_of(found["labelled"], compared["against"] if compared else None),
        }
    return part("backtest", item, found, datasets, drawn, of="policy")


def frame_html(page: str, item: Item) -> str:
    """A page of its own inside this one: no script of it runs, and it can ask nobody for anything."""
    subject = item.subject
    title = "The report" if subject.kind == "report" else "The model card"
    return part("frame", page, title, f"{subject.kind}-{subject.name}-v{subject.version}")


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
