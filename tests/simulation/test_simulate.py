"""Scenarios run over seeds: what comes out, and that it is what the parts say."""

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.simulation import (
    Backoff,
    BreakerSpec,
    Budget,
    Clients,
    ClockSkew,
    ClosedLoop,
    Crash,
    Deterministic,
    Draws,
    Ending,
    Error,
    Exponential,
    Immediate,
    Keys,
    Latency,
    LimitSpec,
    NoRetry,
    Partition,
    Poisson,
    Scenario,
    Server,
    Slow,
    StoreDown,
    Upstream,
    compare,
    goodput_between,
    run_once,
    simulate,
)

SECOND = 1_000_000_000
BREAKER = BreakerSpec(5, 5.0, 2)


def scenario(name="one", duration=20, *, rate=50, traffic=None, **parts):
    given = {
        "server": Server(1, Exponential(0.01)),
        "traffic": (Poisson(rate),) if traffic is None else traffic,
    }
    return Scenario(name, duration, **given | parts)


def counts(run):
    return {
        Ending(value).name: int(count) for value, count in zip(*np.unique(run.ending, return_counts=True), strict=True)
    }


# Experiment 5 of the design: a server at 80 % load is four times slower for 15 s.

POLICIES = {
    "no retry": Clients(20, 1.0),
    "immediate": Clients(20, 1.0, Immediate(3)),
    "backoff": Clients(20, 1.0, Backoff(3, 0.1, 10)),
    "budget": Clients(20, 1.0, Budget(3, 0.1, 10, ratio=0.1)),
    "breaker": Clients(20, 1.0, Backoff(3, 0.1, 10), BREAKER),
    "breaker and budget": Clients(20, 1.0, Budget(3, 0.1, 10, ratio=0.1), BREAKER),
    "drop expired": Clients(20, 1.0),
}


def storm(name, duration=240):
    return Scenario(
        name,
        duration,
        warm_up=10,
        traffic=(Poisson(160),),
        clients=POLICIES[name],
        server=Server(1, Exponential(0.005), drop_expired=name == "drop expired"),
        faults=(Slow(4.0, start=60, end=75),),
    )


@pytest.mark.parametrize("name", ["immediate", "backoff"])
def test_with_retries_the_system_stays_down_long_after_the_trigger_has_gone(name):
    done = simulate(storm(name, 140), seeds=2)
    assert goodput_between(done.series, 20, 60).min() > 0.97
    assert goodput_between(done.series, 110, 140).max() < 0.01
    assert done.runs["recovered"].tolist() == [0, 0]
    late = done.series[done.series["second"].between(110, 138)]
    assert late["sent"].sum() / late["offered"].sum() > 3.8


@pytest.mark.parametrize("name", ["breaker", "breaker and budget", "drop expired"])
def test_a_breaker_or_a_server_that_drops_expired_work_is_back_at_once(name):
    done = simulate(storm(name, 140), seeds=2)
    assert goodput_between(done.series, 110, 140).min() > 0.97
    assert done.runs["time_to_recover"].max() <= 15


def test_without_retries_the_system_recovers_when_the_queue_is_worked_off():
    done = simulate(storm("no retry", 160), seeds=2)
    assert goodput_between(done.series, 60, 75).max() < 0.1
    assert done.runs["time_to_recover"].between(20, 60).all()
    assert (done.runs["amplification"] == 1).all()


@pytest.mark.slow
def test_the_retry_storm_comes_out_as_expected_in_its_whole_length():
    for name in ("immediate", "backoff"):
        done = simulate(storm(name), seeds=4)
        assert goodput_between(done.series, 150, 230).max() < 0.01
        assert done.runs["recovered"].sum() == 0
    for name in ("no retry", "budget", "breaker", "breaker and budget", "drop expired"):
        done = simulate(storm(name), seeds=4)
        assert goodput_between(done.series, 200, 235).mean() > 0.95, name


def test_other_policies_meet_the_same_traffic_and_services():
    runs = [run_once(storm(name, 70), 3) for name in ("no retry", "breaker")]
    assert np.array_equal(runs[0].t, runs[1].t)
    assert np.array_equal(runs[0].client, runs[1].client)
    before = runs[0].t < 50 * SECOND
    assert np.array_equal(runs[0].end[before], runs[1].end[before])


# The parts.


def test_every_request_comes_to_an_end_and_the_shares_add_up_to_one():
    noisy = scenario(
        clients=Clients(3, 0.1, Backoff(1), BreakerSpec(4, 0.5)),
        limits=(LimitSpec("45/second", "all"),),
        server=Server(1, Exponential(0.02), queue_limit=5),
        faults=(Error(0.3), Crash(start=5, end=6), Partition(0.3, start=8, end=10)),
    )
    run = run_once(noisy, 0)
    assert set(counts(run)) == {one.name for one in Ending}
    assert (run.end >= run.t).all()
    row = simulate(noisy, seeds=1).runs.iloc[0]
    assert row["goodput"] + row["shed"] + row["failed"] == pytest.approx(1)
    assert run.attempts.sum() == len(run.sent)


def test_a_closed_breaker_sends_everything_and_an_open_one_nothing():
    broken = scenario(clients=Clients(1, 1.0, NoRetry(), BreakerSpec(5, 100.0)), faults=(Error(1.0, start=10),))
    run = run_once(broken, 0)
    late = run.t >= 10 * SECOND
    assert (run.attempts[~late] == 1).all()
    # The fifth failure opens it; what was sent before that may still be on its way.
    opened = run.changes[0].t_ns
    assert [one.state for one in run.changes] == ["open"]
    assert set(run.ending[run.t > opened]) == {Ending.REJECTED}
    assert run.attempts[run.t > opened].sum() == 0


def test_probes_openings_and_their_times_are_those_of_the_breaker():
    broken = scenario(
        clients=Clients(1, 0.2, NoRetry(), BreakerSpec(5, 2.0, 2)),
        server=Server(None, Deterministic(0.01)),
        faults=(Error(1.0, start=5, end=10),),
    )
    row = simulate(broken, seeds=1).runs.iloc[0]
    # It opens in the first tenths of second 5, tries after each 2 s: two or three times in vain, then twice well.
    assert row["time_to_open"] < 0.5
    assert row["openings"] in (3, 4)
    assert row["probes"] == row["openings"] - 1 + 2
    assert row["false_opens"] == 0
    assert row["time_to_recover"] <= 2


@pytest.mark.parametrize(("per", "most"), [("client", 4), ("shared", 1)])
def test_each_client_has_its_own_breaker_or_all_have_one(per, most):
    down = scenario(clients=Clients(4, 1.0, NoRetry(), BreakerSpec(5, 100.0), per), faults=(Error(1.0, start=10),))
    run = run_once(down, 0)
    assert (len(run.changes), run.open[9], run.open[-1]) == (most, 0, most)
    assert sorted(one.client for one in run.changes) == list(range(most))


def test_openings_without_any_fault_are_false():
    row = simulate(scenario(clients=Clients(1, 0.02, NoRetry(), BreakerSpec(2, 1.0)), rate=90), seeds=1).runs.iloc[0]
    assert row["false_opens"] == row["openings"] > 0
    assert np.isnan(row["time_to_open"])


def test_a_budget_bounds_retries_by_its_share_and_reserve():
    down = scenario(clients=Clients(1, 0.5, Budget(3, ratio=0.2, reserve=7)), faults=(Error(1.0),))
    run = run_once(down, 0)
    retries = len(run.sent) - len(run.t)
    assert 0.2 * len(run.t) - 1 <= retries <= 0.2 * len(run.t) + 7


def test_a_budget_keeps_no_more_than_its_reserve_over_quiet_times():
    late = scenario(clients=Clients(1, 0.5, Budget(3, ratio=0.5, reserve=3)), faults=(Error(1.0, start=18),))
    run = run_once(late, 0)
    failing = (run.t > 17 * SECOND).sum()
    assert failing < 200 < len(run.t) / 2
    assert 0.4 * (run.t > 18 * SECOND).sum() < len(run.sent) - len(run.t) <= 0.5 * failing + 3


def test_what_a_limit_refuses_tells_the_breaker_nothing():
    """Between two errors a request or two is limited: counted as successes, these would keep the breaker closed."""
    limited = scenario(
        rate=10,
        clients=Clients(1, 1.0, NoRetry(), BreakerSpec(5, 100.0)),
        limits=(LimitSpec("2/second", "all", algorithm="smooth", burst=1),),
        faults=(Error(1.0),),
    )
    run = run_once(limited, 0)
    assert [one.state for one in run.changes] == ["open"]
    before = run.t < run.changes[0].t_ns
    assert (run.ending[before] == Ending.LIMITED).sum() > 5


def test_retries_wait_as_the_backoff_says():
    down = scenario(
        rate=1,
        clients=Clients(1, 5.0, Backoff(2, 1.0, 10, "none")),
        server=Server(None, Deterministic(0.001)),
        faults=(Error(1.0),),
    )
    run = run_once(down, 0)
    assert (run.attempts == 3).all()
    assert set(run.end - run.t) == {3_003_000_000}


def test_an_answer_in_the_last_nanosecond_is_too_late():
    exactly = scenario(clients=Clients(1, 0.01), server=Server(None, Deterministic(0.01)))
    assert set(run_once(exactly, 0).ending) == {Ending.TIMED_OUT}
    sooner = scenario(clients=Clients(1, 0.010000001), server=Server(None, Deterministic(0.01)))
    assert set(run_once(sooner, 0).ending) == {Ending.GOOD}


def test_a_full_queue_refuses_at_once():
    full = scenario(
        rate=1_000, duration=1, clients=Clients(1, 10.0), server=Server(2, Deterministic(0.1), queue_limit=3)
    )
    run = run_once(full, 0)
    refused = run.ending == Ending.REFUSED
    assert refused.sum() > 900
    assert (run.end[refused] == run.t[refused]).all()
    assert run.latency[~refused].max() <= 0.3 + 1e-9  # at most two rounds of work before one's own
    assert run.queue.max() == 3


def test_a_crash_loses_what_is_there_and_refuses_what_comes():
    crashing = scenario(
        duration=3, clients=Clients(1, 10.0), server=Server(1, Deterministic(0.5)), faults=(Crash(start=1.0, end=2.0),)
    )
    run = run_once(crashing, 0)
    lost = run.ending == Ending.FAILED
    assert (run.t[lost] < SECOND).all()
    assert set(run.end[lost]) == {SECOND}
    down = (run.t >= SECOND) & (run.t < 2 * SECOND)
    assert set(run.ending[down]) == {Ending.REFUSED}
    assert run.ending[run.t >= 2 * SECOND][0] == Ending.GOOD


def test_after_a_crash_there_are_as_many_workers_as_before():
    crashing = scenario(
        duration=10,
        clients=Clients(1, 100.0),
        server=Server(1, Deterministic(0.5)),
        faults=(Crash(start=1.2, end=1.3), Crash(start=3.2, end=3.3)),
    )
    run = run_once(crashing, 0)
    ends = np.sort(run.end[run.ending == Ending.GOOD])
    assert len(ends) > 20
    assert np.diff(ends).min() >= SECOND // 2


def test_a_partition_lets_the_first_clients_time_out():
    cut = scenario(clients=Clients(10, 0.5), faults=(Partition(0.3),), server=Server(None, Deterministic(0.001)))
    run = run_once(cut, 0)
    assert set(run.client[run.ending == Ending.TIMED_OUT]) == {0, 1, 2}
    assert set(run.client[run.ending == Ending.GOOD]) == set(range(3, 10))


def test_latency_is_added_on_the_way_and_takes_no_worker():
    far = scenario(
        rate=200, server=Server(1, Deterministic(0.001)), clients=Clients(1, 3.0), faults=(Latency(Deterministic(0.7)),)
    )
    run = run_once(far, 0)
    assert set(run.ending) == {Ending.GOOD}
    assert run.latency.min() == pytest.approx(0.701)
    assert run.latency.max() < 0.72


def test_a_recorded_upstream_answers_as_it_did():
    site = Upstream.of([0, 10], [20_000_000, 30_000_000], [True, False], unit_ns=SECOND, loop=False)
    run = run_once(scenario(server=Server(None, site)), 0)
    early = run.t < 10 * SECOND
    assert set(run.ending[early]) == {Ending.GOOD}
    assert set(run.ending[~early]) == {Ending.FAILED}
    assert set(run.end[early] - run.t[early]) == {20_000_000}
    assert set(run.end[~early] - run.t[~early]) == {30_000_000}


def test_the_first_attempts_meet_the_same_draws_when_errors_are_added():
    plain, faulty = run_once(scenario(), 1), run_once(scenario(faults=(Error(0.5),)), 1)
    assert np.array_equal(plain.end, faulty.end)
    assert 0.4 < (faulty.ending == Ending.FAILED).mean() < 0.6


def test_each_attempt_of_a_request_has_draws_of_its_own():
    draws = Draws(scenario(clients=Clients(1, 1.0, Backoff(2)), faults=(Error(0.5),)), 0)
    for drawn in (draws.service, draws.error, draws.delay[1:]):
        assert len({tuple(column) for column in drawn}) == len(drawn)


# Limits.


def test_a_limit_is_kept_by_the_production_limiter():
    limited = scenario(
        traffic=(Poisson(50, keys=Keys(3)),),
        limits=(LimitSpec("5/second", algorithm="exact"),),
        server=Server(None, Deterministic(0.001)),
    )
    done = simulate(limited, seeds=2)
    assert done.runs["max_window"].tolist() == [1, 1]
    assert done.runs["shed"].min() > 0.6


def test_fixed_windows_let_more_through_than_the_limit_in_some_period():
    limited = scenario(
        limits=(LimitSpec("30/second", algorithm="fixed"),), server=Server(None, Deterministic(0.001)), rate=100
    )
    assert 1.2 < simulate(limited, seeds=2).runs["max_window"].min() <= 2


def test_a_request_is_charged_to_all_limits_or_to_none():
    # The second limit lets one in ten seconds pass. If refusals were charged to the first, its 3 would be gone at once.
    limited = scenario(
        duration=30,
        rate=20,
        limits=(LimitSpec("3/minute", "all"), LimitSpec("1 per 10 seconds", "all")),
        server=Server(None, Deterministic(0.001)),
    )
    run = run_once(limited, 0)
    assert len(run.admitted) == 3
    assert (np.diff(run.admitted_ns) >= 10 * SECOND).all()


@pytest.mark.parametrize(("shared", "admitted"), [(True, 10), (False, 40)])
def test_nodes_that_do_not_share_a_store_let_through_so_many_times_more(shared, admitted):
    limited = scenario(
        rate=100,
        limits=(LimitSpec("10/minute", "all", nodes=4, shared=shared),),
        server=Server(None, Deterministic(0.001)),
    )
    assert len(run_once(limited, 0).admitted) == admitted


def test_a_shared_store_that_goes_by_its_callers_clocks_is_fooled_by_their_skew():
    """Half of the nodes are a minute ahead, in the next window: each change between the two begins a new count."""
    admitted = {}
    for clock in ("monotonic", "wall"):
        limited = scenario(
            rate=100,
            limits=(LimitSpec("10/minute", "all", algorithm="fixed", nodes=2, clock=clock),),
            server=Server(None, Deterministic(0.001)),
            faults=(ClockSkew(60, share=0.5),),
        )
        admitted[clock] = len(run_once(limited, 0).admitted)
    assert admitted["monotonic"] == 10
    assert admitted["wall"] > 100


@pytest.mark.parametrize(("fail", "share"), [("open", 1.0), ("closed", 0.0)])
def test_without_its_store_a_limit_decides_as_it_was_told(fail, share):
    limited = scenario(
        limits=(LimitSpec("1/minute", "all", fail=fail),),
        server=Server(None, Deterministic(0.001)),
        faults=(StoreDown(start=10, end=15),),
    )
    run = run_once(limited, 0)
    down = (run.t >= 10 * SECOND) & (run.t < 15 * SECOND)
    assert (run.ending[down] == Ending.GOOD).mean() == share
    assert (run.ending[~down] == Ending.GOOD).sum() == 1


# Closed loops.


def test_a_closed_loop_has_at_most_one_request_of_each_user_under_way():
    closed = scenario(
        traffic=(), clients=ClosedLoop(5, 10.0, think=Exponential(0.05)), server=Server(1, Exponential(0.02))
    )
    run = run_once(closed, 0)
    for user in range(5):
        mine = run.client == user
        order = np.argsort(run.t[mine])
        assert (run.t[mine][order][1:] >= run.end[mine][order][:-1]).all()
    assert set(run.ending) == {Ending.GOOD}


def test_a_closed_loop_asks_as_much_in_its_last_second_as_before():
    closed = Scenario(
        "closed", 10, clients=ClosedLoop(1_000, think=Exponential(1.0)), server=Server(None, Deterministic(0.001))
    )
    t = np.asarray(run_once(closed, 0).t)
    assert abs(int(np.count_nonzero(t >= 9 * SECOND)) - 1_000) < 5 * 1_000**0.5


def test_a_closed_loop_may_send_more_than_one_block_of_draws():
    closed = Scenario(
        "closed", 60, clients=ClosedLoop(10, think=Deterministic(0.05)), server=Server(None, Deterministic(0.05))
    )
    assert len(run_once(closed, 0).t) == 10 * 600


# The tables.


def test_the_tables_are_tidy_and_say_where_they_come_from():
    done = simulate(scenario(), seeds=3, first_seed=5)
    assert done.runs["seed"].tolist() == [5, 6, 7]
    assert list(done.summary.columns) == ["measure", "mean", "low", "high", "seeds"]
    assert list(done.series.columns) == [
        "seed", "second", "offered", "sent", "good", "shed", "failed", "queue", "open_breakers",
    ]  # fmt: skip
    assert len(done.series) == 3 * 20
    assert done.series["offered"].sum() == done.runs["offered"].sum()
    assert {table.attrs["digest"] for table in (done.runs, done.summary, done.series)} == {done.digest}


def test_the_same_arguments_give_the_same_result_and_others_another_digest():
    one, again, other = simulate(scenario(), seeds=2), simulate(scenario(), seeds=2), simulate(scenario(), seeds=3)
    assert one.runs.equals(again.runs) and one.series.equals(again.series)
    assert (one.digest, one.trace_sha256) == (again.digest, again.trace_sha256)
    assert one.digest != other.digest
    assert one.trace_sha256 == other.trace_sha256[:2]


def test_a_comparison_pairs_the_seeds():
    slow = scenario("slow", server=Server(1, Exponential(0.015)))
    table = compare([scenario("quick"), slow], seeds=4)
    assert table["scenario"].unique().tolist() == ["quick", "slow"]
    row = table[(table["scenario"] == "slow") & (table["measure"] == "p50")].iloc[0]
    runs = [simulate(one, seeds=4).runs["p50"] for one in (scenario("quick"), slow)]
    assert row["difference"] == pytest.approx((runs[1] - runs[0]).mean())
    assert 0 < row["difference_low"] < row["difference"] < row["difference_high"]


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="names that differ; found one, one"):
        compare([scenario(), scenario()], seeds=1)
    with pytest.raises(InputError, match="same seeds; those of 'b' are others"):
        compare([simulate(scenario("a"), seeds=1), simulate(scenario("b"), seeds=2)])


@pytest.mark.parametrize("seeds", [0, -1, 1.5, True])
def test_a_number_of_seeds_that_is_none_is_refused(seeds):
    with pytest.raises(InputError, match="1 to 100,000 seeds"):
        simulate(scenario(), seeds=seeds)
