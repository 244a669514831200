"""What experiments on breakers and retries measure with: against counts by hand and closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.resilience.breaker import Outcome
from workbench.simulation import (
    BreakerSpec,
    Deterministic,
    Poisson,
    Scenario,
    Server,
    breaking,
    goodput_between,
    run_once,
    simulate,
)

SECOND = 10**9


def test_storms_differ_in_nothing_but_the_policy():
    scenarios = breaking.storms()
    assert [scenario.name for scenario in scenarios.values()] == list(scenarios)
    assert len({(one.traffic, one.faults, one.duration, one.clients.timeout) for one in scenarios.values()}) == 1
    assert len({one.sha256 for one in scenarios.values()}) == len(scenarios)


def test_retries_keep_a_small_server_down_and_a_breaker_does_not():
    scenarios = breaking.storms(rate=40, capacity=50, begins=20, trigger=15, duration=90, clients=5)
    after = {
        name: goodput_between(simulate(scenarios[name], seeds=1, trace=False).series, 70, 88).item()
        for name in ("backoff", "breaker")
    }
    assert after["backoff"] < 0.1
    assert after["breaker"] > 0.99


def test_failures_in_a_row_come_as_late_as_the_law_says():
    found = breaking.calls_until_open(BreakerSpec(2), 0.5, np.random.default_rng(1), times=4_000)
    assert found.min() == 2
    assert found.mean() == pytest.approx(6, rel=0.05)  # (1 - p^2) / (p^2 (1 - p))


def test_an_opening_that_never_comes_is_an_error():
    with pytest.raises(InputError, match="opened 0 times in 100 calls"):
        breaking.calls_until_open(BreakerSpec(50), 0.1, np.random.default_rng(1), times=1, most=100)
    with pytest.raises(InputError, match="above 0"):
        breaking.calls_until_open(BreakerSpec(5), 0.0, np.random.default_rng(1), times=1)


def test_a_first_window_opens_as_often_as_the_binomial_says():
    spec = BreakerSpec(failure_rate=0.5, window=4, min_calls=4)
    found = breaking.opens_within(spec, 0.5, np.random.default_rng(1), calls=4, times=2_000)
    assert found == pytest.approx(11 / 16, abs=0.03)


@pytest.mark.parametrize(("permits", "expected"), [(1, 1), (3, 3), (None, 40)])
def test_the_gate_lets_as_many_through_as_it_has_permits(permits, expected):
    spec = BreakerSpec(1, timeout=5)

    def make(clock):
        if permits is None:
            return breaking.Ungated(spec, clock=clock)
        return replace(spec, permits=permits).make("gate", clock=clock, seed=0)

    t = np.concatenate([[0], np.full(40, 10 * SECOND)])
    through = breaking.calls_let_through(make, t, answer_ns=SECOND)
    assert (through >= 10 * SECOND).sum() == expected


def test_the_breaker_without_a_gate_closes_when_all_is_well():
    clock = VirtualClock()
    breaker = breaking.Ungated(BreakerSpec(1, timeout=5, success_threshold=2), clock=clock)
    breaker.record(breaker.acquire(), Outcome.FAILURE)
    clock.advance_ns(5 * SECOND)
    for _ in range(2):
        breaker.record(breaker.acquire(), Outcome.SUCCESS)
    assert breaker._state == "closed"


def test_trials_are_told_apart_by_the_gaps_between_them():
    assert breaking.sizes_of_trials(np.array([0, 4, 5, 10]), apart_ns=5).tolist() == [3, 1]
    assert breaking.sizes_of_trials(np.array([], dtype=np.int64), apart_ns=5).tolist() == []


def test_in_flight_is_rate_times_time():
    scenario = Scenario("slow", 20, traffic=(Poisson(50),), server=Server(None, Deterministic(0.5)))
    run = run_once(scenario, 0)
    begun = ((run.t >= 5 * SECOND) & (run.t < 14.5 * SECOND)).sum()
    found = breaking.mean_in_flight(run, start=5, end=15)
    assert 0.5 * begun / 10 <= found <= 0.5 * ((run.t >= 4.5 * SECOND) & (run.t < 15 * SECOND)).sum() / 10
