"""Where limiters keep their counts: in this process, or in a Redis that several share.

A store knows how to keep, share and forget states; how to count is the business of ``algorithms``. The stores that need
Redis are fetched on first use, so that all else works without it.
"""

from typing import TYPE_CHECKING, Any

from workbench.resilience.stores.memory import MemoryStore
from workbench.resilience.stores.store import AsyncStore, Charge, Store

if TYPE_CHECKING:
    from workbench.resilience.stores.redis import AsyncRedisStore, RedisStore

__all__ = ["AsyncRedisStore", "AsyncStore", "Charge", "MemoryStore", "RedisStore", "Store"]


def __getattr__(name: str) -> Any:
    if name in {"AsyncRedisStore", "RedisStore"}:
        from workbench.resilience.stores import redis

        return getattr(redis, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
