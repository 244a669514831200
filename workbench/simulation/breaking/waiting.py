"""How many requests wait for an answer at a time."""

import numpy as np

from workbench.simulation.outcomes import Run

__all__ = ["mean_in_flight"]


def mean_in_flight(run: Run, *, start: float, end: float) -> float:
    """How many requests had begun and not ended, on average from second ``start`` to ``end``.

    >>> from workbench.simulation import Deterministic, Poisson, Scenario, Server, run_once
    >>> never = Scenario("x", 10, traffic=(Poisson(5),), server=Server(None, Deterministic(1)))
    >>> mean_in_flight(run_once(never, 0), start=100, end=110)
    0.0
    """
    begin_ns, end_ns = round(start * 1e9), round(end * 1e9)
    inside = np.minimum(run.end, end_ns) - np.maximum(run.t, begin_ns)
    return float(np.maximum(inside, 0).sum() / (end_ns - begin_ns))
