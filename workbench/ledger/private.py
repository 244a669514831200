"""What must be erasable is kept here, outside the ledger; the ledger holds only a commitment to it.

    commitment = SHA-256("workbench/commit/v1" || 0x00 || salt || JCS(private))        salt: 32 random bytes

Salt and content are sealed (AES-256-GCM) under a key of the person they are about. Without the key nothing can be
read, and without the salt no guess can be tried: who destroys the key has erased, and no entry had to change.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from workbench.errors import InputError, IntegrityError, NotFoundError
from workbench.evidence.entries import Entry
from workbench.files import canonical_json, storage_errors, write_atomic
from workbench.ledger.ledger import Ledger

__all__ = ["PrivateStore"]

_CONTEXT: Final = b"workbench/commit/v1\x00"
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_SUBJECT: Final = re.compile(r"p:([a-z0-9][a-z0-9-]{0,39})")
_COMMITMENT: Final = re.compile(r"[0-9a-f]{64}")


class PrivateStore:
    """A folder with one folder a person in it: their ``key``, and what is sealed under it.

    Leave it out of backups of the ledger: a copy of a key undoes its erasure.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def bind(self, subject: str, private: Mapping[str, Any]) -> str:
        """Keep ``private`` for the person ``subject`` (``p:reviewer-1``); returns the commitment, 64 hex digits."""
        home = self._home(subject)
        key = self._key(home)
        salt = os.urandom(_SALT_BYTES)
        content = canonical_json(dict(private))
        commitment = _commit(salt, content)
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, salt + content, _bound_to(home, commitment))
        write_atomic(home / f"{commitment}.sealed", nonce + sealed)
        return commitment

    def reveal(self, commitment: str) -> dict[str, Any]:
        """What is behind ``commitment``. Raises ``NotFoundError`` if it was erased or never here."""
        content: dict[str, Any] = json.loads(self._open(commitment)[1])
        return content

    def matches(self, commitment: str, private: Mapping[str, Any]) -> bool:
        """Whether ``private`` is what was bound. Raises ``NotFoundError`` as ``reveal`` does."""
        salt, _ = self._open(commitment)
        return _commit(salt, canonical_json(dict(private))) == commitment

    def erase(self, subject: str, ledger: Ledger, *, basis: str, actor: str = "p:local") -> Entry:
        """Destroy what is kept for ``subject``, record it under its legal ``basis`` (``art-17``), rewrite the database.

        If it is interrupted, the key is gone or everything is as before; erase again to finish.
        Raises ``NotFoundError`` if nothing is kept for ``subject``.
        """
        home = self._home(subject)
        if not home.is_dir():
            raise NotFoundError(f"nothing is kept for {subject}: it was erased, or never there")
        commitments = [path.stem for path in home.glob("*.sealed")]
        with ledger.transaction() as transaction:
            found = transaction.query(
                "SELECT seq FROM entries WHERE list_contains(?, entry ->> 'commitment') ORDER BY seq", [commitments]
            )
            entry = transaction.append(
                "erasure.executed",
                actor,
                fields={"subject": subject, "basis": basis, "entries": [row["seq"] for row in found]},
            )
            with storage_errors(home / "key"):
                _shred(home / "key")
        with storage_errors(home):
            for path in home.iterdir():
                path.unlink()
            home.rmdir()
        ledger.rewrite()
        return entry

    def _home(self, subject: str) -> Path:
        match = _SUBJECT.fullmatch(subject)
        if match is None:
            raise InputError(f"{subject[:60]!a} is not a person's pseudonym: expected one like 'p:reviewer-1'")
        return self._folder / match[1]

    def _key(self, home: Path) -> bytes:
        """The person's key, made with the first thing that is kept."""
        path = home / "key"
        with storage_errors(path):
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = home / f".key-{os.urandom(8).hex()}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, AESGCM.generate_key(256))
                os.fsync(descriptor)
                path.hardlink_to(draft)  # whole or not there; of two at once the first stays
            except FileExistsError:
                pass
            finally:
                os.close(descriptor)
                draft.unlink()
        return path.read_bytes()

    def _open(self, commitment: str) -> tuple[bytes, bytes]:
        """Salt and content."""
        found = list(self._folder.glob(f"*/{commitment}.sealed")) if _COMMITMENT.fullmatch(commitment) else []
        key = found[0].with_name("key") if found else None
        if key is None or not key.exists():
            raise NotFoundError(f"nothing is kept under {commitment[:64]!a}: it was erased, or never there")
        sealed = found[0].read_bytes()
        try:
            plain = AESGCM(key.read_bytes()).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(key.parent, commitment)
            )
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(f"what is kept under {commitment[:16]}… was changed, or its key was") from error
        salt, content = plain[:_SALT_BYTES], plain[_SALT_BYTES:]
        if _commit(salt, content) != commitment:
            raise IntegrityError(f"what is kept under {commitment[:16]}… is not what was bound")
        return salt, content


def _commit(salt: bytes, content: bytes) -> str:
    return hashlib.sha256(_CONTEXT + salt + content).hexdigest()


def _bound_to(home: Path, commitment: str) -> bytes:
    return f"workbench/private/v1\0{home.name}\0{commitment}".encode()


def _shred(path: Path) -> None:
    """Overwrite, then remove; an erasure that was interrupted may have removed it already."""
    try:
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    path.unlink()
