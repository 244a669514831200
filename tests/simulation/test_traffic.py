"""Traffic: samples that follow their laws, sources that leave one another alone, attackers that do what they say.

Tests of a law use a fixed seed, so they never flicker. ``LEVEL`` is the probability with which one would fail for a
seed chosen at random although the law holds.
"""

import math

import numpy as np
import pytest
from scipy import stats

from workbench.errors import InputError
from workbench.resilience.quota import Quota
from workbench.simulation.replay import decided
from workbench.simulation.streams import Streams
from workbench.simulation.traffic import (
    SOURCES,
    BoundaryBurst,
    Bursty,
    CredentialStuffing,
    Diurnal,
    FlashCrowd,
    KeyFlood,
    Keys,
    Poisson,
    Recorded,
    SlowDrip,
    arrivals,
    processes,
)
from workbench.simulation.values import read

LEVEL = 1e-4

STEADY = Poisson(50, keys=Keys(20, zipf=1.0))
ONE_OF_EACH = [
    STEADY,
    Bursty(5, 200, 10, 2, keys=Keys(20)),
    Diurnal(40, 0.8, period=60, phase=15),
    FlashCrowd(10, 300, at=20, ramp=5, hold=10, decay=4),
    CredentialStuffing(30, addresses=7, accounts=50),
    KeyFlood(20),
    SlowDrip(10, per=60, addresses=3),
    BoundaryBurst(10, per=10, addresses=2),
]


def seconds(source, *, duration, seed=1):
    return arrivals([source], Streams(seed), duration=duration).t / 1e9


def admitted(quota, traffic):
    """What the production limiter says to each arrival, by key."""
    return decided(quota, traffic.t, traffic.key)


def uniform_p(values):
    return stats.kstest(values, "uniform").pvalue


def test_poisson_traffic_has_its_rate():
    count = len(seconds(Poisson(100), duration=1_000))
    assert abs(count - 100_000) < stats.norm.isf(LEVEL / 2) * math.sqrt(100_000)


def test_the_gaps_of_poisson_traffic_are_exponential():
    gaps = np.diff(seconds(Poisson(100), duration=300))
    assert stats.kstest(gaps, "expon", args=(0, 1 / 100)).pvalue > LEVEL


def test_the_counts_of_poisson_traffic_have_an_index_of_dispersion_of_one():
    counts = np.histogram(seconds(Poisson(20), duration=2_000), bins=2_000, range=(0, 2_000))[0]
    statistic = counts.var(ddof=1) / counts.mean() * (len(counts) - 1)
    assert stats.chi2.ppf(LEVEL / 2, 1_999) < statistic < stats.chi2.isf(LEVEL / 2, 1_999)


def test_daily_traffic_follows_its_rate():
    source, length = Diurnal(50, 0.9, period=100, phase=30), 730.0
    wave = 100 / (2 * np.pi)

    def accumulated(t):
        return 50 * (t + 0.9 * wave * (np.cos(2 * np.pi * 30 / 100) - np.cos(2 * np.pi * (t + 30) / 100)))

    times, expected = seconds(source, duration=length), accumulated(length)
    assert abs(len(times) - expected) < stats.norm.isf(LEVEL / 2) * math.sqrt(expected)
    assert uniform_p(accumulated(times) / expected) > LEVEL


def test_a_flash_crowd_climbs_stays_and_falls():
    source = FlashCrowd(20, 220, at=50, ramp=10, hold=20, decay=15)
    assert source.rate_at(np.array([0, 50, 55, 60, 80, 95.0])).tolist() == pytest.approx(
        [20, 20, 120, 220, 220, 20 + 200 / math.e]
    )

    def accumulated(t):
        ramp, hold = np.clip(t - 50, 0, 10), np.clip(t - 60, 0, 20)
        fall = np.maximum(t - 80, 0)
        return 20 * t + 200 * (ramp**2 / 20 + hold + 15 * (1 - np.exp(-fall / 15)))

    times, expected = seconds(source, duration=200), accumulated(200.0)
    assert abs(len(times) - expected) < stats.norm.isf(LEVEL / 2) * math.sqrt(expected)
    assert uniform_p(accumulated(times) / expected) > LEVEL


def test_a_crowd_without_ramp_or_decay_comes_and_goes_at_once():
    source = FlashCrowd(1, 9, at=10, ramp=0, hold=5, decay=0)
    assert source.rate_at(np.array([9.9, 10, 15, 15.1])).tolist() == [1, 9, 9, 1]


def test_bursty_traffic_has_the_mean_and_the_dispersion_of_its_law():
    """Counts of 10 s over independent runs against the law of Fischer and Meier-Hellstern, section 2.4."""
    source = Bursty(5, 60, mean_low=6, mean_high=3)
    counts = np.array([len(seconds(source, duration=10, seed=seed)) for seed in range(1_500)])
    out, back = 1 / 6, 1 / 3
    excess = 2 * (60 - 5) ** 2 * out * back / ((out + back) ** 2 * (5 * back + 60 * out))
    dispersion = 1 + excess * (1 - (1 - math.exp(-(out + back) * 10)) / ((out + back) * 10))
    z = stats.norm.isf(LEVEL / 2)
    assert source.rate == pytest.approx(70 / 3)
    mean, variance = 10 * source.rate, 10 * source.rate * dispersion
    assert abs(counts.mean() - mean) < z * math.sqrt(variance / len(counts))
    error = variance * math.sqrt((stats.kurtosis(counts) + 2) / len(counts))
    assert abs(counts.var(ddof=1) - variance) < z * error
    assert variance > 10 * mean  # far from what a Poisson process would give


def test_within_a_phase_bursty_traffic_is_poisson():
    times = seconds(Bursty(50, 50, 3, 3), duration=300)
    assert stats.kstest(np.diff(times), "expon", args=(0, 1 / 50)).pvalue > LEVEL


def test_bursts_may_have_silence_between_them():
    times = seconds(Bursty(0, 1_000, 10, 1), duration=2_000)
    gaps = np.diff(times)
    assert np.quantile(gaps, 0.9) < 0.01
    silences = gaps[gaps > 0.1]
    assert 100 < len(silences) < 260  # 182 are expected
    assert stats.kstest(silences - 0.1, "expon", args=(0, 10)).pvalue > LEVEL


@pytest.mark.parametrize("keys", [Keys(50, zipf=1.1), Keys(50, zipf=0.6), Keys(50)])
def test_keys_get_their_shares(keys):
    drawn = keys.draw(np.random.default_rng(3), 50_000)
    assert stats.chisquare(np.bincount(drawn, minlength=50), keys.shares() * 50_000).pvalue > LEVEL
    assert keys.shares().sum() == pytest.approx(1)
    assert keys.shares()[0] / keys.shares()[9] == pytest.approx(10**keys.zipf)


def test_arrivals_are_in_time_order_and_within_the_run():
    traffic = arrivals(ONE_OF_EACH, Streams(5), duration=60)
    assert (np.diff(traffic.t) >= 0).all()
    assert traffic.t[0] >= 0
    assert traffic.t[-1] < 60_000_000_000
    assert [array.dtype.name for array in (traffic.t, traffic.key, traffic.source, traffic.cost)] == [
        "int64",
        "int32",
        "int16",
        "int32",
    ]
    assert traffic.groups == ("users", "users", "users", "users", "stuffing", "flood", "drip", "burst")
    assert sorted(set(traffic.source.tolist())) == list(range(8))
    with pytest.raises(ValueError, match="read-only"):
        traffic.t[0] = 1


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others():
    one, same, other = (arrivals(ONE_OF_EACH, Streams(seed), duration=30) for seed in (5, 5, 6))
    assert all(np.array_equal(getattr(one, name), getattr(same, name)) for name in ("t", "key", "source", "cost"))
    assert not np.array_equal(one.t[:100], other.t[:100])


@pytest.mark.parametrize("place", range(len(ONE_OF_EACH)))
def test_a_source_changes_no_other(place):
    others = ONE_OF_EACH[:place] + ONE_OF_EACH[place + 1 :]
    whole, without = (arrivals(sources, Streams(5), duration=30) for sources in (ONE_OF_EACH, others))
    kept = whole.source != place
    assert np.array_equal(whole.t[kept], without.t)
    assert np.array_equal(whole.source[kept] - (whole.source[kept] > place), without.source)
    for group in set(without.groups):  # keys are the same but for where their group's numbers begin
        a, b = (traffic.key[traffic.of(group) & mask] for traffic, mask in ((whole, kept), (without, True)))
        assert len(set((a - b).tolist())) == 1


def test_two_alike_sources_are_independent():
    traffic = arrivals([STEADY, STEADY], Streams(5), duration=30)
    assert set(traffic.t[traffic.source == 0].tolist()).isdisjoint(traffic.t[traffic.source == 1].tolist())


@pytest.mark.parametrize("source", ONE_OF_EACH[:7], ids=lambda source: source.kind())
def test_a_longer_run_begins_as_a_shorter_one(source):
    short, long = (arrivals([source], Streams(5), duration=duration) for duration in (37, 111))
    assert np.array_equal(long.t[: len(short)], short.t)
    assert np.array_equal(long.key[: len(short)], short.key)


def test_twice_the_rate_is_the_same_pattern_in_half_the_time():
    slow, fast = seconds(Poisson(10), duration=60), seconds(Poisson(20), duration=30)
    assert np.allclose(slow / 2, fast, atol=2e-9)


@pytest.mark.parametrize("source", ONE_OF_EACH[:6], ids=lambda source: source.kind())
def test_how_many_gaps_are_drawn_at_once_changes_nothing(source, monkeypatch):
    expected = seconds(source, duration=30)
    monkeypatch.setattr(processes, "_CHUNK", 7)
    assert np.array_equal(seconds(source, duration=30), expected)


def test_groups_share_their_keys_and_no_others():
    sources = [
        Poisson(50, keys=Keys(10)),
        Poisson(50, keys=Keys(4), group="partners"),
        FlashCrowd(10, 90, at=5, ramp=1, hold=5, decay=1, keys=Keys(30)),
    ]
    traffic = arrivals(sources, Streams(5), duration=60)
    assert traffic.keys == 34
    assert set(traffic.key[traffic.of("users")].tolist()) == set(range(30))
    assert set(traffic.key[traffic.of("partners")].tolist()) == set(range(30, 34))
    assert traffic.key[traffic.source == 0].max() == 9


def test_a_source_keeps_to_its_hours_and_its_price():
    traffic = arrivals([Poisson(50, start=10, end=20, cost=3), Poisson(50, start=90)], Streams(5), duration=60)
    assert 10 <= traffic.t.min() / 1e9 < traffic.t.max() / 1e9 < 20
    assert set(traffic.cost.tolist()) == {3}


def test_no_traffic_is_no_arrivals():
    assert (len(arrivals([], Streams(1), duration=1)), arrivals([], Streams(1), duration=1).keys) == (0, 0)


def test_the_addresses_of_credential_stuffing_take_turns():
    traffic = arrivals([CredentialStuffing(50, addresses=40, accounts=500)], Streams(5), duration=60)
    used = np.bincount(traffic.key, minlength=40)
    assert traffic.keys == 40
    assert used.max() - used.min() <= 1
    first, second = traffic.key[:40], traffic.key[40:80]
    assert set(first.tolist()) == set(second.tolist()) == set(range(40))
    assert not np.array_equal(first, second)


def test_credential_stuffing_by_account_uses_up_the_limits_of_its_victims():
    users, attack = Poisson(5, keys=Keys(100)), CredentialStuffing(50, accounts=100, by="account")
    alone, attacked = (arrivals(sources, Streams(5), duration=60) for sources in ([users], [users, attack]))
    assert attacked.keys == 100
    quota = Quota(limit=10, per=60)
    refused_alone = ~admitted(quota, alone)
    refused = ~admitted(quota, attacked)[attacked.of("users")]
    assert refused.mean() > refused_alone.mean() + 0.3


def test_a_key_flood_never_uses_a_key_twice():
    traffic = arrivals([Poisson(5, keys=Keys(3)), KeyFlood(100)], Streams(5), duration=60)
    keys = traffic.key[traffic.of("flood")]
    assert keys.tolist() == list(range(3, 3 + len(keys)))
    assert traffic.keys == 3 + len(keys)


@pytest.mark.parametrize("algorithm", ["exact", "smooth", "fixed"])
def test_a_slow_drip_is_never_refused_and_one_a_little_faster_is(algorithm):
    traffic = arrivals([SlowDrip(10, per=60, addresses=5)], Streams(5), duration=1_200)
    assert len(traffic) == pytest.approx(5 * 1_200 * 10 / 60.6, abs=5)
    assert admitted(Quota(limit=10, per=60, algorithm=algorithm), traffic).all()
    assert not admitted(Quota(limit=9, per=60, algorithm=algorithm), traffic).all()


def test_a_sliding_counter_refuses_a_part_of_a_slow_drip_that_is_within_the_limit():
    traffic = arrivals([SlowDrip(10, per=60, addresses=50)], Streams(5), duration=1_200)
    allowed = admitted(Quota(limit=10, per=60, algorithm="approx"), traffic)
    assert 0.02 < 1 - allowed.mean() < 0.2


def test_a_boundary_burst_passes_twice_the_limit_of_fixed_windows_only():
    traffic = arrivals([BoundaryBurst(100, per=60, spread=0.5)], Streams(5), duration=250)
    at_first_edge = traffic.t < 61_000_000_000
    assert [int(edge) for edge in sorted(set(np.rint(traffic.t / 60e9)))] == [1, 3]
    assert (traffic.t[at_first_edge].min(), traffic.t[at_first_edge].max()) == (59_500_000_000, 60_495_000_000)
    passed = {
        algorithm: int(admitted(Quota(limit=100, per=60, algorithm=algorithm), traffic)[at_first_edge].sum())
        for algorithm in ("fixed", "exact")
    }
    assert passed == {"fixed": 200, "exact": 100}


def test_a_burst_that_the_run_cuts_in_two_keeps_its_first_half():
    traffic = arrivals([BoundaryBurst(10, per=60, spread=1)], Streams(5), duration=60)
    assert len(traffic) == 10


@pytest.mark.parametrize("source", ONE_OF_EACH, ids=lambda source: source.kind())
def test_a_source_is_read_back_from_what_it_says_of_itself(source):
    assert read(SOURCES, source.as_dict(), what="traffic") == source


def test_every_kind_of_source_is_tried_here():
    assert {source.kind() for source in ONE_OF_EACH} | {Recorded.kind()} == set(SOURCES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Poisson(0), "poisson.rate is 0: expected a number above 0 and of at most 1e+09"),
        (lambda: Poisson(float("nan")), "poisson.rate is nan: expected a number above 0 and of at most 1e+09"),
        (lambda: Poisson("5"), "poisson.rate is '5': expected a number above 0 and of at most 1e+09"),
        (lambda: Poisson(5, keys=3), "poisson.keys is 3: expected a keys"),
        (
            lambda: Poisson(5, cost=0),
            "poisson.cost is 0: expected a whole number of at least 1 and of at most 2.14748e+09",
        ),
        (lambda: Poisson(5, group=""), "poisson.group is '': expected 1 to 100 printable characters"),
        (lambda: Poisson(5, start=9, end=9), "poisson: it ends at 9 s, not after its start at 9 s"),
        (lambda: Keys(True), "keys.count is True: expected a whole number of at least 1 and of at most 2.14748e+09"),
        (lambda: FlashCrowd(9, 5, 0, 0, 0, 0), "flash_crowd: its peak, 5 per second, is below its rate, 9"),
        (lambda: BoundaryBurst(9, 1, spread=2), "boundary_burst: its spread, 2 s, is more than a window of 1 s"),
        (
            lambda: CredentialStuffing(9, by="user"),
            "credential_stuffing.by is 'user': expected one of address, account",
        ),
        (
            lambda: arrivals([], Streams(1), duration=0),
            "a simulation lasts more than 0 and at most a billion seconds, not 0",
        ),
        (
            lambda: arrivals(
                [Poisson(1, keys=Keys(2**31 - 1), group=name) for name in "ab"], Streams(1), duration=1e-9
            ),
            "the traffic has 4,294,967,294 keys, more than the 2,147,483,647 that can be told apart: use fewer",
        ),
        (
            lambda: read(SOURCES, {"kind": "poison", "rate": 1}, what="traffic"),
            "traffic: no kind is called 'poison'; did you mean 'poisson'?",
        ),
        (
            lambda: read(SOURCES, {"kind": "poisson", "rates": 1}, what="traffic"),
            "poisson: unknown key 'rates'; did you mean 'rate'?",
        ),
        (lambda: read(SOURCES, {"kind": "poisson"}, what="traffic"), "poisson: 'rate' is missing"),
        (
            lambda: read(SOURCES, {"kind": "poisson", "rate": 1, "keys": {"zipf": -1}}, what="traffic"),
            "keys.zipf is -1: expected a number of at least 0 and of at most 10",
        ),
    ],
)
def test_what_cannot_be_traffic_is_refused_with_a_reason(make, message):
    with pytest.raises(InputError) as refused:
        make()
    assert str(refused.value) == message
