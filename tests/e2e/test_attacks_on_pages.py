"""What a visitor with bad intent sends to the real server, by hand and in a real browser; and what it answers."""

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from workbench.custody import Custody
from workbench.evidence.keyfile import KeyDerivation
from workbench.lifecycle import Lifecycle, Subject
from workbench.policies import Policy, PolicyKind, PolicyStore
from workbench.workspace import MARKER, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CHEAP = KeyDerivation(memory=64, passes=1)
HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
CAST = {"olga": ("owner",), "rita": ("researcher",), "ann": ("reviewer",), "ben": ("reviewer",), "cara": ("reviewer",)}
PROXIED = {"Host": "review.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}


def words(person: str) -> str:
    return f"the words of {person}"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: str


@dataclass
class Client:
    """A visitor without a browser."""

    port: int
    always: dict[str, str] = field(default_factory=dict)  # headers
    cookies: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        sent = {**self.always, **({"Cookie": self.cookie} if self.cookies else {})}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, None if form is None else urlencode(form), sent)
            answer = connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return Answer(answer.status, answer.headers, body)

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def sign_in(self, person: str) -> Answer:
        form = {"person": person, "passphrase": words(person)}
        token = re.search('name="_xsrf" value="([^"]+)"', self("GET", "/login").body)
        assert token is not None
        answer = self("POST", "/login", {**form, "_xsrf": token[1]})
        assert answer.status == 302, answer.body
        return answer

    def kernel(self) -> str:
        """Open the page; the id of its kernel."""
        page = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', self("GET", "/").body, re.DOTALL)
        assert page is not None
        return str(json.loads(page[1])["kernelId"])

    def opens(self, kernel: str, *, origin: str | None = None, host: str | None = None) -> int:
        """The status with which the channels of a kernel answer; 101 is yes."""
        try:
            with self.channels(kernel, origin=origin, host=host):
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    def channels(self, kernel: str, *, origin: str | None = None, host: str | None = None) -> Any:
        named = host or self.always.get("Host") or f"127.0.0.1:{self.port}"
        return connect(
            f"ws://{named}/api/kernels/{kernel}/channels", additional_headers={"Cookie": self.cookie}, origin=origin,
            proxy=None, sock=socket.create_connection(("127.0.0.1", self.port), timeout=30),
        )  # fmt: skip


@dataclass
class Site:
    workspace: Workspace
    port: int
    log: Path

    def client(self, person: str = "", **always: str) -> Client:
        client = Client(self.port, {name.replace("_", "-"): value for name, value in always.items()})
        if person:
            client.sign_in(person)
        return client


@contextmanager
def serving(workspace: Workspace, *more: str) -> Iterator[Site]:
    log = workspace.root / f"server{len(more)}.log"
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace.root), "dashboard", "approvals",
               "--port", "0", "--no-browser", *more]  # fmt: skip
    with log.open("wb") as errors, subprocess.Popen(
        command, cwd=workspace.root, stdout=subprocess.PIPE, stderr=errors
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            ready, _, _ = select.select([server.stdout], [], [], 90)
            line = server.stdout.readline().decode() if ready else ""
            assert line.startswith("approvals: http://127.0.0.1:"), log.read_text()
            yield Site(workspace, int(line.split(":")[3].split("/")[0]), log)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)


@pytest.fixture(scope="module")
def workspace_of_site(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("attacked") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    workspace = Workspace(root)
    custody = Custody.begin(
        workspace, root_passphrase="root passphrase", passphrase="working passphrase", derivation=CHEAP
    )
    lifecycle = Lifecycle(custody, [PolicyKind(workspace, Subject)])
    signer = custody.root_signer("root passphrase")
    for number, (person, roles) in enumerate(CAST.items()):
        given = {"by": "olga", "by_passphrase": words("olga")} if number else {}
        lifecycle.people.enrol(
            f"{person.title()} {HOSTILE}", passphrase=words(person), root=signer, roles=roles, pseudonym=person, **given
        )
    policy = {
        "name": "night-export", "title": f"Exports {HOSTILE}", "description": HOSTILE, "severity": "high",
        "controls": ["NIST-AC-6"], "expression": f"action = '{HOSTILE.replace(chr(39), chr(39) * 2)}'",
        "rationale": HOSTILE,
    }  # fmt: skip
    for version in (1, 2):
        policy["severity"] = ("high", "critical")[version - 1]
        PolicyStore(workspace).add(Policy.model_validate(policy), author="p:rita")
        for action, person in (("submit", "rita"), ("approve", "ben"))[: 3 - version]:
            subject = lifecycle.find(f"policy:night-export@{version}")
            lifecycle.transition(subject, action, person, reason=HOSTILE, passphrase=words(person))
    return workspace


@pytest.fixture(scope="module")
def site(workspace_of_site: Workspace) -> Iterator[Site]:
    with serving(workspace_of_site, "--workers", "1") as site:
        yield site


@pytest.fixture(scope="module")
def ann(site: Site) -> Client:
    return site.client("ann")


@pytest.fixture(scope="module")
def kernel(ann: Client) -> str:
    return ann.kernel()


PLACES = [
    "/", "/login", "/logout", "/nothing", "/favicon.ico", "/api", "/api/kernels/a-b-c-d-e", "/voila/api/shutdown/a",
    "/voila/static/", "/voila/static/voila.js", "/voila/static/nothing", "/voila/static/..%2f..%2f..%2fetc/passwd",
    "/voila/templates/workbench/static/voila-style.js", "/voila/templates/workbench/static/nothing",
    "/voila/templates/base/static/nothing", "/voila/templates/workbench/static/..%2f..%2fserver.py",
    "/voila/labextensions/", "/voila/labextensions/..%2f..%2f..%2fetc/passwd", "/voila/api/themes/",
    "/voila/api/themes/..%2f..%2fetc/passwd", "/voila/query/a-b-c-d-e", "/static/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/%00", "/%ff", "/files/approvals.ipynb", "*",
]  # fmt: skip


@pytest.mark.parametrize("signed_in", [False, True], ids=["stranger", "reviewer"])
def test_every_answer_says_what_a_page_may_do_and_none_what_it_runs_on(
    site: Site, ann: Client, signed_in: bool
) -> None:
    client = ann if signed_in else site.client()
    for place in PLACES:
        for method in ("GET", "POST", "OPTIONS"):
            if signed_in and (place, method) in (("/", "GET"), ("/logout", "POST")):
                continue
            answer = client(method, place)
            told = (method, place, answer.status)
            assert answer.status in (200, 302, 400, 403, 404, 405), told
            assert "default-src" in answer.headers["Content-Security-Policy"], told
            assert answer.headers["X-Content-Type-Options"] == "nosniff", told
            assert answer.headers["Server"] is None and answer.headers["Access-Control-Allow-Origin"] is None, told
            assert "root:" not in answer.body and "import " not in answer.body[:200] and "Traceback" not in answer.body


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "x"])
def test_by_a_name_of_its_own_another_site_reaches_nothing(site: Site, ann: Client, kernel: str, name: str) -> None:
    """A page may have its name point to this machine (DNS rebinding): the browser then sends that name."""
    for host in (name, f"{name}:{site.port}"):
        for place in ("/", "/login", "/voila/static/voila.js", f"/api/kernels/{kernel}", "/nothing"):
            assert ann("GET", place, Host=host).status == 421, (host, place)
        assert site.client()("POST", "/login", {"person": "ann"}, Host=host).status == 421
        assert ann.opens(kernel, host=host) == 421
    for host in (f"localhost:{site.port}", f"LOCALHOST:{site.port}", f"[::1]:{site.port}"):
        assert site.client()("GET", "/login", Host=host).status == 200


def test_cookies_stay_with_this_site(site: Site) -> None:
    client = site.client()
    (xsrf,) = client("GET", "/login").headers.get_all("Set-Cookie") or []
    assert {"Path=/", "SameSite=Lax"} <= set(xsrf.split("; "))
    (session,) = client.sign_in("ben").headers.get_all("Set-Cookie") or []
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(session.split("; "))


def test_another_origin_does_not_speak_to_a_kernel(site: Site, ann: Client, kernel: str) -> None:
    own = f"http://127.0.0.1:{site.port}"
    assert ann.opens(kernel, origin=own) == 101
    for origin in ("http://evil.example", "null", f"{own}.evil.example", "http://127.0.0.1:1", "http://localhost", ""):
        assert ann.opens(kernel, origin=origin) == 403, origin


def test_the_kernel_of_another_session_is_not_there_even_for_the_same_person(
    site: Site, ann: Client, kernel: str
) -> None:
    for person in ("ann", "ben"):
        other = site.client(person)
        assert (other.opens(kernel), other("GET", f"/api/kernels/{kernel}").status) == (404, 404)
        token = other.cookies["_xsrf"]
        assert other("POST", f"/voila/api/shutdown/{kernel}", X_XSRFToken=token).status == 404
    assert ann("GET", f"/api/kernels/{kernel}").status == 200


def message(type: str, content: object, channel: str = "shell") -> str:
    header = {
        "msg_id": uuid.uuid4().hex, "msg_type": type, "session": "s", "username": "p:olga", "version": "5.3",
        "date": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    return json.dumps(
        {"channel": channel, "header": header, "parent_header": {}, "metadata": {}, "content": content, "buffers": []}
    )


def replies(channels: Any, request: str, wanted: str) -> bool:
    """Whether a message is answered; everything that was sent before has been looked at by then."""
    channels.send(request)
    try:
        while True:
            if json.loads(channels.recv(timeout=20))["header"]["msg_type"] == wanted:
                return True
    except (TimeoutError, ConnectionClosed):
        return False


def test_no_message_runs_code(site: Site, ann: Client, kernel: str, tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    run = {"code": f"open({str(owned)!r}, 'w')", "silent": False, "store_history": False, "user_expressions": {},
           "allow_stdin": False}  # fmt: skip
    with ann.channels(kernel) as channels:
        for channel in ("shell", "control"):
            channels.send(message("execute_request", run, channel))
            channels.send(message("debug_request", {"type": "request", "seq": 1, "command": "initialize"}, channel))
            channels.send(message("inspect_request", {"code": "open", "cursor_pos": 3, "detail_level": 1}, channel))
            channels.send(message("history_request", {"hist_access_type": "tail", "n": 9, "output": True}, channel))
        two = json.loads(message("kernel_info_request", run)) | {"msg_type": "execute_request"}
        channels.send(json.dumps(two))
        assert replies(channels, message("kernel_info_request", {}), "kernel_info_reply")
    assert not owned.exists()


def test_malformed_and_oversize_messages_end_nothing_but_their_own_channel(ann: Client, kernel: str) -> None:
    state = {"_model_name": "FileUploadModel", "_model_module": "os", "children": ["IPY_MODEL_x"], "extra": {"a": 1}}
    harmless = [
        message("comm_open", {}), message("comm_msg", {"comm_id": "nobody's", "data": {"method": "update"}}),
        message("comm_open", {"comm_id": "x", "target_name": "jupyter.widget", "data": {"state": state}}),
        message("comm_open", {"comm_id": "y", "target_name": "os.system", "data": {"command": "id"}}),
        message("comm_msg", {"comm_id": "x", "data": {"method": "update", "state": {"value": "x", "more": [1]}}}),
        message("comm_close", {"comm_id": [1, 2]}), message("comm_info_request", {"target_name": None}),
    ]  # fmt: skip
    with ann.channels(kernel) as channels:
        for one in harmless:
            channels.send(one)
        assert replies(channels, message("kernel_info_request", {}), "kernel_info_reply")
    for bad in ("{", "[]", "null", '{"header":null}', '{"channel":"shell"}', b"\xff" * 9, "x" * (3 << 20)):
        with ann.channels(kernel) as channels, contextlib.suppress(ConnectionClosed):
            channels.send(bad)
            channels.recv(timeout=1)
    with ann.channels(kernel) as channels:
        assert replies(channels, message("kernel_info_request", {}), "kernel_info_reply")


def test_half_sent_and_oversize_requests_keep_nobody_waiting(site: Site) -> None:
    halves = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(100)]
    try:
        for number, half in enumerate(halves):
            half.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n" if number % 2 else
                         b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nperson=")  # fmt: skip
        client = site.client()
        assert client("GET", "/login").status == 200
        with contextlib.suppress(OSError, http.client.HTTPException):  # refused before it was sent
            assert client("POST", "/login", {"person": "x" * (2 << 20)}).status in (400, 413)
        with contextlib.suppress(OSError, http.client.HTTPException):
            assert client("GET", "/login", X_Big="x" * (1 << 20)).status in (400, 431)
        assert client("GET", "/login").status == 200
    finally:
        for half in halves:
            half.close()


def test_a_key_that_is_withdrawn_shuts_the_page_at_once(site: Site) -> None:
    cara = site.client("cara")
    kernel = cara.kernel()
    custody = Custody(site.workspace, derivation=CHEAP)
    sha256 = Lifecycle(custody).people.find("cara").certificate_sha256
    assert sha256 is not None
    custody.revoke(sha256, "cessationOfOperation", datetime.now(UTC), root=custody.root_signer("root passphrase"))
    answer = cara("GET", "/")
    assert (answer.status, answer.headers["Location"].partition("?")[0]) == (302, "/login")
    assert (cara.opens(kernel), cara("GET", f"/api/kernels/{kernel}").status) == (403, 403)


def test_what_others_wrote_is_text_on_the_page(site: Site, browser: Browser) -> None:
    """Names, title, description, rationale, expression and reasons."""
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{site.port}/?" + urlencode({"item": "policy:night-export@2", "receipt": HOSTILE}))
    page.get_by_label("Person").fill("ben")
    page.get_by_label("Passphrase").fill(words("ben"))
    page.keyboard.press("Enter")
    page.locator("h1[data-focus]").wait_for(timeout=60_000)
    text = page.inner_text("body")
    assert text.count(HOSTILE) >= 6 and "owned" not in page.title().replace(HOSTILE, "")
    assert page.evaluate("document.querySelectorAll('[onerror], img[src=\"x\"]').length") == 0
    own = f"//127.0.0.1:{site.port}/"
    assert [url for url in asked if own not in url and not url.startswith(("data:", "blob:"))] == []
    assert [url for url in asked if url.endswith("/x")] == []
    context.close()


def test_no_passphrase_is_in_the_log_a_file_or_the_list_of_processes(site: Site) -> None:
    ben = site.client("ben")
    token = ben.cookies["_xsrf"]
    site.client()("POST", "/login", {"person": "ben", "passphrase": "a wrong secret of ben"}, Cookie=f"_xsrf={token}")
    secrets = [words("ben"), words("ann"), "a wrong secret of ben"]
    secrets += [urlencode({"": one})[1:] for one in secrets]
    found = [
        path
        for path in site.workspace.root.rglob("*")
        if path.is_file() and any(one.encode() in path.read_bytes() for one in secrets)
    ]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = (process / "cmdline").read_bytes()
            if str(site.workspace.root).encode() in told:
                told += (process / "environ").read_bytes()
                found += [process for one in secrets if one.encode() in told]
    assert found == []
    assert os.environ.get("WORKBENCH_PASSPHRASE") is None


def test_behind_a_proxy_that_speaks_tls(workspace_of_site: Workspace) -> None:
    with serving(workspace_of_site, "--https", "--workers", "0") as site:
        client = site.client(**PROXIED)
        answer = client("GET", "/login")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        (xsrf,) = answer.headers.get_all("Set-Cookie") or []
        assert {"Path=/", "SameSite=Lax", "Secure"} <= set(xsrf.split("; "))
        (session,) = client.sign_in("ann").headers.get_all("Set-Cookie") or []
        assert session.startswith("__Host-workbench-session-review-example=")
        assert {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"} <= set(session.split("; "))
        assert "Domain" not in session
        kernel = client.kernel()
        assert client.opens(kernel, origin="https://review.example") == 101
        for origin in ("https://evil.example", "https://review.example.evil.example", f"http://127.0.0.1:{site.port}"):
            assert client.opens(kernel, origin=origin) == 403
