"""A chain from the certificate of an authority outside to a root the user named, at the time of the token."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from workbench.errors import CertificateError

__all__ = ["chain_to_root", "check_in_use", "is_for_timestamps_only"]

_PASSABLE: Final = {ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


def chain_to_root(
    certificate: x509.Certificate,
    *,
    roots: Sequence[x509.Certificate],
    intermediates: Sequence[x509.Certificate],
    at: datetime,
) -> list[x509.Certificate]:
    """The chain from ``certificate`` to one of ``roots``, both included, every part of it valid at time ``at``.

    Certificates among ``intermediates`` help on the way and are never an end of it, self-signed or not.
    The rules for web servers do not fit: an issuer of authorities is bound to time stamping itself, so what RFC 5280
    asks of an issuer (CA, keyCertSign) is checked here, and that its own purposes allow timestamps.

    Raises ``CertificateError`` if there is none.
    """
    try:
        verified = (
            verification.PolicyBuilder()
            .store(verification.Store(list(roots)))
            .time(at)
            .extension_policies(ca_policy=_issuers(), ee_policy=verification.ExtensionPolicy.permit_all())
            .build_client_verifier()
            .verify(certificate, list(intermediates))
        )
    except (verification.VerificationError, ValueError) as error:
        raise CertificateError(
            f"the timestamp authority's certificate leads to none of the {len(roots)} root(s) that were given for it"
        ) from error
    return list(verified.chain)


def is_for_timestamps_only(certificate: x509.Certificate) -> bool:
    """Whether time stamping is the certificate's one purpose, and marked critical (RFC 3161 section 2.3)."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]


def check_in_use(certificate: x509.Certificate, at: datetime) -> None:
    """Hold time ``at`` against the certificate's validity and its PrivateKeyUsagePeriod (RFC 3280 section 4.2.1.4).

    Raises ``CertificateError``.
    """
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    try:
        period = certificate.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value
    except x509.ExtensionNotFound:
        pass
    else:
        start = max(start, period.not_before.replace(tzinfo=UTC)) if period.not_before else start
        end = min(end, period.not_after.replace(tzinfo=UTC)) if period.not_after else end
    if not start <= at <= end:
        raise CertificateError(
            f"the authority's key may sign from {start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC, "
            f"which does not include {at:%Y-%m-%d %H:%M:%S}"
        )


def _issuers() -> verification.ExtensionPolicy:
    criticality = verification.Criticality
    return (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, criticality.AGNOSTIC, _is_ca)
        .may_be_present(x509.KeyUsage, criticality.AGNOSTIC, _signs_certificates)
        .may_be_present(x509.ExtendedKeyUsage, criticality.AGNOSTIC, _allows_timestamps)
    )


def _is_ca(_policy: Any, _certificate: x509.Certificate, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("an issuer is no certificate authority")


def _signs_certificates(_policy: Any, _certificate: x509.Certificate, extension: x509.KeyUsage | None) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("an issuer may not sign certificates")


def _allows_timestamps(_policy: Any, _certificate: x509.Certificate, extension: x509.ExtendedKeyUsage | None) -> None:
    if extension is not None and _PASSABLE.isdisjoint(extension):
        raise ValueError("an issuer may not issue authorities for timestamps")
