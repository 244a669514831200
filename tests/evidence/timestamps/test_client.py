"""An authority outside is believed nothing: what it answers is checked, and it is left alone when it fails."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workbench.errors import InputError, TimestampError
from workbench.evidence.certificates import pem
from workbench.evidence.timestamps import (
    Breaker,
    BreakerState,
    ExternalAuthority,
    TokenInvalidError,
    TokenMismatchError,
    check_response,
    serve,
)

SECOND = 10**9
REPLY = {"content-type": "application/timestamp-reply"}
Handler = Callable[[httpx.Request], httpx.Response]


class World:
    """A client, its breaker and clock, and an authority that answers with what ``handlers`` say, one after the other."""

    def __init__(self, lab: Any, pki: Any) -> None:
        self.lab, self.pki = lab, pki
        self.clock = lab.clock_at(lab.NOW)
        self.breaker = Breaker(None, clock=self.clock)
        self.asked: list[httpx.Request] = []
        self.handlers: list[Handler] = []
        self.authority = pki.authority(clock=self.clock)

    def client(self, **options: Any) -> ExternalAuthority:
        return ExternalAuthority(
            options.pop("url", "https://tsa.example/stamp"),
            **{
                "roots": [self.pki.root],
                "breaker": self.breaker,
                "clock": self.clock,
                "transport": httpx.MockTransport(self._handle),
                "random": lambda: 0.5,
                **options,
            },
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        handler = self.handlers[min(len(self.asked), len(self.handlers)) - 1] if self.handlers else self.genuine
        return handler(request)

    def genuine(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=REPLY, content=self.authority.respond(request.content))

    def passed_s(self) -> float:
        return (self.clock.time_ns() - int(self.lab.NOW.timestamp()) * SECOND) / SECOND

    def state(self) -> tuple[BreakerState, int]:
        """The breaker, and how often the authority was asked."""
        return self.breaker.state, len(self.asked)


CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


@pytest.fixture
def world(lab, pki) -> World:
    return World(lab, pki)


def answers(code: int, content: bytes = b"", **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(code, content=content, headers=named)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_timestamp_is_asked_for_checked_and_handed_on(lab, pki, world, pinned):
    response = world.client(certificate=pki.certificate if pinned else None).stamp(lab.DIGEST)
    (request,) = world.asked
    query = tsp.TimeStampReq.load(request.content, strict=True).native
    assert (request.method, str(request.url)) == ("POST", "https://tsa.example/stamp")
    assert request.headers["content-type"] == "application/timestamp-query"
    assert query["message_imprint"]["hashed_message"] == lab.DIGEST
    assert (query["version"], query["cert_req"], query["req_policy"], query["extensions"]) == ("v1", True, None, None)
    assert check_response(response, lab.DIGEST, **pki.trust, local=False).nonce == query["nonce"]
    assert world.state() == (CLOSED, 1)


def test_nonces_differ(lab, world):
    client = world.client()
    for _ in range(20):
        client.stamp(lab.DIGEST)
    nonces = {tsp.TimeStampReq.load(request.content)["nonce"].native for request in world.asked}
    assert len(nonces) == 20
    assert all(0 < nonce < 2**64 for nonce in nonces)


def with_nonce(change: int) -> Callable[[World], Handler]:
    def make(world: World) -> Handler:
        def handle(request: httpx.Request) -> httpx.Response:
            nonce = tsp.TimeStampReq.load(request.content)["nonce"].native
            content = world.lab.forge(world.pki, info={"nonce": nonce + change})
            return httpx.Response(200, headers=REPLY, content=content)

        return handle

    return make


def other_imprint(world: World) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        nonce = tsp.TimeStampReq.load(request.content)["nonce"].native
        content = world.lab.forge(world.pki, info={"nonce": nonce}, digest=bytes(32))
        return httpx.Response(200, headers=REPLY, content=content)

    return handle


def by_another(*, root_too: bool = False) -> Callable[[World], Handler]:
    """An attacker's own authority, with its root embedded or not."""

    def make(world: World) -> Handler:
        theirs = type(world.pki).new()

        def handle(request: httpx.Request) -> httpx.Response:
            nonce = tsp.TimeStampReq.load(request.content)["nonce"].native
            embedded = [theirs.certificate, *([theirs.root] if root_too else [])]
            content = world.lab.forge(theirs, info={"nonce": nonce}, embedded=embedded)
            return httpx.Response(200, headers=REPLY, content=content)

        return handle

    return make


def without_certificate(world: World) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        nonce = tsp.TimeStampReq.load(request.content)["nonce"].native
        return httpx.Response(
            200, headers=REPLY, content=world.lab.forge(world.pki, info={"nonce": nonce}, embedded=[])
        )

    return handle


def always(code: int, content: bytes = b"", **headers: str) -> Callable[[World], Handler]:
    return lambda world: answers(code, content, **headers)


@pytest.mark.parametrize(
    ("make", "kind", "reason"),
    [
        (always(200, b"<html>Log in first</html>", content_type="text/html"), TokenInvalidError, "found text/html$"),
        (always(200, b"x"), TokenInvalidError, "found no content type$"),
        (always(200, b"<html></html>", **REPLY), TokenInvalidError, "does not follow its format"),
        (always(200, b"", **REPLY), TokenInvalidError, "does not follow its format"),
        (always(200, b"\x30\x05\x30\x03\x02\x01\x00", **REPLY), TokenInvalidError, "yet holds no timestamp$"),
        (always(200, bytes(70_000), **REPLY), TokenInvalidError, "longer than 65536 bytes$"),
        (always(200, b"x", content_encoding="br", **REPLY), TokenInvalidError, "compressed, which was not asked for$"),
        (with_nonce(1), TokenInvalidError, "its nonce is not the one that was sent$"),
        (other_imprint, TokenMismatchError, "genuine but belongs to another document"),
        (by_another(), TokenInvalidError, "leads to none of the 1 root"),
        (by_another(root_too=True), TokenInvalidError, "leads to none of the 1 root"),
        (without_certificate, TokenInvalidError, "does not carry the certificate of its authority"),
    ],
    ids=[
        "HTML", "no type", "HTML as reply", "empty", "granted without token", "too long", "compressed", "wrong nonce",
        "wrong imprint", "another authority", "another authority with its root", "no certificate",
    ],
)  # fmt: skip
def test_what_is_no_valid_token_is_never_asked_for_again_and_opens_the_breaker(lab, world, make, kind, reason):
    world.handlers = [make(world)]
    with pytest.raises(kind, match=reason) as caught:
        world.client().stamp(lab.DIGEST)
    assert str(caught.value).startswith("tsa.example")
    assert world.state() == (OPEN, 1)
    with pytest.raises(TimestampError, match=r"left alone for another 900 s: tsa\.example gave "):
        world.client().stamp(lab.DIGEST)
    assert world.state() == (OPEN, 1)


def test_a_pinned_certificate_is_the_only_one(lab, pki, world):
    """Another certificate by the same root, for the same key."""
    other = pki.other_certificate([ExtendedKeyUsageOID.TIME_STAMPING])
    with pytest.raises(TokenInvalidError, match="signed by another authority than the one expected"):
        world.client(certificate=other).stamp(lab.DIGEST)
    assert world.state() == (OPEN, 1)


def test_an_old_token_cannot_be_passed_off_as_new(lab, world):
    client = world.client()
    old = client.stamp(lab.DIGEST)
    world.handlers = [answers(200, old, **REPLY)]
    with pytest.raises(TokenInvalidError, match="its nonce is not the one that was sent"):
        client.stamp(lab.DIGEST)


def test_503_is_asked_again_after_a_pause(lab, world):
    world.handlers = [answers(503), answers(503), world.genuine]
    assert world.client().stamp(lab.DIGEST)
    assert (world.state(), world.passed_s()) == ((CLOSED, 3), 0.5 * 0.5 + 0.5 * 1.0)


def test_each_pause_is_random_between_nothing_and_twice_the_last(lab, world):
    given = iter([0.0, 1.0])
    world.handlers = [answers(500), answers(502), world.genuine]
    assert world.client(random=lambda: next(given)).stamp(lab.DIGEST)
    assert world.passed_s() == 1.0


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_429_is_asked_again_when_it_says(lab, world, form):
    value = "4" if form == "seconds" else format_datetime(lab.NOW + timedelta(seconds=4), usegmt=True)
    world.handlers = [answers(429, retry_after=value), world.genuine]
    assert world.client().stamp(lab.DIGEST)
    assert (world.state(), world.passed_s()) == ((CLOSED, 2), 4.0)


@pytest.mark.parametrize("value", ["soon", "-5", "1e9", "", "²"])
def test_a_retry_after_that_says_nothing_is_as_if_it_were_not_there(lab, world, value):
    world.handlers = [lambda request: httpx.Response(429, headers=[(b"retry-after", value.encode())]), world.genuine]
    assert world.client().stamp(lab.DIGEST)
    assert world.passed_s() == 0.25


def test_a_pause_longer_than_the_time_that_remains_is_not_waited_for(lab, world):
    world.handlers = [answers(429, retry_after="86400")]
    with pytest.raises(TimestampError) as caught:
        world.client().stamp(lab.DIGEST)
    assert str(caught.value) == (
        "no timestamp could be had from tsa.example: it answered 429, and asks to wait 86400 s. Try again later"
    )
    assert (world.state(), world.passed_s()) == ((CLOSED, 1), 0.0)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 302])
def test_an_answer_that_will_not_change_is_not_asked_for_again(lab, world, code):
    world.handlers = [answers(code, location="https://elsewhere.example/")]
    with pytest.raises(TimestampError, match=f"no timestamp could be had from tsa.example: it answered {code}"):
        world.client().stamp(lab.DIGEST)
    assert world.state() == (CLOSED, 1)
    assert [request.url.host for request in world.asked] == ["tsa.example"]


def test_a_refusal_is_told_in_the_words_of_the_authority(lab, world):
    refusal = world.authority.respond(b"?")
    world.handlers = [answers(200, refusal, **REPLY)]
    with pytest.raises(TimestampError) as caught:
        world.client().stamp(lab.DIGEST)
    assert type(caught.value) is TimestampError
    assert str(caught.value) == (
        "tsa.example refused to give a timestamp (rejection: this is not a timestamp request (RFC 3161, DER))"
    )
    assert world.state() == (CLOSED, 1)


def test_the_breaker_opens_after_three_failures_and_lets_one_through_after_a_quarter_of_an_hour(lab, world):
    world.handlers = [answers(503)]
    client = world.client(retries=0)
    for _ in range(3):
        with pytest.raises(TimestampError, match="it answered 503"):
            client.stamp(lab.DIGEST)
    assert world.state() == (OPEN, 3)
    world.clock.advance_ns(899 * SECOND)
    with pytest.raises(TimestampError, match="left alone for another 1 s"):
        client.stamp(lab.DIGEST)
    assert world.state() == (OPEN, 3)
    world.clock.advance_ns(SECOND)
    world.handlers = [world.genuine]
    assert world.breaker.state is HALF_OPEN
    assert client.stamp(lab.DIGEST)
    assert world.state() == (CLOSED, 4)


def test_an_invalid_token_on_trial_opens_the_breaker_again(lab, world):
    world.breaker.trip("test")
    world.clock.advance_ns(900 * SECOND)
    world.handlers = [answers(200, b"junk", **REPLY)]
    with pytest.raises(TokenInvalidError):
        world.client().stamp(lab.DIGEST)
    assert world.state() == (OPEN, 1)


def test_a_call_on_trial_that_is_interrupted_frees_its_place(lab, world):
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    world.breaker.trip("test")
    world.clock.advance_ns(900 * SECOND)
    world.handlers = [interrupt]
    with pytest.raises(KeyboardInterrupt):
        world.client().stamp(lab.DIGEST)
    assert world.state() == (HALF_OPEN, 1)
    world.handlers = [world.genuine]
    assert world.client().stamp(lab.DIGEST)
    assert world.state() == (CLOSED, 2)


class Drip(httpx.SyncByteStream):
    """One byte every second."""

    def __init__(self, world: World, content: bytes) -> None:
        self.world, self.content = world, content

    def __iter__(self) -> Iterator[bytes]:
        for byte in self.content:
            self.world.clock.advance_ns(SECOND)
            yield bytes([byte])


def test_an_answer_that_drips_is_given_up_after_ten_seconds(lab, world):
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=REPLY, stream=Drip(world, world.authority.respond(request.content)))

    world.handlers = [handle]
    with pytest.raises(TimestampError, match="the answer was not complete after 10 s"):
        world.client().stamp(lab.DIGEST)
    assert (world.state(), world.passed_s()) == ((CLOSED, 1), 10.0)


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A real server on loopback that does with each connection what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def work() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                answer(connection)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            thread.join()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b""], ids=["dripping head", "silence"])
def test_a_real_server_that_never_finishes_is_cut_off(lab, world, head):
    """The time-outs of the HTTP library hold for single reads; the end of the whole is kept beside them."""
    done = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        try:
            connection.sendall(head)
            while not done.wait(0.05):
                connection.sendall(b"x" if head else b"")
        except OSError:
            return

    with listening(answer) as url:
        try:
            with pytest.raises(
                TimestampError, match=r"no timestamp could be had from 127\.0\.0\.1: the exchange failed"
            ):
                world.client(url=url, transport=None, retries=0, total_s=0.4).stamp(lab.DIGEST)
        finally:
            done.set()
    assert world.breaker.state is CLOSED


def test_a_refused_connection_is_tried_again_and_then_told(lab, world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        TimestampError, match=r"no timestamp could be had from 127.0.0.1: the exchange failed \(Connect"
    ):
        world.client(url=f"http://127.0.0.1:{port}/", transport=None).stamp(lab.DIGEST)
    assert world.passed_s() == 0.75


def test_our_own_server_is_asked_over_a_real_connection(lab, pki, world):
    with serve(pki.authority()) as server:
        response = world.client(url=server.url, transport=None).stamp(lab.DIGEST)
    assert check_response(response, lab.DIGEST, **pki.trust).time == lab.NOW


@pytest.mark.parametrize("url", ["ftp://tsa.example/", "tsa.example", "file:///etc/passwd", "", "http://"])
def test_an_address_that_is_none_is_refused_at_once(world, url):
    with pytest.raises(InputError, match="is not the address of a timestamp authority; expected http:// or https://"):
        world.client(url=url)


def test_without_a_root_there_is_nothing_to_check_against(world):
    with pytest.raises(InputError, match="needs at least one root certificate"):
        world.client(roots=[])


def test_a_password_in_the_address_is_not_told(lab, world):
    world.handlers = [answers(401)]
    with pytest.raises(TimestampError) as caught:
        world.client(url="https://me:secret@tsa.example/").stamp(lab.DIGEST)
    assert "secret" not in str(caught.value)


def test_importing_costs_no_http_library():
    script = "import sys, workbench.evidence.timestamps; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def certificate(
    name: str, key: Any, issuer_name: str, issuer_key: Any, *, ca: bool, usage: list[Any], at: datetime
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=30))
        .not_valid_after(at + timedelta(days=300))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=not ca)
    return builder.sign(issuer_key, hashes.SHA256())


CONFIGURATION = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
crypto_device = builtin
signer_digest = {digest}
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1, millisecs:500, microsecs:100
clock_precision_digits = {digits}
ordering = yes
tsa_name = yes
ess_cert_id_chain = yes
ess_cert_id_alg = {bound}
"""


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize(("digest", "bound", "digits"), [("sha256", "sha256", 0), ("sha512", "sha1", 3)])
@pytest.mark.parametrize("issuer", ["authority", "no authority", "for servers"])
def test_openssl_as_the_authority_outside_with_an_intermediate(lab, world, openssl, tmp_path, kind, digest, bound, digits, issuer):  # fmt: skip
    """A real second implementation: RSA and ECDSA, a chain of three, the old and the new binding, tsa and fractions."""
    now = datetime.now(UTC).replace(microsecond=0)
    make = ec.generate_private_key if kind == "ec" else rsa.generate_private_key
    keys = [make(ec.SECP256R1()) if kind == "ec" else make(public_exponent=65537, key_size=2048) for _ in range(3)]
    stamping, serving = [ExtendedKeyUsageOID.TIME_STAMPING], [ExtendedKeyUsageOID.SERVER_AUTH]
    root = certificate("root", keys[0], "root", keys[0], ca=True, usage=[], at=now)
    middle = certificate(
        "middle", keys[1], "root", keys[0],
        ca=issuer != "no authority", usage=serving if issuer == "for servers" else stamping, at=now,
    )  # fmt: skip
    leaf = certificate("leaf", keys[2], "middle", keys[1], ca=False, usage=stamping, at=now)
    (tmp_path / "key.pem").write_bytes(keys[2].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "leaf.pem").write_bytes(pem(leaf))
    (tmp_path / "middle.pem").write_bytes(pem(middle, root))
    (tmp_path / "tsa.conf").write_text(CONFIGURATION.format(folder=tmp_path, digest=digest, bound=bound, digits=digits))

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=REPLY, content=reply(openssl, tmp_path, request.content))

    world.handlers = [handle]
    client = world.client(roots=[lab.Pki.new().root, root])
    if issuer != "authority":
        with pytest.raises(TokenInvalidError, match="leads to none of the 2 root"):
            client.stamp(lab.DIGEST)
        return
    response = client.stamp(lab.DIGEST)
    found = check_response(response, lab.DIGEST, certificate=leaf, root=root, intermediates=[middle], local=False)
    assert (found.policy, found.accuracy_s, found.certificate) == ("1.2.3.4.1", 1.5001, leaf)
    assert abs(found.time - now) < timedelta(minutes=1)


def reply(openssl: Any, folder: Path, query: bytes) -> bytes:
    (folder / "query.tsq").write_bytes(query)
    told = openssl(
        "ts", "-reply", "-config", folder / "tsa.conf", "-section", "one", "-queryfile", folder / "query.tsq",
        "-inkey", folder / "key.pem", "-signer", folder / "leaf.pem", "-chain", folder / "middle.pem",
        "-out", folder / "reply.tsr",
    )  # fmt: skip
    assert (folder / "reply.tsr").exists(), told
    return (folder / "reply.tsr").read_bytes()
