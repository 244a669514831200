"""A fair, bounded lock between processes and threads: writers alone, readers together.

Two files. Everybody takes ``turn`` alone, then ``lock`` (writers alone, readers shared), then gives ``turn`` back at
once. So a writer that waits for ``lock`` keeps ``turn``, and no reader that comes later overtakes it. Waiting is left
to the kernel, whose queue is fair; polling starves those who wait longest. It is done in a helper thread, so that a
wait can end early: after a time, or by Ctrl-C. A dead holder blocks nobody, because the kernel drops its lock.
"""

import contextlib
import fcntl
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from workbench.errors import LedgerBusyError
from workbench.files import storage_errors
from workbench.ledger import forks

__all__ = ["held"]

_PATIENCE: Final = 1.0  # seconds before a waiter says that it waits


@contextlib.contextmanager
def held(
    folder: Path, *, exclusive: bool, timeout: float, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock of ``folder`` in the block.

    After a second of waiting ``waiting`` is told who holds it; after ``timeout`` seconds ``LedgerBusyError`` tells it.
    """
    with storage_errors(folder / "lock"):
        descriptor = _at_once(folder, exclusive)
        if descriptor is None:
            descriptor = _Wait(folder, exclusive).descriptor(timeout, waiting)
    try:
        _sign(descriptor)
        yield
    finally:
        forks.close_descriptor(descriptor)


def _at_once(folder: Path, exclusive: bool) -> int | None:
    """The lock, if nobody holds it and nobody waits for it."""
    turn = forks.open_descriptor(folder / "turn", writable=exclusive)
    lock = None
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock = forks.open_descriptor(folder / "lock", writable=exclusive)
        fcntl.flock(lock, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BaseException as error:
        if lock is not None:
            forks.close_descriptor(lock)
        if not isinstance(error, BlockingIOError):
            raise
        return None
    finally:
        forks.close_descriptor(turn)
    return lock


class _Wait:
    """One waiter. Its thread waits in the kernel; if the caller has gone by then, it gives back what it got."""

    def __init__(self, folder: Path, exclusive: bool) -> None:
        self._folder = folder
        self._exclusive = exclusive
        self._mutex = threading.Lock()
        self._done = threading.Event()
        self._abandoned = False
        self._got: int | None = None
        self._error: OSError | None = None

    def descriptor(self, timeout: float, waiting: Callable[[str], None] | None) -> int:
        """Raises ``LedgerBusyError`` after ``timeout`` seconds, and ``OSError`` if a file cannot be opened."""
        threading.Thread(target=self._take, name="ledger-lock", daemon=True).start()
        try:
            patience = min(_PATIENCE, timeout)
            if not self._done.wait(patience):
                if waiting is not None and timeout > patience:
                    waiting(f"the ledger is held by {_holder(self._folder)}")
                self._done.wait(timeout - patience)
            with self._mutex:
                if self._got is not None:
                    return self._got
                self._abandoned = True
        except BaseException:
            self._abandon()
            raise
        if self._error is not None:
            raise self._error
        raise LedgerBusyError(
            f"the ledger is held by {_holder(self._folder)}; tried for {timeout:g} s: let it finish or stop it, "
            "then try again"
        )

    def _take(self) -> None:
        try:
            got = self._take_turn()
        except OSError as error:
            self._error = error
            self._done.set()
            return
        with self._mutex:
            if got is not None and self._abandoned:
                forks.close_descriptor(got)
            else:
                self._got = got
            self._done.set()

    def _take_turn(self) -> int | None:
        turn = forks.open_descriptor(self._folder / "turn", writable=self._exclusive)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if self._abandoned:
                return None
            lock = forks.open_descriptor(self._folder / "lock", writable=self._exclusive)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if self._exclusive else fcntl.LOCK_SH)
            except BaseException:
                forks.close_descriptor(lock)
                raise
            return lock
        finally:
            forks.close_descriptor(turn)

    def _abandon(self) -> None:
        with self._mutex:
            self._abandoned = True
            if self._got is not None:
                forks.close_descriptor(self._got)
                self._got = None


def _command() -> str:
    """What runs here, in words fit for others: no paths, no arguments but the verb."""
    script = Path(sys.argv[0] if sys.argv else "")
    name = script.parent.name if script.name == "__main__.py" else script.name
    verb = sys.argv[1] if len(sys.argv) > 1 and re.fullmatch("[a-z][a-z-]{0,30}", sys.argv[1]) else ""
    return f"{'python' if name in ('', '-c') else name} {verb}".rstrip()


def _sign(descriptor: int) -> None:
    """Write into the lock file who holds it now; only for messages, so it may fail."""
    note = json.dumps({"pid": os.getpid(), "command": _command(), "since": time.time()}).encode()
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note, 0)


def _holder(folder: Path) -> str:
    try:
        note = json.loads((folder / "lock").read_bytes())
        pid, command, since = int(note["pid"]), str(note["command"])[:80], float(note["since"])
        os.kill(pid, 0)
    except PermissionError:  # another user's: alive
        pass
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
    return f"process {pid} ({command}) since {max(0.0, time.time() - since):.0f} s"
