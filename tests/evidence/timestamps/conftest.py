"""Keys and certificates for timestamps, and a forge: tokens built with asn1crypto, so not by the code under test."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from workbench.clock import VirtualClock
from workbench.evidence.certificates import KeyType, Role, generate_key, issue, issue_root, pem
from workbench.evidence.timestamps import POLICY, LocalAuthority

ISSUED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NOW = datetime(2026, 5, 3, 12, 0, tzinfo=UTC)
DIGEST = hashlib.sha256(b"the report").digest()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def clock_at(time: datetime) -> VirtualClock:
    return VirtualClock(start_ns=int(time.timestamp()) * 10**9)


@dataclass
class Pki:
    """A root, a timestamp key under it, and what is made with them."""

    root_key: Any
    root: x509.Certificate
    key: Any
    certificate: x509.Certificate

    @classmethod
    def new(cls, kind: KeyType = KeyType.P256, *, key: Any = None, identity: str = "test") -> "Pki":
        root_key = generate_key(kind)
        root = issue_root(root_key, identity=identity, clock=clock_at(ISSUED))
        key = key or generate_key(kind)
        certificate = issue(
            Role.TIMESTAMP, key.public_key(), identity=identity, root_key=root_key, root=root, clock=clock_at(ISSUED)
        )
        return cls(root_key, root, key, certificate)

    @cached_property
    def trust(self) -> dict[str, Any]:
        return {"certificate": self.certificate, "root": self.root}

    def authority(self, *, at: datetime = NOW, **options: Any) -> LocalAuthority:
        return LocalAuthority(self.key, self.certificate, clock=options.pop("clock", clock_at(at)), **options)

    def other_certificate(self, usages: Sequence[x509.ObjectIdentifier], *, critical: bool = True) -> x509.Certificate:
        """For the same key, with an extended key usage of choice."""
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")]))
            .issuer_name(self.root.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(ISSUED)
            .not_valid_after(ISSUED + timedelta(days=1000))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=critical)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:workbench:timestamp:other")]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), critical=False
            )
            .sign(self.root_key, hashes.SHA256())
        )


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki.new()


@pytest.fixture(scope="session")
def rsa_pki() -> Pki:
    return Pki.new(KeyType.RSA3072)


@pytest.fixture(scope="session")
def p384_pki() -> Pki:
    return Pki.new(key=ec.generate_private_key(ec.SECP384R1()))


def sign(key: Any, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data)
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return encode_dss_signature(r, min(s, ORDER - s) if key.curve.name == "secp256r1" else s)


def sealed(value: Any) -> Any:
    """asn1crypto encodes every changed ancestor anew; a value loaded from its bytes is not changed."""
    return type(value).load(value.dump())


def attribute(kind: str, value: Any) -> cms.CMSAttribute:
    return sealed(cms.CMSAttribute({"type": kind, "values": [value]}))


def signing_certificate(certificate: x509.Certificate, digest: bytes | None = None) -> cms.CMSAttribute:
    digest = digest or certificate.fingerprint(hashes.SHA256())
    return attribute(
        "signing_certificate_v2", tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({"cert_hash": digest})]})
    )


def no_change(value: Any) -> Any:
    return value


def forge(
    pki: Pki,
    *,
    digest: bytes = DIGEST,
    at: datetime = NOW,
    certificate: x509.Certificate | None = None,
    embedded: Sequence[x509.Certificate] | None = None,
    info: dict[str, Any] | None = None,
    attributes: Callable[[list[cms.CMSAttribute]], list[cms.CMSAttribute]] = no_change,
    content_after: Callable[[bytes], bytes] = no_change,
    signature: Callable[[bytes], bytes] = no_change,
    signers: int = 1,
    signer: dict[str, Any] | None = None,
    signed: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
) -> bytes:
    """A TimeStampResp with one thing wrong with it, or none; the rest is signed as it should be."""
    certificate = certificate or pki.certificate
    sha256 = sealed(algos.DigestAlgorithm({"algorithm": "sha256"}))
    content = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": sealed(tsp.MessageImprint({"hash_algorithm": sha256, "hashed_message": digest})),
            "serial_number": 4711,
            "gen_time": at,
            "accuracy": {"seconds": 1},
            **(info or {}),
        }
    ).dump()
    parsed = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    attrs = attributes(
        [
            attribute("content_type", "tst_info"),
            attribute("message_digest", hashlib.sha256(content).digest()),
            attribute("signing_time", cms.Time({"utc_time": core.UTCTime(at)})),
            signing_certificate(certificate),
        ]
    )
    attrs = sealed(cms.CMSAttributes(attrs))
    one = sealed(
        cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier(
                    {
                        "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                            {"issuer": parsed.issuer, "serial_number": parsed.serial_number}
                        )
                    }
                ),
                "digest_algorithm": sha256,
                "signed_attrs": attrs,
                "signature_algorithm": sealed(
                    algos.SignedDigestAlgorithm(
                        {"algorithm": "sha256_rsa" if isinstance(pki.key, rsa.RSAPrivateKey) else "sha256_ecdsa"}
                    )
                ),
                "signature": signature(sign(pki.key, attrs.dump())),
                **(signer or {}),
            }
        )
    )
    embedded = [certificate] if embedded is None else embedded
    body = cms.SignedData(
        {
            "version": "v3",
            "digest_algorithms": [sha256],
            "encap_content_info": sealed(
                cms.EncapsulatedContentInfo(
                    {"content_type": "tst_info", "content": core.ParsableOctetString(content_after(content))}
                )
            ),
            "signer_infos": [one] * signers,
            **(
                {
                    "certificates": [
                        cms.CertificateChoices(
                            {"certificate": asn1_x509.Certificate.load(e.public_bytes(Encoding.DER))}
                        )
                        for e in embedded
                    ]
                }
                if embedded
                else {}
            ),
            **(signed or {}),
        }
    )
    token = sealed(cms.ContentInfo({"content_type": "signed_data", "content": sealed(body)}))
    return tsp.TimeStampResp(
        {"status": tsp.PKIStatusInfo(status or {"status": "granted"}), "time_stamp_token": token}
    ).dump()


def request_for(digest: bytes = DIGEST, hash_name: str = "sha256", **fields: Any) -> bytes:
    """A TimeStampReq, by asn1crypto."""
    return tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {"hash_algorithm": {"algorithm": hash_name}, "hashed_message": digest},
            **fields,
        }
    ).dump()


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    """This module's own functions and constants, for the tests: ``lab.forge(pki, at=lab.NOW)``."""
    return sys.modules[__name__]


@pytest.fixture
def openssl(tmp_path: Path) -> Callable[..., str]:
    """``openssl("ts", "-query", ...)`` runs the real one; ``openssl.verify(...)`` has it judge a response."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")

    class OpenSsl:
        def __call__(self, *arguments: object) -> str:
            told = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
            return told.stdout + told.stderr

        def verify(self, response: bytes, pki: Pki, digest: bytes = DIGEST, at: datetime = NOW) -> str:
            for name, content in (
                ("response.tsr", response),
                ("root.pem", pem(pki.root)),
                ("authority.pem", pem(pki.certificate)),
            ):
                (tmp_path / name).write_bytes(content)
            return self(
                "ts", "-verify", "-in", tmp_path / "response.tsr", "-digest", digest.hex(),
                "-CAfile", tmp_path / "root.pem", "-untrusted", tmp_path / "authority.pem",
                "-attime", int(at.timestamp()),
            )  # fmt: skip

    return OpenSsl()
