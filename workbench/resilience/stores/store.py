"""What a store must do for a limiter: charge several quotas at once or none, and say what it did."""

import inspect
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from workbench.errors import InputError
from workbench.resilience.decision import Decision
from workbench.resilience.quota import Quota

__all__ = [
    "AsyncStore",
    "Charge",
    "Store",
    "awaited",
    "check_cost",
    "check_fits",
    "check_key",
    "checked",
    "must_be_awaited",
    "unawaited",
]


class Charge(NamedTuple):
    """``cost`` units of ``quota`` for ``key``: whom or what the units are counted for."""

    quota: Quota
    key: str
    cost: int = 1


class Store(Protocol):
    """Keeps the state of every key of every quota. Limiters with the same quota and store share their counts.

    Decisions come back one per charge and in their order. Each says what its own quota said: ``allowed`` is whether
    that quota had room. Only if all had is anything charged; ``remaining`` is what is left after that.
    """

    def hit(self, charges: Sequence[Charge]) -> list[Decision]:
        """Charge all, or none if one refuses."""
        ...

    def peek(self, charges: Sequence[Charge]) -> list[Decision]:
        """What ``hit`` would say; nothing is charged, and ``remaining`` is what is left before it."""
        ...

    def reset(self, charges: Sequence[Charge]) -> None:
        """Forget what was counted for these keys; the costs do not matter."""
        ...


class AsyncStore(Protocol):
    """A ``Store`` that is awaited."""

    async def hit(self, charges: Sequence[Charge]) -> list[Decision]: ...
    async def peek(self, charges: Sequence[Charge]) -> list[Decision]: ...
    async def reset(self, charges: Sequence[Charge]) -> None: ...


class _Awaited:
    """A store that answers at once, for callers that await."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def hit(self, charges: Sequence[Charge]) -> list[Decision]:
        return self._store.hit(charges)

    async def peek(self, charges: Sequence[Charge]) -> list[Decision]:
        return self._store.peek(charges)

    async def reset(self, charges: Sequence[Charge]) -> None:
        self._store.reset(charges)


def awaited(store: AsyncStore | Store) -> AsyncStore:
    """``store`` as one to be awaited. One that is not for that must not wait for anything: it would stop the loop."""
    return store if must_be_awaited(store) else _Awaited(store)  # type: ignore[return-value, arg-type]


def check_cost(quota: Quota, cost: int) -> None:
    """Raise ``InputError`` for a cost that is none."""
    if type(cost) is not int or cost < 0:
        raise InputError(f"quota {quota.name!r}: a cost is a whole number of at least 0, not {cost!r}")


def check_key(quota: Quota, key: str) -> None:
    """Raise ``InputError`` for a key that is no text: ``None``, say, where nobody is signed in."""
    if not isinstance(key, str):
        raise InputError(f"quota {quota.name!r}: a key is a text, not {type(key).__name__}")


def check_fits(store: AsyncStore | Store, quota: Quota) -> None:
    """Raise ``InputError`` if ``store`` cannot count ``quota`` exactly, while it is not yet needed.

    A store that has such a bound says so in a method ``fits(quota)``.
    """
    fits = getattr(store, "fits", None)
    if fits is not None:
        fits(quota)


def checked(charges: Sequence[Charge]) -> Sequence[Charge]:
    """``charges`` as they are.

    Raises ``InputError`` for a cost or a key that is none, and for a quota's key named twice.
    """
    for quota, key, cost in charges:
        check_cost(quota, cost)
        check_key(quota, key)
    if len(charges) > 1 and len({(quota.digest, key) for quota, key, _ in charges}) < len(charges):
        names = ", ".join(quota.name for quota, _, _ in charges)
        raise InputError(f"the same quota and key stand twice in one request ({names}); give one charge with the sum")
    return charges


def must_be_awaited(store: AsyncStore | Store) -> bool:
    """Whether ``store`` is an ``AsyncStore``. Raises ``InputError`` for what is no store."""
    hit = getattr(store, "hit", None)
    if not callable(hit) or isinstance(store, type):  # an address is not shown: it may hold a password
        kind = store.__name__ if isinstance(store, type) else type(store).__name__
        raise InputError(f"a store is an object such as MemoryStore() or RedisStore(...), not {kind}")
    return inspect.iscoroutinefunction(hit)


def unawaited(store: AsyncStore | Store) -> Store:
    """``store``. Raises ``InputError`` for one that must be awaited."""
    if must_be_awaited(store):
        raise InputError(f"{type(store).__name__} must be awaited; use it with an async limiter or an async function")
    return store  # type: ignore[return-value]
