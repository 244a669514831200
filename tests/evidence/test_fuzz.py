"""Whatever bytes the readers are given, only our own errors escape, and what is accepted has no second spelling."""

import base64
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import hypothesis
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import strategies as st

from workbench.clock import VirtualClock
from workbench.errors import WorkbenchError
from workbench.evidence.archive import read_archive, write_archive
from workbench.evidence.certificates import (
    KeyType,
    Role,
    check_certificate,
    fingerprint,
    generate_key,
    identity_of,
    is_demo,
    issue,
    issue_root,
    pem,
    read_certificates,
    role_of,
    spki,
)
from workbench.evidence.checkpoint import Checkpoint, Proof, SignedCheckpoint
from workbench.evidence.entries import Entry, read_entry
from workbench.evidence.envelope import STATEMENT_TYPE, Envelope
from workbench.evidence.strict import decode_base64, read_json

EXAMPLES = 400
SECONDS = 1_800_000_000
CLOCK = VirtualClock(start_ns=SECONDS * 1_000_000_000)
NOW = datetime.fromtimestamp(SECONDS, tz=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ROOT_KEYS = [generate_key(KeyType.P256), generate_key(KeyType.RSA3072)]
ROOTS = [issue_root(key, identity="fuzz", clock=CLOCK) for key in ROOT_KEYS]
CERTIFICATES = [
    issue(Role.REPORT, KEY.public_key(), identity="fuzz", root_key=key, root=root, clock=CLOCK)
    for key, root in zip(ROOT_KEYS, ROOTS, strict=True)
]
NOTE = Checkpoint("example.org/log", 29, bytes(32)).sign(KEY)
STATEMENT = {"_type": STATEMENT_TYPE, "subject": [], "predicateType": "x", "predicate": {"a": [1, 2.5, "é", None]}}
ENVELOPE = bytes(Envelope.sign(STATEMENT, KEY, CERTIFICATES[0]))
SHA = "0123456789abcdef" * 4
TIME = "2026-05-03T10:00:00.000Z"
ENTRIES = [
    Entry(3, TIME, "tsa.degraded", "p:local", {"trouble": "open"}),
    Entry(3, TIME, "run.finished", "p:a", {"runId": "r", "status": "FAILED", "outputs": {"a": SHA}, "canonicalSha256": None}),
    Entry(3, TIME, "erasure.executed", "p:a", {"subject": "p:b", "basis": "art-17", "entries": [1, 2]}, commitment=SHA),
    Entry(3, TIME, "frontier.rebuilt", "p:a", {"size": 29, "root": "aGk="}),
]  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A reader with inputs that it accepts; ``read`` raises on its own if what it accepted is not as it must be."""

    valid: tuple[bytes, ...]
    read: Callable[[bytes], None]


def archive(data: bytes) -> None:
    files, damaged = read_archive(data)
    if damaged:
        assert set(damaged) <= set(files)
    else:
        assert write_archive(files) == data


def strict_json(data: bytes) -> None:
    value = read_json(data, what="it")
    assert read_json(json.dumps(value).encode(), what="it") == value
    assert json.loads(data) == value


def strict_base64(data: bytes) -> None:
    assert base64.b64encode(decode_base64(data.decode("latin-1"), what="it")) == data


def dsse(data: bytes) -> None:
    envelope = Envelope.read(data)
    assert bytes(envelope) == data
    with contextlib.suppress(WorkbenchError):
        envelope.statement()
    envelope.verify(CERTIFICATES[0])
    assert data == ENVELOPE


def checkpoint(data: bytes) -> None:
    read = SignedCheckpoint.read(data)
    lines = "".join(f"\u2014 {name} {base64.b64encode(signature).decode()}\n" for name, signature in read.signatures)
    assert read.checkpoint.body + b"\n" + lines.encode() == data
    assert read.verify(KEY.public_key()) == Checkpoint("example.org/log", 29, bytes(32))


def proof(data: bytes) -> None:
    read = Proof.read(data)
    assert bytes(read) == data
    SignedCheckpoint.read(read.note).verify(KEY.public_key())


def entry(data: bytes) -> None:
    assert bytes(read_entry(data, 3)) == data


def certificates(data: bytes) -> None:
    """PEM may hold remarks and blank lines; what it holds besides must be the same when written anew."""
    found = read_certificates(data)
    assert read_certificates(pem(*found)) == found
    for certificate in found:
        for ask in (role_of, identity_of, is_demo, spki, fingerprint):
            with contextlib.suppress(WorkbenchError):
                ask(certificate)
        for root, original in zip(ROOTS, CERTIFICATES, strict=True):
            with contextlib.suppress(WorkbenchError):
                check_certificate(original, Role.REPORT, root=certificate, at=NOW)
                assert spki(certificate) == spki(root)
            with contextlib.suppress(WorkbenchError):
                check_certificate(certificate, Role.REPORT, root=root, at=NOW)
                assert certificate.tbs_certificate_bytes == original.tbs_certificate_bytes


def certificate_der(data: bytes) -> None:
    certificates(b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n")


READERS = {
    "archive": Reader(
        (
            write_archive({"a.txt": b"hello", "b/c.bin": bytes(9), "b/d": b"PK\x03\x04"}),
            write_archive({"log/checkpoint": NOTE}),
        ),
        archive,
    ),
    "json": Reader(
        (b'{"a":[1,-2.5e3,{"b":"\\u00e9\xc3\xa9"}],"c":null,"d":true}', b"[[[[0]]]]", ENVELOPE), strict_json
    ),
    "base64": Reader((b"", b"aGk=", b"aA==", b"//79/A==", base64.b64encode(bytes(range(64)))), strict_base64),
    "dsse": Reader((ENVELOPE,), dsse),
    "checkpoint": Reader(
        (NOTE, NOTE + "\u2014 witness.example ".encode() + base64.b64encode(bytes(76)) + b"\n"), checkpoint
    ),
    "proof": Reader((bytes(Proof(5, (bytes(32), bytes(range(32))), NOTE)), bytes(Proof(0, (), NOTE))), proof),
    "entry": Reader(tuple(map(bytes, ENTRIES)), entry),
    "certificates": Reader((pem(*ROOTS, *CERTIFICATES), *map(pem, CERTIFICATES), *map(pem, ROOTS)), certificates),
    "certificate DER": Reader(
        tuple(one.public_bytes(Encoding.DER) for one in (*CERTIFICATES, *ROOTS)), certificate_der
    ),
}


@st.composite
def mutations(draw: st.DrawFn, valid: tuple[bytes, ...]) -> bytes:
    """One of the valid inputs after one to four changes: bits flipped, bytes set, inserted, cut out, spliced in."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "set", "insert", "delete", "splice", "repeat", "cut"])):
            case "flip" if place < len(data):
                data = data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]
            case "set":
                new = draw(st.sampled_from([b"\0", b"\xff", b"\n", b"0", b"1", b'"', b"\\", b"=", b" ", b"{", b"\x30"]))
                data = data[:place] + new + data[place + 1 :]
            case "insert":
                data = data[:place] + draw(st.binary(min_size=1, max_size=6)) + data[place:]
            case "delete":
                data = data[:place] + data[place + draw(st.integers(1, 40)) :]
            case "splice":
                other = draw(st.sampled_from(valid))
                start = draw(st.integers(0, len(other)))
                data = data[:place] + other[start : start + draw(st.integers(1, 80))] + data[place:]
            case "repeat":
                data = data[:place] + data[max(0, place - draw(st.integers(1, 80))) :]
            case "cut":
                data = data[:place]
    return data


def hold(reader: Reader, inputs: st.SearchStrategy[bytes], examples: int) -> None:
    """Let the reader read: an error of ours is a fair answer, anything else fails the test."""

    @hypothesis.settings(
        max_examples=examples, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), database=None
    )
    @hypothesis.given(inputs)
    def read(data: bytes) -> None:
        try:
            reader.read(data)
        except WorkbenchError as error:
            told = str(error)
            assert told
            assert len(told) < 1_000

    read()


much = pytest.mark.parametrize(
    "examples", [EXAMPLES, pytest.param(20 * EXAMPLES, marks=pytest.mark.slow)], ids=["some", "many"]
)
every_reader = pytest.mark.parametrize("name", READERS)
# cryptography reads serial numbers that are not positive and countries of more than two letters, but warns of them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
    pytest.mark.filterwarnings("ignore:Attribute's length must be"),
]


@every_reader
def test_the_valid_inputs_are_valid(name):
    for data in READERS[name].valid:
        READERS[name].read(data)


@much
@every_reader
def test_only_our_errors_escape_from_arbitrary_bytes(name, examples):
    beginnings = st.sampled_from([b"", *(valid[:12] for valid in READERS[name].valid)])
    hold(READERS[name], st.tuples(beginnings, st.binary(max_size=300)).map(b"".join), examples)


@much
@every_reader
def test_a_mutated_input_is_refused_by_our_errors_or_encodes_to_itself(name, examples):
    hold(READERS[name], mutations(READERS[name].valid), examples)


@much
def test_only_our_errors_escape_from_arbitrary_text(examples):
    letters = st.sampled_from('{}[]":,\\ \n=+-/.0123456789eEuNaIinftrlsk\u2014\ud7ff\ufeffé😀\x00\x1b')
    for reader in READERS.values():
        hold(reader, st.text(letters, max_size=60).map(str.encode), examples // len(READERS))
