"""What experiments on limiters measure with: against counts by hand, brute force and the limits of the algorithms."""

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.resilience import Quota
from workbench.simulation import ClockSkew, ClockStep, LimitSpec, limiting
from workbench.simulation.faults import Faults
from workbench.simulation.replay import decided


def test_the_interval_over_seeds_is_students():
    found = limiting.over_seeds([1.0, 2.0, 3.0])
    assert found == pytest.approx((2.0, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    with pytest.raises(InputError, match="at least two"):
        limiting.over_seeds([1.0])


@pytest.mark.parametrize(
    ("algorithm", "edge", "persistent", "total"),
    [("fixed", 200, 200, 300), ("exact", 100, 100, 200), ("approx", 100, 199, 298), ("smooth", 100, 199, 299)],
)
def test_the_attacks_get_what_the_reference_vectors_say(algorithm, edge, persistent, total):
    period_ns = 60_000_000_000
    quota = Quota(limit=100, per=60, algorithm=algorithm)
    attacks = [
        limiting.edge_burst(100, period_ns),
        limiting.burst_and_persist(100, period_ns, start_ns=period_ns - 1, every_ns=50_000_000),
    ]
    assert limiting.worst(quota, attacks, period_ns=period_ns) == [edge, persistent]
    before_the_third_window = attacks[1][attacks[1] < 3 * period_ns - 1]
    assert decided(quota, before_the_third_window, np.zeros_like(before_the_third_window)).sum() == total


def test_requests_that_persist_are_apart():
    with pytest.raises(InputError, match="at least 1 ns apart"):
        limiting.burst_and_persist(1, 10, start_ns=0, every_ns=0)


def test_each_answer_is_asked_in_order_with_its_key():
    asked = []

    def answer(t_ns, key):
        asked.append((t_ns, key))
        return key == "7"

    t, key = np.array([1, 2, 2]), np.array([7, 8, 7])
    assert limiting.decided_by(answer, t, key).tolist() == [True, False, True]
    assert asked == [(1, "7"), (2, "8"), (2, "7")]


def test_a_rolling_figure_names_the_most_that_each_limiter_let_through():
    figure = limiting.rolling_figure({"log": np.array([5, 6, 7]), "none": np.arange(30)}, limit=3, period_ns=10)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["log: at most 3", "none: at most 10"]


def swept(policy):
    users = np.tile(np.arange(200), 20)
    t = np.arange(len(users)) * 1_000_000
    kept = limiting.keeping(Quota(limit=5, per=60), t, users, policy=policy, max_keys=100)
    return int(kept.allowed.sum()), kept.peak


def test_a_store_that_forgets_lets_a_sweep_over_too_many_users_through():
    assert swept("unbounded") == (1_000, 200)
    assert swept("lru") == (4_000, 100)
    admitted, peak = swept("evict")
    assert admitted > 1_900  # 100 newcomers a round, each taken as new
    assert peak == 100


def test_a_store_that_remembers_lets_through_no_more_than_is_right():
    assert swept("deny") == (500, 100)
    assert swept("shared") == (505, 100)


def test_the_least_recently_used_is_forgotten_and_being_refused_is_being_used():
    lru = limiting.LeastRecentlyUsed(Quota(limit=1, per=60), max_keys=2)
    assert [lru.hit(0, "a"), lru.hit(1, "b"), lru.hit(2, "a")] == [True, True, False]
    assert lru.hit(3, "c")  # forgets b
    assert (lru.hit(4, "a"), lru.hit(5, "b"), lru.keys) == (False, True, 2)


def test_a_limiter_is_held_against_the_log():
    t = np.array([8, 9, 10, 11, 12])
    quotas = {name: Quota(limit=2, per=1e-8, algorithm=name) for name in ("fixed", "exact")}
    told = limiting.against(quotas["exact"], quotas, t, np.zeros(5, dtype=np.int64))
    assert told["exact"] == {"ratio": 1.0, "otherwise": 0.0, "busiest": 1.0}
    assert told["fixed"] == {"ratio": 2.0, "otherwise": 0.4, "busiest": 2.0}
    stricter = {"stricter": Quota(limit=1, per=1e-8)}
    told = limiting.against(quotas["exact"], stricter, t, np.zeros(5, dtype=np.int64))
    assert told["stricter"] == {"ratio": 0.5, "otherwise": 0.2, "busiest": 1.0}


def test_a_log_weighs_its_stamps_and_gcra_one_number():
    small, large = (
        {name: limiting.bytes_per_key(Quota(limit=n, per=60, algorithm=name), keys=200) for name in ("exact", "smooth")}
        for n in (10, 100)
    )
    assert large["exact"] - small["exact"] >= 8 * 80
    assert large["smooth"] == pytest.approx(small["smooth"], abs=8)
    assert large["smooth"] < 100


def test_a_max_min_share_gives_nobody_more_than_he_wants_nor_all_more_than_there_is():
    wanted = np.random.default_rng(5).exponential(10, 40)
    shares = limiting.max_min(wanted, 200.0)
    assert (shares <= wanted).all()
    assert shares.sum() == pytest.approx(200)
    assert shares[shares < wanted] == pytest.approx(shares.max())  # who went short has no less than anyone
    assert limiting.max_min(wanted, 1e6) == pytest.approx(wanted)


def test_limits_together_are_charged_all_or_none():
    own, everybody = Quota("own", limit=1, per=60), Quota("all", limit=2, per=60)
    t, key = np.arange(5), np.array([0, 0, 0, 1, 2])
    assert limiting.decided_together({own: True}, t, key).tolist() == [True, False, False, True, True]
    assert limiting.decided_together({everybody: False}, t, key).tolist() == [True, True, False, False, False]
    assert limiting.decided_together({own: True, everybody: False}, t, key).tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]


STEADY = np.arange(1_200) * 250_000_000  # four a second, for five minutes
TURNS = np.arange(1_200) % 2  # nodes in turn; node 0 is ahead
AHEAD = Faults([ClockSkew(by=30, share=0.5)])


def passed(faults, **options):
    spec = LimitSpec("100/minute", nodes=2, algorithm="exact", **options)
    return int(limiting.decided_by_nodes(spec, STEADY, TURNS, faults).sum())


def test_one_clock_makes_nodes_with_other_clocks_agree():
    assert passed(AHEAD, clock="monotonic") == passed(Faults(), clock="monotonic") == 500


def test_by_the_callers_clocks_a_log_forgets_too_soon():
    assert passed(Faults(), clock="wall") == 500
    assert passed(AHEAD, clock="wall") == pytest.approx(1_000, abs=20)  # 60 / (60 - 30) times as many


def test_a_bucket_filled_by_callers_who_take_turns_is_never_empty():
    bucket = limiting.CallersBucket(100, 60_000_000_000)
    times = limiting.wall_times(STEADY, TURNS, AHEAD, nodes=2)
    assert sum(bucket.hit(now_ns) for now_ns in times.tolist()) == len(STEADY)


def test_a_bucket_with_one_caller_keeps_its_rate():
    bucket = limiting.CallersBucket(100, 60_000_000_000)
    assert sum(bucket.hit(now_ns) for now_ns in STEADY.tolist()) == 100 + int(STEADY[-1] * 100 // 60_000_000_000)


def test_a_plain_log_is_locked_when_its_callers_clock_goes_back():
    back = Faults([ClockStep(by=-3600, at=150)])
    times = limiting.wall_times(STEADY, np.zeros_like(STEADY), back, nodes=1)
    log = limiting.CallersLog(100, 60_000_000_000)
    allowed = np.array([log.hit(now_ns) for now_ns in times.tolist()])
    assert not allowed[STEADY >= 150_000_000_000].any()
    node = np.zeros_like(STEADY)
    ours = limiting.decided_by_nodes(LimitSpec("100/minute", clock="wall"), STEADY, node, back)
    assert STEADY[ours & (STEADY >= 150_000_000_000)][0] == 210_000_000_000  # one period later
