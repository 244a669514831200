"""Evaluation: no user on both sides, intervals that mean something, and negative controls."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.events import Population, generate
from workbench.features import FeatureTable, build
from workbench.risk import bootstrap, cross_validate, permutation_importance
from workbench.risk.evaluate import METRICS
from workbench.workspace import Workspace


@pytest.fixture
def table(workspace: Workspace) -> FeatureTable:
    dataset, _ = generate(workspace, Population(scale=40, days=60, seed=5))
    return build(dataset)


def relabelled(table: FeatureTable, y: np.ndarray) -> FeatureTable:
    return FeatureTable(table.X, y.astype(np.int8), table.users, table.event_id, table.timestamp, table.spec_sha256)


def test_every_event_is_scored_once_by_a_model_that_never_saw_its_user(table: FeatureTable) -> None:
    result = cross_validate(table, folds=4, trees=10)
    assert np.isfinite(result.scores).all()
    assert sorted(set(result.fold)) == [0, 1, 2, 3]
    folds_of = pd.Series(result.fold).groupby(table.users).nunique()
    assert (folds_of == 1).all()


def test_the_model_finds_what_was_planted_and_the_interval_holds_it(table: FeatureTable) -> None:
    metric = cross_validate(table, folds=4, trees=60).metric("roc_auc", resamples=100)
    assert metric.low <= metric.value <= metric.high
    assert metric.value > 0.75
    assert len(metric.folds) == 4


def test_permuted_labels_give_no_better_than_chance(table: FeatureTable) -> None:
    permuted = relabelled(table, np.random.default_rng(1).permutation(table.y))
    metric = cross_validate(permuted, folds=4, trees=40).metric("roc_auc", resamples=50)
    assert 0.4 < metric.value < 0.6


def test_no_single_feature_gives_the_answer_away(table: FeatureTable) -> None:
    """A feature that alone ranks the labels nearly perfectly is a leak until shown otherwise."""
    alone = {name: METRICS["roc_auc"](table.y, table.X[name].to_numpy()) for name in table.X}
    assert max(max(area, 1 - area) for area in alone.values()) < 0.9, alone


def test_the_same_seed_gives_the_same_bits(table: FeatureTable) -> None:
    one, two = (cross_validate(table, folds=3, trees=10, seed=8) for _ in range(2))
    other = cross_validate(table, folds=3, trees=10, seed=9)
    assert (one.scores == two.scores).all()
    assert (one.scores != other.scores).any()


def test_too_few_guilty_users_are_said_in_one_sentence(table: FeatureTable) -> None:
    y = np.zeros(len(table.y))
    y[:1] = 1
    with pytest.raises(InputError, match="5 folds need at least 5 users with a violation; there are 1"):
        cross_validate(relabelled(table, y))


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    """Coverage over 80 samples of clustered data with a known AUC; drawing single rows would cover far less."""
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(40), 10).astype(object)
    # Scores are normal with a shared part per user; the two classes differ by one standard deviation of the total.
    truth = 0.7602499389065233  # Phi(1 / sqrt(2))
    covered = 0
    for trial in range(80):
        y = (rng.random(400) < 0.5).astype(np.int8)
        shared = np.repeat(rng.normal(size=40), 10)
        p = (0.8 * shared + 0.6 * rng.normal(size=400)) + y
        low, high = bootstrap(METRICS["roc_auc"], y, p, users, resamples=60, seed=trial)
        covered += low <= truth <= high
    assert 0.85 <= covered / 80 <= 1.0


def test_importance_ranks_a_planted_feature_first_and_noise_low(table: FeatureTable) -> None:
    rng = np.random.default_rng(2)
    X = table.X.assign(planted=table.y + 0.25 * rng.normal(size=len(table.y)), noise=rng.normal(size=len(table.y)))
    planted = FeatureTable(X, table.y, table.users, table.event_id, table.timestamp, table.spec_sha256)
    ranks = permutation_importance(cross_validate(planted, folds=3, trees=40), rows=3_000)
    assert list(ranks.columns) == ["feature", "mean", "sd", "rank"]
    assert ranks["feature"][0] == "planted"
    assert ranks["rank"].tolist() == list(range(1, len(X.columns) + 1))
    assert ranks.set_index("feature").loc["noise", "mean"] < 0.1 * ranks["mean"][0]
