"""Counts that processes and hosts share, kept in Redis: one round trip for a decision, however many quotas it has.

Redis alone says what time it is, so the clocks of the callers do not count. A decision is never sent twice: one whose
answer was lost may have been charged, and counting it again would be worse.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any

try:
    import redis
    import redis.asyncio
    import redis.asyncio.retry
    import redis.retry
    from redis.backoff import NoBackoff
    from redis.exceptions import NoScriptError
except ImportError as error:  # pragma: no cover - the extra is part of every development install
    from workbench.errors import InputError

    raise InputError("limits in Redis need the extra 'redis': pip install 'workbench-evidence[redis]'") from error

from workbench.clock import Clock
from workbench.errors import CircuitOpenError, StoreUnavailableError
from workbench.resilience.breaker import CircuitBreaker, Outcome
from workbench.resilience.decision import Decision
from workbench.resilience.stores.degraded import Fail
from workbench.resilience.stores.pipelining import Pipeliner
from workbench.resilience.stores.scripts import Command
from workbench.resilience.stores.shared import UNREACHED, SharedParts, check_client, from_url, unavailable
from workbench.resilience.stores.store import Charge

__all__ = ["AsyncRedisStore", "RedisStore"]

Client = redis.Redis | redis.RedisCluster
AsyncClient = redis.asyncio.Redis | redis.asyncio.RedisCluster


class RedisStore(SharedParts):
    """A ``Store`` in Redis, for threads and processes. Close it, or use it with ``with``.

    ``client``: an address (``redis://``, ``rediss://``, ``unix://``) or a client of redis-py, whose own time limits and
    retries then hold; let it retry nothing. With a ``RedisCluster``, the quotas of one request must be on one key.
    ``fail``: what is decided while Redis cannot be asked: ``open`` (all passes), ``closed`` (nothing does) or
    ``local`` (each of ``instances`` processes counts its part). It has no default, as each can hurt.
    ``prefix``: what all keys begin with. ``timeout``: seconds to wait for a connection, and for an answer.
    ``breaker``: spares callers the waiting while Redis is away: three failures in a row, one second, unless given.
    ``clock``: of the breaker and of ``local``; the time of the limits is Redis' own.
    Raises ``InputError`` for options that cannot be meant, and at the first request for a quota too large for Redis.
    """

    def __init__(
        self,
        client: str | Client,
        *,
        fail: Fail,
        prefix: str = "wb",
        instances: int = 1,
        timeout: float = 0.05,
        breaker: CircuitBreaker | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(client, fail=fail, prefix=prefix, instances=instances, breaker=breaker, clock=clock)
        self._own = isinstance(client, str)
        self._client: Any = client
        if not isinstance(client, str):
            check_client(client, awaited=False)
        else:
            self._client = from_url(redis.Redis, client, timeout, redis.retry.Retry(NoBackoff(), 0))

    def hit(self, charges: Sequence[Charge]) -> list[Decision]:
        """Charge all, or none if one refuses."""
        return self._decide(charges, consume=True)

    def peek(self, charges: Sequence[Charge]) -> list[Decision]:
        """What ``hit`` would say; nothing is charged."""
        return self._decide(charges, consume=False)

    def reset(self, charges: Sequence[Charge]) -> None:
        """Forget what was counted for these keys. Raises ``StoreUnavailableError`` if Redis cannot be asked."""
        for name in self._names(charges):
            answer = self._ask(("UNLINK", name))
            if isinstance(answer, BaseException):
                raise unavailable(answer)

    def check(self) -> None:
        """Ask once, for the start of a service. Raises ``StoreUnavailableError`` if Redis does not answer well."""
        answer = self._ask(self._script.probe())
        if isinstance(answer, BaseException):
            raise unavailable(answer)

    def close(self) -> None:
        """Give back the connections, if the store made them."""
        if self._own:
            self._client.close()

    def __enter__(self) -> "RedisStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decide(self, charges: Sequence[Charge], *, consume: bool) -> list[Decision]:
        if not charges:
            return []
        answer = self._ask(self._script.command(charges, consume=consume))
        return self._decided(charges, answer, consume=consume)

    def _ask(self, command: Command) -> object:
        """What Redis answers; an error is given, not raised."""
        try:
            token = self.breaker.acquire()
        except CircuitOpenError as error:
            return error
        outcome = Outcome.IGNORE
        answer: object = None
        try:
            answer = self._execute(command)
            outcome = self._count(answer)
        finally:
            self.breaker.record(token, outcome, answer if isinstance(answer, Exception) else None)
        return answer

    def _execute(self, command: Command) -> object:
        try:
            try:
                return self._client.execute_command(*command)
            except NoScriptError:  # nothing was done, so this may be sent again
                return self._client.execute_command(*self._whole(command))
        except UNREACHED as error:
            return error


class AsyncRedisStore(SharedParts):
    """An ``AsyncStore`` in Redis. What coroutines ask at one time shares a round trip. Close it before its loop ends.

    The options are those of ``RedisStore``. ``client``: an address, or a client of ``redis.asyncio``, which belongs to
    one event loop; with an address the store can be used in one loop after another.

    A caller that is cancelled while Redis decides may have been charged, as the question was on its way.
    """

    def __init__(
        self,
        client: str | AsyncClient,
        *,
        fail: Fail,
        prefix: str = "wb",
        instances: int = 1,
        timeout: float = 0.05,
        breaker: CircuitBreaker | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(client, fail=fail, prefix=prefix, instances=instances, breaker=breaker, clock=clock)
        self._given = client
        self._timeout = timeout
        if not isinstance(client, str):
            check_client(client, awaited=True)
        else:
            self._connect()  # an address that cannot be meant is refused here and not at the first request
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}

    async def hit(self, charges: Sequence[Charge]) -> list[Decision]:
        """Charge all, or none if one refuses."""
        return await self._decide(charges, consume=True)

    async def peek(self, charges: Sequence[Charge]) -> list[Decision]:
        """What ``hit`` would say; nothing is charged."""
        return await self._decide(charges, consume=False)

    async def reset(self, charges: Sequence[Charge]) -> None:
        """Forget what was counted for these keys. Raises ``StoreUnavailableError`` if Redis cannot be asked."""
        for name in self._names(charges):
            answer = await self._ask(("UNLINK", name))
            if isinstance(answer, BaseException):
                raise unavailable(answer)

    async def check(self) -> None:
        """Ask once, for the start of a service. Raises ``StoreUnavailableError`` if Redis does not answer well."""
        answer = await self._ask(self._script.probe())
        if isinstance(answer, BaseException):
            raise unavailable(answer)

    async def aclose(self) -> None:
        """Answer what was asked, then give back the connection of this event loop, if the store made it."""
        lane = self._lanes.pop(asyncio.get_running_loop(), None)
        if lane is not None:
            await lane.pipeliner.drain()
            if lane.client is not self._given:
                await lane.client.aclose()

    async def __aenter__(self) -> "AsyncRedisStore":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _decide(self, charges: Sequence[Charge], *, consume: bool) -> list[Decision]:
        if not charges:
            return []
        answer = await self._ask(self._script.command(charges, consume=consume))
        return self._decided(charges, answer, consume=consume)

    async def _ask(self, command: Command) -> object:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            for other in [other for other in self._lanes if other.is_closed()]:
                del self._lanes[other]
            lane = self._lanes[loop] = _Lane(self, self._connect())
        return await lane.pipeliner.ask(command)

    def _connect(self) -> Any:
        if not isinstance(self._given, str):
            return self._given
        return from_url(redis.asyncio.Redis, self._given, self._timeout, redis.asyncio.retry.Retry(NoBackoff(), 0))


class _Lane:
    """One event loop's connection and queue."""

    def __init__(self, store: AsyncRedisStore, client: Any) -> None:
        self.client = client
        self.pipeliner: Pipeliner[Command, object] = Pipeliner(self._send, failed=_lost)
        self._store = store

    async def _send(self, commands: list[Command]) -> Sequence[object]:
        store = self._store
        try:
            token = store.breaker.acquire()
        except CircuitOpenError as error:
            return [error] * len(commands)
        outcome, reason = Outcome.IGNORE, None
        try:
            answers = await self._exchange(commands)
            outcome = [store._count(answer) for answer in answers][-1]
            reason = next((answer for answer in answers if isinstance(answer, Exception)), None)
        finally:
            store.breaker.record(token, outcome, reason)
        return answers

    async def _exchange(self, commands: list[Command]) -> list[object]:
        answers = await self._pipeline(commands)
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # nothing was done for these, so they may be sent again
            again = await self._pipeline([self._store._whole(commands[at]) for at in unknown])
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        return answers

    async def _pipeline(self, commands: list[Command]) -> list[object]:
        """The answers; an error is given, not raised."""
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            return list(await pipeline.execute(raise_on_error=False))
        except UNREACHED as error:
            return [error] * len(commands)


def _lost(error: BaseException) -> object:
    return StoreUnavailableError(f"the question to Redis was given up ({type(error).__name__}); ask again")
