"""What the ledger's tests share: a ledger on disk with a clock of its own, entries, and a way to tamper with the file."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workbench.clock import VirtualClock
from workbench.ledger import Ledger

NOON_NS = 1_777_800_000_000_000_000  # 2026-05-03T09:20:00Z


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(start_ns=NOON_NS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def ledger(folder: Path, clock: VirtualClock) -> Ledger:
    return Ledger(folder, clock=clock, timeout=20)


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def tamper(folder: Path) -> Callable[..., None]:
    """``tamper("DROP TRIGGER ...", ...)`` runs statements on the file as its owner can: without lock or frontier."""

    def tamper(*statements: str) -> None:
        connection = duckdb.connect(str(folder / "ledger.duckdb"))
        try:
            for statement in statements:
                connection.execute(statement).fetchall()
        finally:
            connection.close()

    return tamper


@pytest.fixture
def trouble(clock: VirtualClock) -> Callable[..., None]:
    """``trouble(ledger, 3)`` appends three small entries, a second apart."""

    def trouble(ledger: Ledger, count: int) -> None:
        with ledger.transaction() as tx:
            for _ in range(count):
                tx.append("tsa.degraded", fields={"trouble": "open"})
                clock.advance_ns(1_000_000_000)

    return trouble
