"""How near the limiters with small states come to the log, and what each state weighs."""

import sys
from collections.abc import Mapping

from workbench.clock import VirtualClock
from workbench.resilience.limiter import RateLimiter
from workbench.resilience.quota import Quota
from workbench.resilience.stores.memory import MemoryStore
from workbench.simulation.limiting.admitted import Ints
from workbench.simulation.measures import max_in_window
from workbench.simulation.replay import decided

__all__ = ["against", "bytes_per_key"]

_LATE_NS = 1_000_000_000_000_000  # eleven days: a machine's clock is never near 0, where integers are small


def against(exact: Quota, others: Mapping[str, Quota], t: Ints, key: Ints) -> dict[str, dict[str, float]]:
    """What the ``others`` say to requests at ``t``, ns, sorted, by ``key``, both of shape (n,), beside ``exact``.

    By name: ``ratio`` of units let through to those of ``exact``, share of requests decided ``otherwise``, and the
    units let through in the ``busiest`` period of one key as a multiple of the limit.

    >>> import numpy as np
    >>> quotas = {"fixed": Quota(limit=1, per=1e-8, algorithm="fixed")}
    >>> against(Quota(limit=1, per=1e-8), quotas, np.array([9, 10]), np.array([0, 0]))
    {'fixed': {'ratio': 2.0, 'otherwise': 0.5, 'busiest': 2.0}}
    """
    right = decided(exact, t, key)
    told = {}
    for name, quota in others.items():
        allowed = decided(quota, t, key)
        told[name] = {
            "ratio": float(allowed.sum() / right.sum()),
            "otherwise": float((allowed != right).mean()),
            "busiest": max_in_window(t[allowed], quota.period_ns, key=key[allowed]) / quota.limit,
        }
    return told


def bytes_per_key(quota: Quota, *, keys: int = 2_000) -> float:
    """Bytes that the production memory store holds for a key that has used its whole limit, without the key's text.

    The state, and the key's part of the table. What Python's allocator rounds up to is not in it.

    >>> bytes_per_key(Quota(limit=100, per=60, algorithm="smooth")) < 100
    True
    """
    clock = VirtualClock(start_ns=_LATE_NS)
    store = MemoryStore(clock=clock, max_keys=keys)
    limiter = RateLimiter(quota, store=store)
    step = quota.period_ns // (2 * quota.capacity)
    for _ in range(quota.capacity):
        clock.advance_ns(step)
        for key in range(keys):
            limiter.hit(str(key))
    states = store.table(quota).states
    return (sys.getsizeof(states) + sum(map(sys.getsizeof, states.values()))) / len(states)
