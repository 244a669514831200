"""Cross-validation: every row scored by a model that had not seen it, in one of three ways to part the rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.inspection import permutation_importance as sklearn_permutation_importance
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from workbench.errors import InputError, nearest
from workbench.features import FeatureTable
from workbench.risk.forest import Algorithm
from workbench.risk.metrics import Metric, bootstrap
from workbench.risk.splits import TemporalGroupSplit
from workbench.risk.tuning import estimator, one_thread

__all__ = [
    "WAYS",
    "CrossValidation",
    "Way",
    "cross_validate",
    "folds_of",
    "permutation_importance",
    "permuted",
    "ranked",
]

Way = Literal["grouped", "forward", "stratified"]
WAYS: Final[tuple[Way, ...]] = get_args(Way)

Rows = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

_SCORES: Final[dict[str, Callable[..., float]]] = {
    "average_precision": average_precision_score,
    "roc_auc": roc_auc_score,
}


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold scores of a table's rows.

    ``scores``: shape (n,), the probability given by the model of the fold that the row was tested in, NaN where it was
    in none. ``fold``: shape (n,), that fold's number from 0, -1 where none. ``models``: the fitted classifiers.
    """

    table: FeatureTable
    scores: Floats
    fold: npt.NDArray[np.int64]
    models: tuple[Any, ...]
    seed: int

    def metric(self, name: str, *, resamples: int = 500) -> Metric:
        """``roc_auc`` or ``average_precision`` over all tested rows, with a user-cluster bootstrap interval.

        Scores of different folds come from different models; where the folds are forward in time this compares them
        as if they were one, which the values of single ``folds`` do not.
        """
        rows = self.fold >= 0
        y, p = self.table.y, self.scores
        whole = bootstrap(name, y[rows], p[rows], self.table.users[rows], resamples=resamples, seed=self.seed)
        score = _SCORES[name]
        folds = tuple(float(score(y[self.fold == k], p[self.fold == k])) for k in range(len(self.models)))
        return Metric(whole.name, whole.value, whole.low, whole.high, folds)

    def as_dicts(self) -> list[dict[str, Any]]:
        """Each fold as ``metrics.json`` holds it: its two scores, rows and violations, and when it begins."""
        told = []
        for k in range(len(self.models)):
            rows = np.flatnonzero(self.fold == k)
            y, p = self.table.y[rows], self.scores[rows]
            begin = np.datetime64(int(self.table.time[rows].min()), "us")
            told.append(
                {name: float(score(y, p)) for name, score in _SCORES.items()}
                | {"rows": len(rows), "positives": int((y == 1).sum()), "from": f"{np.datetime_as_string(begin)}Z"}
            )
        return told


def folds_of(
    table: FeatureTable,
    way: Way,
    *,
    folds: int = 5,
    embargo: timedelta | None = None,
    known_at: bool = True,
    seed: int = 42,
) -> list[tuple[Rows, Rows]]:
    """(train, test) row numbers of ``folds`` folds over the labelled rows of ``table``.

    ``grouped``: all events of a user in one fold, violations spread evenly (``StratifiedGroupKFold``); asks how well
    strangers are judged. ``forward``: ``TemporalGroupSplit``; asks how well the future is judged, and is what a
    deployed model meets. ``stratified``: single rows at random (``StratifiedKFold``); what most papers report, and too
    hopeful where a user's rows resemble each other.

    Raises ``InputError`` if there are fewer users with a violation (``grouped``) or violations than folds.
    """
    if way not in WAYS:
        raise InputError(f"no folds {way!r}{nearest(way, WAYS)}")
    if folds < 2:
        raise InputError(f"cross-validation: expected 2 folds or more, not {folds}")
    if way == "forward":
        splitter = TemporalGroupSplit(folds, embargo=embargo, known_at=known_at, seed=seed)
        return list(splitter.split(table))
    rows = np.flatnonzero(table.y >= 0)
    y, users = table.y[rows], table.users[rows]
    guilty = len(set(users[y == 1])) if way == "grouped" else int((y == 1).sum())
    if guilty < folds:
        what = "users with a violation" if way == "grouped" else "violations"
        raise InputError(f"{folds} folds need at least {folds} {what}; there are {guilty}")
    kind = StratifiedGroupKFold if way == "grouped" else StratifiedKFold
    parts = kind(n_splits=folds, shuffle=True, random_state=seed).split(rows, y, users if way == "grouped" else None)
    return [(rows[train], rows[test]) for train, test in parts]


@one_thread
def cross_validate(
    table: FeatureTable,
    *,
    algorithm: Algorithm = "random_forest",
    way: Way = "grouped",
    folds: int = 5,
    splits: Sequence[tuple[Rows, Rows]] | None = None,
    trees: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 42,
    jobs: int = 2,
    progress: Callable[[int], None] = lambda fold: None,
) -> CrossValidation:
    """Cross-validate one algorithm with given ``parameters`` (see ``tuning.estimator``).

    ``splits`` of one's own (train and test row numbers) take the place of ``way`` and ``folds``. ``progress`` is called
    with each fold's number when it is done. Prediction runs on one thread: with more, scikit-learn's forests are not
    bit-for-bit repeatable.

    Raises ``InputError`` as ``folds_of`` does.
    """
    if splits is None:
        splits = folds_of(table, way, folds=folds, seed=seed)
    given = {**(parameters or {}), **({} if trees is None else {"trees": trees})}
    X = table.X.to_numpy(dtype=np.float64)
    scores = np.full(len(X), np.nan)
    fold = np.full(len(X), -1, dtype=np.int64)
    models = []
    for number, (train, test) in enumerate(splits):
        model = estimator(algorithm, rows=len(train), seed=seed, jobs=jobs, **given)
        model.fit(X[train], table.y[train])
        if hasattr(model, "n_jobs"):
            model.n_jobs = 1
        scores[test] = model.predict_proba(X[test])[:, 1]
        fold[test] = number
        models.append(model)
        progress(number)
    return CrossValidation(table, scores, fold, tuple(models), seed)


@one_thread
def permutation_importance(result: CrossValidation, *, repeats: int = 3, rows: int = 5_000) -> pd.DataFrame:
    """How much average precision falls when one feature is shuffled, on rows the model had not seen.

    Returns columns ``feature``, ``mean``, ``sd`` (over folds and repeats) and ``rank``, most important first. At most
    ``rows`` rows a fold are used, chosen by the seed. Source: Breiman, Random forests (2001), section 10; on unseen
    rows, because a forest's own impurity measure favours features with many values (Strobl et al. 2007).
    """
    X, y = result.table.X.to_numpy(dtype=np.float64), result.table.y
    rng = np.random.default_rng(result.seed)
    drops = []
    for number, model in enumerate(result.models):
        test = np.flatnonzero(result.fold == number)
        if len(test) > rows:
            test = np.sort(rng.choice(test, rows, replace=False))
        drops.append(permuted(model, X[test], y[test], repeats=repeats, seed=result.seed))
    return ranked(list(result.table.X.columns), np.concatenate(drops, axis=1))


def permuted(model: Any, X: Floats, y: npt.NDArray[np.int8], *, repeats: int, seed: int) -> Floats:
    """Fall in average precision for each feature and repeat, shape (k, repeats)."""
    measured = sklearn_permutation_importance(
        model, X, y, scoring="average_precision", n_repeats=repeats, random_state=seed, n_jobs=1
    )
    return np.asarray(measured.importances, dtype=np.float64)


def ranked(names: Sequence[str], drops: Floats) -> pd.DataFrame:
    """The falls of ``permuted`` as a table, the largest mean first."""
    frame = pd.DataFrame({"feature": list(names), "mean": drops.mean(axis=1), "sd": drops.std(axis=1, ddof=1)})
    frame = frame.sort_values("mean", ascending=False, ignore_index=True, kind="stable")
    frame["rank"] = np.arange(1, len(frame) + 1)
    return frame
