"""Several quotas on one request: all are charged, or none is."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from workbench.errors import InputError, nearest
from workbench.resilience.decision import Decision, combined
from workbench.resilience.limiter import AsyncRateLimiter, RateLimiter
from workbench.resilience.stores.store import Charge, awaited

__all__ = ["EVERYBODY", "AsyncCompositeLimiter", "CompositeLimiter"]

EVERYBODY: Final = "*"
"""The key of a quota for which a request names none: all requests are counted together."""

L = TypeVar("L", RateLimiter, AsyncRateLimiter)


class _Composite(Generic[L]):
    _kind: type[L]

    def __init__(self, limiters: Sequence[L]) -> None:
        if not limiters:
            raise InputError("a composite limiter needs at least one limiter")
        for limiter in limiters:
            if not isinstance(limiter, self._kind):
                raise InputError(
                    f"a {type(self).__name__} is made of {self._kind.__name__} objects, not of {type(limiter).__name__}"
                )
        self.quotas = tuple(limiter.quota for limiter in limiters)
        self._names = frozenset(quota.name for quota in self.quotas)
        if len(self._names) < len(self.quotas):
            names = ", ".join(quota.name for quota in self.quotas)
            raise InputError(f"the quotas of a composite limiter need different names, not {names}")
        self.store: Any = limiters[0].store
        if any(limiter.store is not self.store for limiter in limiters):
            raise InputError("the limiters of a composite share one store, or they could not be charged all or none")

    def charges(self, keys: Mapping[str, str], cost: int = 1) -> list[Charge]:
        """What a request with these keys is charged. Raises ``InputError`` for a key of a quota that is not there."""
        if not keys.keys() <= self._names:
            unknown = min(keys.keys() - self._names)
            raise InputError(f"no quota of this limiter is called {unknown!r}{nearest(unknown, self._names)}")
        return [Charge(quota, keys.get(quota.name, EVERYBODY), cost) for quota in self.quotas]


class CompositeLimiter(_Composite[RateLimiter]):
    """Charges all its quotas, or none if one of them refuses.

    ``limiters``: of one store, with quotas of different names. A request gives a key to each quota by its name; a quota
    to which it gives none counts all requests together, under the key ``EVERYBODY``.
    The decision is that of the quota that refuses for longest, and its ``refused`` names all that refused; if none did,
    that of the quota with the least left.
    Raises ``InputError`` for limiters that share no store or have the same name.

    >>> from workbench.resilience.quota import Quota
    >>> from workbench.resilience.stores import MemoryStore
    >>> store = MemoryStore()
    >>> rules = Quota("user", limit=2, per=60), Quota("all", limit=3, per=60)
    >>> limiter = CompositeLimiter([RateLimiter(rule, store=store) for rule in rules])
    >>> [limiter.hit({"user": user}).refused for user in ("ann", "ann", "ann", "bob", "bob")]
    [(), (), ('user',), (), ('all',)]
    """

    _kind = RateLimiter

    def hit(self, keys: Mapping[str, str], cost: int = 1) -> Decision:
        """Charge ``cost`` units to each quota if they fit everywhere."""
        return combined(self.store.hit(self.charges(keys, cost)))

    def peek(self, keys: Mapping[str, str], cost: int = 1) -> Decision:
        """What ``hit`` would say, without charging."""
        return combined(self.store.peek(self.charges(keys, cost)))

    def reset(self, keys: Mapping[str, str]) -> None:
        """Forget what was counted for the keys given; quotas without one keep theirs."""
        self.store.reset([charge for charge in self.charges(keys) if charge.quota.name in keys])


class AsyncCompositeLimiter(_Composite[AsyncRateLimiter]):
    """``CompositeLimiter`` for coroutines: the same, awaited."""

    _kind = AsyncRateLimiter

    def __init__(self, limiters: Sequence[AsyncRateLimiter]) -> None:
        super().__init__(limiters)
        self._store = awaited(self.store)

    async def hit(self, keys: Mapping[str, str], cost: int = 1) -> Decision:
        """Charge ``cost`` units to each quota if they fit everywhere."""
        return combined(await self._store.hit(self.charges(keys, cost)))

    async def peek(self, keys: Mapping[str, str], cost: int = 1) -> Decision:
        """What ``hit`` would say, without charging."""
        return combined(await self._store.peek(self.charges(keys, cost)))

    async def reset(self, keys: Mapping[str, str]) -> None:
        """Forget what was counted for the keys given; quotas without one keep theirs."""
        await self._store.reset([charge for charge in self.charges(keys) if charge.quota.name in keys])
