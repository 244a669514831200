"""Metrics: what scores are worth, each with an interval that knows that a user's events belong together.

Average precision comes first: violations are rare, and the area under the ROC curve rewards ranking the many easy
events (Saito and Rehmsmeier, PLoS ONE 2015). Intervals are percentile intervals of a bootstrap over whole users (Field
and Welsh, Bootstrapping clustered data, 2007): rows of one user resemble each other, and drawing single rows would
make every interval too narrow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from workbench.errors import InputError
from workbench.risk.paired import UserDraws, average_precisions, draw_users
from workbench.risk.ranking import Drawn, drawn, recalls_at, roc_aucs

__all__ = [
    "BINS",
    "METRICS",
    "PRIMARY",
    "Bin",
    "Evaluation",
    "Metric",
    "bootstrap",
    "calibration_bins",
    "evaluate",
    "roc_aucs",
]

PRIMARY: Final = "average_precision"
METRICS: Final = (
    PRIMARY,
    "roc_auc",
    "precision",
    "recall",
    "f1",
    "recall_at_budget",
    "brier",
    "ece",
)
BINS: Final = 10  # equally filled bins of the calibration error

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Metric:
    """A number with its 95 % interval, and its value in each fold where there are folds."""

    name: str
    value: float
    low: float
    high: float
    folds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """All metrics of one slice. A metric that the slice cannot have (recall without a violation) is not in it."""

    rows: int
    positives: int
    users: int
    metrics: Mapping[str, Metric]
    confusion: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As ``metrics.json`` holds a slice."""
        return {
            "rows": self.rows,
            "positives": self.positives,
            "users": self.users,
            "prevalence": self.positives / self.rows if self.rows else 0.0,
            "metrics": {
                name: {"value": metric.value, "low": metric.low, "high": metric.high}
                for name, metric in self.metrics.items()
            },
            "confusion": dict(self.confusion),
        }


class Bin(NamedTuple):
    """Rows of similar probability: the mean predicted, the share observed, and how many they are."""

    predicted: float
    observed: float
    rows: int


def evaluate(
    y: Labels,
    p: Floats,
    users: npt.NDArray[np.object_],
    *,
    threshold: float,
    alerts: int | None = None,
    resamples: int = 1000,
    seed: int = 42,
) -> Evaluation:
    """Every metric of a slice that it can have, with 95 % intervals by user.

    ``y``, ``p``, ``users``: shape (n,); ``p`` are probabilities, ``y`` is 1, 0, or -1 where nobody has said. Rows of
    -1 count only in ``recall_at_budget``: the recall when the ``alerts`` highest of all rows are looked at (not
    reported if None; rows of equal p are looked at together or not at all). Precision without any alert is 0.

    Brier: mean squared error (Brier 1950). ECE: ``BINS`` equally filled bins (Naeini et al. 2015; Nixon et al. 2019 for
    equal filling); it is never negative, so on few rows it and its interval lie too high. Of fewer than two users, or
    of a rate without a single case, no interval can be had, and [0, 1] says so.

    >>> y, p = np.array([0, 1, 0, 1], dtype=np.int8), np.array([.1, .9, .8, .4])
    >>> found = evaluate(y, p, np.array(list("abcd"), dtype=object), threshold=.5, alerts=1, resamples=50)
    >>> found.metrics["recall_at_budget"].value, found.confusion
    (0.5, {'tp': 1, 'fp': 1, 'fn': 1, 'tn': 1})
    """
    said = y >= 0
    Y, P = y[said], p[said]
    raised, guilty = threshold <= P, Y == 1
    counts = {"tp": raised & guilty, "fp": raised & ~guilty, "fn": ~raised & guilty, "tn": ~raised & ~guilty}
    positives = int(guilty.sum())
    found: dict[str, Drawn] = {}
    involved = {
        "precision": len(np.unique(users[said][raised].astype(str))),
        "recall": len(np.unique(users[said][guilty].astype(str))),
        "f1": len(np.unique(users[said][raised | guilty].astype(str))),
    }
    if len(Y):
        draws = draw_users(users[said], resamples=resamples, seed=seed)
        if 0 < positives < len(Y):
            found[PRIMARY] = average_precisions(Y, P, draws)
            found["roc_auc"] = roc_aucs(Y, P, draws)
        found |= _at_threshold(counts, draws, positives)
        if positives and alerts is not None:
            every = draws if said.all() else draw_users(users, resamples=resamples, seed=seed)
            found["recall_at_budget"] = recalls_at(y == 1, p, every, alerts)
        found["brier"] = _mean((P - Y) ** 2, draws)
        found["ece"] = _calibration_errors(Y, P, draws)
    return Evaluation(
        rows=len(Y),
        positives=positives,
        users=len(np.unique(users[said].astype(str))),
        metrics={
            name: _metric(name, found[name], draws.users, involved.get(name)) for name in METRICS if name in found
        },
        confusion={name: int(rows.sum()) for name, rows in counts.items()},
    )


def bootstrap(
    score: Callable[[Labels, Floats, UserDraws], Drawn] | str,
    y: Labels,
    p: Floats,
    users: npt.NDArray[np.object_],
    *,
    resamples: int = 1000,
    seed: int = 42,
) -> Metric:
    """One metric with its 95 % interval: ``"average_precision"``, ``"roc_auc"``, or a function of one's own.

    ``y``, ``p`` and ``users``: shape (n,). A draw of users without both classes is left out of the interval.

    >>> y = np.array([0, 1, 0, 1], dtype=np.int8)
    >>> bootstrap("roc_auc", y, np.array([.1, .9, .2, .8]), np.array(list("abcd"), dtype=object), resamples=20)
    Metric(name='roc_auc', value=1.0, low=1.0, high=1.0, folds=())
    """
    known = {PRIMARY: average_precisions, "roc_auc": roc_aucs}
    if isinstance(score, str) and score not in known:
        raise InputError(f"{score!r} is none of {', '.join(known)}")
    if not 0 < int((y == 1).sum()) < len(y):
        raise InputError(f"{score}: needs violations and others, and all {len(y):,} rows are of one kind")
    draws = draw_users(users, resamples=resamples, seed=seed)
    function = known[score] if isinstance(score, str) else score
    return _metric(score if isinstance(score, str) else score.__name__, function(y, p, draws), draws.users)


def calibration_bins(y: Labels, p: Floats, *, bins: int = BINS) -> list[Bin]:
    """Predicted against observed in ``bins`` equally filled bins; ties stay together, so there can be fewer.

    ``y`` and ``p``: shape (n,).

    >>> calibration_bins(np.array([0, 0, 1, 1], dtype=np.int8), np.array([.1, .3, .6, .8]), bins=2)
    [Bin(predicted=0.2, observed=0.0, rows=2), Bin(predicted=0.7, observed=1.0, rows=2)]
    """
    place = _places(p, bins)
    return [
        Bin(float(p[rows].mean()), float(y[rows].mean()), len(rows))
        for k in range(bins)
        if len(rows := np.flatnonzero(place == k))
    ]


def _places(p: Floats, bins: int) -> npt.NDArray[np.int64]:
    edges = np.unique(np.quantile(p, np.arange(1, bins) / bins))
    return np.asarray(np.searchsorted(edges, p, side="left"), dtype=np.int64)


def _at_threshold(counts: Mapping[str, npt.NDArray[np.bool_]], draws: UserDraws, positives: int) -> dict[str, Drawn]:
    sums = draws.sums(np.stack([counts[name] for name in ("tp", "fp", "fn")]).astype(np.float64))

    def ratio(top: Callable[[Floats], Floats], bottom: Callable[[Floats], Floats], empty: float) -> Drawn:
        def of(weight: Floats) -> Floats:
            drawn = sums @ weight
            above, below = top(drawn), bottom(drawn)
            return np.asarray(np.divide(above, below, out=np.full_like(above, empty), where=below > 0))

        return drawn(of, draws)

    found = {"precision": ratio(lambda c: c[0], lambda c: c[0] + c[1], 0.0)}
    if positives:
        found["recall"] = ratio(lambda c: c[0], lambda c: c[0] + c[2], np.nan)
        found["f1"] = ratio(lambda c: 2 * c[0], lambda c: 2 * c[0] + c[1] + c[2], np.nan)
    return found


def _mean(value: Floats, draws: UserDraws) -> Drawn:
    sums = draws.sums(np.stack([value, np.ones(len(value))]))

    def of(weight: Floats) -> Floats:
        total, rows = sums @ weight
        return np.asarray(total / rows)

    return drawn(of, draws)


def _calibration_errors(y: Labels, p: Floats, draws: UserDraws) -> Drawn:
    gaps = csr_array((y - p, (_places(p, BINS), draws.code)), shape=(BINS, draws.users))
    rows = draws.sums(np.ones((1, len(y))))

    def of(weight: Floats) -> Floats:
        return np.asarray(np.abs(gaps @ weight).sum(axis=0) / (rows @ weight)[0])

    return drawn(of, draws)


def _metric(name: str, values_of: Drawn, users: int, involved: int | None = None) -> Metric:
    """``involved``: of how many users the counts of a rate come. Where all of them hit, or all miss, every draw says
    the same, and the interval is the exact one of so many trials (Clopper and Pearson 1934), a user being one."""
    value, values = values_of
    if users < 2 or np.isnan(values).all() or involved == 0:
        return Metric(name, value, 0.0, 1.0)
    low, high = np.nanquantile(values, [0.025, 0.975])
    if involved is not None and low == high and value in (0.0, 1.0):
        reach = 1 - 0.025 ** (1 / involved)
        return Metric(name, value, max(0.0, value - reach), min(1.0, value + reach))
    return Metric(name, value, float(low), float(high))
