"""What ``yield from`` does, for asynchronous generators, which have no such form."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

__all__ = ["relayed"]


def relayed(
    function: Callable[..., Any],
    *,
    enter: Callable[[tuple[Any, ...], dict[str, Any]], Awaitable[Any]],
    leave: Callable[[Any, BaseException | None], None],
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """An asynchronous generator function that yields, takes, raises and closes as ``function`` does.

    ``enter(args, kwargs)`` is awaited when the first item is asked for, and may refuse by raising. What it gave is told
    to ``leave`` at the end, with what ended it: an error, or ``None``.
    """

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        entered = await enter(args, kwargs)
        try:
            source = function(*args, **kwargs)
            try:
                step = source.__anext__()
                while True:
                    item = await step
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = source.athrow(error)
                    else:
                        step = source.asend(sent)
            except StopAsyncIteration:
                pass
            finally:
                await source.aclose()
        except BaseException as error:
            leave(entered, error)
            raise
        leave(entered, None)

    return wrapper
