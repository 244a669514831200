"""A token is accepted only if everything about it is as it must be, and old tokens stay good."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
import rfc3161_client
from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import strategies as st

from workbench.errors import TimestampError
from workbench.evidence.certificates import KeyType, Role, generate_key, issue
from workbench.evidence.timestamps import (
    POLICY,
    Timestamp,
    TokenInvalidError,
    TokenMismatchError,
    check_response,
)

TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING
Make = Callable[[Any, Any], bytes]


def check(lab: Any, pki: Any, response: bytes, **options: Any) -> Timestamp:
    return check_response(response, options.pop("digest", lab.DIGEST), **{**pki.trust, **options})


def test_a_token_says_when_what_was_stamped_existed(lab, pki):
    assert check(lab, pki, lab.forge(pki, info={"nonce": 99})) == Timestamp(
        time=lab.NOW,
        serial=4711,
        certificate=pki.certificate,
        policy=POLICY,
        accuracy_s=1.0,
        nonce=99,
        imprint=lab.DIGEST,
        hash_name="sha256",
    )


def test_a_genuine_token_of_another_document_is_told_apart_from_a_damaged_one(lab, pki):
    other = hashlib.sha256(b"another report").digest()
    with pytest.raises(TokenMismatchError) as caught:
        check(lab, pki, lab.forge(pki, digest=other))
    assert str(caught.value) == (
        "the timestamp is genuine but belongs to another document: "
        f"it is over sha256 {other.hex()[:16]}, expected {lab.DIGEST.hex()[:16]}"
    )


def replaced(number: int, value: Callable[[Any, Any], cms.CMSAttribute] | None) -> Make:
    """A token whose signed attribute ``number`` is another, or missing."""

    def make(lab: Any, pki: Any) -> bytes:
        def change(attributes: list[Any]) -> list[Any]:
            rest = attributes[:number] + attributes[number + 1 :]
            return rest if value is None else [*rest, value(lab, pki)]

        return lab.forge(pki, attributes=change)

    return make


def with_usages(*usages: Any, critical: bool = True) -> Make:
    def make(lab: Any, pki: Any) -> bytes:
        return lab.forge(pki, certificate=pki.other_certificate(usages, critical=critical))

    return make


def forged(**options: Any) -> Make:
    return lambda lab, pki: lab.forge(pki, **options)


def at(days: float) -> Make:
    return lambda lab, pki: lab.forge(pki, at=lab.ISSUED + timedelta(days=days))


def edited_time(content: bytes) -> bytes:
    assert content.count(b"20260503120000Z") == 1
    return content.replace(b"20260503120000Z", b"20260403120000Z")


def other_half(signature: bytes) -> bytes:
    """The second valid form of the same ECDSA signature."""
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 - s)


def foreign(lab: Any, pki: Any) -> bytes:
    """An attacker's own CA and authority, both embedded."""
    theirs = type(pki).new()
    return lab.forge(theirs, embedded=[theirs.certificate, theirs.root])


def foreign_with_our_certificate(lab: Any, pki: Any) -> bytes:
    """Our certificate, and a signature by somebody else."""
    theirs = type(pki).new()
    return lab.forge(type(pki)(pki.root_key, pki.root, theirs.key, pki.certificate))


def report_key(lab: Any, pki: Any) -> bytes:
    """An Ed25519 report key that signs a timestamp."""
    key = generate_key(KeyType.ED25519)
    certificate = issue(
        Role.REPORT,
        key.public_key(),
        identity="report",
        root_key=pki.root_key,
        root=pki.root,
        clock=lab.clock_at(lab.ISSUED),
    )
    return lab.forge(type(pki)(pki.root_key, pki.root, key, certificate))


def renamed(lab: Any, pki: Any) -> bytes:
    """The issuer's name in other letters: equal by the rules for names, so bytes must be compared."""
    parsed = asn1_x509.Certificate.load(pki.certificate.public_bytes(Encoding.DER))
    name = asn1_x509.Name.load(parsed.issuer.dump().replace(b"workbench root", b"WORKBENCH root"))
    return lab.forge(
        pki,
        signer={
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                        {"issuer": name, "serial_number": parsed.serial_number}
                    )
                }
            )
        },
    )


EXTENSION = {"extn_id": "1.2.3.4", "critical": False, "extn_value": b"\x05\x00"}
SHA512 = algos.DigestAlgorithm({"algorithm": "sha512"})
MATRIX: dict[str, tuple[Make, str]] = {
    "no signingCertificateV2": (replaced(3, None), "attributes that the local authority writes"),
    "signingCertificateV2 of another": (
        replaced(3, lambda lab, pki: lab.signing_certificate(pki.certificate, bytes(32))),
        "signed for another certificate",
    ),
    "signingCertificateV2 twice": (
        lambda lab, pki: lab.forge(pki, attributes=lambda a: [*a, lab.signing_certificate(pki.certificate, bytes(32))]),
        "there twice",
    ),
    "EKU not critical": (with_usages(TIME_STAMPING, critical=False), "another authority"),
    "two EKUs": (with_usages(TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING), "another authority"),
    "the key's time was over": (at(400), "may sign from 2026-03-02 09:00:00 to 2027-03-02"),
    "the certificate had expired": (at(11 * 365 + 1), "which does not include 2037-02-28"),
    "before the certificate": (at(-1), "which does not include 2026-03-01 09:00:00"),
    "two SignerInfos": (forged(signers=2), "exactly one signer"),
    "no SignerInfo": (forged(signers=0), "exactly one signer"),
    "no messageDigest": (replaced(1, None), "attributes that the local authority writes"),
    "messageDigest of another": (
        replaced(1, lambda lab, pki: lab.attribute("message_digest", bytes(32))),
        "content is not what was signed",
    ),
    "no contentType": (replaced(0, None), "attributes that the local authority writes"),
    "another contentType": (replaced(0, lambda lab, pki: lab.attribute("content_type", "data")), "not what was signed"),
    "no signingTime": (replaced(2, None), "attributes that the local authority writes"),
    "imprint swapped": (
        lambda lab, pki: lab.forge(pki, content_after=lambda content: content.replace(lab.DIGEST, bytes(32))),
        "content is not what was signed",
    ),
    "genTime edited": (forged(content_after=edited_time), "content is not what was signed"),
    "bytes after the response": (lambda lab, pki: lab.forge(pki) + b"\0", "does not follow its format"),
    "bytes after the content": (forged(content_after=lambda content: content + b"\0"), "does not follow its format"),
    "cut off": (lambda lab, pki: lab.forge(pki)[:-1], "does not follow its format"),
    "empty": (lambda lab, pki: b"", "does not follow its format"),
    "too long": (lambda lab, pki: lab.forge(pki) + bytes(70_000), "does not follow its format"),
    "rejection with a token": (forged(status={"status": "rejection"}), "answered rejection"),
    "rejection": (
        lambda lab, pki: pki.authority().respond(b"?"),
        "answered rejection: this is not a timestamp request",
    ),
    "granted with changes": (forged(status={"status": "granted_with_mods"}), "answered granted_with_mods"),
    "granted with a reason for refusal": (
        forged(status={"status": "granted", "fail_info": {"bad_alg"}}),
        "with a reason for refusal",
    ),
    "granted with a remark": (forged(status={"status": "granted", "status_string": ["ok"]}), "re-encoded"),
    "foreign authority and root embedded": (foreign, "signed by another authority"),
    "a stranger's signature": (foreign_with_our_certificate, "signed with another key"),
    "a stray certificate embedded": (
        lambda lab, pki: lab.forge(pki, embedded=[pki.certificate, pki.root]),
        "carries other certificates",
    ),
    "another certificate of the same key": (with_usages(TIME_STAMPING), "signed by another authority"),
    "a report key": (report_key, "signed by another authority"),
    "the issuer's name in capitals": (renamed, "signed by another authority"),
    "the other half of the signature": (forged(signature=other_half), "re-encoded"),
    "SignedData version 1": (
        lambda lab, pki: lab.forge(pki).replace(b"\x02\x01\x03\x31", b"\x02\x01\x01\x31"),
        "form of RFC 3161",
    ),
    "SignedData version 4": (forged(signed={"version": "v4"}), "form of RFC 3161"),
    "SignerInfo version 3": (forged(signer={"version": "v3"}), "signed by another authority"),
    "TSTInfo version 2": (forged(info={"version": "v2"}), "not over a SHA-256"),
    "another digest beside": (
        forged(signed={"digest_algorithms": [algos.DigestAlgorithm({"algorithm": "sha256"}), SHA512]}),
        "SHA-512 alone",
    ),
    "an unsigned attribute": (
        lambda lab, pki: lab.forge(pki, signer={"unsigned_attrs": [lab.attribute("message_digest", b"x")]}),
        "attributes that the local authority writes",
    ),
    "an imprint of the wrong length": (forged(digest=bytes(31)), "not over a SHA-256"),
    "an imprint by SHA-1": (
        forged(info={"message_imprint": {"hash_algorithm": {"algorithm": "sha1"}, "hashed_message": bytes(20)}}),
        "not over a SHA-256",
    ),
    "an extension": (forged(info={"extensions": [EXTENSION]}), "an extension that is not understood: 1.2.3.4"),
    "an accuracy out of range": (forged(info={"accuracy": {"seconds": 1, "millis": 1000}}), "accuracy is out of range"),
    "another policy": (forged(info={"policy": "1.2.3"}), "re-encoded"),
    "a list of revocations": (forged(signed={"crls": []}), "re-encoded"),
}


@pytest.mark.parametrize(("make", "reason"), MATRIX.values(), ids=MATRIX)
def test_a_token_with_one_thing_wrong_is_refused(lab, pki, make, reason):
    with pytest.raises(TokenInvalidError, match=reason):
        check(lab, pki, make(lab, pki))


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    ("usages", "critical"),
    [([TIME_STAMPING], False), ([TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING], True)],
    ids=["EKU not critical", "two EKUs"],
)
def test_a_certificate_that_is_not_for_timestamps_alone_is_refused_even_when_expected(
    lab, pki, usages, critical, local
):
    certificate = pki.other_certificate(usages, critical=critical)
    with pytest.raises(TokenInvalidError, match="not for timestamps, and for nothing else"):
        check(lab, pki, lab.forge(pki, certificate=certificate), certificate=certificate, local=local)


def test_a_report_key_is_refused_even_when_expected(lab, pki):
    key = generate_key(KeyType.ED25519)
    certificate = issue(
        Role.REPORT,
        key.public_key(),
        identity="r",
        root_key=pki.root_key,
        root=pki.root,
        clock=lab.clock_at(lab.ISSUED),
    )
    theirs = type(pki)(pki.root_key, pki.root, key, certificate)
    for local, reason in ((True, "cannot sign timestamps"), (False, "not for timestamps")):
        with pytest.raises(TokenInvalidError, match=reason):
            check(lab, theirs, lab.forge(theirs), local=local)


def test_another_root_is_refused_whether_local_or_not(lab, pki, rsa_pki):
    for local, reason in ((True, "not issued by this root"), (False, "leads to none of the 1 root")):
        with pytest.raises(TokenInvalidError, match=reason):
            check(lab, pki, lab.forge(pki), root=rsa_pki.root, local=local)


def test_a_foreign_root_is_no_anchor_when_it_comes_as_an_intermediate(lab, pki, rsa_pki):
    with pytest.raises(TokenInvalidError, match="leads to none of the 1 root"):
        check(lab, pki, lab.forge(pki), root=rsa_pki.root, intermediates=[pki.root], local=False)


def test_a_token_stays_good_after_its_certificate_has_expired(lab, expired_pki):
    """Now is after 2020; what counts is the time in the token."""
    assert expired_pki.certificate.not_valid_after_utc < datetime.now(UTC)
    response = lab.forge(expired_pki, at=datetime(2010, 6, 1, tzinfo=UTC))
    assert check(lab, expired_pki, response).time == datetime(2010, 6, 1, tzinfo=UTC)


@pytest.fixture
def expired_pki(lab, pki, monkeypatch):
    monkeypatch.setattr(lab, "ISSUED", datetime(2009, 12, 1, tzinfo=UTC))
    return type(pki).new()


def test_a_token_from_the_future_is_left_to_the_caller(lab, pki):
    """Verification reads no clock; who has one compares."""
    late = lab.ISSUED + timedelta(days=364)
    assert check(lab, pki, lab.forge(pki, at=late)).time == late


def test_a_token_without_the_certificate_is_good_as_the_certificate_is_known(lab, pki):
    assert check(lab, pki, lab.forge(pki, embedded=[])) == check(lab, pki, lab.forge(pki))


def test_the_nonce_must_be_the_one_that_was_sent(lab, pki):
    response = lab.forge(pki, info={"nonce": 5})
    assert check(lab, pki, response, nonce=5).nonce == check(lab, pki, response).nonce == 5
    for made, nonce in ((response, 6), (lab.forge(pki), 5)):
        with pytest.raises(TokenInvalidError, match="its nonce is not the one that was sent"):
            check(lab, pki, made, nonce=nonce)


def test_the_client_library_alone_would_accept_a_token_bound_to_another_certificate(lab, pki):
    """Why ``signingCertificateV2`` is checked here: rfc3161-client does not."""
    response = replaced(3, lambda lab, pki: lab.signing_certificate(pki.certificate, bytes(32)))(lab, pki)
    verifier = rfc3161_client.VerifierBuilder(tsa_certificate=pki.certificate, roots=[pki.root]).build()
    assert verifier.verify(rfc3161_client.decode_timestamp_response(response), lab.DIGEST)


def external(lab: Any, pki: Any, response: bytes) -> Timestamp:
    return check(lab, pki, response, local=False)


def test_what_rfc_3161_leaves_open_is_open_for_an_authority_outside(lab, pki):
    response = lab.forge(
        pki,
        info={
            "policy": "1.2.3",
            "accuracy": {"millis": 500, "micros": 20},
            "ordering": True,
            "extensions": [EXTENSION],
            "tsa": asn1_x509.GeneralName(name="uniform_resource_identifier", value="https://example.org"),
        },
        embedded=[pki.certificate, pki.root],
        attributes=lambda attributes: attributes[:2] + attributes[3:],
        status={"status": "granted", "status_string": ["Operation Okay"]},
    )
    found = external(lab, pki, response)
    assert (found.time, found.policy, found.accuracy_s) == (lab.NOW, "1.2.3", 0.50002)


def test_an_authority_outside_may_bind_its_certificate_in_the_old_way(lab, pki):
    def old(digest: bytes) -> Callable[[list[Any]], list[Any]]:
        value = tsp.SigningCertificate({"certs": [tsp.ESSCertID({"cert_hash": digest})]})
        return lambda attributes: [*attributes[:3], lab.attribute("signing_certificate", value)]

    right = hashlib.sha1(pki.certificate.public_bytes(Encoding.DER)).digest()
    assert external(lab, pki, lab.forge(pki, attributes=old(right))).time == lab.NOW
    with pytest.raises(TokenInvalidError, match="signed for another certificate"):
        external(lab, pki, lab.forge(pki, attributes=old(bytes(20))))


def test_a_time_with_fractions_of_a_second_is_read_from_an_authority_outside(lab, pki):
    exact = datetime(2026, 5, 3, 12, 0, 0, 250_000, tzinfo=UTC)
    response = lab.forge(pki, info={"gen_time": core.GeneralizedTime(exact)})
    assert external(lab, pki, response).time == exact
    with pytest.raises(TokenInvalidError, match="its time is not in the form"):
        check(lab, pki, response)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no signingCertificateV2", "does not say which certificate"),
        ("signingCertificateV2 of another", "signed for another certificate"),
        ("no messageDigest", "lacks a signed attribute"),
        ("no contentType", "lacks a signed attribute"),
        ("two SignerInfos", "exactly one signer"),
        ("foreign authority and root embedded", "signed by another authority"),
        ("a stranger's signature", "signed with another key"),
        ("genTime edited", "content is not what was signed"),
        ("granted with changes", "answered granted_with_mods"),
        ("rejection with a token", "answered rejection"),
        ("before the certificate", "may sign from"),
        ("the key's time was over", "may sign from"),
        ("bytes after the response", "does not follow its format"),
    ],
)
def test_what_matters_is_refused_from_an_authority_outside_as_well(lab, pki, name, reason):
    with pytest.raises(TokenInvalidError, match=reason):
        external(lab, pki, MATRIX[name][0](lab, pki))


def test_a_critical_extension_is_refused_from_an_authority_outside(lab, pki):
    with pytest.raises(TokenInvalidError, match="an extension that is not understood"):
        external(lab, pki, lab.forge(pki, info={"extensions": [{**EXTENSION, "critical": True}]}))


@pytest.mark.parametrize("which", ["pki", "rsa_pki"])
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_no_byte_of_a_token_can_be_changed(lab, request, which, mask):
    pki = request.getfixturevalue(which)
    genuine = pki.authority().stamp(lab.DIGEST)
    accepted = []
    for place in range(len(genuine)):
        changed = bytearray(genuine)
        changed[place] ^= mask
        try:
            check(lab, pki, bytes(changed))
        except TimestampError:
            continue
        accepted.append(place)
    assert accepted == []


@pytest.fixture(scope="module")
def genuine(lab, pki) -> bytes:
    return lab.forge(pki)


@hypothesis.given(start=st.floats(0, 1), cut=st.integers(0, 40), put=st.binary(max_size=60), whole=st.booleans())
@hypothesis.settings(max_examples=300, deadline=None)
def test_no_bytes_raise_anything_but_a_timestamp_error(lab, pki, genuine, start, cut, put, whole):
    place = int(start * len(genuine))
    changed = (genuine[:place] if whole else b"") + put + genuine[place + cut :]
    hypothesis.assume(changed != genuine)
    for local in (True, False):
        with pytest.raises(TimestampError):
            check(lab, pki, changed, local=local)


def test_deep_nesting_is_refused(lab, pki):
    deep = b""
    for _ in range(5000):
        deep = b"\x30\x84" + len(deep).to_bytes(4, "big") + deep
    with pytest.raises(TokenInvalidError, match="does not follow its format"):
        check(lab, pki, deep)
