"""The offline certificate authority: one root, and a certificate for each key that says the one thing it may do.

    root        P-256 or RSA-3072   15 years   signs certificates, is used for nothing else
    timestamp   P-256 or RSA-3072   11 years   signs timestamps for 1 year; outlives what it stamped
    report      Ed25519              2 years   signs reports for 1 year
    approval    Ed25519              2 years   signs one person's decisions for 1 year
    ledger      Ed25519              2 years   signs checkpoints of the ledger for 1 year

Each role has an extended key usage of its own, critical and the only one, so that no key can do another's work. The
object identifiers stand under 2.25 (ITU-T X.667: derived from a UUID, no registration needed). Names in certificates
are pseudonyms: certificates travel with every bundle and cannot be taken back.
"""

import uuid
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workbench.clock import Clock, SystemClock
from workbench.errors import CertificateError

__all__ = [
    "DEMO_ORGANISATION",
    "LIFETIMES",
    "KeyType",
    "Lifetime",
    "PrivateKey",
    "Role",
    "check_certificate",
    "fingerprint",
    "generate_key",
    "identity_of",
    "is_demo",
    "issue",
    "issue_root",
    "moment",
    "pem",
    "public_key_of",
    "read_certificates",
    "role_of",
    "spki",
]

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Role(StrEnum):
    """What a key is for; a key has exactly one role."""

    ROOT = "root"
    REPORT = "report"
    APPROVAL = "approval"
    LEDGER = "ledger"
    TIMESTAMP = "timestamp"


class KeyType(StrEnum):
    """Kinds of keys. Documents are signed with Ed25519; root and timestamp need one that every verifier reads."""

    ED25519 = "ed25519"
    P256 = "p256"
    RSA3072 = "rsa3072"


@dataclass(frozen=True)
class Lifetime:
    """How long a certificate is valid, and for how long of that its key may sign."""

    validity: timedelta
    use: timedelta


_YEAR: Final = timedelta(days=365)
LIFETIMES: Final[dict[Role, Lifetime]] = {
    Role.ROOT: Lifetime(15 * _YEAR, 15 * _YEAR),
    Role.TIMESTAMP: Lifetime(11 * _YEAR, _YEAR),
    Role.REPORT: Lifetime(2 * _YEAR, _YEAR),
    Role.APPROVAL: Lifetime(2 * _YEAR, _YEAR),
    Role.LEDGER: Lifetime(2 * _YEAR, _YEAR),
}
DEMO_ORGANISATION: Final = "DEMONSTRATION KEYS - NOT EVIDENCE"
_ORGANISATION: Final = "Workbench"
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:workbench:extended-key-usage")


def _private_usage(role: Role) -> x509.ObjectIdentifier:
    return x509.ObjectIdentifier(f"2.25.{uuid.uuid5(_NAMESPACE, role.value).int}")


_USAGES: Final[dict[Role, x509.ObjectIdentifier]] = {
    Role.TIMESTAMP: ExtendedKeyUsageOID.TIME_STAMPING,
    **{role: _private_usage(role) for role in (Role.REPORT, Role.APPROVAL, Role.LEDGER)},
}
_ROLES: Final = {usage: role for role, usage in _USAGES.items()}
_URN: Final = "urn:workbench:"


def moment(clock: Clock) -> datetime:
    """The clock's time in UTC, whole seconds, as certificates carry it."""
    return datetime.fromtimestamp(clock.time_ns() // 1_000_000_000, tz=UTC)


def generate_key(kind: KeyType) -> PrivateKey:
    """A new private key."""
    if kind is KeyType.ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if kind is KeyType.P256:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def _name(common_name: str, *, demo: bool) -> x509.Name:
    organisation = DEMO_ORGANISATION if demo else _ORGANISATION
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(**allowed: bool) -> x509.KeyUsage:
    everything: dict[str, bool] = dict.fromkeys(
        (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    return x509.KeyUsage(**{**everything, **allowed})


def issue_root(
    key: PrivateKey, *, identity: str, clock: Clock | None = None, demo: bool = False, lifetime: Lifetime | None = None
) -> x509.Certificate:
    """A self-signed root certificate. Its SHA-256 is what examiners are given on paper.

    >>> root = issue_root(generate_key(KeyType.P256), identity="example")
    >>> role_of(root).value, len(fingerprint(root))
    ('root', 64)
    """
    now = moment(clock or SystemClock())
    name = _name(f"workbench root {identity}", demo=demo)
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + (lifetime or LIFETIMES[Role.ROOT]).validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, _signing_hash(key))
    )


def issue(
    role: Role,
    public_key: Any,
    *,
    identity: str,
    root_key: PrivateKey,
    root: x509.Certificate,
    clock: Clock | None = None,
    lifetime: Lifetime | None = None,
) -> x509.Certificate:
    """A certificate by ``root`` that lets the key of ``public_key`` do the work of ``role``, and nothing else.

    ``identity`` names the key within its role: a pseudonym for an approval, any short id otherwise.
    """
    now = moment(clock or SystemClock())
    lifetime = lifetime or LIFETIMES[role]
    usage = _key_usage(digital_signature=True, content_commitment=role is Role.TIMESTAMP)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(f"workbench {role.value} {identity}", demo=is_demo(root)))
        .issuer_name(root.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(min(now + lifetime.validity, root.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGES[role]]), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{_URN}{role.value}:{identity}")]),
            critical=False,
        )
        .add_extension(x509.PrivateKeyUsagePeriod(now, now + lifetime.use), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(root_key, _signing_hash(root_key))
    )


def _signing_hash(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER bytes, 64 lower-case hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def spki(certificate: x509.Certificate) -> bytes:
    """The public key itself (SubjectPublicKeyInfo, DER): two certificates with the same one are the same signer."""
    return public_key_of(certificate).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_key_of(certificate: x509.Certificate) -> CertificatePublicKeyTypes:
    """The certificate's key. Raises ``CertificateError`` for one that cannot be read or is of an unknown kind."""
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"the key of {_shown(certificate)} cannot be read") from error


def is_demo(certificate: x509.Certificate) -> bool:
    """Whether the certificate belongs to keys whose passphrase everybody knows."""
    return DEMO_ORGANISATION in _names(certificate, NameOID.ORGANIZATION_NAME)


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def read_certificates(data: bytes) -> list[x509.Certificate]:
    """The certificates of a PEM file. Raises ``CertificateError``."""
    try:
        return x509.load_pem_x509_certificates(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError("the file holds no readable certificates in PEM form") from error


def role_of(certificate: x509.Certificate) -> Role:
    """What the certificate's key may do. Raises ``CertificateError`` if that is none or more than one of our roles."""
    extensions = _extensions(certificate)
    constraints = extensions.get(x509.BasicConstraints)
    usage = extensions.get(x509.ExtendedKeyUsage)
    if constraints is None or not constraints.critical:
        raise CertificateError(f"{_shown(certificate)} does not say whether it is a root")
    if constraints.value.ca:
        if usage is not None:
            raise CertificateError(f"{_shown(certificate)} is a root with another purpose")
        return Role.ROOT
    if usage is None or not usage.critical or len(usage.value) != 1:
        raise CertificateError(f"{_shown(certificate)} is not bound to exactly one purpose")
    role = _ROLES.get(next(iter(usage.value)))
    if role is None:
        raise CertificateError(f"{_shown(certificate)} is for a purpose that is none of ours")
    return role


def identity_of(certificate: x509.Certificate) -> str:
    """The key's name within its role, from the certificate's URI; for a root, from its common name."""
    role = role_of(certificate)
    if role is Role.ROOT:
        common_names = _names(certificate, NameOID.COMMON_NAME)
        if len(common_names) != 1:
            raise CertificateError(f"{_shown(certificate)} does not have exactly one name")
        return common_names[0].rpartition(" ")[2]
    alternative = _extensions(certificate).get(x509.SubjectAlternativeName)
    names = list(alternative.value) if alternative is not None else []
    prefix = f"{_URN}{role.value}:"
    if len(names) != 1 or not str(names[0].value).startswith(prefix):
        raise CertificateError(f"{_shown(certificate)} does not name its key as {prefix}...")
    return str(names[0].value).removeprefix(prefix)


def check_certificate(certificate: x509.Certificate, role: Role, *, root: x509.Certificate, at: datetime) -> None:
    """Hold a certificate against everything it must be at time ``at``: issued by ``root``, valid, in use, of ``role``.

    Raises ``CertificateError`` that says which of it does not hold.
    """
    shown = _shown(certificate)
    found = role_of(certificate)
    if found is not role:
        raise CertificateError(f"{shown} is a {found.value} key, not a {role.value} key")
    if role_of(root) is not Role.ROOT:
        raise CertificateError(f"{_shown(root)} is not a root")
    for one in (root, certificate):
        if not one.not_valid_before_utc <= at <= one.not_valid_after_utc:
            raise CertificateError(
                f"{_shown(one)} was valid from {one.not_valid_before_utc:%Y-%m-%d %H:%M:%S} to "
                f"{one.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC, which does not include {at:%Y-%m-%d %H:%M:%S}"
            )
    period = _extensions(certificate).get(x509.PrivateKeyUsagePeriod)
    begins = period.value.not_before if period is not None else None
    if begins is not None and at < begins.replace(tzinfo=UTC):
        raise CertificateError(f"the key of {shown} was to sign from {begins:%Y-%m-%d %H:%M:%S} UTC only")
    ends = period.value.not_after if period is not None else None
    if ends is not None and at > ends.replace(tzinfo=UTC):
        raise CertificateError(f"the key of {shown} was to sign until {ends:%Y-%m-%d %H:%M:%S} UTC only")
    if not _is_fit_for_everyone(root):
        raise CertificateError(f"{_shown(root)} holds a kind of key that roots are not made with")
    _check_key(certificate, role)
    identity_of(certificate)
    try:
        verification.PolicyBuilder().store(verification.Store([root])).time(at).max_chain_depth(0).extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all(),
        ).build_client_verifier().verify(certificate, [])
    except verification.VerificationError as error:
        raise CertificateError(f"{shown} was not issued by this root") from error


def _check_key(certificate: x509.Certificate, role: Role) -> None:
    """The kind of key and its usage, as the role needs them."""
    fits = (
        _is_fit_for_everyone(certificate)
        if role is Role.TIMESTAMP
        else isinstance(public_key_of(certificate), ed25519.Ed25519PublicKey)
    )
    usage = _extensions(certificate).get(x509.KeyUsage)
    if not fits:
        raise CertificateError(
            f"{_shown(certificate)} holds a kind of key that {role.value} signatures are not made with"
        )
    if usage is None or not usage.critical or not usage.value.digital_signature or usage.value.key_cert_sign:
        raise CertificateError(f"{_shown(certificate)} does not restrict its key to signatures")


def _is_fit_for_everyone(certificate: x509.Certificate) -> bool:
    """Whether the key is of a kind that every verifier reads: P-256, P-384, or RSA from 3072 bits."""
    key = public_key_of(certificate)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    return isinstance(key, rsa.RSAPublicKey) and key.key_size >= 3072


def _names(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> list[str]:
    try:
        with warnings.catch_warnings():  # of an attribute that is longer than it may be: what it says is judged here
            warnings.simplefilter("ignore", UserWarning)
            return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(kind)]
    except ValueError as error:
        raise CertificateError(f"the name in {_shown(certificate)} cannot be read") from error


def _extensions(certificate: x509.Certificate) -> dict[type, Any]:
    try:
        return {type(extension.value): extension for extension in certificate.extensions}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateError("a certificate's extensions cannot be read") from error


def _shown(certificate: x509.Certificate) -> str:
    return f"the certificate {fingerprint(certificate)[:16]}"
