"""Keys and their certificates in one folder, each key with one role.

    keys/                           0700, the owner's
      store.json                    whether these are demonstration keys
      root-<id>.key                 sealed private keys, 0600; the root's is better kept elsewhere
      report-<id>.key ...
      certificates/<sha256>.pem     every certificate that was ever issued here

What happens to keys is logged by others, with the fields that ``issued_fields``, ``rotate`` and ``revoke`` give.
"""

import base64
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from workbench.clock import Clock, SystemClock, utc
from workbench.errors import InputError, IntegrityError, KeyFileError, nearest
from workbench.evidence.certificates import (
    KeyType,
    Lifetime,
    PrivateKey,
    Role,
    fingerprint,
    generate_key,
    identity_of,
    issue,
    issue_root,
    pem,
    read_certificates,
    role_of,
    spki,
)
from workbench.evidence.keyfile import KeyDerivation, SealedKey, check_private, make_private_folder
from workbench.files import canonical_json, sha256_bytes, storage_errors, write_atomic

__all__ = [
    "DEMO_PASSPHRASE",
    "REVOCATION_REASONS",
    "KeyInfo",
    "KeyStore",
    "Signer",
    "check_passphrase",
    "issued_fields",
    "revocation_message",
    "rotation_message",
    "verify_message",
]

DEMO_PASSPHRASE: Final = "demonstration"  # noqa: S105  # public on purpose, and said so everywhere
REVOCATION_REASONS: Final = ("keyCompromise", "superseded", "cessationOfOperation")
_SHORTEST: Final = 8
_IDENTITY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def rotation_message(role: Role, old: str, new: str) -> bytes:
    """What the old key and the root sign when a key is rotated."""
    return b"workbench/key-rotation/v1\0" + canonical_json({"role": role.value, "old": old, "new": new})


def revocation_message(cert_sha256: str, reason: str, invalid_from: str) -> bytes:
    """What the root signs when a key is revoked."""
    content = {"certSha256": cert_sha256, "reason": reason, "invalidFrom": invalid_from}
    return b"workbench/key-revocation/v1\0" + canonical_json(content)


def verify_message(certificate: x509.Certificate, signature: bytes, message: bytes) -> bool:
    """Whether the key of ``certificate`` (Ed25519, ECDSA or RSA, with SHA-256) signed ``message``."""
    key = certificate.public_key()
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            return False
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class Signer:
    """An unlocked key. Keep it no longer than the signature takes."""

    role: Role
    identity: str
    certificate: x509.Certificate
    key: PrivateKey

    def sign(self, message: bytes) -> bytes:
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    @property
    def document_key(self) -> ed25519.Ed25519PrivateKey:
        """The key, if it is one that signs documents. Raises ``KeyFileError``."""
        if not isinstance(self.key, ed25519.Ed25519PrivateKey):
            raise KeyFileError(f"the {self.role.value} key does not sign documents")
        return self.key


@dataclass(frozen=True)
class KeyInfo:
    """A certificate of the store; ``held`` says whether its private key is here."""

    role: Role
    identity: str
    certificate: x509.Certificate
    held: bool

    @property
    def sha256(self) -> str:
        return fingerprint(self.certificate)


def issued_fields(certificate: x509.Certificate) -> dict[str, Any]:
    """The fields of the log's ``key.issued`` for a certificate."""
    return {
        "role": role_of(certificate).value,
        "identity": identity_of(certificate),
        "certSha256": fingerprint(certificate),
        "spkiSha256": sha256_bytes(spki(certificate)),
    }


class KeyStore:
    """The keys of one workspace, in ``folder``."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, derivation: KeyDerivation | None = None) -> None:
        self.folder = folder
        self.clock = clock or SystemClock()
        self.derivation = derivation

    # What is there

    @property
    def exists(self) -> bool:
        return (self.folder / "store.json").is_file()

    @property
    def demo(self) -> bool:
        """Whether these are demonstration keys, whose passphrase everybody knows."""
        return bool(self._read_store()["demo"])

    def _read_store(self) -> dict[str, Any]:
        if not self.exists:
            raise KeyFileError("there are no keys yet: `workbench keys init` makes them")
        check_private(self.folder, folder=True)
        try:
            store: dict[str, Any] = json.loads((self.folder / "store.json").read_bytes())
            if store["v"] != 1 or not isinstance(store["demo"], bool):
                raise ValueError("another version")
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                "store.json of the keys is damaged, or of a form this version does not read"
            ) from error
        return store

    def issued(self) -> list[KeyInfo]:
        """All certificates, oldest first. Raises ``KeyFileError`` if there are none or the folder is open to others."""
        self._read_store()
        held = {sealed.cert_sha256 for sealed in self._sealed()}
        found = []
        for path in sorted((self.folder / "certificates").glob("*.pem")):
            (certificate,) = read_certificates(path.read_bytes())
            if fingerprint(certificate) != path.stem:
                raise IntegrityError(f"the certificate {path.stem[:16]} was changed")
            found.append(KeyInfo(role_of(certificate), identity_of(certificate), certificate, path.stem in held))
        return sorted(found, key=lambda info: (info.certificate.not_valid_before_utc, info.role, info.identity))

    def _sealed(self) -> list[SealedKey]:
        sealed = []
        for path in sorted(self.folder.glob("*.key")):
            role, _, _ = path.name.partition("-")
            if role in set(Role):
                sealed.append(SealedKey.read(path, Role(role)))
        return sealed

    @property
    def root(self) -> x509.Certificate:
        """The present root certificate: the one the store names."""
        wanted = self._read_store()["root"]
        return next(info.certificate for info in self.issued() if info.sha256 == wanted)

    def find(self, role: Role, identity: str | None = None) -> KeyInfo:
        """The key of this role that is in use. Raises ``KeyFileError``."""
        fitting = [
            info for info in self.issued() if info.role is role and info.held and identity in (None, info.identity)
        ]
        if not fitting:
            others = [info.identity for info in self.issued() if info.role is role and info.held]
            hint = nearest(identity, others) if identity and others else "; `workbench keys list` shows what there is"
            raise KeyFileError(f"there is no {role.value} key {(identity or '')!r} here{hint}")
        if len(fitting) > 1:
            raise KeyFileError(f"there are {len(fitting)} {role.value} keys: name one")
        return fitting[0]

    def unlock(
        self, role: Role, passphrase: str, identity: str | None = None, *, elsewhere: Path | None = None
    ) -> Signer:
        """The private key of ``role``; ``elsewhere`` is its file where it is not in the store (the root's, say).

        Raises ``KeyFileError`` for a wrong passphrase, a damaged file, loose permissions or another role.
        """
        if elsewhere is not None:
            sealed = SealedKey.read(elsewhere, role)
        else:
            info = self.find(role, identity)
            sealed = SealedKey.read(self._path(role, info.identity), role)
        certificate = next((info.certificate for info in self.issued() if info.sha256 == sealed.cert_sha256), None)
        if certificate is None:
            raise KeyFileError(f"the {role.value} key {sealed.identity!r} belongs to no certificate of this workspace")
        return Signer(role, sealed.identity, certificate, sealed.open(DEMO_PASSPHRASE if self.demo else passphrase))

    def _path(self, role: Role, identity: str) -> Path:
        return self.folder / f"{role.value}-{identity}.key"

    # What changes it

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        root_passphrase: str,
        passphrase: str,
        demo: bool = False,
        key_type: KeyType = KeyType.P256,
        root_folder: Path | None = None,
        lifetimes: Mapping[Role, Lifetime] | None = None,
        clock: Clock | None = None,
        derivation: KeyDerivation | None = None,
    ) -> "KeyStore":
        """Make a root and a key each for reports, the ledger and timestamps.

        ``root_folder`` takes the root's key, e.g. a removable medium; ``key_type`` is that of root and timestamp.
        Raises ``KeyFileError`` if there are keys already, ``InputError`` for a passphrase that is too short.
        """
        store = cls(folder, clock=clock, derivation=derivation)
        if store.exists:
            raise KeyFileError("there are keys already: `workbench keys list` shows them; rotate them to get new ones")
        if key_type is KeyType.ED25519:
            raise InputError("root and timestamp keys are P-256 or RSA-3072: common verifiers refuse Ed25519 there")
        if demo:
            root_passphrase = passphrase = DEMO_PASSPHRASE
        for given in (root_passphrase, passphrase):
            check_passphrase(given)
        if folder.is_dir() and any(folder.iterdir()):
            raise KeyFileError(
                f"{folder.name!r} holds files, but no store.json that says what they are: "
                "take it from a backup, or move them away"
            )
        # Made beside and renamed: keys that were made by halves are not there.
        beside = folder.with_name(f".{folder.name}-{secrets.token_hex(8)}")
        making = cls(beside, clock=clock, derivation=derivation)
        try:
            making._fill(root_passphrase, passphrase, demo, key_type, root_folder, lifetimes or {})
            with storage_errors(folder):
                beside.rename(folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return store

    def _fill(
        self,
        root_passphrase: str,
        passphrase: str,
        demo: bool,
        key_type: KeyType,
        root_folder: Path | None,
        lifetimes: Mapping[Role, Lifetime],
    ) -> None:
        make_private_folder(self.folder)
        with storage_errors(self.folder):
            (self.folder / "certificates").mkdir(mode=0o700)
        root_key, identity = generate_key(key_type), secrets.token_hex(4)
        root = issue_root(root_key, identity=identity, clock=self.clock, demo=demo, lifetime=lifetimes.get(Role.ROOT))
        if root_folder is not None:
            make_private_folder(root_folder)
        self._keep(root_key, root, root_passphrase, folder=root_folder)
        signer = Signer(Role.ROOT, identity, root, root_key)
        for role in (Role.REPORT, Role.LEDGER, Role.TIMESTAMP):
            self._issue(role, secrets.token_hex(4), passphrase, signer, lifetimes.get(role), key_type)
        self._write_store(demo=demo, root=root)

    def add(
        self, role: Role, passphrase: str, *, root: Signer, identity: str | None = None,
        lifetime: Lifetime | None = None,
    ) -> KeyInfo:  # fmt: skip
        """A further key, e.g. for the approvals of a person; ``identity`` is then their pseudonym.

        Raises ``InputError`` for a name that is no pseudonym or is taken.
        """
        if role is Role.ROOT:
            raise InputError("there is one root: `workbench keys rotate root` makes its successor")
        identity = secrets.token_hex(4) if identity is None else identity
        if not _IDENTITY.fullmatch(identity):
            raise InputError(f"{identity!r} cannot name a key: small letters, digits and '-', at most 40")
        if any(info.role is role and info.identity == identity and info.held for info in self.issued()):
            raise InputError(f"there is already the {role.value} key {identity!r}: rotate it to get a new one")
        if not self.demo:
            check_passphrase(passphrase)
        return self._issue(role, identity, DEMO_PASSPHRASE if self.demo else passphrase, root, lifetime, KeyType.P256)

    def rotate(
        self, old: Signer, passphrase: str, *, root: Signer, folder: Path | None = None
    ) -> tuple[KeyInfo, dict[str, Any]]:
        """Replace a key by a new one of the same name, and destroy the old private key.

        Returns the new key and the fields of the log's ``key.rotated``: signed by the old key and the root. For the
        root itself, ``old`` and ``root`` are the same, and the second signature is the new root's.
        """
        passphrase = DEMO_PASSPHRASE if self.demo else passphrase
        check_passphrase(passphrase)
        key_type = KeyType.RSA3072 if not isinstance(root.key, ec.EllipticCurvePrivateKey) else KeyType.P256
        if old.role is Role.ROOT:
            key, identity = generate_key(key_type), secrets.token_hex(4)
            certificate = issue_root(key, identity=identity, clock=self.clock, demo=self.demo)
            self._keep(key, certificate, passphrase, folder=folder)
            endorser = Signer(Role.ROOT, identity, certificate, key)
            self._write_store(demo=self.demo, root=certificate)
            (folder or self.folder).joinpath(self._path(Role.ROOT, old.identity).name).unlink(missing_ok=True)
            new = KeyInfo(Role.ROOT, identity, certificate, folder is None)
        else:
            new, endorser = self._issue(old.role, old.identity, passphrase, root, None, key_type), root
        message = rotation_message(old.role, fingerprint(old.certificate), new.sha256)
        return new, {
            "role": old.role.value,
            "oldCertSha256": fingerprint(old.certificate),
            "newCertSha256": new.sha256,
            "oldSignature": base64.b64encode(old.sign(message)).decode(),
            "rootSignature": base64.b64encode(endorser.sign(message)).decode(),
        }

    def revoke(self, cert_sha256: str, reason: str, invalid_from: datetime, *, root: Signer) -> dict[str, Any]:
        """Withdraw a certificate; returns the fields of the log's ``key.revoked``, signed by the root.

        The private key is destroyed here. Signatures from ``invalid_from`` on no longer count; for ``keyCompromise``
        earlier ones count only if somebody outside has timestamped them.
        """
        info = self.certificate(cert_sha256)
        if info.role is Role.ROOT:
            raise InputError("a root cannot revoke itself: rotate it and publish the new fingerprint")
        if reason not in REVOCATION_REASONS:
            raise InputError(f"{reason!r} is not a reason; known: {', '.join(REVOCATION_REASONS)}")
        moment = utc(int(invalid_from.timestamp() * 1e9))
        message = revocation_message(info.sha256, reason, moment)
        path = self._path(info.role, info.identity)
        if info.held and path.exists() and SealedKey.read(path, info.role).cert_sha256 == info.sha256:
            path.unlink()
        return {
            "certSha256": info.sha256,
            "reason": reason,
            "invalidFrom": moment,
            "rootSignature": base64.b64encode(root.sign(message)).decode(),
        }

    def certificate(self, beginning: str) -> KeyInfo:
        """The certificate with this SHA-256, or 8 or more digits of its beginning. Raises ``InputError``."""
        wanted = beginning.lower().replace(":", "")
        found = [info for info in self.issued() if info.sha256.startswith(wanted)]
        if len(wanted) < 8 or len(found) != 1:
            raise InputError(f"{beginning!r} fits {len(found)} certificates: `workbench keys list` shows them")
        return found[0]

    def _issue(
        self, role: Role, identity: str, passphrase: str, root: Signer, lifetime: Lifetime | None, key_type: KeyType
    ) -> KeyInfo:
        key = generate_key(key_type if role is Role.TIMESTAMP else KeyType.ED25519)
        certificate = issue(
            role,
            key.public_key(),
            identity=identity,
            root_key=root.key,
            root=root.certificate,
            clock=self.clock,
            lifetime=lifetime,
        )
        self._keep(key, certificate, passphrase)
        return KeyInfo(role, identity, certificate, held=True)

    def _keep(
        self, key: PrivateKey, certificate: x509.Certificate, passphrase: str, *, folder: Path | None = None
    ) -> None:
        role, identity = role_of(certificate), identity_of(certificate)
        sealed = SealedKey.seal(
            key,
            passphrase,
            role=role,
            identity=identity,
            cert_sha256=fingerprint(certificate),
            derivation=self.derivation,
        )
        write_atomic(self.folder / "certificates" / f"{fingerprint(certificate)}.pem", pem(certificate))
        sealed.write((folder or self.folder) / self._path(role, identity).name)

    def _write_store(self, *, demo: bool, root: x509.Certificate) -> None:
        content = {"v": 1, "demo": demo, "root": fingerprint(root)}
        if demo:
            content["note"] = "Demonstration keys: their passphrase is public. Nothing signed with them is evidence."
        write_atomic(self.folder / "store.json", json.dumps(content, indent=1).encode() + b"\n")


def check_passphrase(passphrase: str) -> None:
    """Raises ``InputError`` for one that is too short to be called one."""
    if len(passphrase) < _SHORTEST:
        raise InputError(f"a passphrase has at least {_SHORTEST} characters; several words make a good one")
