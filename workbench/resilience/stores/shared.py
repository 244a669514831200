"""What the two stores in Redis have in common: the script, the breaker, what happens without Redis, and counts."""

import inspect
from collections.abc import Sequence
from typing import Any, Final

import redis
import redis.asyncio
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from workbench.clock import Clock
from workbench.errors import InputError, StoreUnavailableError
from workbench.resilience.breaker import CircuitBreaker, Outcome
from workbench.resilience.decision import Decision
from workbench.resilience.quota import Quota
from workbench.resilience.stores.degraded import Fail, Fallback
from workbench.resilience.stores.scripts import Command, DecisionScript
from workbench.resilience.stores.store import Charge
from workbench.resilience.tally import Tally

__all__ = ["UNREACHED", "SharedParts", "check_client", "from_url", "unavailable"]

UNREACHED: Final = (RedisError, RedisClusterException, OSError)
"""What a client raises when Redis does not answer, or answers with an error."""

_CLUSTERS: Final = (redis.RedisCluster, redis.asyncio.RedisCluster)
_CONNECTIONS: Final = 1_000  # a thread holds one for the time of a round trip
_SECOND_NS: Final = 1_000_000_000


class SharedParts:
    """The base of ``RedisStore`` and ``AsyncRedisStore``, which say what the options mean."""

    def __init__(
        self,
        client: object,
        *,
        fail: Fail,
        prefix: str,
        instances: int,
        breaker: CircuitBreaker | None,
        clock: Clock | None,
    ) -> None:
        self._script = DecisionScript(prefix, clustered=isinstance(client, _CLUSTERS))
        self._fallback = Fallback(fail, instances=instances, clock=clock)
        self.breaker = breaker or CircuitBreaker(
            "redis", failure_threshold=3, timeout=1, success_threshold=1, clock=clock
        )
        self._answered, self._unanswered, self._faulty, self._reloaded = Tally(), Tally(), Tally(), Tally()

    @property
    def fail(self) -> Fail:
        """What is decided while Redis cannot be asked."""
        return self._fallback.fail

    @property
    def counts(self) -> dict[str, int]:
        """Totals since the start.

        ``answered``: commands that Redis answered. ``unanswered``: that found no connection or no answer in time.
        ``faulty``: answered with an error (memory full, a foreign value under the key). ``reloaded``: sent with the
        script because Redis had lost it. ``degraded``: requests decided without Redis.
        """
        return {
            "answered": self._answered.read(),
            "unanswered": self._unanswered.read(),
            "faulty": self._faulty.read(),
            "reloaded": self._reloaded.read(),
            "degraded": self._fallback.decided,
        }

    def fits(self, quota: Quota) -> None:
        """Raises ``InputError`` if the numbers of ``quota`` are too large to be counted exactly in Redis."""
        self._script.fits(quota)

    def _decided(self, charges: Sequence[Charge], answer: object, *, consume: bool) -> list[Decision]:
        """The decisions of an answer; of an answer that is an error, those of the fallback."""
        if not isinstance(answer, BaseException):
            try:
                return self._script.read(charges, answer)
            except StoreUnavailableError as error:
                answer = error
        wait_ns = round(self.breaker.retry_after * _SECOND_NS) or _SECOND_NS
        return self._fallback.decide(charges, consume=consume, wait_ns=wait_ns, why=answer)

    def _count(self, answer: object) -> Outcome:
        """Counts an answer; gives what it says about Redis: an error is an answer too, and came in time."""
        if isinstance(answer, ResponseError):
            next(self._faulty.ticks)
            return Outcome.SUCCESS
        if isinstance(answer, BaseException):
            next(self._unanswered.ticks)
            return Outcome.FAILURE
        next(self._answered.ticks)
        return Outcome.SUCCESS

    def _whole(self, command: Command) -> Command:
        next(self._reloaded.ticks)
        return self._script.whole(command)

    def _names(self, charges: Sequence[Charge]) -> list[bytes]:
        return [self._script.name(quota, key) for quota, key, _ in charges]


def check_client(client: object, *, awaited: bool) -> None:
    """Raise ``InputError`` for what is no client of the kind: none of its answers would ever be one of Redis."""
    ask = getattr(client, "execute_command", None)
    if not callable(ask) or isinstance(client, type) or inspect.iscoroutinefunction(ask) is not awaited:
        store, module = ("AsyncRedisStore", "redis.asyncio") if awaited else ("RedisStore", "redis")
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise InputError(f"{store} takes an address, or a client such as {module}.Redis(...), not {kind}")


def from_url(kind: Any, url: str, timeout: float, retry: object) -> Any:
    """A client of this ``kind``. Raises ``InputError`` for an address or a time limit that is none."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 60:
        raise InputError(f"the time limit for Redis is a number of seconds above 0 and up to 60, not {timeout!r}")
    try:
        return kind.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=retry,
            protocol=2,  # numbers are all we are told, and a connection is ready one round trip earlier
            max_connections=_CONNECTIONS,
        )
    except (ValueError, RedisError) as error:  # the address is not shown: it may hold a password
        raise InputError("the address of Redis is not one; write it like redis://127.0.0.1:6379/0") from error


def unavailable(answer: BaseException) -> StoreUnavailableError:
    """The error for what cannot be done without Redis."""
    return StoreUnavailableError(f"Redis could not be asked ({answer}); see that it runs and try again")
