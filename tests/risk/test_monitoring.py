"""Drift: the rule's false alarms and detections are what the table promises, and features only ask for a look."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from workbench.errors import InputError, MalformedError
from workbench.features import FeatureSpec, FeatureTable
from workbench.risk.calibration import Calibrator
from workbench.risk.f1 import DriftRules, f1_by_user, f1_from_counts, f1_rule
from workbench.risk.forest import Forest
from workbench.risk.matured import NEVER
from workbench.risk.model import RiskModel
from workbench.risk.monitoring import drift
from workbench.risk.psi import bin_counts, psi, psi_threshold, shift
from workbench.risk.threshold import Threshold
from workbench.risk.trials import simulated_counts, try_drift_rule

# Of the design: recall 0.6 and precision 0.5, a reference of 1,000 violations.
# Violations: half-width of F1 in %, then in %: F1 < 0.95 of the reference, nothing changed; RETRAIN, nothing changed;
# RETRAIN after a fall of 10 %; after 20 %.
TABLE = {
    50: (19.0, 31, 2.0, 13, 43),
    100: (13.5, 25, 1.3, 19, 66),
    200: (9.6, 17, 0.8, 27, 88),
    500: (6.1, 9, 0.4, 48, 99),
    1000: (4.3, 5, 0.3, 67, 100),
}
# The table came from a simulation of its own, whose size it does not say; 4,000 trials are assumed for its error.
TABLE_TRIALS = 4_000


def agrees(count, trials, percent):
    """Whether a measured rate and one of the table, each with its own error, can be of one truth (99 %)."""
    mine = binomtest(int(count), trials).proportion_ci(0.99)
    theirs = binomtest(round(percent / 100 * TABLE_TRIALS), TABLE_TRIALS).proportion_ci(0.99)
    rounding = 0.005 if percent >= 5 else 0.0005
    return mine.low - rounding <= theirs.high and theirs.low <= mine.high + rounding


@pytest.mark.parametrize("violations", TABLE)
def test_the_rule_on_counts_reproduces_the_table(violations):
    half_width, plain, false_alarm, ten, twenty = TABLE[violations]
    trials = 20_000
    (row,) = try_drift_rule((violations,), trials=trials, seed=violations).to_dict("records")
    assert 100 * row["half_width"] == pytest.approx(half_width, rel=0.03)
    for name, promised in (
        ("plain_alarm", plain),
        ("rule_alarm", false_alarm),
        ("detects_10", ten),
        ("detects_20", twenty),
    ):
        assert agrees(round(row[name] * trials), trials, promised), name


@pytest.mark.slow
def test_the_bootstrap_over_users_reproduces_the_table_where_each_event_has_its_own_user():
    rng = np.random.default_rng(1)
    trials = 600
    reference, _ = f1_from_counts(*simulated_counts(rng, 1_000, trials))

    def retrains(kept):
        count = 0
        for trial, (tp, fp, fn) in enumerate(np.transpose(simulated_counts(rng, 200, trials, kept=kept)).astype(int)):
            y = np.repeat(np.array([1, 0, 1, 0], dtype=np.int8), [tp, fp, fn, 50])
            alert = np.repeat([True, True, False, False], [tp, fp, fn, 50])
            upper = f1_by_user(y, alert, np.arange(len(y)), resamples=300, seed=trial).upper
            count += upper < 0.95 * reference[trial]
        return count

    for kept, promised in ((1.0, 0.8), (0.9, 27), (0.8, 88)):
        assert agrees(retrains(kept), trials, promised), kept


def test_where_violations_come_in_clusters_only_the_bootstrap_over_users_keeps_its_promise():
    """50 users with their own recall, four violations each on average, nothing changed: why users are drawn."""
    rng = np.random.default_rng(2)
    reference, trials, by_counts, by_user = 1.2 / 2.2, 600, 0, 0
    for trial in range(trials):
        violations = rng.poisson(4 * rng.gamma(1, 1, 50))
        tp = rng.binomial(violations, rng.beta(1.2, 0.8, 50))
        fp = rng.poisson(2.4 * rng.gamma(0.5, 2, 50))
        parts = np.stack([tp, fp, violations - tp], axis=1)
        y = np.repeat(np.tile(np.array([1, 0, 1], dtype=np.int8), 50), parts.ravel())
        alert = np.repeat(np.tile([True, True, False], 50), parts.ravel())
        users = np.repeat(np.repeat(np.arange(50), 3), parts.ravel())
        by_counts += f1_from_counts(*parts.sum(axis=0).astype(float))[1] < 0.95 * reference
        by_user += f1_by_user(y, alert, users, resamples=300, seed=trial).upper < 0.95 * reference
    assert binomtest(int(by_counts), trials).proportion_ci(0.95).low > 0.08
    assert binomtest(int(by_user), trials).proportion_ci(0.95).high < 0.06


@pytest.mark.parametrize(
    ("f1", "upper", "violations", "verdict"),
    [
        (0.55, 0.60, 500, "OK"),
        (0.50, 0.55, 500, "WARN"),
        (0.45, 0.50, 500, "RETRAIN"),
        (0.45, 0.50, 200, "RETRAIN"),
        (0.45, 0.50, 199, "WARN"),
        (0.55, 0.60, 199, "EXTEND"),
        (None, None, 0, "EXTEND"),
    ],
)
def test_the_rule_warns_on_the_point_and_retrains_on_the_bound(f1, upper, violations, verdict):
    assert f1_rule(f1, upper, violations, 0.545) == verdict


def test_the_bound_on_counts_is_that_of_the_formula_s_derivation():
    """Against the spread of F1 over samples with the true rates: 5 % of them lie above value + 1.645 sd, about."""
    rng = np.random.default_rng(3)
    f1, upper = f1_from_counts(*simulated_counts(rng, 300, 50_000))
    assert ((upper - f1).mean()) / 1.6449 == pytest.approx(f1.std(), rel=0.02)


def test_without_violations_and_alerts_there_is_no_f1():
    nothing = f1_by_user(np.zeros(5, dtype=np.int8), np.zeros(5, dtype=bool), np.arange(5))
    assert (nothing.value, nothing.upper) == (None, None)
    assert np.isnan(f1_from_counts(*(np.zeros(1),) * 3)[0]).all()


# PSI


@pytest.mark.parametrize(("n", "m"), [(100, 10_000), (300, 3_000), (50, 5_000)])
def test_psi_by_chance_exceeds_its_threshold_once_in_a_hundred_times(n, m):
    rng = np.random.default_rng(n)
    shares = np.full(10, 0.1)
    trials = 20_000
    by_chance = [
        psi(a, b) for a, b in zip(rng.multinomial(m, shares, trials), rng.multinomial(n, shares, trials), strict=True)
    ]
    threshold = psi_threshold(n, m, 10, floor=0)
    assert np.quantile(by_chance, 0.99) == pytest.approx(threshold, rel=0.05)
    rate = binomtest(int((np.array(by_chance) > threshold).sum()), trials).proportion_ci(0.99)
    assert rate.low <= 0.011
    assert rate.high >= 0.008


def test_a_fixed_threshold_of_a_tenth_fires_on_identical_data():
    rng = np.random.default_rng(4)
    shares = np.full(10, 0.1)
    samples = zip(rng.multinomial(10_000, shares, 5_000), rng.multinomial(100, shares, 5_000), strict=True)
    fired = sum(psi(a, b) > 0.1 for a, b in samples) / 5_000
    assert 0.28 < fired < 0.42


def test_bonferroni_keeps_the_whole_table_of_features_quiet():
    rng = np.random.default_rng(5)
    shares, trials, tests = np.full(10, 0.1), 400, 24
    threshold = psi_threshold(5_000, 150, 10, tests=tests)
    before, after = rng.multinomial(5_000, shares, (trials, tests)), rng.multinomial(150, shares, (trials, tests))
    wrong = sum(
        any(psi(a, b) > threshold for a, b in zip(*pair, strict=True)) for pair in zip(before, after, strict=True)
    )
    assert binomtest(wrong, trials).proportion_ci(0.99).low <= 0.01
    one_at_a_time = psi_threshold(5_000, 150, 10)
    loose = sum(
        any(psi(a, b) > one_at_a_time for a, b in zip(*pair, strict=True)) for pair in zip(before, after, strict=True)
    )
    assert loose > 0.1 * trials


def test_a_real_move_is_seen_and_large_samples_keep_the_usual_threshold():
    rng = np.random.default_rng(6)
    edges = np.linspace(-1.5, 1.5, 9)
    before, after = bin_counts(rng.normal(size=20_000), edges), bin_counts(rng.normal(0.5, 1, 20_000), edges)
    moved = shift("x", before, after, tests=24)
    assert moved.threshold == 0.1
    assert moved.moved
    assert not shift("x", before, bin_counts(rng.normal(size=20_000), edges), tests=24).moved


def test_a_bin_that_became_empty_stays_finite_and_one_bin_cannot_move():
    assert np.isfinite(psi(np.array([10, 0, 90]), np.array([0, 10, 90])))
    constant = shift("x", np.array([0, 500]), np.array([0, 40]))
    assert (constant.psi, constant.bins, constant.moved) == (0.0, 1, False)


# The report

SPEC = FeatureSpec(names=("events_24h", "denials_24h"))
DAY = 86_400_000_000
BEGIN = 1_700_000_000_000_000


def events(seed, *, strength=2.0, moved=0.0, n=12_000, labelled=1.0, begin=BEGIN):
    """Events ten minutes apart of 120 users; ``strength`` is how much the first feature tells of a violation."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"events_24h": rng.normal(size=n) + moved, "denials_24h": rng.normal(size=n)})
    logit = -4.5 + strength * (X["events_24h"].to_numpy() - moved)
    y = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    time = begin + np.arange(n) * 600_000_000
    said = rng.random(n) < labelled
    return FeatureTable(
        X=X,
        y=np.where(said, y, -1).astype(np.int8),
        users=np.array([f"user-{k}" for k in rng.integers(0, 120, n)], dtype=object),
        event_id=np.array([f"e{k}" for k in range(n)], dtype=object),
        time=time,
        known=np.where(said, time + np.where(y == 1, 2, 5) * DAY, NEVER),
        spec=SPEC,
        dataset_sha256="d" * 64,
        labels_sha256="e" * 64,
    )


@pytest.fixture(scope="module")
def model():
    from sklearn.ensemble import GradientBoostingClassifier

    learnt = events(1)
    fitted = GradientBoostingClassifier(n_estimators=20, max_depth=2, random_state=0).fit(learnt.X.to_numpy(), learnt.y)
    origin = {"dataset_sha256": "d" * 64, "labels_sha256": None, "cutoffs": {"train": BEGIN - 2, "test": BEGIN - 1}}
    return RiskModel(Forest.of(fitted), Calibrator("none"), Threshold(0.15, "f1", {}), SPEC, origin)


@pytest.fixture(scope="module")
def reference(model):
    """What training would keep of a test slice of 12,000 events."""
    table = events(2)
    X = table.X.to_numpy()
    p = model.predict(X)
    alert = p >= model.threshold.value
    edges = {name: np.quantile(X[:, k], np.arange(1, 10) / 10) for k, name in enumerate(SPEC.columns)}
    score_edges = np.unique(np.quantile(p, np.arange(1, 10) / 10))
    return {
        "format": 1,
        "f1": f1_by_user(table.y, alert, table.users, resamples=100).value,
        "features": {
            name: {"edges": edges[name].tolist(), "counts": bin_counts(X[:, k], edges[name]).tolist()}
            for k, name in enumerate(SPEC.columns)
        },
        "scores": {"edges": score_edges.tolist(), "counts": bin_counts(p, score_edges).tolist()},
    }


def test_nothing_changed_and_the_report_says_so(model, reference):
    report = drift(model, events(3), reference=reference)
    assert report.verdict == "OK"
    assert report.statement.startswith("no sign that the model has become worse: F1 is 0.")
    assert report.moved == ()
    assert {shift.name for shift in report.shifts} == {"score", "events_24h", "denials_24h"}
    assert report.f1.value == 2 * report.counts["tp"] / (
        2 * report.counts["tp"] + report.counts["fp"] + report.counts["fn"]
    )


def test_a_model_that_became_worse_is_to_be_retrained(model, reference):
    report = drift(model, events(4, strength=0.8, n=24_000), reference=reference)
    assert report.verdict == "RETRAIN"
    assert report.f1.upper < 0.95 * reference["f1"]
    assert report.statement.startswith("retrain: the model has become worse")


def test_the_same_fall_on_few_violations_only_warns(model, reference):
    report = drift(model, events(4, strength=0.8, n=4_000), reference=reference)
    assert report.counts["tp"] + report.counts["fn"] < 200
    assert report.verdict == "WARN"
    assert "fewer than 200 violations do not decide" in report.statement


def test_a_feature_that_moved_is_named_and_decides_nothing(model, reference):
    """All events moved, labels with them the other way round: PSI is large, and F1 alone decides."""
    report = drift(model, events(5, moved=0.6), reference=reference | {"f1": 0.01})
    assert {shift.name for shift in report.moved} == {"events_24h", "score"}
    assert report.verdict == "OK"


def test_labelled_share_and_delay_stand_beside_f1(model, reference):
    report = drift(model, events(6, labelled=0.25), reference=reference)
    assert report.labels["share_labelled"] == pytest.approx(0.25, abs=0.02)
    assert report.labels["delay_days_median"] == 5
    assert report.labels["delay_days_p90"] == 5
    assert report.window["scored"] == 12_000


def test_the_window_without_labels_is_extended(model, reference):
    report = drift(model, events(7, labelled=0.0), reference=reference)
    assert (report.verdict, report.f1.value, report.labels["delay_days_median"]) == ("EXTEND", None, None)
    assert report.as_dict()["f1"]["value"] is None


def test_only_later_events_are_judged_and_their_absence_is_said(model, reference):
    table = events(8)
    half = int(table.time[5_999])
    report = drift(model, table, reference=reference, since_us=half)
    assert report.window["scored"] == 6_000
    assert report.window["labelled"] == int(((table.time > half) & (table.time <= table.known.max() - 14 * DAY)).sum())
    used = replace(model, origin=model.origin | {"cutoffs": {"train": BEGIN, "test": int(table.time[-1])}})
    with pytest.raises(InputError, match="no event is later than"):
        drift(used, table, reference=reference)


def test_the_same_report_comes_out_twice(model, reference):
    one, two = (drift(model, events(9), reference=reference).as_dict() for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    "change",
    [
        {"f1": "high"},
        {"features": {}, "scores": {"edges": [0.1], "counts": [1]}},
        {"scores": {"edges": [0.1], "counts": [0, 0]}},
        {"scores": {"edges": ["a"], "counts": [1, 2]}},
        {"scores": {"edges": [0.2, 0.1], "counts": [1, 2, 3]}},
        {"scores": {"edges": [0.1], "counts": [-1, 2]}},
        {"scores": None},
    ],
)
def test_a_reference_that_cannot_be_read_is_refused(model, reference, change):
    with pytest.raises(MalformedError, match=r"reference\.json of model"):
        drift(model, events(3, n=3_000), reference=reference | change)


def test_a_model_that_caught_nothing_has_nothing_to_fall_from(model, reference):
    with pytest.raises(InputError, match="there is nothing to fall from"):
        drift(model, events(3, n=3_000), reference=reference | {"f1": 0.0})
    with pytest.raises(InputError, match="give reference="):
        drift(model, events(3, n=3_000))
    with pytest.raises(InputError, match="build the features with the model's own spec"):
        drift(model, replace(events(3, n=3_000), spec=FeatureSpec(names=SPEC.names[::-1])), reference=reference)


@pytest.mark.parametrize("rules", [{"share": 0}, {"level": 1.0}, {"psi_level": 2}, {"resamples": 3}])
def test_rules_that_make_no_sense_are_refused(rules):
    with pytest.raises(InputError):
        DriftRules(**rules)
