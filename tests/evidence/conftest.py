"""A small world that makes evidence: keys, a log, a run's results, a report with two approvals, and its bundle.

Everything happens in virtual time, on one day in May 2026. Tests change one thing and pack again.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workbench.clock import VirtualClock, utc
from workbench.evidence.archive import read_archive, write_archive
from workbench.evidence.bundle import (
    BundleFile,
    LogExtract,
    Policy,
    RunResult,
    SignedReport,
    approval_fields,
    pack,
    sign_approval,
    sign_report,
)
from workbench.evidence.certificates import KeyType, Role, fingerprint, generate_key, issue, issue_root, pem
from workbench.evidence.checkpoint import Checkpoint, Proof, SignedCheckpoint
from workbench.evidence.entries import Entry
from workbench.evidence.envelope import Envelope
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import KeyStore, Signer, issued_fields
from workbench.evidence.merkle import Tree, leaf_hash
from workbench.evidence.timestamps import LocalAuthority
from workbench.evidence.timestamps.frame import Frame, content_of
from workbench.evidence.timestamps.signing import sign as sign_token
from workbench.evidence.verify import Kept, Verdict, verify_bytes
from workbench.files import canonical_json, sha256_bytes

APPROVAL_USAGE = (
    f"2.25.{uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, 'urn:workbench:extended-key-usage'), 'approval').int}"
)
CHEAP = KeyDerivation(memory=64, passes=1)
START_NS = int(datetime(2026, 5, 3, 10, tzinfo=UTC).timestamp() * 1e9)
ORIGIN = "workbench/ledger/00112233445566778899aabbccddeeff"
VALUES = (
    b'{"format_version": 1, "values": [{"name": "roc_auc", "value": 0.91, "low": 0.88, "high": 0.93, "cell": 4}], '
    b'"figures": [], "tables": []}\n'
)
OUTPUTS = {"executed.ipynb": b'{"cells": []}\n', "values.json": VALUES}


@dataclass
class World:
    """What it takes to make a bundle, and the steps in order."""

    store: KeyStore
    clock: VirtualClock
    signers: dict[str, Signer]
    authority: LocalAuthority
    entries: list[bytes] = field(default_factory=list)
    notes: list[bytes] = field(default_factory=list)
    policy: Policy = field(default_factory=lambda: Policy("two-people", 2))

    def wait(self, seconds: float) -> None:
        self.clock.advance_ns(int(seconds * 1e9))

    @property
    def root(self) -> str:
        return fingerprint(self.store.root)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time_ns() / 1e9, tz=UTC)

    def log(self, kind: str, fields: dict[str, Any], actor: str = "p:local") -> int:
        self.entries.append(bytes(Entry(len(self.entries), utc(self.clock.time_ns()), kind, actor, fields)))
        return len(self.entries) - 1

    def tree(self) -> Tree:
        return Tree(map(leaf_hash, self.entries))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(ORIGIN, len(self.entries), self.tree().root())

    def sign_checkpoint(self, signer: Signer | None = None) -> tuple[bytes, bytes]:
        """The present checkpoint, signed, and its timestamp."""
        checkpoint = self.checkpoint()
        note = checkpoint.sign((signer or self.signers["ledger"]).document_key)
        self.notes.append(note)
        return note, self.authority.stamp(hashlib.sha256(checkpoint.body).digest())

    def add_reviewer(self, name: str) -> Signer:
        info = self.store.add(Role.APPROVAL, f"{name}-passphrase", root=self.signers["root"], identity=name)
        self.log("key.issued", issued_fields(info.certificate))
        self.signers[name] = self.store.unlock(Role.APPROVAL, f"{name}-passphrase", name)
        return self.signers[name]

    def run(self, run_id: str = "demo-20260503-100000-abc123", outputs: dict[str, bytes] | None = None) -> RunResult:
        digests = {name: sha256_bytes(content) for name, content in (outputs or OUTPUTS).items()}
        fields = {"runId": run_id, "status": "COMPLETED", "outputs": digests, "canonicalSha256": None}
        return RunResult(run_id, self.log("run.finished", fields), digests)

    def files(self, run: RunResult, outputs: dict[str, bytes] | None = None) -> list[BundleFile]:
        results = [
            BundleFile(f"payload/runs/{run.run_id}/{name}", content, "application/json", "result", run.run_id)
            for name, content in (outputs or OUTPUTS).items()
        ]
        return [BundleFile("payload/report.html", b"<p>ROC AUC 0.91</p>\n", "text/html", "report"), *results]

    def sign(self, files: list[BundleFile], runs: list[RunResult], *, log: bool = True, **more: Any) -> SignedReport:
        more.setdefault("signer", self.signers["report"])
        more.setdefault("previous", self.checkpoint())
        more.setdefault("report_id", "demo")
        more.setdefault("version", 1)
        more.setdefault("clock", self.clock)
        report = sign_report(files, runs=runs, stamp=self.authority.stamp, policy=self.policy, **more)
        if log:
            self.log("report.signed", report.log_fields())
        return report

    def approve(self, report: SignedReport, who: str, decision: Any = "approve", *, log: bool = True) -> bytes:
        self.wait(60)
        envelope = sign_approval(
            report.envelope,
            decision,
            signer=self.signers[who],
            statement_shown=f"I {decision} report demo, version 1",
            previous=self.checkpoint(),
            clock=self.clock,
        )
        if log:
            self.log("approval.recorded", approval_fields(envelope), f"p:{who}")
        return envelope

    def rotate(self, who: str) -> Signer:
        """Replace the key of ``who`` (a role, or a reviewer), as the log records it."""
        old, root = self.signers[who], self.signers["root"]
        passphrase = "root passphrase" if who == "root" else "working passphrase"
        info, fields = self.store.rotate(old, passphrase, root=root)
        self.log("key.issued", issued_fields(info.certificate))
        self.log("key.rotated", fields)
        identity = info.identity if old.role is Role.APPROVAL else None
        self.signers[who] = self.store.unlock(old.role, passphrase, identity)
        if who == "timestamp":
            self.authority = LocalAuthority(self.signers[who].key, self.signers[who].certificate, clock=self.clock)
        return self.signers[who]

    def revoke(self, who: str, reason: str, invalid_from: datetime) -> None:
        sha256 = fingerprint(self.signers[who].certificate)
        self.log("key.revoked", self.store.revoke(sha256, reason, invalid_from, root=self.signers["root"]))

    def pack(self, files: list[BundleFile], report: SignedReport, approvals: list[bytes], **more: Any) -> bytes:
        self.wait(5)
        note, token = self.sign_checkpoint()
        extract = replace(LogExtract(tuple(self.entries), note, token), **more.pop("log", {}))
        certificates = more.pop("certificates", [info.certificate for info in self.store.issued()])
        self.wait(5)
        return pack(files, report, log=extract, certificates=certificates, approvals=approvals, policy=self.policy)

    def verify(self, bundle: bytes, **more: Any) -> Verdict:
        more.setdefault("root", self.root)
        return verify_bytes(bundle, clock=more.pop("clock", self.clock), **more)


@dataclass
class Made:
    """A bundle that is in order, and what it was made of."""

    world: World
    run: RunResult
    files: list[BundleFile]
    report: SignedReport
    approvals: list[bytes]
    bundle: bytes


def build_world(folder: Path, **create: Any) -> World:
    clock = VirtualClock(start_ns=START_NS)
    store = KeyStore.create(
        folder / "keys",
        root_passphrase="root passphrase",
        passphrase="working passphrase",
        clock=clock,
        derivation=CHEAP,
        **create,
    )
    signers = {"root": store.unlock(Role.ROOT, "root passphrase")}
    signers |= {
        role.value: store.unlock(role, "working passphrase") for role in (Role.REPORT, Role.LEDGER, Role.TIMESTAMP)
    }
    authority = LocalAuthority(signers["timestamp"].key, signers["timestamp"].certificate, clock=clock)
    world = World(store, clock, signers, authority)
    for info in store.issued():
        world.log("key.issued", issued_fields(info.certificate))
    return world


def make(world: World) -> Made:
    for name in ("alice", "bob"):
        world.add_reviewer(name)
    world.wait(60)
    world.sign_checkpoint()
    run = world.run()
    world.wait(60)
    files = world.files(run)
    report = world.sign(files, [run])
    approvals = [world.approve(report, who) for who in ("alice", "bob")]
    return Made(world, run, files, report, approvals, world.pack(files, report, approvals))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build_world(tmp_path)


@pytest.fixture
def made(world: World) -> Made:
    return make(world)


@pytest.fixture
def codes() -> Callable[[Verdict], list[str]]:
    """The codes of a verdict, each once, without the limit that every local bundle has."""
    return lambda verdict: sorted({finding.code for finding in verdict.findings} - {"L_TIME_LOCAL"})


# Tools of forgers. They change the parts of a bundle and close it again, so that nothing but the change is wrong.


def opened(bundle: bytes) -> dict[str, bytes]:
    """The parts of a bundle."""
    parts, damaged = read_archive(bundle)
    assert not damaged
    return parts


def edited(bundle: bytes, changes: dict[str, Callable[[bytes], bytes] | bytes | None]) -> bytes:
    """The bundle with parts put in, changed (by a function) or taken out (None)."""
    parts = opened(bundle)
    for name, change in changes.items():
        if change is None:
            del parts[name]
        else:
            parts[name] = change(parts[name]) if callable(change) else change
    return write_archive(parts)


def entry_lines(bundle: bytes) -> list[bytes]:
    return opened(bundle)["log/entries.jsonl"].split(b"\n")[:-1]


def joined(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def resigned(envelope: bytes, signer: Signer, change: Callable[[dict[str, Any]], object]) -> bytes:
    """An envelope whose statement a key's owner has changed and signed again."""
    content = json.loads(Envelope.read(envelope).payload)
    change(content)
    return bytes(Envelope.sign(content, signer.document_key, signer.certificate))


def spelled(envelope: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """An envelope whose outer JSON was changed, and signed by nobody."""
    content = json.loads(envelope)
    change(content)
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def flipped(data: bytes, place: int = -1, mask: int = 1) -> bytes:
    place %= len(data)
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def base64_swapped(data: str) -> str:
    """Another spelling of the same base64: bits that do not count are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert data.endswith("=")
    body = data.rstrip("=")
    other = body[:-1] + alphabet[alphabet.index(body[-1]) ^ 1] + "=" * (len(data) - len(body))
    assert base64.b64decode(other) == base64.b64decode(data)
    return other


def token_at(signer: Signer, digest: bytes, at: datetime) -> bytes:
    """A timestamp for any time, by somebody who has the authority's key and no scruples."""
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    frame = Frame(signer.certificate, signer.key.public_key())
    content = content_of("sha256", digest, serial=4711, time=at, nonce=None)
    signature = sign_token(signer.key, frame.attributes(content, at))
    return frame.response(content, at, signature, with_certificate=True)


def restarted(world: World) -> World:
    """The same keys, and a log that begins anew: what the owner of everything can do."""
    clock = VirtualClock(start_ns=START_NS)
    timestamp = world.signers["timestamp"]
    other = World(
        world.store,
        clock,
        dict(world.signers),
        LocalAuthority(timestamp.key, timestamp.certificate, clock=clock),
        policy=world.policy,
    )
    for info in world.store.issued():
        other.log("key.issued", issued_fields(info.certificate))
    return other


def stranger(world: World) -> World:
    """Somebody else with keys of their own, at the same time."""
    other = build_world(world.store.folder.parent / "stranger")
    other.clock.advance_ns(world.clock.time_ns() - other.clock.time_ns())
    return other


def report(world: World, *reviewers: str) -> tuple[list[BundleFile], SignedReport]:
    """A report that waits for the decisions of ``reviewers``."""
    for name in reviewers:
        world.add_reviewer(name)
    world.wait(60)
    run = world.run()
    files = world.files(run)
    return files, world.sign(files, [run])


def reported(world: World, *, restore: Any) -> bytes:
    """A bundle whose report was stamped by whatever stands in for the world's authority; ``restore`` is the real one."""
    world.policy = Policy("nobody", 0)
    files, signed = report(world)
    world.authority = restore
    return world.pack(files, signed, [])


def rewritten(world: World) -> bytes:
    """The whole history of ``world`` once more, with its own keys and a better result."""
    values = VALUES.replace(b"0.91", b"0.99")
    other = restarted(world)
    other.wait(60)
    run = other.run(outputs={**OUTPUTS, "values.json": values})
    other.wait(60)
    files = other.files(run, {**OUTPUTS, "values.json": values})
    signed = other.sign(files, [run])
    world.clock.advance_ns(max(0, other.clock.time_ns() - world.clock.time_ns() + 3600 * 10**9))
    return other.pack(files, signed, [other.approve(signed, who) for who in ("alice", "bob")])


def renumbered(entries: Iterable[bytes]) -> list[bytes]:
    return [canonical_json({**json.loads(entry), "seq": seq}) for seq, entry in enumerate(entries)]


def reclosed(world: World, bundle: bytes, checkpoint: Checkpoint) -> bytes:
    """The bundle under another checkpoint, signed and stamped by those who have the keys."""
    note = checkpoint.sign(world.signers["ledger"].document_key)
    token = world.authority.stamp(hashlib.sha256(checkpoint.body).digest())
    proof = Proof.read(opened(bundle)["log/report.tlog-proof"])
    changes = {
        "log/checkpoint": note,
        "log/report.tlog-proof": bytes(replace(proof, note=note)),
        "timestamps/checkpoint.tsr": token,
    }
    return edited(bundle, dict(changes))


def kept(note: bytes) -> Kept:
    return Kept(SignedCheckpoint.read(note).checkpoint)


def outside_authority(at: datetime, clock: VirtualClock) -> tuple[Any, LocalAuthority]:
    """An authority that the project does not own: its root certificate, and itself at work by ``clock``."""
    born = VirtualClock(start_ns=int(at.timestamp() * 1e9))
    root_key, key = generate_key(KeyType.P256), generate_key(KeyType.P256)
    root = issue_root(root_key, identity="outside", clock=born)
    certificate = issue(Role.TIMESTAMP, key.public_key(), identity="outside", root_key=root_key, root=root, clock=born)
    return root, LocalAuthority(key, certificate, clock=clock)


def stamped_by_openssl(world: World, folder: Path) -> tuple[bytes, x509.Certificate]:
    """A bundle with an outside token made by ``openssl ts``; and the root that it is under. It is of the real now."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    born = datetime.now(UTC) - timedelta(days=1)
    root, authority = outside_authority(born, world.clock)
    files, signed = report(world, "alice", "bob")
    approvals = [world.approve(signed, who) for who in ("alice", "bob")]
    key = authority._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "tsa.key").write_bytes(key)
    (folder / "tsa.pem").write_bytes(pem(authority.certificate))
    (folder / "body").write_bytes(world.checkpoint().body)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\n"
        "digests = sha256\naccuracy = secs:1\ness_cert_id_chain = no\ness_cert_id_alg = sha256\n"
    )
    query = [program, "ts", "-query", "-data", "body", "-sha256", "-cert", "-out", "query"]
    reply = [program, "ts", "-reply", "-config", "tsa.cnf", "-section", "t", "-queryfile", "query"]
    reply += ["-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "token"]
    for command in (query, reply):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    bundle = world.pack(files, signed, approvals, log={"external": [(folder / "token").read_bytes()]})
    world.clock.advance_ns(max(0, int((datetime.now(UTC) - world.now).total_seconds() * 1e9)))
    return bundle, root


def flawed_certificate(flaw: str) -> tuple[x509.Certificate, Any]:
    """A self-signed certificate that looks like a reviewer's, but for one flaw; and an Ed25519 key."""
    key: Any = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workbench approval eve")])
    purposes = [x509.ObjectIdentifier(APPROVAL_USAGE)]
    if flaw == "two purposes":
        purposes.append(ExtendedKeyUsageOID.TIME_STAMPING)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=True)
    )
    name = {
        "control characters": "urn:workbench:approval:eve\n\x1b[2JVALID",
        "a name twice": "urn:workbench:approval:e",
    }
    names = [x509.UniformResourceIdentifier(name.get(flaw, "urn:workbench:approval:eve"))]
    if flaw != "no name":
        builder = builder.add_extension(
            x509.SubjectAlternativeName(names * (2 if flaw == "a name twice" else 1)), critical=False
        )
    certificate = builder.sign(key, None)
    if flaw == "key of unknown kind":  # Ed25519 is 1.3.101.112; nobody knows 1.3.101.99
        certificate = x509.load_der_x509_certificate(
            certificate.public_bytes(Encoding.DER).replace(b"\x2b\x65\x70", b"\x2b\x65\x63")
        )
    return certificate, key


@pytest.fixture(scope="session")
def kit() -> ModuleType:
    """This module's own functions, for the tests: ``kit.edited(made.bundle, ...)``."""
    return sys.modules[__name__]
