"""The numbers behind the drawings of the page. The drawings are markup (``figures.html.j2``): they follow the page's
colours and size, need neither script nor network, and their texts are texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Bar", "Days", "Range", "bars_of", "days_of", "hundred_of", "ranges_of"]

_MOST_BARS: Final = 180
_MOST_VALUES: Final = 8


@dataclass(frozen=True)
class Bar:
    """``share`` of the largest, 0 to 1."""

    label: str
    count: int
    share: float


@dataclass(frozen=True)
class Days:
    """Bars in the order of time, each of ``span`` days; ``most`` is the largest count."""

    bars: tuple[Bar, ...]
    span: int
    most: int


@dataclass(frozen=True)
class Range:
    """A share with its 95 % interval, each in percent; ``older`` is that of the version in use."""

    name: str
    value: float
    low: float
    high: float
    older: bool


def days_of(rows: Sequence[Mapping[str, Any]]) -> Days:
    """Hits by day; where there are very many days, several make one bar.

    >>> days_of([{"day": "2026-01-01", "hits": 1}, {"day": "2026-01-02", "hits": 4}]).bars[0]
    Bar(label='2026-01-01', count=1, share=0.25)
    """
    span = -(-len(rows) // _MOST_BARS) or 1
    parts = [rows[start : start + span] for start in range(0, len(rows), span)]
    counts = [sum(row["hits"] for row in part) for part in parts]
    most = max(counts, default=0)
    bars = tuple(
        Bar(str(part[0]["day"]), count, count / most if most else 0.0)
        for part, count in zip(parts, counts, strict=True)
    )
    return Days(bars, span, most)


def bars_of(values: Sequence[Mapping[str, Any]]) -> tuple[Bar, ...]:
    """The values of a column with the most hits."""
    shown = list(values)[:_MOST_VALUES]
    most = max((row["hits"] for row in shown), default=0) or 1
    return tuple(Bar(str(row["value"]), row["hits"], row["hits"] / most) for row in shown)


def ranges_of(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> tuple[Range, ...]:
    """Precision, recall and F1, each followed by that of the version in use; those that can be told."""
    found = []
    for key, name in (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1")):
        for metrics, older in ((now, False), (before, True)):
            if metrics is not None and (one := metrics[key])["value"] is not None:
                found.append(Range(name, 100 * one["value"], 100 * one["low"], 100 * one["high"], older))
    return tuple(found)


def hundred_of(metric: Mapping[str, Any]) -> tuple[str, ...]:
    """A share with its 95 % interval as a hundred squares: ``yes``, ``no``, or ``maybe`` where the interval leaves it
    open; the squares up to the share itself are ``likely`` if so.

    Natural frequencies are understood better than probabilities (Gigerenzer and Hoffrage, Psychological Review 102,
    1995).

    >>> hundred_of({"value": 0.02, "low": 0.01, "high": 0.03})[:4]
    ('yes', 'likely', 'maybe', 'no')
    """
    count, low, high = (round(100 * metric[name]) for name in ("value", "low", "high"))
    return tuple(
        "yes" if k < min(low, count) else "likely" if k < count else "maybe" if k < high else "no" for k in range(100)
    )
