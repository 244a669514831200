"""One quota, asked for one key at a time."""

from functools import lru_cache

from workbench.resilience.decision import Decision
from workbench.resilience.quota import Algorithm, Quota, quota_of
from workbench.resilience.stores.memory import MemoryStore
from workbench.resilience.stores.store import AsyncStore, Charge, Store, awaited, check_fits, unawaited

__all__ = ["AsyncRateLimiter", "RateLimiter"]


class RateLimiter:
    """Lets at most what ``quota`` says pass, for each key on its own.

    ``quota``: a ``Quota``, or words such as ``100/minute``. ``store``: where the counts are kept; limiters with the
    same quota and store share them. Unless given, a ``MemoryStore`` of its own.
    Raises ``InputError`` for words that are no rate, a store that must be awaited, and a quota too large for it.

    >>> from workbench.clock import VirtualClock
    >>> clock = VirtualClock()
    >>> limiter = RateLimiter("2/minute", store=MemoryStore(clock=clock))
    >>> [limiter.hit("u:42").allowed for _ in range(3)]
    [True, True, False]
    >>> limiter.hit("u:42")
    <Decision refused by 2/60s: 0 of 2 left, retry after 60.0 s>
    >>> clock.advance_ns(60_000_000_000)
    >>> limiter.hit("u:42").allowed
    True
    """

    def __init__(self, quota: Quota | str, *, store: Store | None = None) -> None:
        self.quota = quota_of(quota)
        self.store: Store = MemoryStore() if store is None else unawaited(store)
        check_fits(self.store, self.quota)
        if isinstance(self.store, MemoryStore):
            # The method below says the same in four calls more, which take as long as the decision does.
            self.hit = self.store.table(self.quota).hit  # type: ignore[method-assign]

    def hit(self, key: str, cost: int = 1) -> Decision:
        """Charge ``cost`` units to ``key`` if they fit. A refusal costs nothing; a cost of 0 asks only."""
        return self.store.hit((Charge(self.quota, key, cost),))[0]

    def peek(self, key: str, cost: int = 1) -> Decision:
        """What ``hit`` would say, without charging; ``remaining`` is what is left before it."""
        return self.store.peek((Charge(self.quota, key, cost),))[0]

    def reset(self, key: str) -> None:
        """Forget what was counted for ``key``."""
        self.store.reset((Charge(self.quota, key),))

    def is_allowed(
        self, key: str, limit: int | None = None, window: float | None = None
    ) -> tuple[bool, dict[str, int | float | None]]:
        """The older shape: ``(allowed, {limit, remaining, retry_after, reset_after})``, times in seconds.

        ``limit`` and ``window`` (seconds) stand for the limiter's own where they are given; ``retry_after`` is
        ``None`` if no waiting helps.

        >>> RateLimiter("100/minute").is_allowed("user:123", limit=1, window=60)[0]
        True
        """
        quota = self.quota
        if limit is not None or window is not None:
            quota = _other(
                quota.algorithm,
                quota.limit if limit is None else limit,
                quota.per if window is None else window,
            )
        decision = self.store.hit((Charge(quota, key),))[0]
        told = {
            "limit": decision.limit,
            "remaining": decision.remaining,
            "retry_after": decision.retry_after,
            "reset_after": decision.reset_after,
        }
        return decision.allowed, told


class AsyncRateLimiter:
    """``RateLimiter`` for coroutines: the same, awaited.

    ``store``: an ``AsyncStore``, or a store that answers without waiting for anything, such as ``MemoryStore``.

    >>> import asyncio
    >>> limiter = AsyncRateLimiter("2/minute", store=MemoryStore())
    >>> asyncio.run(limiter.hit("u:42", cost=2)).remaining
    0
    """

    def __init__(self, quota: Quota | str, *, store: AsyncStore | Store) -> None:
        self.quota = quota_of(quota)
        self.store = store
        self._store = awaited(store)
        check_fits(store, self.quota)

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Charge ``cost`` units to ``key`` if they fit. A refusal costs nothing; a cost of 0 asks only."""
        return (await self._store.hit((Charge(self.quota, key, cost),)))[0]

    async def peek(self, key: str, cost: int = 1) -> Decision:
        """What ``hit`` would say, without charging; ``remaining`` is what is left before it."""
        return (await self._store.peek((Charge(self.quota, key, cost),)))[0]

    async def reset(self, key: str) -> None:
        """Forget what was counted for ``key``."""
        await self._store.reset((Charge(self.quota, key),))


@lru_cache(maxsize=128)
def _other(algorithm: Algorithm, limit: int, window: float) -> Quota:
    return Quota(limit=limit, per=window, algorithm=algorithm)
