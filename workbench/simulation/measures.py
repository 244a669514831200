"""What is measured in a run. Every measure is a number, or NaN where it has no value; times are seconds.

Requests count from the scenario's ``warm_up`` on, by the time at which they were to be sent.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from workbench.resilience.breaker import BreakerState
from workbench.simulation.faults import ClockSkew, ClockStep, Fault
from workbench.simulation.outcomes import Ending, Run

if TYPE_CHECKING:
    import pandas as pd

    from workbench.simulation.scenario import Scenario

__all__ = [
    "RECOVERED",
    "STEADY",
    "goodput_between",
    "jain",
    "max_in_window",
    "measure",
    "per_second",
    "recovery",
]

RECOVERED: Final = 0.9
"""The share of its goodput before the faults that a system must have again to have recovered."""
STEADY: Final = 5
"""Over how many seconds at a time that is looked at."""

_SECOND_NS: Final = 1_000_000_000
_SHED: Final = (Ending.REFUSED, Ending.LIMITED, Ending.REJECTED)
_FAILED: Final = (Ending.FAILED, Ending.TIMED_OUT)


def measure(run: Run, scenario: "Scenario", seconds: "pd.DataFrame") -> dict[str, float]:
    """All measures of ``run``, by name; ``seconds`` is its ``per_second``.

    ``offered``: requests. ``goodput``: share of them that were answered well and in time. ``shed``: share that were
    refused, by a limit, a breaker, or a server that was full or down. ``failed``: share that ended with an error or
    without an answer; the three add up to 1. ``amplification``: attempts sent for each request.
    ``p50``, ``p99``, ``p999``: quantiles of the seconds from the intended time of sending to a good answer; those
    without one are not in it. ``jain``: fairness between keys, of the share of each key's requests that went well.
    ``goodput:GROUP``: by group, if there are several.
    ``max_window``: the most units that a limit let through for one of its keys within any of its periods, over what it
    allows; at most 1 if it keeps its promise. With several limits the largest. NaN without.
    ``time_to_open``: seconds from the first fault until a breaker opens. ``time_to_recover``: see ``recovery``;
    ``recovered``: whether it did, 0 or 1. Both are NaN without a fault that ends.
    ``openings``: of breakers. ``false_opens``: those before anything had gone wrong; all, if there are no faults.
    ``probes``: calls on trial.
    """
    counted = run.t >= round(scenario.warm_up * 1e9)
    ending = run.ending[counted]
    offered = len(ending)
    good = ending == Ending.GOOD
    latency = run.latency[counted][good]
    p50, p99, p999 = np.quantile(latency, (0.5, 0.99, 0.999)).tolist() if len(latency) else (np.nan,) * 3
    took_to_recover = recovery(seconds, scenario)
    opened = np.array([one.t_ns for one in run.changes if one.state == BreakerState.OPEN.value], dtype=np.int64)
    first, last = _trouble(scenario.faults)
    within = opened[opened >= round(first * 1e9)] if first is not None else opened[:0]
    before = len(opened) if first is None else len(opened) - len(within)
    breakers = scenario.clients.breaker is not None
    values = {
        "offered": float(offered),
        "goodput": _share(good),
        "shed": _share(np.isin(ending, _SHED)),
        "failed": _share(np.isin(ending, _FAILED)),
        "amplification": float(run.attempts[counted].mean()) if offered else np.nan,
        "p50": p50,
        "p99": p99,
        "p999": p999,
        "jain": _fairness(run.key[counted], good),
        "max_window": _largest_window(run, scenario),
        "time_to_open": (int(within[0]) / 1e9 - first) if first is not None and len(within) else np.nan,
        "time_to_recover": took_to_recover,
        "recovered": float(np.isfinite(took_to_recover)) if last is not None else np.nan,
        "openings": float(len(opened)) if breakers else np.nan,
        "false_opens": float(before) if breakers else np.nan,
        "probes": float(len(run.probes)) if breakers else np.nan,
    }
    groups = tuple(dict.fromkeys(run.groups))
    if len(groups) > 1:
        values |= {f"goodput:{group}": _share(good[run.of(group)[counted]]) for group in groups}
    return values


def per_second(run: Run) -> "pd.DataFrame":
    """A row for each second: ``seed``, ``second``, and counts.

    ``offered``: requests that were to be sent in it, and of these ``good``, ``shed`` and ``failed`` at last, whenever
    that was. ``sent``: attempts sent in it. ``queue``: who waits at its end. ``open_breakers``: not closed then.
    """
    import pandas as pd

    count = len(run.queue)
    second = run.t // _SECOND_NS

    def counts(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.bincount(second[chosen], minlength=count)[:count]

    return pd.DataFrame(
        {
            "seed": run.seed,
            "second": np.arange(count),
            "offered": counts(np.ones(len(second), dtype=np.bool_)),
            "sent": np.bincount(run.sent // _SECOND_NS, minlength=count)[:count],
            "good": counts(run.ending == Ending.GOOD),
            "shed": counts(np.isin(run.ending, _SHED)),
            "failed": counts(np.isin(run.ending, _FAILED)),
            "queue": run.queue,
            "open_breakers": run.open,
        }
    )


def recovery(seconds: "pd.DataFrame", scenario: "Scenario") -> float:
    """Seconds from the end of the last fault that ends until the system has recovered for good; NaN if it does not.

    It has recovered from the first second on after which any ``STEADY`` seconds together have at least ``RECOVERED``
    of the goodput from the warm-up to the first fault (of 1, if there is no such time). Whole seconds.
    """
    first, last = _trouble(scenario.faults)
    if first is None or last is None:
        return np.nan
    good, offered = seconds["good"].to_numpy(), seconds["offered"].to_numpy()
    calm = slice(int(np.ceil(scenario.warm_up)), int(first))
    usual = good[calm].sum() / offered[calm].sum() if offered[calm].sum() else 1.0
    begin = int(np.ceil(last))
    width = np.ones(STEADY)
    if len(good) - begin < STEADY:
        return np.nan
    reached = np.convolve(good[begin:], width, "valid") >= RECOVERED * usual * np.convolve(
        offered[begin:], width, "valid"
    )
    short = np.flatnonzero(~reached)
    start = int(short[-1]) + 1 if len(short) else 0
    return float(start) if start < len(reached) else np.nan


def goodput_between(series: "pd.DataFrame", start: float, end: float) -> "pd.Series[float]":
    """The goodput of requests that were to be sent from second ``start`` to ``end``, end excluded, for each seed."""
    inside = series[(series["second"] >= start) & (series["second"] < end)]
    sums = inside.groupby("seed")[["good", "offered"]].sum()
    return sums["good"] / sums["offered"]


def jain(shares: npt.NDArray[np.float64]) -> float:
    """Jain's index of fairness of ``shares``, shape (n,): 1 if all are equal, 1 / n if one has everything.

    Jain, Chiu and Hawe, "A quantitative measure of fairness and discrimination" (DEC TR-301, 1984):
    ``(sum x) ** 2 / (n * sum x ** 2)``. NaN if there are none or all are 0.

    >>> jain(np.array([1.0, 1.0, 0.0, 0.0]))
    0.5
    """
    squares = float((shares**2).sum())
    return float(shares.sum() ** 2 / (len(shares) * squares)) if squares else np.nan


def max_in_window(
    t: npt.NDArray[np.int64],
    period_ns: int,
    *,
    key: npt.NDArray[np.int64] | None = None,
    cost: npt.NDArray[np.int64] | None = None,
) -> int:
    """The most units within any (t - period, t] for one key. ``t``: ns, ``key``, ``cost``: shape (n,); any order.

    >>> max_in_window(np.array([0, 9, 10, 11]), 10)
    3
    """
    if not len(t):
        return 0
    keys = np.zeros(len(t), dtype=np.int64) if key is None else key.astype(np.int64)
    order = np.lexsort((t, keys))
    times, keys = t[order], keys[order]
    units = np.ones(len(t), dtype=np.int64) if cost is None else cost[order].astype(np.int64)
    spread = int(times.max() - times.min()) + period_ns + 1
    _, rank = np.unique(keys, return_inverse=True)
    if spread * (int(rank[-1]) + 1) >= 2**63:  # too long a line for all keys one after another
        return max(max_in_window(times[keys == one], period_ns, cost=units[keys == one]) for one in np.unique(keys))
    line = (times - times.min()) + rank * spread
    reached = np.concatenate([[0], np.cumsum(units)])
    ends = np.searchsorted(line, line, side="right")  # those of the same moment are all within
    return int((reached[ends] - reached[np.searchsorted(line, line - period_ns, side="right")]).max())


def _share(chosen: npt.NDArray[np.bool_]) -> float:
    return float(chosen.mean()) if len(chosen) else np.nan


def _fairness(key: npt.NDArray[np.int32], good: npt.NDArray[np.bool_]) -> float:
    _, of = np.unique(key, return_inverse=True)
    return jain(np.bincount(of, weights=good) / np.bincount(of)) if len(key) else np.nan


def _largest_window(run: Run, scenario: "Scenario") -> float:
    largest = np.nan
    for limit in scenario.limits:
        quota = limit.rule()
        keys = np.zeros(len(run.t), dtype=np.int64)
        if limit.by == "key":
            keys = run.key.astype(np.int64)
        elif limit.by == "group":
            keys = np.unique(np.array(run.groups), return_inverse=True)[1][run.source]
        found = max_in_window(
            run.admitted_ns,
            quota.period_ns,
            key=keys[run.admitted],
            cost=run.cost[run.admitted].astype(np.int64),
        )
        largest = np.fmax(largest, found / quota.limit)
    return float(largest)


def _trouble(faults: tuple[Fault, ...]) -> tuple[float | None, float | None]:
    """When the first fault begins, and when the last one that ends does so; clocks that step or differ are no fault
    of the server's."""
    lasting = [fault for fault in faults if not isinstance(fault, ClockSkew | ClockStep)]
    starts = [getattr(fault, "start", 0.0) for fault in lasting]
    ends = [end for fault in lasting if (end := getattr(fault, "end", None)) is not None]
    return min(starts, default=None), max(ends, default=None)
