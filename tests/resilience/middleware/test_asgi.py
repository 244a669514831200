"""What is of ASGI alone: scopes, streams, WebSockets, errors of the application."""

import asyncio

import pytest

from workbench.errors import CircuitOpenError, RateLimitedError
from workbench.resilience import AsyncRateLimiter, MemoryStore
from workbench.resilience.middleware import RateLimitASGI, Rule

ALL = "/{rest:path}"


class Awaited:
    """An awaited store that always lets the event loop go on in between."""

    def __init__(self, store):
        self.store = store

    async def hit(self, charges):
        await asyncio.sleep(0)
        return self.store.hit(charges)


async def untold(*message):
    raise AssertionError(f"nothing was to be sent, but {message}")


def never(scope, receive, send):
    raise AssertionError("the application was not to be asked")


@pytest.mark.parametrize("wrap", [lambda store: store, Awaited], ids=["memory", "awaited"])
def test_requests_at_one_time_are_admitted_exactly(asgi, store, wrap):
    _, scope_of = asgi
    statuses = []

    async def app(scope, receive, send):
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        statuses.append(message.get("status"))

    async def many():
        limited = RateLimitASGI(app, [Rule(ALL, ["7/minute", "50/hour"])], store=wrap(store))
        await asyncio.gather(*(limited(scope_of(), None, send) for _ in range(100)))

    asyncio.run(many())
    assert (statuses.count(200), statuses.count(429)) == (7, 93)


def test_lifespan_and_what_is_not_known_pass_untouched(store):
    seen = []

    async def app(*arguments):
        seen.append(arguments)

    limited = RateLimitASGI(app, [Rule(ALL, "1/minute")], store=store)
    calls = [({"type": kind}, object(), object()) for kind in ("lifespan", "lifespan", "other")]
    for call in calls:
        asyncio.run(limited(*call))
    assert [tuple(map(id, each)) for each in seen] == [tuple(map(id, call)) for call in calls]


def test_a_stream_is_not_held_back_and_what_runs_after_it_runs(store, asgi):
    _, scope_of = asgi
    order = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for number in range(3):
            order.append(f"made {number}")
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body"})
        order.append("afterwards")

    async def send(message):
        order.append(f"sent {message['type'].split('.')[-1]}")

    asyncio.run(RateLimitASGI(app, [Rule(ALL, "1/minute")], store=store)(scope_of(), None, send))
    made = [step for number in range(3) for step in (f"made {number}", "sent body")]
    assert order == ["sent start", *made, "sent body", "afterwards"]


def test_a_message_of_the_application_is_not_changed(store, asgi):
    ask, scope_of = asgi
    start = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

    async def app(scope, receive, send):
        await send(start)

    limited = RateLimitASGI(app, [Rule(ALL, "9/minute")], store=store)
    assert [len(ask(limited, scope_of()).headers) for _ in range(3)] == [6, 6, 6]
    assert start == {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}


def test_the_body_of_a_request_is_left_to_the_application(store, asgi):
    ask, scope_of = asgi
    limited = RateLimitASGI(never, [Rule(ALL, "1/minute", cost=lambda request: 2)], store=store)
    assert ask(limited, scope_of()).status == 429  # receive was not awaited: there is none

    async def app(scope, receive, send):
        assert receive is untold
        await send({"type": "http.response.start", "status": 200})

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(RateLimitASGI(app, [Rule(ALL, "1/minute")], store=store)(scope_of(), untold, send))
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("root", "path"), [("", "/login"), ("/api", "/api/login"), ("/api", "/login"), (None, "/login")]
)
def test_a_template_begins_at_the_mount_point(store, asgi, root, path):
    ask, scope_of = asgi
    limited = RateLimitASGI(hello, [Rule("/login", "1/minute")], store=store)
    told = [ask(limited, scope_of("GET", path, root_path=root)).status for _ in range(2)]
    assert told == [200, 429]


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200})


@pytest.mark.parametrize("field", ["identity", "display_name"])
def test_a_user_of_starlette_is_known(store, asgi, field):
    ask, scope_of = asgi

    class User:
        is_authenticated = True

        @property
        def identity(self):
            if field == "identity":
                return "ann"
            raise NotImplementedError

        display_name = "ann"

    class Nobody(User):
        is_authenticated = False

    limited = RateLimitASGI(hello, [Rule(ALL, "1/minute", key="user")], store=store)
    peers = [("192.0.2.1", 1), ("192.0.2.2", 1)]
    assert [ask(limited, scope_of(user=User(), client=peer)).status for peer in peers] == [200, 429]
    assert [ask(limited, scope_of(user=Nobody(), client=peer)).status for peer in peers] == [200, 200]


def test_several_lines_of_a_header_are_one_list(store, asgi):
    ask, scope_of = asgi
    limited = RateLimitASGI(hello, [Rule(ALL, "1/minute")], store=store, trusted=1)
    lines = [[(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"192.0.2.%d" % last)] for last in (1, 2, 1)]
    assert [ask(limited, scope_of() | {"headers": headers}).status for headers in lines] == [200, 200, 429]


def websocket(app, **more):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [], "client": ("192.0.2.7", 1), **more}
    asyncio.run(app(scope, None, send))
    return sent


def test_the_handshake_of_a_websocket_is_charged_and_what_follows_is_untouched(store):
    seen = []

    async def app(*call):
        seen.append(call)
        for _ in range(3):
            await call[2]({"type": "websocket.send", "text": "x"})

    limited = RateLimitASGI(app, [Rule("/ws", "2/minute", methods=["GET"])], store=store)
    assert [len(websocket(limited)) for _ in range(2)] == [3, 3]
    assert websocket(limited) == [{"type": "websocket.close", "code": 1008, "reason": "rate limit"}]
    assert len(seen) == 2


def test_a_server_that_can_answers_a_refused_handshake(store):
    limited = RateLimitASGI(never, [Rule("/ws", "1/minute", cost=lambda request: 2)], store=store)
    start, body = websocket(limited, extensions={"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    assert (b"cache-control", b"no-store") in start["headers"]
    assert (body["type"], b"quota-exceeded" in body["body"]) == ("websocket.http.response.body", True)


OPEN = CircuitOpenError("breaker 'db-7' is open", name="db-7", retry_after=2.000000001, last_error="password=x")
USED = RateLimitedError("used up", quotas=("inner",), retry_after=0.2)


@pytest.mark.parametrize(
    ("error", "status", "kind", "wait"),
    [
        (OPEN, 503, b"temporary-reduced-capacity", "3"),
        (CircuitOpenError("", name="x", retry_after=0), 503, b"temporary-reduced-capacity", "1"),
        (CircuitOpenError("", name="x", retry_after=float("inf")), 503, b"temporary-reduced-capacity", None),
        (USED, 429, b'"violated-policies":["inner"]', "1"),
        (RateLimitedError("never", quotas=("inner",)), 429, b"quota-exceeded", None),
    ],
)
def test_a_breaker_or_limit_within_becomes_an_answer_that_tells_when_to_come_back(
    store, asgi, error, status, kind, wait
):
    ask, scope_of = asgi

    async def app(scope, receive, send):
        raise error

    told = ask(RateLimitASGI(app, [], store=store), scope_of())
    assert (told.status, told.headers.get("retry-after"), told.headers["cache-control"]) == (status, wait, "no-store")
    assert kind in told.body
    # Whom we depend on, and what they said, is nobody's business.
    assert b"db-7" not in told.body
    assert b"password" not in told.body


def test_once_an_answer_has_begun_its_error_is_the_server_s(store, asgi):
    ask, scope_of = asgi

    async def app(scope, receive, send):
        await hello(scope, receive, send)
        raise OPEN

    with pytest.raises(CircuitOpenError):
        ask(RateLimitASGI(app, [], store=store), scope_of())


def test_errors_of_ours_are_left_to_the_application_if_so_asked(store, asgi):
    ask, scope_of = asgi

    async def app(scope, receive, send):
        raise USED

    with pytest.raises(RateLimitedError):
        ask(RateLimitASGI(app, [], store=store, translate=False), scope_of())


def test_other_errors_and_cancellation_pass(store, asgi):
    ask, scope_of = asgi
    for error in (ValueError, asyncio.CancelledError):

        async def app(scope, receive, send, error=error):
            raise error

        with pytest.raises(error):
            ask(RateLimitASGI(app, [Rule(ALL, "9/minute")], store=store), scope_of())


def test_a_cancelled_question_to_the_store_is_no_failure(asgi):
    ask, scope_of = asgi

    class Cancelled:
        async def hit(self, charges):
            raise asyncio.CancelledError

    limited = RateLimitASGI(never, [Rule(ALL, "9/minute")], store=Cancelled(), fail="open")
    with pytest.raises(asyncio.CancelledError):
        ask(limited, scope_of())
    assert limited.limits.snapshot()[0]["degraded"] == 0


def test_a_limiter_with_the_same_quota_and_key_shares_the_count(store, asgi):
    ask, scope_of = asgi
    rule = Rule("/a", "2/minute", key="path")
    limited = RateLimitASGI(hello, [rule], store=store)
    assert ask(limited, scope_of("GET", "/a")).status == 200
    assert isinstance(store, MemoryStore)
    asyncio.run(AsyncRateLimiter(rule.quotas[0], store=store).hit("/a *"))
    assert ask(limited, scope_of("GET", "/a")).status == 429
