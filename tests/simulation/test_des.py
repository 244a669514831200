"""The compiled simulation gives every request the end that ``run_once`` gives it, at the same nanosecond."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.simulation import (
    Backoff,
    BreakerSpec,
    Budget,
    Clients,
    ClosedLoop,
    Crash,
    Deterministic,
    Draws,
    Ending,
    Exponential,
    Immediate,
    LimitSpec,
    NoRetry,
    Poisson,
    Recorded,
    Recording,
    Scenario,
    Server,
    Slow,
    run_once,
)
from workbench.simulation.des import run_compiled, sweep
from workbench.simulation.streams import Streams

BREAKER = BreakerSpec(5, 5, 2)
BACKOFF = Backoff(3, base=0.1, cap=10)
POLICIES = {
    "no retry": {},
    "immediate": {"retry": Immediate(3)},
    "backoff": {"retry": BACKOFF},
    "budget": {"retry": Budget(3, base=0.1, cap=10, ratio=0.1)},
    "breaker": {"retry": BACKOFF, "breaker": BREAKER},
    "shared breaker": {"retry": BACKOFF, "breaker": BREAKER, "per": "shared"},
    "hasty breaker": {"retry": Immediate(2), "breaker": BreakerSpec(2, 0.5, 3, probe_timeout=0.2)},
    "breaker and budget": {"retry": Budget(3, base=0.1, cap=10, ratio=0.1), "breaker": BREAKER},
}


def storm(name="storm", *, duration=40, drop_expired=False, workers=1, rate=160, timeout=1, **policy):
    """Experiment 5, shorter: a server at 80 % load that is four times slower for a while."""
    return Scenario(
        name,
        duration,
        warm_up=2,
        traffic=(Poisson(rate * workers),),
        clients=Clients(20, timeout, **policy),
        server=Server(workers, Exponential(0.005), drop_expired=drop_expired),
        faults=(Slow(4, start=8, end=14), Slow(0.5, start=20, end=25)),
    )


def both(scenario, seed):
    draws = Draws(scenario, seed)
    return run_once(scenario, seed, trace=False, draws=draws), run_compiled(scenario, seed, draws=draws)


def assert_same(scenario, seed):
    plain, fast = both(scenario, seed)
    for name in ("t", "ending", "end", "attempts", "sent"):
        assert np.array_equal(getattr(plain, name), getattr(fast, name)), (scenario.name, seed, name)
    return plain


@pytest.mark.parametrize("drop_expired", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_retry_storm_is_the_same(policy, drop_expired):
    run = assert_same(storm(drop_expired=drop_expired, **POLICIES[policy]), 0)
    assert (Ending.REJECTED in run.ending) == ("breaker" in policy)
    assert (run.attempts.max() > 1) == (policy != "no retry")


@pytest.mark.parametrize("policy", POLICIES)
def test_several_workers_are_the_same(policy):
    assert_same(storm(workers=3, duration=20, **POLICIES[policy]), 1)


@pytest.mark.parametrize("breaker", [None, BreakerSpec(3, 0.1, 2)])
@pytest.mark.parametrize("retry", [Immediate(3), Backoff(3, base=0.05, cap=0.2, jitter="none")])
def test_events_of_one_moment_come_in_the_same_order(retry, breaker):
    """Arrivals, services, time limits, waits and faults are on a grid of 10 ms, so that much falls together."""
    for seed in range(10):
        stamps = np.sort(Streams(seed).generator("grid").integers(0, 2_000, 800)) * 10
        for drop_expired in (False, True):
            scenario = Scenario(
                "grid",
                20,
                traffic=(Recorded(Recording.of(stamps, unit="ms"), spread="none"),),
                clients=Clients(4, 0.1, retry, breaker),
                server=Server(1, Deterministic(0.02), drop_expired=drop_expired),
                faults=(Slow(2, start=2, end=4), Slow(0.5, start=6, end=8)),
            )
            assert_same(scenario, seed)


@pytest.mark.slow
def test_scenarios_drawn_at_random_are_the_same():
    generator = Streams(5).generator("scenarios")
    for number in range(150):
        policy = POLICIES[str(generator.choice(list(POLICIES)))]
        assert_same(
            storm(
                f"{number}",
                duration=20,
                drop_expired=bool(generator.integers(2)),
                workers=int(generator.integers(1, 4)),
                rate=float(generator.uniform(60, 240)),
                timeout=float(generator.uniform(0.02, 2)),
                **policy,
            ),
            number,
        )


def test_a_sweep_is_a_row_for_each_scenario_and_seed():
    scenarios = [storm(name, **POLICIES[name]) for name in ("immediate", "breaker")]
    table = sweep(scenarios, seeds=3, between=(30, 40))
    expected = []
    for scenario in scenarios:
        for seed in range(3):
            run = run_once(scenario, seed, trace=False)
            inside = (run.t >= 30e9) & (run.t < 40e9)
            good, tries = (run.ending[inside] == 0).mean(), run.attempts[inside].mean()
            expected.append((scenario.name, seed, int(inside.sum()), good, tries))
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected, columns=table.columns))
    # The storm goes on long after what began it, and the breaker ends it.
    means = table.groupby("scenario")["goodput"].mean()
    assert means["immediate"] < 0.1 < 0.9 < means["breaker"]


def test_two_scenarios_of_one_name_are_not_swept():
    with pytest.raises(InputError, match="scenarios of a sweep have names that differ; found storm, storm"):
        sweep([storm(), storm()])


def closed_loop():
    clients = ClosedLoop(2, 1, think=Exponential(1))
    return Scenario("other", 5, clients=clients, server=Server(1, Exponential(0.005)))


def other(*, clients=None, server=None, **parts):
    return Scenario(
        "other",
        5,
        traffic=(Poisson(5),),
        clients=clients or Clients(),
        server=server or Server(1, Exponential(0.005)),
        **parts,
    )


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (closed_loop, "a closed loop"),
        (lambda: other(limits=(LimitSpec("5/second"),)), "limits"),
        (lambda: other(faults=(Crash(start=1, end=2),)), "faults other than slow"),
        (lambda: other(server=Server(1, Exponential(0.005), queue_limit=3)), "a queue limit"),
        (
            lambda: other(clients=Clients(1, 1, NoRetry(), BreakerSpec(failure_rate=0.5))),
            "a breaker that looks at more than failures in a row",
        ),
        (
            lambda: other(clients=Clients(1, 1, NoRetry(), BreakerSpec(5, jitter=0.5))),
            "a breaker with jitter, backoff or more permits",
        ),
    ],
)
def test_what_is_not_compiled_is_refused_with_a_reason(make, what):
    with pytest.raises(InputError) as refused:
        run_compiled(make(), 0)
    assert str(refused.value) == f"scenario 'other' has {what}, which is not compiled; use simulate or run_once"
