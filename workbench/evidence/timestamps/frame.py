"""How our own authority writes a token: of each one there is exactly one encoding.

The authority makes tokens with it, and ``check_response`` builds a token anew from what it says and compares the bytes:
so nothing in it that the signature leaves open can be other than it was given out.

It is put together from the inside out, as bytes: changing a part of an asn1crypto structure in place encodes all around
it anew, and forcing it to encode a whole token again takes a fifth of a second.
"""

import hashlib
import uuid
from datetime import datetime
from typing import Final

from asn1crypto import core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from workbench.evidence.timestamps.signing import PublicKey, signature_algorithm
from workbench.evidence.timestamps.structures import (
    CONTENT_TYPE,
    INNER,
    MESSAGE_DIGEST,
    OCTETS,
    SEQUENCE,
    SET,
    SIGNED_DATA,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    TST_INFO,
    der,
    hash_algorithm,
    integer,
    oid,
)

__all__ = ["POLICY", "Frame", "content_of"]

POLICY: Final = f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, 'urn:workbench:timestamp-policy').int}"
"""The policy our tokens are issued under, derived from a UUID (ITU-T X.667): what ``LocalAuthority`` says it does."""

_ACCURACY: Final = der(SEQUENCE, integer(1))  # seconds
_GRANTED: Final = bytes(tsp.PKIStatusInfo({"status": "granted"}).dump())
_DIGEST: Final = hash_algorithm("sha256")


def content_of(hash_name: str, digest: bytes, *, serial: int, time: datetime, nonce: int | None) -> bytes:
    """The TSTInfo of a token, DER (RFC 3161 section 2.4.2). ``ordering`` is false, which DER leaves out."""
    return der(
        SEQUENCE,
        integer(1),
        oid(POLICY),
        der(SEQUENCE, hash_algorithm(hash_name), der(OCTETS, digest)),
        integer(serial),
        core.GeneralizedTime(time).dump(),
        _ACCURACY,
        b"" if nonce is None else integer(nonce),
    )


class Frame:
    """What stands around the content of a token, for one certificate (RFC 5652 section 5)."""

    def __init__(self, certificate: x509.Certificate, key: PublicKey) -> None:
        encoded = certificate.public_bytes(Encoding.DER)
        self._certificates = der(INNER, encoded)
        self._signature_algorithm = signature_algorithm(key)
        issuer = asn1_x509.Certificate.load(encoded).issuer.dump()
        self._sid = der(SEQUENCE, issuer, integer(certificate.serial_number))
        # ESSCertIDv2 with its default hash, SHA-256 (RFC 5035 section 4), which DER leaves out.
        bound = der(SEQUENCE, der(SEQUENCE, der(SEQUENCE, der(OCTETS, certificate.fingerprint(hashes.SHA256())))))
        self._fixed = [_attribute(CONTENT_TYPE, oid(TST_INFO)), _attribute(SIGNING_CERTIFICATE_V2, bound)]

    def attributes(self, content: bytes, time: datetime) -> bytes:
        """What the signature is made over: the signed attributes as a SET, DER."""
        digest = der(OCTETS, hashlib.sha256(content).digest())
        own = [_attribute(MESSAGE_DIGEST, digest), _attribute(SIGNING_TIME, _time_of_signing(time))]
        return der(SET, *sorted([*self._fixed, *own]))  # the order of DER for a set

    def response(self, content: bytes, time: datetime, signature: bytes, *, with_certificate: bool) -> bytes:
        """The whole TimeStampResp around a TSTInfo whose ``attributes`` have the ``signature``."""
        attributes = self.attributes(content, time)
        signer = der(
            SEQUENCE,
            integer(1),
            self._sid,
            _DIGEST,
            bytes((INNER,)) + attributes[1:],  # the same, under the tag it has inside a SignerInfo
            self._signature_algorithm,
            der(OCTETS, signature),
        )
        signed_data = der(
            SEQUENCE,
            integer(3),
            der(SET, _DIGEST),
            der(SEQUENCE, oid(TST_INFO), der(INNER, der(OCTETS, content))),
            self._certificates if with_certificate else b"",
            der(SET, signer),
        )
        return der(SEQUENCE, _GRANTED, der(SEQUENCE, oid(SIGNED_DATA), der(INNER, signed_data)))


def _attribute(kind: str, value: bytes) -> bytes:
    return der(SEQUENCE, oid(kind), der(SET, value))


def _time_of_signing(time: datetime) -> bytes:
    """A CMS Time, DER: two-digit years until 2049, as RFC 5652 section 11.3 demands."""
    return bytes((core.UTCTime if time.year < 2050 else core.GeneralizedTime)(time).dump())
