"""Tuning: the three algorithms with what they start from, and the search for better parameters over given folds.

The number of trees is not in any grid. A random forest only gains from more (Breiman, Random forests, 2001), so it is
fixed; a boosted model tells its score after each tree, so one fit a fold shows every number of trees at once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, Literal, ParamSpec, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # makes the next import possible
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, ParameterGrid
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from workbench.errors import InputError, nearest
from workbench.risk.forest import ALGORITHMS, Algorithm

__all__ = ["GRIDS", "TUNES", "Tune", "Tuning", "candidates", "estimator", "one_thread", "search"]

Tune = Literal["grid", "halving", "none"]
TUNES: Final[tuple[Tune, ...]] = get_args(Tune)

# Twelve candidates each, the simpler first: of equals the first is taken.
GRIDS: Final[dict[Algorithm, dict[str, list[Any]]]] = {
    "random_forest": {
        "max_depth": [6, 12],
        "max_features": ["sqrt", 0.5],
        "min_samples_leaf": [20, 5, 2],
    },
    "gradient_boosting": {
        "learning_rate": [0.05, 0.1],
        "max_depth": [2, 3, 4],
        "min_samples_leaf": [20, 5],
    },
    "hist_gradient_boosting": {
        "learning_rate": [0.05, 0.1],
        "max_leaf_nodes": [7, 15, 31],
        "min_samples_leaf": [40, 20],
    },
}

# A full-depth forest on all rows was larger, slower and ranked worse; a tree needs no more rows than this.
_ROWS_A_TREE: Final = 20_000
_STAGES: Final = tuple(range(20, 201, 20))
_POSITIVES_A_RUNG: Final = 100

P = ParamSpec("P")
R = TypeVar("R")
Rows = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Tuning:
    """What a search found. ``parameters``: of the best candidate. ``candidates``: every one tried, with its average
    precision over the folds (mean and standard deviation) and the rows it was given."""

    method: Tune
    parameters: dict[str, Any]
    candidates: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        return {"method": self.method, "parameters": self.parameters, "candidates": self.candidates}


def estimator(
    algorithm: Algorithm, *, rows: int, seed: int = 42, jobs: int = 1, trees: int | None = None, **parameters: Any
) -> Any:
    """An unfitted scikit-learn classifier: trees at most 12 deep, each on at most 20,000 of ``rows`` rows.

    ``trees``: 100 unless given. ``jobs`` is for fitting only, and does not
    change what is fitted; set ``n_jobs`` to 1 before predicting, or a forest's sums differ in the last bits.

    No early stopping, which would set rows aside at random, across time and users. No class weights: they would bend
    the probabilities.

    >>> estimator("random_forest", rows=1000, trees=10, max_depth=6).max_depth
    6
    """
    if algorithm not in ALGORITHMS:
        raise InputError(f"no algorithm {algorithm!r}{nearest(algorithm, ALGORITHMS)}")
    share = min(1.0, _ROWS_A_TREE / max(1, rows))
    if algorithm == "random_forest":
        base = {"n_estimators": trees or 100, "max_depth": 12, "min_samples_leaf": 5, "n_jobs": jobs}
        return RandomForestClassifier(**(base | {"max_samples": share} | parameters), random_state=seed)
    if algorithm == "gradient_boosting":
        base = {"n_estimators": trees or 100, "max_depth": 3}
        return GradientBoostingClassifier(**(base | {"subsample": share} | parameters), random_state=seed)
    base = {"max_iter": trees or 100, "max_leaf_nodes": 15, "early_stopping": False}
    return HistGradientBoostingClassifier(**(base | parameters), random_state=seed)


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Let ``function`` use one OpenMP thread: the threads of histogram boosting wait for each other busily, which on a
    machine with other work took ten times as long as one alone, for the same result."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with threadpool_limits(limits=1, user_api="openmp"):
            return function(*args, **kwargs)

    return limited


def candidates(algorithm: Algorithm, method: Tune) -> int:
    """How many candidates ``search`` tries at most, a candidate counting again on each rung of ``halving``.

    >>> candidates("random_forest", "grid"), candidates("random_forest", "halving")
    (12, 18)
    """
    if method == "none":
        return 0
    grid = len(ParameterGrid(GRIDS[algorithm]))
    return grid if method == "grid" else grid + math.ceil(grid / 3) + math.ceil(grid / 9)


@one_thread
def search(
    algorithm: Algorithm,
    X: Floats,
    y: Labels,
    splits: Sequence[tuple[Rows, Rows]],
    *,
    method: Tune = "grid",
    seed: int = 42,
    jobs: int = 2,
    progress: Callable[[int], None] = lambda candidates: None,
) -> Tuning:
    """The parameters of the algorithm's grid with the best mean average precision over ``splits``.

    ``X``: shape (n, k), ``y``: shape (n,), ``splits``: (train, test) row numbers. ``grid`` tries all candidates on all
    rows. ``halving`` starts them on a part, keeps the best third, and gives it three times as many (Jamieson and
    Talwalkar 2016): worthwhile from about 10,000 rows, and the same as ``grid`` with fewer than 300 violations.
    ``none`` tries nothing. ``progress`` is called with how many candidates have been tried. Candidates run in ``jobs``
    processes; the result does not depend on how many.

    >>> X, y = np.arange(80.0)[:, None], np.tile([0, 1], 40).astype(np.int8)
    >>> search("random_forest", X, y, [], method="none").parameters
    {}
    """
    if method not in TUNES:
        raise InputError(f"no tuning {method!r}{nearest(method, TUNES)}")
    if method == "none":
        return Tuning(method, {}, [])
    base = estimator(algorithm, rows=max(len(train) for train, _ in splits), seed=seed)
    common: dict[str, Any] = {
        "estimator": base,
        "param_grid": GRIDS[algorithm],
        "scoring": "average_precision",
        "cv": list(splits),
        "n_jobs": jobs,
        "refit": False,
        "error_score": "raise",
    }
    if method == "grid":
        tried: Any = _Grid(**common)
    else:
        tried = _Halving(**common, factor=3, min_resources=_first_rung(y), random_state=seed)
    tried.told = progress
    tried.fit(X, y)
    results = tried.cv_results_
    parameters = {name: _plain(value) for name, value in results["params"][tried.best_index_].items()}
    tried_all = [
        {
            "parameters": {name: _plain(value) for name, value in results["params"][k].items()},
            "average_precision": float(results["mean_test_score"][k]),
            "sd": float(results["std_test_score"][k]),
            "rows": int(results["n_resources"][k]) if method == "halving" else len(y),
        }
        for k in range(len(results["params"]))
    ]
    if algorithm != "random_forest":
        parameters |= _stages(algorithm, X, y, splits, parameters, seed)
    return Tuning(method, parameters, tried_all)


class _Grid(GridSearchCV):  # type: ignore[misc]
    """All candidates, a few at a time so that progress can be told in between."""

    told: Callable[[int], None] = staticmethod(lambda candidates: None)

    def _run_search(self, evaluate_candidates: Any) -> None:
        every = list(ParameterGrid(self.param_grid))
        batch = 2 * max(1, self.n_jobs or 1)
        for start in range(0, len(every), batch):
            evaluate_candidates(every[start : start + batch])
            self.told(min(start + batch, len(every)))

    def __getstate__(self) -> Any:
        return _untold(super().__getstate__())


class _Halving(HalvingGridSearchCV):  # type: ignore[misc]
    told: Callable[[int], None] = staticmethod(lambda candidates: None)

    def _run_search(self, evaluate_candidates: Any, *, callback_ctx: Any = None) -> None:
        done = 0

        def counted(candidates: Any, *rest: Any, **more: Any) -> Any:
            nonlocal done
            every = list(candidates)
            results = evaluate_candidates(every, *rest, **more)
            done += len(every)
            self.told(done)
            return results

        super()._run_search(counted, callback_ctx=callback_ctx)

    def __getstate__(self) -> Any:
        return _untold(super().__getstate__())


def _untold(state: Any) -> Any:
    """Workers get a copy of the search; whom to tell of progress stays here."""
    return {name: value for name, value in state.items() if name != "told"}


def _first_rung(y: Labels) -> int:
    """Rows that halving starts on, so that its last rung has them all: a ninth, or a third, or at once all where fewer
    would leave under about 100 violations to tell candidates apart."""
    positives = int((y == 1).sum())
    enough = (later for later in (2, 1) if positives // 3**later >= _POSITIVES_A_RUNG)
    rungs: int = next(enough, 0)
    return len(y) // int(3**rungs)


def _stages(
    algorithm: Algorithm, X: Floats, y: Labels, splits: Sequence[tuple[Rows, Rows]], parameters: Any, seed: int
) -> dict[str, int]:
    """The number of boosted trees with the best mean average precision, all numbers seen in one fit a fold."""
    scores = np.zeros((len(splits), len(_STAGES)))
    for fold, (train, test) in enumerate(splits):
        model = estimator(algorithm, rows=len(train), seed=seed, trees=_STAGES[-1], **parameters)
        model.fit(X[train], y[train])
        for stage, p in enumerate(model.staged_predict_proba(X[test]), start=1):
            if stage in _STAGES:
                scores[fold, _STAGES.index(stage)] = average_precision_score(y[test], p[:, 1])
    return {"trees": _STAGES[int(np.argmax(scores.mean(axis=0)))]}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
