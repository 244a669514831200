"""The timelines of the page on limiters, played to the code row by row."""

import re
from pathlib import Path

import pytest

from workbench.clock import VirtualClock
from workbench.resilience import MemoryStore, Quota, RateLimiter

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "limit-and-break.md"
TIMELINE = re.compile(
    r'`Quota\.parse\("(?P<rate>[^"]+)", algorithm="(?P<algorithm>\w+)"(?:, burst=(?P<burst>\d+))?\)`:\n\n'
    r"\| clock \|.*\n\|[-|]+\|\n(?P<rows>(?:\|.*\n)+)"
)


def timelines() -> list[tuple[Quota, list[list[str]]]]:
    """Each timeline of the page: its quota, and of each row all but why."""
    return [
        (
            Quota.parse(
                found["rate"], algorithm=found["algorithm"], burst=int(found["burst"]) if found["burst"] else None
            ),
            [[cell.strip() for cell in line.split("|")[1:5]] for line in found["rows"].splitlines()],
        )
        for found in TIMELINE.finditer(PAGE.read_text(encoding="utf-8"))
    ]


def clock_ns(text: str) -> int:
    hours, minutes, seconds = map(int, text.split(":"))
    return (hours * 3_600 + minutes * 60 + seconds) * 10**9


def played(quota: Quota, rows: list[list[str]]) -> list[list[str]]:
    """The rows as they come out."""
    clock = VirtualClock(start_ns=clock_ns(rows[0][0]))
    limiter = RateLimiter(quota, store=MemoryStore(clock=clock))
    told = []
    for time, asks, *_ in rows:
        clock.advance_ns(clock_ns(time) - clock.monotonic_ns())
        decision = limiter.hit("somebody", cost=int(asks))
        wait = "never" if decision.retry_after is None else f"{decision.retry_after:g} s"
        told.append([time, asks, "passes" if decision else f"refused, {wait}", str(decision.remaining)])
    return told


@pytest.mark.docs
@pytest.mark.parametrize(("quota", "rows"), timelines(), ids=lambda value: getattr(value, "algorithm", ""))
def test_a_timeline_is_what_the_code_does(quota: Quota, rows: list[list[str]]) -> None:
    assert rows == played(quota, rows)


@pytest.mark.docs
def test_each_algorithm_has_a_timeline() -> None:
    assert [(quota.algorithm, quota.burst) for quota, _ in timelines()] == [
        ("exact", 5),
        ("smooth", 5),
        ("smooth", 1),
        ("approx", 5),
        ("fixed", 5),
    ]
