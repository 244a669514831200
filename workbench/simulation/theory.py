"""Closed forms, to hold simulations to: queues, a breaker's false openings, and the most a limiter lets through."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.resilience.quota import Quota

__all__ = ["Queue", "calls_to_false_open", "lindley", "mm1", "mmc", "most_admitted"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue in equilibrium. ``load``: the share of time a worker is busy, below 1. ``waits``: the probability that a
    request waits. ``wait`` and ``stay``: mean seconds before its service, and with it. ``waiting`` and ``present``:
    mean number of requests before their service, and with those in it.
    """

    load: float
    waits: float
    wait: float
    stay: float
    waiting: float
    present: float


def mm1(rate: float, service_rate: float) -> Queue:
    """M/M/1: Poisson arrivals at ``rate``, exponential services at ``service_rate``, both per second, one worker.

    Mean wait ``load / (service_rate - rate)`` (Gross, Shortle, Thompson and Harris, Fundamentals of Queueing Theory,
    4th ed., 2.2). Raises ``InputError`` for rates that are not positive, or a queue that grows without end.

    >>> round(mm1(80, 100).wait, 6)
    0.04
    """
    return mmc(rate, service_rate, 1)


def mmc(rate: float, service_rate: float, workers: int) -> Queue:
    """M/M/c: ``workers`` of them, each at ``service_rate``, and one queue. The probability of waiting is Erlang's C.

    From Erlang's B by its recursion over the workers, ``B(n) = a B(n-1) / (n + a B(n-1))`` with offered load ``a``,
    then ``C = B / (1 - load (1 - B))`` (Cooper, Introduction to Queueing Theory, 2nd ed., ch. 3), which no number of
    workers makes overflow. Mean wait ``C / (workers service_rate - rate)``; the numbers by Little's law.
    Raises ``InputError`` as ``mm1`` does, and for fewer than one worker.

    >>> round(mmc(2, 1, 3).waits, 6)
    0.444444
    """
    if not (0 < rate < math.inf and 0 < service_rate < math.inf):
        raise InputError(f"rates are positive numbers a second, not {rate!r} and {service_rate!r}")
    if workers < 1:
        raise InputError(f"a queue has at least one worker, not {workers!r}")
    offered = rate / service_rate
    load = offered / workers
    if load >= 1:
        raise InputError(
            f"{rate:g} requests a second for {workers} x {service_rate:g}: the queue never settles; lower the rate"
        )
    blocked = 1.0
    for number in range(1, workers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    waits = blocked / (1 - load * (1 - blocked))
    wait = waits / (workers * service_rate - rate)
    stay = wait + 1 / service_rate
    return Queue(load, waits, wait, stay, rate * wait, rate * stay)


def lindley(t: npt.ArrayLike, service: npt.ArrayLike) -> Ints:
    """How long each request waits for the one worker, first come first served, ns, shape (n,).

    ``t``: times of arrival, ns, sorted; ``service``: ns; whole numbers, both of shape (n,). Exact, for any arrivals and
    services: ``W(n+1) = max(0, W(n) + service(n) - gap(n))`` (Lindley, Proc. Camb. Phil. Soc. 48, 1952), solved as what
    the sum of these steps is above its least value so far, so that it takes no loop.
    Raises ``InputError`` for arrays of other shapes or kinds, times that go back, or negative services.

    >>> lindley([0, 10, 20], [15, 15, 15]).tolist()
    [0, 5, 10]
    """
    times, services = np.asarray(t), np.asarray(service)
    if times.ndim != 1 or times.shape != services.shape:
        raise InputError(f"times of shape {times.shape} and services of shape {services.shape}: expected (n,) for both")
    if not len(times):
        return np.zeros(0, dtype=np.int64)
    if times.dtype.kind not in "iu" or services.dtype.kind not in "iu":
        raise InputError(f"times and services are whole numbers of ns, not {times.dtype} and {services.dtype}")
    gaps = np.diff(times.astype(np.int64, copy=False))
    if int(gaps.min(initial=0)) < 0 or int(services.min()) < 0:
        raise InputError("times of arrival are sorted and services not negative; one is not")
    steps = np.zeros(len(times), dtype=np.int64)
    np.subtract(services[:-1], gaps, out=steps[1:], casting="unsafe")
    np.cumsum(steps, out=steps)
    return np.asarray(steps - np.minimum.accumulate(steps))


def calls_to_false_open(p: float, k: int) -> float:
    """Mean calls until ``k`` failures in a row, when each call fails with probability ``p`` on its own: how long a
    breaker with ``failure_threshold=k`` stays closed in front of a service that is merely imperfect.

    ``(1 - p**k) / (p**k (1 - p))`` (Feller, An Introduction to Probability Theory, vol. 1, 3rd ed., XIII.7), the
    ``k``-th failure included; infinite for ``p`` = 0. Raises ``InputError`` for no probability, or ``k`` below 1.

    >>> calls_to_false_open(0.5, 5), calls_to_false_open(1, 5)
    (62.0, 5.0)
    """
    if not 0 <= p <= 1:
        raise InputError(f"a probability is a number from 0 to 1, not {p!r}")
    if k < 1:
        raise InputError(f"a run has at least one failure, not {k!r}")
    # The sum of p**-n for n = 1..k is the same, and has no 0 / 0 at p = 1.
    return math.inf if p**k == 0 else math.fsum(p**-n for n in range(1, k + 1))


def most_admitted(quota: Quota) -> int:
    """The most units of one key that pass in any window ``(t - period, t]``, whatever comes, on a clock that never goes
    back. Some traffic attains it, if the period has more than ``2 * limit`` nanoseconds.

    ``exact``: ``limit``. ``fixed``: twice that, at the end of one window and the start of the next. ``approx``: one
    less than twice. ``smooth``: ``burst``, and one for each interval ``ceil(period / limit)`` that fits into the
    window, whose start is not of it.

    >>> [most_admitted(Quota(limit=100, per=60, algorithm=name)) for name in ("exact", "smooth", "approx", "fixed")]
    [100, 199, 199, 200]
    """
    if quota.algorithm == "exact":
        return quota.limit
    if quota.algorithm == "fixed":
        return 2 * quota.limit
    if quota.algorithm == "approx":
        return 2 * quota.limit - 1
    interval = -(-quota.period_ns // quota.limit)
    return quota.burst + (quota.period_ns - 1) // interval
