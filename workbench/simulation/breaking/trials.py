"""Breakers of production fed with calls that fail by chance alone: how soon do they open though nothing is wrong?"""

from typing import Final

import numpy as np
import numpy.typing as npt

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.resilience.breaker import Outcome
from workbench.simulation.clients import BreakerSpec

__all__ = ["calls_until_open", "opens_within"]

_BLOCK: Final = 10_000  # calls drawn at a time


def calls_until_open(
    spec: BreakerSpec, p: float, generator: np.random.Generator, *, times: int, most: int = 10_000_000
) -> npt.NDArray[np.int64]:
    """How many calls a closed breaker lets through until it opens, if each fails with probability ``p``, 0 to 1.

    Shape (``times``,), each from a breaker that was reset. Calls come one after another and take no time. Raises
    ``InputError`` for a ``p`` out of bounds, and if the breaker lets ``most`` calls through in all before the end.

    >>> calls_until_open(BreakerSpec(5), 1.0, np.random.default_rng(0), times=2).tolist()
    [5, 5]
    """
    if not 0 < p <= 1:
        raise InputError(f"calls fail with a probability above 0 and up to 1, not {p!r}")
    breaker = spec.make("trial", clock=VirtualClock(), seed=0)
    opened: list[bool] = []
    breaker.on_change(lambda change: opened.append(change.after.value == "open"))
    counts = np.zeros(times, dtype=np.int64)
    done = calls = 0
    for start in range(0, most, _BLOCK):
        for failed in (generator.random(min(_BLOCK, most - start)) < p).tolist():
            breaker.record(breaker.acquire(), Outcome.FAILURE if failed else Outcome.SUCCESS)
            calls += 1
            if opened:
                counts[done] = calls
                done, calls = done + 1, 0
                if done == times:
                    return counts
                breaker.reset()
                opened.clear()
    raise InputError(f"the breaker opened {done:,} times in {most:,} calls, not {times:,}: take a larger p, or fewer")


def opens_within(spec: BreakerSpec, p: float, generator: np.random.Generator, *, calls: int, times: int) -> float:
    """The share of ``times`` breakers that open within their first ``calls`` calls, failing with probability ``p``.

    >>> opens_within(BreakerSpec(2), 1.0, np.random.default_rng(0), calls=2, times=3)
    1.0
    """
    breaker = spec.make("trial", clock=VirtualClock(), seed=0)
    opened = 0
    for failures in (generator.random((times, calls)) < p).tolist():
        for failed in failures:
            breaker.record(breaker.acquire(), Outcome.FAILURE if failed else Outcome.SUCCESS)
            if breaker.state.value != "closed":
                opened += 1
                break
        breaker.reset()
    return opened / times
