"""The card: complete, the same each time, readable without knowing metrics, and honest about what was not recorded."""

import copy
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from workbench.errors import MalformedError, NotFoundError
from workbench.features import FEATURES, FeatureSpec
from workbench.risk.calibration import METHODS, Calibrator
from workbench.risk.card import card_dict, card_markdown, card_of, card_page
from workbench.risk.card_text import plain_words
from workbench.risk.figures import curve_points
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.threshold import Threshold

SECTIONS = [
    "In plain words",
    "Intended use",
    "Not for",
    "Evaluation",
    "Threshold and alert budget",
    "Calibration",
    "What the model looks at",
    "Explanations",
    "Limits, bias and risks",
    "Data",
    "Labels",
    "How the data was split",
    "Features",
    "Drift reference",
    "Retention and privacy",
    "How to check",
]


def measured(value, low, high):
    return {"value": value, "low": low, "high": high}


def slice_of(rows, positives, **confusion):
    names = ("average_precision", "roc_auc", "precision", "recall", "f1", "recall_at_budget", "brier", "ece")
    metrics = {name: measured(0.4 + k / 100, 0.3, 0.5 + k / 100) for k, name in enumerate(names)}
    metrics |= {"precision": measured(0.342, 0.281, 0.409), "recall": measured(0.618, 0.55, 0.7)}
    prevalence = positives / rows
    return {
        "rows": rows,
        "positives": positives,
        "users": 120,
        "prevalence": prevalence,
        "metrics": metrics,
        "confusion": confusion,
    }


def fold():
    return {"average_precision": 0.3, "roc_auc": 0.8, "rows": 500, "positives": 9}


METRICS = {
    "format": 1,
    "primary": "average_precision",
    "slices": {
        "test": slice_of(9000, 160, tp=99, fp=190, fn=61, tn=8650),
        "new_users": slice_of(400, 12, tp=6, fp=10, fn=6, tn=378),
        "unseen_users": slice_of(900, 70, tp=40, fp=20, fn=30, tn=810),
    },
    "folds": {"forward": [fold(), fold()], "grouped": [fold()], "stratified": [fold()]},
    "calibration": {"method": "sigmoid", "bins": [{"predicted": 0.1, "observed": 0.12, "rows": 900}]},
    "curves": curve_points(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.8, 0.7])),
    "learning_curve": [{"rows": 100, "average_precision": 0.2, "roc_auc": 0.7}, {"rows": 900, "average_precision": 0.3, "roc_auc": 0.8}],
    "windows": {
        name: {"from": f"2025-0{k}-01T00:00:00.000000Z", "to": f"2025-0{k + 1}-01T00:00:00.000000Z", "rows": 4321, "positives": 77}
        for k, name in enumerate(("train", "calibrate", "threshold", "test"), 1)
    },
    "tuning": {},
    "importance": [
        {"feature": "hour", "permutation": 0.05, "permutation_sd": 0.01, "permutation_rank": 2, "impurity": 0.4, "impurity_rank": 1},
        {"feature": "ip_is_new", "permutation": 0.2, "permutation_sd": 0.02, "permutation_rank": 1, "impurity": 0.3, "impurity_rank": 2},
    ],
    "labels": {"delay_days_median": 3.4, "delay_days_p95": 11.0, "share_labelled": 0.93},
    "budget": {"alerts_per_day": 10.0},
    "shap": {"space": "probability", "rows": 800, "features": [{"feature": "ip_is_new", "mean_abs": 0.03}]},
    "belongs_to": {"model_sha256": "a" * 64, "is_the_registered_model": True, "note": "measured on the model itself"},
}  # fmt: skip
REFERENCE = {"format": 1, "rows": 9000, "positives": 160, "f1": 0.44, "features": {}, "scores": {}}


def model_with(**changes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 23))
    parts = {
        "forest": Forest.of(RandomForestClassifier(4, max_depth=3, random_state=0).fit(X, X[:, 0] > 0.5)),
        "calibrator": Calibrator("sigmoid", a=-5.0, b=3.0),
        "threshold": Threshold(0.4321, "budget", {"alerts_per_day": 10.0, "alerts": 290, "rows": 9000, "hits": 101}),
        "spec": FeatureSpec(),
        "origin": {
            "dataset_sha256": "d" * 64,
            "labels_sha256": "e" * 64,
            "algorithm": "random_forest",
            "parameters": {"max_depth": 3, "n_estimators": 4},
            "seed": 42,
            "libraries": {"numpy": "2.4", "scikit-learn": "1.9"},
        },
    }
    return RiskModel(**(parts | changes))


@pytest.fixture(scope="module")
def model():
    return model_with()


def version_of(model, metrics=METRICS, reference=REFERENCE):
    files = {"metrics.json": metrics, "reference.json": reference}

    def file(name):
        if files[name] is None:
            raise NotFoundError(f"no file {name}")
        return files[name] if isinstance(files[name], bytes) else json.dumps(files[name]).encode()

    return SimpleNamespace(number=3, model=model, file=file)


def section(card, title):
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_section_is_there_in_order_and_says_something(model):
    card = card_markdown(model, METRICS, REFERENCE)
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == SECTIONS
    assert card.startswith(f"# Model card: risk of violation, model {model.sha256[:12]}\n")
    assert all(len(section(card, title).strip()) > 80 for title in SECTIONS)
    assert "not recorded" not in card
    assert "None" not in card


def test_the_same_model_and_numbers_give_the_same_card(model):
    shuffled = dict(reversed(copy.deepcopy(METRICS).items()))
    assert card_markdown(model, shuffled, REFERENCE) == card_markdown(model_with(), METRICS, REFERENCE)


@pytest.mark.slow
def test_the_same_version_gives_the_same_page(model):
    assert card_page(version_of(model)) == card_page(version_of(model_with()))


def test_the_first_paragraph_counts_alerts_and_violations_of_a_hundred():
    assert plain_words(METRICS) == (
        "Of 100 alerts about 34 are real (28 to 41 with 95 % confidence); the others are false alarms. Of 100 violations "
        "it finds about 62 (55 to 70); the others it misses. This was measured on 9,000 later events that it had never "
        "seen: it raised 289 alerts, 99 of them on one of the 160 violations. Without a model, 1.8 of 100 events are "
        "violations. An alert says where to look first. It does not say that anybody did wrong."
    )


def test_a_model_that_never_alerts_is_said_to_be_of_no_use():
    metrics = copy.deepcopy(METRICS)
    metrics["slices"]["test"]["confusion"] = {"tp": 0, "fp": 0, "fn": 160, "tn": 8840}
    assert "it raised no alert at all, so it found none of the 160 violations" in plain_words(metrics)


def test_wide_intervals_are_said_to_be_wide():
    metrics = copy.deepcopy(METRICS)
    metrics["slices"]["test"]["metrics"]["precision"] = measured(0.43, 0.0, 0.77)
    assert "the others it misses. These ranges are wide: " in plain_words(metrics)
    assert "wide" not in plain_words(METRICS)


def test_a_slice_that_was_empty_is_named_among_the_limits(model):
    metrics = copy.deepcopy(METRICS)
    del metrics["slices"]["new_users"]
    assert "New users: none were among the tested events" in card_markdown(model, metrics)


def test_metrics_of_another_model_are_said_to_be_so():
    metrics = copy.deepcopy(METRICS)
    metrics["belongs_to"] = {"is_the_registered_model": False, "note": "these metrics were measured on another model"}
    assert plain_words(metrics).endswith("Mind that these metrics were measured on another model.")


def test_metrics_stand_with_their_intervals_slice_by_slice(model):
    told = section(card_markdown(model, METRICS, REFERENCE), "Evaluation")
    assert "| Metric | What it says | All users | New users | Unseen users |" in told
    assert "| Precision | share of alerts that are violations |" + " 0.342 (0.281 to 0.409) |" * 3 in told
    assert "| New users | of these, events of users seen for less than 7 days by then | 400 | 12 | 120 |" in told
    assert "| Violation | 99 | 61 |\n| Compliant | 190 | 8,650 |" in told


def test_a_slice_with_few_violations_is_named_among_the_limits(model):
    told = section(card_markdown(model, METRICS, REFERENCE), "Limits, bias and risks")
    assert "New users: only 12 violations were tested, too few" in told
    assert "Unseen users: only" not in told
    metrics = copy.deepcopy(METRICS)
    metrics["slices"]["new_users"]["positives"] = 1
    told = section(card_markdown(model, metrics, REFERENCE), "Limits, bias and risks")
    assert "New users: only 1 violation was tested, too few" in told


def test_which_labels_counted_and_what_folds_share_is_told(model):
    told = section(card_markdown(model, METRICS), "How the data was split")
    assert (
        "Training used the labels known when calibration began; calibration and threshold those known when the test "
        "began; the test, all there are." in told
    )
    assert "Folds by user: no user in two of them, but the future is known" in told
    assert "Folds by event, as is usual: they share users, and the future is known, so it looks too good." in told
    assert "fitted again" not in told
    again = model_with(origin=model.origin | {"refitted": True})
    hindsight = METRICS | {"labels": METRICS["labels"] | {"known_at": False, "new_days": 3.0}}
    card = card_markdown(again, hindsight)
    assert "Labels counted even where nobody knew them by then, so it looks too good. Then the model was" in card
    assert "events of users seen for less than 3 days by then" in card


def test_every_feature_stands_in_the_table_with_the_digest_of_all(model):
    told = section(card_markdown(model, METRICS, REFERENCE), "Features")
    for feature in FEATURES:
        assert f"| {feature.name} | {feature.unit} |" in told
    assert f"Definitions: sha256:{model.spec.sha256}" in told


def test_a_feature_of_ones_own_is_told_as_one():
    spec = FeatureSpec(names=FeatureSpec().names[:22], extra=(("mine", "1"),))
    assert "| Mine | mine | – | a feature of one's own | – |" in card_markdown(model_with(spec=spec), METRICS)


def test_data_labels_threshold_and_digests_are_told(model):
    card = card_markdown(model, METRICS, REFERENCE)
    assert "| train | 2025-01-01 00:00 | 2025-02-01 00:00 | 4,321 | 77 |" in section(card, "Data")
    assert "- Delay, median: 3.4 days after the event" in section(card, "Labels")
    told = section(card, "Threshold and alert budget")
    assert "- An event is an alert from: risk 0.4321" in told
    assert "- Chosen as: the lowest that raises at most 10 alerts a day" in told
    assert "F1 0.440 on 9,000 tested events with 160 violations" in section(card, "Drift reference")
    told = section(card, "How to check")
    for line in (
        f"Model file: sha256:{model.sha256}",
        f"Dataset: sha256:{'d' * 64}",
        f"Labels: sha256:{'e' * 64}",
        "Algorithm: random_forest (max_depth 3, n_estimators 4)",
        "Seed: 42",
        "Libraries: numpy 2.4, scikit-learn 1.9",
    ):
        assert f"- {line}" in told


def test_nobody_may_be_punished_by_it(model):
    assert "**No automatic sanction.**" in section(card_markdown(model, METRICS), "Not for")


@pytest.mark.parametrize("rule", ["budget", "cost", "f1"])
@pytest.mark.parametrize("method", METHODS)
def test_every_rule_and_calibration_has_words(rule, method):
    calibrator = {"isotonic": Calibrator("isotonic", x=[0.0, 1.0], y=[0.0, 1.0]), "none": Calibrator("none")}
    changed = model_with(
        threshold=Threshold(0.5, rule, {}), calibrator=calibrator.get(method, Calibrator("sigmoid", a=-1.0))
    )
    card = card_markdown(changed, {})
    assert "Chosen as: the " in card
    assert "What turned the forest's output into such a risk: " in card


def test_what_was_not_recorded_is_said_and_nothing_fails(model):
    card = card_markdown(model, {})
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == SECTIONS
    assert "How good this model is was not recorded: do not use it" in card
    for title in ("Evaluation", "Data", "What the model looks at", "Drift reference"):
        assert "not recorded" in section(card, title), title
    assert "<img" not in card_page(version_of(model, {}, {}))


PARTS = [key for key in METRICS if key not in ("format", "primary", "tuning")]


def without(part):
    return {key: value for key, value in METRICS.items() if key != part}


@pytest.mark.parametrize("missing", PARTS)
def test_any_part_of_the_metrics_may_be_missing(model, missing):
    assert re.findall(r"^## (.*)$", card_markdown(model, without(missing)), re.MULTILINE) == SECTIONS


@pytest.mark.slow
@pytest.mark.parametrize("missing", PARTS)
def test_any_part_of_the_metrics_may_be_missing_from_the_page(model, missing):
    assert card_page(version_of(model, without(missing), None)).count("<h2") == len(SECTIONS) - 1


def test_texts_from_outside_can_neither_break_a_table_nor_run(model):
    hostile = "a | b\n<script>alert(1)</script>"
    origin = model.origin | {"parameters": {hostile: 1}, "libraries": {"x": hostile}}
    metrics = METRICS | {
        "labels": {"source": hostile},
        "windows": {hostile: {"from": hostile, "to": None, "rows": 1, "positives": 1}},
    }
    changed = model_with(origin=origin)
    card = card_markdown(changed, metrics)
    assert "<script" not in card
    assert all(
        line.count("|") - line.count("\\|") == 6 for line in section(card, "Data").splitlines() if line.startswith("|")
    )
    few = {name: metrics[name] for name in ("labels", "windows")}
    assert "<script" not in card_page(version_of(changed, few))


def test_the_card_as_plain_values_has_the_same_sections(model):
    told = card_dict(model, METRICS, REFERENCE)
    assert [part["title"] for part in told["sections"]] == SECTIONS
    assert json.loads(json.dumps(told)) == told == card_of(version_of(model))
    windows = next(part for part in told["sections"] if part["name"] == "data")["content"][0]
    assert windows["rows"][0] == ["train", "2025-01-01 00:00", "2025-02-01 00:00", 4321, 77]


def test_the_page_stands_alone_and_shows_all_figures(model):
    page = card_page(version_of(model))
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', page) == []
    assert re.findall(r"url\((?!#)", page) == []
    assert "default-src &#39;none&#39;" in page
    images = re.findall(r"<img[^>]*>", page)
    assert len(images) == 8
    assert all(re.search(r'alt="[^"]{30,}"', image) for image in images)
    anchors = set(re.findall(r'href="#([^"]*)"', page))
    assert anchors <= set(re.findall(r'id="([^"]*)"', page))
    for shown in ("Risk of violation, version 3", "Of 100 alerts about 34 are real", model.sha256, *SECTIONS[1:]):
        assert shown in page, shown


@pytest.mark.parametrize(
    "metrics",
    [b"{", b"[1]", {"slices": []}, {"slices": {"test": 3}}, {"importance": [{}]}, {"folds": {"forward": [1]}}],
    ids=repr,
)
def test_metrics_of_another_form_are_refused_by_name(model, metrics):
    with pytest.raises(MalformedError, match=r"metrics\.json.* of model v3"):
        card_page(version_of(model, metrics))
