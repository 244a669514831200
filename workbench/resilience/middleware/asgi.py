"""Limits for ASGI applications: HTTP requests and the handshakes of WebSockets; all else passes untouched."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Unpack

from workbench.errors import CircuitOpenError, RateLimitedError
from workbench.resilience.middleware.headers import OURS, Field
from workbench.resilience.middleware.limits import LimitOptions, Limits
from workbench.resilience.middleware.problem import Answer, answer_to_error
from workbench.resilience.middleware.rules import Request, Rule
from workbench.resilience.stores.memory import MemoryStore
from workbench.resilience.stores.store import AsyncStore

__all__ = ["RateLimitASGI"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class RateLimitASGI:
    """Charges requests by ``rules`` before ``app`` sees them, and answers 429 in its place if a limit is used up.

    Options are those of ``Limits``. ``store``: a ``MemoryStore`` or one that is awaited.
    A WebSocket is refused in its handshake: with 429 where the server can (extension ``websocket.http.response``), else
    by closing with 1008, which servers make a 403. Responses are neither held back nor looked into; a field that the
    application set is left as it is. An error of ours becomes an answer only where it comes before the
    application's own has begun.

    >>> async def app(scope, receive, send):
    ...     await send({"type": "http.response.start", "status": 200, "headers": []})
    ...     await send({"type": "http.response.body", "body": b"hello"})
    >>> limited = RateLimitASGI(app, [Rule("/{rest:path}", "100/minute")], store=MemoryStore())
    """

    def __init__(
        self,
        app: Application,
        rules: Iterable[Rule],
        *,
        store: AsyncStore | MemoryStore,
        **options: Unpack[LimitOptions],
    ) -> None:
        self.app = app
        self.limits = Limits(rules, store=store, **options).for_a_loop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        limits = self.limits
        request = _ASGIRequest(scope, limits)
        refusal, fields = await limits.judge_awaited(request) if limits.awaited else limits.judge(request)
        if kind == "websocket":
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                await _refuse_websocket(scope, send, refusal)
            return
        if refusal is not None:
            await _answer(send, refusal)
            return
        started = False

        def forward(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if fields:
                    message = _with_fields(message, fields)
            return send(message)

        try:
            await self.app(scope, receive, forward)
        except (CircuitOpenError, RateLimitedError) as error:
            if started or not limits.translate:
                raise
            await _answer(send, answer_to_error(error))


class _ASGIRequest(Request):
    __slots__ = ("_limits",)

    def __init__(self, scope: Scope, limits: Limits) -> None:
        self.raw = scope
        self._limits = limits
        self.method = scope.get("method", "GET")
        path, root = scope["path"], scope.get("root_path")
        # Servers differ in whether they leave the mount point in the path.
        self.path = path[len(root) :] if root and path.startswith(root) else path

    @property
    def address(self) -> str:
        limits, client = self._limits, self.raw.get("client")
        header = limits.forwarded_header
        return limits.client(client[0] if client else None, self.header(header) if header else "")

    def header(self, name: str) -> str:
        wanted = name.lower().encode("latin-1", "replace")
        return b", ".join([value for key, value in self.raw["headers"] if key == wanted]).decode("latin-1")

    @property
    def user(self) -> str | None:
        """``scope["user"]``: a text, or what Starlette's authentication puts there."""
        user = self.raw.get("user")
        if user is None or isinstance(user, str):
            return user or None
        if not getattr(user, "is_authenticated", True):
            return None
        try:
            return str(user.identity) or None
        except (AttributeError, NotImplementedError):  # Starlette's own have no identity, but a name
            return getattr(user, "display_name", None) or None


def _with_fields(message: Message, fields: list[Field]) -> Message:
    """A copy of ``message`` with ``fields``: an application may send the same object again."""
    given = message.get("headers") or ()
    if type(given) is not list:
        given = list(given)
    if not OURS.isdisjoint([name for name, _ in given]):
        set_already = {name for name, _ in given}
        fields = [field for field in fields if field[0] not in set_already]
    return {**message, "headers": given + fields}


async def _answer(send: Send, answer: Answer, *, kind: str = "http.response") -> None:
    await send({"type": f"{kind}.start", "status": answer.status, "headers": answer.fields})
    await send({"type": f"{kind}.body", "body": answer.body})


async def _refuse_websocket(scope: Scope, send: Send, answer: Answer) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _answer(send, answer, kind="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": "rate limit"})
