"""What is decided while the shared store cannot be asked: let through, refuse, or count in this process alone."""

import logging
from collections.abc import Sequence
from typing import Final, Literal, get_args

from workbench.clock import Clock, SystemClock
from workbench.errors import InputError
from workbench.resilience.decision import NEVER, Decision
from workbench.resilience.quota import Quota
from workbench.resilience.stores.memory import MemoryStore
from workbench.resilience.stores.store import Charge
from workbench.resilience.tally import Tally

__all__ = ["Fail", "Fallback"]

Fail = Literal["open", "closed", "local"]
"""What is decided without the store: everything passes, nothing passes, or each process counts its own share."""

_LOGGER: Final = logging.getLogger(__name__)
_QUIET_NS: Final = 60_000_000_000  # one line in the log a minute, however many requests are decided so


class Fallback:
    """Decides in place of a store, marks what it decides (``Decision.degraded``) and counts it.

    ``fail``: ``open``, ``closed`` or ``local``. ``instances``: of ``local``, how many processes share the limits: each
    takes a part of limit and burst, at least 1. So all together let through what the quota says, or one per process.
    Raises ``InputError`` for others.

    >>> fallback = Fallback("local", instances=4)
    >>> fallback.decide([Charge(Quota.parse("10/minute"), "u:42")], consume=True, wait_ns=0)
    [<Decision allowed by 10/60s: 1 of 2 left, retry after 0.0 s>]
    """

    __slots__ = ("_instances", "_monotonic_ns", "_parts", "_store", "_tally", "_told_ns", "fail")

    def __init__(self, fail: Fail, *, instances: int = 1, clock: Clock | None = None) -> None:
        if fail not in get_args(Fail):
            raise InputError(f"fail, what holds while the store is away, is one of open, closed or local, not {fail!r}")
        if type(instances) is not int or instances < 1:
            raise InputError(f"instances is a whole number of at least 1, not {instances!r}")
        self.fail = fail
        self._instances = instances
        self._parts: dict[str, Quota] = {}
        self._store = MemoryStore(clock=clock)
        self._tally = Tally()
        self._monotonic_ns = (SystemClock() if clock is None else clock).monotonic_ns
        self._told_ns: int | None = None

    @property
    def decided(self) -> int:
        """How many requests were decided here so far."""
        return self._tally.read()

    def decide(self, charges: Sequence[Charge], *, consume: bool, wait_ns: int, why: object = "") -> list[Decision]:
        """The decisions on ``charges``. ``wait_ns``: when the store may be asked again. ``why``: for the log."""
        next(self._tally.ticks)
        now = self._monotonic_ns()
        if self._told_ns is None or now - self._told_ns >= _QUIET_NS:
            self._told_ns = now
            _LOGGER.warning("the store cannot be asked (%s); limits fail %s", why, self.fail)
        if self.fail == "local":
            return self._local(charges, consume=consume)
        return [self._fixed(quota, cost, wait_ns) for quota, _, cost in charges]

    def _fixed(self, quota: Quota, cost: int, wait_ns: int) -> Decision:
        if self.fail == "open" and cost <= quota.capacity:
            return Decision(True, quota.name, quota.capacity, quota.capacity, 0, 0, 0, degraded="open")
        # What never fits is refused under every policy: for that nobody needs to be asked.
        never = cost > quota.capacity
        return Decision(
            False,
            quota.name,
            quota.capacity,
            quota.capacity if self.fail == "open" else 0,
            NEVER if never else wait_ns,
            0 if self.fail == "open" else wait_ns,
            0 if self.fail == "open" else wait_ns,
            refused=(quota.name,),
            degraded=self.fail,
        )

    def _local(self, charges: Sequence[Charge], *, consume: bool) -> list[Decision]:
        parts = [Charge(self._part(quota), key, cost) for quota, key, cost in charges]
        decisions = self._store.hit(parts) if consume else self._store.peek(parts)
        for decision, (quota, _, cost) in zip(decisions, charges, strict=True):
            decision.degraded = "local"
            if decision.retry_after_ns == NEVER and cost <= quota.capacity:
                # More than this process's part, but not more than the quota: it passes once the store is back.
                decision.retry_after_ns = quota.period_ns
        return decisions

    def _part(self, quota: Quota) -> Quota:
        found = self._parts.get(quota.digest)
        if found is None:
            found = self._parts[quota.digest] = Quota(
                quota.name,
                limit=max(1, quota.limit // self._instances),
                per=quota.per,
                algorithm=quota.algorithm,
                burst=max(1, quota.burst // self._instances) if quota.algorithm == "smooth" else None,
                stagger=quota.stagger,
            )
        return found
