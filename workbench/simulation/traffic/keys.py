"""Whose request it is: how requests spread over keys (users, addresses, tenants)."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from workbench.simulation.values import Bound, Count, Described

__all__ = ["Keys", "rotation"]


@dataclass(frozen=True)
class Keys(Described):
    """``count`` keys; the one of rank r (from 1) has a share of requests proportional to ``r ** -zipf``.

    ``zipf=0`` gives all the same share. Key 0 is the busiest. This is the law of Zipf over finitely many ranks, as
    web requests follow it (Breslau et al., "Web caching and Zipf-like distributions", INFOCOM 1999: 0.6 to 0.85).

    >>> Keys(3, zipf=1.0).shares().round(3).tolist()
    [0.545, 0.273, 0.182]
    """

    count: Count = 1
    zipf: Annotated[float, Bound(least=0, most=10)] = 0.0

    def shares(self) -> npt.NDArray[np.float64]:
        """Each key's share of the requests, shape (count,), busiest first; the sum is 1."""
        weights = np.arange(1, self.count + 1, dtype=np.float64) ** -self.zipf
        return np.asarray(weights / weights.sum())

    def draw(self, generator: np.random.Generator, size: int) -> npt.NDArray[np.int64]:
        """Keys of ``size`` requests, shape (size,), from one uniform draw each (by inverting the distribution)."""
        uniform = generator.random(size)
        if self.zipf == 0:
            return (uniform * self.count).astype(np.int64)
        reached = np.cumsum(self.shares())
        return np.minimum(np.searchsorted(reached, uniform, side="right"), self.count - 1)


def rotation(generator: np.random.Generator, count: int, size: int) -> npt.NDArray[np.int64]:
    """``size`` keys out of ``count``, shape (size,): each is used once, in random order, before any is used again."""
    rounds = [generator.permutation(count) for _ in range(-(-size // count))]
    return np.concatenate([*rounds, np.empty(0, dtype=np.int64)])[:size].astype(np.int64)
