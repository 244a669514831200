"""Other tools get their timestamps over HTTP, and nothing that is sent disturbs the server."""

import contextlib
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from workbench.evidence.timestamps import TimestampServer, check_response, serve

QUERY = {"Content-Type": "application/timestamp-query"}
ABOUT = b"This is a timestamp authority (RFC 3161); send it application/timestamp-query by POST.\n"


@pytest.fixture
def server(pki) -> Iterator[TimestampServer]:
    with serve(pki.authority()) as server:
        yield server


@contextlib.contextmanager
def connection(server: TimestampServer) -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(http.client.HTTPConnection(*server.address, timeout=10)) as client:
        yield client


def ask(
    server: TimestampServer,
    method: str,
    path: str = "/",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes, dict[str, str]]:
    with connection(server) as client:
        client.request(method, path, body, headers or {})
        answer = client.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


@pytest.mark.parametrize("kind", ["pki", "rsa_pki"])
def test_openssl_asks_and_openssl_verifies(lab, request, openssl, tmp_path, kind):
    pki = request.getfixturevalue(kind)
    document = tmp_path / "report.pdf"
    document.write_bytes(b"the report")
    told = openssl("ts", "-query", "-data", document, "-sha256", "-cert", "-out", tmp_path / "report.tsq")
    assert (tmp_path / "report.tsq").exists(), told
    with serve(pki.authority()) as server:
        posted = urllib.request.Request(server.url, (tmp_path / "report.tsq").read_bytes(), QUERY)
        with urllib.request.urlopen(posted, timeout=10) as answer:
            assert answer.headers["Content-Type"] == "application/timestamp-reply"
            response = answer.read()
    assert "Verification: OK" in openssl.verify(response, pki)
    by_query = openssl(
        "ts", "-verify", "-in", tmp_path / "response.tsr", "-queryfile", tmp_path / "report.tsq",
        "-CAfile", tmp_path / "root.pem", "-attime", int(lab.NOW.timestamp()),
    )  # fmt: skip
    assert "Verification: OK" in by_query
    assert check_response(response, lab.DIGEST, **pki.trust).time == lab.NOW


def test_it_listens_on_loopback_and_says_in_one_sentence_what_it_is(server):
    assert server.address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.address[1]}/"
    status, body, headers = ask(server, "GET")
    assert (status, body) == (200, ABOUT)
    assert set(headers) == {"date", "content-type", "content-length", "cache-control", "x-content-type-options"}
    assert ask(server, "HEAD")[:2] == (200, b"")


def test_a_refusal_by_the_authority_is_a_timestamp_reply_too(server):
    status, body, headers = ask(server, "POST", body=b"?", headers=QUERY)
    assert (status, headers["content-type"]) == (200, "application/timestamp-reply")
    assert b"this is not a timestamp request" in body


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "expected"),
    [
        ("POST", "/", b"?", {}, (415, b"Send application/timestamp-query.\n")),
        ("POST", "/", b"?", {"Content-Type": "text/html"}, (415, b"Send application/timestamp-query.\n")),
        ("POST", "/", bytes(16385), QUERY, (413, b"A request has at most 16384 bytes.\n")),
        ("POST", "/", b"", {**QUERY, "Content-Length": "9" * 5000}, (413, b"A request has at most 16384 bytes.\n")),
        (
            "POST",
            "/",
            b"",
            {**QUERY, "Content-Length": "-1"},
            (411, b"Say how long the request is (Content-Length).\n"),
        ),
        (
            "POST",
            "/",
            b"0\r\n\r\n",
            {**QUERY, "Transfer-Encoding": "chunked"},
            (411, b"Say how long the request is (Content-Length).\n"),
        ),
        ("POST", "/other", b"?", QUERY, (404, b"There is nothing here; the address is /.\n")),
        ("GET", "/other", None, {}, (404, b"There is nothing here; the address is /.\n")),
        ("DELETE", "/", None, {}, (405, b"This is not a request that is answered here.\n")),
    ],
)
def test_what_is_no_query_is_refused_in_one_sentence(server, method, path, body, headers, expected):
    status, text, answered = ask(server, method, path, body, headers)
    assert (status, text) == expected
    assert "server" not in answered


def test_a_connection_serves_many_requests(lab, pki, server):
    with connection(server) as client:
        for nonce in range(1, 6):
            client.request(
                "POST", "/", lab.request_for(nonce=nonce), {"Content-Type": "application/timestamp-query; x=y"}
            )
            found = check_response(client.getresponse().read(), lab.DIGEST, **pki.trust)
            assert found.nonce == nonce


def test_many_ask_at_once(lab, pki, server):
    found: list[int | None] = []

    def work(nonce: int) -> None:
        body = ask(server, "POST", body=lab.request_for(nonce=nonce), headers=QUERY)[1]
        found.append(check_response(body, lab.DIGEST, **pki.trust).nonce)

    threads = [threading.Thread(target=work, args=(nonce,)) for nonce in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 21))


def raw(server: TimestampServer, data: bytes, *, hang_up: bool = False) -> bytes:
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall(data)
        if hang_up:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(4096):
                answer += piece
        return answer


HEAD = b"POST / HTTP/1.1\r\nContent-Type: application/timestamp-query\r\nContent-Length: 100\r\n\r\n"


def test_a_request_that_does_not_come_is_not_waited_for(pki):
    with serve(pki.authority(), read_s=0.2) as server:
        assert raw(server, HEAD + b"half").startswith(b"HTTP/1.1 408 ")
        assert raw(server, b"POST / HT") == b""


def test_a_client_that_hangs_up_disturbs_nobody(server):
    assert raw(server, HEAD + b"half", hang_up=True).startswith(b"HTTP/1.1 408 ")
    assert raw(server, b"", hang_up=True) == b""
    assert ask(server, "GET")[1] == ABOUT


@pytest.mark.parametrize(
    "line", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 70_000 + b"\r\n"]
)
def test_what_is_not_http_is_refused_plainly(server, line):
    answer = raw(server, line)
    assert b"Python" not in answer
    assert b"<html" not in answer.lower()
    assert ask(server, "GET")[1] == ABOUT


def test_closing_hangs_up_on_who_is_still_connected(pki):
    server = serve(pki.authority())
    with socket.create_connection(server.address, timeout=10) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert idle.recv(15) == b"HTTP/1.1 200 OK"
        server.close()
    with pytest.raises(OSError):
        socket.create_connection(server.address, timeout=1).close()
