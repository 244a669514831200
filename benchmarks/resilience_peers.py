"""Limiters in memory: ours, and those of the libraries, each as one function of the key that says whether it passes.

The functions are as short as one would write them. limits counts a key by the parts of it, of which there is one here.
pyrate-limiter leaves it to its user to keep a bucket for each key: here in a dict, without the thread that would clean
them. throttled-py forgets all but the last 1,024 keys unless told otherwise; here it is told to keep them.
"""

from collections.abc import Callable

import limits
import pyrate_limiter
import throttled

from workbench.resilience import Algorithm, Quota, RateLimiter

__all__ = ["ALGORITHMS", "LIMIT", "Hit", "check", "in_memory"]

LIMIT = 100
"""Hits an hour. So long a time that none is over before the measurement is."""

Hit = Callable[[str], bool]

ALGORITHMS: dict[Algorithm, tuple[str, ...]] = {
    "smooth": ("throttled-py", "pyrate-limiter"),
    "approx": ("limits", "throttled-py"),
    "exact": ("limits", "pyrate-limiter"),
    "fixed": ("limits", "throttled-py"),
}
"""Who has which."""

_HOUR_MS = 3_600_000
_KEYS = 1_000_000


def in_memory(side: str, algorithm: Algorithm) -> Hit:
    """A new limiter."""
    made: Hit = {"ours": _ours, "limits": _limits, "throttled-py": _throttled, "pyrate-limiter": _pyrate}[side](
        algorithm
    )
    return made


def check(hit: Hit) -> None:
    """Raise unless it lets pass what it should."""
    passed = sum(hit("checked") for _ in range(LIMIT + 5))
    if passed != LIMIT:
        raise AssertionError(f"{passed} hits passed, not {LIMIT}")


def _ours(algorithm: Algorithm) -> Hit:
    hit = RateLimiter(Quota("benchmark", limit=LIMIT, per=3_600, algorithm=algorithm)).hit
    return lambda key: hit(key).allowed


def _limits(algorithm: Algorithm) -> Hit:
    kind = {
        "approx": limits.strategies.SlidingWindowCounterRateLimiter,
        "exact": limits.strategies.MovingWindowRateLimiter,
        "fixed": limits.strategies.FixedWindowRateLimiter,
    }[algorithm]
    hit, item = kind(limits.storage.MemoryStorage()).hit, limits.RateLimitItemPerHour(LIMIT)
    return lambda key: hit(item, key)


def _throttled(algorithm: Algorithm) -> Hit:
    using = {"smooth": "gcra", "approx": "sliding_window", "fixed": "fixed_window"}[algorithm]
    store = throttled.MemoryStore(options={"MAX_SIZE": _KEYS})
    limit = throttled.Throttled(using=using, quota=throttled.per_hour(LIMIT, burst=LIMIT), store=store).limit
    return lambda key: not limit(key).limited


class _Keyed(pyrate_limiter.BucketFactory):
    def __init__(self, make: Callable[[], pyrate_limiter.AbstractBucket]) -> None:
        self._make = make
        self._buckets: dict[str, pyrate_limiter.AbstractBucket] = {}
        self._clock = pyrate_limiter.MonotonicClock()

    def wrap_item(self, name: str, weight: int = 1) -> pyrate_limiter.RateItem:
        return pyrate_limiter.RateItem(name, self._clock.now(), weight=weight)

    def get(self, item: pyrate_limiter.RateItem) -> pyrate_limiter.AbstractBucket:
        bucket = self._buckets.get(item.name)
        if bucket is None:
            bucket = self._buckets[item.name] = self._make()
        return bucket


def _pyrate(algorithm: Algorithm) -> Hit:
    rates = [pyrate_limiter.Rate(LIMIT, _HOUR_MS)]
    bucket = pyrate_limiter.InMemoryBucket if algorithm == "exact" else pyrate_limiter.StateBucket
    acquire = pyrate_limiter.Limiter(_Keyed(lambda: bucket(rates))).try_acquire
    return lambda key: bool(acquire(key, blocking=False))
