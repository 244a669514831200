"""What a model card is made of, and how numbers are written in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

__all__ = [
    "NOT_RECORDED",
    "SLICES",
    "Block",
    "Facts",
    "Metrics",
    "Rows",
    "Section",
    "Text",
    "counted",
    "digest",
    "interval",
    "listed",
    "moment",
    "of_100",
]

Metrics: TypeAlias = Mapping[str, Any]

NOT_RECORDED: Final = "not recorded"

SLICES: Final[Mapping[str, tuple[str, str]]] = {
    "test": ("All users", "events later than everything the model was made with"),
    "new_users": ("New users", "of these, events of users seen for less than {new_days} days by then"),
    "unseen_users": ("Unseen users", "of these, users whose events were kept out of training altogether"),
}


@dataclass(frozen=True)
class Text:
    """A paragraph, in Markdown without markup but emphasis."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rows:
    """A table; ``columns`` and each of ``rows`` have one length."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | None, ...], ...]
    caption: str


Block: TypeAlias = Text | Facts | Rows


@dataclass(frozen=True)
class Section:
    """``name`` is its anchor."""

    name: str
    title: str
    blocks: tuple[Block, ...]


def of_100(share: float) -> str:
    """A share as a count of 100, with a decimal where it is small.

    >>> of_100(0.348), of_100(0.018), of_100(0.0002), of_100(0)
    ('35', '1.8', 'less than 0.1', '0')
    """
    if 0 < share < 0.0005:
        return "less than 0.1"
    return f"{100 * share:.1f}" if 0 < share < 0.0995 else f"{100 * share:.0f}"


def counted(count: int, what: str) -> str:
    """How many of ``what`` there are.

    >>> counted(1, "violation"), counted(1200, "alert")
    ('1 violation', '1,200 alerts')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def moment(at: Any) -> str:
    """A time as the metrics keep it, µs UTC or ISO text, as date and minute.

    >>> moment(1_700_000_000_000_000), moment("2024-05-01T10:20:30Z"), moment(None)
    ('2023-11-14 22:13', '2024-05-01 10:20', '–')
    """
    if at is None:
        return "–"
    if isinstance(at, int):
        return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M")
    return str(at)[:16].replace("T", " ")


def interval(metric: Mapping[str, float] | None) -> str:
    """A metric with its interval.

    >>> interval({"value": 0.3421, "low": 0.2801, "high": 0.4})
    '0.342 (0.280 to 0.400)'
    """
    if metric is None:
        return "–"
    return f"{metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"


def digest(sha256: str | None) -> str:
    return f"sha256:{sha256}" if sha256 else NOT_RECORDED


def listed(values: Mapping[str, Any] | Sequence[Any]) -> str:
    if isinstance(values, Mapping):
        return ", ".join(f"{name} {values[name]}" for name in sorted(values))
    return ", ".join(map(str, values))
