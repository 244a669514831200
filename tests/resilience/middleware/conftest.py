"""A small application behind each interface, and one way to ask them all."""

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from workbench.clock import VirtualClock
from workbench.resilience import MemoryStore
from workbench.resilience.middleware import RateLimitASGI, RateLimitWSGI

START_NS = 1_790_000_000_000_000_000


@dataclass(frozen=True)
class Response:
    """What came back, with the names of headers in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list, repr=False, compare=False)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(start_ns=START_NS)


@pytest.fixture
def store(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


async def hello_asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


def hello_wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def one(headers: list[tuple[str, str]]) -> dict[str, str]:
    """As a dict; a name that comes twice is an error."""
    assert len({name.lower() for name, _ in headers}) == len(headers), headers
    return {name.lower(): value for name, value in headers}


def scope_of(
    method: str = "GET", path: str = "/", headers: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return {
        "type": "http", "method": method, "path": path, "headers": pairs, "client": ("192.0.2.7", 5011), "root_path": "",
        **more,
    }  # fmt: skip


def ask_asgi(app: Callable[..., Any], scope: dict[str, Any]) -> Response:
    """Ask an ASGI application; checks the order of what it sends."""
    sent: list[dict[str, Any]] = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start"] + ["http.response.body"] * (len(sent) - 1)
    headers = [(name.decode(), value.decode("latin-1")) for name, value in sent[0]["headers"]]
    assert all(name == name.lower() for name, _ in headers)
    return Response(sent[0]["status"], one(headers), b"".join(each["body"] for each in sent[1:]), sent)


def ask_wsgi(app: Callable[..., Any], environ: dict[str, Any]) -> Response:
    """Ask a WSGI application, by the rules of ``wsgiref.validate``."""
    from wsgiref.util import setup_testing_defaults
    from wsgiref.validate import validator

    told: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status, headers, error=None):
        told.append((status, headers))
        return lambda octets: None

    environ = {"wsgi.input": io.BytesIO(), "QUERY_STRING": "", **environ}
    setup_testing_defaults(environ)
    answer = validator(app)(environ, start_response)
    try:
        body = b"".join(answer)
    finally:
        answer.close()
    return Response(int(told[-1][0].split()[0]), one(told[-1][1]), body)


@pytest.fixture(params=["asgi", "wsgi"])
def serve(request, store, clock):
    """``ask = serve(rules, **options)``; then ``ask(method, path, headers, peer=..., user=...)`` gives a ``Response``."""

    def make(rules, *, app=None, **options):
        options = {"store": store, "clock": clock, **options}
        if request.param == "asgi":
            limited = RateLimitASGI(app or hello_asgi, rules, **options)

            def ask(method="GET", path="/", headers=None, *, peer="192.0.2.7", user=None):
                client = None if peer is None else (peer, 1)
                more = {} if user is None else {"user": user}
                return ask_asgi(limited, scope_of(method, path, headers, client=client, **more))
        else:
            limited = RateLimitWSGI(app or hello_wsgi, rules, **options)

            def ask(method="GET", path="/", headers=None, *, peer="192.0.2.7", user=None):
                fields = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (headers or {}).items()}
                octets = path.encode().decode("latin-1")
                environ = {"REQUEST_METHOD": method, "PATH_INFO": octets, "SCRIPT_NAME": "", **fields}
                environ |= ({} if peer is None else {"REMOTE_ADDR": peer}) | (
                    {} if user is None else {"REMOTE_USER": user}
                )
                return ask_wsgi(limited, environ)

        ask.limits = limited.limits
        return ask

    return make


@pytest.fixture
def asgi():
    """``(ask, scope)`` for what is of ASGI alone."""
    return ask_asgi, scope_of


@pytest.fixture
def wsgi():
    return ask_wsgi
