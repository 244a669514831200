"""How the dashboard writes what it was told: times, changes word by word, and names of things."""

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any, Final

from markupsafe import Markup, escape

__all__ = ["TIME_KINDS", "changed_rows", "day", "interval", "moment", "unified_lines"]

TIME_KINDS: Final = {
    "none": "the workbench's own clock; no authority has stamped it yet",
    "local": "the workbench's own clock, stamped by its own authority",
    "external": "stamped by an outside authority",
}
_WORD: Final = re.compile(r"\s+|[\w.@-]+|[^\w\s]")


def moment(text: str) -> str:
    """A time as people read it.

    >>> moment("2026-05-03T09:20:11.512Z")
    '2026-05-03 09:20 UTC'
    """
    return f"{text[:16].replace('T', ' ')} UTC"


def day(text: str) -> str:
    """The day of a time."""
    return text[:10]


def interval(metric: Mapping[str, Any]) -> str:
    """A share with its 95 % interval.

    >>> interval({"value": 0.5, "low": 0.41, "high": 0.6}), interval({"value": None, "low": None, "high": None})
    ('50.0 % (41.0 to 60.0)', 'cannot be told')
    """
    if metric["value"] is None:
        return "cannot be told"
    return f"{100 * metric['value']:.1f} % ({100 * metric['low']:.1f} to {100 * metric['high']:.1f})"


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
