"""Ranking metrics under the bootstrap: rows are sorted once, and a draw of users costs one product (see ``paired``)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from workbench.risk.paired import UserDraws

__all__ = ["Drawn", "drawn", "recalls_at", "roc_aucs"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
Drawn = tuple[float, Floats]  # the value on the sample, and in each draw


def drawn(of: Callable[[Floats], Floats], draws: UserDraws) -> Drawn:
    """What ``of`` makes of the users' weights (users, B) on the sample, and in each draw."""
    return float(of(draws.once)[0]), np.concatenate([of(weight) for weight in draws.blocks()])


def roc_aucs(y: Labels, p: Floats, draws: UserDraws) -> Drawn:
    """Area under the ROC curve of ``p`` on the sample, and in each draw (shape (B,), NaN without both classes).

    The chance that a violation scores higher than another event, ties counting half (Hanley and McNeil 1982).

    >>> from workbench.risk.paired import draw_users
    >>> y, p = np.array([0, 1, 0, 1], dtype=np.int8), np.array([.1, .9, .8, .4])
    >>> roc_aucs(y, p, draw_users(np.arange(4), resamples=2))[0]
    0.75
    """
    ranking = _Ranking.of(y == 1, p, draws)

    def of(weight: Floats) -> Floats:
        hits, rows, tied = ranking.hits @ weight, ranking.rows @ weight, ranking.tied @ weight
        above_or_tied = (rows - hits).cumsum(axis=0)  # other events that score as high as this group or higher
        positives, others = hits.sum(axis=0), ranking.others @ weight
        lost = (hits * (above_or_tied - tied / 2)).sum(axis=0)
        pairs = positives * others
        return np.asarray(1 - np.divide(lost, pairs, out=np.full_like(lost, np.nan), where=pairs > 0))

    return drawn(of, draws)


def recalls_at(positive: npt.NDArray[np.bool_], p: Floats, draws: UserDraws, alerts: int) -> Drawn:
    """Share of the violations among the ``alerts`` highest rows; rows of equal ``p`` are in together or not at all.

    ``positive`` and ``p``: shape (n,), all rows that could raise an alert.
    """
    ranking = _Ranking.of(positive, p, draws)

    def of(weight: Floats) -> Floats:
        hits, rows = ranking.hits @ weight, ranking.rows @ weight
        # A draw of users holds more or fewer rows than the sample; the budget is a share of the rows, not a number.
        total = np.bincount(draws.code, minlength=draws.users).astype(np.float64)
        allowed = alerts * ((total[:, None] * weight).sum(axis=0) / total.sum())
        caught = np.where(rows.cumsum(axis=0) <= allowed, hits, 0.0).sum(axis=0)
        positives = hits.sum(axis=0)
        return np.asarray(np.divide(caught, positives, out=np.full_like(caught, np.nan), where=positives > 0))

    return drawn(of, draws)


@dataclass(frozen=True)
class _Ranking:
    """Rows by falling score, cut after each group of equal scores that holds a violation: only there recall grows.

    Sparse arrays of shape (groups, users): violations (``hits``) and all rows (``rows``) since the group before;
    ``tied``: other events of the very score of the group's violations. ``others``: shape (users,), all non-violations.
    """

    hits: csr_array
    rows: csr_array
    tied: csr_array
    others: Floats

    @classmethod
    def of(cls, positive: npt.NDArray[np.bool_], p: Floats, draws: UserDraws) -> "_Ranking":
        order = np.argsort(-p, kind="stable")
        score, hit, code = p[order], positive[order], draws.code[order]
        starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])
        sizes = np.diff(np.r_[starts, len(score)])
        guilty = np.logical_or.reduceat(hit, starts)
        group = np.repeat(np.cumsum(guilty) - guilty, sizes)
        shape = (int(guilty.sum()), draws.users)
        inside = group < shape[0]

        def table(of: npt.NDArray[np.bool_]) -> csr_array:
            return csr_array((np.ones(int(of.sum())), (group[of], code[of])), shape=shape)

        return cls(
            hits=table(hit),
            rows=table(inside),
            tied=table(inside & ~hit & np.repeat(guilty, sizes)),
            others=np.bincount(code[~hit], minlength=draws.users).astype(np.float64),
        )
