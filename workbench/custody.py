"""Keys and the ledger together: whatever happens to a key is logged, and whoever signs uses a key that is.

``workbench.evidence`` makes keys and knows no ledger, ``workbench.ledger`` logs and knows no keys. Here are the few
steps that need both, and the time authority of a workspace.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from cryptography import x509

from workbench.clock import Clock, SystemClock
from workbench.errors import InputError, KeyFileError
from workbench.evidence.certificates import KeyType, Role, fingerprint
from workbench.evidence.keyfile import KeyDerivation, make_private_folder
from workbench.evidence.keys import KeyInfo, KeyStore, Signer, issued_fields
from workbench.evidence.timestamps import Issued, LocalAuthority
from workbench.files import storage_errors
from workbench.ledger import Ledger, StoredCheckpoint, Transaction, open_ledger
from workbench.workspace import Workspace

__all__ = ["Custody", "Sealers"]


@dataclass(frozen=True)
class Sealers:
    """The unlocked keys that seal a report: of reports, of the ledger, and the time authority."""

    report: Signer
    ledger: Signer
    authority: LocalAuthority


class Custody:
    """The keys of a workspace, under its ledger.

    ``waiting`` hears who holds the ledger while one waits; ``derivation`` is the cost of passphrases (tests lower it).
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        clock: Clock | None = None,
        waiting: Callable[[str], None] | None = None,
        derivation: KeyDerivation | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.workspace = workspace
        self.store = KeyStore(workspace.keys, clock=self.clock, derivation=derivation)
        self.ledger: Ledger = open_ledger(workspace, clock=self.clock, waiting=waiting)

    @classmethod
    def begin(
        cls,
        workspace: Workspace,
        *,
        root_passphrase: str,
        passphrase: str,
        demo: bool = False,
        key_type: KeyType = KeyType.P256,
        root_folder: Path | None = None,
        clock: Clock | None = None,
        waiting: Callable[[str], None] | None = None,
        derivation: KeyDerivation | None = None,
    ) -> Self:
        """Make the workspace's keys, log them, and sign and stamp a first checkpoint over that.

        Raises ``KeyFileError`` if there are keys already, ``InputError`` for a passphrase that is too short.
        """
        custody = cls(workspace, clock=clock, waiting=waiting, derivation=derivation)
        custody._clear_unfinished()
        KeyStore.create(
            workspace.keys,
            root_passphrase=root_passphrase,
            passphrase=passphrase,
            demo=demo,
            key_type=key_type,
            root_folder=root_folder,
            clock=custody.clock,
            derivation=derivation,
        )
        custody.log_keys()
        custody.checkpoint(custody.unlock(passphrase))
        return custody

    def _clear_unfinished(self) -> None:
        """Remove what an interrupted ``begin`` left: beside later keys it would stand in their way.

        Raises ``KeyFileError`` if the ledger knows keys: then they were finished once, and their store is damaged.
        """
        folder = self.workspace.keys
        left = [*folder.glob("*.key"), *folder.glob("certificates/*.pem")]
        if self.store.exists or not left:
            return
        if self.states():
            raise KeyFileError("store.json of the keys is missing: take the folder of the keys from a backup")
        for path in left:
            path.unlink()

    def log_keys(self, within: Transaction | None = None) -> None:
        """Log every certificate that is not logged yet: after a crash in between, the next step does it."""
        with self.ledger.transaction() if within is None else contextlib.nullcontext(within) as transaction:
            self._log_keys(transaction)

    def _log_keys(self, transaction: Transaction) -> None:
        logged = {row["cert_sha256"] for row in transaction.query("SELECT cert_sha256 FROM keys")}
        for info in self.store.issued():
            if info.sha256 not in logged:
                transaction.append("key.issued", fields=issued_fields(info.certificate))

    def states(self) -> dict[str, dict[str, Any]]:
        """What the ledger says of each certificate, by its SHA-256: columns of the view ``keys``."""
        return {row["cert_sha256"]: row for row in self.ledger.query("SELECT * FROM keys")}

    def certificates(self) -> list[x509.Certificate]:
        """Every certificate that was ever issued here; all of them travel with each bundle."""
        infos = self.store.issued()
        return [info.certificate for info in infos]

    # Signing

    def unlock(self, passphrase: str) -> Sealers:
        """The three keys that seal reports. Raises ``KeyFileError``."""
        report, ledger, timestamp = (
            self.store.unlock(role, passphrase) for role in (Role.REPORT, Role.LEDGER, Role.TIMESTAMP)
        )
        return Sealers(report, ledger, self.authority(timestamp))

    def authority(self, signer: Signer, *, on_issue: Callable[[Issued], None] | None = None) -> LocalAuthority:
        """The workspace's own time authority. It never goes back behind the last time it gave out."""
        folder = self.workspace.state / "timestamps"
        make_private_folder(folder)
        return LocalAuthority(
            signer.key, signer.certificate, clock=self.clock, state=folder / "authority.json", on_issue=on_issue
        )

    def log_timestamp(self, issued: Issued) -> None:
        """Log a timestamp that was given to somebody else's request."""
        fields = {
            "serial": str(issued.serial),
            # A digest of another length is logged by its own SHA-256.
            "imprint": issued.digest.hex() if len(issued.digest) == 32 else hashlib.sha256(issued.digest).hexdigest(),
            "timestampSha256": issued.response_sha256,
        }
        self.ledger.append("timestamp.issued", fields=fields)

    def checkpoint(self, sealers: Sealers) -> StoredCheckpoint:
        """Sign and stamp how the ledger stands."""
        return self.ledger.sign_checkpoint(sealers.ledger.document_key, stamp=sealers.authority.stamp)

    # What happens to keys. Each step holds the ledger from before it begins: one that cannot be logged is not taken.

    def add(
        self,
        role: Role,
        passphrase: str,
        *,
        root: Signer,
        identity: str | None = None,
        within: Transaction | None = None,
    ) -> KeyInfo:
        """A further key for the approvals of a person, or one in the place of a revoked key; logged.

        ``within`` is a transaction that is open already, where more is logged in the same step.

        Raises ``InputError`` if there is a key of this role that signs for all of the workspace.
        """
        if role not in (Role.ROOT, Role.APPROVAL) and any(i.held and i.role is role for i in self.store.issued()):
            raise InputError(f"there is a {role.value} key already: `workbench keys rotate {role.value}` replaces it")
        with self.ledger.transaction() if within is None else contextlib.nullcontext(within) as transaction:
            info = self.store.add(role, passphrase, root=root, identity=identity)
            self._log_keys(transaction)
        return info

    def rotate(self, old: Signer, passphrase: str, *, root: Signer, folder: Path | None = None) -> KeyInfo:
        """Replace a key by a new one, logged with both signatures; the old private key is destroyed.

        A root's key that is kept outside the workspace cannot be destroyed here.
        """
        if folder is not None:
            make_private_folder(folder)
        with self.ledger.transaction() as transaction:
            info, fields = self.store.rotate(old, passphrase, root=root, folder=folder)
            self._log_keys(transaction)
            transaction.append("key.rotated", fields=fields)
        if old.role is Role.ROOT:  # it lies here even if the new one does not
            with storage_errors(self.workspace.keys):
                (self.workspace.keys / f"root-{old.identity}.key").unlink(missing_ok=True)
        return info

    def revoke(self, beginning: str, reason: str, invalid_from: datetime, *, root: Signer) -> Mapping[str, Any]:
        """Withdraw a key by the beginning of its certificate's SHA-256, logged with the root's signature.

        Raises ``InputError`` if it is withdrawn for the same reason already, or the time lies in the future.
        """
        info = self.store.certificate(beginning)
        state = self.states().get(info.sha256)
        if state is not None and state["state"] == "revoked" and state["reason"] == reason:
            raise InputError(f"the {info.role.value} key {info.identity!r} is withdrawn already, for {reason}")
        if invalid_from.timestamp() * 1e9 > self.clock.time_ns():
            raise InputError("--invalid-from lies in the future: a key is withdrawn from a time that has come")
        with self.ledger.transaction() as transaction:
            fields = self.store.revoke(info.sha256, reason, invalid_from, root=root)
            self._log_keys(transaction)
            transaction.append("key.revoked", fields=fields)
        return fields

    def root_signer(self, passphrase: str, elsewhere: Path | None = None) -> Signer:
        """The root's key, from its file elsewhere if it is kept there. Raises ``KeyFileError``."""
        root = self.store.root
        held = any(info.held and info.sha256 == fingerprint(root) for info in self.store.issued())
        if elsewhere is None and not held:
            raise KeyFileError("the root's key is not kept in this workspace: name its file with --root-key")
        if elsewhere is not None:
            elsewhere = elsewhere.absolute()  # its folder is looked at as well, and told by its name
            if not elsewhere.exists():
                raise KeyFileError(f"there is no key file {elsewhere.name!r}")
        signer = self.store.unlock(Role.ROOT, passphrase, elsewhere=elsewhere)
        if signer.certificate != root:
            raise KeyFileError("this is the key of an earlier root: it signs nothing any more")
        return signer
