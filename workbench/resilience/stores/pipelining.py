"""What many coroutines ask at one time goes out together, and so do the answers come back."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from typing import Final, Generic, TypeVar

__all__ = ["Pipeliner"]

Q = TypeVar("Q")
A = TypeVar("A")

_BATCH: Final = 256


class Pipeliner(Generic[Q, A]):
    """Collects questions while a batch is under way, and sends them as the next one. Belongs to one event loop.

    ``send``: asks a batch of questions, gives the answers in their order. What it raises, each caller of that batch
    gets as ``failed(error)`` gives it: an answer of its own, as an exception shared by many would keep growing.
    ``batch``: questions sent at once at most.

    One task sends, and only while there is something to send. A caller that is cancelled before its question went out
    takes it back; after that the question stands, and nobody else's answer is touched.

    >>> async def send(numbers):
    ...     return [number * 2 for number in numbers]
    >>> async def three():
    ...     pipeliner = Pipeliner(send, failed=repr)
    ...     return await asyncio.gather(*(pipeliner.ask(number) for number in (1, 2, 3)))
    >>> asyncio.run(three())
    [2, 4, 6]
    """

    __slots__ = ("_batch", "_failed", "_queue", "_send", "_task")

    def __init__(
        self,
        send: Callable[[list[Q]], Awaitable[Sequence[A]]],
        *,
        failed: Callable[[BaseException], A],
        batch: int = _BATCH,
    ) -> None:
        self._send = send
        self._failed = failed
        self._batch = batch
        self._queue: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer to one question."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._queue.append((question, future))
        if self._task is None or self._task.done():
            # An empty context: what the first caller has in its own must not live as long as the task.
            self._task = loop.create_task(self._flush(), context=Context())
            self._task.add_done_callback(self._ended)
        return await future

    async def drain(self) -> None:
        """Wait until everything asked is answered."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _flush(self) -> None:
        while self._queue:
            batch = self._next()
            try:
                answers = await self._send([question for question, _ in batch])
            except Exception as error:
                self._fail(batch, error)
                continue
            except BaseException as error:  # the loop is being shut down
                self._fail(batch, error)
                raise
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that was cancelled, perhaps before its first step, must leave nobody waiting."""
        if task is self._task and self._queue:
            self._fail(self._queue, asyncio.CancelledError())
            self._queue.clear()

    def _fail(self, asked: Iterable[tuple[Q, asyncio.Future[A]]], error: BaseException) -> None:
        for _, future in asked:
            if not future.done():
                future.set_result(self._failed(error))

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        while self._queue and len(batch) < self._batch:
            asked = self._queue.popleft()
            if not asked[1].done():
                batch.append(asked)
        return batch
