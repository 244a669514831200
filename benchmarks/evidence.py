"""The evidence part: the ledger, proofs, bundles, timestamps.

Where a peer does less than ours, that is said at its function: nothing on the market does the whole of it.
"""

import hashlib
import sqlite3
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd

from benchmarks.timing import Case, seconds
from workbench.clock import SystemClock, utc
from workbench.evidence.bundle import BundleFile, LogExtract, SignedReport, pack, sign_report
from workbench.evidence.certificates import Role, fingerprint, pem
from workbench.evidence.checkpoint import Checkpoint
from workbench.evidence.entries import Entry
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import KeyStore, Signer, issued_fields
from workbench.evidence.merkle import Tree, leaf_hash, node_hash, verify_inclusion
from workbench.evidence.timestamps import LocalAuthority, check_response
from workbench.evidence.verify import Outcome, verify
from workbench.ledger import Ledger
from workbench.ledger.frontier import Remembered

__all__ = ["cases"]

_APPENDS = 100
_PROOFS = 1_000
_STAMPS = 200
_OPENSSL_SHARE = 20  # the peer makes a twentieth, and its time is multiplied
_FIELDS = {"serial": "1", "imprint": "ab" * 32, "timestampSha256": "cd" * 32}
_ORIGIN = "workbench/ledger/00112233445566778899aabbccddeeff"


def _in_empty(job: Callable[[Path], object]) -> Callable[[], float]:
    """``job`` in an empty folder, whose making and removal do not count."""

    def once() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return seconds(lambda: job(Path(folder)))

    return once


# The ledger


def _append(folder: Path, count: int) -> None:
    ledger = Ledger(folder / "ledger")
    for _ in range(count):
        ledger.append("timestamp.issued", fields=_FIELDS)


def _append_sqlite(folder: Path, count: int) -> None:
    """SQLite in WAL mode, flushed at each commit, opened and closed for each entry as ours is. No tree, no checks."""
    for seq in range(count):
        with sqlite3.connect(folder / "log.sqlite") as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("CREATE TABLE IF NOT EXISTS log(seq INTEGER PRIMARY KEY, entry BLOB, leaf BLOB)")
            entry = _entry(seq)
            connection.execute("INSERT INTO log VALUES (?, ?, ?)", [seq, entry, leaf_hash(entry)])
        connection.close()


def _entry(seq: int) -> bytes:
    return bytes(Entry(seq, utc(1_777_800_000_000_000_000 + seq * 1_000_000), "timestamp.issued", "p:local", _FIELDS))


def _large_ledger(folder: Path, count: int) -> Ledger:
    """A ledger of ``count`` entries like any other, but filled in one go."""
    ledger = Ledger(folder / "ledger")
    first = bytes(ledger.append("timestamp.issued", fields=_FIELDS))
    # The entries differ in number and time only, so they are spelled by hand: a million objects would take a minute.
    head, _, tail = _entry(7).decode().partition('"seq":7,"time":"')
    tail = tail[24:]
    start = SystemClock().time_ns() + 1_000_000_000
    entries = [first] + [
        f'{head}"seq":{seq},"time":"{utc(start + seq * 1_000_000)}{tail}'.encode() for seq in range(1, count)
    ]
    leaves = [leaf_hash(entry) for entry in entries]
    frame = pd.DataFrame({"seq": range(1, count), "entry": entries[1:], "leaf": leaves[1:]})
    with duckdb.connect(str(folder / "ledger" / "ledger.duckdb")) as connection:
        connection.register("filled", frame)
        connection.execute("INSERT INTO audit SELECT seq::UBIGINT, entry::BLOB, leaf::BLOB FROM filled")
    remembered = Remembered(ledger.origin).after(leaves)
    (folder / "ledger" / "frontier.json").write_bytes(bytes(remembered))
    return ledger


def _verify_ledger(ledger: Ledger, count: int) -> None:
    found = ledger.verify()
    assert found.ok and found.size == count, found.problems


def _chain_sqlite(ledger: Ledger, path: Path) -> Callable[[], None]:
    """The same entries in SQLite as a plain hash chain, as home-made logs are: no proofs, times or checkpoints."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE log(seq INTEGER PRIMARY KEY, entry BLOB, hash BLOB)")
        node, rows = b"", []
        for seq, entry in enumerate(ledger.entries()):
            node = hashlib.sha256(node + entry).digest()
            rows.append((seq, entry, node))
        connection.executemany("INSERT INTO log VALUES (?, ?, ?)", rows)
    connection.close()

    def check() -> None:
        node = b""
        with sqlite3.connect(path) as reading:
            for entry, stored in reading.execute("SELECT entry, hash FROM log ORDER BY seq"):
                node = hashlib.sha256(node + entry).digest()
                assert node == stored
        reading.close()

    return check


# Proofs


def _proofs(tree: Tree, leaves: list[bytes]) -> None:
    size, root = len(tree), tree.root()
    for number in range(_PROOFS):
        index = number * 7_919 % size
        assert verify_inclusion(leaves[index], index, size, tree.inclusion_proof(index), root)


def _root_anew(leaves: list[bytes], root: bytes) -> None:
    """What a log that stores no nodes does for one proof: hash all leaves up to the root again, and compare.

    One is made, and its time is multiplied by the number of proofs. Making our tree, once, is on nobody's bill.
    """
    level = leaves
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [node_hash(left, right) for left, right in pairs] + ([level[-1]] if len(level) % 2 else [])
    assert level == [root]


# Bundles


class _Maker:
    """All that goes into a bundle of about ``size`` bytes."""

    def __init__(self, folder: Path, size: int) -> None:
        cheap = KeyDerivation(memory=64, passes=1)
        words = "a passphrase"
        self.store = KeyStore.create(folder / "keys", root_passphrase=words, passphrase=words, derivation=cheap)
        self.report = self.store.unlock(Role.REPORT, words)
        self.ledger = self.store.unlock(Role.LEDGER, words)
        stamper = self.store.unlock(Role.TIMESTAMP, words)
        self.stamper: Signer = stamper
        self.authority = LocalAuthority(stamper.key, stamper.certificate, state=folder / "time.json")
        block = hashlib.shake_256(b"benchmark").digest(size // 8)
        names = [f"payload/data/part-{number}.parquet" for number in range(8)]
        self.files = [BundleFile(name, block, "application/octet-stream", "data") for name in names]
        self.root = fingerprint(self.store.root)

    def build(self, path: Path) -> None:
        """Sign, stamp, log, sign and stamp the log, pack, write the file (unflushed, as the peer does)."""
        now = SystemClock().time_ns
        certificates = [info.certificate for info in self.store.issued()]
        entries = [
            bytes(Entry(seq, utc(now()), "key.issued", "p:local", issued_fields(certificate)))
            for seq, certificate in enumerate(certificates)
        ]
        report: SignedReport = sign_report(
            self.files, report_id="benchmark", version=1, runs=[], signer=self.report, stamp=self.authority.stamp
        )
        entries.append(bytes(Entry(len(entries), utc(now()), "report.signed", "p:local", report.log_fields())))
        checkpoint = Checkpoint(_ORIGIN, len(entries), Tree(map(leaf_hash, entries)).root())
        token = self.authority.stamp(hashlib.sha256(checkpoint.body).digest())
        log = LogExtract(entries, checkpoint.sign(self.ledger.document_key), token)
        path.write_bytes(pack(self.files, report, log=log, certificates=certificates))

    def verify(self, path: Path) -> None:
        assert verify(path, self.root).outcome is Outcome.VALID_WITH_LIMITS

    def zip(self, path: Path, compression: int = zipfile.ZIP_STORED) -> None:
        """Python's zipfile with a SHA-256 of each file: integrity only, nothing signed, timed or logged.

        Stored as ours is, or deflated at level 6 as archives mostly are, which costs more than all the rest.
        """
        with zipfile.ZipFile(path, "w", compression, compresslevel=6) as archive:
            for file in self.files:
                archive.writestr(file.name, file.content)
            archive.writestr("SHA256SUMS", "".join(hashlib.sha256(f.content).hexdigest() + "\n" for f in self.files))

    def unzip(self, path: Path) -> None:
        """Reads that and compares the digests."""
        with zipfile.ZipFile(path) as archive:
            sums = archive.read("SHA256SUMS").decode().split()
            for file, expected in zip(self.files, sums, strict=True):
                assert hashlib.sha256(archive.read(file.name)).hexdigest() == expected


# Timestamps


def _stamp(authority: LocalAuthority) -> None:
    for number in range(_STAMPS):
        authority.stamp(hashlib.sha256(b"%d" % number).digest())


def _check(maker: _Maker, token: bytes, digest: bytes) -> None:
    for _ in range(_STAMPS):
        check_response(token, digest, certificate=maker.stamper.certificate, root=maker.store.root)


def _openssl_verify(folder: Path, maker: _Maker, token: bytes, digest: bytes) -> Callable[[], float]:
    """``openssl ts -verify``, a process each; without its start-up it would be faster."""
    for name, content in (
        ("token.tsr", token),
        ("root.pem", pem(maker.store.root)),
        ("tsa.pem", pem(maker.stamper.certificate)),
    ):
        (folder / name).write_bytes(content)
    at = int(datetime.now(UTC).timestamp())
    command = [
        "openssl", "ts", "-verify", "-in", "token.tsr", "-digest", digest.hex(), "-CAfile", "root.pem", "-untrusted",
        "tsa.pem", "-attime", str(at),
    ]  # fmt: skip

    def job() -> None:
        for _ in range(_STAMPS // _OPENSSL_SHARE):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)

    return lambda: _OPENSSL_SHARE * seconds(job)


_TIMESTAMPING = "extendedKeyUsage=critical,timeStamping"
_OPENSSL_TSA = """
[tsa]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
signer_cert = signer.pem
"""


def _openssl_stamp(folder: Path) -> Callable[[], float]:
    """``openssl ts -reply`` with a P-256 key of its own, a process each."""
    (folder / "tsa.cnf").write_text(_OPENSSL_TSA)
    (folder / "serial").write_text("01\n")
    for command in (
        "openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
        f"openssl req -x509 -key key.pem -subj /CN=tsa -days 2 -addext {_TIMESTAMPING} -out signer.pem",
        f"openssl ts -query -digest {'ab' * 32} -sha256 -out request.tsq",
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    command = (
        "openssl ts -reply -config tsa.cnf -section tsa -queryfile request.tsq -inkey key.pem -signer signer.pem -out r"
    )

    def job() -> None:
        for _ in range(_STAMPS // _OPENSSL_SHARE):
            subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)

    return lambda: _OPENSSL_SHARE * seconds(job)


def cases(folder: Path, scale: float) -> list[Case]:
    """All cases at ``scale`` (1 is full size), with what they need in ``folder``."""
    appends, entries, size = (max(20, int(n * scale)) for n in (_APPENDS, 1_000_000, 20_000_000))
    (folder / "large").mkdir()
    (folder / "openssl").mkdir()
    ledger = _large_ledger(folder / "large", entries)
    chain = _chain_sqlite(ledger, folder / "chain.sqlite")
    leaves = [leaf_hash(entry) for entry in ledger.entries()]
    tree = Tree(leaves)
    root = tree.root()
    maker = _Maker(folder, size)
    bundle, plain, deflated = (folder / name for name in ("bundle.zip", "plain.zip", "deflated.zip"))
    maker.build(bundle)
    maker.zip(plain)
    digest = hashlib.sha256(b"stamped").digest()
    token = maker.authority.stamp(digest)
    return [
        Case(
            "ledger: append",
            f"{appends} transactions",
            "s",
            _in_empty(lambda empty: _append(empty, appends)),
            _in_empty(lambda empty: _append_sqlite(empty, appends)),
            "SQLite, no tree",
            records=appends,
        ),
        Case(
            "ledger: verify",
            f"{entries:,} entries",
            "s",
            lambda: seconds(lambda: _verify_ledger(ledger, entries)),
            lambda: seconds(chain),
            "SQLite hash chain",
            target=5.0 * scale,
            records=entries,
            rounds=3,
        ),
        Case(
            "proof: make and verify",
            f"{_PROOFS:,} of {entries:,}",
            "s",
            lambda: seconds(lambda: _proofs(tree, leaves)),
            lambda: _PROOFS * seconds(lambda: _root_anew(leaves, root)),
            f"hash all again, 1/{_PROOFS:,} scaled",
            records=_PROOFS,
            rounds=3,
        ),
        Case(
            "bundle: build",
            f"{size / 1e6:.0f} MB",
            "s",
            lambda: seconds(lambda: maker.build(bundle)),
            lambda: seconds(lambda: maker.zip(plain)),
            "zipfile + sha256",
        ),
        Case(
            "bundle: build",
            f"{size / 1e6:.0f} MB",
            "s",
            lambda: seconds(lambda: maker.build(bundle)),
            lambda: seconds(lambda: maker.zip(deflated, zipfile.ZIP_DEFLATED)),
            "zipfile deflate 6 + sha256",
        ),
        Case(
            "bundle: verify",
            f"{size / 1e6:.0f} MB",
            "s",
            lambda: seconds(lambda: maker.verify(bundle)),
            lambda: seconds(lambda: maker.unzip(plain)),
            "zipfile + sha256",
            target=0.3,
        ),
        Case(
            "timestamp: issue",
            f"{_STAMPS}",
            "s",
            lambda: seconds(lambda: _stamp(maker.authority)),
            _openssl_stamp(folder / "openssl"),
            f"openssl ts -reply, processes, 1/{_OPENSSL_SHARE} scaled",
            records=_STAMPS,
        ),
        Case(
            "timestamp: verify",
            f"{_STAMPS}",
            "s",
            lambda: seconds(lambda: _check(maker, token, digest)),
            _openssl_verify(folder, maker, token, digest),
            f"openssl ts -verify, processes, 1/{_OPENSSL_SHARE} scaled",
            records=_STAMPS,
        ),
    ]
