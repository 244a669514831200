"""The arithmetic of the four algorithms, where the properties and vectors do not look."""

import pytest

from workbench.resilience import NEVER, Quota
from workbench.resilience.algorithms import Approx, Exact, Fixed, Smooth, algorithm_of, phase_of

METERS = [Exact(3, 10), Smooth(3, 10), Approx(3, 10), Fixed(3, 10)]
KINDS = {"exact": Exact, "smooth": Smooth, "approx": Approx, "fixed": Fixed}


@pytest.mark.parametrize("kind", KINDS)
def test_a_quota_has_its_algorithm(kind):
    meter = algorithm_of(Quota(limit=7, per=2, algorithm=kind))
    assert type(meter) is KINDS[kind]
    assert (meter.capacity, meter.period) == (7, 2_000_000_000)


def test_the_burst_is_the_capacity():
    assert algorithm_of(Quota(limit=7, per=2, algorithm="smooth", burst=3)).capacity == 3


def test_a_period_that_is_no_whole_number_of_units_is_rounded_up():
    quota = Quota(limit=1, per=1.5e-6, algorithm="fixed")
    assert algorithm_of(quota, unit_ns=1000).period == 2


def test_an_interval_that_is_no_whole_number_is_rounded_up():
    assert Smooth(3, 10).interval == 4


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: type(meter).__name__)
def test_nothing_known_means_all_is_free(meter):
    assert meter.ask(None, 5, 0) == (None, True, 3, 0, 0, 0)
    assert meter.ask(None, 5, 4) == (None, False, 3, NEVER, 0, 0)


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: type(meter).__name__)
def test_asking_leaves_the_given_state_as_it_is(meter):
    state, *_ = meter.ask(None, 5, 1)
    before = meter.apart(state)
    first, second = meter.ask(state, 6, 1), meter.ask(state, 6, 1)
    assert state == before
    assert first == second


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: type(meter).__name__)
def test_arrivals_at_the_same_moment_are_all_counted(meter):
    state, told = None, []
    for _ in range(5):
        state, allowed, *_ = meter.ask(state, 5, 1)
        told.append(allowed)
    assert told == [True, True, True, False, False]


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: type(meter).__name__)
def test_a_refusal_keeps_the_state_settled_after_a_step_back(meter):
    state, *_ = meter.ask(None, 1_000, 3)
    settled, allowed, _, wait, *_ = meter.ask(state, 5, 1)
    assert not allowed
    assert settled != state
    assert meter.ask(settled, 5 + wait, 1)[1]


def test_a_hit_exactly_one_period_old_has_left_the_log():
    meter = Exact(1, 10)
    state, *_ = meter.ask(None, 0, 1)
    assert [meter.ask(state, now, 1)[1] for now in (9, 10)] == [False, True]


def test_counts_of_the_sliding_counter_are_weighted_without_rounding():
    """Where the weighted count is rounded down, the fourth of these passes."""
    meter, state = Approx(7, 60), None
    state, *_ = meter.ask(state, 10, 5)
    told = []
    for _ in range(4):
        state, allowed, _, wait, *_ = meter.ask(state, 78, 1)
        told.append((allowed, wait))
    assert told == [(True, 0)] * 3 + [(False, 6)]


def test_phases_are_spread_over_the_period_and_always_the_same():
    phases = [phase_of(f"u:{number}", 1_000) for number in range(2_000)]
    assert all(0 <= phase < 1_000 for phase in phases)
    assert 800 < len(set(phases)) < 1_000
    assert min(sum(phase // 100 == tenth for phase in phases) for tenth in range(10)) > 150
    assert phase_of("\ud800", 1_000) == phase_of("\ud800", 1_000)


def test_a_large_log_costs_no_more_a_hit_than_a_small_one():
    """Stamps that left are dropped by the lot: the list is moved once for many hits."""
    meter, state, moved = Exact(1_000, 1_000), None, 0
    for now in range(10_000):
        first = state[0] if state else 1
        state = meter.charge(state, now, 1)
        moved += state[0] < first
    assert moved <= 10_000 // 100


def test_a_log_stays_in_order_when_the_clock_is_set_back():
    meter = Exact(3, 10)
    state = meter.charge(None, 100, 1)
    state = meter.charge(state, 5, 1)
    assert list(state) == [1, 5, 5]
    assert meter.left(state, 14) == (1, 1, 1)
