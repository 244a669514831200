"""The training part: a search over 12 candidates on 5 folds of 1,000 rows, as people tune on their own machines.

The peer is scikit-learn's ``GridSearchCV`` on the same rows and folds over a grid as papers write it: the number of
trees in the grid, trees of full depth, one process a core. It asks a different question in as many fits.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from benchmarks.timing import Case, seconds
from workbench.risk.tuning import search

__all__ = ["cases"]

_ROWS: Final = 1_000
_PEERS: Final = {
    "random_forest": (
        RandomForestClassifier(random_state=42),
        {"n_estimators": [100, 200, 300], "max_features": ["sqrt", 0.5], "min_samples_leaf": [1, 5]},
    ),
    "gradient_boosting": (
        GradientBoostingClassifier(random_state=42),
        {"n_estimators": [100, 200], "learning_rate": [0.05, 0.1], "max_depth": [2, 3, 4]},
    ),
    "hist_gradient_boosting": (
        HistGradientBoostingClassifier(random_state=42),
        {"max_iter": [100, 200], "learning_rate": [0.05, 0.1], "max_leaf_nodes": [7, 15, 31]},
    ),
}


def cases(folder: Path, scale: float) -> Iterator[Case]:  # noqa: ARG001
    rng = np.random.default_rng(42)
    X = rng.normal(size=(_ROWS, 23))
    y = (rng.random(_ROWS) < 1 / (1 + np.exp(2.0 - X[:, 0] - X[:, 1] * X[:, 2]))).astype(np.int8)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=42).split(X, y))
    for algorithm, (estimator, grid) in _PEERS.items():
        yield Case(
            "training: 12 x 5 grid",
            f"{algorithm}, {_ROWS:,} rows",
            "s",
            lambda algorithm=algorithm: seconds(lambda: search(algorithm, X, y, folds, jobs=2)),
            lambda estimator=estimator, grid=grid: seconds(
                lambda: GridSearchCV(estimator, grid, cv=folds, scoring="average_precision", n_jobs=2).fit(X, y)
            ),
            "GridSearchCV, trees in the grid",
            target=15.0 if algorithm == "random_forest" else None,
            rounds=3,
        )
