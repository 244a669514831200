"""Figures say what they show, in words too, and are the same bytes each time."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb

from workbench.errors import InputError
from workbench.pages import figure_svg
from workbench.pages.palette import ALARM, FAINT, LINE, QUIET
from workbench.risk.alert_figures import confusion_figure, histogram_figure, hundreds_figure
from workbench.risk.course_figures import drift_figure, folds_figure, learning_curve_figure, promotion_figure
from workbench.risk.criteria import Criterion
from workbench.risk.drawing import Scored, alt_text
from workbench.risk.explain import Contribution, Explanation
from workbench.risk.figures import (
    calibration_figure,
    curve_points,
    curves_figure,
    importance_figure,
    precision_recall_figure,
    roc_figure,
    stored_curves_figure,
)
from workbench.risk.metrics import Metric
from workbench.risk.shap_figures import beeswarm_figure, dependence_figure, explanation_figure, shap_bar_figure
from workbench.risk.treeshap import Summary

RNG = np.random.default_rng(5)
P = RNG.random(400)
Y = (RNG.random(400) < P**2).astype(np.int8)
FOLD = np.arange(400) % 4
ROC, AP = Metric("roc_auc", 0.8, 0.7, 0.9), Metric("average_precision", 0.6, 0.5, 0.7)
POINTS = [
    {"rows": n, "average_precision": 0.1 * k, "roc_auc": 0.7 + 0.05 * k} for k, n in enumerate((100, 500, 900), 1)
]
FOLDS = [{"average_precision": 0.2 + 0.1 * k, "roc_auc": 0.8, "rows": 100, "positives": 5 + k} for k in range(3)]
IMPORTANCE = pd.DataFrame(
    {"feature": ["hour", "ip_is_new", "mine"], "mean": [0.1, 0.3, 0.0], "sd": [0.01, 0.02, 0.0], "rank": [2, 1, 3]}
)
SUMMARY = Summary(
    ("hour", "ip_is_new", "seconds_since_last"),
    np.column_stack([FOLD, P > 0.8, 10_000 * P]).astype(float),
    np.column_stack([P - 0.5, 3 * (P > 0.8), 0.1 * P]),
    0.02,
    "log-odds",
)
MADE = tuple(Contribution(f"mine_{k}", float(k), 0.3 - 0.1 * k, 0.16 - 0.05 * k) for k in range(6))
EXPLANATION = Explanation("e", 0.3, 0.1, "log-odds", 1.0, 0.0, MADE, tuple(c.feature for c in MADE), tuple(range(6)))
INTERVAL = {"champion": 0.3, "challenger": 0.35, "low": -0.01, "high": 0.11, "floor": 0.0}
PAIR = {"champion": 0.05, "challenger": 0.04, "high": -0.002, "most": 0.003}
CRITERIA = (
    Criterion("ranking", False, "it may be luck", INTERVAL),
    Criterion("alerts", True, "catches as many", {"alerts": 10}),
    Criterion("calibration", True, "no worse", {"brier": PAIR, "ece": {**PAIR, "high": 0.004}}),
    Criterion("parity", None, "not judged"),
)


def window(verdict, value=0.5, upper=0.6, until="2025-03-01T00:00:00Z"):
    f1, rules = SimpleNamespace(value=value, upper=upper), SimpleNamespace(share=0.95)
    return SimpleNamespace(verdict=verdict, f1=f1, reference_f1=0.52, rules=rules, window={"until": until})


@dataclass
class CrossValidated:
    table: object
    scores: np.ndarray
    fold: np.ndarray
    models: tuple = ()


DRAWN = {
    "curves": lambda: curves_figure(Scored(Y, P, FOLD), ROC, AP),
    "roc": lambda: roc_figure((Y, P), ROC),
    "precision and recall": lambda: precision_recall_figure((Y, P), AP, threshold=0.5),
    "stored curves": lambda: stored_curves_figure(curve_points(Y, P), prevalence=0.3, roc=ROC, precision=AP, point=(0.4, 0.5)),
    "calibration": lambda: calibration_figure((Y, P)),
    "confusion": lambda: confusion_figure(tp=5, fp=10, fn=20, tn=965),
    "histogram": lambda: histogram_figure((Y, P), threshold=0.9),
    "hundreds": lambda: hundreds_figure(AP, ROC),
    "importance": lambda: importance_figure(IMPORTANCE),
    "learning curve": lambda: learning_curve_figure(POINTS),
    "folds": lambda: folds_figure(FOLDS),
    "drift": lambda: drift_figure([window("OK"), window("EXTEND", None, None), window("RETRAIN", 0.3, 0.4)]),
    "promotion": lambda: promotion_figure(CRITERIA),
    "beeswarm": lambda: beeswarm_figure(SUMMARY),
    "shap bars": lambda: shap_bar_figure(SUMMARY),
    "dependence": lambda: dependence_figure(SUMMARY, "seconds_since_last"),
    "explanation": lambda: explanation_figure(EXPLANATION, top=4),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_drawn_and_described_for_who_cannot_see_it(name):
    figure = DRAWN[name]()
    alt = alt_text(figure)
    assert len(alt) > 30
    assert alt.endswith((".", ")."))
    assert "_" not in alt
    assert figure_svg(figure).startswith("<?xml")


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_the_same_bytes_each_time(name):
    assert figure_svg(DRAWN[name]()) == figure_svg(DRAWN[name]())


def test_a_cross_validation_is_drawn_as_its_arrays_are():
    def drawn(figure):
        return [line.get_xydata().tolist() for axes in figure.axes for line in axes.lines]

    result = CrossValidated(SimpleNamespace(y=Y), P, FOLD)
    assert drawn(curves_figure(result, ROC, AP)) == drawn(curves_figure(Scored(Y, P, FOLD), ROC, AP))
    assert drawn(calibration_figure(result)) == drawn(calibration_figure((Y, P)))


def test_single_folds_stand_behind_the_curve_of_all():
    left, right = curves_figure(Scored(Y, P, FOLD), ROC, AP).axes
    assert [line.get_color() for line in left.lines] == [FAINT] * 4 + [LINE, QUIET]
    assert [line.get_color() for line in right.lines] == [FAINT] * 4 + [LINE, QUIET]
    assert (left.get_title(), right.get_title()) == ("ROC, area 0.800", "Precision-recall, average 0.600")


def test_the_threshold_is_marked_where_its_recall_and_precision_are():
    figure = precision_recall_figure((np.array([0, 1, 1, 0]), np.array([0.1, 0.2, 0.9, 0.8])), AP, threshold=0.8)
    (mark,) = [line for line in figure.axes[0].lines if line.get_label() == "threshold in use"]
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([0.5], [0.5])


@pytest.mark.parametrize("threshold", [2.0, 0.95])
def test_a_threshold_that_raises_no_alert_has_no_mark(threshold):
    figure = precision_recall_figure((np.array([0, 1]), np.array([0.1, 0.2])), AP, threshold=threshold)
    assert "threshold in use" not in [line.get_label() for line in figure.axes[0].lines]


def test_stored_curves_are_few_points_of_the_whole_curve():
    y = (np.random.default_rng(1).random(20_000) < 0.05).astype(int)
    p = np.random.default_rng(2).random(20_000) + 0.3 * y
    kept = curve_points(y, p, most=100)
    for curve, ends in (("roc", ([0, 1], [0, 1])), ("precision_recall", ([1, 0], [y.mean(), 1]))):
        x, height = kept[curve].values()
        assert len(x) == len(height) <= 100
        assert ([x[0], x[-1]], [height[0], height[-1]]) == (pytest.approx(ends[0]), pytest.approx(ends[1]))
    # The area under the thinned curve is that under the whole one.
    from sklearn.metrics import roc_auc_score

    assert np.trapezoid(kept["roc"]["tpr"], kept["roc"]["fpr"]) == pytest.approx(roc_auc_score(y, p), abs=0.002)


def test_calibration_can_be_drawn_from_stored_bins():
    bins = [{"predicted": 0.1, "observed": 0.2, "rows": 10}, {"predicted": 0.5, "observed": 0.4, "rows": 10}]
    figure = calibration_figure(bins)
    line = figure.axes[0].lines[1]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.1, 0.5], [0.2, 0.4])
    assert "2 groups" in alt_text(figure)


def test_the_four_counts_are_named():
    figure = confusion_figure(tp=5, fp=10, fn=20, tn=965)
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "5\nfound",
        "20\nmissed",
        "10\nfalse alerts",
        "965\nrightly quiet",
    ]
    assert "Of 25 violations 5 raised an alert and 20 did not" in alt_text(figure)


def test_no_events_at_all_can_be_drawn():
    assert "Of 0 violations" in alt_text(confusion_figure(tp=0, fp=0, fn=0, tn=0))
    assert "0 scores" in alt_text(histogram_figure((np.zeros(0), np.zeros(0)), threshold=0.5))


def test_of_a_hundred_squares_as_many_are_dark_as_are_real():
    figure = hundreds_figure(Metric("precision", 0.34, 0.28, 0.41), Metric("recall", 0.62, 0.5, 0.7))
    for axes, dark, hatched in zip(figure.axes, (34, 62), (13, 20), strict=True):
        squares = axes.patches
        assert len(squares) == 100
        assert sum(square.get_facecolor()[:3] == pytest.approx(to_rgb(LINE)) for square in squares) == dark
        assert sum(square.get_hatch() is not None for square in squares) == hatched
    assert figure.axes[0].get_title() == "Of 100 alerts, 34 are real\n66 are false alarms"


def test_importance_shows_both_ranks_where_there_are_both():
    one = importance_figure(IMPORTANCE)
    assert [label.get_text() for label in one.axes[0].get_yticklabels()] == [
        "Mine  3",
        "Hour of the day  2",
        "New IP  1",
    ]
    stored = [
        {"feature": "hour", "permutation": 0.1, "permutation_sd": 0.01, "permutation_rank": 1, "impurity": 0.2, "impurity_rank": 2},
        {"feature": "burst", "permutation": 0.0, "permutation_sd": 0.01, "permutation_rank": 2, "impurity": 0.8, "impurity_rank": 1},
    ]  # fmt: skip
    both = importance_figure(stored)
    assert [text.get_text() for text in both.axes[1].texts] == [" 1", " 2"]
    without = [{**row, "impurity": None, "impurity_rank": None} for row in stored]
    assert len(importance_figure(without).axes) == 1


def test_windows_are_marked_by_verdict_and_gaps_stay_empty():
    figure = drift_figure([window("OK"), window("EXTEND", None, None), window("RETRAIN", 0.3, 0.4)])
    marks = {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() != "None"}
    assert marks == {"OK": [0], "RETRAIN": [2]}
    assert alt_text(figure) == "F1 in 3 windows against the reference 0.520, by verdict: 1 OK, 1 EXTEND, 1 RETRAIN."


def test_a_promotion_shows_differences_with_bounds_and_the_rest_in_words():
    figure = promotion_figure(CRITERIA)
    names = [axes.get_yticklabels()[0].get_text() for axes in figure.axes]
    assert names == [
        "ranking\nnot met",
        "alerts\nmet",
        "Brier score\nmet",
        "calibration error\nnot met",
        "parity\nnot judged",
    ]
    assert [line.get_color() for line in figure.axes[0].lines[1:3]] == [ALARM, ALARM]
    assert list(figure.axes[0].lines[1].get_xdata()) == [-0.01, 0.11]
    assert figure.axes[1].texts[0].get_text() == "catches as many"
    assert alt_text(figure).endswith("2 met, not met: ranking and calibration error.")


def test_every_event_is_a_dot_and_dots_of_one_value_do_not_hide_each_other():
    figure = beeswarm_figure(SUMMARY, top=2)
    swarms = [part for part in figure.axes[0].collections if isinstance(part, PathCollection)]
    assert [len(swarm.get_offsets()) for swarm in swarms] == [400, 400]
    high = swarms[1].get_offsets()[P > 0.8]
    assert len({tuple(np.round(place, 6)) for place in np.asarray(high)}) == len(high)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["Hour of the day", "New IP"]
    assert len(figure_svg(figure)) < 400_000


def test_the_bars_can_be_drawn_from_what_the_metrics_keep():
    assert figure_svg(shap_bar_figure(SUMMARY)) == figure_svg(shap_bar_figure(SUMMARY.as_metrics()))


def test_values_of_one_feature_may_be_all_alike_or_unknown():
    flat = Summary(("a",), np.full((5, 1), np.nan), np.zeros((5, 1)), 0.0, "probability")
    assert alt_text(beeswarm_figure(flat)).startswith("Dots of 5 events")
    assert alt_text(dependence_figure(flat, "a")).startswith("0 events")


def test_a_feature_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"^the model has no feature 'ip_new'; did you mean 'ip_is_new'\?$"):
        dependence_figure(SUMMARY, "ip_new")


def test_an_explanation_shows_its_strongest_reasons_and_the_rest_together():
    axes = explanation_figure(EXPLANATION, top=4).axes[0]
    words = [label.get_text() for label in axes.get_yticklabels()]
    assert words == ["mine 0: 0", "mine 1: 1", "mine 2: 2", "mine 3: 3", "2 others together"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.16, 0.11, 0.06, 0.01, -0.13])
    assert [bar.get_hatch() for bar in axes.patches] == [None, None, None, None, "///"]
