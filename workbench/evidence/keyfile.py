"""One private key in one file: Argon2id turns the passphrase into a key, AES-256-GCM seals.

The file is JSON: ``v``, ``role``, ``identity``, ``certSha256``, ``kdf``, ``aead``, ``nonce``, ``ct`` and ``check``, a
digest over the rest by which a damaged file is told from a wrong passphrase. Role and certificate are sealed in with
the key (as associated data), so a file renamed to another role does not open. Created with ``O_EXCL`` and
``O_NOFOLLOW``, mode 0600, flushed to disk and renamed; opened only if it is the user's own and nobody else may read it.
"""

import base64
import contextlib
import os
import secrets
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from workbench.errors import KeyFileError, MalformedError
from workbench.evidence.certificates import PrivateKey, Role
from workbench.evidence.strict import decode_base64, read_object
from workbench.files import canonical_json, sha256_bytes, storage_errors, write_atomic

__all__ = ["KeyDerivation", "SealedKey", "check_private", "make_private_folder"]

_VERSION: Final = 1
_KEYS: Final = {"v", "role", "identity", "certSha256", "kdf", "aead", "nonce", "ct", "check"}


@dataclass(frozen=True)
class KeyDerivation:
    """Cost of Argon2id (RFC 9106): ``memory`` in KiB, ``passes`` over it, ``lanes``. The default takes about 0.3 s."""

    memory: int = 65_536
    passes: int = 3
    lanes: int = 1

    def derive(self, passphrase: str, salt: bytes) -> bytes:
        normal = unicodedata.normalize("NFC", passphrase).encode()
        return Argon2id(salt=salt, length=32, iterations=self.passes, lanes=self.lanes, memory_cost=self.memory).derive(
            normal
        )


def check_private(path: Path, *, folder: bool = False) -> None:
    """Raises ``KeyFileError`` unless ``path`` is the user's own and closed to everybody else; never follows a link."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise KeyFileError(f"there is no {'folder' if folder else 'key file'} {path.name!r}") from None
    right = stat.S_ISDIR(found.st_mode) if folder else stat.S_ISREG(found.st_mode)
    if not right:
        raise KeyFileError(f"{path.name!r} is not a plain {'folder' if folder else 'file'}")
    if found.st_uid != os.geteuid():
        raise KeyFileError(f"{path.name!r} belongs to another user: keys are used by their owner only")
    if loose := stat.S_IMODE(found.st_mode) & 0o077:
        wanted = "700" if folder else "600"
        raise KeyFileError(
            f"{path.name!r} is open to other users (mode {stat.S_IMODE(found.st_mode):03o}, too much by {loose:03o}): "
            f"chmod {wanted} it, and consider whether somebody has copied the key"
        )


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter. Raises ``StorageError``, ``KeyFileError`` if it is loose."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
    check_private(path, folder=True)


@dataclass(frozen=True)
class SealedKey:
    """A key file's content: whose key it is, and the key under its passphrase."""

    role: Role
    identity: str
    cert_sha256: str
    derivation: KeyDerivation
    salt: bytes
    nonce: bytes
    sealed: bytes

    @classmethod
    def seal(
        cls,
        key: PrivateKey,
        passphrase: str,
        *,
        role: Role,
        identity: str,
        cert_sha256: str,
        derivation: KeyDerivation | None = None,
    ) -> "SealedKey":
        derivation = derivation or KeyDerivation()
        salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
        plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        sealed = AESGCM(derivation.derive(passphrase, salt)).encrypt(nonce, plain, _bound(role, cert_sha256))
        return cls(role, identity, cert_sha256, derivation, salt, nonce, sealed)

    def open(self, passphrase: str) -> PrivateKey:
        """The private key. Raises ``KeyFileError`` for a wrong passphrase."""
        try:
            plain = AESGCM(self.derivation.derive(passphrase, self.salt)).decrypt(
                self.nonce, self.sealed, _bound(self.role, self.cert_sha256)
            )
        except InvalidTag as error:
            raise KeyFileError(f"wrong passphrase for the {self.role.value} key {self.identity!r}") from error
        key = load_der_private_key(plain, password=None)
        assert isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        return key

    def _content(self) -> dict[str, Any]:
        derivation = self.derivation
        return {
            "v": _VERSION,
            "role": self.role.value,
            "identity": self.identity,
            "certSha256": self.cert_sha256,
            "kdf": {
                "name": "argon2id",
                "m": derivation.memory,
                "t": derivation.passes,
                "p": derivation.lanes,
                "salt": base64.b64encode(self.salt).decode(),
            },
            "aead": "AES-256-GCM",
            "nonce": base64.b64encode(self.nonce).decode(),
            "ct": base64.b64encode(self.sealed).decode(),
        }

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all; what was there under this name is replaced. Raises ``StorageError``."""
        content = self._content()
        data = canonical_json({**content, "check": sha256_bytes(canonical_json(content))}) + b"\n"
        write_atomic(path, data, mode=0o600)

    @classmethod
    def read(cls, path: Path, role: Role) -> "SealedKey":
        """Read the file of a key of this ``role``.

        Raises ``KeyFileError`` if it is missing, damaged, of another role, or open to others (its folder too).
        """
        check_private(path.parent, folder=True)
        check_private(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                content = read_object(file.read(100_000), what=f"the key file {path.name!r}")
        except OSError as error:
            raise KeyFileError(f"the key file {path.name!r} cannot be read: {error.strerror}") from error
        except MalformedError as error:
            raise KeyFileError(f"the key file {path.name!r} is damaged: take it from a backup") from error
        if set(content) != _KEYS or content["v"] != _VERSION:
            raise KeyFileError(f"the key file {path.name!r} is not of a form that this version reads")
        check = content.pop("check")
        if sha256_bytes(canonical_json(content)) != check:
            raise KeyFileError(f"the key file {path.name!r} is damaged: take it from a backup")
        key = cls._from(content)
        if key.role is not role:
            raise KeyFileError(f"the key file {path.name!r} holds a {key.role.value} key, not a {role.value} key")
        return key

    @classmethod
    def _from(cls, content: dict[str, Any]) -> "SealedKey":
        kdf = content["kdf"]
        derivation = KeyDerivation(int(kdf["m"]), int(kdf["t"]), int(kdf["p"]))
        if kdf["name"] != "argon2id" or content["aead"] != "AES-256-GCM" or derivation.memory > 2**21:
            raise KeyFileError("the key file names a way of sealing that this version does not use")
        salt, nonce, sealed = (
            decode_base64(encoded, what="the key file") for encoded in (kdf["salt"], content["nonce"], content["ct"])
        )
        return cls(Role(content["role"]), content["identity"], content["certSha256"], derivation, salt, nonce, sealed)


def _bound(role: Role, cert_sha256: str) -> bytes:
    return f"{role.value}\0{cert_sha256}".encode()
