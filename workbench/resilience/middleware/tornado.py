"""Limits for tornado's request handlers, which are also those of Jupyter Server and Voila."""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from tornado.escape import url_unescape
from tornado.web import RequestHandler

from workbench.errors import CircuitOpenError, InputError, RateLimitedError
from workbench.resilience.middleware.headers import Field, text_fields
from workbench.resilience.middleware.limits import Limits
from workbench.resilience.middleware.problem import Answer, answer_to_error
from workbench.resilience.middleware.rules import Request

__all__ = ["SETTING", "RateLimitTornado"]

SETTING: Final = "rate_limits"
"""The setting of a tornado application under which its ``Limits`` are."""

# A mixin stands before a handler class; for the type checker it is one, so that what it calls is known.
if TYPE_CHECKING:
    _Handler = RequestHandler
else:
    _Handler = object


class RateLimitTornado(_Handler):
    """Put before a handler class: its requests are charged in ``prepare``, before all else, or answered with 429.

    The ``Limits`` are the application's setting ``rate_limits``, or ``rate_limits`` of the class. Their store is
    awaited or in memory, so the event loop never stands still. The handshake of a ``WebSocketHandler`` is charged like
    any GET. Before their own ``prepare`` Jupyter's handlers know nobody: rules by ``user`` count by address there.

        class Answers(RateLimitTornado, RequestHandler):
            def get(self): ...

        Application([("/answers", Answers)], rate_limits=Limits([Rule("/answers", "5/minute")], store=MemoryStore()))
    """

    rate_limits: Limits | None = None
    _rate_fields: list[Field] | None = None

    async def prepare(self, *arguments: Any, **options: Any) -> None:
        limits = self._rate_limits()
        request = _TornadoRequest(self, limits)
        refusal, fields = await limits.judge_awaited(request) if limits.awaited else limits.judge(request)
        if refusal is not None:
            self._answer(refusal)
            return
        self._rate_fields = fields
        for name, value in text_fields(fields):
            self.set_header(name, value)
        prepared = super().prepare(*arguments, **options)
        if isinstance(prepared, Awaitable):
            await prepared

    def set_default_headers(self) -> None:
        """Also called when an answer becomes an error, which takes all headers away."""
        super().set_default_headers()
        for name, value in text_fields(self._rate_fields or ()):
            self.set_header(name, value)

    def send_error(self, status_code: int = 500, **options: Any) -> None:
        error: Any = (options.get("exc_info") or (None, None))[1]
        ours = isinstance(error, CircuitOpenError | RateLimitedError) and not self._headers_written
        if ours and self._rate_limits().translate:
            self._answer(answer_to_error(error))
        else:
            super().send_error(status_code, **options)

    def _rate_limits(self) -> Limits:
        limits = self.rate_limits or self.settings.get(SETTING)
        if not isinstance(limits, Limits):
            raise InputError(
                f"{type(self).__name__} has no limits: give the application the setting {SETTING}=Limits(...), "
                f"not {limits!r:.80}"
            )
        return limits.for_a_loop()

    def _answer(self, answer: Answer) -> None:
        self.clear()
        self.set_status(answer.status)
        for name, value in text_fields(answer.fields):
            self.set_header(name, value)
        # Jupyter's handlers would call the body by another name.
        RequestHandler.finish(self, answer.body)


class _TornadoRequest(Request):
    __slots__ = ("_limits",)

    def __init__(self, handler: RequestHandler, limits: Limits) -> None:
        request = handler.request
        super().__init__(request.method or "GET", url_unescape(request.path, plus=False), handler)
        self._limits = limits

    @property
    def address(self) -> str:
        limits = self._limits
        header = limits.forwarded_header
        return limits.client(self.raw.request.remote_ip, self.header(header) if header else "")

    def header(self, name: str) -> str:
        return ", ".join(self.raw.request.headers.get_list(name))

    @property
    def user(self) -> str | None:
        try:
            user = self.raw.current_user
        except RuntimeError:  # Jupyter's handlers know nobody before their own prepare
            return None
        if user is None or isinstance(user, str):
            return user or None
        name = user.decode("utf-8", "replace") if isinstance(user, bytes) else getattr(user, "username", None)
        return str(name) if name else None
