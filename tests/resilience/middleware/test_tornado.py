"""The mixin before tornado's handlers and Jupyter's, asked over a real connection."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from jupyter_server.auth import AllowAllAuthorizer, IdentityProvider, User
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from workbench.errors import CircuitOpenError
from workbench.resilience import MemoryStore
from workbench.resilience.middleware import Limits, RateLimitTornado, Rule

ALL = "/{rest:path}"
FIELDS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit")


class Hello(RateLimitTornado, RequestHandler):
    def get(self, *rest):
        self.write("hello")

    head = post = get


class Bad(RateLimitTornado, RequestHandler):
    def get(self):
        raise HTTPError(404)


class Behind(RateLimitTornado, RequestHandler):
    def get(self):
        raise CircuitOpenError("open", name="db-7", retry_after=3.5)


class Prepared(RateLimitTornado, RequestHandler):
    async def prepare(self):
        await super().prepare()
        if not self._finished:
            self.set_header("Prepared", "yes")

    def get(self):
        self.write("hello")


class Echo(RateLimitTornado, WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)


class Page(RateLimitTornado, JupyterHandler):
    def get(self):
        self.write(self.current_user.username)


class Api(RateLimitTornado, APIHandler):
    def get(self):
        self.finish(json.dumps({"user": self.current_user.username}))


class Ann(IdentityProvider):
    def get_user(self, handler):
        return User("ann")


class Known(RateLimitTornado, RequestHandler):
    def get_current_user(self):
        return self.get_argument("name").encode()

    def get(self):
        self.write("hello")


HANDLERS = [
    ("/bad", Bad), ("/behind", Behind), ("/prepared", Prepared), ("/echo", Echo), ("/page", Page), ("/api", Api),
    ("/known", Known), ("/.*", Hello),
]  # fmt: skip


class Awaited:
    """An awaited store that lets others go first."""

    def __init__(self, store):
        self.store = store

    async def hit(self, charges):
        for _ in range(5):
            await asyncio.sleep(0)
        return self.store.hit(charges)


@pytest.fixture
def jupyter():
    return {
        "identity_provider": Ann(token=""),
        "authorizer": AllowAllAuthorizer(),
        "allow_remote_access": True,
        "cookie_secret": b"x" * 32,
        "base_url": "/",
    }


@pytest.fixture
def serving(store, clock, jupyter):
    """``async with serving(rules, **options) as get``: ``await get(path)`` asks over a connection."""

    @asynccontextmanager
    async def serving(rules, **options):
        limits = Limits(rules, **{"store": store, "clock": clock, **options})
        listener, port = bind_unused_port()
        server = HTTPServer(Application(HANDLERS, rate_limits=limits, **jupyter))
        server.add_socket(listener)
        client = AsyncHTTPClient(force_instance=True)

        async def get(path, **more):
            return await client.fetch(HTTPRequest(f"http://127.0.0.1:{port}{path}", **more), raise_error=False)

        get.port, get.limits = port, limits
        try:
            yield get
        finally:
            client.close()
            server.stop()
            await server.close_all_connections()

    return serving


@pytest.mark.parametrize("wrap", [lambda store: store, Awaited], ids=["memory", "awaited"])
def test_requests_are_admitted_exactly_and_told_how_they_stand(serving, store, wrap):
    async def run():
        async with serving([Rule(ALL, ["5/minute", "50/hour"])], store=wrap(store)) as get:
            answers = await asyncio.gather(*(get("/a") for _ in range(9)))
            assert sorted(answer.code for answer in answers) == [200] * 5 + [429] * 4
            assert [answer for answer in answers if not all(name in answer.headers for name in FIELDS)] == []
            refused = next(answer for answer in answers if answer.code == 429)
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert (refused.headers["Retry-After"], refused.headers["Cache-Control"]) == ("60", "no-store")
            assert json.loads(refused.body)["violated-policies"] == ["5/60s"]

    asyncio.run(run())


def test_the_application_is_not_asked_and_its_own_prepare_is_kept(serving):
    async def run():
        async with serving([Rule(ALL, "1/minute")]) as get:
            first, second = await get("/prepared"), await get("/prepared")
            assert (first.code, first.headers.get("Prepared")) == (200, "yes")
            assert (second.code, second.headers.get("Prepared")) == (429, None)

    asyncio.run(run())


def test_an_error_of_the_handler_keeps_the_fields(serving):
    async def run():
        async with serving([Rule(ALL, "9/minute")]) as get:
            answer = await get("/bad")
            assert (answer.code, answer.headers["X-RateLimit-Remaining"]) == (404, "8")

    asyncio.run(run())


def test_an_open_breaker_becomes_a_503(serving):
    async def run():
        async with serving([Rule(ALL, "9/minute")]) as get:
            answer = await get("/behind")
            assert (answer.code, answer.headers["Retry-After"]) == (503, "4")
            assert b"temporary-reduced-capacity" in answer.body
            assert b"db-7" not in answer.body

    asyncio.run(run())


def test_a_head_and_a_path_in_per_cents_are_what_they_mean(serving):
    async def run():
        async with serving([Rule("/über", "1/minute", methods=["GET"])]) as get:
            first, second = await get("/%C3%BCber", method="HEAD"), await get("/%c3%bcber/", method="HEAD")
            assert (first.code, second.code, second.body) == (200, 429, b"")

    asyncio.run(run())


def test_a_websocket_is_refused_before_it_is_open(serving):
    async def run():
        async with serving([Rule("/echo", "1/minute")]) as get:
            address = f"ws://127.0.0.1:{get.port}/echo"
            socket = await websocket_connect(address)
            for word in ("a", "b"):
                socket.write_message(word)
                assert await socket.read_message() == word
            socket.close()
            with pytest.raises(Exception, match="429"):
                await websocket_connect(address)

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/page", "/api"])
def test_the_handlers_of_jupyter_are_limited_too(serving, path):
    async def run():
        async with serving([Rule(ALL, "1/minute", key="user")]) as get:
            first, second = await get(path), await get(path)
            assert (first.code, first.headers["X-RateLimit-Remaining"]) == (200, "0")
            assert (second.code, second.headers["Content-Type"]) == (429, "application/problem+json")
            assert json.loads(second.body)["violated-policies"] == ["1/60s"]

    asyncio.run(run())


def test_a_user_that_the_handler_knows_counts_alone(serving):
    async def run():
        async with serving([Rule("/known", "1/minute", key="user")]) as get:
            assert [(await get(f"/known?name={name}")).code for name in ("ann", "bob", "ann")] == [200, 200, 429]

    asyncio.run(run())


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(serving):
    async def run():
        async with serving([Rule(ALL, "1/minute")], trusted=["127.0.0.0/8"]) as get:
            clients = ("192.0.2.1", "192.0.2.2", "192.0.2.1")
            codes = [(await get("/", headers={"X-Forwarded-For": f"6.6.6.6, {client}"})).code for client in clients]
            assert codes == [200, 200, 429]

    asyncio.run(run())


def test_in_shadow_nobody_is_told(serving):
    async def run():
        async with serving([Rule(ALL, "1/minute")], shadow=True) as get:
            answers = [await get("/") for _ in range(3)]
            told = [name for answer in answers for name in FIELDS if name in answer.headers]
            assert ([answer.code for answer in answers], told) == ([200] * 3, [])
            assert get.limits.snapshot()[0]["refused"] == 2

    asyncio.run(run())


@pytest.mark.parametrize("limits", [None, "5/minute"])
def test_an_application_without_limits_says_what_to_give_it(limits, caplog):
    async def run():
        listener, port = bind_unused_port()
        server = HTTPServer(Application([("/", Hello)], rate_limits=limits))
        server.add_socket(listener)
        client = AsyncHTTPClient(force_instance=True)
        try:
            return await client.fetch(f"http://127.0.0.1:{port}/", raise_error=False)
        finally:
            client.close()
            server.stop()
            await server.close_all_connections()

    assert asyncio.run(run()).code == 500
    assert "Hello has no limits: give the application the setting rate_limits=Limits(...)" in caplog.text


def test_a_class_may_have_limits_of_its_own(serving):
    async def run():
        async with serving([Rule(ALL, "9/minute")]) as get:
            Hello.rate_limits = Limits([Rule(ALL, "1/minute")], store=MemoryStore())
            try:
                assert [(await get("/")).code for _ in range(2)] == [200, 429]
            finally:
                Hello.rate_limits = None

    asyncio.run(run())
