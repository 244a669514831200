"""How the dashboard writes what it was told: times, changes word by word, and names of things."""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from markupsafe import Markup, escape

from workbench.dashboards.items import Item
from workbench.pages import number

__all__ = [
    "CRITERIA",
    "TIME_KINDS",
    "changed_rows",
    "covers",
    "day",
    "follows",
    "sentences",
    "title_of",
    "unified_lines",
    "verdict_of",
]

TIME_KINDS: Final = {
    "none": "the workbench's own clock; no authority has stamped it yet",
    "local": "the workbench's own clock, stamped by its own authority",
    "external": "stamped by an outside authority",
}
# The criteria of a comparison of two models, as questions.
CRITERIA: Final = {
    "ranking": "Does it put violations higher up the list?",
    "alerts": "With as many alerts, does it find as many violations?",
    "calibration": "Can its stated risks be believed as much?",
    "parity": "Does it compute the same here as where it was made?",
    "cost": "Is it small and fast enough?",
    "unseen users": "Does it do for people whom it never saw?",
}
_WORD: Final = re.compile(r"\s+|[\w.@-]+|[^\w\s]")


def day(text: str) -> str:
    """The day of a time."""
    return text[:10]


def sentences(content: Sequence[Mapping[str, Any]]) -> list[str]:
    """The sentences of a section of a model card.

    >>> sentences([{"text": "Of 100 alerts about 3.5 are real. It may err (`workbench validate`)."}])
    ['Of 100 alerts about 3.5 are real.', 'It may err (workbench validate).']
    """
    text = " ".join(block["text"] for block in content if "text" in block)
    return re.split(r"(?<=[.!?]) (?=[A-Z])", text.replace("`", ""))


def title_of(item: Item) -> str:
    """What an item is called at the top of its page."""
    if item.subject.kind == "policy":
        return str(item.shown["policy"]["title"])
    if item.subject.kind == "model":
        return f"Risk model, version {item.subject.version}"
    run = item.shown.get("report", {}).get("run")
    return str(run["title"]) if run else str(item.subject)


def verdict_of(report: Mapping[str, Any]) -> str:
    """How many of a report's claims came out, in a sentence.

    >>> verdict_of({"run": {"status": "COMPLETED"}, "claims": [{"outcome": "supported"}, {"outcome": "not supported"}]})
    '1 of 2 claims is supported.'
    """
    run, claims = report["run"], report["claims"]
    if run is None or not claims:
        return ""
    if run["status"] != "COMPLETED":
        return "The run did not come to its end, so its claims could not be tested."
    held, total = sum(claim["outcome"] == "supported" for claim in claims), len(claims)
    if held in (0, total):
        return (
            f"{'None' if not held else 'Each'} of its {number(total)} claims is supported."
            if total > 1
            else (f"Its one claim is {claims[0]['outcome']}.")
        )
    return f"{held} of {number(total)} claims {'is' if held == 1 else 'are'} supported."


def covers(item: Item) -> list[tuple[str, str]]:
    """Names and digests of what a signature covers besides the subject itself."""
    shown = item.shown
    found: list[tuple[str, str | None]] = []
    if item.subject.kind == "policy":
        against, tried = shown["against"], shown["backtest"]
        found = [("The version in use", against and against["sha256"]), ("The backtest", tried and tried["sha256"])]
    elif item.subject.kind == "model":
        model, champion, compared = shown["model"], shown["champion"], shown["comparison"]
        found = [
            ("The list of its files", model["manifest_sha256"]),
            ("Its card", model["card_sha256"]),
            ("Its features", model["spec_sha256"]),
            ("The events it learnt from", model["dataset_sha256"]),
            ("Their labels", model["labels_sha256"]),
            ("The model in use", champion and champion["sha256"]),
            ("The comparison", compared and compared["sha256"]),
        ]
    elif item.subject.kind == "report":
        report = shown["report"]
        found = [
            ("The page to read", report["page_sha256"]),
            ("What the run left", report["run"] and report["run"]["outputs_sha256"]),
        ]
    return [(name, digest) for name, digest in found if digest]


def follows(item: Item) -> list[str]:
    """What an approval sets in motion besides the state, a sentence each; nothing while more approvals are awaited."""
    if item.required - len(item.approvers) > 1:
        return [f"{item.required - len(item.approvers)} approvals are still needed; yours would be one of them."]
    if item.subject.kind == "model":
        champion = item.shown["champion"]
        instead = "" if champion is None else f", instead of version {champion['version']}"
        return [f"An approval puts this model in use at once{instead}: scores come from it from then on."]
    if item.subject.kind == "report":
        return [
            "A decision is signed for the report's bundle as well, with the same key: whoever verifies it finds it."
        ]
    return []


def changed_rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Markup, Markup]]:
    """Of each field that differs: its name, the old text and the new, with what went and what came marked.

    >>> changed_rows({"severity": "low", "name": "a"}, {"severity": "high", "name": "a"})
    [('severity', Markup('<del>low</del>'), Markup('<ins>high</ins>'))]
    """
    names = [*before, *(name for name in after if name not in before)]
    return [
        (name, *_marked(_text(before.get(name)), _text(after.get(name))))
        for name in names
        if before.get(name) != after.get(name)
    ]


def unified_lines(unified: str) -> list[tuple[str, str]]:
    """The lines of a unified difference, each with what it is: ``add``, ``drop``, ``place`` or ``same``."""
    kinds = {"+": "add", "-": "drop", "@": "place"}
    return [(kinds.get(line[:1], "same"), line) for line in unified.splitlines()]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "" if value is None else str(value)


def _marked(old: str, new: str) -> tuple[Markup, Markup]:
    before, after = _WORD.findall(old), _WORD.findall(new)
    left, right = Markup(), Markup()
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        gone, came = escape("".join(before[a:b])), escape("".join(after[c:d]))
        left += gone if kind == "equal" else Markup("<del>{}</del>").format(gone) if gone else ""
        right += came if kind == "equal" else Markup("<ins>{}</ins>").format(came) if came else ""
    return left, right
