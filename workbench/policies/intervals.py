"""Precision, recall and F1 of yes-or-no verdicts, with intervals that know that a user's events belong together.

A bootstrap over whole users (Field and Welsh, Bootstrapping clustered data, 2007). Precision, recall and F1 depend on
sums of counts only, and users with the same counts are exchangeable, so a draw of users is a multinomial draw of the
distinct counts: the same distribution as drawing users one by one, at a cost that does not grow with their number.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["METRICS", "Counts", "measure", "measure_difference"]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

METRICS: Final = ("precision", "recall", "f1")
_DIGITS: Final = 6


def measure(counts: Counts, *, resamples: int = 1000, seed: int = 42) -> dict[str, Any]:
    """``counts``: shape (users, 3), of each user hits that are violations, hits that are not, violations missed.

    Of each metric ``value``, ``low`` and ``high`` (95 %, percentile), rounded to six digits. A metric that cannot be
    had (precision without a hit) is None; draws in which it cannot be had do not count. Of fewer than two users no
    interval can be had, and [0, 1] says so.

    >>> measure(np.array([[1, 1, 0], [1, 1, 0]]))["precision"]
    {'value': 0.5, 'low': 0.5, 'high': 0.5}
    """
    drawn = _draws(counts, resamples, seed)
    values, draws = _metrics(counts.sum(axis=0)[None]), _metrics(drawn)
    return {name: _told(values[name][0], draws[name], len(counts)) for name in METRICS}


def measure_difference(counts: Counts, *, resamples: int = 1000, seed: int = 42) -> dict[str, Any]:
    """``counts``: shape (users, 6), those of ``measure`` for one policy and then for another, on the same events.

    Of each metric the difference, the first less the second, with its paired 95 % interval.
    """
    drawn = _draws(counts, resamples, seed)
    total = counts.sum(axis=0)[None]
    found = {}
    for name in METRICS:
        value = float((_metrics(total[:, :3])[name] - _metrics(total[:, 3:])[name])[0])
        found[name] = _told(value, _metrics(drawn[:, :3])[name] - _metrics(drawn[:, 3:])[name], len(counts), least=-1.0)
    return found


def _draws(counts: Counts, resamples: int, seed: int) -> Counts:
    """Sums over users drawn with replacement: shape (resamples, columns)."""
    if not len(counts):
        return np.zeros((resamples, counts.shape[1]), dtype=np.int64)
    distinct, many = np.unique(counts, axis=0, return_counts=True)
    weights = np.random.default_rng(seed).multinomial(len(counts), many / len(counts), size=resamples)
    return np.asarray(weights @ distinct, dtype=np.int64)


def _metrics(sums: Counts) -> Mapping[str, Floats]:
    hit, wrong, missed = (sums[:, place].astype(np.float64) for place in range(3))
    return {
        "precision": _ratio(hit, hit + wrong),
        "recall": _ratio(hit, hit + missed),
        "f1": _ratio(2 * hit, 2 * hit + wrong + missed),
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))


def _told(value: float, draws: Floats, users: int, *, least: float = 0.0) -> dict[str, float | None]:
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(known):
        return {"value": None, "low": None, "high": None}
    low, high = np.quantile(known, [0.025, 0.975]) if users > 1 else (least, 1.0)
    return {
        "value": round(float(value), _DIGITS),
        "low": round(float(low), _DIGITS),
        "high": round(float(high), _DIGITS),
    }
