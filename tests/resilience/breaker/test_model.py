"""The breaker against a model of thirty plain lines, driven by hypothesis through whatever may happen."""

import contextlib

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from workbench.clock import VirtualClock
from workbench.errors import CircuitOpenError
from workbench.resilience.breaker import BreakerState, CircuitBreaker, Outcome

SECOND = 10**9
OUTCOMES = st.sampled_from(list(Outcome))
EDGES = {("closed", "open"), ("open", "half-open"), ("half-open", "closed"), ("half-open", "open")}


class Model:
    """What a breaker does, as plainly as it can be said. Times in seconds; a call is whatever the caller gives."""

    def __init__(self, threshold, timeout, successes, permits, probe_timeout):
        self.threshold, self.timeout, self.needed = threshold, timeout, successes
        self.permits, self.probe_timeout = permits, probe_timeout
        self.go("closed")

    def go(self, state, now=0):
        self.state, self.since, self.good, self.trials = state, now, 0, {}
        self.bad, self.calls = (0 if state == "closed" else self.bad), set()

    def admit(self, call, now):
        if self.state == "open" and now - self.since >= self.timeout:
            self.go("half-open", now)
        if self.state == "half-open":
            self.trials = {call: at for call, at in self.trials.items() if now - at < self.probe_timeout}
            if len(self.trials) >= self.permits:
                return False
            self.trials[call] = now
        if self.state in ("open", "forced-open"):
            return False
        self.calls.add(call)
        return True

    def end(self, call, outcome, now):
        if call not in self.calls or (
            self.state == "half-open" and now - self.trials.get(call, -99) >= self.probe_timeout
        ):
            return
        self.calls.discard(call)
        self.trials.pop(call, None)
        if outcome is Outcome.IGNORE or self.state == "disabled":
            return
        self.bad = self.bad + 1 if outcome is Outcome.FAILURE else 0
        self.good += outcome is Outcome.SUCCESS
        if self.bad and (self.state == "half-open" or self.bad >= self.threshold):
            self.go("open", now)
        elif self.state == "half-open" and self.good >= self.needed:
            self.go("closed")


class Comparison(RuleBasedStateMachine):
    @initialize(
        threshold=st.integers(1, 4), successes=st.integers(1, 3), permits=st.integers(1, 3), probe=st.integers(1, 12)
    )
    def begin(self, threshold, successes, permits, probe):
        self.clock = VirtualClock()
        self.changes = []
        self.breaker = CircuitBreaker(
            "db",
            failure_threshold=threshold,
            timeout=10,
            success_threshold=successes,
            permits=permits,
            probe_timeout=probe,
            clock=self.clock,
            listeners=[self.changes.append],
        )
        self.model = Model(threshold, 10, successes, permits, probe)
        self.tokens = []
        self.by_hand = 0

    def now(self):
        return self.clock.monotonic_ns() / SECOND

    @rule(seconds=st.sampled_from([0.5, 1, 1, 3, 9.5, 10, 12]))
    def wait(self, seconds):
        self.clock.advance_ns(int(seconds * SECOND))

    @rule(count=st.integers(1, 4))
    def several_ask(self, count):
        for _ in range(count):
            number = len(self.tokens)
            may = self.model.admit(number, self.now())
            try:
                self.tokens.append(self.breaker.acquire())
                assert may
            except CircuitOpenError as error:
                self.tokens.append(None)
                assert not may
                assert 0 < error.retry_after <= max(10, self.model.probe_timeout)

    @rule(choice=st.integers(0, 7), outcome=OUTCOMES)
    def one_of_the_last_comes_to_its_end(self, choice, outcome):
        """Also one that is over already, is lost, or is of an older generation."""
        number = len(self.tokens) - 1 - choice
        if number >= 0 and self.tokens[number] is not None:
            self.model.end(number, outcome, self.now())
            self.breaker.record(self.tokens[number], outcome)

    @rule(outcome=OUTCOMES)
    def a_whole_call(self, outcome):
        error = {Outcome.SUCCESS: None, Outcome.FAILURE: TimeoutError(), Outcome.IGNORE: KeyboardInterrupt()}[outcome]
        ran = []

        def call():
            ran.append(True)
            if error is not None:
                raise error

        number = len(self.tokens)
        self.tokens.append(None)
        may = self.model.admit(number, self.now())
        with contextlib.suppress(CircuitOpenError, TimeoutError, KeyboardInterrupt):
            self.breaker.call(call)
        assert bool(ran) is may
        if may:
            self.model.end(number, outcome, self.now())

    @rule(change=st.sampled_from(["trip", "force_open", "disable", "reset"]), really=st.integers(0, 3))
    def by_hand_sometimes(self, change, really):
        if really == 0:
            state = {"trip": "open", "force_open": "forced-open", "disable": "disabled", "reset": "closed"}[change]
            self.by_hand += 1
            getattr(self.breaker, change)()
            if change != "trip":
                self.model.bad = 0
            self.model.go(state, self.now())

    @rule()
    def it_moves_to_another_process(self):
        self.breaker.restore(self.breaker.save())

    @invariant()
    def both_agree(self):
        if not hasattr(self, "model"):
            return
        model, told = self.model, self.breaker.snapshot()
        elapsed = model.state == "open" and self.now() - model.since >= model.timeout
        assert told["state"] == ("half-open" if elapsed else model.state)
        assert told["failures"] == model.bad
        if model.state == "half-open":
            assert told["successes"] == model.good
        assert told["on_trial"] <= model.permits

    @invariant()
    def only_the_known_edges_are_taken(self):
        if hasattr(self, "model") and not self.by_hand:
            assert {(change.before.value, change.after.value) for change in self.changes} <= EDGES

    def teardown(self):
        """No wedge: after the longest wait somebody is let through, and enough successes close it."""
        if not hasattr(self, "model") or self.breaker.state is BreakerState.FORCED_OPEN:
            return
        self.clock.advance_ns(12 * SECOND)
        for _ in range(self.model.needed):
            self.breaker.record(self.breaker.acquire(), Outcome.SUCCESS)
        assert self.breaker.state in (BreakerState.CLOSED, BreakerState.DISABLED)


QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def test_the_breaker_does_what_the_model_does():
    run_state_machine_as_test(
        Comparison,
        settings=settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=QUIET),
    )


@pytest.mark.slow
def test_the_breaker_does_what_the_model_does_for_long():
    run_state_machine_as_test(
        Comparison,
        settings=settings(max_examples=600, stateful_step_count=60, deadline=None, suppress_health_check=QUIET),
    )
