"""Queues whose laws are known: theory, the Lindley recursion, and an independent simulator agree with the server."""

import math

import numpy as np
import pytest
import simpy

from workbench.simulation import Clients, Deterministic, Draws, Exponential, Poisson, Scenario, Server, run_once
from workbench.simulation.statistics import t_interval

PATIENT = Clients(1, 1e6)


def queue(workers, service, rate, duration, warm_up=0.0):
    return Scenario(
        "queue", duration, warm_up=warm_up, traffic=(Poisson(rate),), clients=PATIENT, server=Server(workers, service)
    )


def waits(scenario, seed):
    """Seconds that each request waited before its service, shape (n,), after the warm-up."""
    draws = Draws(scenario, seed)
    run = run_once(scenario, seed, trace=False, draws=draws)
    assert (run.ending == 0).all()
    waited = (run.end - run.t - np.array(draws.service[0])) / 1e9
    return waited[run.t >= scenario.warm_up * 1e9]


def means(workers, service, rate, *, seeds=12, duration=150, warm_up=10):
    """Mean wait of each seed; the 99.9 % interval of their mean, which theory misses by chance once in a thousand."""
    scenario = queue(workers, service, rate, duration, warm_up)
    return t_interval(np.array([waits(scenario, seed).mean() for seed in range(seeds)]), 0.999)


def erlang_c(workers, load):
    """The probability of waiting (Erlang 1917; Gross, Shortle, Thompson and Harris, 4th ed., eq. 2.33)."""
    own = load**workers / math.factorial(workers) / (1 - load / workers)
    return own / (sum(load**k / math.factorial(k) for k in range(workers)) + own)


@pytest.mark.parametrize("rate", [30, 70])
def test_m_m_1_waits_as_theory_says(rate):
    _, low, high, _ = means(1, Exponential(0.01), rate)
    load = rate * 0.01
    assert low < load / (100 - rate) < high  # rho / (mu - lambda)


@pytest.mark.parametrize("workers", [2, 5])
def test_m_m_c_waits_as_erlang_says(workers):
    rate = 70 * workers
    _, low, high, _ = means(workers, Exponential(0.01), rate, duration=150 / workers)
    assert low < erlang_c(workers, rate * 0.01) / (100 * workers - rate) < high


def test_m_d_1_waits_half_as_long():
    _, low, high, _ = means(1, Deterministic(0.01), 70)
    assert low < 0.7 / (100 - 70) / 2 < high  # Pollaczek and Khinchine


@pytest.mark.parametrize("rate", [30, 95, 130])
def test_each_wait_is_that_of_the_lindley_recursion(rate):
    scenario = queue(1, Exponential(0.01), rate, 50)
    draws = Draws(scenario, 3)
    service, gaps = draws.service[0], np.diff(draws.arrivals.t).tolist()
    wait, expected = 0, [0]
    for served, gap in zip(service, gaps, strict=False):
        wait = max(0, wait + served - gap)
        expected.append(wait)
    run = run_once(scenario, 3, draws=draws)
    assert (run.end - run.t - np.array(service)).tolist() == expected


@pytest.mark.parametrize(("workers", "rate"), [(1, 90), (3, 280), (4, 500)])
def test_simpy_gives_every_request_the_same_end(workers, rate):
    scenario = queue(workers, Exponential(0.01), rate, 20)
    draws = Draws(scenario, 1)
    environment = simpy.Environment(initial_time=0)
    resource = simpy.Resource(environment, capacity=workers)
    ends = [0] * len(draws.arrivals)

    def request(number):
        with resource.request() as turn:
            yield turn
            yield environment.timeout(draws.service[0][number])
        ends[number] = environment.now

    def source():
        for number, t_ns in enumerate(draws.arrivals.t.tolist()):
            yield environment.timeout(t_ns - environment.now)
            environment.process(request(number))

    environment.process(source())
    environment.run()
    assert run_once(scenario, 1, draws=draws).end.tolist() == ends


def test_littles_law_holds():
    scenario = queue(1, Exponential(0.01), 80, 1_000)
    run = run_once(scenario, 0, trace=False)
    # Those who wait at the end of each second, and those who come times how long they wait, are the same on average.
    waiting = run.queue.mean()
    mean_wait = waits(scenario, 0).mean()
    assert waiting == pytest.approx(80 * mean_wait, rel=0.15)
