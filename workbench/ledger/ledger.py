"""The ledger: append, ask, sign, verify. The same on disk and in memory; what differs is its place."""

import base64
import contextlib
import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workbench.clock import Clock, SystemClock, utc
from workbench.errors import InputError, IntegrityError, LedgerError, StorageError
from workbench.evidence.checkpoint import Checkpoint
from workbench.evidence.entries import Entry
from workbench.evidence.merkle import EMPTY_ROOT
from workbench.ledger import continuity, verification, views
from workbench.ledger.checkpoints import StoredCheckpoint, read_stored
from workbench.ledger.database import Database
from workbench.ledger.place import FolderPlace, MemoryPlace, Place
from workbench.ledger.transaction import Transaction, time_of
from workbench.ledger.verification import Verification
from workbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ledger", "MemoryLedger", "open_ledger"]


class Ledger:
    """An append-only log in a folder; made with its first entry.

    Several processes and threads may use it at once; each call waits up to ``timeout`` seconds for the others, tells
    ``waiting`` after one second who holds the ledger, and raises ``LedgerBusyError`` in the end.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        timeout: float = 60.0,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        self._place: Place = FolderPlace(folder, timeout, waiting)
        self._clock: Clock = clock or SystemClock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Ask and append as one step, with nobody else in between; an exception inside appends nothing.

        Raises ``IntegrityError`` if the ledger is not the one that was written last time, ``LedgerBusyError`` if
        others hold it too long, ``StorageError`` if the disk refuses.
        """
        with self._place.writing() as database:
            remembered = continuity.meet(self._place, database)
            database.rows("BEGIN")
            transaction = Transaction(database, self._clock, remembered.size)
            try:
                yield transaction
                if transaction.leaves:
                    self._place.stage(remembered.after(transaction.leaves))
                    database.rows("COMMIT")
                else:
                    database.rollback()
            except BaseException:
                database.rollback()
                raise
            finally:
                transaction.end()
            if transaction.leaves:
                # The entries are there. If this fails, the next append catches up; to raise would deny them.
                with contextlib.suppress(StorageError):
                    self._place.publish()

    def append(
        self, type: str, actor: str = "p:local", *, fields: Mapping[str, Any], commitment: str | None = None
    ) -> Entry:
        """A transaction with one entry in it. When this returns, the entry is on disk.

        >>> ledger = MemoryLedger()
        >>> ledger.append("tsa.degraded", fields={"trouble": "open"}).seq
        0
        """
        with self.transaction() as transaction:
            return transaction.append(type, actor, fields=fields, commitment=commitment)

    def query(self, sql: str, parameters: Sequence[Any] = (), *, size: int | None = None) -> list[dict[str, Any]]:
        """The rows of one SELECT over the views, as of the first ``size`` entries (of all, unless given).

        The views are those of ``workbench.ledger.views``: ``entries``, ``keys``, ``runs``, ``states`` ... Nothing can
        be written here, and no other file read. Raises ``LedgerError`` for anything but a SELECT that can be answered.
        """
        with self._viewed(sql, size) as database:
            return database.select(sql, parameters)

    def frame(self, sql: str, parameters: Sequence[Any] = (), *, size: int | None = None) -> "pd.DataFrame":
        """What ``query`` answers, as columns: for whole views, of which a dict for every row costs twice the time.

        >>> MemoryLedger().frame("SELECT approver, decision FROM approvals").shape
        (0, 2)
        """
        with self._viewed(sql, size) as database:
            return database.frame(sql, parameters)

    @contextlib.contextmanager
    def _viewed(self, sql: str, size: int | None) -> Iterator[Database]:
        with self._place.reading() as database:
            if size is not None:
                self._require_within(database, size)
            views.define(database, sql, size=size)
            yield database

    def entries(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """The bytes of the entries from ``start`` up to but not including ``stop``."""
        with self._place.reading() as database:
            stop = database.size() if stop is None else stop
            return [
                bytes(entry)
                for rows in database.chunks(
                    "SELECT entry FROM store.audit WHERE seq >= ? AND seq < ? ORDER BY seq",
                    [max(start, 0), max(stop, 0)],
                )
                for (entry,) in rows
            ]

    @property
    def size(self) -> int:
        """How many entries there are."""
        with self._place.reading() as database:
            return database.size()

    @property
    def origin(self) -> str:
        """The name of this log, made with its first entry. Raises ``LedgerError`` before that."""
        remembered = self._place.remembered()
        if remembered is None:
            raise LedgerError("the ledger has no name yet: it is made with the first entry")
        return remembered.origin

    def as_of(self, moment: datetime) -> int:
        """How many entries there were at ``moment`` (with a time zone), to be given to ``query`` as ``size``."""
        if moment.utcoffset() is None:
            raise InputError(f"{moment.isoformat()} has no time zone: say which, for example +00:00")
        time = utc(max(0, math.floor(moment.timestamp() * 1000)) * 1_000_000)
        with self._place.reading() as database:
            low, high = 0, database.size()
            while low < high:  # times never go back, so 17 looks find the place among 100,000
                middle = (low + high) // 2
                later = time_of(database, middle) > time
                low, high = (low, middle) if later else (middle + 1, high)
        return low

    def checkpoints(self) -> list[StoredCheckpoint]:
        """The stored checkpoints, oldest first. Raises ``IntegrityError`` for a damaged one."""
        return [read_stored(*found) for found in self._place.read_checkpoints()]

    def sign_checkpoint(
        self,
        key: Ed25519PrivateKey,
        *,
        stamp: Callable[[bytes], bytes] | None = None,
        authority: str = "local",
        actor: str = "p:local",
    ) -> StoredCheckpoint:
        """Sign how many entries there are and their root; let ``stamp`` timestamp it, and append that it did.

        ``stamp`` gets the SHA-256 of the checkpoint's body and returns the DER of a timestamp response. It runs while
        nothing is held: it may wait for others, and append. If it raises, the signed checkpoint stays, unstamped.

        Raises ``IntegrityError`` if a stored checkpoint is not a beginning of this ledger: a fork is never signed.
        """
        with self._place.writing() as database:
            remembered = continuity.meet(self._place, database)
            tree = verification.recount(database, self.checkpoints())
            checkpoint = Checkpoint(remembered.origin, len(tree), tree.root())
            if remembered.frontier.root != checkpoint.root:
                raise IntegrityError("frontier.json contradicts the ledger: see `workbench ledger verify`")
            note = checkpoint.sign(key)
            self._place.keep_checkpoint(checkpoint.size, note)
        if stamp is None:
            return StoredCheckpoint(checkpoint, note, None)
        response = stamp(hashlib.sha256(checkpoint.body).digest())
        with self.transaction() as transaction:
            transaction.append(
                "checkpoint.anchored",
                actor,
                fields={
                    "size": checkpoint.size,
                    "root": base64.b64encode(checkpoint.root).decode(),
                    "authority": authority,
                    "timestampSha256": hashlib.sha256(response).hexdigest(),
                },
            )
            self._place.keep_stamp(checkpoint.size, response)
        return StoredCheckpoint(checkpoint, note, response)

    def verify(
        self,
        *,
        keys: Sequence[Ed25519PublicKey] = (),
        thorough: bool | None = None,
        progress: Callable[[str], object] | None = None,
    ) -> Verification:
        """Recompute everything from the stored bytes. Never raises for a tampered ledger: ``problems`` tells.

        Each entry against its hash and number, times that never go back, the root against ``frontier.json``, every
        stored checkpoint as a beginning (and its signature, where ``keys`` are given), anchored timestamps, the
        triggers and the table. With ``thorough`` each entry is also parsed strictly; that is slow, so unless it is
        said, only below 50,000 entries, or once something is wrong. ``parsed`` in the result says how many were.
        """
        try:
            with self._place.reading() as database:
                return verification.verify(self._place, database, keys=keys, thorough=thorough, progress=progress)
        except (IntegrityError, StorageError) as error:  # not a database any more, or gone
            return Verification(0, EMPTY_ROOT, (str(error),), 0)

    def rebuild_frontier(self, actor: str = "p:local") -> Entry:
        """Take the ledger as it is now: remember it anew, put the triggers back, and append that this was done.

        For a ``frontier.json`` that was lost, or a backup put in place on purpose. Raises ``IntegrityError`` if the
        entries contradict themselves or any stored checkpoint.
        """
        with self._place.writing() as database:
            taken = continuity.take_as_it_is(self._place, database, self.checkpoints())
        root = base64.b64encode(taken.frontier.root).decode()
        return self.append("frontier.rebuilt", actor, fields={"size": taken.size, "root": root})

    def rewrite(self) -> None:
        """Copy the entries into a new file: DuckDB keeps deleted bytes in the old one. Entries and root stay."""
        with self._place.writing() as database:
            continuity.meet(self._place, database)
            database.close()
            self._place.rewrite()

    @staticmethod
    def _require_within(database: Database, size: int) -> None:
        if not 0 <= size <= database.size():
            raise LedgerError(f"the ledger has {database.size()} entries, not {size}")


class MemoryLedger(Ledger):
    """The same ledger in memory, for tests and trials: safe among threads, gone at the end, not for forked children.

    >>> ledger = MemoryLedger(origin="example.org/log")
    >>> with ledger.transaction() as tx:
    ...     _ = tx.append("tsa.degraded", fields={"trouble": "open"})
    ...     tx.query("SELECT count(*) AS n FROM entries")
    [{'n': 1}]
    """

    def __init__(self, *, clock: Clock | None = None, origin: str | None = None) -> None:
        if origin is not None and not re.fullmatch(r"[^\s+]{1,200}", origin):
            raise InputError(f"{origin!a} cannot name a log: up to 200 letters without spaces or '+'")
        self._place = MemoryPlace(origin)
        self._clock = clock or SystemClock()


def open_ledger(
    workspace: Workspace,
    *,
    clock: Clock | None = None,
    timeout: float = 60.0,
    waiting: Callable[[str], None] | None = None,
) -> Ledger:
    """The ledger of a workspace. Cheap: nothing is opened or made before it is used.

    ``timeout`` in seconds; see ``Ledger``.
    """
    return Ledger(workspace.ledger, clock=clock, timeout=timeout, waiting=waiting)
