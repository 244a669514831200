"""The closed forms, against sums written out, recursions step by step, and the production objects."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.resilience.breaker import CircuitBreaker, Outcome
from workbench.resilience.quota import Quota
from workbench.simulation.kernels import replay
from workbench.simulation.measures import max_in_window
from workbench.simulation.statistics import t_interval
from workbench.simulation.streams import Streams
from workbench.simulation.theory import calls_to_false_open, lindley, mm1, mmc, most_admitted

ALGORITHMS = ("exact", "smooth", "approx", "fixed")


def probability_of_waiting(workers, offered):
    """Erlang's C as it is usually written (Gross, Shortle, Thompson and Harris, 4th ed., eq. 2.33), in fractions."""
    load = offered / workers
    all_busy = offered**workers / math.factorial(workers) / (1 - load)
    return all_busy / (sum(offered**n / math.factorial(n) for n in range(workers)) + all_busy)


@pytest.mark.parametrize("workers", [1, 2, 3, 10, 60])
@pytest.mark.parametrize("load", ["1/100", "1/2", "99/100"])
def test_the_probability_of_waiting_is_erlang_s(workers, load):
    offered = Fraction(load) * workers
    expected = float(probability_of_waiting(workers, offered))
    assert mmc(float(offered), 1, workers).waits == pytest.approx(expected, rel=1e-12)


def test_one_worker_is_the_textbook_queue():
    queue = mm1(80, 100)
    assert (queue.load, queue.waits) == (0.8, pytest.approx(0.8))
    assert (queue.wait, queue.stay) == (pytest.approx(0.04), pytest.approx(0.05))
    assert (queue.waiting, queue.present) == (pytest.approx(3.2), pytest.approx(4))


def test_hundreds_of_thousands_of_workers_do_not_overflow():
    queue = mmc(299_000, 1, 300_000)
    assert 0 < queue.waits < 1
    assert queue.present == pytest.approx(299_000 + queue.waiting)


def test_one_fast_worker_keeps_requests_shorter_than_many_slow_ones():
    assert mm1(8, 10).stay < mmc(8, 5, 2).stay < mmc(8, 1, 10).stay


@given(some.lists(some.tuples(some.integers(0, 50), some.integers(0, 60)), max_size=60))
def test_waits_are_those_of_the_recursion_step_by_step(requests):
    gaps, service = [gap for gap, _ in requests], [served for _, served in requests]
    wait, expected = 0, []
    for number, gap in enumerate(gaps):
        if number:
            wait = max(0, wait + service[number - 1] - gap)
        expected.append(wait)
    t = np.cumsum(np.array(gaps, dtype=np.int64)) + 10**18
    assert lindley(t, np.array(service, dtype=np.int64)).tolist() == expected


def test_the_mean_wait_of_the_recursion_is_that_of_theory():
    """The 99.9 % interval of 20 seeds, which the mean misses by chance once in a thousand; of seeds chosen, never."""
    means = []
    for seed in range(20):
        generator = Streams(seed).generator("lindley")
        t = np.cumsum(generator.exponential(1e9 / 80, 200_000)).astype(np.int64)
        service = generator.exponential(1e9 / 100, 200_000).astype(np.int64)
        means.append(lindley(t, service)[20_000:].mean() / 1e9)
    _, low, high, _ = t_interval(np.array(means), 0.999)
    assert low < mm1(80, 100).wait < high
    assert high - low < 0.15 * mm1(80, 100).wait


def test_without_requests_nobody_waits():
    assert lindley([], []).tolist() == []


def calls_until_open(p, k, generator):
    """Calls of a production breaker until it opens, in front of a service that fails with probability ``p``."""
    breaker = CircuitBreaker("imperfect", failure_threshold=k, clock=VirtualClock())
    calls = 0
    while breaker.state.value == "closed":
        failed = generator.random(1_000) < p
        for failure in failed.tolist():
            token = breaker.acquire()
            breaker.record(token, Outcome.FAILURE if failure else Outcome.SUCCESS)
            calls += 1
            if failure and breaker.state.value != "closed":
                break
    return calls


@pytest.mark.parametrize(("p", "k", "openings"), [(0.5, 5, 1_000), (0.3, 5, 200), (0.9, 3, 1_000), (0.1, 2, 1_000)])
def test_a_production_breaker_opens_falsely_as_often_as_theory_says(p, k, openings):
    """The 99.9 % interval of the mean, which theory misses by chance once in a thousand; with this seed it does not."""
    generator = Streams(7).generator(f"false open {p} {k}")
    calls = np.array([calls_until_open(p, k, generator) for _ in range(openings)], dtype=np.float64)
    _, low, high, _ = t_interval(calls, 0.999)
    assert low < calls_to_false_open(p, k) < high
    for wrong in (calls_to_false_open(p, k + 1), calls_to_false_open(p, k - 1)):
        assert not low < wrong < high


def test_calls_to_a_false_open_are_those_of_the_design():
    rounded = [float(f"{calls_to_false_open(p, 5):.2g}") for p in (0.01, 0.1, 0.2, 0.3, 0.5)]
    assert rounded == [1.0e10, 1.1e5, 3.9e3, 590, 62]
    assert calls_to_false_open(0, 1) == math.inf
    assert calls_to_false_open(1e-9, 1_000) == math.inf


@given(
    p=some.fractions(min_value=Fraction(1, 100), max_value=Fraction(99, 100), max_denominator=100),
    k=some.integers(1, 30),
)
def test_calls_to_a_false_open_are_the_closed_form(p, k):
    assert calls_to_false_open(float(p), k) == pytest.approx(float((1 - p**k) / (p**k * (1 - p))), rel=1e-9)


@settings(deadline=None)  # the first example waits for the compiler
@given(
    algorithm=some.sampled_from(ALGORITHMS),
    limit=some.integers(1, 6),
    burst=some.integers(1, 9),
    period=some.integers(1, 40),
    gaps=some.lists(some.integers(0, 30), min_size=1, max_size=80),
)
def test_no_window_lets_more_through_than_the_bound(algorithm, limit, burst, period, gaps):
    quota = Quota(limit=limit, per=period / 1e9, algorithm=algorithm, burst=burst if algorithm == "smooth" else None)
    t = np.cumsum(gaps)
    admitted = t[replay(quota, t, np.zeros(len(t), dtype=np.int32))]
    assert max_in_window(admitted, period) <= most_admitted(quota)


@pytest.mark.parametrize(
    ("quota", "offset"),
    [
        (Quota(limit=7, per=1e-7), 0),
        (Quota(limit=7, per=1e-7, algorithm="smooth"), 0),
        (Quota(limit=7, per=1e-7, algorithm="smooth", burst=3), 0),
        (Quota(limit=7, per=1e-7, algorithm="smooth", burst=30), 0),
        (Quota(limit=7, per=1e-7, algorithm="approx"), 99),
        (Quota(limit=7, per=1e-7, algorithm="fixed"), 99),
    ],
)
def test_some_traffic_attains_the_bound(quota, offset):
    """All the burst at once, as late in a window of the clock as can be; then whatever passes."""
    t = np.repeat(np.arange(offset, 400), 40)
    admitted = t[replay(quota, t, np.zeros(len(t), dtype=np.int32))]
    assert max_in_window(admitted, quota.period_ns) == most_admitted(quota)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mm1(0, 1), "rates are positive numbers a second, not 0 and 1"),
        (lambda: mm1(1, math.nan), "rates are positive numbers a second, not 1 and nan"),
        (lambda: mmc(1, 1, 0), "a queue has at least one worker, not 0"),
        (lambda: mmc(200, 100, 2), "200 requests a second for 2 x 100: the queue never settles; lower the rate"),
        (lambda: lindley([1], [1, 2]), "times of shape (1,) and services of shape (2,): expected (n,) for both"),
        (lambda: lindley([1.5], [1]), "times and services are whole numbers of ns, not float64 and int64"),
        (lambda: lindley([2, 1], [1, 1]), "times of arrival are sorted and services not negative; one is not"),
        (lambda: lindley([1, 2], [1, -1]), "times of arrival are sorted and services not negative; one is not"),
        (lambda: calls_to_false_open(1.5, 5), "a probability is a number from 0 to 1, not 1.5"),
        (lambda: calls_to_false_open(0.5, 0), "a run has at least one failure, not 0"),
    ],
)
def test_what_has_no_answer_is_refused_with_a_reason(make, message):
    with pytest.raises(InputError) as refused:
        make()
    assert str(refused.value) == message
