"""Limits for WSGI applications (PEP 3333)."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Unpack

from workbench.errors import CircuitOpenError, RateLimitedError
from workbench.resilience.middleware.headers import OURS, Field, text_fields
from workbench.resilience.middleware.limits import LimitOptions, Limits
from workbench.resilience.middleware.problem import Answer, answer_to_error
from workbench.resilience.middleware.rules import Request, Rule
from workbench.resilience.stores.store import Store

__all__ = ["RateLimitWSGI"]

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class RateLimitWSGI:
    """Charges requests by ``rules`` before ``app`` sees them, and answers 429 in its place if a limit is used up.

    Options are those of ``Limits``. What ``app`` gives is handed on as it is. An error of ours becomes an answer only
    where ``app`` raises it when called, not where it does so while its answer is being read.

    >>> from workbench.resilience.stores import MemoryStore
    >>> def app(environ, start_response):
    ...     start_response("200 OK", [("Content-Type", "text/plain")])
    ...     return [b"hello"]
    >>> limited = RateLimitWSGI(app, [Rule("/{rest:path}", "1/minute")], store=MemoryStore())
    >>> request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.7"}
    >>> for _ in range(2):
    ...     body = b"".join(limited(request, lambda status, headers, error=None: print(status)))
    200 OK
    429 Too Many Requests
    """

    def __init__(
        self, app: Application, rules: Iterable[Rule], *, store: Store, **options: Unpack[LimitOptions]
    ) -> None:
        self.app = app
        self.limits = Limits(rules, store=store, **options).for_threads()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        refusal, fields = self.limits.judge(_WSGIRequest(environ, self.limits))
        if refusal is not None:
            return _answered(environ, start_response, refusal)
        started = False

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Callable[[bytes], object]:
            nonlocal started
            started = True
            return start_response(status, _with_fields(headers, fields), *(() if error is None else (error,)))

        try:
            return self.app(environ, start)
        except (CircuitOpenError, RateLimitedError) as error:
            if started or not self.limits.translate:
                raise
            return _answered(environ, start_response, answer_to_error(error))


class _WSGIRequest(Request):
    __slots__ = ("_limits",)

    def __init__(self, environ: Environ, limits: Limits) -> None:
        path = environ.get("PATH_INFO", "")
        # PEP 3333: octets, each as a character.
        decoded = path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")
        super().__init__(environ["REQUEST_METHOD"], decoded, environ)
        self._limits = limits

    @property
    def address(self) -> str:
        limits = self._limits
        header = limits.forwarded_header
        return limits.client(self.raw.get("REMOTE_ADDR") or None, self.header(header) if header else "")

    def header(self, name: str) -> str:
        variable = name.upper().replace("-", "_")
        prefix = "" if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_"
        return str(self.raw.get(prefix + variable, ""))

    @property
    def user(self) -> str | None:
        return self.raw.get("REMOTE_USER") or None


def _with_fields(headers: list[tuple[str, str]], fields: list[Field]) -> list[tuple[str, str]]:
    given = {name.lower().encode("latin-1", "replace") for name, _ in headers}
    if not OURS.isdisjoint(given):
        fields = [field for field in fields if field[0] not in given]
    return headers + text_fields(fields)


def _answered(environ: Environ, start_response: StartResponse, answer: Answer) -> list[bytes]:
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", text_fields(answer.fields))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
