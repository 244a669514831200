"""What changed from one policy to another: field by field, in plain words, and line by line."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workbench.errors import InputError
from workbench.policies.policy import SEVERITIES, Policy
from workbench.policies.words import conditions

__all__ = ["Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """``changed``: the names of the fields that differ. ``words``: what that means, a sentence each. ``unified``: the
    fields line by line, as ``diff -u`` shows them."""

    changed: tuple[str, ...]
    words: tuple[str, ...]
    unified: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"changed": list(self.changed), "words": list(self.words), "unified": self.unified}


def compare(old: Policy, new: Policy, *, old_name: str = "old", new_name: str = "new") -> Difference:
    """What changed from ``old`` to ``new``.

    >>> old = Policy(name="a", title="A", description="D", severity="low", expression="off_hours", rationale="R")
    >>> new = old.model_copy(update={"severity": "high", "expression": "off_hours AND ip_is_new"})
    >>> for sentence in compare(old, new).words:
    ...     print(sentence)
    The severity goes up from low to high.
    New condition: the IP address is new for this user. It flags the same events or fewer.
    """
    before, after = old.content, new.content
    changed = tuple(name for name in before if before[name] != after[name])
    words = [sentence for name in changed for sentence in _words(name, old, new)]
    lines = difflib.unified_diff(list(_lines(before)), list(_lines(after)), old_name, new_name, lineterm="", n=3)
    return Difference(changed, tuple(words) or ("Nothing changed.",), "\n".join(lines))


def _lines(content: dict[str, Any]) -> Iterator[str]:
    for name, value in content.items():
        if isinstance(value, list):
            yield f"{name}: {', '.join(value) or '(none)'}"
        elif "\n" in value:
            yield f"{name}:"
            yield from (f"  {line}" for line in value.split("\n"))
        else:
            yield f"{name}: {value}"


def _words(name: str, old: Policy, new: Policy) -> Iterator[str]:
    if name == "severity":
        way = "up" if SEVERITIES.index(new.severity) > SEVERITIES.index(old.severity) else "down"
        yield f"The severity goes {way} from {old.severity} to {new.severity}."
    elif name == "controls":
        before, after = set(old.controls), set(new.controls)
        if added := sorted(after - before):
            yield f"It now also implements {', '.join(added)}."
        if gone := sorted(before - after):
            yield f"It no longer implements {', '.join(gone)}."
    elif name == "expression":
        yield from _expression(old, new)
    elif name == "name":
        yield f"The name changes from {old.name} to {new.name}: these are two policies."
    else:
        yield f"The {name} is worded anew."


def _expression(old: Policy, new: Policy) -> Iterator[str]:
    try:
        before, after = conditions(old.parsed), conditions(new.parsed)
    except InputError:
        yield "The expression changes; one of the two cannot be used."
        return
    gone = [one for one in before if one not in after]
    added = [one for one in after if one not in before]
    if not gone and not added:
        yield "The expression is written differently; in plain words it reads the same."
        return
    effect = ""
    if not gone:
        effect = " It flags the same events or fewer."
    elif not added:
        effect = " It flags the same events or more."
    told = [f"Dropped condition: {one}." for one in gone] + [f"New condition: {one}." for one in added]
    yield from told[:-1]
    yield told[-1] + effect
