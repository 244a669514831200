"""What a forked child inherits and must not touch: lock descriptors, and connections of DuckDB.

A child shares its parent's locks (they belong to the open file, not to the process), so it closes the descriptors
at once. DuckDB cannot live on in a child: its threads are gone, and closing its connection there would write into the
parent's file. So a child forked while a connection was open may not use any ledger, and leaks what it inherited.
"""

import ctypes
import os
import threading
from pathlib import Path
from typing import Any

from workbench.errors import LedgerError

__all__ = ["check", "close_descriptor", "forget", "open_descriptor", "spoiled", "track"]


class _Inherited:
    """All that this process has open, and whether it inherited a connection."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.descriptors: set[int] = set()
        self.connections: dict[int, Any] = {}
        self.spoiled = False

    def before(self) -> None:
        self.mutex.acquire()  # no descriptor is opened or closed during the fork

    def in_parent(self) -> None:
        self.mutex.release()

    def in_child(self) -> None:
        self.mutex = threading.Lock()
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        for connection in self.connections.values():
            self.spoiled = True
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # never closed here, not even at exit


_inherited = _Inherited()
os.register_at_fork(before=_inherited.before, after_in_parent=_inherited.in_parent, after_in_child=_inherited.in_child)


def spoiled() -> bool:
    """Whether this process was forked while a ledger was open."""
    return _inherited.spoiled


def check() -> None:
    """Raises ``LedgerError`` in a child that must not use a ledger."""
    if _inherited.spoiled:
        raise LedgerError("this process was forked while the ledger was open: start it with 'spawn'")


def open_descriptor(path: Path, *, writable: bool) -> int:
    """A descriptor that a forked child closes; what is only read may lie on a read-only file system."""
    with _inherited.mutex:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            if writable or not path.exists():
                raise
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        _inherited.descriptors.add(descriptor)
        return descriptor


def close_descriptor(descriptor: int) -> None:
    """Close it, unless that was done (in a child the number may stand for another file by now)."""
    with _inherited.mutex:
        if descriptor in _inherited.descriptors:
            _inherited.descriptors.discard(descriptor)
            os.close(descriptor)


def track(connection: Any) -> None:
    with _inherited.mutex:
        _inherited.connections[id(connection)] = connection


def forget(connection: Any) -> None:
    with _inherited.mutex:
        _inherited.connections.pop(id(connection), None)
