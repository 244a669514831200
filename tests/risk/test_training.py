"""Training: what is learnt is real, what is reported belongs to it, and the same data give the same bits."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.features import FeatureTable
from workbench.risk.crossval import cross_validate, folds_of, permutation_importance
from workbench.risk.forest import ALGORITHMS
from workbench.risk.metrics import METRICS, evaluate
from workbench.risk.model import RiskModel
from workbench.risk.records import importance
from workbench.risk.splits import held_out
from workbench.risk.training import Training, train
from workbench.risk.tuning import GRIDS, candidates, estimator, search
from workbench.risk.validation import score_events, validate

Make = Callable[..., FeatureTable]
QUICK: dict[str, Any] = {"tune": "none", "folds": 2, "resamples": 100, "jobs": 1}


@pytest.fixture(scope="module")
def table(history: Make) -> FeatureTable:
    return history(2_500, unlabelled=0.2)


@pytest.fixture(scope="module")
def training(table: FeatureTable) -> Training:
    return train(table, algorithm="hist_gradient_boosting", **QUICK)


# What is learnt


def test_the_model_finds_what_was_planted(training: Training) -> None:
    auc = training.evaluations["test"].metrics["roc_auc"]
    assert 0.75 < auc.low < auc.value
    ranks = [row["feature"] for row in training.metrics["importance"]]
    assert set(ranks[:2]) == {"denials_24h", "ip_is_new"}
    assert [row["permutation_rank"] for row in training.metrics["importance"]] == [1, 2, 3, 4, 5]
    assert [row["impurity"] for row in training.metrics["importance"]] == [None] * 5, "this algorithm has none"


def test_impurity_and_permutation_importance_stand_side_by_side_with_their_ranks(table: FeatureTable) -> None:
    (model,) = cross_validate(table, splits=[(np.flatnonzero(table.y >= 0)[:1_500], np.arange(5))], trees=20).models
    rows = np.flatnonzero(table.y >= 0)[1_500:]
    ranks = importance(model, table, rows, repeats=3, seed=1)
    assert [row["permutation_rank"] for row in ranks] == [1, 2, 3, 4, 5]
    assert sorted(row["impurity_rank"] for row in ranks) == [1, 2, 3, 4, 5]
    assert sum(row["impurity"] for row in ranks) == pytest.approx(1)
    best = max(ranks, key=lambda row: row["impurity"])
    assert (best["feature"], best["impurity_rank"]) == ("denials_24h", 1)


def test_permuted_labels_give_no_better_than_chance(history: Make) -> None:
    table = history(3_000, prevalence=0.2)
    permuted = replace(table, y=np.random.default_rng(1).permutation(table.y))
    found = train(permuted, algorithm="hist_gradient_boosting", **QUICK).evaluations["test"].metrics["roc_auc"]
    assert found.low < 0.5 < found.high
    for way in ("grouped", "forward", "stratified"):
        result = cross_validate(permuted, algorithm="hist_gradient_boosting", way=way, folds=3, trees=20)
        metric = result.metric("roc_auc", resamples=50)
        assert 0.43 < metric.value < 0.57, way


def test_no_label_in_training_was_known_after_its_cut(training: Training, table: FeatureTable) -> None:
    slices, origin = training.slices, training.model.origin
    assert table.known[slices.train].max() <= slices.cuts[0]
    assert max(table.known[slices.calibrate].max(), table.known[slices.threshold].max()) <= slices.cuts[2]
    assert origin["labels_known_until"] == slices.cuts[2]
    assert origin["cutoffs"]["train"] == table.time[slices.train].max()
    assert max(origin["cutoffs"][name] for name in ("train", "calibrate", "threshold")) < table.time[slices.test].min()


def test_what_happens_after_the_last_cut_changes_nothing_about_the_model(
    training: Training, table: FeatureTable
) -> None:
    """Future poisoning: garble features and labels of the test slice; the model stays, bit for bit."""
    later = table.time >= training.slices.cuts[2]
    rng = np.random.default_rng(5)
    X = table.X.copy()
    X.loc[later, ["denials_24h", "ip_is_new"]] = rng.random((int(later.sum()), 2))
    y = np.where(later & (table.y >= 0), rng.integers(0, 2, len(table)), table.y).astype(np.int8)
    garbled = train(replace(table, X=X, y=y), algorithm="hist_gradient_boosting", **QUICK)
    assert garbled.evaluated.sha256 == training.evaluated.sha256
    assert garbled.metrics["slices"] != training.metrics["slices"]


# What is reported


def test_the_files_say_what_they_should_and_the_model_comes_back(training: Training, table: FeatureTable) -> None:
    files = training.files()
    assert set(files) == {"metrics.json", "reference.json", "parity.json", "card.md"}
    metrics = json.loads(files["metrics.json"])
    assert metrics["format"] == 1 and metrics["primary"] == "average_precision"
    assert set(metrics["slices"]["test"]["metrics"]) == set(METRICS)
    assert set(metrics["folds"]) == {"forward", "grouped", "stratified"}
    assert all(len(folds) == 2 for folds in metrics["folds"].values())
    assert list(metrics["windows"]) == ["calibrate", "test", "threshold", "train"]  # canonical JSON sorts
    assert sum(one["rows"] for one in metrics["calibration"]["bins"]) == metrics["slices"]["test"]["rows"]
    rows = [point["rows"] for point in metrics["learning_curve"]]
    assert rows == sorted(rows) and rows[-1] == len(training.slices.train)
    model = RiskModel.read(bytes(training.model), sha256=training.model.sha256)
    parity = json.loads(files["parity.json"])
    assert len(parity["X"]) == 100 and parity["columns"] == list(table.spec.columns)
    assert (model.predict(np.array(parity["X"])) == parity["p"]).all()
    assert [model.predict_one(np.array(row, dtype=np.float64)) for row in parity["X"][:5]] == parity["p"][:5]


def test_the_reference_counts_every_event_of_the_test_window(training: Training, table: FeatureTable) -> None:
    window = training.slices.window(table, "test")
    reference = training.reference
    assert set(reference["features"]) == set(table.spec.columns)
    for histogram in (*reference["features"].values(), reference["scores"]):
        assert len(histogram["counts"]) == len(histogram["edges"]) + 1 == sum(1 for _ in histogram["counts"])
        assert sum(histogram["counts"]) == len(window)
        assert min(histogram["counts"]) > 0
    zeros = int((table.X["ip_is_new"].to_numpy()[window] == 0).sum())
    assert reference["features"]["ip_is_new"] == {"edges": [1.0], "counts": [zeros, len(window) - zeros]}
    assert reference["f1"] == training.metrics["slices"]["test"]["metrics"]["f1"]["value"]


def test_the_metrics_are_those_of_the_model_on_the_test_slice(training: Training, table: FeatureTable) -> None:
    rows = training.slices.test
    p = training.model.predict(table.X.to_numpy()[rows])
    assert (
        training.estimator.predict_proba(table.X.to_numpy()[rows])[:, 1]
        == training.model.forest.predict(table.X.to_numpy()[rows])
    ).all()
    again = evaluate(table.y[rows], p, table.users[rows], threshold=training.model.threshold.value, resamples=100)
    told = training.evaluations["test"]
    assert {name: metric.value for name, metric in again.metrics.items()} == {
        name: metric.value for name, metric in told.metrics.items() if name != "recall_at_budget"
    }
    assert again.confusion == told.confusion


def test_the_budget_holds_on_the_slice_it_was_chosen_on_unlabelled_events_included(
    training: Training, table: FeatureTable
) -> None:
    rows = training.slices.window(table, "threshold")
    detail = training.model.threshold.detail
    alerts = int((training.model.predict(table.X.to_numpy()[rows]) >= training.model.threshold.value).sum())
    assert alerts == detail["alerts"] <= detail["alerts_per_day"] * detail["days"]
    assert detail["rows"] == len(rows) > len(training.slices.threshold)


def test_with_all_labels_the_metrics_say_whose_they_are(training: Training, table: FeatureTable) -> None:
    again = train(table, algorithm="hist_gradient_boosting", use_all_labels=True, **QUICK)
    assert again.evaluated.sha256 == training.model.sha256 != again.model.sha256
    assert again.metrics["slices"] == training.metrics["slices"]
    assert again.metrics["belongs_to"]["is_the_registered_model"] is False
    assert again.metrics["belongs_to"]["model_sha256"] == training.model.sha256
    assert training.metrics["belongs_to"]["is_the_registered_model"] is True
    origin = again.model.origin
    assert origin["refitted"] and origin["evaluated_sha256"] == training.model.sha256
    assert origin["cutoffs"]["train"] > training.model.origin["cutoffs"]["train"]
    assert origin["labels_known_until"] == table.time.max()
    with pytest.raises(InputError, match="no labelled event is left to judge"):
        validate(again.model, table, resamples=20)


def test_progress_counts_up_to_its_total(table: FeatureTable) -> None:
    told: list[tuple[str, int, int]] = []
    train(table, algorithm="hist_gradient_boosting", progress=lambda *step: told.append(step), **QUICK)
    done = [step[1] for step in told]
    assert done == sorted(done) and done[0] == 0
    assert {step[2] for step in told} == {done[-1]}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"algorithm": "forest"}, "no algorithm 'forest'; did you mean 'random_forest'?"),
        ({"tune": "gird"}, "no tuning 'gird'; did you mean 'grid'?"),
        ({"threshold": "costs"}, "no threshold rule 'costs'; did you mean 'cost'?"),
        ({"threshold": "cost", "cost_miss": 5.0}, "needs the cost of a miss and of a false alarm"),
        ({"cost_miss": 5.0}, "goes with the threshold rule 'cost', not 'budget'"),
        ({"budget": 0.0}, "alerts a day above 0, not 0"),
        ({"folds": 1}, "expected 2 folds or more, not 1"),
        ({"jobs": 0}, "1 job or more"),
        ({"calibration": "platt"}, "no calibration 'platt'; known: auto, isotonic, none, sigmoid"),
        ({"holdout_users": 1.0}, "0 or more and below 1"),
    ],
)
def test_what_cannot_be_is_refused_before_any_fitting(table: FeatureTable, given: dict[str, Any], told: str) -> None:
    steps: list[int] = []
    with pytest.raises(InputError) as error:
        train(
            table,
            **{**QUICK, "algorithm": "hist_gradient_boosting", **given},
            progress=lambda *step: steps.append(step[1]),
        )
    assert told in str(error.value)
    assert sum(steps) == 0


# Cross-validation and tuning


def test_grouped_folds_never_share_a_user_and_test_every_labelled_row_once(table: FeatureTable) -> None:
    folds = folds_of(table, "grouped", folds=4)
    for train_rows, test_rows in folds:
        assert set(table.users[train_rows]).isdisjoint(table.users[test_rows])
    assert sorted(np.concatenate([test for _, test in folds])) == np.flatnonzero(table.y >= 0).tolist()


def test_every_tested_event_has_a_score_and_no_other(table: FeatureTable) -> None:
    result = cross_validate(table, way="forward", folds=3, trees=5)
    assert np.isfinite(result.scores[result.fold >= 0]).all()
    assert np.isnan(result.scores[result.fold < 0]).all()
    metric = result.metric("average_precision", resamples=50)
    assert len(metric.folds) == 3 and metric.low <= metric.value <= metric.high


def test_too_few_guilty_users_are_said_in_one_sentence(table: FeatureTable) -> None:
    y = np.zeros(len(table), dtype=np.int8)
    y[:1] = 1
    with pytest.raises(InputError, match="5 folds need at least 5 users with a violation; there are 1"):
        cross_validate(replace(table, y=y))
    with pytest.raises(InputError, match="no folds 'group'; did you mean 'grouped'"):
        folds_of(table, "group")  # type: ignore[arg-type]


def test_importance_ranks_a_planted_feature_first_and_noise_low(table: FeatureTable) -> None:
    ranks = permutation_importance(cross_validate(table, folds=2, trees=20), rows=1_000)
    assert list(ranks.columns) == ["feature", "mean", "sd", "rank"]
    assert ranks["feature"][0] == "denials_24h"
    assert ranks["rank"].tolist() == [1, 2, 3, 4, 5]
    assert ranks.set_index("feature").loc["hour", "mean"] < 0.2 * ranks["mean"][0]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_algorithm_stops_early_weighs_classes_or_splits_categories(algorithm: Any) -> None:
    given = estimator(algorithm, rows=100_000, seed=3).get_params()
    assert given["random_state"] == 3
    assert given.get("class_weight") is None
    assert not given.get("early_stopping") and given.get("n_iter_no_change") in (None, 10)
    assert given.get("categorical_features") in (None, "from_dtype")
    assert len(GRIDS[algorithm]) == 3 and candidates(algorithm, "grid") == 12


@pytest.mark.slow
def test_halving_ends_on_all_rows_and_begins_on_fewer(history: Make) -> None:
    table = history(1_200, prevalence=0.3)
    told: list[int] = []
    found = search(
        "hist_gradient_boosting", table.X.to_numpy(), table.y, folds_of(table, "forward", folds=2),
        method="halving", jobs=1, progress=told.append,
    )  # fmt: skip
    rows = [one["rows"] for one in found.candidates]
    assert (rows[0], rows[-1], len(rows)) == (400, 1_200, 16)
    assert told == [12, 16]
    best = {name: value for name, value in found.parameters.items() if name != "trees"}
    assert best in [one["parameters"] for one in found.candidates if one["rows"] == 1_200]
    assert found.parameters["trees"] in range(20, 201, 20)


@pytest.mark.slow
@pytest.mark.parametrize("tune", ["grid", "halving"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_tuning_found_is_what_is_trained(table: FeatureTable, algorithm: Any, tune: Any) -> None:
    done = train(table, algorithm=algorithm, **{**QUICK, "tune": tune})
    found = done.metrics["tuning"]["parameters"]
    assert found, "nothing was tuned"
    trees = found.pop("trees", None)
    assert found.items() <= done.model.origin["parameters"].items()
    assert trees is None or done.model.forest.n_trees == trees


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_grid_is_the_same_in_one_process_and_in_two(history: Make, algorithm: Any) -> None:
    table = history(300, prevalence=0.3)
    splits = folds_of(table, "forward", folds=2)
    one, two = (search(algorithm, table.X.to_numpy(), table.y, splits, jobs=jobs) for jobs in (1, 2))
    assert one == two
    assert len(one.candidates) == 12
    best = max(candidate["average_precision"] for candidate in one.candidates)
    chosen = {name: value for name, value in one.parameters.items() if name != "trees"}
    assert next(one for one in one.candidates if one["parameters"] == chosen)["average_precision"] == best


DIGESTS = """
import sys, tempfile, pathlib
from workbench.events import Population, generate
from workbench.features import build
from workbench.files import sha256_bytes
from workbench.risk.training import train
from workbench.workspace import Workspace
with tempfile.TemporaryDirectory() as folder:
    made, _ = generate(Workspace(pathlib.Path(folder)), Population(scale=60, days=90, seed=5))
    table = build(made, labelled_only=False)
for algorithm in sys.argv[2:]:
    done = train(table, algorithm=algorithm, tune="none", folds=2, resamples=50, jobs=int(sys.argv[1]))
    print(algorithm, done.model.sha256, *(sha256_bytes(data) for _, data in sorted(done.files().items())))
"""


@pytest.mark.slow
def test_one_and_two_threads_and_other_hash_seeds_give_the_same_model_and_files() -> None:
    told = []
    for threads, hashes in ((1, "1"), (2, "4242")):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hashes,
            "OMP_NUM_THREADS": str(threads),
            "NUMBA_NUM_THREADS": str(threads),
        }
        done = subprocess.run(
            [sys.executable, "-c", DIGESTS, str(threads), *ALGORITHMS],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        told.append(done.stdout)
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 3


# Validation and scores


def test_on_the_training_dataset_only_later_events_are_judged(training: Training, table: FeatureTable) -> None:
    found = validate(training.model, table, resamples=50)
    assert found.begin > training.model.origin["labels_known_until"] and not found.overlap
    told = training.evaluations["test"]
    assert found.slices["judged"].confusion == told.confusion
    assert "are out" in found.note
    unseen = held_out(table.users[training.slices.test], 0.1)
    assert found.slices["unseen_users"].rows == unseen.sum()
    everything = validate(training.model, table, everything=True, resamples=50)
    assert everything.overlap and "flatter" in everything.note
    assert everything.slices["judged"].rows == (table.y >= 0).sum()


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_none_is_refused(training: Training, table: FeatureTable, budget: float) -> None:
    with pytest.raises(InputError, match=f"^the budget is a number of alerts a day above 0, not {budget:g}$"):
        validate(training.model, table, budget=budget)


def test_without_any_label_the_way_to_labels_is_told(training: Training, table: FeatureTable) -> None:
    bare = replace(table, y=np.full(len(table), -1, dtype=np.int8))
    for use in (lambda: validate(training.model, bare), lambda: train(bare, **QUICK)):
        with pytest.raises(InputError, match=r"`workbench events label` attaches labels$"):
            use()


def test_another_dataset_is_judged_whole_and_old_events_are_pointed_out(
    training: Training, table: FeatureTable
) -> None:
    other = replace(table, dataset_sha256="f" * 64)
    found = validate(training.model, other, resamples=50)
    assert found.slices["judged"].rows == (table.y >= 0).sum()
    assert "if they are the same events" in found.note
    later = replace(other, time=other.time + 10**15)
    assert (
        validate(training.model, later, resamples=50).note
        == "another dataset than the model was fitted on, all of it later"
    )


def test_every_event_is_scored_and_the_alerts_are_those_of_the_threshold(
    training: Training, table: FeatureTable
) -> None:
    scores = score_events(training.model, table)
    assert list(scores.columns) == ["event_id", "p", "alert", "threshold", "model", "spec"]
    assert (scores["event_id"] == table.event_id).all()
    assert (scores["alert"] == (scores["p"] >= training.model.threshold.value)).all()
    assert set(scores["model"]) == {training.model.sha256} and set(scores["spec"]) == {table.spec_sha256}


def test_a_table_of_another_spec_is_refused(training: Training, table: FeatureTable) -> None:
    other = replace(table, spec=replace(table.spec, names=("hour",)))
    for use in (score_events, validate):
        with pytest.raises(InputError, match="build it with the model's own spec"):
            use(training.model, other)
