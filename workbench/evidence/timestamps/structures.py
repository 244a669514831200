"""The ASN.1 of RFC 3161 and CMS (RFC 5652): reading a request or a response strictly, writing the few parts we make.

Reading raises ``ValueError`` (or what the parser below raises) and leaves it to the caller to say it in our words.
``asn1crypto`` reads leniently: it takes BER, drops elements it does not know, and looks into a part only when asked.
So the bytes are walked first, by the rules of DER (X.690 section 10), and surplus elements are counted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from asn1crypto import algos, cms, core, tsp

__all__ = [
    "CONTENT_TYPE",
    "HASH_SIZES",
    "INNER",
    "MAX_RESPONSE",
    "MESSAGE_DIGEST",
    "OCTETS",
    "SEQUENCE",
    "SET",
    "SIGNED_DATA",
    "SIGNING_CERTIFICATE",
    "SIGNING_CERTIFICATE_V2",
    "SIGNING_TIME",
    "TST_INFO",
    "Response",
    "attributes_of",
    "der",
    "hash_algorithm",
    "in_order",
    "integer",
    "oid",
    "read_request",
    "read_response",
    "rejection",
    "walk",
    "write_request",
]

HASH_SIZES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}  # bytes
MAX_RESPONSE: Final = 64 * 1024  # bytes; a token with a long chain is a tenth of it
_MAX_DEPTH: Final = 40

CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
SIGNING_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.12"
SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"
SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"

SEQUENCE: Final = 0x30
SET: Final = 0x31
OCTETS: Final = 0x04
INNER: Final = 0xA0  # [0], constructed


class _TimeStampResp(core.Sequence):  # type: ignore[misc]
    """As in RFC 3161 section 2.4.2, where a refusal has no token (asn1crypto's own class demands one)."""

    _fields = [("status", tsp.PKIStatusInfo), ("time_stamp_token", cms.ContentInfo, {"optional": True})]  # noqa: RUF012


@dataclass(frozen=True)
class Response:
    """A response taken apart. Nothing in it has been verified."""

    status: str
    reason: str
    whole: Any
    signed_data: Any | None
    tst_info: Any | None
    content: bytes

    @property
    def refused(self) -> bool:
        """Whether it is a plain refusal: a status of that kind, and no token."""
        return self.signed_data is None and self.status not in {"granted", "granted_with_mods"}

    def certificates(self) -> list[bytes]:
        """The embedded certificates, DER, in the token's order."""
        embedded = self.signed_data["certificates"] if self.signed_data is not None else core.VOID
        return [] if isinstance(embedded, core.Void) else [choice.dump() for choice in embedded]


def in_order(response: Response) -> bytes:
    """The same response, its certificates in the order that DER wants of a set.

    OpenSSL's authority, and with it many others, writes them in the order of its files; rfc3161-client refuses that.
    No signature covers that set, so putting it in order changes nothing that was signed.
    """
    signed_data = response.signed_data
    assert signed_data is not None
    parts = [signed_data[name].dump() for name in ("version", "digest_algorithms", "encap_content_info")]
    certificates = sorted(set(response.certificates()))
    parts += [der(INNER, *certificates)] if certificates else []
    parts += [signed_data[name].dump() for name in ("crls", "signer_infos")]
    token = der(SEQUENCE, oid(SIGNED_DATA), der(INNER, der(SEQUENCE, *parts)))
    return der(SEQUENCE, response.whole["status"].dump(), token)


def walk(data: bytes) -> None:
    """Hold ``data`` against DER: one value, definite shortest lengths, shortest integers, nothing after it.

    >>> walk(bytes.fromhex("3003020101"))
    >>> walk(bytes.fromhex("300402020001"))
    Traceback (most recent call last):
        ...
    ValueError: an integer is not in its shortest form
    """
    if _walk_value(data, 0, len(data), 0) != len(data):
        raise ValueError("there are bytes after the end")


def _walk_value(data: bytes, start: int, end: int, depth: int) -> int:
    """Check the value at ``start`` and all within it; returns where it ends."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    tag = data[start]
    first, last = _extent(data, start, end)
    if tag & 0x1F == 0x1F:
        raise ValueError("a tag is in the long form")
    if tag & 0xC0 == 0 and bool(tag & 0x20) != (tag & 0x1F in (16, 17)):
        raise ValueError("a value is in pieces that DER has whole")
    if tag & 0x20:
        while first < last:
            first = _walk_value(data, first, last, depth + 1)
    else:
        _check_primitive(tag, data[first:last])
    return last


def _extent(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the contents of the value at ``start`` begin and end."""
    if start + 2 > end:
        raise ValueError("cut off")
    first, length = start + 2, data[start + 1]
    if length >= 0x80:
        count = length & 0x7F
        first += count
        length = int.from_bytes(data[start + 2 : first], "big")
        if not 1 <= count <= 4 or length < 0x80 or length >> 8 * (count - 1) == 0:
            raise ValueError("a length is not in its shortest form")
    if first + length > end:
        raise ValueError("cut off")
    return first, first + length


def _check_primitive(tag: int, contents: bytes) -> None:
    if tag == 0x01 and contents not in (b"\x00", b"\xff"):
        raise ValueError("a truth value is neither")
    if tag in (0x02, 0x0A) and (
        not contents or (len(contents) > 1 and contents[0] in (0x00, 0xFF) and contents[0] >> 7 == contents[1] >> 7)
    ):
        raise ValueError("an integer is not in its shortest form")
    if tag == 0x05 and contents:
        raise ValueError("a null is not empty")


def _complete(*sequences: Any) -> None:
    """No element more than the structure has: asn1crypto would pass over them."""
    for sequence in sequences:
        if len(sequence) > len(sequence._fields):
            raise ValueError("there are more elements than the structure has")


def read_response(data: bytes) -> Response:
    """Take a DER TimeStampResp apart. Raises ``ValueError`` and its kin if it does not follow its format."""
    if len(data) > MAX_RESPONSE:
        raise ValueError("too long")
    walk(data)
    whole = _TimeStampResp.load(data, strict=True)
    status = whole["status"]
    _complete(whole, status)
    text = status["status_string"].native or []
    reason = " ".join("".join(char for char in " ".join(text) if char.isprintable()).split())[:200]
    token = whole["time_stamp_token"]
    if isinstance(token, core.Void):
        return Response(str(status["status"].native), reason, whole, None, None, b"")
    if token["content_type"].native != "signed_data":
        raise ValueError("the token is not signed data")
    signed_data = token["content"]
    encapsulated = signed_data["encap_content_info"]
    if encapsulated["content_type"].native != "tst_info":
        raise ValueError("what is signed is not a TSTInfo")
    content = encapsulated["content"].contents
    walk(content)
    tst_info = tsp.TSTInfo.load(content, strict=True)
    _complete(token, signed_data, encapsulated, *signed_data["signer_infos"], tst_info, tst_info["message_imprint"])
    return Response(str(status["status"].native), reason, whole, signed_data, tst_info, content)


def read_request(data: bytes) -> Any:
    """Take a DER TimeStampReq apart. Raises ``ValueError`` and its kin if it does not follow its format."""
    walk(data)
    request = tsp.TimeStampReq.load(data, strict=True)
    _complete(request, request["message_imprint"])
    # Every part is looked into now, so that none of them fails later.
    _ = request.native
    return request


def write_request(digest: bytes, nonce: int) -> bytes:
    """A TimeStampReq over a SHA-256 ``digest`` that asks for the certificate, DER (RFC 3161 section 2.4.1)."""
    imprint = der(SEQUENCE, hash_algorithm("sha256"), der(OCTETS, digest))
    return der(SEQUENCE, integer(1), imprint, integer(nonce), core.Boolean(True).dump())


def der(tag: int, *parts: bytes) -> bytes:
    """One DER value of ``tag`` around its ``parts``.

    >>> der(SEQUENCE, integer(1), integer(300)).hex()
    '30070201010202012c'
    """
    contents = b"".join(parts)
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + contents


def integer(value: int) -> bytes:
    """An INTEGER, DER."""
    return bytes(core.Integer(value).dump())


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER, DER."""
    return bytes(core.ObjectIdentifier(dotted).dump())


def hash_algorithm(name: str) -> bytes:
    """The AlgorithmIdentifier of ``sha256`` and its kin, DER, with NULL parameters as every tool writes them."""
    return bytes(algos.DigestAlgorithm({"algorithm": name}).dump())


def rejection(failure: str, reason: str) -> bytes:
    """A TimeStampResp that refuses, DER; ``failure`` is asn1crypto's name of a PKIFailureInfo bit."""
    status = tsp.PKIStatusInfo({"status": "rejection", "status_string": [reason], "fail_info": {failure}})
    return der(SEQUENCE, status.dump())


def attributes_of(signer: Any) -> Iterator[tuple[str, Any]]:
    """The signed attributes as (OID in dots, values)."""
    for attribute in signer["signed_attrs"]:
        _complete(attribute)
        yield attribute["type"].dotted, attribute["values"]
