"""Certificates say the one thing their key may do, other tools agree, and what is wrong with a wrong one is named."""

import base64
import hashlib
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workbench.clock import VirtualClock
from workbench.errors import CertificateError
from workbench.evidence.certificates import (
    DEMO_ORGANISATION,
    LIFETIMES,
    KeyType,
    Lifetime,
    Role,
    check_certificate,
    fingerprint,
    generate_key,
    identity_of,
    is_demo,
    issue,
    issue_root,
    moment,
    pem,
    public_key_of,
    read_certificates,
    role_of,
    spki,
)

START = 1_800_000_000  # 15 January 2027, 08:00:00 UTC
NOW = datetime.fromtimestamp(START, tz=UTC)
YEAR = timedelta(days=365)
LEAVES = [Role.REPORT, Role.APPROVAL, Role.LEDGER, Role.TIMESTAMP]
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:workbench:extended-key-usage")
USAGES = {
    Role.TIMESTAMP: "1.3.6.1.5.5.7.3.8",
    **{role: f"2.25.{uuid.uuid5(NAMESPACE, role.value).int}" for role in (Role.REPORT, Role.APPROVAL, Role.LEDGER)},
}
NO_KEY_USAGE = dict.fromkeys(
    (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign",
    ),
    False,
)  # fmt: skip
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@dataclass(frozen=True)
class Authority:
    """A root with a certificate of each role under it."""

    key: object
    root: x509.Certificate
    leaves: dict[Role, x509.Certificate]
    keys: dict[Role, object]


def clock() -> VirtualClock:
    return VirtualClock(start_ns=START * 1_000_000_000)


def authority(kind: KeyType) -> Authority:
    key = generate_key(kind)
    root = issue_root(key, identity="test", clock=clock())
    keys = {role: generate_key(kind if role is Role.TIMESTAMP else KeyType.ED25519) for role in LEAVES}
    leaves = {
        role: issue(role, keys[role].public_key(), identity=f"{role}-1", root_key=key, root=root, clock=clock())
        for role in LEAVES
    }
    return Authority(key, root, leaves, keys)


@pytest.fixture(scope="module", params=[KeyType.P256, KeyType.RSA3072])
def one(request) -> Authority:
    return authority(request.param)


@pytest.fixture(scope="module")
def p256() -> Authority:
    return authority(KeyType.P256)


def name(common: str, organisation: str = "Workbench") -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def key_usage(**allowed: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{**NO_KEY_USAGE, "encipher_only": False, "decipher_only": False, **allowed})


ABSENT = object()


def forged(
    by: Authority,
    role: Role = Role.REPORT,
    *,
    public_key=None,
    signed_by=None,
    start: datetime = NOW,
    end: datetime = NOW + 2 * YEAR,
    **changes: object,
) -> x509.Certificate:
    """A certificate by the authority in which one extension is another, not critical, or absent."""
    public_key = public_key or by.keys[role].public_key()
    usage = key_usage(digital_signature=True, content_commitment=role is Role.TIMESTAMP)
    uri = x509.UniformResourceIdentifier(f"urn:workbench:{role}:{role}-1")
    extensions = {
        "constraints": (x509.BasicConstraints(ca=False, path_length=None), True),
        "usage": (usage, True),
        "purpose": (x509.ExtendedKeyUsage([x509.ObjectIdentifier(USAGES[role])]), True),
        "names": (x509.SubjectAlternativeName([uri]), False),
        "period": (x509.PrivateKeyUsagePeriod(NOW, NOW + YEAR), False),
        **changes,
    }
    builder = (
        x509.CertificateBuilder(subject_name=name("forged"), issuer_name=by.root.subject, public_key=public_key)
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension in extensions.values():
        if extension is not ABSENT:
            builder = builder.add_extension(extension[0], critical=extension[1])
    signer = signed_by or by.key
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def root_by(key, **changes: object) -> x509.Certificate:
    """A self-signed root in which something may be other than ours."""
    extensions = {
        "constraints": (x509.BasicConstraints(ca=True, path_length=0), True),
        "usage": (key_usage(key_cert_sign=True, crl_sign=True), True),
        "ski": (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        **changes,
    }
    subject = name("workbench root test")
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + 15 * YEAR)
    )
    for extension in extensions.values():
        if extension is not ABSENT:
            builder = builder.add_extension(extension[0], critical=extension[1])
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def under(root_key, root: x509.Certificate) -> x509.Certificate:
    leaf = ed25519.Ed25519PrivateKey.generate()
    return issue(Role.REPORT, leaf.public_key(), identity="r", root_key=root_key, root=root, clock=clock())


def check(certificate: x509.Certificate, root: x509.Certificate, role: Role = Role.REPORT, at: datetime = NOW) -> None:
    check_certificate(certificate, role, root=root, at=at)


def refusal(certificate: x509.Certificate, root: x509.Certificate, role: Role = Role.REPORT, at: datetime = NOW) -> str:
    """What is said against the certificate, with ``it`` for it and ``the root`` for the root."""
    with pytest.raises(CertificateError) as caught:
        check_certificate(certificate, role, root=root, at=at)
    said = str(caught.value).replace(f"the certificate {fingerprint(certificate)[:16]}", "it")
    return said.replace(f"the certificate {fingerprint(root)[:16]}", "the root")


def flags(certificate: x509.Certificate) -> dict[str, tuple[bool, object]]:
    """Every extension by name: whether it is critical, and what it says."""
    found = {}
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.KeyUsage):
            value = {flag for flag in NO_KEY_USAGE if getattr(value, flag)}
        elif isinstance(value, x509.BasicConstraints):
            value = (value.ca, value.path_length)
        elif isinstance(value, x509.ExtendedKeyUsage):
            value = [usage.dotted_string for usage in value]
        elif isinstance(value, x509.SubjectAlternativeName):
            value = [(type(entry).__name__, entry.value) for entry in value]
        elif isinstance(value, x509.PrivateKeyUsagePeriod):
            value = (value.not_before, value.not_after)
        elif isinstance(value, x509.SubjectKeyIdentifier):
            value = value.digest
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            value = (value.key_identifier, value.authority_cert_issuer, value.authority_cert_serial_number)
        found[type(extension.value).__name__] = (extension.critical, value)
    return found


def identifier(certificate: x509.Certificate) -> bytes:
    """SHA-1 of the public key's bits: method 1 of RFC 5280, section 4.2.1.2."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def test_a_root_says_that_it_signs_certificates_and_nothing_else(one):
    root = one.root
    assert flags(root) == {
        "BasicConstraints": (True, (True, 0)),
        "KeyUsage": (True, {"key_cert_sign", "crl_sign"}),
        "SubjectKeyIdentifier": (False, identifier(root)),
    }
    assert root.version is x509.Version.v3
    assert root.subject == root.issuer
    assert subject(root) == "CN=workbench root test,O=Workbench"
    assert (root.not_valid_before_utc, root.not_valid_after_utc) == (NOW, NOW + 15 * YEAR)
    assert root.public_key() == one.key.public_key()
    assert root.signature_hash_algorithm.name == "sha256"
    root.verify_directly_issued_by(root)
    assert (role_of(root), identity_of(root), is_demo(root)) == (Role.ROOT, "test", False)


@pytest.mark.parametrize("role", LEAVES)
def test_a_certificate_says_everything_its_role_needs_and_nothing_more(one, role):
    certificate = one.leaves[role]
    signing = {"digital_signature", "content_commitment"} if role is Role.TIMESTAMP else {"digital_signature"}
    naive = NOW.replace(tzinfo=None)
    assert flags(certificate) == {
        "BasicConstraints": (True, (False, None)),
        "KeyUsage": (True, signing),
        "ExtendedKeyUsage": (True, [USAGES[role]]),
        "SubjectAlternativeName": (False, [("UniformResourceIdentifier", f"urn:workbench:{role}:{role}-1")]),
        "PrivateKeyUsagePeriod": (False, (naive, naive + YEAR)),
        "SubjectKeyIdentifier": (False, identifier(certificate)),
        "AuthorityKeyIdentifier": (False, (identifier(one.root), None, None)),
    }
    lasting = 11 * YEAR if role is Role.TIMESTAMP else 2 * YEAR
    assert certificate.version is x509.Version.v3
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (NOW, NOW + lasting)
    assert certificate.issuer == one.root.subject
    assert subject(certificate) == f"CN=workbench {role} {role}-1,O=Workbench"
    assert certificate.public_key() == one.keys[role].public_key()
    certificate.verify_directly_issued_by(one.root)
    assert (role_of(certificate), identity_of(certificate), is_demo(certificate)) == (role, f"{role}-1", False)


def test_serial_numbers_are_positive_random_and_of_at_most_twenty_bytes(one):
    serials = [certificate.serial_number for certificate in (one.root, *one.leaves.values())]
    again = issue_root(one.key, identity="test", clock=clock())
    assert len({*serials, again.serial_number}) == len(serials) + 1
    assert all(0 < serial < 2**159 for serial in serials)
    assert max(serials).bit_length() > 128


def test_purposes_are_different_object_identifiers_and_stay_the_same_for_ever():
    assert len(set(USAGES.values())) == 4
    assert USAGES == {
        Role.TIMESTAMP: "1.3.6.1.5.5.7.3.8",
        Role.REPORT: "2.25.279844271485344865933944590563203166315",
        Role.APPROVAL: "2.25.3981219749893761855494282454218496579",
        Role.LEDGER: "2.25.18862855798711147540656592233076618395",
    }


@pytest.mark.parametrize("role", LEAVES)
def test_a_certificate_stands_for_its_own_role_only(one, role):
    for other in LEAVES:
        if other is role:
            check(one.leaves[role], one.root, role)
        else:
            assert refusal(one.leaves[role], one.root, other) == f"it is a {role} key, not a {other} key"


@needs_openssl
@pytest.mark.parametrize("role", LEAVES)
def test_openssl_agrees_with_us(one, role, tmp_path):
    root, leaf = tmp_path / "root.pem", tmp_path / "leaf.pem"
    root.write_bytes(pem(one.root))
    leaf.write_bytes(pem(one.leaves[role]))

    def verify(*options: str, at: datetime = NOW) -> subprocess.CompletedProcess:
        command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-attime", str(int(at.timestamp())), *options]
        return subprocess.run([*command, "-CAfile", root, leaf], check=False, capture_output=True, text=True)

    ends = one.leaves[role].not_valid_after_utc  # the last second: RFC 5280 counts it in, OpenSSL does not
    for when in (NOW, NOW + YEAR, ends - timedelta(seconds=1)):
        assert verify(at=when).stdout == f"{leaf}: OK\n"
    assert "certificate is not yet valid" in verify(at=NOW - timedelta(seconds=1)).stderr
    assert "certificate has expired" in verify(at=ends + timedelta(seconds=1)).stderr
    stamps = verify("-purpose", "timestampsign")
    assert (stamps.returncode == 0) is (role is Role.TIMESTAMP), stamps.stderr
    for purpose in ("sslserver", "sslclient", "smimesign", "crlsign"):
        assert verify("-purpose", purpose).returncode != 0, purpose


@needs_openssl
def test_the_fingerprint_is_what_openssl_and_sha256sum_print(one, tmp_path):
    for certificate in (one.root, *one.leaves.values()):
        (tmp_path / "c.pem").write_bytes(pem(certificate))
        der = subprocess.run(
            ["openssl", "x509", "-in", tmp_path / "c.pem", "-outform", "DER"], capture_output=True, check=True
        ).stdout
        told = subprocess.run(["sha256sum"], input=der, capture_output=True, check=True).stdout.decode().split()[0]
        assert fingerprint(certificate) == told == hashlib.sha256(der).hexdigest()


@needs_openssl
def test_openssl_finds_the_public_key_that_we_call_the_signer(one, tmp_path):
    (tmp_path / "c.pem").write_bytes(pem(one.leaves[Role.REPORT]))
    found = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "c.pem", "-noout", "-pubkey"], capture_output=True, check=True
    ).stdout
    assert base64.b64decode(b"".join(found.splitlines()[1:-1])) == spki(one.leaves[Role.REPORT])


def test_two_certificates_of_one_key_are_one_signer(p256):
    public = p256.keys[Role.REPORT].public_key()
    again = issue(Role.LEDGER, public, identity="l", root_key=p256.key, root=p256.root, clock=clock())
    assert spki(again) == spki(p256.leaves[Role.REPORT]) != spki(p256.leaves[Role.LEDGER])
    assert public_key_of(again) == public


def test_another_root_of_the_same_name_is_another_root(one):
    impostor = issue_root(generate_key(KeyType.P256), identity="test", clock=clock())
    assert impostor.subject == one.root.subject
    for role in LEAVES:
        assert refusal(one.leaves[role], impostor, role) == "it was not issued by this root"


def test_a_certificate_signed_by_somebody_else_is_refused(p256):
    stranger = generate_key(KeyType.P256)
    assert refusal(forged(p256, signed_by=stranger), p256.root) == "it was not issued by this root"
    own = p256.keys[Role.REPORT]
    assert refusal(forged(p256, signed_by=own), p256.root) == "it was not issued by this root"


def test_a_role_key_cannot_issue_for_others(p256):
    """A timestamp key signs a report certificate: there is no chain, only certificates by the root itself."""
    between = p256.leaves[Role.TIMESTAMP]
    leaf = forged(p256, signed_by=p256.keys[Role.TIMESTAMP])
    assert refusal(leaf, between) == "the root is not a root"
    assert refusal(leaf, p256.root) == "it was not issued by this root"


def test_validity_includes_both_of_its_ends(one):
    certificate, second = one.leaves[Role.TIMESTAMP], timedelta(seconds=1)
    check(certificate, one.root, Role.TIMESTAMP, NOW)
    check(certificate, one.root, Role.TIMESTAMP, NOW + YEAR)
    span = "was valid from 2027-01-15 08:00:00 to 2042-01-11 08:00:00 UTC, which does not include"
    assert refusal(certificate, one.root, Role.TIMESTAMP, NOW - second) == f"the root {span} 2027-01-15 07:59:59"
    after = NOW + 11 * YEAR + second
    assert refusal(certificate, one.root, Role.TIMESTAMP, after) == (
        "it was valid from 2027-01-15 08:00:00 to 2038-01-12 08:00:00 UTC, which does not include 2038-01-12 08:00:01"
    )


def test_a_key_signs_only_while_its_period_of_use_lasts(one):
    for role in LEAVES:
        certificate = one.leaves[role]
        check(certificate, one.root, role, NOW + YEAR)
        said = refusal(certificate, one.root, role, NOW + YEAR + timedelta(seconds=1))
        assert said == "the key of it was to sign until 2028-01-15 08:00:00 UTC only"


def test_a_key_whose_period_of_use_has_not_begun_is_refused(p256):
    later = forged(p256, period=(x509.PrivateKeyUsagePeriod(NOW + timedelta(days=1), NOW + YEAR), False))
    assert refusal(later, p256.root) == "the key of it was to sign from 2027-01-16 08:00:00 UTC only"
    check(later, p256.root, at=NOW + timedelta(days=1))


def test_a_moment_is_the_same_in_every_time_zone(p256):
    tokyo = timezone(timedelta(hours=9))
    check(p256.leaves[Role.REPORT], p256.root, at=NOW.astimezone(tokyo))
    check(p256.leaves[Role.REPORT], p256.root, at=(NOW + YEAR).astimezone(tokyo))
    with pytest.raises(CertificateError, match="does not include"):
        check(p256.leaves[Role.REPORT], p256.root, at=(NOW - timedelta(seconds=1)).astimezone(tokyo))


def test_on_a_virtual_clock_certificates_live_for_seconds(p256):
    time = VirtualClock(start_ns=START * 1_000_000_000 + 999_999_999)
    brief = Lifetime(timedelta(seconds=10), timedelta(seconds=4))
    public = p256.keys[Role.REPORT].public_key()
    certificate = issue(
        Role.REPORT, public, identity="r", root_key=p256.key, root=p256.root, clock=time, lifetime=brief
    )
    assert moment(time) == certificate.not_valid_before_utc == NOW
    time.advance_ns(4_000_000_000)
    check(certificate, p256.root, at=moment(time))
    time.advance_ns(1_000_000_000)
    assert refusal(certificate, p256.root, at=moment(time)) == (
        "the key of it was to sign until 2027-01-15 08:00:04 UTC only"
    )
    time.advance_ns(6_000_000_000)
    assert refusal(certificate, p256.root, at=moment(time)) == (
        "it was valid from 2027-01-15 08:00:00 to 2027-01-15 08:00:10 UTC, which does not include 2027-01-15 08:00:11"
    )


def test_no_certificate_outlives_its_root():
    key = generate_key(KeyType.P256)
    root = issue_root(key, identity="brief", clock=clock(), lifetime=Lifetime(YEAR / 2, YEAR / 2))
    assert under(key, root).not_valid_after_utc == root.not_valid_after_utc == NOW + YEAR / 2
    expired = NOW + YEAR / 2 + timedelta(seconds=1)
    assert refusal(under(key, root), root, at=expired).startswith("the root was valid from 2027-01-15 08:00:00 to")


def test_lifetimes_are_those_of_the_design():
    assert {role: (lifetime.validity / YEAR, lifetime.use / YEAR) for role, lifetime in LIFETIMES.items()} == {
        Role.ROOT: (15, 15),
        Role.TIMESTAMP: (11, 1),
        Role.REPORT: (2, 1),
        Role.APPROVAL: (2, 1),
        Role.LEDGER: (2, 1),
    }


def purposes(*oids: str) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in oids])


ONE_PURPOSE = "it is not bound to exactly one purpose"
UNNAMED = "it does not name its key as urn:workbench:report:..."
UNRESTRICTED = "it does not restrict its key to signatures"
REPORT = USAGES[Role.REPORT]
URI = x509.UniformResourceIdentifier


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"purpose": (purposes(REPORT, USAGES[Role.LEDGER]), True)}, ONE_PURPOSE),
        ({"purpose": (purposes(REPORT, REPORT), True)}, ONE_PURPOSE),
        ({"purpose": (purposes(REPORT), False)}, ONE_PURPOSE),
        ({"purpose": ABSENT}, ONE_PURPOSE),
        ({"purpose": (purposes("1.3.6.1.5.5.7.3.1"), True)}, "it is for a purpose that is none of ours"),
        ({"purpose": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), True)}, "it is for a purpose that is none of ours"),
        ({"purpose": (purposes(USAGES[Role.LEDGER]), True)}, "it is a ledger key, not a report key"),
        ({"constraints": (x509.BasicConstraints(True, 0), True)}, "it is a root with another purpose"),
        ({"constraints": (x509.BasicConstraints(True, 0), True), "purpose": ABSENT}, "it is a root key, not a report key"),
        ({"constraints": (x509.BasicConstraints(False, None), False)}, "it does not say whether it is a root"),
        ({"constraints": ABSENT}, "it does not say whether it is a root"),
        ({"usage": ABSENT}, UNRESTRICTED),
        ({"usage": (key_usage(digital_signature=True), False)}, UNRESTRICTED),
        ({"usage": (key_usage(content_commitment=True), True)}, UNRESTRICTED),
        ({"usage": (key_usage(digital_signature=True, key_cert_sign=True), True)}, UNRESTRICTED),
        ({"names": ABSENT}, UNNAMED),
        ({"names": (x509.SubjectAlternativeName([x509.DNSName("urn:workbench:ledger:x")]), False)}, UNNAMED),
        ({"names": (x509.SubjectAlternativeName([URI("urn:workbench:ledger:report-1")]), False)}, UNNAMED),
        ({"names": (x509.SubjectAlternativeName([URI("urn:workbench:report:a"), URI("urn:workbench:report:b")]), False)}, UNNAMED),
        ({"names": (x509.SubjectAlternativeName([x509.RFC822Name("alice@example.org")]), False)}, UNNAMED),
        ({"start": NOW + timedelta(days=1)}, "it was valid from 2027-01-16 08:00:00 to 2029-01-14 08:00:00 UTC, which does not include 2027-01-15 08:00:00"),
        ({"start": NOW - 2 * YEAR, "end": NOW - YEAR}, "it was valid from 2025-01-15 08:00:00 to 2026-01-15 08:00:00 UTC, which does not include 2027-01-15 08:00:00"),
    ],
)  # fmt: skip
def test_a_certificate_that_is_wrong_in_one_thing_is_refused_for_that_thing(p256, changes, sentence):
    check(forged(p256), p256.root)
    assert refusal(forged(p256, **changes), p256.root) == sentence


@pytest.mark.parametrize(
    "make",
    [
        lambda: generate_key(KeyType.P256),
        lambda: generate_key(KeyType.RSA3072),
        ed448.Ed448PrivateKey.generate,
        lambda: dsa.generate_private_key(2048),
    ],
    ids=["p256", "rsa3072", "ed448", "dsa"],
)
def test_documents_are_signed_with_ed25519_keys_only(p256, make):
    wrong = forged(p256, public_key=make().public_key())
    assert refusal(wrong, p256.root) == "it holds a kind of key that report signatures are not made with"


def test_a_key_of_a_kind_that_cannot_be_read_is_refused(p256):
    der = p256.leaves[Role.REPORT].public_bytes(Encoding.DER)
    ed25519_identifier = bytes.fromhex("06032b6570")
    assert der.count(ed25519_identifier) == 1
    unknown = x509.load_der_x509_certificate(der.replace(ed25519_identifier, bytes.fromhex("06032b6579")))
    assert refusal(unknown, p256.root) == "the key of it cannot be read"
    with pytest.raises(CertificateError, match=r"cannot be read$"):
        spki(unknown)


def small_key(kind: str):
    if kind.startswith("rsa"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:]))
    return {
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "p224": lambda: ec.generate_private_key(ec.SECP224R1()),
    }[kind]()


@pytest.mark.parametrize("kind", ["ed25519", "rsa1024", "rsa2048", "p521", "k1", "p224"])
def test_timestamps_and_roots_are_made_with_keys_that_every_verifier_reads(p256, kind):
    key = small_key(kind)
    stamp = forged(p256, Role.TIMESTAMP, public_key=key.public_key())
    assert (
        refusal(stamp, p256.root, Role.TIMESTAMP)
        == "it holds a kind of key that timestamp signatures are not made with"
    )
    root = root_by(key)
    assert refusal(under(key, root), root) == "the root holds a kind of key that roots are not made with"


def test_a_p384_key_is_good_enough_for_both(p256):
    key = small_key("p384")
    check(forged(p256, Role.TIMESTAMP, public_key=key.public_key()), p256.root, Role.TIMESTAMP)
    root = root_by(key)
    check(under(key, root), root)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"constraints": ABSENT}, "the root does not say whether it is a root"),
        ({"constraints": (x509.BasicConstraints(True, 0), False)}, "the root does not say whether it is a root"),
        ({"constraints": (x509.BasicConstraints(False, None), True)}, "the root is not bound to exactly one purpose"),
        ({"purpose": (purposes(REPORT), True)}, "the root is a root with another purpose"),
        ({"usage": ABSENT}, "it was not issued by this root"),
        ({"usage": (key_usage(digital_signature=True), True)}, "it was not issued by this root"),
    ],
)
def test_a_root_that_is_none_is_refused(changes, sentence):
    key = generate_key(KeyType.P256)
    certificate = under(key, root_by(key))
    check(certificate, root_by(key))
    assert refusal(certificate, root_by(key, **changes)) == sentence


def test_a_leaf_is_no_root(p256):
    leaf = p256.leaves[Role.REPORT]
    assert refusal(leaf, leaf) == "it is not a root"


def test_a_changed_certificate_is_not_the_roots(p256):
    der = bytearray(p256.leaves[Role.REPORT].public_bytes(Encoding.DER))
    place = der.index(b"report-1")
    der[place : place + 8] = b"report-2"
    changed = x509.load_der_x509_certificate(bytes(der))
    assert refusal(changed, p256.root) == "it was not issued by this root"


def test_demonstration_keys_say_so_in_every_certificate():
    key = generate_key(KeyType.P256)
    root = issue_root(key, identity="demo", clock=clock(), demo=True)
    for certificate in (root, under(key, root)):
        assert is_demo(certificate)
        assert subject(certificate).endswith(f",O={DEMO_ORGANISATION}")
    check(under(key, root), root)


def test_certificates_are_written_and_read_in_order(one):
    certificates = [one.root, *one.leaves.values()]
    assert read_certificates(pem(*certificates)) == certificates
    assert pem(*read_certificates(pem(*certificates))) == pem(*certificates)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"\xff\xfe",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
)
def test_what_holds_no_certificate_is_refused(data):
    with pytest.raises(CertificateError, match=r"^the file holds no readable certificates in PEM form$"):
        read_certificates(data)


def test_a_certificate_of_a_version_that_does_not_exist_is_refused(p256):
    der = p256.root.public_bytes(Encoding.DER)
    assert der.count(bytes.fromhex("a003020102")) == 1
    encoded = base64.encodebytes(der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107")))
    with pytest.raises(CertificateError, match=r"^the file holds no readable certificates in PEM form$"):
        read_certificates(b"-----BEGIN CERTIFICATE-----\n" + encoded + b"-----END CERTIFICATE-----\n")


def test_a_root_without_exactly_one_name_has_no_identity():
    key = generate_key(KeyType.P256)
    for common_names in ([], ["workbench root a", "workbench root b"]):
        whole = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common) for common in common_names])
        root = (
            x509.CertificateBuilder(subject_name=whole, issuer_name=whole, public_key=key.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + YEAR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        with pytest.raises(CertificateError, match=r"does not have exactly one name$"):
            identity_of(root)
        assert not is_demo(root)


def test_extensions_that_cannot_be_read_are_refused_in_a_sentence(p256):
    der = p256.leaves[Role.REPORT].public_bytes(Encoding.DER)
    constraints = bytes.fromhex("0603551d130101ff04023000")
    assert der.count(constraints) == 1
    broken = x509.load_der_x509_certificate(der.replace(constraints, constraints[:-2] + b"\x31\x00"))
    for reading in (role_of, identity_of):
        with pytest.raises(CertificateError, match=r"^a certificate's extensions cannot be read$"):
            reading(broken)
    repeated = x509.load_der_x509_certificate(der.replace(bytes.fromhex("0603551d11"), bytes.fromhex("0603551d0e")))
    with pytest.raises(CertificateError, match=r"^a certificate's extensions cannot be read$"):
        role_of(repeated)


@pytest.mark.parametrize(
    ("kind", "expected"), [(KeyType.ED25519, "ed25519"), (KeyType.P256, "secp256r1"), (KeyType.RSA3072, "3072")]
)
def test_new_keys_are_of_the_kind_asked_for(kind, expected):
    key = generate_key(kind)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        assert key.curve.name == expected
    elif isinstance(key, rsa.RSAPrivateKey):
        assert (str(key.key_size), key.public_key().public_numbers().e) == (expected, 65537)
    else:
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        assert len(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)) == 32
