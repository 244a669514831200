"""Two models on the same rows: paired differences with intervals over whole users, quick enough to simulate with.

A bootstrap draw takes whole users with replacement, so a row counts as often as its user was drawn. Rows are sorted
once a model; after that a draw costs one sparse product instead of a sort (Field and Welsh, Bootstrapping clustered
data, 2007, for the draws; Boyd, Eng and Page, Area under the precision-recall curve, 2013, for the estimate).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

__all__ = [
    "Difference",
    "UserDraws",
    "average_precisions",
    "brier_difference",
    "calibration_difference",
    "caught",
    "draw_users",
    "mcnemar_p",
    "precision_difference",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]

_BLOCK = 250  # draws worked on at a time: bounds memory, changes no result


@dataclass(frozen=True)
class Difference:
    """Champion's and challenger's value, and the 95 % interval of challenger minus champion."""

    champion: float
    challenger: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """Challenger minus champion."""
        return self.challenger - self.champion


@dataclass(frozen=True)
class UserDraws:
    """Bootstrap draws of users. ``code``: shape (n,), the user's number of each row. ``weight``: shape (users, B), how
    often each user was drawn."""

    code: Ints
    weight: npt.NDArray[np.uint16]

    @property
    def users(self) -> int:
        return len(self.weight)

    @property
    def once(self) -> Floats:
        """The sample as it is: every user once, shape (users, 1)."""
        return np.ones((self.users, 1))

    def blocks(self) -> Iterator[Floats]:
        """``weight`` in pieces of a few hundred draws."""
        for start in range(0, self.weight.shape[1], _BLOCK):
            yield self.weight[:, start : start + _BLOCK].astype(np.float64)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_], *, seed: int) -> "UserDraws":
        """Fresh draws, as many, of the users of some rows."""
        return draw_users(self.code[rows], resamples=self.weight.shape[1], seed=seed)

    def sums(self, value: Floats) -> csr_array:
        """``value`` (shape (k, n)) summed within each user: a sparse array of shape (k, users)."""
        k, n = value.shape
        rows = np.repeat(np.arange(k), n)
        return csr_array((value.ravel(), (rows, np.tile(self.code, k))), shape=(k, self.users))


def draw_users(users: npt.NDArray[np.object_] | Ints, *, resamples: int = 1000, seed: int = 42) -> UserDraws:
    """Draw whole users with replacement, ``resamples`` times. ``users``: shape (n,).

    >>> draw_users(np.array(["ada", "bob", "ada"], dtype=object), resamples=3).weight.sum(axis=0).tolist()
    [2, 2, 2]
    """
    names = users.astype(str) if users.dtype == object else users
    found, code = np.unique(names, return_inverse=True)
    size = len(found)
    drawn = np.random.default_rng(seed).integers(0, size, (resamples, size))
    flat = (drawn + size * np.arange(resamples)[:, None]).ravel()
    weight = np.bincount(flat, minlength=size * resamples).reshape(resamples, size)
    return UserDraws(code.astype(np.int64), np.ascontiguousarray(weight.T.astype(np.uint16)))


def average_precisions(y: Labels, p: Floats, draws: UserDraws) -> tuple[float, Floats]:
    """Average precision of ``p`` on the sample, and in each draw (shape (B,), NaN where no violation was drawn).

    ``y`` and ``p``: shape (n,). Rows of equal ``p`` count at once, as in scikit-learn.

    >>> y, p = np.array([0, 1, 0, 1], dtype=np.int8), np.array([.1, .9, .8, .4])
    >>> average_precisions(y, p, draw_users(np.arange(4), resamples=2))[0].__round__(4)
    0.8333
    """
    order = np.argsort(-p, kind="stable")
    sorted_p, sorted_y, code = p[order], y[order] == 1, draws.code[order]
    starts = np.flatnonzero(np.r_[True, sorted_p[1:] != sorted_p[:-1]])
    guilty = np.logical_or.reduceat(sorted_y, starts)
    # Precision matters only where recall grows: a segment ends with each group of equal scores that holds a violation.
    before = np.cumsum(guilty) - guilty
    segment = np.repeat(before, np.diff(np.r_[starts, len(p)]))
    segments = int(guilty.sum())
    inside = segment < segments
    shape = (segments, draws.users)
    rows = csr_array((np.ones(int(inside.sum())), (segment[inside], code[inside])), shape=shape)
    hits = csr_array((np.ones(int(sorted_y.sum())), (segment[sorted_y], code[sorted_y])), shape=shape)

    def of(weight: Floats) -> Floats:
        found = hits @ weight
        total, true = np.cumsum(rows @ weight, axis=0), np.cumsum(found, axis=0)
        precision = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
        area, positives = (found * precision).sum(axis=0), true[-1]
        share: Floats = np.divide(area, positives, out=np.full_like(area, np.nan), where=positives > 0)
        return share

    return float(of(draws.once)[0]), np.concatenate([of(weight) for weight in draws.blocks()])


def _interval(values: Floats) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def precision_difference(y: Labels, champion: Floats, challenger: Floats, draws: UserDraws) -> Difference:
    """Average precision of two models on the same rows and draws. All arrays have shape (n,)."""
    old, olds = average_precisions(y, champion, draws)
    new, news = average_precisions(y, challenger, draws)
    return Difference(old, new, *_interval(news - olds))


def brier_difference(y: Labels, champion: Floats, challenger: Floats, draws: UserDraws) -> Difference:
    """Brier score (mean squared error of the probability; lower is better) of two models on the same rows."""
    errors = np.stack([(champion - y) ** 2, (challenger - y) ** 2, np.ones(len(y))])
    sums = draws.sums(errors)

    def of(weight: Floats) -> Floats:
        old, new, rows = sums @ weight
        return np.asarray(np.stack([old, new]) / rows)

    old, new = of(draws.once)[:, 0]
    values = np.concatenate([of(weight) for weight in draws.blocks()], axis=1)
    return Difference(float(old), float(new), *_interval(values[1] - values[0]))


def calibration_difference(
    y: Labels, champion: Floats, challenger: Floats, draws: UserDraws, *, bins: int = 10
) -> Difference:
    """Expected calibration error of two models on the same rows, in ``bins`` equally filled bins of each one's scores.

    Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning (2015).
    """
    old, olds = _calibration(y, champion, draws, bins)
    new, news = _calibration(y, challenger, draws, bins)
    return Difference(old, new, *_interval(news - olds))


def _calibration(y: Labels, p: Floats, draws: UserDraws, bins: int) -> tuple[float, Floats]:
    edges = np.unique(np.quantile(p, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, p, side="left")
    shape = (len(edges) + 1, draws.users)
    gaps = csr_array((y - p, (place, draws.code)), shape=shape)
    rows = draws.sums(np.ones((1, len(y))))

    def of(weight: Floats) -> Floats:
        return np.asarray(np.abs(gaps @ weight).sum(axis=0) / (rows @ weight)[0])

    return float(of(draws.once)[0]), np.concatenate([of(weight) for weight in draws.blocks()])


def caught(y: Labels, p: Floats, alerts: int, *, seed: int = 42) -> npt.NDArray[np.bool_]:
    """Which violations are among the ``alerts`` highest scores, shape (n,). Equal scores are ordered by lot.

    The lot depends on ``seed`` and the number of rows only, so two models meet the same one.

    >>> caught(np.array([1, 0, 1], dtype=np.int8), np.array([.2, .9, .5]), 2).tolist()
    [False, False, True]
    """
    lot = np.random.default_rng(seed).permutation(len(p))
    raised = np.zeros(len(p), dtype=bool)
    raised[np.lexsort((lot, -p))[:alerts]] = True
    return np.asarray(raised & (y == 1))


def mcnemar_p(only_champion: int, only_challenger: int) -> float:
    """One-sided exact McNemar test: how likely so many or more violations that only the champion caught are by chance.

    Small means that the challenger is worse. Source: McNemar (1947), with the exact binomial tail.

    >>> round(mcnemar_p(9, 1), 4), mcnemar_p(0, 0)
    (0.0107, 1.0)
    """
    from scipy.stats import binom  # a second of importing, which a page that compares nothing need not wait for

    return float(binom.sf(only_champion - 1, only_champion + only_challenger, 0.5))
