"""Limiters in a server: what they add to a request, which is called in this process, without a socket.

The same application answers with and without the limit, in turns, and the difference counts: of the fastest of twenty
lots on either side. All requests come from one address and pass, and each side writes its header fields. slowapi needs
Starlette and flask-limiter Flask, so ours stands before the same applications too. The requests are made before the
clock starts.
"""

import asyncio
import io
import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import flask
import flask_limiter
import slowapi
import slowapi.middleware
import slowapi.util
import starlette.applications
import starlette.responses
import starlette.routing

from benchmarks.timing import Case
from workbench.resilience import MemoryStore, Quota
from workbench.resilience.middleware import RateLimitASGI, RateLimitWSGI, Rule

__all__ = ["cases"]

_LIMIT = 1_000_000
_LOTS = 20
_TARGET = 5.0  # µs

Scope = MutableMapping[str, Any]


def _rule() -> Rule:
    return Rule("/{rest:path}", Quota("benchmark", limit=_LIMIT, per=3_600, algorithm="smooth"))


async def _bare(_scope: Scope, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


def _starlette() -> starlette.applications.Starlette:
    async def hello(_request: Any) -> Any:
        return starlette.responses.PlainTextResponse("hello")

    return starlette.applications.Starlette(routes=[starlette.routing.Route("/", hello)])


def _asgi(side: str, plain: Callable[[], Any]) -> Any:
    if side == "ours":
        return RateLimitASGI(plain(), [_rule()], store=MemoryStore(), headers="x")
    app = _starlette()
    app.state.limiter = slowapi.Limiter(
        key_func=slowapi.util.get_remote_address, default_limits=[f"{_LIMIT}/hour"], headers_enabled=True
    )
    app.add_middleware(
        slowapi.middleware.SlowAPIASGIMiddleware if side == "slowapi, ASGI" else slowapi.middleware.SlowAPIMiddleware
    )
    return app


def _flask() -> flask.Flask:
    app = flask.Flask("benchmark")
    app.add_url_rule("/", "hello", lambda: "hello")
    return app


def _wsgi(side: str) -> Any:
    app = _flask()
    if side == "ours":
        return RateLimitWSGI(app, [_rule()], store=MemoryStore(), headers="x")
    flask_limiter.Limiter(
        flask_limiter.util.get_remote_address,
        app=app,
        default_limits=[f"{_LIMIT}/hour"],
        headers_enabled=True,
        storage_uri="memory://",
    )
    return app


def _added(time_of: Callable[[Any], float], plain: Any, limited: Any) -> float:
    """Microseconds more for a request. ``time_of``: seconds a request takes, over a lot of them."""
    pairs = [(time_of(plain), time_of(limited)) for _ in range(_LOTS)]
    return (min(after for _, after in pairs) - min(before for before, _ in pairs)) * 1e6


def _added_to_asgi(side: str, plain: Callable[[], Any], requests: int) -> float:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def lot(app: Any) -> tuple[float, list[dict[str, Any]]]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scopes = [_scope() for _ in range(requests // _LOTS)]
        start = time.perf_counter()
        for scope in scopes:
            await app(scope, receive, send)
        return (time.perf_counter() - start) / len(scopes), sent

    with asyncio.Runner() as runner:
        limited = _asgi(side, plain)
        (start, _) = runner.run(lot(limited))[1][:2]
        if start["status"] != 200 or b"x-ratelimit-limit" not in {name.lower() for name, _ in start["headers"]}:
            raise AssertionError(f"{side} did not answer as it should")
        base = plain() if side == "ours" else _starlette()
        return _added(lambda app: runner.run(lot(app))[0], base, limited)


def _scope() -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"accept", b"*/*"), (b"user-agent", b"benchmark")],
        "client": ("192.0.2.7", 49152),
        "server": ("127.0.0.1", 8000),
    }


def _added_to_wsgi(side: str, requests: int) -> float:
    told: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, fields: list[tuple[str, str]], _trouble: Any = None) -> None:
        told.append((status, fields))

    def lot(app: Any) -> float:
        environments = [_environment() for _ in range(requests // _LOTS)]
        start = time.perf_counter()
        for environment in environments:
            b"".join(app(environment, start_response))
        return (time.perf_counter() - start) / len(environments)

    limited = _wsgi(side)
    lot(limited)
    status, fields = told[0]
    if not status.startswith("200") or "x-ratelimit-limit" not in {name.lower() for name, _ in fields}:
        raise AssertionError(f"{side} did not answer as it should")
    return _added(lot, _flask(), limited)


def _environment() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "192.0.2.7",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def cases(scale: float) -> Iterator[Case]:
    """All cases at ``scale``."""
    requests = int(5_000 * scale)
    apps: dict[str, Callable[[], Any]] = {"a bare application": lambda: _bare, "Starlette": _starlette}
    for name, plain in apps.items():
        for peer in ("slowapi, ASGI", "slowapi"):
            yield Case(
                f"ASGI: added to {name}",
                f"{requests:,} requests",
                "µs",
                lambda plain=plain: _added_to_asgi("ours", plain, requests),
                lambda plain=plain, peer=peer: _added_to_asgi(peer, plain, requests),
                peer if plain is _starlette else f"{peer}, to Starlette",
                target=_TARGET if plain is not _starlette else None,
            )
    yield Case(
        "WSGI: added to Flask",
        f"{requests:,} requests",
        "µs",
        lambda: _added_to_wsgi("ours", requests),
        lambda: _added_to_wsgi("flask-limiter", requests),
        "flask-limiter",
    )
