"""Taking turns, and the table."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

__all__ = ["Case", "Result", "as_json", "compare", "each", "seconds", "table"]


@dataclass(frozen=True)
class Case:
    """One line of the table. ``ours`` and ``peer`` do the job once and return what it cost, in ``unit``."""

    name: str
    size: str
    unit: str  # "s", or "µs" and "B" of one of many, or "MB"
    ours: Callable[[], float]
    peer: Callable[[], float]
    peer_name: str
    target: float | None = None  # in ``unit``; met if our median is not above
    records: int | None = None  # for the rate: how many in one ``unit``
    rounds: int = 5


@dataclass(frozen=True)
class Result:
    """The measurements of a case: index ``i`` of both is turn ``i``."""

    case: Case
    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratio(self) -> float:
        return median(theirs / mine for mine, theirs in zip(self.ours, self.peer, strict=True))

    @property
    def met(self) -> bool:
        return self.case.target is None or median(self.ours) <= self.case.target


def seconds(job: Callable[[], object]) -> float:
    """Wall time of ``job``; the garbage of the job before it is not on its bill."""
    gc.collect()
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def each(some: Callable[[int], object], count: int) -> float:
    """Microseconds for one of ``count``, of which ``some(n)`` does ``n``: what is too short to be timed alone.

    They are done in ten lots, and the fastest counts: in a lot of milliseconds another process may take its turn.
    """
    lot = max(1, count // 10)
    fastest = float("inf")
    gc.collect()
    for _ in range(10):
        start = time.perf_counter()
        some(lot)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest / lot * 1e6


def compare(case: Case, *, rounds: int | None = None) -> Result:
    """Run ``case``: one turn that does not count where there are several (caches, imports), then the turns."""
    turns = rounds or case.rounds
    if turns > 1 and case.unit in ("s", "µs"):
        case.ours(), case.peer()
    pairs = [(case.ours(), case.peer()) for _ in range(turns)]
    return Result(case, tuple(mine for mine, _ in pairs), tuple(theirs for _, theirs in pairs))


def _spread(values: Sequence[float], unit: str) -> str:
    digits = {"s": 2 if median(values) >= 0.5 else 3, "µs": 2}.get(unit, 0)
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{middle} {unit} ({low}–{high})"


def table(results: Sequence[Result], *, judged: bool) -> str:
    """The results in columns; ``judged`` says whether targets apply (they do not at reduced size)."""
    lines = [
        ("case", "size", "ours: median (min–max)", "ours: rate", "peer: median (min–max)", "ratio", "target", "met?")
    ]
    for result in results:
        case = result.case
        lines.append(
            (
                case.name,
                case.size,
                _spread(result.ours, case.unit),
                f"{case.records / median(result.ours):,.0f}/s" if case.records else "",
                f"{_spread(result.peer, case.unit)} {case.peer_name}",
                f"{result.ratio:.3g}×",
                "" if case.target is None else f"≤ {case.target:.3g} {case.unit}",
                "" if case.target is None else ("yes" if result.met else "no") if judged else "-",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def as_json(result: Result) -> dict[str, Any]:
    """Every measurement of ``result``, for a file."""
    said = {name: value for name, value in asdict(result.case).items() if name not in ("ours", "peer")}
    return {**said, "ours": result.ours, "peer": result.peer, "ratio": result.ratio, "met": result.met}
