"""What came through a limiter: decisions of a replay, and how they compare with what the limit promises."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.simulation.statistics import t_interval

__all__ = ["Bools", "Estimate", "Ints", "decided_by", "over_seeds"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Estimate(NamedTuple):
    """A mean over seeds, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def over_seeds(values: Sequence[float] | npt.NDArray[np.float64]) -> Estimate:
    """The mean of one value a seed, shape (seeds,), with its 95 % interval by Student's t.

    Raises ``InputError`` for fewer than two seeds.

    >>> [round(number, 2) for number in over_seeds([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    if len(values) < 2:
        raise InputError(f"an interval over seeds needs at least two of them, not {len(values)}")
    return Estimate(*t_interval(np.asarray(values, dtype=np.float64))[:3])


def decided_by(answer: Callable[[int, str], bool], t: Ints, key: Ints) -> Bools:
    """What ``answer(t_ns, key)`` says to each request, in order. ``t``: ns, sorted; all arrays of shape (n,).

    >>> decided_by(lambda t_ns, key: key == "1", np.array([0, 5]), np.array([0, 1])).tolist()
    [False, True]
    """
    return np.fromiter(map(answer, t.tolist(), map(str, key.tolist())), dtype=np.bool_, count=len(t))
