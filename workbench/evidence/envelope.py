"""Signed statements: in-toto Statement v1 in a DSSE envelope (github.com/secure-systems-lab/dsse, version 1).

The payload's bytes are signed as they stand and never written anew. Stricter than DSSE on purpose: exactly one
signature, standard base64 only, and one spelling of the envelope itself, so that no second, different file is valid.
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workbench.errors import EvidenceError, MalformedError
from workbench.evidence.certificates import fingerprint, public_key_of
from workbench.evidence.strict import decode_base64, read_object
from workbench.files import canonical_json

__all__ = ["PAYLOAD_TYPE", "STATEMENT_TYPE", "Envelope", "pre_authentication_encoding"]

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_LARGEST: Final = 64 * 2**20


def pre_authentication_encoding(payload: bytes) -> bytes:
    """PAE of DSSE version 1: what is really signed.

    >>> pre_authentication_encoding(b"{}")
    b'DSSEv1 28 application/vnd.in-toto+json 2 {}'
    """
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


@dataclass(frozen=True)
class Envelope:
    """A payload with one signature. ``keyid`` (SHA-256 of the signer's certificate) is a hint, never a proof."""

    payload: bytes
    keyid: str
    signature: bytes

    @classmethod
    def sign(cls, statement: dict[str, Any], key: Ed25519PrivateKey, certificate: x509.Certificate) -> "Envelope":
        """Sign a statement, written as canonical JSON (RFC 8785)."""
        payload = canonical_json(statement)
        return cls(payload, fingerprint(certificate), key.sign(pre_authentication_encoding(payload)))

    @classmethod
    def read(cls, data: bytes, *, what: str = "the envelope") -> "Envelope":
        """Raises ``MalformedError``. The signature is not checked here."""
        if len(data) > _LARGEST:
            raise MalformedError(f"{what} is larger than {_LARGEST >> 20} MiB")
        content = read_object(data, what=what)
        if set(content) != {"payload", "payloadType", "signatures"}:
            raise MalformedError(f"{what} does not have exactly the keys payload, payloadType and signatures")
        if content["payloadType"] != PAYLOAD_TYPE:
            raise MalformedError(f"{what} holds another type of payload than {PAYLOAD_TYPE}")
        signatures = content["signatures"]
        if not isinstance(signatures, list) or len(signatures) != 1:
            raise MalformedError(f"{what} does not have exactly one signature")
        if not isinstance(signatures[0], dict) or set(signatures[0]) != {"keyid", "sig"}:
            raise MalformedError(f"the signature of {what} does not have exactly the keys keyid and sig")
        keyid = signatures[0]["keyid"]
        if not isinstance(keyid, str):
            raise MalformedError(f"the key id of {what} is not a text")
        envelope = cls(
            decode_base64(content["payload"], what=f"the payload of {what}"),
            keyid,
            decode_base64(signatures[0]["sig"], what=f"the signature of {what}"),
        )
        if bytes(envelope) != data:
            raise MalformedError(f"{what} is not written in the one way that is signed and logged")
        return envelope

    def __bytes__(self) -> bytes:
        return canonical_json(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": self.keyid, "sig": base64.b64encode(self.signature).decode()}],
            }
        )

    def verify(self, certificate: x509.Certificate) -> None:
        """Raises ``EvidenceError`` unless ``certificate`` is the one named and its key signed this payload."""
        if self.keyid != (found := fingerprint(certificate)):
            raise EvidenceError(f"the envelope does not name the certificate {found[:16]} as its signer's")
        key = public_key_of(certificate)
        if not isinstance(key, Ed25519PublicKey):
            raise EvidenceError("documents are signed with Ed25519 keys, and this is none")
        try:
            key.verify(self.signature, pre_authentication_encoding(self.payload))
        except InvalidSignature as error:
            raise EvidenceError("the signature does not belong to this payload and this key") from error

    def statement(self, *, what: str = "the statement") -> dict[str, Any]:
        """The payload as an in-toto Statement v1, its frame checked. Raises ``MalformedError``."""
        statement = read_object(self.payload, what=what)
        if set(statement) != {"_type", "subject", "predicateType", "predicate"}:
            raise MalformedError(f"{what} does not have exactly the keys of an in-toto statement")
        if statement["_type"] != STATEMENT_TYPE:
            raise MalformedError(f"{what} is not an in-toto Statement v1")
        return statement
