"""The compiled limiters say what the production limiter over the memory store says, to every request."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from workbench.errors import InputError
from workbench.resilience.limiter import RateLimiter
from workbench.resilience.quota import Quota
from workbench.resilience.stores.memory import MemoryStore
from workbench.simulation.kernels import replay
from workbench.simulation.streams import Streams

ALGORITHMS = ("exact", "smooth", "approx", "fixed")
KINDS = (*ALGORITHMS, "staggered")


class Hands:
    """A clock that is set, forward and back."""

    now = 0

    def monotonic_ns(self):
        return self.now

    time_ns = monotonic_ns


def production(quota, t, key, cost=None, names=str):
    """What the production limiter says, request by request."""
    clock = Hands()
    limiter = RateLimiter(quota, store=MemoryStore(clock=clock))
    said = []
    for number, (now, code) in enumerate(zip(t, key, strict=True)):
        clock.now = int(now)
        said.append(limiter.hit(names(int(code)), 1 if cost is None else int(cost[number])).allowed)
    return said


def quota_of(kind, limit, period_ns, burst=None):
    algorithm = "fixed" if kind == "staggered" else kind
    made = Quota(limit=limit, per=period_ns / 1e9, algorithm=algorithm, burst=burst, stagger=kind == "staggered")
    assert made.period_ns == period_ns
    return made


def trace(kind, generator):
    """A quota and a trace that meets edges often: few nanoseconds, few keys, ties; half of the clocks step back."""
    limit, period = int(generator.integers(1, 8)), int(generator.integers(1, 40))
    burst = int(generator.integers(1, 12)) if kind == "smooth" and generator.random() < 0.5 else None
    requests, keys = int(generator.integers(1, 60)), int(generator.integers(1, 5))
    gaps = generator.integers(0, int(generator.integers(1, 2 * period + 2)), requests)
    if generator.random() < 0.5:
        back = generator.random(requests) < generator.uniform(0, 0.3)
        gaps = np.where(back, -generator.integers(0, 4 * period, requests), gaps)
    t = int(generator.integers(-50, 10**18)) + np.cumsum(gaps)
    cost = generator.integers(0, limit + 2, requests) if generator.random() < 0.4 else None
    return quota_of(kind, limit, period, burst), t, generator.integers(0, keys, requests), cost


def disagreements(kind, traces, seed):
    """The numbers of the traces, of so many, to which the two say different things."""
    children = np.random.SeedSequence(seed).spawn(traces)
    found = []
    for number, child in enumerate(children):
        quota, t, key, cost = trace(kind, np.random.Generator(np.random.PCG64(child)))
        if replay(quota, t, key, cost=cost).tolist() != production(quota, t, key, cost):
            found.append(number)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_traces_are_decided_as_in_production(kind):
    assert disagreements(kind, 200, seed=1) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_traces_are_decided_as_in_production(kind):
    assert disagreements(kind, 10_000, seed=2) == []


@settings(max_examples=200, deadline=None)
@given(
    kind=some.sampled_from(KINDS),
    limit=some.integers(1, 6),
    period=some.integers(1, 30),
    requests=some.lists(some.tuples(some.integers(-40, 40), some.integers(0, 2), some.integers(0, 7)), min_size=1),
)
@example(kind="fixed", limit=1, period=10, requests=[(5, 0, 1), (20, 1, 1), (0, 1, 1), (0, 2, 1), (-20, 0, 1)])
def test_any_trace_is_decided_as_in_production(kind, limit, period, requests):
    gaps, key, cost = map(np.array, zip(*requests, strict=True))
    quota, t = quota_of(kind, limit, period), np.cumsum(gaps)
    assert replay(quota, t, key, cost=cost).tolist() == production(quota, t, key, cost)
    forward = np.sort(t)
    assert replay(quota, forward, key).tolist() == production(quota, forward, key)


@pytest.mark.parametrize("kind", KINDS)
def test_real_periods_and_many_keys_are_decided_as_in_production(kind):
    generator = Streams(3).generator("kernels")
    t = np.sort(generator.integers(0, 300_000_000_000, 20_000)) + 1_700_000_000_000_000_000
    key = generator.zipf(1.3, len(t)) % 500
    cost = generator.integers(1, 4, len(t))
    quota = quota_of(kind, 20, 60_000_000_000)
    assert replay(quota, t, key).tolist() == production(quota, t, key)
    assert replay(quota, t, key, cost=cost).tolist() == production(quota, t, key, cost)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_store_forgot_before_a_step_back_is_forgotten_here_too(kind):
    """More keys than the store's hand waits for, so that it goes round while the clock still runs; then a step back."""
    generator = Streams(4).generator("kernels")
    quota = quota_of(kind, 2, 1_000)
    there = np.sort(generator.integers(0, 3_000, 40_000))
    t = np.concatenate([there, there - 1_500, there - 700])
    key = np.concatenate([generator.permutation(40_000), generator.permutation(40_000), generator.permutation(40_000)])
    assert replay(quota, t, key).tolist() == production(quota, t, key)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_key_hit_a_hundred_times_more_than_it_may(algorithm):
    quota = Quota(limit=50, per=1, algorithm=algorithm)
    t = np.arange(0, 5_000_000_000, 200_000)
    key = np.zeros(len(t), dtype=np.int32)
    said = replay(quota, t, key)
    assert said.tolist() == production(quota, t, key)
    assert 0.005 < said.mean() < 0.02


def test_staggered_windows_hang_on_the_text_of_a_key():
    quota = quota_of("staggered", 1, 1_000)
    t, key = np.arange(0, 5_000, 90), np.arange(56) % 3
    names = ["u:1", "u:2", "u:3"]
    said = replay(quota, t, key, names=names)
    assert said.tolist() == production(quota, t, key, names=names.__getitem__)
    assert said.tolist() != replay(quota, t, key).tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint32, np.int64])
def test_whole_numbers_of_any_width_are_taken(dtype):
    quota = Quota(limit=1, per=1e-8)
    assert replay(quota, np.array([0, 9, 10], dtype), np.zeros(3, dtype), cost=np.ones(3, dtype)).tolist() == [
        True,
        False,
        True,
    ]


def test_arrays_that_are_not_in_one_piece_are_taken():
    quota = Quota(limit=1, per=1e-8)
    assert replay(quota, np.arange(12)[::3], np.zeros(8, np.int32)[::2]).tolist() == [True, False, False, False]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_requests_have_no_answers(algorithm):
    assert replay(Quota(limit=1, per=1, algorithm=algorithm), [], []).shape == (0,)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_given_stays_as_it_was(algorithm):
    t, key, cost = np.array([5, 0, 9]), np.array([0, 1, 0], dtype=np.int32), np.array([1, 0, 9])
    before = t.copy(), key.copy(), cost.copy()
    replay(Quota(limit=2, per=1, algorithm=algorithm), t, key, cost=cost)
    assert all(map(np.array_equal, (t, key, cost), before))


ONE = Quota(limit=1, per=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replay(ONE, [0, 1], [0]), "2 times, 1 keys: expected one of each for each request"),
        (lambda: replay(ONE, [0], [0], cost=[1, 1]), "1 times, 1 keys, 2 costs: expected one of each for each request"),
        (lambda: replay(ONE, [0.5], [0]), "times are whole numbers in one dimension, not float64 of shape (1,)"),
        (lambda: replay(ONE, [[0]], [0]), "times are whole numbers in one dimension, not int64 of shape (1, 1)"),
        (lambda: replay(ONE, [0], ["a"]), "keys are whole numbers in one dimension, not <U1 of shape (1,)"),
        (lambda: replay(ONE, [0], [-1]), "keys are whole numbers from 0 to 0; one is -1"),
        (lambda: replay(ONE, [0], [5], keys=5), "keys are whole numbers from 0 to 4; one is 5"),
        (lambda: replay(ONE, [0], [0], cost=[-1]), "a cost is a whole number of at least 0, not -1"),
        (
            lambda: replay(Quota("big", limit=10**7, per=86_400, algorithm="approx"), [0], [0]),
            "quota 'big' at these times needs more than 64 bits; ask a RateLimiter instead",
        ),
        (
            lambda: replay(Quota("late", limit=1, per=1), [2**62], [0]),
            "quota 'late' at these times needs more than 64 bits; ask a RateLimiter instead",
        ),
        (
            lambda: replay(quota_of("staggered", 1, 9), [0], [1], names=["a"]),
            "2 keys and 1 names: expected a name for each key",
        ),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_a_reason(make, message):
    with pytest.raises(InputError) as refused:
        make()
    assert str(refused.value) == message
