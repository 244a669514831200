"""Signed statements of the lifecycle, kept by content, and read back only if every byte is the one that was signed.

    .workbench/evidence/_decisions/<sha256>.dsse.json    what a person signed
    .workbench/evidence/_shown/<sha256>.json             what that person was shown

Nothing here says that a statement counts: the ledger does, by its digest.
"""

import base64
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from workbench.clock import utc
from workbench.custody import Custody
from workbench.errors import CertificateError, EvidenceError, IntegrityError, MalformedError
from workbench.evidence.certificates import Role, check_certificate, fingerprint, identity_of, role_of
from workbench.evidence.checkpoint import Checkpoint
from workbench.evidence.entries import Entry
from workbench.evidence.envelope import Envelope, pre_authentication_encoding
from workbench.evidence.keys import Signer, revocation_message, rotation_message, verify_message
from workbench.evidence.statements import statement
from workbench.evidence.strict import decode_base64, read_object
from workbench.files import canonical_json, sha256_bytes, write_atomic

__all__ = ["Attestations", "Trust", "checkpoint_reference", "sign"]

_DAMAGED: Final = "take it from a backup"


def checkpoint_reference(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """How a statement names the checkpoint before it."""
    if checkpoint is None:
        return None
    root = base64.b64encode(checkpoint.root).decode()
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": root}


def sign(
    predicate_type: str, subjects: dict[str, str], predicate: Mapping[str, Any], *, signer: Signer, time_ns: int
) -> Envelope:
    """A statement with a fresh nonce of 128 bits and the time, signed; by a root too, with its own kind of key."""
    content = statement(
        predicate_type, subjects, {**predicate, "nonce": secrets.token_hex(16), "createdAt": utc(time_ns)}
    )
    payload = canonical_json(content)
    signature = signer.sign(pre_authentication_encoding(payload))
    return Envelope(payload, fingerprint(signer.certificate), signature)


class Attestations:
    """The folder of signed statements of a workspace."""

    def __init__(self, custody: Custody) -> None:
        self._decisions = custody.workspace.evidence / "_decisions"
        self._shown = custody.workspace.evidence / "_shown"

    def keep(self, envelope: Envelope) -> str:
        """Returns its SHA-256."""
        data = bytes(envelope)
        sha256 = sha256_bytes(data)
        write_atomic(self._decisions / f"{sha256}.dsse.json", data, make_folder=True)
        return sha256

    def drop(self, sha256: str) -> None:
        """Remove a statement whose entry was undone: nobody shall record it later."""
        (self._decisions / f"{sha256}.dsse.json").unlink(missing_ok=True)

    def keep_shown(self, shown: Mapping[str, Any]) -> str:
        """Returns the SHA-256 of its canonical JSON."""
        data = canonical_json(dict(shown))
        sha256 = sha256_bytes(data)
        path = self._shown / f"{sha256}.json"
        if not path.is_file() or path.read_bytes() != data:
            write_atomic(path, data, make_folder=True)
        return sha256

    def read(self, sha256: str) -> Envelope:
        """Raises ``IntegrityError`` if it is gone or changed."""
        path = self._decisions / f"{sha256}.dsse.json"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise IntegrityError(f"the signed statement {sha256[:16]} is gone: {_DAMAGED}") from error
        if (found := sha256_bytes(data)) != sha256:
            raise IntegrityError(f"the signed statement {sha256[:16]} was changed (it is {found[:16]} now): {_DAMAGED}")
        return Envelope.read(data, what=f"the signed statement {sha256[:16]}")

    def shown(self, sha256: str) -> dict[str, Any]:
        """What was shown. Raises ``IntegrityError`` if it is gone or changed."""
        try:
            data = (self._shown / f"{sha256}.json").read_bytes()
        except OSError as error:
            raise IntegrityError(f"what was shown, {sha256[:16]}, is gone: {_DAMAGED}") from error
        if (found := sha256_bytes(data)) != sha256:
            raise IntegrityError(f"what was shown, {sha256[:16]}, was changed (it is {found[:16]} now): {_DAMAGED}")
        return read_object(data, what=f"what was shown, {sha256[:16]}")


class Trust:
    """Which certificates may sign: those that a root of this workspace issued, in use at that time.

    A root before the present one is trusted if its successor was announced in the ledger with both signatures.
    """

    def __init__(self, custody: Custody, entries: Iterable[Entry]) -> None:
        self._certificates = {info.sha256: info.certificate for info in custody.store.issued()}
        self._roots = self._chain(custody.store.root, entries)

    def _chain(self, root: x509.Certificate, entries: Iterable[Entry]) -> list[x509.Certificate]:
        """The root in use, and those before it that handed over to it with both signatures."""
        handovers = [entry.fields for entry in entries if entry.type == "key.rotated"]
        roots = [root]
        while True:
            known = {fingerprint(one) for one in roots}
            older = next(
                (
                    fields["oldCertSha256"]
                    for fields in handovers
                    if fields["newCertSha256"] == fingerprint(roots[-1])
                    and fields["oldCertSha256"] not in known
                    and fields["role"] == Role.ROOT
                    and self._rotated(fields, [roots[-1]])
                ),
                None,
            )
            if older is None:
                return roots
            roots.append(self._certificates[older])

    def _rotated(self, fields: Mapping[str, Any], endorsers: Iterable[x509.Certificate]) -> bool:
        """Whether the key that was replaced and one of ``endorsers`` signed this handover."""
        old = self._certificates.get(fields["oldCertSha256"])
        if old is None or role_of(old) != fields["role"]:
            return False
        message = rotation_message(Role(fields["role"]), fields["oldCertSha256"], fields["newCertSha256"])
        return _signed(old, fields["oldSignature"], message) and any(
            _signed(one, fields["rootSignature"], message) for one in endorsers
        )

    def require_signed(self, entry: Entry) -> None:
        """Raises ``IntegrityError`` unless what ``entry`` (``key.rotated``, ``key.revoked``) says is signed."""
        fields = entry.fields
        if entry.type == "key.rotated":
            new = self._certificates.get(fields["newCertSha256"])
            endorsers = self._roots if fields["role"] != Role.ROOT else [] if new is None else [new]
            if not self._rotated(fields, endorsers):
                raise IntegrityError("it is not signed by the key that was replaced and by the root")
            return
        message = revocation_message(fields["certSha256"], fields["reason"], fields["invalidFrom"])
        if not any(_signed(root, fields["rootSignature"], message) for root in self._roots):
            raise IntegrityError("it is not signed by the root")

    def require_named(self, sha256: str, role: str, identity: str) -> None:
        """Raises ``IntegrityError`` if a certificate that is here is made out to somebody else, or for another role."""
        found = self._certificates.get(sha256)
        if found is not None and (role_of(found), identity_of(found)) != (role, identity):
            raise IntegrityError(
                f"the certificate {sha256[:16]} is made out to the {role_of(found)} key {identity_of(found)!r}"
            )

    def certificate(self, sha256: str, *, at: datetime) -> x509.Certificate:
        """The certificate of an approval key or a root, fit to sign at that time.

        Raises ``CertificateError`` for any other, ``IntegrityError`` if it is not here.
        """
        certificate = self._certificates.get(sha256)
        if certificate is None:
            raise IntegrityError(f"the certificate {sha256[:16]} is not here: {_DAMAGED}")
        if role_of(certificate) is Role.ROOT:
            if certificate not in self._roots:
                raise CertificateError(f"the root {sha256[:16]} is not one of this workspace")
            return certificate
        trouble: CertificateError | None = None
        for root in self._roots:
            try:
                check_certificate(certificate, Role.APPROVAL, root=root, at=at)
            except CertificateError as error:
                trouble = trouble or error
            else:
                return certificate
        assert trouble is not None
        raise trouble

    def verify(self, envelope: Envelope, *, at: datetime) -> x509.Certificate:
        """Whose signature it is. Raises ``EvidenceError`` or ``IntegrityError`` if it is nobody's that counts."""
        certificate = self.certificate(envelope.keyid, at=at)
        if not verify_message(certificate, envelope.signature, pre_authentication_encoding(envelope.payload)):
            raise EvidenceError("the signature does not belong to this statement and this key")
        return certificate


def _signed(certificate: x509.Certificate, signature: str, message: bytes) -> bool:
    try:
        return verify_message(certificate, decode_base64(signature, what="a signature"), message)
    except MalformedError:
        return False
