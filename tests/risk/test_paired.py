"""Paired statistics: each against its plain definition, draw by draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, brier_score_loss

from workbench.risk.paired import (
    average_precisions,
    brier_difference,
    calibration_difference,
    caught,
    draw_users,
    mcnemar_p,
    precision_difference,
)


def sample(seed, n=400, users=30, ties=True):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.2).astype(np.int8)
    y[:2] = (0, 1)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + y - 1)))
    return y, p.round(2) if ties else p, np.array([f"user-{k}" for k in rng.integers(0, users, n)], dtype=object)


def repeated(draws, k):
    """The row numbers that draw ``k`` stands for."""
    return np.repeat(np.arange(len(draws.code)), draws.weight[draws.code, k])


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=50, deadline=None)
def test_average_precision_is_scikit_learn_s_in_the_sample_and_in_every_draw(seed, ties):
    y, p, users = sample(seed, n=60, users=8, ties=ties)
    draws = draw_users(users, resamples=6, seed=seed)
    value, values = average_precisions(y, p, draws)
    assert value == pytest.approx(average_precision_score(y, p), abs=1e-12)
    for k in range(6):
        rows = repeated(draws, k)
        if y[rows].any():
            assert values[k] == pytest.approx(average_precision_score(y[rows], p[rows]), abs=1e-12)
        else:
            assert np.isnan(values[k])


def test_a_draw_takes_whole_users_and_as_many_as_there_are():
    _, _, users = sample(1)
    draws = draw_users(users, resamples=300, seed=2)
    assert draws.weight.shape == (30, 300)
    assert (draws.weight.sum(axis=0) == 30).all()
    assert draws.weight.mean() == pytest.approx(1)
    assert draws.weight.astype(float).var() == pytest.approx(1 - 1 / 30, rel=0.1)


def test_the_same_seed_gives_the_same_draws_and_another_seed_others():
    _, _, users = sample(1)
    one, two, other = (draw_users(users, resamples=50, seed=seed).weight for seed in (3, 3, 4))
    assert (one == two).all()
    assert (one != other).any()


def test_the_brier_difference_is_that_of_the_definition():
    y, p, users = sample(4)
    q = np.clip(p + 0.1, 0, 1)
    draws = draw_users(users, resamples=200)
    found = brier_difference(y, p, q, draws)
    assert found.champion == pytest.approx(brier_score_loss(y, p))
    assert found.challenger == pytest.approx(brier_score_loss(y, q))
    by_hand = [
        brier_score_loss(y[rows], q[rows]) - brier_score_loss(y[rows], p[rows])
        for rows in (repeated(draws, k) for k in range(200))
    ]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(by_hand, [0.025, 0.975])))


def test_a_model_that_says_too_much_has_the_larger_calibration_error():
    rng = np.random.default_rng(5)
    p = rng.uniform(0, 0.4, 20_000)
    y = (rng.random(20_000) < p).astype(np.int8)
    found = calibration_difference(y, p, p * 2, draw_users(np.arange(20_000) % 500, resamples=200))
    assert found.champion < 0.02
    assert found.challenger == pytest.approx(0.2, abs=0.02)
    assert found.low > 0.15


def test_two_equal_models_differ_by_nothing():
    y, p, users = sample(6)
    draws = draw_users(users, resamples=100)
    for difference in (precision_difference, brier_difference, calibration_difference):
        found = difference(y, p, p, draws)
        assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 5), (9, 1), (1, 9), (30, 12), (7, 0)])
def test_mcnemar_is_the_one_sided_binomial_test(b, c):
    expected = binomtest(b, b + c, 0.5, alternative="greater").pvalue if b + c else 1.0
    assert mcnemar_p(b, c) == pytest.approx(expected)


def test_equal_scores_are_drawn_by_lot_and_two_models_meet_the_same_lot():
    y = np.ones(10, dtype=np.int8)
    first, second = caught(y, np.zeros(10), 4, seed=1), caught(y, np.ones(10), 4, seed=1)
    assert first.sum() == 4
    assert (first == second).all()
    assert (first != caught(y, np.zeros(10), 4, seed=2)).any()


def test_only_violations_among_the_highest_scores_are_caught():
    y = np.array([1, 0, 1, 1], dtype=np.int8)
    assert caught(y, np.array([0.1, 0.9, 0.8, 0.7]), 3).tolist() == [False, False, True, True]
    assert caught(y, np.array([0.1, 0.9, 0.8, 0.7]), 99).tolist() == [True, False, True, True]


@pytest.mark.slow
def test_the_interval_covers_a_known_difference_as_often_as_it_says():
    """Users share a part of their score; two models of known quality; 400 samples. Drawing rows would cover less."""
    rng = np.random.default_rng(7)

    def scores(users, y, strength):
        noise = 0.6 * rng.normal(size=users.max() + 1)[users] + 0.8 * rng.normal(size=len(users))
        return noise + strength * y

    def once(size):
        users = np.repeat(np.arange(size), 40)
        y = (rng.random(len(users)) < 0.1).astype(np.int8)
        return users, y, scores(users, y, 1.5), scores(users, y, 1.8)

    _, y, p, q = once(20_000)
    truth = average_precision_score(y, q) - average_precision_score(y, p)
    covered = 0
    for trial in range(400):
        users, y, p, q = once(60)
        found = precision_difference(y, p, q, draw_users(users, resamples=400, seed=trial))
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 400 <= 0.98
