"""Training: from a table of features to a model, and to everything that is needed to doubt it.

The order of work is the order of time. Tuning and cross-validation see the train slice only; the calibrator, the
threshold and the metrics each get a later slice of their own (see ``splits``); the test slice decides nothing.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, nearest
from workbench.features import FeatureTable
from workbench.files import canonical_json
from workbench.risk.calibration import METHODS, Calibrator, Method
from workbench.risk.crossval import CrossValidation, cross_validate, folds_of
from workbench.risk.forest import ALGORITHMS, Algorithm, Forest
from workbench.risk.metrics import Evaluation
from workbench.risk.model import RiskModel
from workbench.risk.origin import origin_of
from workbench.risk.records import (
    SHARES_LEARNT,
    importance,
    labels_of,
    learning_curve,
    matrix,
    metrics_of,
    parity,
    reference,
    slices_of,
)
from workbench.risk.splits import Slices, time_slices
from workbench.risk.threshold import RULES, Rule, Threshold, choose, require_budget
from workbench.risk.tuning import TUNES, Tune, Tuning, candidates, estimator, one_thread, search

__all__ = ["Progress", "Training", "train"]

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Training:
    """A trained model with its evaluation.

    ``model`` is to be registered; ``evaluated`` is the one that ``metrics`` belong to: the same, unless it was fitted
    again on all labels. ``estimator``: the fitted scikit-learn classifier in ``model``. ``cv``: cross-validations
    within the train slice, by way of folding.
    """

    model: RiskModel
    evaluated: RiskModel
    estimator: Any
    slices: Slices
    tuning: Tuning
    cv: Mapping[str, CrossValidation]
    evaluations: Mapping[str, Evaluation]
    metrics: dict[str, Any]
    reference: dict[str, Any]
    parity: dict[str, Any]

    def files(self) -> Mapping[str, bytes]:
        """What the registry keeps beside the model, by file name."""
        from workbench.risk.card import card_markdown

        return {
            "metrics.json": canonical_json(self.metrics),
            "reference.json": canonical_json(self.reference),
            "parity.json": canonical_json(self.parity),
            "card.md": card_markdown(self.model, self.metrics, self.reference).encode(),
        }


@one_thread
def train(
    table: FeatureTable,
    *,
    algorithm: Algorithm = "random_forest",
    tune: Tune = "grid",
    folds: int = 5,
    use_all_labels: bool = False,
    calibration: Method | Literal["auto"] = "auto",
    threshold: Rule = "budget",
    budget: float = 10.0,
    cost_miss: float | None = None,
    cost_alarm: float | None = None,
    embargo: timedelta | None = None,
    known_at: bool = True,
    holdout_users: float = 0.1,
    new_days: float = 7.0,
    resamples: int = 1000,
    seed: int = 42,
    jobs: int = 2,
    progress: Progress = lambda what, done, of: None,
) -> Training:
    """Train, calibrate, choose a threshold, and measure, each on a slice of time of its own.

    ``tune`` searches the algorithm's grid over ``folds`` forward folds of the train slice. ``threshold`` is the rule;
    ``budget`` (alerts a day) is also what ``recall_at_budget`` is measured with, whatever the rule. ``embargo`` of
    ``None`` is how long labels take, ``holdout_users`` the share of users never learnt from. A ``table`` with its
    unlabelled events lets the budget count them; without them it is a budget of alerts on labelled events.

    ``use_all_labels`` then fits the same parameters again on every label known by the end of the data, held-out users
    included. The metrics stay those of the model before, and say so: nothing is left to measure the new one on.

    The same table and arguments give the same model, bit for bit, whatever ``jobs``.

    Raises ``InputError`` for a table that is too short or has too few violations for its slices or folds, in one
    sentence with the numbers.
    """
    _check(algorithm, tune, threshold, calibration, budget, cost_miss, cost_alarm, resamples, jobs)
    slices = time_slices(
        table, embargo=embargo, known_at=known_at, holdout_users=holdout_users, new_days=new_days, seed=seed
    )
    learnt = table.take(slices.train)
    ways = {
        way: folds_of(learnt, way, folds=folds, embargo=slices.embargo, known_at=known_at, seed=seed)
        for way in ("forward", "grouped", "stratified")
    }
    tuned = candidates(algorithm, tune) * folds
    steps = _Steps(progress, tuned + 3 * folds + len(SHARES_LEARNT) + 3)
    tuning = search(
        algorithm,
        matrix(learnt),
        learnt.y,
        ways["forward"],
        method=tune,
        seed=seed,
        jobs=jobs,
        progress=lambda tried: steps.reach(f"tuning, {tried} candidates tried", tried * folds),
    )
    steps.reach("cross-validation", tuned)

    def fit(rows: Rows) -> Any:
        model = estimator(algorithm, rows=len(rows), seed=seed, jobs=jobs, **tuning.parameters)
        model.fit(matrix(table, rows), table.y[rows])
        if hasattr(model, "n_jobs"):
            model.n_jobs = 1  # more would change the last bits of a prediction
        return model

    cv = {}
    for way, splits in ways.items():
        cv[way] = cross_validate(
            learnt,
            algorithm=algorithm,
            splits=splits,
            parameters=tuning.parameters,
            seed=seed,
            jobs=jobs,
            progress=lambda fold, way=way: steps.next(f"{way} fold {fold + 1} of {folds}"),  # type: ignore[misc]
        )
    fitted = fit(slices.train)
    steps.next("model fitted")
    forest = Forest.of(fitted)
    X = matrix(table)
    calibrator = Calibrator.fit(forest.predict(X[slices.calibrate]), table.y[slices.calibrate], calibration)
    chosen = _threshold(
        table, slices, lambda rows: calibrator.apply(forest.predict(X[rows])), threshold, budget, cost_miss, cost_alarm
    )
    origin = origin_of(table, slices, algorithm, fitted, seed, holdout_users)
    evaluated = RiskModel(forest, calibrator, chosen, table.spec, origin)
    learning = learning_curve(table, slices, fit, fitted, told=steps.next)
    evaluations = slices_of(evaluated, table, slices, budget=budget, resamples=resamples, seed=seed)
    steps.next("metrics with intervals")
    ranks = importance(fitted, table, slices.test, repeats=5, seed=seed)
    steps.next("importance of features")
    from workbench.risk.figures import curve_points  # brings matplotlib

    metrics = metrics_of(evaluated, table, slices, evaluations, folds=cv, curves=curve_points, learning=learning)
    metrics |= {
        "tuning": tuning.as_dict(),
        "importance": ranks,
        "labels": labels_of(table, slices, known_at=known_at),
        "budget": {"alerts_per_day": budget},
    }
    model = evaluated
    if use_all_labels:
        model, fitted = _again(table, slices, evaluated, fit, known_at)
    steps.finish("done")
    metrics["belongs_to"] = {
        "model_sha256": evaluated.sha256,
        "is_the_registered_model": not use_all_labels,
        "note": _BELONGS_AGAIN if use_all_labels else "these metrics were measured on the registered model itself",
    }
    return Training(
        model=model,
        evaluated=evaluated,
        estimator=fitted,
        slices=slices,
        tuning=tuning,
        cv=cv,
        evaluations=evaluations,
        metrics=metrics,
        reference=reference(evaluated, table, slices, evaluations["test"]),
        parity=parity(model, table),
    )


_BELONGS_AGAIN: Final = (
    "these metrics were measured on a model fitted on the train slice; the registered one has the same parameters, "
    "calibration and threshold, was fitted again on every label known by the end of the data, and has not itself "
    "been measured: validate it on later events"
)


def _check(
    algorithm: str,
    tune: str,
    rule: str,
    calibration: str,
    budget: float,
    cost_miss: float | None,
    cost_alarm: float | None,
    resamples: int,
    jobs: int,
) -> None:
    """Refuse at once what would only fail after minutes of fitting."""
    for what, given, known in (
        ("algorithm", algorithm, ALGORITHMS),
        ("tuning", tune, TUNES),
        ("threshold rule", rule, RULES),
        ("calibration", calibration, ("auto", *METHODS)),
    ):
        if given not in known:
            raise InputError(f"no {what} {given!r}{nearest(given, known)}")
    require_budget(budget)
    costs = (cost_miss, cost_alarm)
    if rule == "cost" and not all(cost is not None and 0 < cost < math.inf for cost in costs):
        raise InputError("the rule 'cost' needs the cost of a miss and of a false alarm, two numbers above 0")
    if rule != "cost" and costs != (None, None):
        raise InputError(f"the cost of a miss or a false alarm goes with the threshold rule 'cost', not {rule!r}")
    if resamples < 10 or jobs < 1:
        raise InputError(f"expected 10 resamples or more and 1 job or more, not {resamples} and {jobs}")


class _Steps:
    """Counts finished steps and tells of them."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0
        progress("preparing", 0, total)

    def next(self, what: str) -> None:
        self.reach(what, self._done + 1)

    def reach(self, what: str, done: int) -> None:
        self._done = max(self._done, min(done, self._total))
        self._progress(what, self._done, self._total)

    def finish(self, what: str) -> None:
        self.reach(what, self._total)


def _threshold(
    table: FeatureTable,
    slices: Slices,
    predict: Callable[[Rows], npt.NDArray[np.float64]],
    rule: Rule,
    budget: float,
    cost_miss: float | None,
    cost_alarm: float | None,
) -> Threshold:
    """On all events of the threshold window; a label that the slice may not use counts as not given."""
    rows = slices.window(table, "threshold")
    y = np.where(np.isin(rows, slices.threshold), table.y[rows], -1).astype(np.int8)
    return choose(predict(rows), y, table.time[rows], rule, budget=budget, cost_miss=cost_miss, cost_alarm=cost_alarm)


def _again(
    table: FeatureTable, slices: Slices, evaluated: RiskModel, fit: Callable[[Rows], Any], known_at: bool
) -> tuple[RiskModel, Any]:
    """The same parameters fitted on every label known by the end; the newest days stay out, as before every cut."""
    end = int(table.time.max())
    usable = (table.y >= 0) & (table.time <= end - slices.embargo // timedelta(microseconds=1))
    if known_at:
        usable &= table.known <= end
    rows = np.flatnonzero(usable)
    fitted = fit(rows)
    origin = evaluated.origin | {
        "cutoffs": evaluated.origin["cutoffs"] | {"train": int(table.time[rows].max())},
        "labels_known_until": end,
        "holdout_users": 0.0,
        "refitted": True,
        "evaluated_sha256": evaluated.sha256,
    }
    return replace(evaluated, forest=Forest.of(fitted), origin=origin), fitted
