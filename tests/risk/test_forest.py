"""A flat forest says what scikit-learn says, to the last bit, whatever the row."""

import os
import subprocess
import sys
from functools import cache

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import NotFittedError
from threadpoolctl import threadpool_limits

from workbench.errors import InputError, MalformedError
from workbench.risk.forest import ALGORITHMS, Forest

FEATURES = 6
KINDS = {
    "random_forest": lambda seed: RandomForestClassifier(25, random_state=seed, n_jobs=1),
    "gradient_boosting": lambda seed: GradientBoostingClassifier(n_estimators=40, random_state=seed),
    "hist_gradient_boosting": lambda seed: HistGradientBoostingClassifier(max_iter=40, random_state=seed),
}
TAKES_MISSING = ("random_forest", "hist_gradient_boosting")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Two threads gain nothing on small tables, and wait for each other on a busy machine."""
    with threadpool_limits(1):
        yield


def rows(seed, count=600, missing=False):
    """Continuous, whole, huge and tiny numbers: float32 rounds many of them across a threshold."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, FEATURES))
    X[:, 1] = rng.integers(0, 5, count)
    X[:, 2] *= 1e30
    X[:, 3] *= 1e-40
    X[:, 4] = rng.integers(2**24, 2**24 + 40, count)  # float32 cannot tell neighbours here
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
    return X


def labels(X, seed):
    rng = np.random.default_rng(seed + 1)
    score = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1]) - 2 + np.isnan(X[:, 5])
    return (rng.random(len(X)) < 1 / (1 + np.exp(-score))).astype(int)


@cache
def fitted(algorithm, missing=False, seed=0):
    X = rows(seed, missing=missing)
    estimator = KINDS[algorithm](seed).fit(X, labels(X, seed))
    return estimator, Forest.of(estimator)


def beside_thresholds(forest):
    """Each feature at each threshold that it is asked for, and at its neighbours in float64 and in float32."""
    found = []
    for feature in range(FEATURES):
        asked = forest.value[forest.feature == feature][:60]
        single = asked.astype(np.float32)
        near = [
            asked, np.nextafter(asked, np.inf), np.nextafter(asked, -np.inf), single.astype(float),
            np.nextafter(single, np.float32(np.inf)).astype(float), np.nextafter(single, -np.float32(np.inf)).astype(float),
        ]  # fmt: skip
        for candidates in near:
            values = candidates[np.isfinite(candidates.astype(np.float32))]
            X = rows(feature, len(values))
            X[:, feature] = values
            found.append(X)
    return np.concatenate(found)


def assert_equal(estimator, forest, X):
    expected = estimator.predict_proba(X)[:, 1]
    assert np.array_equal(forest.predict(X), expected)
    assert [forest.predict_one(row) for row in X] == expected.tolist()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_forest_predicts_what_scikit_learn_predicts(algorithm):
    estimator, forest = fitted(algorithm)
    assert forest.algorithm == algorithm
    assert_equal(estimator, forest, rows(7, 2_000))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_values_at_and_beside_a_threshold_go_the_same_way(algorithm):
    estimator, forest = fitted(algorithm)
    assert_equal(estimator, forest, beside_thresholds(forest))


@pytest.mark.parametrize("algorithm", TAKES_MISSING)
@pytest.mark.parametrize("trained_with", [True, False])
def test_missing_values_go_the_way_that_training_gave_them(algorithm, trained_with):
    estimator, forest = fitted(algorithm, missing=trained_with)
    X = rows(8, 1_500, missing=True)
    X[:3] = np.nan
    assert_equal(estimator, forest, X)


numbers = st.one_of(
    st.floats(-(2.0**126), 2.0**126, allow_nan=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [0.0, -0.0, 5e-324, -5e-324, 1e-45, 1.1754942e-38, 2.2e-308, 3.4028234663852886e38, 0.1, 2**24 + 1]
    ),
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(data=st.data())
def test_any_row_of_usable_numbers_gives_the_same(algorithm, data):
    takes_missing = algorithm in TAKES_MISSING
    estimator, forest = fitted(algorithm, missing=takes_missing)
    drawn = st.one_of(numbers, st.just(np.nan)) if takes_missing else numbers
    row = np.array(data.draw(st.lists(drawn, min_size=FEATURES, max_size=FEATURES)), dtype=float)
    expected = estimator.predict_proba(row[None])[0, 1]
    assert forest.predict_one(row) == expected == forest.predict(row[None])[0]


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(5, random_state=1, max_leaf_nodes=12),
        RandomForestClassifier(5, random_state=1, criterion="entropy", class_weight="balanced"),
        RandomForestClassifier(3, random_state=1, max_depth=1),
        GradientBoostingClassifier(n_estimators=5, random_state=1, init="zero"),
        GradientBoostingClassifier(n_estimators=5, random_state=1, learning_rate=0.37, subsample=0.5),
        HistGradientBoostingClassifier(max_iter=3, random_state=1, l2_regularization=1.0),
        HistGradientBoostingClassifier(max_iter=30, random_state=1, early_stopping=True),
    ],
    ids=str,
)
def test_settings_that_change_the_trees_change_nothing_else(estimator):
    X = rows(3)
    estimator.fit(X, labels(X, 3))
    assert_equal(estimator, Forest.of(estimator), rows(4, 300))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_leaf_keeps_the_weight_that_it_had_in_training(algorithm):
    """In every tree of gradient boosting all rows are somewhere; a forest's trees see a sample of as many."""
    _, forest = fitted(algorithm)
    leaves = forest.feature == 255
    assert forest.cover.shape == (leaves.sum(),)
    assert forest.cover.sum() == 600 * forest.n_trees


def test_trees_without_a_single_split_are_leaves():
    X = np.zeros((50, 2))
    estimator = HistGradientBoostingClassifier(max_iter=2).fit(X, np.arange(50) % 2)
    forest = Forest.of(estimator)
    assert forest.n_trees == len(forest.value)
    assert_equal(estimator, forest, rows(1, 4)[:, :2])


def test_a_batch_larger_than_a_chunk_is_the_same_as_its_rows():
    _, forest = fitted("random_forest")
    X = rows(5, (1 << 16) + 3)
    assert np.array_equal(forest.predict(X)[-5:], forest.predict(X[-5:]))
    assert forest.predict(X[:0]).shape == (0,)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_infinite_values_are_refused(algorithm):
    _, forest = fitted(algorithm)
    for value in (np.inf, -np.inf):
        row = rows(1, 1)[0]
        row[2] = value
        with pytest.raises(InputError, match=r"^a feature is infinite, too large or missing"):
            forest.predict_one(row)
        with pytest.raises(InputError, match=r"^a feature is infinite, too large or missing"):
            forest.predict(row[None])


def test_what_float32_cannot_hold_is_refused_where_the_trees_see_float32():
    row = np.full(FEATURES, 1e300)
    for algorithm in ("random_forest", "gradient_boosting"):
        with pytest.raises(InputError, match=r"^a feature is infinite, too large"):
            fitted(algorithm)[1].predict_one(row)
        with pytest.raises(InputError, match=r"^a feature is infinite, too large"):
            fitted(algorithm)[1].predict(row[None])
    estimator, forest = fitted("hist_gradient_boosting")
    assert_equal(estimator, forest, row[None])


def test_gradient_boosting_refuses_missing_values_as_scikit_learn_does():
    estimator, forest = fitted("gradient_boosting")
    row = np.full(FEATURES, np.nan)
    with pytest.raises(ValueError, match="NaN"):
        estimator.predict_proba(row[None])
    for ask in (lambda: forest.predict_one(row), lambda: forest.predict(row[None])):
        with pytest.raises(InputError, match="missing"):
            ask()


@pytest.mark.parametrize(
    "row", [np.zeros(FEATURES - 1), np.zeros(FEATURES + 1), np.zeros((1, FEATURES)), np.zeros(FEATURES, np.float32)]
)
def test_a_row_of_another_shape_or_type_is_refused(row):
    with pytest.raises(InputError, match=r"^the model takes 6 float64 values"):
        fitted("random_forest")[1].predict_one(row)


def test_a_table_of_another_width_is_refused():
    with pytest.raises(InputError, match=r"^the model takes rows of 6 values, not an array of shape \(3, 5\)"):
        fitted("random_forest")[1].predict(np.zeros((3, 5)))


def trained(estimator, classes=2):
    X = rows(2, 60)
    return estimator.fit(X, np.arange(60) % classes)


class Inherited(RandomForestClassifier):
    pass


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: trained(ExtraTreesClassifier(2)), "a ExtraTreesClassifier cannot be kept"),
        (lambda: trained(Inherited(2)), "a Inherited cannot be kept"),
        (lambda: trained(DummyClassifier()), "a DummyClassifier cannot be kept"),
        (lambda: trained(CalibratedClassifierCV(RandomForestClassifier(2), cv=2)), "a CalibratedClassifierCV cannot"),
        (lambda: trained(RandomForestClassifier(2), classes=3), "other than two classes"),
        (lambda: trained(HistGradientBoostingClassifier(max_iter=2), classes=3), "other than two classes"),
        (lambda: trained(RandomForestClassifier(2), classes=1), "other than two classes"),
        (
            lambda: RandomForestClassifier(2).fit(rows(1, 9), np.eye(3, dtype=int)[np.arange(9) % 3][:, :2]),
            "other than two classes",
        ),
        (lambda: trained(GradientBoostingClassifier(n_estimators=2, loss="exponential")), "the loss 'exponential'"),
        (lambda: trained(GradientBoostingClassifier(n_estimators=2, init=DummyClassifier())), "another estimator"),
        (
            lambda: HistGradientBoostingClassifier(max_iter=2, categorical_features=[1]).fit(
                np.abs(rows(1, 60)) % 5 // 1, np.arange(60) % 2
            ),
            "categorical splits cannot be kept",
        ),
        (
            lambda: RandomForestClassifier(1).fit(np.zeros((4, 256)), [0, 1, 0, 1]),
            "has 256 features: a model takes 255",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_held_exactly_is_refused(make, said):
    with pytest.raises(InputError, match=said):
        Forest.of(make())


def test_an_estimator_that_was_not_fitted_is_refused():
    with pytest.raises((InputError, NotFittedError)):
        Forest.of(RandomForestClassifier())


LEAF = 255


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ([], "0 nodes, not 1 to"),
        ([0], "ends before it is complete"),
        ([0, LEAF], "ends before it is complete"),
        ([0, LEAF, LEAF, 0, LEAF], "ends before it is complete"),
        ([0, LEAF, 0], "ends before it is complete"),
        ([0, LEAF, 1, LEAF], "ends before it is complete"),
        ([2, LEAF, LEAF], "node 0 asks for feature 2, of 2"),
        ([0, 254, LEAF, LEAF, LEAF], "node 1 asks for feature 254, of 2"),
    ],
)
def test_nodes_that_make_no_whole_trees_are_refused(feature, said):
    with pytest.raises(MalformedError, match=said):
        Forest("random_forest", 2, 0.0, np.zeros(len(feature)), feature, np.zeros(len(feature)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algorithm": "neural_network"}, "the algorithm 'neural_network' is none of"),
        ({"n_features": 0}, "0 features, not 1 to 255"),
        ({"n_features": 256}, "256 features, not 1 to 255"),
        ({"base": 0.5}, r"begins with 0\.5"),
        ({"base": float("nan")}, "begins with nan"),
        ({"value": [float("nan"), 0, 1]}, "the value of node 0 is not a finite number"),
        ({"value": [0.5, float("inf"), 1]}, "the value of node 1 is not a finite number"),
        ({"value": [0.5, 0, 1.5]}, r"a leaf holds 1\.5, not 0 to 1"),
        ({"value": [0.5, -0.1, 1]}, r"a leaf holds -0\.1, not 0 to 1"),
        ({"algorithm": "gradient_boosting", "value": [0.5, 1e200, 1]}, r"a leaf holds 1e\+200"),
        ({"value": [0.5, 1]}, "not of one length"),
        ({"cover": [1.0]}, "2 leaves and 1 of them a weight"),
        ({"cover": [1.0, 0.0]}, "the training weight of a leaf is not a number above 0"),
        ({"missing_left": [2, 0, 0]}, "missing_left is not 0 or 1"),
        ({"missing_left": [0, 1, 0]}, "missing_left is not 0 or 1 at some node, or not 0 at a leaf"),
    ],
)
def test_impossible_arrays_are_refused(changes, said):
    whole = {"algorithm": "random_forest", "n_features": 1, "base": 0.0, "value": [0.5, 0, 1]}
    with pytest.raises(MalformedError, match=said):
        Forest(**{**whole, "feature": [0, LEAF, LEAF], "missing_left": [0, 0, 0], **changes})


def test_a_tree_too_deep_to_be_honest_is_refused():
    deep = 10_001
    feature = np.array([0] * deep + [LEAF] * (deep + 1), dtype=np.uint8)
    with pytest.raises(MalformedError, match="10001 deep"):
        Forest("random_forest", 1, 0.0, np.zeros(len(feature)), feature, np.zeros(len(feature)))


def test_a_forest_cannot_be_changed_from_outside():
    value = np.array([0.5, 0.0, 1.0])
    forest = Forest("random_forest", 1, 0.0, value, [0, LEAF, LEAF], [0, 0, 0])
    value[0] = 99.0
    assert forest.predict_one(np.array([0.6])) == 1.0
    with pytest.raises(ValueError, match="read-only"):
        forest.value[0] = 99.0


@pytest.mark.slow
def test_the_walker_works_where_nothing_can_be_written(tmp_path, project):
    """As another user, so that even the package's folder and the home folder are closed."""
    script = (
        "import numpy as np, sys; sys.path.insert(0, sys.argv[1]);"
        "import numba.core.caching as caching;"
        "caching._CacheLocator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError('read-only'));"
        "from workbench.risk.forest import Forest;"
        "f = Forest('random_forest', 1, 0.0, [0.5, 0, 1], [0, 255, 255], [0, 0, 0]);"
        "print(f.predict_one(np.array([0.6])), f.predict(np.array([[0.4]]))[0])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(project)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert (told.returncode, told.stdout.split()) == (0, ["1.0", "0.0"]), told.stderr[-2000:]
