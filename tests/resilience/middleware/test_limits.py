"""What requests are charged and what clients are told, the same through ASGI and WSGI."""

import json

import pytest

from workbench.errors import InputError
from workbench.resilience import EVERYBODY, MemoryStore, Quota
from workbench.resilience.middleware import Limits, RateLimitASGI, Request, Rule

ALL = "/{rest:path}"


def statuses(ask, *requests, **options):
    return [ask(*request, **options).status for request in requests]


def test_what_the_limit_allows_passes_and_the_rest_is_told_when_to_come_back(serve, clock):
    ask = serve([Rule(ALL, Quota("minute", limit=2, per=60))])
    first, second, third = (ask() for _ in range(3))
    assert (first.status, first.body) == (second.status, second.body) == (200, b"hello")
    assert first.headers == {
        "content-type": "text/plain",
        "x-ratelimit-limit": "2",
        "x-ratelimit-remaining": "1",
        "x-ratelimit-reset": "60",
        "ratelimit-policy": '"minute";q=2;w=60',
        "ratelimit": '"minute";r=1;t=60',
    }
    assert third.status == 429
    assert third.headers == {
        "content-type": "application/problem+json",
        "content-length": str(len(third.body)),
        "cache-control": "no-store",
        "x-ratelimit-limit": "2",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "60",
        "ratelimit-policy": '"minute";q=2;w=60',
        "ratelimit": '"minute";r=0;t=60',
        "retry-after": "60",
    }
    assert json.loads(third.body) == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "The limit is used up; try again in 60 s.",
        "violated-policies": ["minute"],
    }
    clock.advance_ns(59_999_999_999)
    assert (ask().status, ask().headers["retry-after"]) == (429, "1")
    clock.advance_ns(1)
    assert ask().status == 200


def test_the_older_headers_or_the_newer_ones_alone(serve):
    rule = Rule(ALL, "5/minute")
    older, newer = serve([rule], headers="x")().headers, serve([rule], headers="ietf")().headers
    assert set(older) == {"content-type", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}
    assert set(newer) == {"content-type", "ratelimit-policy", "ratelimit"}


def test_the_reset_may_be_a_moment(serve, clock):
    ask = serve([Rule(ALL, "1/minute")], reset="epoch")
    clock.advance_ns(1)
    told = [ask().headers["x-ratelimit-reset"] for _ in range(2)]
    assert told == [str(1_790_000_000 + 61)] * 2


def test_all_rules_about_a_request_are_charged_together_or_not_at_all(serve):
    ask = serve([Rule("/login", Quota("login", limit=1, per=60)), Rule(ALL, Quota("all", limit=3, per=3_600))])
    assert statuses(ask, ("GET", "/login"), ("GET", "/login"), ("GET", "/"), ("GET", "/")) == [200, 429, 200, 200]
    refused = ask("GET", "/login")
    assert json.loads(refused.body)["violated-policies"] == ["login", "all"]
    assert refused.headers["ratelimit-policy"] == '"login";q=1;w=60, "all";q=3;w=3600'
    assert refused.headers["ratelimit"] == '"login";r=0;t=60, "all";r=0;t=3600'
    assert (refused.headers["retry-after"], refused.headers["x-ratelimit-limit"]) == ("3600", "3")


def test_of_a_refusal_only_those_that_refused_are_told(serve):
    ask = serve([Rule(ALL, [Quota("minute", limit=1, per=60), Quota("day", limit=9, per=86_400)])])
    allowed, refused = ask(), ask()
    assert allowed.headers["ratelimit"] == '"minute";r=0;t=60, "day";r=8;t=86400'
    assert allowed.headers["x-ratelimit-limit"] == "1"
    assert refused.headers["ratelimit"] == '"minute";r=0;t=60'
    assert refused.headers["retry-after"] == "60"


def test_a_rule_without_quotas_frees_from_the_rules_after_it(serve):
    ask = serve([Rule("/health", []), Rule(ALL, "1/minute")])
    assert statuses(ask, *[("GET", "/health")] * 3, ("GET", "/"), ("GET", "/")) == [200, 200, 200, 200, 429]
    assert set(ask("GET", "/health").headers) == {"content-type"}
    other = serve([Rule("/{rest:path}", Quota("b", limit=1, per=60)), Rule("/health", [])])
    assert statuses(other, ("GET", "/health"), ("GET", "/health")) == [200, 429]


def test_a_rule_is_for_its_methods_and_get_includes_head(serve):
    ask = serve([Rule("/a", "1/minute", methods=["post"]), Rule("/b", "1/minute", methods=["GET"])])
    assert statuses(ask, *[("GET", "/a")] * 2, ("POST", "/a"), ("POST", "/a")) == [200, 200, 200, 429]
    assert statuses(ask, ("HEAD", "/b"), ("GET", "/b"), ("PUT", "/b")) == [200, 429, 200]
    # A HEAD has no body, and the headers of the GET.
    assert ask("HEAD", "/b").headers["content-length"] == ask("GET", "/b").headers["content-length"]


def test_raw_paths_make_no_keys(serve, store):
    ask = serve([Rule("/users/{id}", "1000/minute", key="path"), Rule("/files/{id}", "1000/minute")])
    for number in range(50):
        assert ask("GET", f"/users/{number}").status == ask("GET", f"/files/{number}/").status == 200
    assert store.counts["keys"] == 2


@pytest.mark.parametrize("path", ["/login", "/login/"])
def test_a_slash_at_the_end_is_no_way_around(serve, path):
    ask = serve([Rule("/login", "1/minute")])
    assert statuses(ask, ("POST", "/login"), ("POST", path)) == [200, 429]


def test_a_path_is_compared_decoded(serve):
    ask = serve([Rule("/über/{id}", "1/minute")])
    assert statuses(ask, ("GET", "/über/1"), ("GET", "/über/2")) == [200, 429]


def test_clients_are_counted_apart_and_networks_together(serve):
    ask = serve([Rule(ALL, "1/minute")])
    peers = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", None, None]
    assert [ask(peer=peer).status for peer in peers] == [200, 200, 200, 429, 200, 429, 200, 429]
    host = serve([Rule(ALL, Quota("host", limit=1, per=60))], v6_prefix=128)
    assert [host(peer=peer).status for peer in peers[2:4]] == [200, 200]


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(serve):
    def asked(ask, peer, client):
        return ask(headers={"X-Forwarded-For": f"6.6.6.6, {client}"}, peer=peer).status

    ask = serve([Rule(ALL, Quota("a", limit=1, per=60))], trusted=["10.0.0.0/8"])
    assert [asked(ask, "10.0.0.1", client) for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [200, 200, 429]
    assert [asked(ask, "203.0.113.9", client) for client in ("192.0.2.3", "192.0.2.4")] == [200, 429]
    plain = serve([Rule(ALL, Quota("b", limit=1, per=60))])
    assert [asked(plain, "10.0.0.1", client) for client in ("192.0.2.1", "192.0.2.2")] == [200, 429]
    counted = serve([Rule(ALL, Quota("c", limit=1, per=60))], trusted=1)
    assert [asked(counted, "10.0.0.1", client) for client in ("192.0.2.1", "192.0.2.2")] == [200, 200]


def test_only_the_header_that_the_proxy_writes_is_read(serve):
    ask = serve([Rule(ALL, "1/minute")], trusted=1, forwarded_header="forwarded")
    clients = ("192.0.2.1", "192.0.2.2")
    assert [ask(headers={"Forwarded": f"for={client}"}).status for client in clients] == [200, 200]
    assert [ask(headers={"X-Forwarded-For": client}, peer="10.0.0.1").status for client in clients] == [200, 429]


def test_a_user_counts_wherever_they_come_from_and_nobody_by_address(serve):
    ask = serve([Rule(ALL, "1/minute", key="user")])
    assert ask(user="ann", peer="192.0.2.1").status == 200
    assert ask(user="ann", peer="192.0.2.2").status == 429
    assert ask(user="bob", peer="192.0.2.1").status == 200
    assert [ask(peer=peer).status for peer in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [200, 200, 429]
    # A name that looks like an address is not that address.
    assert ask(user="192.0.2.1").status == 200


def test_one_quota_by_user_and_by_address_charges_somebody_unknown_once_each(serve):
    quota = Quota("both", limit=2, per=60)
    ask = serve([Rule(ALL, quota, key="user"), Rule(ALL, quota, key="ip")])
    assert [ask().status for _ in range(3)] == [200, 200, 429]


def test_a_function_says_for_whom_is_counted_or_that_nobody_is(serve):
    ask = serve([Rule(ALL, "1/minute", key=lambda request: request.header("X-Tenant") or None)])
    assert [ask(headers={"X-Tenant": name}).status for name in ("a", "b", "a")] == [200, 200, 429]
    assert [ask().status for _ in range(3)] == [200, 200, 200]
    assert "ratelimit" not in ask().headers


def test_a_function_sees_the_request(serve):
    seen = []

    def key(request: Request) -> str:
        seen.append(
            (request.method, request.path, request.address, request.user, request.header("host"), bool(request.raw))
        )
        return "x"

    serve([Rule(ALL, "9/minute", key=key)])("PUT", "/a/b", {"Host": "here"}, peer="192.0.2.7:80", user="ann")
    assert seen == [("PUT", "/a/b", "192.0.2.7", "ann", "here", True)]


def test_a_request_may_cost_more(serve):
    ask = serve([Rule("/search", Quota("s", limit=10, per=60), cost=lambda request: len(request.header("Query")))])
    told = [ask("GET", "/search", {"Query": "x" * size}) for size in (4, 4, 4, 2)]
    assert [(each.status, each.headers["x-ratelimit-remaining"]) for each in told] == [
        (200, "6"), (200, "2"), (429, "2"), (200, "0")
    ]  # fmt: skip


def test_what_costs_more_than_the_limit_is_told_that_waiting_does_not_help(serve):
    ask = serve([Rule(ALL, "5/minute", cost=lambda request: 6)])
    told = ask()
    assert (told.status, json.loads(told.body)["detail"]) == (
        429,
        "The request costs more than the whole limit; no waiting helps.",
    )
    assert "retry-after" not in told.headers
    assert told.headers["ratelimit"] == '"5/60s";r=5'


@pytest.mark.parametrize("cost", [-1, 1.5, "1", None])
def test_a_function_that_gives_no_cost_is_told_so_and_nothing_passes(serve, cost):
    ask = serve([Rule(ALL, "5/minute", cost=lambda request: cost)])
    with pytest.raises(InputError, match=r"a cost is a whole number of at least 0"):
        ask()


def test_a_function_that_gives_no_text_is_told_so_and_nothing_passes(serve):
    ask = serve([Rule(ALL, "5/minute", key=lambda request: 5)])
    with pytest.raises(InputError, match=r"a key is a text, not int"):
        ask()


def test_in_shadow_all_passes_and_nobody_is_told(serve):
    ask = serve([Rule(ALL, Quota("q", limit=2, per=60))], shadow=True)
    told = [ask() for _ in range(5)]
    assert [(each.status, set(each.headers)) for each in told] == [(200, {"content-type"})] * 5
    assert ask.limits.snapshot() == [
        {"rule": ALL, "quota": "q", "allowed": 2, "refused": 3, "degraded": 0, "shadow": True}
    ]


def test_it_is_counted_what_was_decided_by_each_quota_of_each_rule(serve):
    ask = serve([Rule("/a", ["1/minute", "5/hour"], methods=["PUT"]), Rule(ALL, "3/minute")])
    statuses(ask, ("PUT", "/a"), ("PUT", "/a"), ("GET", "/a"), ("GET", "/b"), ("GET", "/b"))
    rows = [(row["rule"], row["quota"], row["allowed"], row["refused"]) for row in ask.limits.snapshot()]
    assert rows == [("PUT /a", "1/60s", 1, 1), ("PUT /a", "5/3600s", 1, 0), (ALL, "3/60s", 3, 1)]


class Broken(MemoryStore):
    """A store with an error in it."""

    def hit(self, charges):
        raise RuntimeError("secret words of the store")


@pytest.mark.parametrize(
    ("fail", "seen"), [("open", [200, 200, 200]), ("closed", [429, 429, 429]), ("local", [200, 200, 429])]
)
def test_an_error_of_the_store_reaches_no_client(serve, fail, seen, caplog):
    ask = serve([Rule(ALL, ["2/minute", "5/hour"])], store=Broken(), fail=fail)
    told = [ask() for _ in range(3)]
    assert [each.status for each in told] == seen
    assert [each for each in told if b"secret" in each.body or "secret" in str(each.headers)] == []
    assert {int(each.headers["retry-after"]) >= 1 for each in told if each.status == 429} <= {True}
    assert sum(row["degraded"] for row in ask.limits.snapshot()) == 6
    assert len([record for record in caplog.records if "secret words" in record.getMessage()]) == 1


def test_a_store_made_from_ours_is_asked_its_own_way(serve, caplog):
    ask = serve([Rule(ALL, "1/minute")], store=Broken(), fail="open")
    assert [ask().status for _ in range(3)] == [200, 200, 200]


def test_headers_of_the_application_are_left_as_they_are(serve, request):
    async def asgi(scope, receive, send):
        await send(
            {
                "type": "http.response.start",
                "status": 503,
                "headers": iter([(b"ratelimit", b'"own";r=1'), (b"retry-after", b"9")]),
            }
        )
        await send({"type": "http.response.body", "body": b""})

    def wsgi(environ, start_response):
        start_response(
            "503 Service Unavailable", [("RateLimit", '"own";r=1'), ("Retry-After", "9"), ("Content-Type", "a/b")]
        )
        return [b""]

    app = asgi if "asgi" in request.node.name else wsgi
    told = serve([Rule(ALL, "5/minute")], app=app)()
    assert (told.status, told.headers["ratelimit"], told.headers["retry-after"]) == (503, '"own";r=1', "9")
    assert told.headers["x-ratelimit-limit"] == "5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"headers": "all"}, "headers are 'x', 'ietf' or 'both', not 'all'"),
        ({"reset": "iso"}, r"'delta' \(seconds from now\) or 'epoch' \(Unix time\), not 'iso'"),
        ({"fail": "maybe"}, "open, closed or local, not 'maybe'"),
        ({"trusted": "10.0.0.0/8"}, "trusted proxies are a number, or a list of networks"),
        ({"forwarded_header": "X-Real-IP"}, "'x-forwarded-for' or 'forwarded', not 'X-Real-IP'"),
        ({"v6_prefix": 0}, "v6_prefix is a whole number of bits from 1 to 128, not 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(store, options, message):
    with pytest.raises(InputError, match=message):
        Limits([Rule(ALL, "5/minute")], store=store, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule("users", "5/minute"), "a path template begins with a slash"),
        (lambda: Rule("/", "often"), "'often' is not a rate"),
        (lambda: Rule("/", "5/minute", key="mac"), "rule '/' counts by ip, user, path or a function, not 'mac'"),
        (lambda: Rule("/", "5/minute", methods="GET"), r"methods is a list such as \['GET', 'POST'\], not 'GET'"),
        (lambda: Rule("/", "5/minute", methods=[]), "methods is a list such as"),
        (lambda: Rule("/", "5/minute", methods=["GET /"]), "methods is a list such as"),
        (lambda: Rule("/", "5/minute", cost=6), "rule '/': a cost of 6 never fits in quota '5/60s'"),
        (lambda: Rule("/", "5/minute", cost=-1), "a cost is a whole number of at least 0, not -1"),
        (lambda: Rule("/", ["5/minute", "5 per 60 s"]), "need different names, not 5/60s, 5/60s"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_what_is_no_rule_is_refused(store):
    with pytest.raises(InputError, match="a list of Rule"):
        Limits(["5/minute"], store=store)


def test_one_request_cannot_be_charged_twice_to_one_key(store):
    with pytest.raises(InputError, match=r"rule '/': quota '5/60s' stands there twice for the same key"):
        Limits([Rule("/", "5/minute"), Rule("/", "5/minute")], store=store)


def test_a_name_that_cannot_stand_in_a_header_is_refused_where_it_would(store):
    rules = [Rule("/", Quota("größe", limit=5, per=60))]
    Limits(rules, store=store, headers="x")
    with pytest.raises(InputError, match=r"give it a name of ASCII, or use headers='x'"):
        Limits(rules, store=store)


def test_a_store_that_would_stop_the_loop_is_refused(store):
    class Blocking:
        def hit(self, charges): ...

    class Awaited:
        async def hit(self, charges): ...

    with pytest.raises(InputError, match="Blocking would stop the event loop while it waits"):
        RateLimitASGI(None, [], store=Blocking())
    assert RateLimitASGI(None, [], store=Awaited()).limits.awaited
    with pytest.raises(InputError, match="Awaited must be awaited"):
        Limits([], store=Awaited()).for_threads()


def test_a_quota_that_the_store_cannot_count_is_refused_at_the_start():
    class Small(MemoryStore):
        def fits(self, quota):
            raise InputError(f"quota {quota.name!r} is too large")

    with pytest.raises(InputError, match="quota '5/60s' is too large"):
        Limits([Rule("/", "5/minute")], store=Small())


def test_keys_tell_rule_and_client_and_are_bounded(serve):
    kept = []

    class Watched(MemoryStore):
        def hit(self, charges):
            kept.extend(charge.key for charge in charges)
            return super().hit(charges)

    rules = [
        Rule("/users/{id}", ["5/minute", "9/hour"], methods=["GET", "PUT"]),
        Rule(ALL, ["5/minute", "9/hour"], key="path"),
        Rule(ALL, ["5/minute", "9/hour"], key="user"),
    ]
    ask = serve(rules, store=Watched())
    ask("GET", "/users/1", user="ann")
    ask("GET", "/", user="x" * 10_000)
    assert kept[:6:2] == ["GET,HEAD,PUT /users/:id ip:192.0.2.7", f"/:rest:path {EVERYBODY}", "/:rest:path user:ann"]
    assert max(map(len, kept)) <= 128
    assert kept[-1].startswith("blake2b:")


@pytest.mark.parametrize("rules", [5, Rule("/a", "5/minute")])
def test_rules_are_a_list(rules):
    with pytest.raises(InputError, match="the rules of a middleware are a list of Rule, not "):
        Limits(rules, store=MemoryStore())


def test_what_is_no_store_and_what_is_no_quota_is_refused():
    with pytest.raises(InputError, match="a store is an object such as"):
        Limits([Rule("/a", "5/minute")], store="redis://:secret@127.0.0.1")
    with pytest.raises(InputError, match="a limit is a Quota, or words such as"):
        Rule("/a", 5)
