"""The bootstrap over users, held against one that draws users one by one."""

import numpy as np
import pytest

from workbench.policies.intervals import METRICS, measure, measure_difference


@pytest.fixture
def counts():
    rng = np.random.default_rng(1)
    return rng.poisson([1.5, 2.0, 1.0], (80, 3)) * rng.integers(0, 2, (80, 1))


def test_values_are_those_of_the_counts(counts):
    tp, fp, fn = counts.sum(axis=0)
    found = measure(counts)
    assert found["precision"]["value"] == pytest.approx(tp / (tp + fp), abs=1e-6)
    assert found["recall"]["value"] == pytest.approx(tp / (tp + fn), abs=1e-6)
    assert found["f1"]["value"] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-6)


def test_intervals_agree_with_drawing_users_one_by_one(counts):
    rng = np.random.default_rng(2)
    sums = np.stack([counts[rng.integers(0, len(counts), len(counts))].sum(axis=0) for _ in range(4000)])
    expected = np.quantile(sums[:, 0] / (sums[:, 0] + sums[:, 1]), [0.025, 0.975])
    found = measure(counts, resamples=4000)["precision"]
    assert [found["low"], found["high"]] == pytest.approx(list(expected), abs=0.01)


def test_a_difference_to_itself_is_nothing(counts):
    found = measure_difference(np.hstack([counts, counts]))
    assert found == {name: {"value": 0.0, "low": 0.0, "high": 0.0} for name in METRICS}


def test_what_cannot_be_had_is_none_and_one_user_tells_nothing():
    nothing = {"value": None, "low": None, "high": None}
    assert measure(np.zeros((0, 3), dtype=np.int64)) == dict.fromkeys(METRICS, nothing)
    assert measure(np.array([[0, 0, 4]]))["precision"] == nothing
    assert measure(np.array([[1, 1, 0]]))["precision"] == {"value": 0.5, "low": 0.0, "high": 1.0}


def test_the_order_of_users_does_not_matter(counts):
    assert measure(counts) == measure(counts[::-1]) != measure(counts, seed=1)
