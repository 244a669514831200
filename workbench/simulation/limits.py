"""Limits in a scenario: quotas as data, and the production limiters that decide, on one node or several."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

from workbench.clock import Clock
from workbench.resilience.decision import Decision
from workbench.resilience.limiter import RateLimiter
from workbench.resilience.quota import Algorithm, Quota
from workbench.resilience.stores.degraded import Fail, Fallback
from workbench.resilience.stores.memory import MemoryStore
from workbench.resilience.stores.store import Charge
from workbench.simulation.faults import Condition, Faults, NodeClock
from workbench.simulation.values import Bound, Count, Described, Name

__all__ = ["Gateway", "LimitSpec"]


@dataclass(frozen=True)
class LimitSpec(Described):
    """A quota before the server, for each key, each group, or all requests together (``by``).

    ``quota``: words such as ``100/minute``; ``algorithm``, ``burst`` and ``stagger`` as of ``Quota``. ``nodes``: how
    many gateways there are; a request goes to any of them by chance. ``shared``: they count in one store, or else each
    on its own. ``clock``: what time counts: ``monotonic`` is that of the store, or of each node if they do not share
    one, which no step of a wall clock moves; ``wall`` is the wall clock of the node that asks. ``fail``: what is
    decided while a shared store cannot be asked. ``max_keys`` and ``when_full``: of ``MemoryStore``.
    """

    quota: Name
    by: Literal["key", "group", "all"] = "key"
    _: KW_ONLY
    algorithm: Algorithm | None = None
    burst: Count | None = None
    stagger: bool = False
    nodes: Annotated[int, Bound(least=1, most=1_000)] = 1
    shared: bool = True
    clock: Literal["monotonic", "wall"] = "monotonic"
    fail: Fail = "open"
    max_keys: Count = 1_000_000
    when_full: Literal["deny", "shared", "evict"] = "deny"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rule()

    def rule(self) -> Quota:
        """The quota. Raises ``InputError`` for words that are none, or options that do not go together."""
        return Quota.parse(self.quota, algorithm=self.algorithm, burst=self.burst, stagger=self.stagger)


class Gateway:
    """The limits of a scenario at work. A request passes all of them and is charged to all, or to none.

    ``condition``: what holds now; to be set when that changes.
    """

    def __init__(self, limits: Sequence[LimitSpec], clock: Clock, faults: Faults) -> None:
        self.condition = Condition()
        self._limits = [_Limit(limit, clock, faults) for limit in limits]
        self._named = [limit.by for limit in limits]

    def admits(self, key: int, group: str, cost: int, node: int) -> bool:
        """Whether a request passes."""
        down = self.condition.store_down
        names = [str(key) if by == "key" else group if by == "group" else "all" for by in self._named]
        if len(names) == 1:
            return self._limits[0].ask(names[0], cost, node, down, charge=True).allowed
        asked = list(zip(self._limits, names, strict=True))
        if not all(limit.ask(name, cost, node, down, charge=False).allowed for limit, name in asked):
            return False
        for limit, name in asked:
            limit.ask(name, cost, node, down, charge=True)
        return True


class _Limit:
    """One limit on all its nodes."""

    def __init__(self, limit: LimitSpec, clock: Clock, faults: Faults) -> None:
        self._quota = limit.rule()
        self._nodes = limit.nodes
        wall = limit.clock == "wall"
        clocks = [NodeClock(clock, faults, node=node, nodes=limit.nodes, wall=wall) for node in range(limit.nodes)]
        self._asking = _Asking(clocks)
        stores = [self._asking if wall else clock] if limit.shared else clocks
        self._limiters = [
            RateLimiter(self._quota, store=MemoryStore(clock=one, max_keys=limit.max_keys, when_full=limit.when_full))
            for one in stores
        ]
        self._fallbacks = (
            [Fallback(limit.fail, instances=limit.nodes, clock=one) for one in clocks] if limit.shared else []
        )

    def ask(self, key: str, cost: int, node: int, down: bool, *, charge: bool) -> Decision:
        node %= self._nodes
        if down and self._fallbacks:
            return self._fallbacks[node].decide([Charge(self._quota, key, cost)], consume=charge, wait_ns=0)[0]
        self._asking.node = node
        limiter = self._limiters[node % len(self._limiters)]
        decide: Callable[[str, int], Decision] = limiter.hit if charge else limiter.peek
        return decide(key, cost)


class _Asking:
    """A shared store's clock if it goes by the time of whoever asks."""

    def __init__(self, clocks: Sequence[Clock]) -> None:
        self._clocks = clocks
        self.node = 0

    def time_ns(self) -> int:
        return self._clocks[self.node].time_ns()

    def monotonic_ns(self) -> int:
        return self._clocks[self.node].monotonic_ns()

    def sleep_ns(self, duration_ns: int) -> None:
        self._clocks[self.node].sleep_ns(duration_ns)
