"""Files that are either whole or not there: digests, canonical JSON, atomic writes, staging folders, locks."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import rfc8785

from workbench.errors import StorageError

__all__ = [
    "canonical_json",
    "is_locked",
    "locked",
    "one_at_a_time",
    "sha256_bytes",
    "sha256_file",
    "staging",
    "storage_errors",
    "sweep_abandoned",
    "write_atomic",
]

_STAGING_PREFIX = ".partial-"
_LOCK = ".lock"


def sha256_bytes(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one JSON encoding of ``value`` that digests are taken over (RFC 8785).

    >>> canonical_json({"b": 1.0, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    return rfc8785.dumps(value)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what a file system refuses into one sentence that names the cause."""
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EACCES: "permission denied",
            errno.EPERM: "permission denied",
            errno.EROFS: "the file system is read-only",
            errno.EEXIST: "something else is there already",
            errno.ENOTDIR: "a file stands where a folder is needed",
            errno.EISDIR: "a folder stands there",
            errno.ENOENT: "its folder is not there and cannot be made",
        }.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"cannot write {path.name!r}: {reason}") from error


def write_atomic(path: Path, data: bytes, *, make_folder: bool = False, mode: int = 0o644) -> None:
    """Write beside, flush to disk, rename: readers see the old content or the new, never a part.

    With ``make_folder`` the folder is made if it is not there. With ``mode`` 0o600 nobody else could ever read a byte.

    Raises ``StorageError`` when the disk is full or the folder cannot be written.
    """
    with storage_errors(path):
        if make_folder and not path.parent.is_dir():
            path.parent.mkdir(parents=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_STAGING_PREFIX)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).rename(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[IO[bytes]]:
    """Hold an exclusive OS lock on ``path`` for as long as this process lives in the block.

    The kernel drops the lock when the process dies, however it dies: that is how a killed owner is noticed.
    Raises ``BlockingIOError`` if another process holds it.
    """
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process or thread at a time read and rewrite the small file ``path``; the others wait in the kernel.

    The lock is on ``<name>.lock`` beside it, because ``path`` itself is replaced when it is written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f"{path.name}.lock").open("ab")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock on ``path``."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextlib.contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """A new hidden folder inside ``parent`` to build something in; whatever is left in it at the end goes.

    The caller publishes by renaming files or folders out of it (same file system, so atomic).
    """
    with storage_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=_STAGING_PREFIX))
    try:
        with locked(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_abandoned(parent: Path) -> int:
    """Remove staging folders whose owner died; returns how many there were."""
    abandoned = [
        folder
        for folder in parent.glob(f"{_STAGING_PREFIX}*")
        if folder.is_dir() and (folder / _LOCK).exists() and not is_locked(folder / _LOCK)
    ]
    for folder in abandoned:
        shutil.rmtree(folder, ignore_errors=True)
    return len(abandoned)
