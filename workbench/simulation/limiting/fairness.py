"""One limit for all, one for each, and both together; and what a fair share would have been."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from workbench.clock import VirtualClock
from workbench.resilience.composite import CompositeLimiter
from workbench.resilience.limiter import RateLimiter
from workbench.resilience.quota import Quota
from workbench.resilience.stores.memory import MemoryStore
from workbench.simulation.limiting.admitted import Bools, Ints, decided_by

__all__ = ["decided_together", "max_min"]


def decided_together(quotas: Mapping[Quota, bool], t: Ints, key: Ints) -> Bools:
    """What the production composite limiter says to requests at ``t``, ns, sorted, by ``key``, both of shape (n,).

    ``quotas``: each, with whether it counts every key on its own. A request passes if it fits into all of them.

    >>> quotas = {Quota("own", limit=1, per=60): True, Quota("all", limit=2, per=60): False}
    >>> decided_together(quotas, np.arange(4), np.array([0, 0, 1, 2])).tolist()
    [True, False, True, False]
    """
    clock = VirtualClock()
    store = MemoryStore(clock=clock)
    limiter = CompositeLimiter([RateLimiter(quota, store=store) for quota in quotas])
    own = [quota.name for quota, apart in quotas.items() if apart]

    def hit(t_ns: int, name: str) -> bool:
        clock.advance_ns(t_ns - clock.monotonic_ns())
        return limiter.hit(dict.fromkeys(own, name)).allowed

    return decided_by(hit, t, key)


def max_min(wanted: npt.NDArray[np.float64], capacity: float) -> npt.NDArray[np.float64]:
    """The max-min fair share of ``capacity`` for each of those who want so much, shape (n,).

    Nobody gets more than he wants, and nobody could get more without taking it from one who has no more than he
    (Bertsekas and Gallager, Data Networks, 2nd edition, section 6.5.2).

    >>> max_min(np.array([1.0, 2.0, 10.0, 10.0]), 11.0).tolist()
    [1.0, 2.0, 4.0, 4.0]
    """
    shares = np.zeros(len(wanted))
    left = capacity
    for place, one in enumerate(order := np.argsort(wanted, kind="stable")):
        shares[one] = min(float(wanted[one]), left / (len(order) - place))
        left -= shares[one]
    return shares
