"""The script in Redis and the arithmetic in Python say the same, and what is stored lives as long as it matters."""

import contextlib
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.resilience.algorithms import algorithm_of, phase_of
from workbench.resilience.quota import Quota
from workbench.resilience.stores import Charge
from workbench.resilience.stores.scripts import DecisionScript

# Time as an argument; and keys outlive real milliseconds, since this time stands still while the real one goes on.
TOLD_CLOCK = "local now, hold = tonumber(ARGV[#ARGV]), 100000\n"
HOLD_MS = 100_000
START = 1_790_000_000_000_000  # µs since the Unix epoch, as Redis tells it

ALGORITHMS = ("exact", "smooth", "approx", "fixed")


@pytest.fixture(scope="module")
def told(redis_server):
    """``told(steps)`` runs ``(now, consume, charges)`` one after another on an empty Redis; gives the raw answers."""
    script = DecisionScript("t", clock=TOLD_CLOCK)
    client = redis_server.client()
    client.script_load(script.text)

    def run(steps):
        pipeline = client.pipeline(transaction=False)
        pipeline.flushdb()
        for now, consume, charges in steps:
            pipeline.execute_command(*script.command(charges, consume=consume), now)
        return pipeline.execute()[1:]

    yield run
    client.close()


def expected(steps):
    """The same in Python, with all states in a dict."""
    states, answers = {}, []
    for now, consume, charges in steps:
        asked = []
        for quota, key, cost in charges:
            meter = algorithm_of(quota, unit_ns=1000)
            here = now + phase_of(key, meter.period) if quota.stagger else now
            before = states.get((quota.digest, key))
            asked.append((quota, key, meter.ask(before, here, cost), meter.ask(before, here, 0)))
        charged = consume and all(cost[1] for _, _, cost, _ in asked)
        answer = []
        for quota, key, cost, nothing in asked:
            after = cost if charged else nothing
            if consume:
                states[quota.digest, key] = after[0]
            answer += [int(cost[1]), after[2], cost[3], after[4], after[5]]
        answers.append(answer)
    return answers


@st.composite
def quotas(draw, *, most=12):
    algorithm = draw(st.sampled_from(ALGORITHMS))
    limit = draw(st.integers(1, most) | st.sampled_from([127, 128, 129, 150]))
    period = draw(st.sampled_from([1e-6, 7e-6, 0.000_013_5, 0.01, 1, 60, 3600, 86_400]))
    burst = draw(st.none() | st.integers(1, most)) if algorithm == "smooth" else None
    stagger = draw(st.booleans()) if algorithm == "fixed" else False
    return Quota(
        f"q{draw(st.integers(0, 2))}", limit=limit, per=period, algorithm=algorithm, burst=burst, stagger=stagger
    )


@st.composite
def streams(draw, *, length=40):
    """Requests near the edges of a few quotas: waits of a part of a period, costs about the limit, steps back."""
    several = draw(st.lists(quotas(), min_size=1, max_size=3, unique_by=lambda quota: quota.digest))
    now, steps = START, []
    for _ in range(draw(st.integers(1, length))):
        charges = []
        for quota in draw(
            st.lists(st.sampled_from(several), min_size=1, max_size=3, unique_by=lambda quota: quota.digest)
        ):
            cost = draw(st.sampled_from([0, 1, 1, 1, 2, quota.limit // 2, quota.capacity, quota.capacity + 1]))
            charges.append(Charge(quota, draw(st.sampled_from(["a", "b"])), cost))
        period = algorithm_of(charges[0].quota, unit_ns=1000).period
        kind = draw(st.sampled_from(["same", "part", "part", "part", "whole", "far", "back"]))
        if kind == "part":
            now += draw(st.integers(0, period)) // draw(st.sampled_from([1, 3, 10]))
        elif kind == "whole":
            now += period + draw(st.integers(-1, 1))
        elif kind == "far":
            now += draw(st.integers(0, 3 * period))
        elif kind == "back":
            now -= draw(st.integers(0, 3 * period))
        steps.append((now, draw(st.integers(0, 5)) > 0, charges))
    return steps


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams())
def test_redis_decides_as_python_does(told, steps):
    assert told(steps) == expected(steps)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(streams(length=80))
def test_redis_decides_as_python_does_on_many_long_streams(told, steps):
    assert told(steps) == expected(steps)


@pytest.mark.parametrize("limit", [100, 129, 1_000])
def test_a_long_log_is_the_same_while_it_fills_overflows_and_wraps(told, limit):
    quota = Quota(limit=limit, per=60, algorithm="exact")
    steps, now = [], START
    for number in range(4 * limit):
        now += 60_000_000 // limit * (number % 3)
        steps.append((now, True, [Charge(quota, "a", 1 + number % 4)]))
    steps.append((now - 30_000_000, True, [Charge(quota, "a")]))
    steps += [(now - 30_000_000 + number * 20_000_000, True, [Charge(quota, "a", limit // 3)]) for number in range(9)]
    assert told(steps) == expected(steps)


@pytest.mark.parametrize("algorithm", ["smooth", "approx", "fixed"])
@pytest.mark.parametrize("per", [0.000_001, 1, 86_400, 999_999_999])
def test_the_largest_quota_that_fits_is_counted_without_rounding(told, algorithm, per):
    most = {"smooth": (1 << 51) // (10**6 * per), "approx": (1 << 51) // (10**6 * per), "fixed": 1 << 51}[algorithm]
    limit, chance = max(1, int(most)), Random(f"{algorithm} {per}")
    burst = {"limit": 1, "burst": limit} if algorithm == "smooth" else {"limit": limit}
    quota = Quota(per=per, algorithm=algorithm, **burst)
    period, now, steps = algorithm_of(quota, unit_ns=1000).period, START, []
    for _ in range(60):
        now = min(now + chance.randint(0, period) // chance.choice([1, 1, 7, 1000]), 1 << 52)  # until the year 2112
        cost = limit - chance.randint(0, min(3, limit)) if chance.random() < 0.3 else chance.randint(0, limit // 3 + 1)
        steps.append((now, True, [Charge(quota, "a", cost)]))
    DecisionScript("t").fits(quota)
    assert told(steps) == expected(steps)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("limit", [5, 200])
def test_a_clock_set_back_costs_one_life_and_no_more(told, algorithm, limit):
    quota = Quota(limit=limit, per=10, algorithm=algorithm)
    life, back = algorithm_of(quota, unit_ns=1000).life, START - 10**12
    whole, one = [Charge(quota, "a", limit)], [Charge(quota, "a")]
    steps = [(START, True, whole), (back, False, one), (back, True, one), (back + life, True, whole)]
    answers = told(steps)
    assert [answer[0] for answer in answers] == [1, 0, 0, 1]
    assert answers == expected(steps)


def test_a_long_log_stays_short_and_lives_on_from_each_hit(fresh):
    quota, script = Quota(limit=200, per=60, algorithm="exact"), DecisionScript("t", clock=TOLD_CLOCK)
    with contextlib.closing(fresh.client()) as client:
        client.script_load(script.text)
        for number in range(2_000):
            command = script.command([Charge(quota, "a")], consume=True)
            client.execute_command(*command, START + number * 400_000)
        name = script.name(quota, "a")
        assert client.strlen(name) <= 2 * 200 * 7
        client.pexpire(name, 50_000)
        client.execute_command(*command, START + 2_000 * 400_000)
        assert client.pttl(name) > HOLD_MS
