"""Attackers who want more than their limit from one key, within one period."""

import numpy as np

from workbench.errors import InputError
from workbench.resilience.quota import Quota
from workbench.simulation.limiting.admitted import Ints
from workbench.simulation.measures import max_in_window
from workbench.simulation.replay import decided

__all__ = ["burst_and_persist", "edge_burst", "worst"]


def edge_burst(limit: int, period_ns: int) -> Ints:
    """``limit`` requests just before the clock's first full period ends, and as many from its end on.

    Times in ns, shape (2 limit,), one nanosecond apart: the textbook attack on windows of the clock.

    >>> edge_burst(2, 10).tolist()
    [8, 9, 10, 11]
    """
    return np.arange(period_ns - limit, period_ns + limit, dtype=np.int64)


def burst_and_persist(limit: int, period_ns: int, *, start_ns: int, every_ns: int, periods: float = 2.0) -> Ints:
    """Silence, ``limit`` requests at ``start_ns``, then one each ``every_ns`` for so many periods.

    Needs no knowledge of the limiter's clock: ``start_ns`` may be any moment. Times in ns, sorted.

    >>> burst_and_persist(3, 10, start_ns=7, every_ns=5, periods=1).tolist()
    [7, 7, 7, 12, 17]
    """
    if every_ns < 1:
        raise InputError(f"requests that persist are at least 1 ns apart, not {every_ns!r}")
    last = start_ns + round(periods * period_ns)
    after = np.arange(start_ns + every_ns, last + 1, every_ns, dtype=np.int64)
    return np.concatenate([np.full(limit, start_ns, dtype=np.int64), after])


def worst(quota: Quota, attacks: list[Ints], *, period_ns: int) -> list[int]:
    """What each attack, by a key of its own, gets through the production limiter in its busiest period.

    >>> worst(Quota(limit=5, per=1e-8, algorithm="fixed"), [edge_burst(5, 10)], period_ns=10)
    [10]
    """
    key = np.repeat(np.arange(len(attacks), dtype=np.int64), [len(attack) for attack in attacks])
    t = np.concatenate(attacks)
    order = np.argsort(t, kind="stable")
    t, key = t[order], key[order]
    allowed = decided(quota, t, key)
    return [max_in_window(t[allowed & (key == number)], period_ns) for number in range(len(attacks))]
