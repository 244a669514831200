"""What becomes of a limiter when more keys come than it has room for."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from workbench.clock import VirtualClock
from workbench.resilience.algorithms import algorithm_of
from workbench.resilience.limiter import RateLimiter
from workbench.resilience.quota import Quota
from workbench.resilience.stores.memory import MemoryStore
from workbench.simulation.limiting.admitted import Bools, Ints, decided_by

__all__ = ["FullPolicy", "Kept", "LeastRecentlyUsed", "keeping"]

FullPolicy = Literal["unbounded", "lru", "evict", "shared", "deny"]

_BOUNDLESS = 1 << 30


class LeastRecentlyUsed:
    """Other libraries' way, for comparison: when ``max_keys`` are kept, the one not asked for longest is forgotten.

    The algorithm is the production one; only what is kept differs.

    >>> lru = LeastRecentlyUsed(Quota(limit=1, per=60), max_keys=1)
    >>> [lru.hit(0, "a"), lru.hit(1, "a"), lru.hit(2, "b"), lru.hit(3, "a")]
    [True, False, True, True]
    """

    def __init__(self, quota: Quota, *, max_keys: int) -> None:
        self._meter: Any = algorithm_of(quota)
        self._max_keys = max_keys
        self._states: OrderedDict[str, Any] = OrderedDict()

    @property
    def keys(self) -> int:
        """How many keys are kept."""
        return len(self._states)

    def hit(self, t_ns: int, key: str) -> bool:
        """Whether a request at ``t_ns`` passes; it is charged if so."""
        before = self._states.get(key)
        after = self._meter.charge(before, t_ns, 1)
        if before is None and after is not None and len(self._states) >= self._max_keys:
            self._states.popitem(last=False)
        if after is not None:
            self._states[key] = after
        if key in self._states:
            self._states.move_to_end(key)
        return after is not None


@dataclass(frozen=True, eq=False)
class Kept:
    """``allowed``: the answers, shape (n,). ``keys``: how many were kept after each ``EACH``-th request."""

    EACH: ClassVar[int] = 20

    allowed: Bools
    keys: list[int]

    @property
    def peak(self) -> int:
        """The most keys seen."""
        return max(self.keys)


def keeping(quota: Quota, t: Ints, key: Ints, *, policy: FullPolicy, max_keys: int) -> Kept:
    """Decide requests at ``t``, ns, sorted, by ``key``, both of shape (n,), with room for ``max_keys`` keys.

    ``policy``: what becomes of a new key when there is no room. ``deny``, ``shared`` and ``evict`` are the production
    store's; ``lru`` is ``LeastRecentlyUsed``; ``unbounded`` is the production store without the bound.

    >>> import numpy as np
    >>> kept = keeping(Quota(limit=1, per=60), np.arange(4), np.array([0, 1, 0, 1]), policy="deny", max_keys=1)
    >>> kept.allowed.tolist(), kept.peak
    ([True, False, False, False], 1)
    """
    seen: list[int] = []
    if policy == "lru":
        lru = LeastRecentlyUsed(quota, max_keys=max_keys)
        allowed = decided_by(_watched(lru.hit, lambda: lru.keys, seen), t, key)
        return Kept(allowed, seen)
    clock = VirtualClock()
    store = (
        MemoryStore(clock=clock, max_keys=_BOUNDLESS)
        if policy == "unbounded"
        else MemoryStore(clock=clock, max_keys=max_keys, when_full=policy)
    )
    limiter = RateLimiter(quota, store=store)

    def hit(t_ns: int, name: str) -> bool:
        clock.advance_ns(t_ns - clock.monotonic_ns())
        return limiter.hit(name).allowed

    return Kept(decided_by(_watched(hit, lambda: store.counts["keys"], seen), t, key), seen)


def _watched(hit: Any, keys: Any, seen: list[int]) -> Any:
    """``hit``, with the number of keys noted after the first call, and after each ``Kept.EACH`` more."""
    calls = 0

    def answer(t_ns: int, name: str) -> bool:
        nonlocal calls
        allowed: bool = hit(t_ns, name)
        if calls % Kept.EACH == 0:
            seen.append(keys())
        calls += 1
        return allowed

    return answer
