"""The guarantees, on random streams, against slow plain definitions over the list of all hits let through."""

from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from workbench.resilience import NEVER
from workbench.resilience.algorithms import Approx, Exact, Fixed, Smooth

KINDS = ["exact", "smooth", "approx", "fixed"]


def meter_of(kind, limit, period, burst):
    return {
        "exact": lambda: Exact(limit, period),
        "smooth": lambda: Smooth(limit, period, burst=burst),
        "approx": lambda: Approx(limit, period),
        "fixed": lambda: Fixed(limit, period),
    }[kind]()


def fits(kind, limit, period, burst, passed, now, cost):
    """Whether ``cost`` more units fit, by the definition in words. ``passed``: (time, cost) of all let through."""
    if kind == "exact":
        return sum(units for time, units in passed if now - period < time) + cost <= limit
    if kind == "fixed":
        return sum(units for time, units in passed if time // period == now // period) + cost <= limit
    if kind == "approx":
        window, inside = divmod(now, period)
        before = sum(units for time, units in passed if time // period == window - 1)
        here = sum(units for time, units in passed if time // period == window)
        return before * Fraction(period - inside, period) + here + cost <= limit
    # A bucket of ``burst`` tokens, into which one falls evenly every ``interval``.
    interval = -(-period // limit)
    tokens, last = Fraction(burst), 0
    for time, units in [*passed, (now, cost)]:
        tokens = min(Fraction(burst), tokens + Fraction(time - last, interval)) - units
        last = time
    return tokens >= 0


@st.composite
def streams(draw, kinds=KINDS):
    kind = draw(st.sampled_from(kinds))
    limit = draw(st.integers(1, 8))
    period = draw(st.integers(1, 40))
    burst = draw(st.integers(1, 8)) if kind == "smooth" else limit
    gaps = st.one_of(st.integers(0, 3), st.integers(0, period), st.integers(0, 3 * period))
    steps = draw(st.lists(st.tuples(gaps, st.integers(0, burst + 1)), max_size=40))
    return kind, limit, period, burst, steps


def play(stream, start=0):
    """Each question of a stream: (now, cost, state before, answer), the units let through so far, and the meter."""
    kind, limit, period, burst, steps = stream
    meter, state, now, passed = meter_of(kind, limit, period, burst), None, start, []
    for gap, cost in steps:
        now += gap
        before = state if state is None else meter.apart(state)
        state, *answer = meter.ask(state, now, cost)
        yield now, cost, before, answer, list(passed), meter
        if answer[0] and cost:
            passed.append((now, cost))


def admitted(stream):
    return [(now, cost) for now, cost, _, answer, _, _ in play(stream) if answer[0] and cost]


def definition_holds(stream):
    kind, limit, period, burst, _ = stream
    for now, cost, _, answer, passed, _ in play(stream):
        assert answer[0] == (cost == 0 or fits(kind, limit, period, burst, passed, now, cost))


def bounds_hold(stream):
    kind, limit, period, burst, _ = stream
    passed = admitted(stream)
    for start, _ in passed:
        inside = sum(units for time, units in passed if start <= time < start + period)
        if kind == "exact":
            assert inside <= limit
        elif kind == "approx":
            assert inside <= 2 * limit - 1
        elif kind == "fixed":
            assert inside <= 2 * limit
    if kind == "smooth":
        interval = -(-period // limit)
        for start, _ in passed:
            for end, _ in passed:
                inside = sum(units for time, units in passed if start <= time <= end)
                assert inside <= burst + max(0, end - start) // interval


@settings(max_examples=100, deadline=None)
@given(streams())
def test_what_passes_is_what_the_definition_lets_pass(stream):
    definition_holds(stream)


@settings(max_examples=100, deadline=None)
@given(streams())
def test_no_more_passes_than_the_bound_of_the_algorithm(stream):
    bounds_hold(stream)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(streams())
def test_definition_and_bound_hold_on_very_many_streams(stream):
    definition_holds(stream)
    bounds_hold(stream)


@settings(max_examples=100, deadline=None)
@given(streams())
def test_a_refused_request_passes_after_its_retry_after_and_not_a_moment_earlier(stream):
    for now, cost, before, (allowed, _, retry_after, _, _), _, meter in play(stream):
        if allowed:
            assert retry_after == 0
        elif cost > meter.capacity:
            assert retry_after == NEVER
        else:
            assert not meter.ask(before, now + retry_after - 1, cost)[1]
            assert meter.ask(before, now + retry_after, cost)[1]


@settings(max_examples=100, deadline=None)
@given(streams())
def test_so_much_as_remains_passes_and_one_more_does_not(stream):
    for now, _, before, _, _, meter in play(stream):
        remaining = meter.ask(before, now, 0)[2]
        assert 0 <= remaining <= meter.capacity
        assert meter.ask(before, now, remaining)[1]
        assert not meter.ask(before, now, remaining + 1)[1]


@settings(max_examples=100, deadline=None)
@given(streams())
def test_more_is_available_after_next_after_and_all_after_reset_after(stream):
    for now, _, before, _, _, meter in play(stream):
        _, _, remaining, _, next_after, reset_after = meter.ask(before, now, 0)
        assert 0 <= next_after <= reset_after <= meter.life
        if remaining == meter.capacity:
            assert (next_after, reset_after) == (0, 0)
            continue
        assert meter.ask(before, now + next_after - 1, 0)[2] == remaining
        assert meter.ask(before, now + next_after, 0)[2] > remaining
        assert meter.ask(before, now + reset_after - 1, 0)[2] < meter.capacity
        assert meter.ask(before, now + reset_after, 0)[2] == meter.capacity


@settings(max_examples=100, deadline=None)
@given(streams())
def test_a_refusal_and_a_question_cost_nothing(stream):
    kind, limit, period, burst, _ = stream
    served = [(now, cost, answer) for now, cost, _, answer, _, _ in play(stream) if answer[0] and cost]
    meter, state = meter_of(kind, limit, period, burst), None
    for now, cost, answer in served:
        state, *again = meter.ask(state, now, cost)
        assert again == answer


@settings(max_examples=100, deadline=None)
@given(streams(), st.integers(-50, 50))
def test_only_differences_of_time_count(stream, shift):
    kind, _, period, _, _ = stream
    # Windows of the clock begin at its multiples, so only these shifts leave them where they are.
    shift = shift * period if kind in {"fixed", "approx"} else shift
    here = [answer for _, _, _, answer, _, _ in play(stream)]
    assert [answer for _, _, _, answer, _, _ in play(stream, start=shift)] == here


@settings(max_examples=100, deadline=None)
@given(streams())
def test_a_dead_state_says_no_more_than_none(stream):
    for now, cost, before, answer, _, meter in play(stream):
        if before is not None and meter.dead(before, now):
            assert meter.ask(None, now, cost)[1:] == tuple(answer)


@settings(max_examples=100, deadline=None)
@given(streams())
def test_a_state_is_dead_after_its_life(stream):
    for now, _, before, _, _, meter in play(stream):
        if before is not None:
            assert meter.dead(before, now + meter.life)


@settings(max_examples=100, deadline=None)
@given(streams(), st.lists(st.integers(-200, 200), min_size=40, max_size=40))
def test_a_clock_that_steps_locks_nobody_out_for_longer_than_a_life(stream, jumps):
    kind, limit, period, burst, steps = stream
    meter, state, now = meter_of(kind, limit, period, burst), None, 0
    for (gap, cost), jump in zip(steps, jumps, strict=False):
        now += gap + jump
        state, allowed, remaining, retry_after, next_after, reset_after = meter.ask(state, now, cost)
        assert 0 <= remaining <= meter.capacity
        assert 0 <= next_after <= reset_after <= meter.life
        if not allowed and cost <= meter.capacity:
            assert 0 < retry_after <= meter.life
            assert not meter.ask(state, now + retry_after - 1, cost)[1]
            assert meter.ask(state, now + retry_after, cost)[1]


@settings(max_examples=100, deadline=None)
@given(streams(kinds=["exact", "smooth"]), st.lists(st.integers(0, 200), min_size=40, max_size=40))
def test_a_clock_set_back_lets_nothing_more_through(stream, jumps):
    kind, limit, period, burst, steps = stream
    meter, state, now, true_now, passed = meter_of(kind, limit, period, burst), None, 0, 0, []
    for (gap, cost), jump in zip(steps, jumps, strict=False):
        now, true_now = now + gap - jump, true_now + gap
        state, allowed, *_ = meter.ask(state, now, cost)
        if allowed and cost:
            assert fits(kind, limit, period, burst, passed, true_now, cost)
            passed.append((true_now, cost))


def most_in_any_window(passed, period):
    return max(sum(units for time, units in passed if start <= time < start + period) for start, _ in passed)


def saturate(meter, moments):
    state, passed = None, []
    for now in moments:
        state, allowed, *_ = meter.ask(state, now, 1)
        if allowed:
            passed.append((now, 1))
    return passed


SECOND = 1_000_000_000


@pytest.mark.parametrize(("kind", "expected"), [("fixed", 200), ("exact", 100), ("approx", 100), ("smooth", 100)])
def test_a_burst_over_a_boundary_gets_double_out_of_fixed_windows_alone(kind, expected):
    meter = meter_of(kind, 100, 60 * SECOND, 100)
    moments = [60 * SECOND - 1] * 200 + [60 * SECOND] * 200
    assert most_in_any_window(saturate(meter, moments), 60 * SECOND) == expected


@pytest.mark.parametrize(
    ("kind", "passed", "most"), [("fixed", 300, 200), ("exact", 200, 100), ("approx", 298, 199), ("smooth", 299, 199)]
)
def test_an_adversary_attains_the_bound(kind, passed, most):
    """All at the end of a window, and then whatever passes."""
    meter = meter_of(kind, 100, 60 * SECOND, 100)
    moments = [60 * SECOND - 1] * 100 + [60 * SECOND + step * SECOND // 100 for step in range(12_000)]
    served = saturate(meter, moments)
    assert (len(served), most_in_any_window(served, 60 * SECOND)) == (passed, most)


def test_half_the_burst_at_half_the_rate_is_a_smooth_limit_that_never_lets_more_through():
    meter = Smooth(50, 60 * SECOND, burst=50)
    served = saturate(meter, [step * SECOND // 100 for step in range(12_000)])
    assert most_in_any_window(served, 60 * SECOND) <= 100


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 50), st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9))))
def test_the_log_drops_what_left_it_and_stays_right(limit, period, steps):
    """Long enough streams that stamps are dropped by the lot."""
    assume(steps)
    meter, state, now, passed = Exact(limit, period), None, 0, []
    for gap, cost in steps * 20:
        now += gap
        right = fits("exact", limit, period, limit, passed, now, cost)
        state, allowed, *_ = meter.ask(state, now, cost)
        assert allowed == right
        if allowed:
            passed = [*[one for one in passed if one[0] > now - period], (now, cost)]
    assert state is None or len(state) <= 1 + limit + 8 + limit
