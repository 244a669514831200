"""Verifying a timestamp (RFC 3161): one function, and nothing looks at a token that it has not passed.

The signature itself is verified by rfc3161-client (OpenSSL below it). Around it stand the checks that it leaves out:
strict DER, the binding of the certificate (signingCertificateV2, RFC 5816), one signer, one status, one purpose.

    data, digest -> strict DER -> status -> who signed -> what was signed -> signature and chain -> is it this digest?
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import rfc3161_client
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from workbench.errors import CertificateError, TimestampError
from workbench.evidence.certificates import Role, check_certificate
from workbench.evidence.timestamps.chain import chain_to_root, check_in_use, is_for_timestamps_only
from workbench.evidence.timestamps.frame import Frame, content_of
from workbench.evidence.timestamps.signing import is_canonical
from workbench.evidence.timestamps.structures import (
    CONTENT_TYPE,
    HASH_SIZES,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE,
    SIGNING_CERTIFICATE_V2,
    SIGNING_TIME,
    TST_INFO,
    Response,
    attributes_of,
    in_order,
    read_response,
)

__all__ = [
    "Timestamp",
    "TokenInvalidError",
    "TokenMismatchError",
    "as_token_errors",
    "check_response",
]

# What may sign, by the name asn1crypto gives it; a name that holds a hash must hold the one of the digest.
_SIGNATURES: Final = {"rsassa_pkcs1v15"} | {f"{name}_{kind}" for name in HASH_SIZES for kind in ("rsa", "ecdsa")}
_GEN_TIME: Final = re.compile(rb"\d{14}(\.\d*[1-9])?Z")
_BARE_GEN_TIME: Final = re.compile(rb"\d{14}Z")


class TokenInvalidError(TimestampError):
    """The timestamp is damaged, forged, or not of the authority it was said to be of. It proves nothing."""


class TokenMismatchError(TimestampError):
    """The timestamp is genuine and belongs to another document."""


@dataclass(frozen=True)
class Timestamp:
    """What a verified token says: what was stamped existed at ``time``, give or take ``accuracy_s`` seconds."""

    time: datetime
    serial: int
    certificate: x509.Certificate
    policy: str
    accuracy_s: float | None
    nonce: int | None
    imprint: bytes
    hash_name: str


def check_response(
    data: bytes,
    digest: bytes,
    *,
    certificate: x509.Certificate,
    root: x509.Certificate,
    intermediates: Sequence[x509.Certificate] = (),
    nonce: int | None = None,
    local: bool = True,
) -> Timestamp:
    """Verify ``data`` (a DER TimeStampResp) as a timestamp over ``digest`` by the key of ``certificate``.

    The certificate is the one the caller expects; it is never taken from the token on faith. It and its chain to
    ``root`` are held against the time in the token, not against now: old tokens stay good when certificates expire.
    ``digest`` is made with the token's own hash: SHA-256, or SHA-384 or SHA-512 from an authority outside.
    ``local`` asks for a token exactly as our own authority writes them; without it, what RFC 3161 leaves open is open.

    Raises ``TokenMismatchError`` for a genuine token over something else and ``TokenInvalidError`` for all the rest;
    whatever the bytes are, nothing but these two leaves this function.
    """
    with as_token_errors():
        response = read_response(data)
        _check_status(response)
        signer = _check_signed_data(response, certificate, local=local)
        _check_attributes(response, signer, certificate, local=local)
        timestamp = _read_content(response, certificate, local=local)
        if local:
            _check_local_form(data, response, signer, timestamp)
        if nonce is not None and timestamp.nonce != nonce:
            raise TokenInvalidError("the timestamp answers another request: its nonce is not the one that was sent")
        _check_key(certificate, root, intermediates, timestamp.time, local=local)
        _check_signature(data if local else in_order(response), timestamp, certificate, root, intermediates)
        if timestamp.imprint != digest:
            raise TokenMismatchError(
                f"the timestamp is genuine but belongs to another document: it is over "
                f"{timestamp.hash_name} {timestamp.imprint.hex()[:16]}, expected {digest.hex()[:16]}"
            )
        return timestamp


@contextlib.contextmanager
def as_token_errors() -> Iterator[None]:
    """Whatever a parser throws at hostile bytes becomes a ``TokenInvalidError``."""
    try:
        yield
    except TimestampError:
        raise
    except BaseException as error:
        # A panic in a Rust extension is a BaseException of a class that cannot be imported.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise TokenInvalidError(
                "the timestamp is damaged: it does not follow its format (RFC 3161, strict DER)"
            ) from error
        raise


def _check_status(response: Response) -> None:
    if response.status != "granted":
        said = f": {response.reason}" if response.reason else ""
        raise TokenInvalidError(
            f"the timestamp was not plainly granted; the authority answered {response.status}{said}"
        )
    if response.signed_data is None or response.whole["status"]["fail_info"].native is not None:
        raise TokenInvalidError("the timestamp is damaged: granted, yet without a token or with a reason for refusal")


def _check_signed_data(response: Response, certificate: x509.Certificate, *, local: bool) -> Any:
    """The frame (RFC 3161 section 2.4.2, RFC 5652 section 5.1); returns the one SignerInfo."""
    signed = response.signed_data
    assert signed is not None
    if signed["version"].native != "v3" or len(signed["signer_infos"]) != 1:
        raise TokenInvalidError("the timestamp is not signed by exactly one signer in the form of RFC 3161")
    signer = signed["signer_infos"][0]
    digests = signed["digest_algorithms"]
    name = signer["digest_algorithm"]["algorithm"].native
    if len(digests) != 1 or digests[0].dump() != signer["digest_algorithm"].dump() or name not in HASH_SIZES:
        raise TokenInvalidError("the timestamp is not signed with SHA-256, SHA-384 or SHA-512 alone")
    algorithm = signer["signature_algorithm"]["algorithm"].native
    if algorithm not in _SIGNATURES or (algorithm.startswith("sha") and not algorithm.startswith(name)):
        raise TokenInvalidError(f"the timestamp is signed in a way that is not accepted: {algorithm}")
    _check_sid(signer, certificate)
    embedded = response.certificates()
    for one in embedded:
        x509.load_der_x509_certificate(one)
    if local and embedded not in ([], [certificate.public_bytes(Encoding.DER)]):
        raise TokenInvalidError("the timestamp carries other certificates than that of its authority")
    return signer


def _check_sid(signer: Any, certificate: x509.Certificate) -> None:
    """The signer is named by issuer and serial number. Bytes are compared: names that differ in case are not equal."""
    expected = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    sid = signer["sid"]
    if (
        signer["version"].native != "v1"
        or sid.name != "issuer_and_serial_number"
        or sid.chosen["issuer"].dump() != expected.issuer.dump()
        or sid.chosen["serial_number"].native != expected.serial_number
    ):
        raise TokenInvalidError("the timestamp was signed by another authority than the one expected")


def _check_attributes(response: Response, signer: Any, certificate: x509.Certificate, *, local: bool) -> None:
    """The signed attributes: what RFC 3161 and RFC 5816 demand, each once and with one value."""
    found: dict[str, Any] = {}
    for kind, values in attributes_of(signer):
        if kind in found:
            raise TokenInvalidError("the timestamp is damaged: a signed attribute is there twice")
        found[kind] = values
    ours = {CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME, SIGNING_CERTIFICATE_V2}
    if local and (set(found) != ours or len(signer["unsigned_attrs"])):
        raise TokenInvalidError("the timestamp does not have the attributes that the local authority writes")
    content = hashlib.new(signer["digest_algorithm"]["algorithm"].native, response.content).digest()
    if _only(found, CONTENT_TYPE).dotted != TST_INFO or _only(found, MESSAGE_DIGEST).native != content:
        raise TokenInvalidError("the timestamp was altered: its content is not what was signed")
    if SIGNING_TIME in found and not isinstance(_only(found, SIGNING_TIME).native, datetime):
        raise TokenInvalidError("the timestamp is damaged: its signing time cannot be read")
    _check_binding(found, certificate, local=local)


def _only(found: dict[str, Any], kind: str) -> Any:
    values = found.get(kind, ())
    if len(values) != 1:
        raise TokenInvalidError(f"the timestamp lacks a signed attribute that it must have once: {kind}")
    return values[0]


def _check_binding(found: dict[str, Any], certificate: x509.Certificate, *, local: bool) -> None:
    """The certificate is bound into the signature: no other one for the same key can take its place (RFC 5035)."""
    encoded = certificate.public_bytes(Encoding.DER)
    bound = False
    if SIGNING_CERTIFICATE_V2 in found:
        first = _only(found, SIGNING_CERTIFICATE_V2)["certs"][0]
        name = first["hash_algorithm"]["algorithm"].native
        bound = name in HASH_SIZES and first["cert_hash"].native == hashlib.new(name, encoded).digest()
        if not bound:
            raise TokenInvalidError("the timestamp was signed for another certificate (signingCertificateV2)")
    if not local and SIGNING_CERTIFICATE in found:
        first = _only(found, SIGNING_CERTIFICATE)["certs"][0]
        bound = first["cert_hash"].native == hashlib.sha1(encoded, usedforsecurity=False).digest()
        if not bound:
            raise TokenInvalidError("the timestamp was signed for another certificate (signingCertificate)")
    if not bound:
        raise TokenInvalidError("the timestamp does not say which certificate it was signed for (signingCertificateV2)")


def _read_content(response: Response, certificate: x509.Certificate, *, local: bool) -> Timestamp:
    """The TSTInfo (RFC 3161 section 2.4.2)."""
    info = response.tst_info
    assert info is not None
    imprint = info["message_imprint"]
    name = imprint["hash_algorithm"]["algorithm"].native
    message = imprint["hashed_message"].native
    if info["version"].native != "v1" or HASH_SIZES.get(name) != len(message):
        raise TokenInvalidError("the timestamp is not over a SHA-256, SHA-384 or SHA-512 digest")
    form = _BARE_GEN_TIME if local else _GEN_TIME
    if not form.fullmatch(info["gen_time"].contents):
        raise TokenInvalidError("the timestamp is damaged: its time is not in the form of RFC 3161")
    _check_extensions(info["extensions"], local=local)
    serial, nonce = info["serial_number"].native, info["nonce"].native
    if serial < 0 or serial.bit_length() > 160 or not isinstance(info["ordering"].native, bool):
        raise TokenInvalidError("the timestamp is damaged: its serial number or ordering is out of range")
    return Timestamp(
        time=info["gen_time"].native.astimezone(UTC),
        serial=serial,
        certificate=certificate,
        policy=info["policy"].dotted,
        accuracy_s=_accuracy_s(info["accuracy"]),
        nonce=nonce,
        imprint=message,
        hash_name=name,
    )


def _check_extensions(extensions: Any, *, local: bool) -> None:
    """None is known here, so none that is critical may be there; ours have none at all."""
    for extension in extensions:
        if local or extension["critical"].native:
            raise TokenInvalidError(
                f"the timestamp has an extension that is not understood: {extension['extn_id'].dotted}"
            )


def _accuracy_s(accuracy: Any) -> float | None:
    if accuracy.native is None:
        return None
    seconds, millis, micros = (accuracy[name].native for name in ("seconds", "millis", "micros"))
    if (seconds or 0) < 0 or any(part is not None and not 1 <= part <= 999 for part in (millis, micros)):
        raise TokenInvalidError("the timestamp is damaged: its accuracy is out of range")
    return float((seconds or 0) + (millis or 0) / 1e3 + (micros or 0) / 1e6)


def _check_local_form(data: bytes, response: Response, signer: Any, timestamp: Timestamp) -> None:
    """Build the token anew from what it says: it is one of ours only if these are its bytes."""
    key = timestamp.certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise TokenInvalidError("the timestamp is said to be by a key that cannot sign timestamps")
    signature = signer["signature"].native
    content = content_of(
        timestamp.hash_name, timestamp.imprint, serial=timestamp.serial, time=timestamp.time, nonce=timestamp.nonce
    )
    again = Frame(timestamp.certificate, key).response(
        content, timestamp.time, signature, with_certificate=bool(response.certificates())
    )
    if again != data or not is_canonical(signature, key):
        raise TokenInvalidError("the timestamp was re-encoded: these are not the bytes that the authority gives out")


def _check_key(
    certificate: x509.Certificate,
    root: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    at: datetime,
    *,
    local: bool,
) -> None:
    """The authority's certificate at the time of the token: purpose, validity, use of the key, chain to the root."""
    if not is_for_timestamps_only(certificate):
        raise TokenInvalidError("the timestamp is by a key that is not for timestamps, and for nothing else")
    try:
        check_in_use(certificate, at)
        if local:
            check_certificate(certificate, Role.TIMESTAMP, root=root, at=at)
        else:
            chain_to_root(certificate, roots=[root], intermediates=intermediates, at=at)
    except CertificateError as error:
        raise TokenInvalidError(f"the timestamp does not stand: {error}") from error


def _check_signature(
    data: bytes,
    timestamp: Timestamp,
    certificate: x509.Certificate,
    root: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
) -> None:
    """The signature, by rfc3161-client, over the token's own imprint; whose it is comes after."""
    verifier = rfc3161_client.VerifierBuilder(
        tsa_certificate=certificate, roots=[root], intermediates=list(intermediates)
    ).build()
    try:
        verifier.verify(rfc3161_client.decode_timestamp_response(data), timestamp.imprint)
    except rfc3161_client.VerificationError as error:
        raise TokenInvalidError(
            "the timestamp was altered, or signed with another key than the one expected"
        ) from error
