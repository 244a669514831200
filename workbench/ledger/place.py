"""Where a ledger is kept: in a folder, or in the memory of this process. Locks and files are known only here."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from workbench.errors import IntegrityError, LedgerBusyError, LedgerError
from workbench.files import storage_errors, write_atomic
from workbench.ledger import forks
from workbench.ledger.database import Database
from workbench.ledger.frontier import Remembered, new_origin
from workbench.ledger.lock import held

__all__ = ["FolderPlace", "MemoryPlace", "Place"]

_NESTED: Final = "this thread has the ledger open already: inside a transaction use its own query and append"
_CHECKPOINT: Final = ".checkpoint"
_STAMP: Final = ".tsr"


class Place(Protocol):
    """What is stored, and who may touch it: what changes something is called inside ``writing`` only."""

    def writing(self) -> AbstractContextManager[Database]: ...
    def reading(self) -> AbstractContextManager[Database]: ...
    def remembered(self) -> Remembered | None: ...
    def stage(self, remembered: Remembered) -> None: ...
    def publish(self) -> None: ...
    def read_checkpoints(self) -> list[tuple[int, bytes, bytes | None]]: ...
    def largest_checkpoint(self) -> int: ...
    def keep_checkpoint(self, size: int, note: bytes) -> None: ...
    def keep_stamp(self, size: int, stamp: bytes) -> None: ...
    def rewrite(self) -> None: ...


class _Mine(threading.local):
    """The folders whose ledger this thread has open."""

    def __init__(self) -> None:
        self.folders: set[Path] = set()


_mine = _Mine()


class FolderPlace:
    """A folder with ``ledger.duckdb``, ``frontier.json``, ``checkpoints/`` and the two lock files."""

    def __init__(self, folder: Path, timeout: float, waiting: Callable[[str], None] | None) -> None:
        self._folder = folder.resolve()
        self._timeout = timeout
        self._waiting = waiting
        self._database = self._folder / "ledger.duckdb"
        self._frontier = self._folder / "frontier.json"
        self._staged = self._folder / ".frontier.staged"
        self._fresh = self._folder / ".fresh.duckdb"
        self._checkpoints = self._folder / "checkpoints"

    @contextlib.contextmanager
    def writing(self) -> Iterator[Database]:
        forks.check()
        with storage_errors(self._folder):
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._held(exclusive=True):
            if not self._database.exists():
                self._make()
            with contextlib.closing(Database(self._database)) as database:
                database.shut_off()
                yield database

    @contextlib.contextmanager
    def reading(self) -> Iterator[Database]:
        forks.check()
        with self._held(exclusive=False) if self._folder.is_dir() else contextlib.nullcontext():
            there = self._database.exists()
            if not there:
                self._require_nothing_lost(self.remembered())
            with contextlib.closing(Database(self._database if there else None, read_only=there)) as database:
                database.shut_off()
                yield database

    @contextlib.contextmanager
    def _held(self, *, exclusive: bool) -> Iterator[None]:
        if self._folder in _mine.folders:
            raise LedgerError(_NESTED)
        _mine.folders.add(self._folder)
        try:
            with held(self._folder, exclusive=exclusive, timeout=self._timeout, waiting=self._waiting):
                yield
        finally:
            _mine.folders.discard(self._folder)

    def _make(self) -> None:
        """An empty ledger: first what is remembered, then the database under its name, so a crash loses nothing."""
        remembered = self.remembered()
        self._require_nothing_lost(remembered)
        if remembered is None:
            self.stage(Remembered(new_origin()))
            self.publish()
        self._clear_fresh()
        with contextlib.closing(Database(self._fresh)) as database:
            database.create()
        self._put_fresh()

    def _require_nothing_lost(self, remembered: Remembered | None) -> None:
        count = max(0 if remembered is None else remembered.size, self.largest_checkpoint())
        if count:
            raise IntegrityError(
                f"the ledger file {self._database.name} is missing: {count} entries were there; "
                "restore it from a backup, then see `workbench ledger verify`"
            )

    def rewrite(self) -> None:
        """Copy the entries into a new file and put it in the place of the old one."""
        self._clear_fresh()
        with contextlib.closing(Database(self._database)) as database:
            database.rows("CHECKPOINT store")
            database.copy_to(self._fresh)
        with contextlib.closing(Database(self._fresh)) as database:
            database.guard()
        self._put_fresh()

    def _clear_fresh(self) -> None:
        for path in (self._fresh, Path(f"{self._fresh}.wal")):
            path.unlink(missing_ok=True)

    def _put_fresh(self) -> None:
        with storage_errors(self._database):
            self._fresh.chmod(0o600)
            self._fresh.rename(self._database)
            Path(f"{self._database}.wal").unlink(missing_ok=True)
            _sync_folder(self._folder)

    def remembered(self) -> Remembered | None:
        try:
            return Remembered.read(self._frontier.read_bytes())
        except FileNotFoundError:
            return None

    def stage(self, remembered: Remembered) -> None:
        """Write it to disk under another name, so that ``publish`` has only to rename: a full disk shows here."""
        write_atomic(self._staged, bytes(remembered))

    def publish(self) -> None:
        with storage_errors(self._frontier):
            self._staged.replace(self._frontier)

    def read_checkpoints(self) -> list[tuple[int, bytes, bytes | None]]:
        found = []
        for size in self._sizes():
            path = self._checkpoints / f"{size}{_CHECKPOINT}"
            stamp = path.with_suffix(_STAMP)
            found.append((size, path.read_bytes(), stamp.read_bytes() if stamp.exists() else None))
        return found

    def largest_checkpoint(self) -> int:
        return max(self._sizes(), default=0)

    def _sizes(self) -> list[int]:
        stems = (path.stem for path in self._checkpoints.glob(f"*{_CHECKPOINT}"))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    def keep_checkpoint(self, size: int, note: bytes) -> None:
        write_atomic(self._checkpoints / f"{size}{_CHECKPOINT}", note, make_folder=True)

    def keep_stamp(self, size: int, stamp: bytes) -> None:
        write_atomic(self._checkpoints / f"{size}{_STAMP}", stamp, make_folder=True)


class MemoryPlace:
    """The same in memory, for tests: one database, one thread at a time."""

    def __init__(self, origin: str | None) -> None:
        self._remembered = Remembered(origin or new_origin())
        self._staged = self._remembered
        self._notes: dict[int, tuple[bytes, bytes | None]] = {}
        self._mutex = threading.Lock()
        self._owner: int | None = None
        self._process = os.getpid()
        self._database = Database(None)
        self._database.shut_off()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Database]:
        if os.getpid() != self._process:
            raise LedgerError("this ledger is in the memory of another process: a child makes its own")
        if self._owner == threading.get_ident():
            raise LedgerError(_NESTED)
        if not self._mutex.acquire(timeout=60):
            raise LedgerBusyError("the ledger in memory is held by another thread; tried for 60 s")
        try:
            self._owner = threading.get_ident()
            with contextlib.closing(self._database.cursor()) as database:
                yield database
        finally:
            self._owner = None
            self._mutex.release()

    def reading(self) -> AbstractContextManager[Database]:
        return self.writing()

    def remembered(self) -> Remembered:
        return self._remembered

    def stage(self, remembered: Remembered) -> None:
        self._staged = remembered

    def publish(self) -> None:
        self._remembered = self._staged

    def read_checkpoints(self) -> list[tuple[int, bytes, bytes | None]]:
        return [(size, *self._notes[size]) for size in sorted(self._notes)]

    def largest_checkpoint(self) -> int:
        return max(self._notes, default=0)

    def keep_checkpoint(self, size: int, note: bytes) -> None:
        self._notes[size] = (note, self._notes.get(size, (b"", None))[1])

    def keep_stamp(self, size: int, stamp: bytes) -> None:
        self._notes[size] = (self._notes[size][0], stamp)

    def rewrite(self) -> None:
        """Nothing was ever on disk."""


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
