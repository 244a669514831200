"""Limiters and breakers for Prometheus. Needs the extra ``metrics``.

No key is ever a label: there would be as many time series as clients. Labels are names that a developer gave.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from workbench.errors import InputError
from workbench.resilience.breaker import BreakerSnapshot, BreakerState
from workbench.resilience.middleware.limits import Limits

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
except ImportError as error:  # pragma: no cover - the extra is part of every development install
    raise InputError("metrics need the extra 'metrics': pip install 'workbench-evidence[metrics]'") from error

__all__ = ["Metrics"]

_OUTCOMES: Final = ("succeeded", "failed", "ignored", "late", "rejected")


class _Counting(Protocol):
    @property
    def counts(self) -> dict[str, int]: ...


class _Breakers(Protocol):
    def snapshot(self) -> list[BreakerSnapshot]: ...


class Metrics:
    """A collector: it reads counts when it is asked, and costs nothing in between. Register it once, where it is to be.

    ``limits``: those of middlewares, by a name for each. ``stores``: by a name for each. ``breakers``: a ``Breakers``.
    Raises ``InputError`` for others.

    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> from workbench.resilience import MemoryStore
    >>> registry = CollectorRegistry()
    >>> registry.register(Metrics(stores={"local": MemoryStore()}))
    >>> print(generate_latest(registry).decode().splitlines()[-1])
    workbench_limiter_store_events_total{event="evicted",store="local"} 0.0
    """

    def __init__(
        self,
        *,
        limits: Mapping[str, Limits] | None = None,
        stores: Mapping[str, _Counting] | None = None,
        breakers: _Breakers | None = None,
    ) -> None:
        self._limits = dict(limits or {})
        self._stores = dict(stores or {})
        self._breakers = breakers
        for name, given in self._limits.items():
            if not isinstance(given, Limits):
                raise InputError(f"metrics: {name!r} is to be the Limits of a middleware, not {type(given).__name__}")
        for name, store in self._stores.items():
            if not isinstance(getattr(store, "counts", None), dict):
                raise InputError(f"metrics: {name!r} is to be a store with counts, not {type(store).__name__}")
        if breakers is not None and not hasattr(breakers, "snapshot"):
            raise InputError(f"metrics: breakers is to be a Breakers, not {type(breakers).__name__}")

    def collect(self) -> Iterator[Metric]:
        """All metrics at this moment, as ``prometheus_client`` asks for them."""
        if self._limits:
            yield from self._of_limits()
        if self._stores:
            yield from self._of_stores()
        if self._breakers is not None:
            yield from self._of_breakers(self._breakers.snapshot())

    def _of_limits(self) -> Iterator[Metric]:
        rows = [(name, row) for name, limits in sorted(self._limits.items()) for row in limits.snapshot()]
        names = ["limits", "rule", "quota"]
        decisions = CounterMetricFamily(
            "workbench_limiter_decisions",
            "Decisions of each quota; what a quota in shadow refuses is let through.",
            labels=[*names, "outcome"],
        )
        degraded = CounterMetricFamily(
            "workbench_limiter_degraded_decisions", "Decisions made without the store.", labels=names
        )
        for name, row in rows:
            labels = [name, row["rule"], row["quota"]]
            decisions.add_metric([*labels, "allowed"], row["allowed"])
            decisions.add_metric([*labels, "shadow_refused" if row["shadow"] else "refused"], row["refused"])
            degraded.add_metric(labels, row["degraded"])
        yield from (decisions, degraded)

    def _of_stores(self) -> Iterator[Metric]:
        keys = GaugeMetricFamily("workbench_limiter_store_keys", "Keys that a store holds.", labels=["store"])
        events = CounterMetricFamily(
            "workbench_limiter_store_events", "What happened in a store.", labels=["store", "event"]
        )
        for name, store in sorted(self._stores.items()):
            for event, count in store.counts.items():
                if event == "keys":
                    keys.add_metric([name], count)
                else:
                    events.add_metric([name, event], count)
        yield from (keys, events)

    def _of_breakers(self, rows: list[BreakerSnapshot]) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "workbench_breaker_state", "1 for the state that a breaker is in.", labels=["breaker", "state"]
        )
        calls = CounterMetricFamily(
            "workbench_breaker_calls", "Calls by what they came to.", labels=["breaker", "outcome"]
        )
        failures = GaugeMetricFamily("workbench_breaker_consecutive_failures", "Failures in a row.", labels=["breaker"])
        wait = GaugeMetricFamily(
            "workbench_breaker_retry_after_seconds", "Time until a call may pass; 0 if one may now.", labels=["breaker"]
        )
        for row in rows:
            name = row["name"]
            for each in BreakerState:
                state.add_metric([name, each.value], row["state"] == each.value)
            came_to: Mapping[str, Any] = row
            for outcome in _OUTCOMES:
                calls.add_metric([name, outcome], came_to[f"calls_{outcome}"])
            failures.add_metric([name], row["failures"])
            wait.add_metric([name], row["retry_after"])
        yield from (state, calls, failures, wait)
