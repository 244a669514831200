"""The reference vectors, through the pure algorithms and through a limiter with a clock."""

import json
from pathlib import Path

import pytest

from workbench.clock import VirtualClock
from workbench.resilience import MemoryStore, Quota, RateLimiter
from workbench.resilience.algorithms import algorithm_of

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "limiter_vectors.json").read_text(encoding="utf-8"))
QUOTAS = {
    "log_N3_W10s": Quota(limit=3, per=10, algorithm="exact"),
    "fixed_N3_W10s": Quota(limit=3, per=10, algorithm="fixed"),
    "swc_N10_W60s": Quota(limit=10, per=60, algorithm="approx"),
    "swc_alexxu_N7_W60s": Quota(limit=7, per=60, algorithm="approx"),
    "gcra_N5_W10s_burst5": Quota(limit=5, per=10, algorithm="smooth"),
    "gcra_N5_W10s_burst1": Quota(limit=5, per=10, algorithm="smooth", burst=1),
    "rediscell_15_30_60": Quota(limit=30, per=60, algorithm="smooth", burst=16),
}


def told(name, allowed, remaining, retry_after, next_after, reset_after):
    """The columns that a vector has: of GCRA the sixth is when all is free again."""
    last = [reset_after] if QUOTAS[name].algorithm == "smooth" else [next_after, reset_after]
    return [allowed, remaining, retry_after, *last]


def test_every_vector_has_its_quota():
    assert set(VECTORS) == set(QUOTAS)


@pytest.mark.parametrize("unit_ns", [1, 1000])
@pytest.mark.parametrize("name", VECTORS)
def test_an_algorithm_gives_the_reference_answers(name, unit_ns):
    meter, state = algorithm_of(QUOTAS[name], unit_ns=unit_ns), None
    for now, cost, *expected in VECTORS[name]:
        if unit_ns > 1 and any(number % unit_ns and number > 0 for number in (now, *expected[2:])):
            continue
        state, allowed, remaining, *times = meter.ask(state, now // unit_ns, cost)
        times = [time * unit_ns if time > 0 else time for time in times]
        assert told(name, allowed, remaining, *times)[: len(expected)] == expected, (now, cost)


@pytest.mark.parametrize("name", VECTORS)
def test_a_limiter_gives_the_reference_answers(name):
    clock = VirtualClock()
    limiter = RateLimiter(QUOTAS[name], store=MemoryStore(clock=clock))
    for now, cost, *expected in VECTORS[name]:
        clock.advance_ns(now - clock.monotonic_ns())
        peeked, decision = limiter.peek("k", cost), limiter.hit("k", cost)
        found = told(
            name,
            decision.allowed,
            decision.remaining,
            decision.retry_after_ns,
            decision.next_after_ns,
            decision.reset_after_ns,
        )
        assert found[: len(expected)] == expected, (now, cost)
        assert (peeked.allowed, peeked.retry_after_ns) == (decision.allowed, decision.retry_after_ns)
