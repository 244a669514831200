"""A small world that makes evidence: keys, a log, a run's results, a report with two approvals, and its bundle.

Everything happens in virtual time, on one day in May 2026. Tests change one thing and pack again.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workbench.clock import VirtualClock, utc
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
from workbench.evidence.certificates import Role, fingerprint
from workbench.evidence.checkpoint import Checkpoint
from workbench.evidence.entries import Entry
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import KeyStore, Signer, issued_fields
from workbench.evidence.merkle import Tree, leaf_hash
from workbench.evidence.timestamps import LocalAuthority
from workbench.evidence.verify import Verdict, verify_bytes
from workbench.files import sha256_bytes

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

    def pack(self, files: list[BundleFile], report: SignedReport, approvals: list[bytes], **more: Any) -> bytes:
        self.wait(5)
        note, token = self.sign_checkpoint()
        extract = replace(LogExtract(tuple(self.entries), note, token), **more.pop("log", {}))
        certificates = more.pop("certificates", [info.certificate for info in self.store.keys()])
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
    signers |= {role.value: store.unlock(role, "working passphrase") for role in (Role.REPORT, Role.LEDGER, Role.TIMESTAMP)}
    authority = LocalAuthority(signers["timestamp"].key, signers["timestamp"].certificate, clock=clock)
    world = World(store, clock, signers, authority)
    for info in store.keys():
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
