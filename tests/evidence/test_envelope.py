"""A signed statement has one spelling, is what other DSSE programs accept too, and bears no change at all."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from workbench.clock import VirtualClock
from workbench.errors import EvidenceError, MalformedError
from workbench.evidence.certificates import KeyType, Role, fingerprint, generate_key, issue, issue_root
from workbench.evidence.envelope import PAYLOAD_TYPE, STATEMENT_TYPE, Envelope, pre_authentication_encoding
from workbench.files import canonical_json

CLOCK = VirtualClock(start_ns=1_800_000_000_000_000_000)
ROOT_KEY = generate_key(KeyType.P256)
ROOT = issue_root(ROOT_KEY, identity="test", clock=CLOCK)
STATEMENT = {
    "_type": STATEMENT_TYPE,
    "subject": [{"name": "report.html", "digest": {"sha256": "0" * 64}}],
    "predicateType": "https://example.org/attestations/research-report/v1",
    "predicate": {"title": "Größe"},
}


def key_and_certificate(byte: int, identity: str):
    key = Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32)
    certificate = issue(Role.REPORT, key.public_key(), identity=identity, root_key=ROOT_KEY, root=ROOT, clock=CLOCK)
    return key, certificate


KEY, CERTIFICATE = key_and_certificate(1, "report-1")
OTHER_KEY, OTHER_CERTIFICATE = key_and_certificate(2, "report-2")
ENVELOPE = Envelope.sign(STATEMENT, KEY, CERTIFICATE)
WRITTEN = bytes(ENVELOPE)


def theirs(certificate) -> SSlibKey:
    public = certificate.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    return SSlibKey(fingerprint(certificate), "ed25519", "ed25519", {"public": public})


def edited(**changes) -> bytes:
    return canonical_json({**json.loads(WRITTEN), **changes})


def refusal(data: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        Envelope.read(data)
    return str(caught.value)


def test_what_is_signed_is_the_encoding_of_the_specification():
    payload = b'{"a":"\xc3\xa9"}'
    assert pre_authentication_encoding(payload) == b'DSSEv1 28 application/vnd.in-toto+json 10 {"a":"\xc3\xa9"}'
    assert pre_authentication_encoding(b"") == b"DSSEv1 28 application/vnd.in-toto+json 0 "
    assert pre_authentication_encoding(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    for payload in (b"", b"{}", b" 1 2 ", bytes(256), WRITTEN):
        assert OtherEnvelope(payload, PAYLOAD_TYPE, {}).pae() == pre_authentication_encoding(payload)


def test_an_envelope_has_exactly_these_bytes():
    payload = canonical_json(STATEMENT)
    signature = KEY.sign(b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload))
    assert WRITTEN.decode() == (
        f'{{"payload":"{base64.b64encode(payload).decode()}","payloadType":"application/vnd.in-toto+json",'
        f'"signatures":[{{"keyid":"{fingerprint(CERTIFICATE)}","sig":"{base64.b64encode(signature).decode()}"}}]}}'
    )


def test_an_envelope_is_read_verified_and_understood():
    read = Envelope.read(WRITTEN)
    assert read == ENVELOPE
    assert bytes(read) == WRITTEN
    read.verify(CERTIFICATE)
    assert read.statement() == STATEMENT


def test_securesystemslib_verifies_what_we_sign():
    envelope = OtherEnvelope.from_dict(json.loads(WRITTEN))
    key = theirs(CERTIFICATE)
    assert envelope.payload == ENVELOPE.payload
    assert envelope.verify([key], 1) == {fingerprint(CERTIFICATE): key}


def test_we_and_securesystemslib_refuse_the_same_changes():
    changed_payload = {**json.loads(WRITTEN), "payload": base64.b64encode(ENVELOPE.payload + b" ").decode()}
    with pytest.raises(VerificationError):
        OtherEnvelope.from_dict(json.loads(json.dumps(changed_payload))).verify([theirs(CERTIFICATE)], 1)
    with pytest.raises(EvidenceError, match="does not belong"):
        Envelope.read(canonical_json(changed_payload)).verify(CERTIFICATE)
    with pytest.raises(VerificationError):
        OtherEnvelope.from_dict({**json.loads(WRITTEN), "payloadType": "text/plain"}).verify([theirs(CERTIFICATE)], 1)
    with pytest.raises(VerificationError):
        OtherEnvelope.from_dict(json.loads(WRITTEN)).verify([theirs(OTHER_CERTIFICATE)], 1)


def test_what_securesystemslib_writes_of_ours_has_our_bytes():
    assert canonical_json(OtherEnvelope.from_dict(json.loads(WRITTEN)).to_dict()) == WRITTEN


def test_a_changed_payload_does_not_carry_the_signature():
    other = canonical_json({**STATEMENT, "predicate": {}})
    for payload in (other, ENVELOPE.payload + b"\n", ENVELOPE.payload[:-1], b""):
        changed = Envelope(payload, ENVELOPE.keyid, ENVELOPE.signature)
        with pytest.raises(EvidenceError, match=r"^the signature does not belong to this payload and this key$"):
            Envelope.read(bytes(changed)).verify(CERTIFICATE)


def test_the_signature_of_another_payload_is_refused():
    other = Envelope.sign({**STATEMENT, "predicate": {}}, KEY, CERTIFICATE)
    swapped = Envelope(ENVELOPE.payload, ENVELOPE.keyid, other.signature)
    with pytest.raises(EvidenceError, match=r"^the signature does not belong to this payload and this key$"):
        swapped.verify(CERTIFICATE)


def test_the_bare_payload_is_not_what_is_signed():
    bare = Envelope(ENVELOPE.payload, ENVELOPE.keyid, KEY.sign(ENVELOPE.payload))
    with pytest.raises(EvidenceError, match=r"^the signature does not belong"):
        bare.verify(CERTIFICATE)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), ENVELOPE.signature + b"\0"])
def test_a_signature_of_any_length_that_is_none_is_refused(signature):
    wrong = Envelope(ENVELOPE.payload, ENVELOPE.keyid, signature)
    with pytest.raises(EvidenceError, match=r"^the signature does not belong"):
        Envelope.read(bytes(wrong)).verify(CERTIFICATE)


def test_a_signature_with_the_order_of_the_group_added_is_refused():
    """Ed25519 is malleable unless S < L is checked (RFC 8032, section 5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    again = int.from_bytes(ENVELOPE.signature[32:], "little") + order
    forged = Envelope(ENVELOPE.payload, ENVELOPE.keyid, ENVELOPE.signature[:32] + again.to_bytes(32, "little"))
    with pytest.raises(EvidenceError, match=r"^the signature does not belong"):
        forged.verify(CERTIFICATE)


def test_another_certificate_is_refused_even_if_its_key_signed():
    unnamed = f"^the envelope does not name the certificate {fingerprint(OTHER_CERTIFICATE)[:16]} as its signer's$"
    with pytest.raises(EvidenceError, match=unnamed):
        ENVELOPE.verify(OTHER_CERTIFICATE)
    misnamed = Envelope(ENVELOPE.payload, fingerprint(OTHER_CERTIFICATE), ENVELOPE.signature)
    with pytest.raises(EvidenceError, match=r"^the signature does not belong"):
        misnamed.verify(OTHER_CERTIFICATE)


@pytest.mark.parametrize(
    "keyid",
    ["", "0" * 64, fingerprint(CERTIFICATE).upper(), fingerprint(CERTIFICATE) + "\n"],
    ids=["none", "zeros", "in capitals", "with a line end"],
)
def test_a_changed_key_id_makes_no_second_valid_envelope(keyid):
    second = Envelope.read(bytes(Envelope(ENVELOPE.payload, keyid, ENVELOPE.signature)))
    with pytest.raises(EvidenceError, match=r"^the envelope does not name the certificate"):
        second.verify(CERTIFICATE)


def test_a_certificate_with_another_kind_of_key_verifies_no_document():
    key = generate_key(KeyType.P256)
    stamp = issue(Role.TIMESTAMP, key.public_key(), identity="tsa", root_key=ROOT_KEY, root=ROOT, clock=CLOCK)
    wrong = Envelope(ENVELOPE.payload, fingerprint(stamp), ENVELOPE.signature)
    with pytest.raises(EvidenceError, match=r"^documents are signed with Ed25519 keys, and this is none$"):
        wrong.verify(stamp)


ONE = json.loads(WRITTEN)["signatures"][0]
PADDED = base64.b64encode(b"\xff\xfe\xfd\xfc").decode()  # "//79/A==": has both letters that the URL-safe alphabet lacks
KEYS = "the envelope does not have exactly the keys payload, payloadType and signatures"
EXACTLY_ONE = "the envelope does not have exactly one signature"
SIGNATURE_KEYS = "the signature of the envelope does not have exactly the keys keyid and sig"
TYPE = "the envelope holds another type of payload than application/vnd.in-toto+json"
ONE_WAY = "the envelope is not written in the one way that is signed and logged"
BASE64 = "the payload of the envelope is not standard base64"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (edited(payloadType="application/json"), TYPE),
        (edited(payloadType="application/vnd.in-toto+json "), TYPE),
        (edited(payloadType="Application/vnd.in-toto+json"), TYPE),
        (edited(payloadType=None), TYPE),
        (edited(signatures=[]), EXACTLY_ONE),
        (edited(signatures=[ONE, ONE]), EXACTLY_ONE),
        (edited(signatures={}), EXACTLY_ONE),
        (edited(signatures=ONE), EXACTLY_ONE),
        (edited(signatures=None), EXACTLY_ONE),
        (edited(signatures=["x"]), SIGNATURE_KEYS),
        (edited(signatures=[{"sig": ONE["sig"]}]), SIGNATURE_KEYS),
        (edited(signatures=[{**ONE, "cert": ""}]), SIGNATURE_KEYS),
        (edited(signatures=[{**ONE, "keyid": 1}]), "the key id of the envelope is not a text"),
        (edited(signatures=[{**ONE, "keyid": None}]), "the key id of the envelope is not a text"),
        (edited(signatures=[{**ONE, "sig": None}]), "the signature of the envelope is not a text"),
        (edited(signatures=[{**ONE, "sig": ONE["sig"][:-1]}]), "the signature of the envelope is not standard base64"),
        (edited(signatures=[{**ONE, "sig": ONE["sig"] + "\n"}]), "the signature of the envelope is not standard base64"),
        (edited(extra=1), KEYS),
        (canonical_json({"payload": "", "payloadType": PAYLOAD_TYPE}), KEYS),
        (b"{}", KEYS),
        (b"[]", "the envelope is not a JSON object"),
        (b"", "the envelope is not valid JSON"),
        (b"null", "the envelope is not a JSON object"),
        (WRITTEN[:-1], "the envelope is not valid JSON"),
        (WRITTEN + b"x", "the envelope is not valid JSON"),
        (WRITTEN + WRITTEN, "the envelope is not valid JSON"),
        (WRITTEN[:-1] + b',"payload":""}', "the envelope has the key 'payload' twice"),
        (WRITTEN.replace(b'"sig":', b'"sig":"","sig":'), "the envelope has the key 'sig' twice"),
        (edited(payload=PADDED.replace("/", "_")), BASE64),
        (edited(payload=PADDED.rstrip("=")), BASE64),
        (edited(payload=PADDED + "="), BASE64),
        (edited(payload=PADDED[:4] + "\n" + PADDED[4:]), BASE64),
        (edited(payload="//79/B=="), BASE64),
        (edited(payload={}), "the payload of the envelope is not a text"),
        (b"\xef\xbb\xbf" + WRITTEN, "the envelope begins with a byte order mark"),
        (WRITTEN.decode().encode("utf-16"), "the envelope is not UTF-8"),
        (WRITTEN + b"\n", ONE_WAY),
        (b" " + WRITTEN, ONE_WAY),
        (WRITTEN.replace(b'":"', b'": "'), ONE_WAY),
        (json.dumps(json.loads(WRITTEN), indent=2).encode(), ONE_WAY),
        (json.dumps(dict(reversed(json.loads(WRITTEN).items())), separators=(",", ":")).encode(), ONE_WAY),
        (WRITTEN.replace(b"payloadType", b"payload\\u0054ype"), ONE_WAY),
        (WRITTEN.replace(b"application/", b"application\\/"), ONE_WAY),
    ],
)  # fmt: skip
def test_an_envelope_of_any_other_form_is_refused(data, sentence):
    assert data != WRITTEN
    assert refusal(data) == sentence


def test_both_letters_that_url_safe_base64_lacks_are_read():
    assert Envelope.read(edited(payload=PADDED)).payload == b"\xff\xfe\xfd\xfc"


def test_no_flipped_bit_leaves_a_valid_envelope():
    for place in range(len(WRITTEN)):
        for bit in range(8):
            changed = WRITTEN[:place] + bytes([WRITTEN[place] ^ 1 << bit]) + WRITTEN[place + 1 :]
            with pytest.raises(EvidenceError):
                Envelope.read(changed).verify(CERTIFICATE)


def test_an_envelope_beyond_the_limit_is_not_even_parsed():
    assert refusal(b"\xff" * (64 * 2**20 + 1)) == "the envelope is larger than 64 MiB"


def test_messages_name_the_document_that_was_asked_for():
    with pytest.raises(MalformedError, match=r"^approval-1 has the key 'a' twice$"):
        Envelope.read(b'{"a":1,"a":2}', what="approval-1")
    with pytest.raises(MalformedError, match=r"^the payload of approval-1 is not standard base64$"):
        Envelope.read(edited(payload="="), what="approval-1")


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"{}", "the report does not have exactly the keys of an in-toto statement"),
        (canonical_json({**STATEMENT, "more": 1}), "the report does not have exactly the keys of an in-toto statement"),
        (canonical_json({**STATEMENT, "_type": "https://in-toto.io/Statement/v0.1"}), "the report is not an in-toto Statement v1"),
        (canonical_json({**STATEMENT, "_type": [STATEMENT_TYPE]}), "the report is not an in-toto Statement v1"),
        (b"[]", "the report is not a JSON object"),
        (b"\xff", "the report is not UTF-8"),
        (b'{"_type":1,"_type":2}', "the report has the key '_type' twice"),
        (canonical_json(STATEMENT) + b"x", "the report is not valid JSON"),
    ],
)  # fmt: skip
def test_a_payload_that_is_no_statement_is_refused(payload, sentence):
    with pytest.raises(MalformedError) as caught:
        Envelope(payload, "", b"").statement(what="the report")
    assert str(caught.value) == sentence
