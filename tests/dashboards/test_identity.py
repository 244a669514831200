"""Who a request comes from: the provider and its two pages over HTTP, and kernels that belong to one session."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from jupyter_server.auth.authorizer import AllowAllAuthorizer
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.testing import bind_unused_port
from traitlets.config import Configurable

from workbench.dashboards.closed import CONTENT_POLICY
from workbench.dashboards.identity import LoginPage, PeopleIdentityProvider, session_of
from workbench.dashboards.kernels import KernelOwners
from workbench.dashboards.server import configuration
from workbench.dashboards.sessions import Session
from workbench.errors import KeyFileError
from workbench.evidence.certificates import Role


def run(main: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: a browser that another test opened keeps a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, main).result()


class Kernels:
    """Kernels that are there until they are shut down."""

    def __init__(self, *kernels: str) -> None:
        self.there = set(kernels)

    def __contains__(self, kernel: str) -> bool:
        return kernel in self.there

    async def shutdown_kernel(self, kernel: str, now: bool = False) -> None:
        self.there.remove(kernel)


class Whoami(JupyterHandler):
    @web.authenticated
    def get(self) -> None:
        session = session_of(self)
        self.finish(
            {
                "person": session and session.person,
                "headers": {name: value for name, value in self.request.headers.get_all() if "orkbench-" in name},
            }
        )


class Server(Configurable):
    base_url = "/base/"


@dataclass
class Client:
    """Asks the server; keeps cookies as a browser does."""

    port: int
    cookies: dict[str, str]

    async def __call__(self, path: str, form: dict[str, str] | None = None, **headers: str) -> HTTPResponse:
        sent = HTTPHeaders({"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())})
        for name, value in headers.items():
            sent.add(name.replace("_", "-"), value)
        answer = await AsyncHTTPClient().fetch(
            f"http://127.0.0.1:{self.port}{path}",
            method="GET" if form is None else "POST",
            body=None if form is None else urlencode(form),
            headers=sent,
            follow_redirects=False,
            raise_error=False,
        )
        for cookie in answer.headers.get_list("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer

    async def sign_in(self, person: str, passphrase: str, *, next: str = "", xsrf: bool = True) -> HTTPResponse:
        page = (await self("/base/login")).body.decode()
        token = re.search(r'name="_xsrf" value="([^"]+)"', page)
        assert token is not None
        form = {"person": person, "passphrase": passphrase} | ({"_xsrf": token[1]} if xsrf else {})
        return await self(f"/base/login?{urlencode({'next': next})}", form)

    @property
    def session(self) -> str:
        return next((value for name, value in self.cookies.items() if "workbench-session" in name), "")


@pytest.fixture
def serve(office, monkeypatch) -> Callable[..., None]:
    """``serve(test)`` runs ``await test(client, provider, owners)`` against a server."""
    monkeypatch.setenv("WORKBENCH_HOME", str(office.workspace.root))

    def serve(test: Callable[[Client, PeopleIdentityProvider, KernelOwners], Awaitable[None]], **traits: Any) -> None:
        async def main() -> None:
            parent = Server()
            provider = PeopleIdentityProvider(parent=parent, token="", login_handler_class=LoginPage, **traits)
            owners = KernelOwners(Kernels("k-1", "k-2"))
            application = web.Application(
                [*provider.get_handlers(), (r"/base/", Whoami)],
                base_url="/base/",
                login_url="/base/login",
                cookie_secret=b"0" * 32,
                xsrf_cookies=True,
                identity_provider=provider,
                authorizer=AllowAllAuthorizer(),
                kernel_owners=owners,
                allow_remote_access=True,
                headers={"Content-Security-Policy": CONTENT_POLICY},
            )
            socket, port = bind_unused_port()
            server = HTTPServer(application)
            server.add_sockets([socket])
            try:
                await test(Client(port, {}), provider, owners)
            finally:
                server.stop()
                await server.close_all_connections()

        run(main())

    return serve


def test_signing_in_gives_a_cookie_and_the_person_s_name_to_the_page(serve, words_of):
    async def test(client, provider, owners):
        first = await client("/base/?item=policy:a@1")
        assert (first.code, first.headers["Location"]) == (302, "/base/login?next=%2Fbase%2F%3Fitem%3Dpolicy%3Aa%401")
        answer = await client.sign_in("Ann Example", words_of("ann"), next="/base/?item=x")
        assert (answer.code, answer.headers["Location"]) == (302, "/base/?item=x")
        (cookie,) = [one for one in answer.headers.get_list("Set-Cookie") if one.startswith("workbench-session")]
        assert {"HttpOnly", "Path=/base/", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
        assert "ann" not in cookie.lower().replace("example", "")
        told = (await client("/base/")).body.decode()
        assert '"p:ann"' in told

    serve(test)


def test_over_tls_the_cookie_is_sent_over_nothing_else(serve, words_of):
    async def test(client, provider, owners):
        answer = await client.sign_in("ann", words_of("ann"))
        (cookie,) = [one for one in answer.headers.get_list("Set-Cookie") if "session" in one]
        assert cookie.startswith("__Secure-workbench-session-") and "; Secure" in cookie
        assert (await client("/base/")).code == 200

    serve(test, https=True)


def test_a_header_that_claims_tls_makes_no_cookie_secure_nor_any_request_trusted(serve, words_of):
    async def test(client, provider, owners):
        answer = await client("/base/login", X_Forwarded_Proto="https", X_Scheme="https", X_Forwarded_For="127.0.0.1")
        assert answer.code == 200 and "Secure" not in str(answer.headers.get_list("Set-Cookie"))

    serve(test)


def test_a_session_that_was_planted_is_not_the_one_that_is_signed_in(serve, words_of):
    """Whoever plants a cookie of their own before somebody signs in does not share that session."""

    async def test(client, provider, owners):
        await client.sign_in("ben", words_of("ben"))
        planted = client.session
        other = Client(client.port, dict(client.cookies))
        await other("/base/logout", {"_xsrf": other.cookies["_xsrf"]})
        other.cookies.update({name: planted for name in other.cookies if "session" in name})
        await other.sign_in("ann", words_of("ann"))
        assert other.session not in ("", planted)
        client.cookies = {name: planted if "session" in name else value for name, value in client.cookies.items()}
        assert (await client("/base/")).code == 302

    serve(test)


def test_a_session_ends_with_the_key_that_began_it(serve, office, words_of):
    async def test(client, provider, owners):
        await client.sign_in("ann", words_of("ann"))
        other = Client(client.port, {})
        await other.sign_in("ben", words_of("ben"))
        await provider.end_without_key(provider.sessions.all())
        assert (await client("/base/")).code == 200
        custody = office.custody
        root = custody.root_signer("root passphrase")
        ann = office.lifecycle.people.find("ann").certificate_sha256
        custody.revoke(
            ann, "cessationOfOperation", datetime.fromtimestamp(office.clock.time_ns() / 1e9, UTC), root=root
        )
        custody.rotate(custody.store.unlock(Role.APPROVAL, words_of("ben"), "ben"), "the newer words of ben", root=root)
        await provider.end_without_key(provider.sessions.all())
        assert [(await one("/base/")).code for one in (client, other)] == [302, 302]

    serve(test)


def test_more_sign_ins_than_can_be_served_are_sent_away(serve, words_of, monkeypatch):
    monkeypatch.setattr("workbench.dashboards.identity._MOST_WAITING", 2)

    async def test(client, provider, owners):
        clients = [Client(client.port, {}) for _ in range(6)]
        answers = await asyncio.gather(*(one.sign_in("ann", words_of("ann")) for one in clients))
        told = [answer.body.decode() for answer in answers if answer.code == 403]
        assert all("Many people are signing in at this moment" in one for one in told)
        assert 2 <= sum(answer.code == 302 for answer in answers) <= 6 and provider._waiting == 0
        assert (await client.sign_in("ann", words_of("ann"))).code == 302

    serve(test)


def test_headers_that_claim_somebody_are_taken_off(serve, words_of):
    async def test(client, provider, owners):
        claimed = {"X_Workbench_User": "p:olga", "x_workbench_role": "owner", "X_WORKBENCH_USER": "p:ben"}
        assert (await client("/base/", **claimed)).code == 302
        await client.sign_in("ann", words_of("ann"))
        told = (await client("/base/", **claimed)).body.decode()
        assert '"headers": {"X-Workbench-User": "p:ann"}' in told

    serve(test)


@pytest.mark.parametrize(
    "place",
    [
        "//evil.example",
        "https://evil.example/",
        "/other/",
        "/base/..\\\\evil",
        "javascript:alert(1)",
        "/base/\r\nX: y",
        "",
    ],
)
def test_after_signing_in_one_is_sent_to_this_server_only(serve, words_of, place):
    async def test(client, provider, owners):
        answer = await client.sign_in("ann", words_of("ann"), next=place)
        assert (answer.code, answer.headers["Location"]) == (302, "/base/")

    serve(test)


@pytest.mark.parametrize(
    ("person", "passphrase", "told"),
    [
        ("ann", "wrong", "The person or the passphrase is not right."),
        ("<script>alert(1)</script>", "x", "The person or the passphrase is not right."),
        ("", "x", "Say who you are"),
    ],
)
def test_a_refusal_is_a_sentence_on_the_form(serve, person, passphrase, told):
    async def test(client, provider, owners):
        answer = await client.sign_in(person, passphrase)
        page = answer.body.decode()
        assert answer.code == 403 and told in page and "<script" not in page
        assert client.session == "" and passphrase not in page.replace("x", "", 0 if passphrase != "x" else -1)

    serve(test)


def test_a_form_of_another_site_signs_nobody_in_or_out(serve, words_of):
    async def test(client, provider, owners):
        assert (await client.sign_in("ann", words_of("ann"), xsrf=False)).code == 403
        await client.sign_in("ann", words_of("ann"))
        assert (await client("/base/logout", {})).code == 403
        assert (await client("/base/logout")).code == 302  # a link does nothing
        assert (await client("/base/")).code == 200

    serve(test)


def test_signing_out_ends_the_session_and_its_kernels(serve, words_of):
    async def test(client, provider, owners):
        await client.sign_in("ann", words_of("ann"))
        before = dict(client.cookies)
        session = provider.sessions._read()
        (own,) = session.values()
        owners.made("k-1", own)
        owners.made("k-2", Session("other", "p:ben", "", 0))
        assert (await client("/base/logout", {"_xsrf": client.cookies["_xsrf"]})).code == 302
        client.cookies = before
        assert (await client("/base/")).code == 302
        assert owners._kernels.there == {"k-2"}

    serve(test)


@pytest.mark.parametrize("change", ["cut", "other", "unsigned"])
def test_a_changed_cookie_opens_nothing(serve, words_of, change):
    async def test(client, provider, owners):
        await client.sign_in("ann", words_of("ann"))
        (name,) = [one for one in client.cookies if one.startswith("workbench-session")]
        value = client.cookies[name]
        client.cookies[name] = {"cut": value[:-1], "other": value[:-3] + "abc", "unsigned": "token"}[change]
        assert (await client("/base/")).code == 302

    serve(test)


def test_the_form_runs_no_script_and_asks_nobody(serve):
    async def test(client, provider, owners):
        answer = await client("/base/login")
        policy, page = answer.headers["Content-Security-Policy"], answer.body.decode()
        assert policy.startswith("default-src 'none'; style-src 'sha256-") and "script-src" not in policy
        assert "<script" not in page and "http" not in page.replace("http-equiv", "")
        assert answer.headers["Cache-Control"] == "no-store"

    serve(test)


class Request:
    def __init__(self, session: Session | None) -> None:
        self.workbench_session = session


def test_a_kernel_is_there_for_its_own_session_only():
    async def test():
        ann, ben = Session("1", "p:ann", "", 0), Session("2", "p:ann", "", 0)
        kernels = Kernels("k-1", "k-2", "k-3")
        owners = KernelOwners(kernels)
        owners.made("k-1", ann)
        owners.made("k-2", ben)
        owners.require(Request(ann), "k-1")
        for session, kernel in ((ben, "k-1"), (None, "k-1"), (ann, "k-2"), (ann, "k-3"), (ann, "none")):
            with pytest.raises(web.HTTPError) as caught:
                owners.require(Request(session), kernel)
            assert caught.value.status_code == 404
        await owners.sweep(frozenset({"2"}))
        assert kernels.there == {"k-2", "k-3"}
        kernels.there.remove("k-2")
        await owners.sweep(frozenset({"2"}))
        assert owners._owners == {}

    run(test())


def test_who_opens_page_after_page_ends_their_own_oldest_kernels():
    async def test():
        ann, ben = Session("1", "p:ann", "", 0), Session("2", "p:ben", "", 0)
        kernels = Kernels("b", *map(str, range(20)))
        owners = KernelOwners(kernels)
        owners.made("b", ben)
        for number in range(20):
            await owners.make_room(ann)
            owners.made(str(number), ann)
            if number == 15:
                kernels.there -= {"14", "15"}  # their pages were left
        assert kernels.there == {"b", "10", "11", "12", "13", "16", "17", "18", "19"}
        with owners.making(ann), owners.making(ann), owners.making(ann), owners.making(ben):
            with pytest.raises(web.HTTPError) as caught, owners.making(ann):
                pass
            assert caught.value.status_code == 429
        with owners.making(ann):
            assert owners._making == {"1": 1}

    run(test())


def test_the_server_is_closed_on_all_sides(office):
    config = configuration(office.workspace, ip="127.0.0.1", port=1, workers=2, https=False, base="/")
    voila = config.VoilaConfiguration
    assert (voila.strip_sources, voila.show_tracebacks, voila.file_allowlist) == (True, False, ["^$"])
    assert (voila.allow_template_override, voila.allow_theme_override) == ("NO", "NO")
    assert config.KernelManager.transport == "ipc" and config.MappingKernelManager.cull_connected is True
    assert len(config.Voila.cookie_secret) == 64 and config.Voila.ip == "127.0.0.1"
    assert "http:" not in CONTENT_POLICY and "*" not in CONTENT_POLICY and "object-src 'none'" in CONTENT_POLICY


def test_a_page_is_not_served_from_a_port_that_is_taken(office, tmp_path):
    from workbench.dashboards.server import DashboardServer
    from workbench.errors import InputError

    socket, port = bind_unused_port()
    with socket, pytest.raises(InputError, match=f"cannot listen on 127.0.0.1 port {port} .*: choose another"):
        DashboardServer(ip="127.0.0.1", port=port).start()


def test_keys_that_others_can_read_are_not_used(office, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(office.workspace.root))
    (office.workspace.state / "dashboard").mkdir(mode=0o755)
    with pytest.raises(KeyFileError, match="open to other users"):
        PeopleIdentityProvider(parent=Server(), token="")
