"""Explanations are SHAP's own values, add up, and are said in words that a reader who knows no model can follow."""

import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits

from workbench.errors import InputError, IntegrityError
from workbench.features import FEATURES, IP_USERS, FeatureSpec
from workbench.risk import explain, treeshap
from workbench.risk.calibration import Calibrator
from workbench.risk.explain import Contribution, Explanation, explain_event, explainer, summarise
from workbench.risk.explanation_page import explanation_page
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.threshold import Threshold
from workbench.risk.words import TITLES, phrase, title

KINDS = {
    "random_forest": lambda: RandomForestClassifier(15, max_depth=6, random_state=0, n_jobs=1),
    "gradient_boosting": lambda: GradientBoostingClassifier(n_estimators=25, random_state=0),
    "hist_gradient_boosting": lambda: HistGradientBoostingClassifier(max_iter=25, random_state=0),
}
NAMES = ("hour", "denials_24h", "ip_is_new", "off_hours", "tenure_days")


def rows(seed=0, count=500, missing=False):
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.integers(0, 24, count),
            rng.poisson(0.5, count),
            rng.random(count) < 0.2,
            rng.random(count) < 0.3,
            rng.uniform(0, 100, count),
        ]
    ).astype(np.float64)
    if missing:
        X[rng.random(X.shape) < 0.1] = np.nan
    return X


def labels(X):
    score = np.nan_to_num(X[:, 1]) + 2 * np.nan_to_num(X[:, 2]) + np.nan_to_num(X[:, 2] * X[:, 3]) - 2.5
    return (np.random.default_rng(9).random(len(X)) < 1 / (1 + np.exp(-score))).astype(np.int8)


def model_of(forest, calibrator=None):
    origin = {"dataset_sha256": "d" * 64, "labels_sha256": None}
    threshold = Threshold(0.5, "f1", {})
    return RiskModel(forest, calibrator or Calibrator("none"), threshold, FeatureSpec(names=NAMES), origin)


@cache
def fitted(algorithm, missing=False):
    X = rows(missing=missing)
    estimator = KINDS[algorithm]().fit(X, labels(X))
    calibrator = Calibrator("sigmoid", a=-5.0, b=3.0)
    return estimator, model_of(Forest.of(estimator), calibrator)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Two threads gain nothing on small tables, and wait for each other on a busy machine."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def model():
    return fitted("random_forest")[1]


CASES = [(kind, False) for kind in KINDS] + [("random_forest", True), ("hist_gradient_boosting", True)]


@pytest.mark.parametrize(("algorithm", "missing"), CASES)
def test_the_values_are_those_of_shap_on_the_scikit_learn_model(algorithm, missing):
    estimator, model = fitted(algorithm, missing)
    X = rows(1, 60, missing)
    ours = explainer(model).shap
    values, _ = ours.values(X)
    from shap import TreeExplainer  # its import warns, and ours has just kept that in

    theirs = TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    expected = theirs.shap_values(X)
    base = np.ravel(theirs.expected_value)[-1]
    np.testing.assert_allclose(values, expected[:, :, 1] if expected.ndim == 3 else expected, rtol=0, atol=1e-12)
    assert ours.base == pytest.approx(base, abs=1e-12)


@pytest.mark.parametrize(("algorithm", "missing"), CASES)
def test_values_and_base_add_up_to_what_scikit_learn_gives(algorithm, missing):
    estimator, model = fitted(algorithm, missing)
    X = rows(2, 40, missing)
    values, raw = explainer(model).shap.values(X)
    boosted = algorithm != "random_forest"
    expected = estimator.decision_function(X) if boosted else estimator.predict_proba(X)[:, 1]
    np.testing.assert_allclose(explainer(model).shap.base + values.sum(axis=1), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(raw, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_model_read_from_its_file_explains_alike(algorithm):
    _, model = fitted(algorithm)
    read = RiskModel.read(bytes(model), sha256=model.sha256)
    X = rows(3, 20)
    assert explain.Explainer(read).explain(list("ab"), X[:2]) == explain.Explainer(model).explain(list("ab"), X[:2])


def test_values_that_do_not_add_up_are_refused(model):
    shap = treeshap.TreeShap(model.forest)
    shap.__dict__["base"] = shap.base + 1e-7
    with pytest.raises(
        IntegrityError, match=r"^the explanation of row 0 does not add up: its values sum to 0\.\d+ and not "
    ):
        shap.values(rows(1, 3))


def test_values_of_other_trees_than_the_model_s_are_refused(monkeypatch):
    monkeypatch.setattr(treeshap, "_BATCH", 4)
    shap = treeshap.TreeShap(fitted("gradient_boosting")[1].forest)
    predict = Forest.predict
    monkeypatch.setattr(Forest, "predict", lambda self, X: predict(self, X) + 1e-7 * (X[:, 4] == -1))
    X = rows(1, 10)
    X[6, 4] = -1
    with pytest.raises(IntegrityError, match="explanation of row 6 is of other trees than the model's"):
        shap.values(X)


def test_a_model_without_training_weights_is_not_explained(model):
    bare = replace(model.forest, cover=())
    with pytest.raises(InputError, match=r"^the model keeps no training weights, so its scores cannot be explained"):
        treeshap.TreeShap(bare).values(rows(1, 2))


def test_batches_give_what_one_batch_gives(model, monkeypatch):
    X = rows(4, 25)
    whole, _ = explainer(model).shap.values(X)
    monkeypatch.setattr(treeshap, "_BATCH", 10)
    done = []
    parts, _ = explainer(model).shap.values(X, progress=done.append)
    assert (whole == parts).all()
    assert done == [10, 20, 25]


@pytest.mark.parametrize("shape", [(3, 4), (5,), (2, 3, 5)])
def test_rows_of_another_shape_are_refused(model, shape):
    with pytest.raises(InputError, match="the model takes rows of 5 features"):
        explainer(model).shap.values(np.zeros(shape))


def test_no_rows_have_no_values(model):
    values, raw = explainer(model).shap.values(np.zeros((0, 5)))
    assert values.shape == (0, 5)
    assert raw.shape == (0,)


def test_categorical_splits_are_refused():
    X = rows()
    estimator = HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]).fit(X, labels(X))
    with pytest.raises(InputError, match="categorical"):
        Forest.of(estimator)


@pytest.mark.parametrize("algorithm", KINDS)
def test_points_add_up_to_the_difference_from_the_usual_risk(algorithm):
    _, model = fitted(algorithm)
    X = rows(5, 30)
    for told in explainer(model).explain([str(k) for k in range(30)], X):
        assert told.p == model.predict_one(X[int(told.event_id)])
        points = [one.points for one in told.contributions]
        assert sum(points) == pytest.approx(told.p - told.base, abs=1e-12)
        sizes = [abs(one.raw) for one in told.contributions]
        assert sizes == sorted(sizes, reverse=True)
        assert np.allclose(
            points, [one.raw * (told.p - told.base) / (told.raw - told.raw_base) for one in told.contributions]
        )


def test_a_calibration_that_tells_nothing_apart_leaves_directions_only(model):
    flat = model_of(model.forest, Calibrator("isotonic", x=[0.0, 1.0], y=[0.25, 0.25]))
    told = explain_event(flat, "e", [3, 2, 1, 1, 50])
    assert told.p == told.base == 0.25
    assert not told.shares_out
    assert told.words.startswith("risk 0.25 (usual: 0.25): raising it: ")


def test_a_step_of_the_calibration_makes_no_share_above_the_whole(model):
    base = explainer(model).shap.base
    X = rows(6, 200)
    values, raw = explainer(model).shap.values(X)
    row = int(np.argmin(np.where(raw > base, raw - base, np.inf) / np.abs(values).max(axis=1)))
    middle = (base + raw[row]) / 2
    step = Calibrator("isotonic", x=[middle - 1e-9, middle + 1e-9], y=[0.0, 1.0])
    told = explain_event(model_of(model.forest, step), "e", X[row])
    assert (told.base, told.p) == (0.0, 1.0)
    assert not told.shares_out or max(abs(one.points) for one in told.contributions) <= 1
    assert not told.shares_out


def test_the_explainer_of_a_model_is_built_once(model):
    first = explainer(model)
    assert explainer(RiskModel.read(bytes(model), sha256=model.sha256)) is first
    for k in range(4):
        explainer(model_of(model.forest, Calibrator("sigmoid", a=-1.0, b=float(k))))
    assert explainer(model) is not first


def test_a_summary_ranks_features_and_is_the_same_each_time(model):
    X = rows(7, 120)
    summary = summarise(model, X, rows=50, seed=3)
    again = summarise(model, X, rows=50, seed=3)
    assert (summary.values == again.values).all()
    assert summary.X.shape == summary.values.shape == (50, 5)
    kept = summary.as_metrics()
    assert (kept["space"], kept["rows"]) == ("probability", 50)
    sizes = [row["mean_abs"] for row in kept["features"]]
    assert sizes == sorted(sizes, reverse=True)
    assert {row["feature"] for row in kept["features"]} == set(NAMES)
    assert kept["features"][0]["feature"] == "ip_is_new"
    assert len(summarise(model, X[:7]).X) == 7


def said(p=0.83, base=0.02, points=(0.31, 0.12, -0.04, 0.002), values=(1, 4, 1, 0)):
    names = ("ip_is_new", "denials_24h", "off_hours", "is_first")
    raws = [k if points[0] is None else point for k, point in zip((0.3, 0.1, -0.05, 0.01), points, strict=True)]
    made = tuple(map(Contribution, names, map(float, values), raws, points))
    return Explanation("e1", p, base, "probability", 0.6, 0.02, made, names, tuple(map(float, values)))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            said(),
            ("risk 0.83 (usual: 0.02): first time from this IP (+0.31), 4 denials in 24 h (+0.12), off hours (-0.04), "
            "1 other (+0.00)"),
        ),
        (
            said(values=(0, 1, 0, 1)),
            ("risk 0.83 (usual: 0.02): an IP seen before (+0.31), 1 denial in 24 h (+0.12), by day (-0.04), "
            "1 other (+0.00)"),
        ),
        (
            said(0.031, 0.02, (0.012, -0.0021, 0.0009, 0.0002)),
            ("risk 0.031 (usual: 0.020): first time from this IP (+0.012), 4 denials in 24 h (-0.002), off hours (+0.001), "
            "1 other (+0.000)"),
        ),
        (said(0.02, 0.02, (1e-5, 0.0, 0.0, 0.0)), "risk 0.020 (usual: 0.020): nothing about this event moves the risk by as much as 0.001"),
        (
            said(0.25, 0.25, (None, None, None, None)),
            ("risk 0.25 (usual: 0.25): raising it: first time from this IP, 4 denials in 24 h, a user seen before; "
            "lowering it: off hours"),
        ),
    ],
    ids=["alert", "other values", "small risk", "nothing", "directions"],
)  # fmt: skip
def test_an_explanation_is_one_plain_sentence(told, words):
    assert told.words == words


def test_what_is_not_named_is_summed_up():
    assert said().sentence(1) == "risk 0.83 (usual: 0.02): first time from this IP (+0.31), 3 others together (+0.08)"
    assert said().shares(1) == [("first time from this IP", 0.31), ("3 others together", pytest.approx(0.082))]


def test_a_rounded_zero_has_no_minus():
    assert said(points=(0.31, 0.12, -0.04, -0.002)).words.endswith("1 other (+0.00)")


def test_an_explanation_is_plain_json():
    told = said(values=(1, float("nan"), 1, 0)).as_dict()
    assert told["vector"] == {"ip_is_new": 1.0, "denials_24h": None, "off_hours": 1.0, "is_first": 0.0}
    assert told["contributions"][1]["words"] == "denials in 24 h: not known"
    assert told["contributions"][0] == {
        "feature": "ip_is_new",
        "value": 1.0,
        "words": "first time from this IP",
        "raw": 0.31,
        "points": 0.31,
    }


def test_every_feature_has_a_short_name():
    assert set(TITLES) == {feature.name for feature in (*FEATURES, IP_USERS)}
    assert len(set(TITLES.values())) == len(TITLES)


@pytest.mark.parametrize("feature", (*FEATURES, IP_USERS), ids=lambda feature: feature.name)
def test_every_feature_has_words_without_its_code_name(feature):
    for value in (0.0, 1.0, 7.0):
        words = phrase(feature.name, value)
        assert words == feature.say(value)
        assert "_" not in words + title(feature.name)


def test_the_page_shows_event_reasons_and_verdict_and_loads_nothing(model):
    told = explain_event(model, "e-<1>", [23, 4, 1, 1, 50])
    page = explanation_page(told, model, {"User": "<script>alert(1)</script>"})
    assert explanation_page(told, model, {"User": "<script>alert(1)</script>"}) == page
    assert "<script" not in page
    assert "e-&lt;1&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    for shown in ("first time from this IP", "4 denials in 24 h", "alert", "A person decides", model.sha256):
        assert shown in page, shown


def test_the_page_of_an_explanation_without_points_says_so(model):
    flat = model_of(model.forest, Calibrator("isotonic", x=[0.0, 1.0], y=[0.25, 0.25]))
    page = explanation_page(explain_event(flat, "e", [3, 2, 1, 1, 50]), flat)
    assert "cannot be shared out" in page


@pytest.mark.slow
def test_shap_is_imported_when_first_asked_and_without_a_warning():
    script = (
        "import sys, numpy as np, workbench.risk.explain as e\n"
        "assert 'shap' not in sys.modules\n"
        "from workbench.risk.forest import Forest\n"
        "from workbench.risk.treeshap import TreeShap\n"
        "from sklearn.ensemble import RandomForestClassifier\n"
        "X = np.random.default_rng(0).normal(size=(50, 2))\n"
        "forest = Forest.of(RandomForestClassifier(3, random_state=0).fit(X, X[:, 0] > 0))\n"
        "TreeShap(forest).values(X)\n"
    )
    told = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
