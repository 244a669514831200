"""Metrics: the same as scikit-learn's, with intervals that cover what they should."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from workbench.errors import InputError
from workbench.risk.metrics import METRICS, bootstrap, calibration_bins, evaluate, roc_aucs
from workbench.risk.paired import draw_users


def sample(rows: int = 600, *, users: int = 40, seed: int = 1, ties: bool = False) -> tuple:
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.2).astype(np.int8)
    p = 1 / (1 + np.exp(-(rng.normal(size=rows) + 1.5 * y - 1.5)))
    if ties:
        p = p.round(1)
    return y, p, np.array([f"user-{number}" for number in rng.integers(0, users, rows)], dtype=object)


@pytest.mark.parametrize("ties", [False, True])
def test_values_are_those_of_scikit_learn(ties: bool) -> None:
    y, p, users = sample(ties=ties)
    found = {name: metric.value for name, metric in evaluate(y, p, users, threshold=0.4, resamples=20).metrics.items()}
    alert = p >= 0.4
    assert found["average_precision"] == pytest.approx(average_precision_score(y, p), abs=1e-12)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert found["precision"] == precision_score(y, alert)
    assert found["recall"] == recall_score(y, alert)
    assert found["f1"] == pytest.approx(f1_score(y, alert), abs=1e-12)
    assert found["brier"] == pytest.approx(brier_score_loss(y, p), abs=1e-12)


def test_a_draw_has_the_value_of_its_rows_repeated() -> None:
    """The bootstrap weighs users instead of copying rows; here the rows are copied."""
    y, p, users = sample(ties=True)
    draws = draw_users(users, resamples=25, seed=3)
    _, values = roc_aucs(y, p, draws)
    for k in range(25):
        rows = np.repeat(np.arange(len(y)), draws.weight[draws.code, k])
        assert values[k] == pytest.approx(roc_auc_score(y[rows], p[rows]), abs=1e-12)


def test_every_metric_has_an_interval_around_it_and_the_confusion_adds_up() -> None:
    y, p, users = sample()
    found = evaluate(y, p, users, threshold=0.4, alerts=50, resamples=200)
    assert list(found.metrics) == list(METRICS)
    assert all(
        0 <= metric.low <= metric.value <= metric.high <= 1 for name, metric in found.metrics.items() if name != "ece"
    )
    tn, fp, fn, tp = confusion_matrix(y, p >= 0.4).ravel().tolist()
    assert found.confusion == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    assert (found.rows, found.positives, found.users) == (600, int(y.sum()), 40)
    told = found.as_dict()
    assert set(told) == {"rows", "positives", "users", "prevalence", "metrics", "confusion"}
    assert set(told["metrics"]["f1"]) == {"value", "low", "high"}


def test_the_recall_at_a_budget_counts_the_highest_of_all_events() -> None:
    y, p, users = sample()
    best = np.argsort(-p, kind="stable")[:50]
    found = evaluate(y, p, users, threshold=0.4, alerts=50, resamples=20).metrics["recall_at_budget"].value
    assert found == pytest.approx(y[best].sum() / y.sum())


def test_a_tie_that_does_not_fit_into_the_budget_is_not_counted() -> None:
    y = np.array([1, 1, 0, 1, 0], dtype=np.int8)
    p = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    users = np.array(list("abcde"), dtype=object)

    def recall(alerts: int) -> float:
        return evaluate(y, p, users, threshold=0.5, alerts=alerts, resamples=20).metrics["recall_at_budget"].value

    assert [recall(alerts) for alerts in (0, 1, 3, 4, 5)] == pytest.approx([0, 1 / 3, 1 / 3, 1, 1])


def test_events_without_a_label_use_the_budget_and_nothing_else() -> None:
    y, p, users = sample()
    more = np.r_[y, -np.ones(30, dtype=np.int8)]
    high, others = np.r_[p, np.full(30, 0.999)], np.r_[users, np.full(30, "user-0", dtype=object)]
    plain = evaluate(y, p, users, threshold=0.4, alerts=50, resamples=20)
    crowded = evaluate(more, high, others, threshold=0.4, alerts=50, resamples=20)
    assert crowded.metrics["recall_at_budget"].value < plain.metrics["recall_at_budget"].value
    for name in set(METRICS) - {"recall_at_budget"}:
        assert crowded.metrics[name] == plain.metrics[name]
    assert (crowded.rows, crowded.confusion) == (plain.rows, plain.confusion)


def test_a_slice_without_violations_has_no_recall_and_no_ranking() -> None:
    _, p, users = sample()
    found = evaluate(np.zeros(600, dtype=np.int8), p, users, threshold=0.9, resamples=20)
    assert set(found.metrics) == {"precision", "brier", "ece"}
    empty = evaluate(np.zeros(0, dtype=np.int8), p[:0], users[:0], threshold=0.9)
    assert (empty.rows, dict(empty.metrics), empty.as_dict()["prevalence"]) == (0, {}, 0.0)


def test_without_any_alert_precision_is_nought() -> None:
    y, p, users = sample()
    assert evaluate(y, p, users, threshold=1.5, resamples=20).metrics["precision"].value == 0


def test_of_one_user_no_interval_can_be_had() -> None:
    y, p, users = sample(users=1)
    metric = evaluate(y, p, users, threshold=0.4, resamples=20).metrics["roc_auc"]
    assert (metric.low, metric.high) == (0.0, 1.0)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    """Coverage over 80 samples of clustered data with a known AUC; drawing single rows would cover far less."""
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(40), 10).astype(object)
    # Scores are normal with a shared part per user; the two classes differ by one standard deviation of the total.
    truth = 0.7602499389065233  # Phi(1 / sqrt(2))
    covered, covered_by_row = 0, 0
    for trial in range(80):
        y = (rng.random(40) < 0.5).repeat(10).astype(np.int8)
        shared = np.repeat(rng.normal(size=40), 10)
        p = (0.8 * shared + 0.6 * rng.normal(size=400)) + y
        metric = bootstrap("roc_auc", y, p, users, resamples=200, seed=trial)
        covered += metric.low <= truth <= metric.high
        single = bootstrap("roc_auc", y, p, np.arange(400).astype(object), resamples=200, seed=trial)
        covered_by_row += single.low <= truth <= single.high
    assert 0.85 <= covered / 80 <= 1.0
    assert covered_by_row / 80 < 0.75


def test_one_kind_only_has_no_ranking_metric() -> None:
    _, p, users = sample()
    with pytest.raises(InputError, match="all 600 rows are of one kind"):
        bootstrap("roc_auc", np.ones(600, dtype=np.int8), p, users)
    with pytest.raises(InputError, match="'accuracy' is none of average_precision, roc_auc"):
        bootstrap("accuracy", *sample())


def test_calibrated_scores_have_a_small_calibration_error_and_bent_ones_a_large_one() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(20_000)
    y = (rng.random(20_000) < p).astype(np.int8)
    users = rng.integers(0, 200, 20_000).astype(object)
    straight = evaluate(y, p, users, threshold=0.5, resamples=50).metrics["ece"]
    bent = evaluate(y, p**2, users, threshold=0.5, resamples=50).metrics["ece"]
    assert straight.value < 0.02 < 0.15 < bent.value
    bins = calibration_bins(y, p**2)
    assert bent.value == pytest.approx(sum(abs(b.predicted - b.observed) * b.rows for b in bins) / 20_000)
    assert [b.rows for b in bins] == [2_000] * 10


def test_equal_scores_share_a_bin() -> None:
    bins = calibration_bins(np.array([0, 1, 0, 1], dtype=np.int8), np.array([0.2, 0.2, 0.2, 0.9]))
    assert sum(one.rows for one in bins) == 4
    assert len(bins) == 2


def test_a_rate_that_never_varies_still_has_an_honest_interval() -> None:
    """Ten alerts of ten users, all false: the bootstrap alone would be certain."""
    users = np.array([f"user-{number}" for number in range(20)], dtype=object)
    y = np.r_[np.zeros(10), np.ones(2), np.zeros(8)].astype(np.int8)
    p = np.r_[np.full(10, 0.9), np.full(10, 0.1)]
    found = evaluate(y, p, users, threshold=0.5, resamples=50).metrics
    assert (found["precision"].value, found["precision"].low) == (0.0, 0.0)
    assert found["precision"].high == pytest.approx(1 - 0.025 ** (1 / 10))
    assert found["recall"].high == pytest.approx(1 - 0.025 ** (1 / 2))
    perfect = evaluate(y, y.astype(np.float64), users, threshold=0.5, resamples=50).metrics["recall"]
    assert (perfect.value, perfect.high) == (1.0, 1.0) and perfect.low == pytest.approx(0.025 ** (1 / 2))
    silent = evaluate(y, p, users, threshold=1.5, resamples=50).metrics["precision"]
    assert (silent.low, silent.high) == (0.0, 1.0)
