"""Population stability index: how far a distribution has moved, and how far it moves by chance alone.

The usual fixed threshold of 0.1 fires on identical data when the samples are small. With ``n`` and ``m`` events in
``B`` bins and nothing changed, PSI is about (1/n + 1/m) times a chi-squared variable with B - 1 degrees of freedom
(Yurdakul and Naranjo, Statistical properties of the population stability index, 2020); the threshold here follows from
that, and is never below 0.1. Events of one user resemble each other, which the formula does not know: a feature it
names deserves a look, no more.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

__all__ = ["Shift", "bin_counts", "psi", "psi_threshold", "shift"]

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shift:
    """How far one distribution moved: ``psi`` against ``threshold``, over ``bins`` bins."""

    name: str
    psi: float
    threshold: float
    bins: int

    @property
    def moved(self) -> bool:
        """Whether it moved further than chance and habit explain."""
        return self.psi > self.threshold

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "psi": round(self.psi, 6),
            "threshold": round(self.threshold, 6),
            "bins": self.bins,
            "moved": self.moved,
        }


def bin_counts(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> Counts:
    """How many ``values`` (shape (n,)) lie in each bin.

    ``edges`` (shape (k,), rising) are the inner boundaries of k + 1 bins; a value equal to an edge is above it.

    >>> bin_counts(np.array([0., 1., 1., 5.]), np.array([1., 2.])).tolist()
    [1, 2, 1]
    """
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).astype(np.int64)


def psi(expected: Counts, actual: Counts) -> float:
    """Sum over bins of (a - e) ln(a / e), where a and e are the bins' shares. Both arrays have shape (B,).

    Half an event is added to every bin, so that an empty one stays finite; a bin empty on both sides does not count.

    >>> psi(np.array([50, 50]), np.array([50, 50])), round(psi(np.array([900, 100]), np.array([700, 300])), 2)
    (0.0, 0.27)
    """
    used = (expected + actual) > 0
    e, a = expected[used] + 0.5, actual[used] + 0.5
    e, a = e / e.sum(), a / a.sum()
    return float(((a - e) * np.log(a / e)).sum())


def psi_threshold(n: int, m: int, bins: int, *, tests: int = 1, level: float = 0.01, floor: float = 0.1) -> float:
    """What PSI exceeds by chance with probability ``level`` over all ``tests`` (Bonferroni), but at least ``floor``.

    ``n`` and ``m``: events on the two sides, 1 or more; ``bins``: bins that hold any of them.

    >>> round(psi_threshold(100, 10_000, 10), 3), psi_threshold(10_000, 10_000, 10)
    (0.219, 0.1)
    """
    if bins < 2:
        return floor
    return max(floor, (1 / n + 1 / m) * float(chi2.ppf(1 - level / tests, bins - 1)))


def shift(name: str, expected: Counts, actual: Counts, *, tests: int = 1, level: float = 0.01) -> Shift:
    """Compare two histograms over the same bins, each of shape (B,), each with one event or more."""
    bins = int(((expected + actual) > 0).sum())
    threshold = psi_threshold(int(expected.sum()), int(actual.sum()), bins, tests=tests, level=level)
    return Shift(name, psi(expected, actual), threshold, bins)
