"""A calibrator is two arrays or two numbers, and gives what scikit-learn's gives."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator

from workbench.errors import InputError, MalformedError
from workbench.risk.calibration import ENOUGH_POSITIVES, Calibrator
from workbench.risk.forest import Forest


class OnlyProbabilities(ClassifierMixin, BaseEstimator):
    """Hides ``decision_function``, which scikit-learn would calibrate instead of the probability."""

    def __init__(self, inner=None):
        self.inner = inner

    def fit(self, X, y):
        return self

    @property
    def classes_(self):
        return self.inner.classes_

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        return self.inner.predict(X)

    def predict_proba(self, X):
        return self.inner.predict_proba(X)


class OnlyLogOdds(OnlyProbabilities):
    """Has the log-odds of the probability for its ``decision_function``, as a sigmoid calibrates."""

    def decision_function(self, X):
        return logit(np.clip(self.inner.predict_proba(X)[:, 1], 1e-6, 1 - 1e-6))


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(3_000, 4))
    y = (rng.random(3_000) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(int)
    return X, y


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(20, max_depth=4, random_state=0), GradientBoostingClassifier(n_estimators=20)],
    ids=["random_forest", "gradient_boosting"],
)
def test_it_gives_what_a_calibrated_classifier_gives_to_the_last_bit(made, method, estimator):
    X, y = made
    estimator.fit(X[:1_000], y[:1_000])
    frozen = FrozenEstimator((OnlyLogOdds if method == "sigmoid" else OnlyProbabilities)(estimator))
    peer = CalibratedClassifierCV(frozen, method=method).fit(X[1_000:2_000], y[1_000:2_000])
    forest = Forest.of(estimator)
    calibrator = Calibrator.fit(forest.predict(X[1_000:2_000]), y[1_000:2_000], method)
    expected = peer.predict_proba(X)[:, 1]
    found = calibrator.apply(forest.predict(X))
    assert np.array_equal(found, expected)
    assert [calibrator.apply_one(p) for p in forest.predict(X).tolist()] == expected.tolist()


def test_a_random_forest_calibrates_as_it_stands(made):
    X, y = made
    estimator = RandomForestClassifier(20, max_depth=4, random_state=0).fit(X[:1_000], y[:1_000])
    peer = CalibratedClassifierCV(FrozenEstimator(estimator), method="isotonic").fit(X[1_000:], y[1_000:])
    calibrator = Calibrator.fit(Forest.of(estimator).predict(X[1_000:]), y[1_000:], "isotonic")
    assert np.array_equal(calibrator.apply(Forest.of(estimator).predict(X)), peer.predict_proba(X)[:, 1])


@pytest.mark.parametrize(("positives", "method"), [(ENOUGH_POSITIVES - 1, "sigmoid"), (ENOUGH_POSITIVES, "isotonic")])
def test_isotonic_is_chosen_only_with_enough_positives(positives, method):
    p = np.linspace(0, 1, positives + 100)
    y = np.arange(len(p)) >= 100
    assert Calibrator.fit(p, y.astype(int)).method == method


def test_without_calibration_nothing_changes():
    p = np.array([0.0, 0.3, 1.0])
    assert np.array_equal(Calibrator("none").apply(p), p)
    assert Calibrator.fit(p, np.array([0, 0, 0]), "none").method == "none"


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=40),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.sampled_from(["isotonic", "sigmoid"]),
)
def test_the_result_is_a_probability_one_by_one_or_together_and_after_storing(pairs, asked, method):
    p, y = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs], dtype=int)
    hypothesis.assume(0 < y.sum() < len(y))
    calibrator = Calibrator.fit(p, y, method)
    found = calibrator.apply(np.array(asked))
    assert ((found >= 0) & (found <= 1)).all()
    assert [calibrator.apply_one(one) for one in asked] == found.tolist()
    assert np.array_equal(Calibrator.from_dict(calibrator.as_dict()).apply(np.array(asked)), found)
    assert (np.diff(calibrator.apply(np.sort(asked))) >= 0).all()


def test_few_rows_in_the_wrong_order_move_the_level_and_never_turn_the_ranking_around():
    """Twelve violations that a good model happened to rank low: a sigmoid fitted to them would fall."""
    p = np.concatenate([np.full(12, 0.01), np.linspace(0.02, 0.4, 400)])
    y = (np.arange(len(p)) < 12).astype(int)
    calibrator = Calibrator.fit(p, y)
    assert (calibrator.method, calibrator.a) == ("sigmoid", -1.0)
    assert calibrator.apply(p).mean() == pytest.approx(12 / 412, abs=1e-9)
    assert (np.diff(calibrator.apply(np.linspace(0.001, 0.999, 50))) > 0).all()


def test_a_sigmoid_of_few_violations_is_not_flat():
    """Risks of a forest lie close to 0: a sigmoid of the probability itself would say about the same of all of them."""
    rng = np.random.default_rng(3)
    p = np.where(rng.random(4_000) < 0.01, rng.uniform(0.2, 0.9, 4_000), rng.uniform(0.0, 0.01, 4_000))
    y = (rng.random(4_000) < p).astype(int)
    found = Calibrator.fit(p, y, "sigmoid").apply(np.array([0.005, 0.5]))
    assert found[1] / found[0] > 30


@pytest.mark.parametrize(
    ("p", "y", "method", "said"),
    [
        ([0.1, 0.2], [0, 0], "auto", "both classes"),
        ([0.1, 0.2], [1, 1], "isotonic", "both classes"),
        ([0.1, 0.2], [0, 1, 1], "auto", r"not \(3,\) for \(2,\)"),
        ([0.1, 0.2], [0, 1], "temperature", "none of auto, isotonic"),
        ([0.1, 0.2], [0, 2], "auto", "both classes"),
    ],
)
def test_what_cannot_be_fitted_on_is_refused(p, y, method, said):
    with pytest.raises(InputError, match=said):
        Calibrator.fit(np.array(p), np.array(y), method)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "temperature"}, "the calibration 'temperature' is none of"),
        ({"method": "isotonic"}, "an isotonic calibration has knots"),
        ({"method": "sigmoid", "x": [0.1], "y": [0.1]}, "and no other has"),
        ({"method": "isotonic", "x": [0.1, 0.2], "y": [0.1]}, "not two rows"),
        ({"method": "isotonic", "x": [0.2, 0.1], "y": [0.1, 0.2]}, "do not rise"),
        ({"method": "isotonic", "x": [0.1, 0.1], "y": [0.1, 0.2]}, "do not rise"),
        ({"method": "isotonic", "x": [0.1, 0.2], "y": [0.2, 0.1]}, "do not rise"),
        ({"method": "isotonic", "x": [0.1, 0.2], "y": [0.1, 1.2]}, "no probability"),
        ({"method": "isotonic", "x": [0.1, float("nan")], "y": [0.1, 0.2]}, "not a finite number"),
        ({"method": "none", "a": 1.0}, "only a sigmoid"),
        ({"method": "sigmoid", "a": float("nan")}, "not a number of usable size"),
        ({"method": "sigmoid", "a": 0.6}, "falls where it must rise: a is 0.6"),
        ({"method": "sigmoid", "b": 1e200}, "not a number of usable size"),
    ],
)
def test_an_impossible_calibrator_is_refused(given, said):
    with pytest.raises(MalformedError, match=said):
        Calibrator(**given)


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"method": "none", "x": [], "y": [], "a": 0},
        {"method": "none", "x": [], "y": [], "a": 0, "b": 0, "more": 1},
        {"method": "none", "x": "", "y": [], "a": 0, "b": 0},
        {"method": "isotonic", "x": [True], "y": [0.5], "a": 0, "b": 0},
        {"method": "sigmoid", "x": [], "y": [], "a": "1", "b": 0},
    ],
)
def test_a_stored_calibrator_is_read_strictly(content):
    with pytest.raises(MalformedError):
        Calibrator.from_dict(content)
