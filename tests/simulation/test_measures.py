"""What is measured, on runs small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.simulation import Crash, Deterministic, Error, Exponential, Poisson, Scenario, Server, Slow, run_once
from workbench.simulation.faults import ClockSkew
from workbench.simulation.measures import goodput_between, jain, max_in_window, measure, per_second, recovery
from workbench.simulation.statistics import paired, summarise, t_interval


def scenario(*faults, duration=40, warm_up=0, server=None):
    return Scenario(
        "one",
        duration,
        warm_up=warm_up,
        traffic=(Poisson(50),),
        server=server or Server(1, Exponential(0.01)),
        faults=faults,
    )


def series(good, offered=10):
    count = len(good)
    return pd.DataFrame({"seed": 0, "second": range(count), "good": good, "offered": [offered] * count})


def test_recovery_is_counted_from_the_end_of_the_fault_to_the_first_second_that_stays_well():
    good = [10] * 10 + [0] * 5 + [0] * 7 + [10] * 18
    assert recovery(series(good), scenario(Slow(4.0, start=10, end=15))) == 7
    assert recovery(series([10] * 40), scenario(Slow(4.0, start=10, end=15))) == 0


def test_a_relapse_is_no_recovery_until_it_is_over():
    good = [10] * 20 + [0] * 6 + [10] * 14
    assert recovery(series(good), scenario(Slow(4.0, start=5, end=10))) == 16


@pytest.mark.parametrize("good", [[10] * 10 + [0] * 30, [10] * 36 + [0] * 4])
def test_a_system_that_is_down_at_the_end_has_not_recovered(good):
    assert np.isnan(recovery(series(good), scenario(Slow(4.0, start=10, end=15))))


def test_recovery_is_to_nine_tenths_of_what_was_usual():
    usual = [5] * 10
    assert recovery(series(usual + [0] * 5 + [5] * 25), scenario(Crash(start=10, end=15))) == 0
    assert np.isnan(recovery(series([10] * 10 + [0] * 5 + [8] * 25), scenario(Crash(start=10, end=15))))


@pytest.mark.parametrize("faults", [(), (Error(0.1, start=5),), (ClockSkew(1.0),)])
def test_without_a_fault_that_ends_there_is_no_recovery(faults):
    assert np.isnan(recovery(series([10] * 40), scenario(*faults)))


def test_the_warm_up_is_left_out():
    whole, part = scenario(), scenario(warm_up=30)
    run = run_once(whole, 0)
    late = run.t >= 30 * 10**9
    told = measure(run, part, per_second(run))
    assert told["offered"] == late.sum() < measure(run, whole, per_second(run))["offered"]
    assert told["p50"] == np.quantile(run.latency[late], 0.5)


def test_the_series_adds_up_to_the_requests():
    run = run_once(scenario(Error(0.3)), 0)
    seconds = per_second(run)
    assert (seconds["good"] + seconds["shed"] + seconds["failed"]).tolist() == seconds["offered"].tolist()
    assert (seconds["offered"].sum(), seconds["sent"].sum()) == (len(run.t), len(run.sent))


def test_a_run_of_part_of_a_second_has_a_row_for_it():
    assert len(per_second(run_once(scenario(duration=2.5), 0))) == 3


def test_what_goes_well_between_two_moments():
    table = series([10] * 5 + [0] * 5)
    assert goodput_between(table, 4, 6).tolist() == [0.5]


def test_without_requests_shares_have_no_value():
    empty = Scenario("empty", 1, traffic=(Poisson(1e-6),), server=Server(1, Deterministic(1)))
    run = run_once(empty, 0)
    told = measure(run, empty, per_second(run))
    assert told["offered"] == 0
    assert all(np.isnan(told[name]) for name in ("goodput", "shed", "failed", "amplification", "p99", "jain"))


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=20))
def test_jains_index_lies_between_one_over_n_and_one(shares):
    assert 1 / len(shares) - 1e-9 <= jain(np.array(shares)) <= 1 + 1e-9


def test_jains_index_of_nothing_has_no_value():
    assert np.isnan(jain(np.zeros(3)))


requests = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=30)


@given(requests, st.integers(1, 15), st.sampled_from([0, 2**61]))
def test_the_fullest_window_is_that_of_the_definition(asked, period, far):
    t, key, cost = (np.array(column, dtype=np.int64) for column in zip(*asked, strict=True))
    t[0] += far  # so far apart that the keys do not fit on one line
    expected = max(
        sum(
            c
            for u, k, c in zip(t.tolist(), key.tolist(), cost.tolist(), strict=True)
            if k == one and end - period < u <= end
        )
        for end in set(t.tolist())
        for one in range(3)
    )
    assert max_in_window(t, period, key=key, cost=cost) == expected


def test_no_requests_fill_no_window():
    assert max_in_window(np.empty(0, dtype=np.int64), 10) == 0


def test_the_interval_is_students():
    # Mean 3, standard deviation sqrt(2.5), t(0.975, 4) = 2.776.
    mean, low, high, count = t_interval(np.array([1.0, 2, 3, 4, 5, np.nan]))
    assert (mean, count) == (3, 5)
    assert (low, high) == pytest.approx((3 - 2.7764 * (2.5 / 5) ** 0.5, 3 + 2.7764 * (2.5 / 5) ** 0.5), abs=1e-3)


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, 2.0]])
def test_one_value_has_no_interval(values):
    _, low, high, count = t_interval(np.array(values))
    assert np.isnan(low) and np.isnan(high) and count == np.isfinite(values).sum()


def test_an_interval_covers_the_mean_as_often_as_it_says():
    # 2,000 samples of 8 from a normal: between 93.5 and 96.5 %, but for once in 500 tries.
    samples = np.random.default_rng(0).normal(3, 2, (2_000, 8))
    ends = np.array([t_interval(sample)[1:3] for sample in samples])
    assert 0.935 < ((ends[:, 0] < 3) & (ends[:, 1] > 3)).mean() < 0.965


def test_seeds_without_a_value_are_left_out_and_counted():
    runs = pd.DataFrame({"seed": [0, 1, 2], "x": [1.0, np.nan, 3.0]})
    assert summarise(runs)[["mean", "seeds"]].values.tolist() == [[2, 2]]


def test_a_difference_is_taken_seed_by_seed():
    first = pd.DataFrame({"seed": [0, 1], "x": [1.0, 5.0]})
    second = pd.DataFrame({"seed": [0, 1], "x": [2.0, 6.0], "new": [0.0, 0.0]})
    table = paired(second, first).set_index("measure")
    assert table.loc["x", ["difference", "difference_low", "difference_high"]].tolist() == [1, 1, 1]
    assert np.isnan(table.loc["new", "difference"])
