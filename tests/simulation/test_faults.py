"""Faults as data: what holds at each moment, how several combine, and the clocks of nodes."""

import pytest

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.simulation.distributions import DISTRIBUTIONS, Deterministic, Exponential, LogNormal, Pareto
from workbench.simulation.faults import (
    FAULTS,
    ClockSkew,
    ClockStep,
    Condition,
    Crash,
    Error,
    Faults,
    Latency,
    NodeClock,
    Partition,
    Slow,
    StoreDown,
)
from workbench.simulation.streams import Streams
from workbench.simulation.values import read

SECOND = 1_000_000_000
ONE_OF_EACH = [
    Error(0.1, start=1, end=2),
    Latency(LogNormal(0.2, 0.5), start=1),
    Slow(4, start=60, end=75),
    Crash(start=5, end=6),
    Partition(0.3, start=7),
    StoreDown(start=8, end=9),
    ClockStep(-30, at=10),
    ClockSkew(0.5, share=0.25),
]


def test_without_faults_nothing_is_wrong_at_any_time():
    assert Faults().at(0) == Faults().at(10**18) == Condition()


def test_a_fault_holds_from_its_start_to_its_end_excluded():
    faults = Faults([Slow(4, start=60, end=75)])
    assert [faults.at(t).factor for t in (0, 60 * SECOND - 1, 60 * SECOND, 75 * SECOND - 1, 75 * SECOND)] == [
        1,
        1,
        4,
        4,
        1,
    ]


def test_a_condition_says_until_when_it_holds():
    faults = Faults([Slow(4, start=60, end=75), Crash(start=70)])
    assert [faults.at(t * SECOND).until_ns for t in (0, 60, 70, 75)] == [60 * SECOND, 70 * SECOND, 75 * SECOND, None]
    assert faults.changes_ns == (0, 60 * SECOND, 70 * SECOND, 75 * SECOND)


def test_a_fault_without_an_end_stays():
    assert Faults([StoreDown(start=3)]).at(10**18).store_down


def test_faults_of_one_sort_combine():
    faults = Faults(
        [
            *(Slow(factor) for factor in (2, 3)),
            *(Error(p) for p in (0.5, 0.5)),
            *(Partition(share) for share in (0.2, 0.4, 0.1)),
            *(Latency(Deterministic(value)) for value in (1, 2)),
        ]
    )
    assert faults.at(0) == Condition(factor=6, error=0.75, cut_off=0.4, latency=(Deterministic(1), Deterministic(2)))


def test_all_sorts_at_once():
    faults = Faults(ONE_OF_EACH)
    assert faults.at(int(1.5 * SECOND)) == Condition(error=0.1, latency=(LogNormal(0.2, 0.5),), until_ns=2 * SECOND)
    assert [faults.at(t * SECOND).down for t in (4, 5, 6)] == [False, True, False]
    assert [faults.at(t * SECOND).store_down for t in (7, 8, 9)] == [False, True, False]
    assert [faults.at(t * SECOND).step_ns for t in (9, 10)] == [0, -30 * SECOND]


@pytest.mark.parametrize(("share", "cut_off"), [(0, 0), (0.1, 3), (0.11, 4), (1, 30)])
def test_a_partition_cuts_off_the_first_clients(share, cut_off):
    condition = Faults([Partition(share)]).at(0)
    assert [condition.reaches(client, 30) for client in range(30)] == [False] * cut_off + [True] * (30 - cut_off)


def test_clocks_are_off_for_a_share_of_nodes_and_step_for_all():
    faults = Faults([ClockSkew(2, share=0.5), ClockStep(-30, at=10), ClockStep(5, at=20)])
    seen = [[faults.clock_offset_ns(t * SECOND, node, 4) // SECOND for node in range(4)] for t in (0, 10, 20)]
    assert seen == [[2, 2, 0, 0], [-28, -28, -30, -30], [-23, -23, -25, -25]]


def test_a_node_s_wall_clock_is_wrong_and_its_monotonic_clock_is_not():
    true = VirtualClock()
    clock = NodeClock(true, Faults([ClockSkew(2), ClockStep(-30, at=10)]), node=0, nodes=1)
    clock.sleep_ns(9 * SECOND)
    assert (clock.time_ns(), clock.monotonic_ns(), true.time_ns()) == (11 * SECOND, 9 * SECOND, 9 * SECOND)
    true.advance_ns(SECOND)
    assert (clock.time_ns(), clock.monotonic_ns()) == (-18 * SECOND, 10 * SECOND)


def test_a_node_may_be_judged_by_its_wall_clock_throughout():
    clock = NodeClock(VirtualClock(), Faults([ClockSkew(2)]), wall=True)
    assert clock.monotonic_ns() == 2 * SECOND


@pytest.mark.parametrize("fault", ONE_OF_EACH, ids=lambda fault: fault.kind())
def test_a_fault_is_read_back_from_what_it_says_of_itself(fault):
    assert read(FAULTS, fault.as_dict(), what="a fault") == fault


def test_every_kind_of_fault_is_tried_here():
    assert {fault.kind() for fault in ONE_OF_EACH} == set(FAULTS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Error(1.5), "error.p is 1.5: expected a number of at least 0 and of at most 1"),
        (lambda: Slow(0), "slow.factor is 0: expected a number above 0 and of at most 1e+06"),
        (lambda: Crash(start=5, end=5), "crash: it ends at 5 s, not after its start at 5 s"),
        (lambda: Crash(start=-1), "crash.start is -1: expected a number of at least 0 and of at most 1e+09"),
        (
            lambda: Latency(3),
            "latency.distribution is 3: expected a deterministic or an exponential or a log_normal or a pareto",
        ),
        (
            lambda: ClockStep(float("inf"), at=1),
            "clock_step.by is inf: expected a number of at least -1e+09 and of at most 1e+09",
        ),
        (
            lambda: Faults(["crash"]),
            "a fault is one of clock_skew, clock_step, crash, error, latency, partition, slow, store_down, not 'crash'",
        ),
        (
            lambda: read(
                FAULTS, {"kind": "latency", "distribution": {"kind": "exponentail", "mean": 1}}, what="a fault"
            ),
            "latency.distribution: no kind is called 'exponentail'; did you mean 'exponential'?",
        ),
        (
            lambda: read(FAULTS, ["crash"], what="a fault"),
            (
                "a fault is a mapping with the key 'kind' (clock_skew, clock_step, crash, error, latency, partition, slow, "
                "store_down), not ['crash']"
            ),
        ),
        (lambda: Crash.from_dict({"kind": "slow"}), "expected the kind 'crash', found 'slow'"),
    ],
)
def test_what_cannot_be_a_fault_is_refused_with_a_reason(make, message):
    with pytest.raises(InputError) as refused:
        make()
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("distribution", "reference"),
    [
        (Exponential(0.2), ("expon", (0, 0.2))),
        (LogNormal(0.2, 0.7), ("lognorm", (0.7, 0, 0.2))),
        (Pareto(0.1, 1.5), ("pareto", (1.5, 0, 0.1))),
    ],
    ids=lambda value: value.kind() if hasattr(value, "kind") else "",
)
def test_durations_follow_their_distribution(distribution, reference):
    """Kolmogorov-Smirnov; a seed chosen at random would fail with probability 1e-4."""
    from scipy import stats

    drawn = distribution.draw_ns(Streams(3).generator("service"), 20_000) / SECOND
    assert stats.kstest(drawn, reference[0], args=reference[1]).pvalue > 1e-4


def test_another_mean_meets_the_same_luck():
    one, twice = (Exponential(mean).draw_ns(Streams(3).generator("service"), 50) for mean in (0.1, 0.2))
    assert abs(twice - 2 * one).max() <= 1


def test_a_fixed_duration_is_fixed():
    assert Deterministic(0.25).draw_ns(Streams(3).generator("service"), 3).tolist() == [SECOND // 4] * 3


def test_every_distribution_is_within_its_bounds_at_the_ends_of_the_draw():
    import numpy as np

    ends = np.array([0.0, np.nextafter(1.0, 0)])
    made = [Deterministic(1), Exponential(1), LogNormal(1, 2), Pareto(1, 1)]
    assert {kind.kind() for kind in made} == set(DISTRIBUTIONS)
    for distribution in made:
        low, high = distribution.quantile(ends)
        assert 0 <= low <= high < np.inf
