"""What Prometheus is told."""

import re
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.resilience import Breakers, Charge, MemoryStore, Quota
from workbench.resilience.metrics import Metrics
from workbench.resilience.middleware import Limits, Request, Rule


class Plain(Request):
    address = "192.0.2.7"


def scraped(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """What a Prometheus reads, by metric and by the values of its labels in the order of their names."""
    registry = CollectorRegistry()
    registry.register(metrics)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        family.name: {tuple(each.labels[name] for name in sorted(each.labels)): each.value for each in family.samples}
        for family in families
    }


def test_decisions_are_told_by_quota_and_outcome():
    limits = Limits([Rule("/users/{id}", ["2/minute", "9/hour"])], store=MemoryStore())
    for number in range(3):
        limits.judge(Plain("GET", f"/users/{number}", None))
    told = scraped(Metrics(limits={"api": limits}))
    # The labels: limits, outcome, quota, rule.
    assert told["workbench_limiter_decisions"] == {
        ("api", "allowed", "2/60s", "/users/{id}"): 2,
        ("api", "refused", "2/60s", "/users/{id}"): 1,
        ("api", "allowed", "9/3600s", "/users/{id}"): 2,
        ("api", "refused", "9/3600s", "/users/{id}"): 0,
    }
    assert told["workbench_limiter_degraded_decisions"] == {
        ("api", "2/60s", "/users/{id}"): 0, ("api", "9/3600s", "/users/{id}"): 0
    }  # fmt: skip


def test_what_shadow_would_have_refused_is_told_apart():
    limits = Limits([Rule("/", "1/minute")], store=MemoryStore(), shadow=True)
    for _ in range(3):
        limits.judge(Plain("GET", "/", None))
    told = scraped(Metrics(limits={"api": limits}))["workbench_limiter_decisions"]
    assert told == {("api", "allowed", "1/60s", "/"): 1, ("api", "shadow_refused", "1/60s", "/"): 2}


def test_a_store_tells_its_keys_and_what_happened_in_it():
    store = MemoryStore(max_keys=2, when_full="evict")
    for key in "abc":
        store.hit([Charge(Quota.parse("5/minute"), key)])
    told = scraped(Metrics(stores={"local": store}))
    assert told["workbench_limiter_store_keys"] == {("local",): 2}
    assert told["workbench_limiter_store_events"] == {
        ("denied_full", "local"): 0, ("evicted", "local"): 1, ("shared", "local"): 0, ("swept", "local"): 0
    }  # fmt: skip


def test_a_breaker_tells_its_state_its_calls_and_when_it_may_be_asked():
    clock = VirtualClock()
    breakers = Breakers(clock=clock)
    breaker = breakers.get("db", failure_threshold=2, timeout=30)
    breaker.call(int)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            breaker.call(lambda: 1 / 0)
    with pytest.raises(Exception, match="is open"):
        breaker.call(int)
    clock.advance_ns(10**9)
    told = scraped(Metrics(breakers=breakers))
    state = told["workbench_breaker_state"]
    assert {labels for labels, value in state.items() if value} == {("db", "open")}
    assert ("db", "closed") in state
    assert told["workbench_breaker_calls"] == {
        ("db", "succeeded"): 1, ("db", "failed"): 2, ("db", "ignored"): 0, ("db", "late"): 0, ("db", "rejected"): 1
    }  # fmt: skip
    assert told["workbench_breaker_consecutive_failures"] == {("db",): 2}
    assert told["workbench_breaker_retry_after_seconds"] == {("db",): 29}


def test_no_key_is_ever_a_label_and_series_do_not_grow_with_clients():
    class Numbered(Plain):
        @property
        def address(self):
            return self.raw

    store = MemoryStore()
    limits = Limits([Rule("/users/{id}", "2/minute")], store=store)
    metrics = Metrics(limits={"api": limits}, stores={"local": store}, breakers=Breakers())
    registry = CollectorRegistry()
    registry.register(metrics)
    sizes = []
    for number in range(1, 200):
        limits.judge(Numbered("GET", f"/users/{number}", f"192.0.2.{number}"))
        if number in (1, 199):
            text = generate_latest(registry).decode()
            sizes.append(len(text.splitlines()))
            assert "192.0.2." not in text
    assert sizes[0] == sizes[1]


def test_names_follow_prometheus():
    store = MemoryStore()
    breakers = Breakers()
    breakers.get("db")
    limits = {"api": Limits([Rule("/", "1/minute")], store=store)}
    families = list(Metrics(limits=limits, stores={"local": store}, breakers=breakers).collect())
    assert [each.name for each in families if not re.fullmatch(r"workbench_(limiter|breaker)_[a-z_]+", each.name)] == []
    assert [each.name for each in families if not each.documentation.endswith((".", ";"))] == []
    assert {each.type for each in families} == {"counter", "gauge"}


def test_what_is_not_given_is_not_told():
    assert list(Metrics().collect()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limits": {"api": MemoryStore()}}, "'api' is to be the Limits of a middleware, not MemoryStore"),
        ({"stores": {"local": object()}}, "'local' is to be a store with counts, not object"),
        ({"breakers": object()}, "breakers is to be a Breakers, not object"),
    ],
)
def test_what_has_no_counts_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Metrics(**options)


def test_without_the_extra_it_says_what_to_install():
    script = """
import sys
sys.modules["prometheus_client"] = None
from workbench.errors import InputError
try:
    import workbench.resilience.metrics
except InputError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "metrics need the extra 'metrics': pip install 'workbench-evidence[metrics]'"
