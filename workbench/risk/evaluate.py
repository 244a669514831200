"""Cross-validation by user, with confidence intervals that know that a user's events belong together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance as sklearn_permutation_importance
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from workbench.errors import InputError
from workbench.features import FeatureTable

__all__ = ["CrossValidation", "Metric", "bootstrap", "cross_validate", "permutation_importance"]

Floats = npt.NDArray[np.float64]
Score = Callable[[npt.NDArray[np.int8], Floats], float]

METRICS: Final[dict[str, Score]] = {
    "roc_auc": lambda y, p: float(roc_auc_score(y, p)),
    "average_precision": lambda y, p: float(average_precision_score(y, p)),
}


@dataclass(frozen=True)
class Metric:
    """A number with its 95 % interval, and its value in each fold."""

    name: str
    value: float
    low: float
    high: float
    folds: tuple[float, ...]


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold scores of a table's rows.

    ``scores``: shape (n,), the probability given by the model that had not seen the row's user. ``fold``: shape (n,).
    ``models`` are the fitted forests, one a fold.
    """

    table: FeatureTable
    scores: Floats
    fold: npt.NDArray[np.int64]
    models: tuple[RandomForestClassifier, ...]
    seed: int

    def metric(self, name: str, *, resamples: int = 500) -> Metric:
        """``roc_auc`` or ``average_precision`` over all rows, with a user-cluster bootstrap interval."""
        score = METRICS[name]
        y, p = self.table.y, self.scores
        folds = tuple(score(y[self.fold == k], p[self.fold == k]) for k in range(len(self.models)))
        low, high = bootstrap(score, y, p, self.table.users, resamples=resamples, seed=self.seed)
        return Metric(name, score(y, p), low, high, folds)


def cross_validate(
    table: FeatureTable,
    *,
    folds: int = 5,
    trees: int = 200,
    seed: int = 42,
    progress: Callable[[int], None] = lambda fold: None,
) -> CrossValidation:
    """Stratified k-fold cross-validation of a random forest, all events of a user in one fold.

    ``progress`` is called with each fold's number when it is done. Prediction runs on one thread: with more,
    scikit-learn's forests are not bit-for-bit repeatable.

    Raises ``InputError`` if there are fewer users with a violation than folds.
    """
    guilty = len(set(table.users[table.y == 1]))
    if guilty < folds:
        raise InputError(f"{folds} folds need at least {folds} users with a violation; there are {guilty}")
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    X = table.X.to_numpy()
    scores = np.full(len(X), np.nan)
    fold = np.full(len(X), -1, dtype=np.int64)
    models = []
    for number, (train, test) in enumerate(splitter.split(X, table.y, table.users)):
        forest = RandomForestClassifier(
            n_estimators=trees,
            max_depth=12,
            min_samples_leaf=5,
            max_samples=min(1.0, 20_000 / len(train)),
            random_state=seed,
            n_jobs=2,
        )
        forest.fit(X[train], table.y[train])
        forest.n_jobs = 1
        scores[test] = forest.predict_proba(X[test])[:, 1]
        fold[test] = number
        models.append(forest)
        progress(number)
    return CrossValidation(table, scores, fold, tuple(models), seed)


def bootstrap(
    score: Score,
    y: npt.NDArray[np.int8],
    p: Floats,
    users: npt.NDArray[np.object_],
    *,
    resamples: int = 500,
    seed: int = 42,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of ``score(y, p)``, drawing whole users with replacement.

    ``y``, ``p`` and ``users``: shape (n,). A draw without both classes is drawn again.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; clusters as in Field and
    Welsh, Bootstrapping clustered data (2007).

    >>> y = np.array([0, 1, 0, 1], dtype=np.int8)
    >>> bootstrap(METRICS["roc_auc"], y, np.array([.1, .9, .2, .8]), np.array(list("abcd"), dtype=object), resamples=20)
    (1.0, 1.0)
    """
    rng = np.random.default_rng(seed)
    _, cluster = np.unique(users.astype(str), return_inverse=True)
    order = np.argsort(cluster, kind="stable")
    starts = np.searchsorted(cluster[order], np.arange(cluster.max() + 2))
    members = [order[starts[k] : starts[k + 1]] for k in range(len(starts) - 1)]
    values: list[float] = []
    while len(values) < resamples:
        rows = np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))])
        if 0 < y[rows].sum() < len(rows):
            values.append(score(y[rows], p[rows]))
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def permutation_importance(result: CrossValidation, *, repeats: int = 3, rows: int = 5_000) -> pd.DataFrame:
    """How much average precision falls when one feature is shuffled, on rows the model had not seen.

    Returns columns ``feature``, ``mean``, ``sd`` (over folds and repeats) and ``rank``, most important first. At most
    ``rows`` rows a fold are used, chosen by the seed.
    """
    rng = np.random.default_rng(result.seed)
    X, y = result.table.X.to_numpy(), result.table.y
    drops = []
    for number, model in enumerate(result.models):
        test = np.flatnonzero(result.fold == number)
        if len(test) > rows:
            test = np.sort(rng.choice(test, rows, replace=False))
        measured = sklearn_permutation_importance(
            model,
            X[test],
            y[test],
            scoring="average_precision",
            n_repeats=repeats,
            random_state=result.seed,
            n_jobs=1,
        )
        drops.append(measured.importances)
    importances = np.concatenate(drops, axis=1)
    frame = pd.DataFrame(
        {
            "feature": result.table.X.columns,
            "mean": importances.mean(axis=1),
            "sd": importances.std(axis=1, ddof=1),
        }
    ).sort_values("mean", ascending=False, ignore_index=True)
    frame["rank"] = np.arange(1, len(frame) + 1)
    return frame
