"""One transaction: what it asks, what it appends, and the state both stand on."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from workbench.clock import Clock, utc
from workbench.errors import LedgerError
from workbench.evidence.entries import Entry
from workbench.evidence.merkle import leaf_hash
from workbench.ledger import views
from workbench.ledger.database import Database

__all__ = ["Transaction", "time_of"]

_TOLERATED_MS: Final = 5_000  # how far the clock may be behind the last entry, as a corrected clock is


class Transaction:
    """Inside ``with ledger.transaction() as tx``: nothing else is appended meanwhile, and an exception undoes all."""

    def __init__(self, database: Database, clock: Clock, size: int) -> None:
        self._database: Database | None = database
        self._clock = clock
        self._size = size
        self._last_time = time_of(database, size - 1) if size else None
        self._viewed: set[str] = set()
        self.leaves: list[bytes] = []  # of what was appended here

    @property
    def size(self) -> int:
        """How many entries there are, with those appended here."""
        return self._size

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """One SELECT over the views; it sees what this transaction appended."""
        database = self._open()
        self._viewed.update(views.define(database, sql, besides=self._viewed))
        return database.select(sql, parameters)

    def append(
        self, type: str, actor: str = "p:local", *, fields: Mapping[str, Any], commitment: str | None = None
    ) -> Entry:
        """Append one entry.

        Raises ``MalformedError`` for an entry that must not be written, and ``LedgerError`` if the clock is far behind
        the last entry.
        """
        database = self._open()
        time = self._now()
        entry = Entry(self._size, time, type, actor, dict(fields), commitment)
        data = bytes(entry)
        leaf = leaf_hash(data)
        database.rows("INSERT INTO store.audit VALUES (?, ?, ?)", [self._size, data, leaf])
        self.leaves.append(leaf)
        self._size += 1
        self._last_time = time
        return entry

    def end(self) -> None:
        self._database = None

    def _open(self) -> Database:
        if self._database is None:
            raise LedgerError("this transaction is over: begin a new one with `with ledger.transaction()`")
        return self._database

    def _now(self) -> str:
        now, last = utc(self._clock.time_ns()), self._last_time
        if last is None or now >= last:
            return now
        if _milliseconds(last) - _milliseconds(now) <= _TOLERATED_MS:
            return last
        raise LedgerError(
            f"this computer's clock says {now}, but the last entry of the ledger is of {last}: "
            "check the clock; nothing was appended"
        )


def _milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def time_of(database: Database, seq: int) -> str:
    """The time of an entry. Raises ``LedgerError`` if it cannot be read."""
    ((entry,),) = database.rows("SELECT entry FROM store.audit WHERE seq = ?", [seq])
    try:
        return str(json.loads(entry)["time"])
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"entry {seq} of the ledger cannot be read: see `workbench ledger verify`") from error
