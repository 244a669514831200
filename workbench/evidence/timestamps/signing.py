"""The signatures of our own authority: SHA-256 with RSA (PKCS #1 v1.5) or ECDSA, and of each one only one form.

To an ECDSA signature (r, s) there is always a second valid one, (r, n - s). Ours have the smaller s, and a token with
the larger one is refused: nobody can make "another" token from a given one without the key.
"""

from typing import Final

from asn1crypto import algos
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

__all__ = ["PublicKey", "SigningKey", "is_canonical", "sign", "signature_algorithm"]

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

# The order n of each curve's group (FIPS 186-5, SP 800-186 section 3.2.1).
_ORDERS: Final = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


def signature_algorithm(key: PublicKey) -> bytes:
    """The AlgorithmIdentifier of what ``sign`` makes with this kind of key, DER."""
    name = "sha256_rsa" if isinstance(key, rsa.RSAPublicKey) else "sha256_ecdsa"
    return bytes(algos.SignedDigestAlgorithm({"algorithm": name}).dump())


def sign(key: SigningKey, data: bytes) -> bytes:
    """A signature over ``data``, as CMS carries it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return encode_dss_signature(r, min(s, _ORDERS[key.curve.name] - s))


def is_canonical(signature: bytes, key: PublicKey) -> bool:
    """Whether ``signature`` is in the one form that ``sign`` gives it. Raises ``ValueError`` if it is none at all."""
    if isinstance(key, rsa.RSAPublicKey):
        return len(signature) == (key.key_size + 7) // 8
    r, s = decode_dss_signature(signature)
    return s <= _ORDERS[key.curve.name] // 2 and encode_dss_signature(r, s) == signature
