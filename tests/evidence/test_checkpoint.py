"""Checkpoints and proofs are exactly those of C2SP: written to the byte, read strictly, believed only when signed."""

import base64
import hashlib
from dataclasses import replace

import hypothesis
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import strategies as st

from workbench.errors import EvidenceError, MalformedError
from workbench.evidence.checkpoint import Checkpoint, Proof, SignedCheckpoint, key_id
from workbench.evidence.merkle import Tree, leaf_hash, verify_inclusion

ORIGIN = "workbench/ledger/1f0c"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
ROOT = hashlib.sha256(b"root").digest()
CHECKPOINT = Checkpoint(ORIGIN, 29, ROOT)
NOTE = CHECKPOINT.sign(KEY)
DASH = "\u2014".encode()

# The key and note of golang.org/x/mod/sumdb/note, its reference implementation.
GO_NAME = "PeterNeumann"
GO_KEY = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
GO_PRIVATE = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
GO_TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = base64.b64decode(
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


def raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def line(name: str, signature: bytes) -> bytes:
    return b"%s %s %s\n" % (DASH, name.encode(), base64.b64encode(signature))


def cosignature(number: int = 1) -> bytes:
    """A line as a witness adds it: Ed25519 of type 0x04, a time of 8 bytes before the signature."""
    return line(f"witness-{number}.example", bytes([number]) * 4 + bytes(8) + bytes([number]) * 64)


def refusal(data: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        SignedCheckpoint.read(data)
    return str(caught.value)


def refusal_of_proof(data: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        Proof.read(data)
    return str(caught.value)


def test_the_key_id_is_the_reference_implementations():
    key = Ed25519PublicKey.from_public_bytes(GO_KEY[1:])
    assert GO_KEY[:1] == b"\x01"
    assert key_id(GO_NAME, key).hex() == "c74f20a3"
    assert GO_SIGNATURE[:4] == key_id(GO_NAME, key)
    key.verify(GO_SIGNATURE[4:], GO_TEXT)


def test_the_reference_key_signs_a_checkpoint_as_the_reference_would():
    key = Ed25519PrivateKey.from_private_bytes(GO_PRIVATE[1:])
    note = Checkpoint(GO_NAME, 0, hashlib.sha256(b"").digest()).sign(key)
    body = b"PeterNeumann\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    signature = base64.b64encode(bytes.fromhex("c74f20a3") + key.sign(body))
    assert note == body + b"\n\xe2\x80\x94 PeterNeumann " + signature + b"\n"
    # The same key over the published text gives the published signature: Ed25519 leaves no choice.
    assert bytes.fromhex("c74f20a3") + key.sign(GO_TEXT) == GO_SIGNATURE


def test_a_signed_checkpoint_has_exactly_these_bytes():
    by_hand = hashlib.sha256(ORIGIN.encode() + b"\x0a" + b"\x01" + raw(KEY.public_key())).digest()[:4]
    body = b"workbench/ledger/1f0c\n29\n" + base64.b64encode(ROOT) + b"\n"
    assert CHECKPOINT.body == body
    assert key_id(ORIGIN, KEY.public_key()) == by_hand
    assert body + b"\n" + line(ORIGIN, by_hand + KEY.sign(body)) == NOTE
    assert SignedCheckpoint.read(NOTE) == SignedCheckpoint(CHECKPOINT, ((ORIGIN, by_hand + KEY.sign(body)),))
    assert SignedCheckpoint.read(NOTE).verify(KEY.public_key()) == CHECKPOINT


def test_witnesses_cosignatures_are_passed_over():
    for note in (
        NOTE + cosignature(),
        NOTE.replace(b"\n\n", b"\n\n" + cosignature()),
        NOTE.replace(b"\n\n", b"\n\n" + cosignature(2)) + b"".join(map(cosignature, range(3, 17))),
    ):
        assert SignedCheckpoint.read(note).verify(KEY.public_key()) == CHECKPOINT


def test_an_unknown_key_may_sign_in_the_origins_name_beside_the_known_one():
    both = NOTE + line(ORIGIN, key_id(ORIGIN, OTHER_KEY.public_key()) + OTHER_KEY.sign(CHECKPOINT.body))
    read = SignedCheckpoint.read(both)
    for keys in ((KEY,), (OTHER_KEY,), (KEY, OTHER_KEY)):
        assert read.verify(*(key.public_key() for key in keys)) == CHECKPOINT


def test_without_a_signature_of_a_known_key_nothing_is_believed():
    unsigned = "^the checkpoint is not signed by a key of this log$"
    only_witnesses = CHECKPOINT.body + b"\n" + cosignature()
    in_anothers_name = (
        CHECKPOINT.body + b"\n" + line("other", key_id("other", KEY.public_key()) + KEY.sign(CHECKPOINT.body))
    )
    with pytest.raises(EvidenceError, match=unsigned):
        SignedCheckpoint.read(NOTE).verify(OTHER_KEY.public_key())
    with pytest.raises(EvidenceError, match=unsigned):
        SignedCheckpoint.read(NOTE).verify()
    with pytest.raises(EvidenceError, match=unsigned):
        SignedCheckpoint.read(only_witnesses).verify(KEY.public_key())
    with pytest.raises(EvidenceError, match=unsigned):
        SignedCheckpoint.read(in_anothers_name).verify(KEY.public_key())


@pytest.mark.parametrize(
    "changed",
    [
        NOTE.replace(b"\n29\n", b"\n30\n"),
        NOTE.replace(base64.b64encode(ROOT), base64.b64encode(bytes(32))),
        Checkpoint(ORIGIN, 30, ROOT).body + NOTE[len(CHECKPOINT.body) :],
    ],
)
def test_a_changed_checkpoint_does_not_carry_its_signature(changed):
    with pytest.raises(EvidenceError, match=r"^the checkpoint's signature does not belong to it$"):
        SignedCheckpoint.read(changed).verify(KEY.public_key())


def test_another_origin_is_another_log():
    moved = NOTE.replace(ORIGIN.encode(), b"workbench/ledger/0000")
    with pytest.raises(EvidenceError, match=r"^the checkpoint is not signed by a key of this log$"):
        SignedCheckpoint.read(moved).verify(KEY.public_key())
    only_the_body = NOTE.replace(ORIGIN.encode(), b"workbench/ledger/0000", 1)
    with pytest.raises(EvidenceError, match=r"^the checkpoint is not signed by a key of this log$"):
        SignedCheckpoint.read(only_the_body).verify(KEY.public_key())


@pytest.mark.parametrize("length", [1, 32, 63, 65, 128])
def test_a_signature_of_another_length_is_wrong_and_raises_nothing_foreign(length):
    signature = (KEY.sign(CHECKPOINT.body) * 2)[:length]
    note = CHECKPOINT.body + b"\n" + line(ORIGIN, key_id(ORIGIN, KEY.public_key()) + signature)
    with pytest.raises(EvidenceError, match=r"^the checkpoint's signature does not belong to it$"):
        SignedCheckpoint.read(note).verify(KEY.public_key())


def test_one_wrong_signature_of_a_known_key_spoils_a_right_one():
    wrong = line(ORIGIN, key_id(ORIGIN, KEY.public_key()) + bytes(64))
    for note in (NOTE + wrong, NOTE.replace(b"\n\n", b"\n\n" + wrong)):
        with pytest.raises(EvidenceError, match=r"^the checkpoint's signature does not belong to it$"):
            SignedCheckpoint.read(note).verify(KEY.public_key())


def test_sixteen_signatures_are_read_and_seventeen_are_not():
    sixteen = NOTE + b"".join(map(cosignature, range(1, 16)))
    assert len(SignedCheckpoint.read(sixteen).signatures) == 16
    assert refusal(sixteen + cosignature(16)) == "the checkpoint has more than 16 signatures"


NOT_THREE_LINES = "the checkpoint is not three lines: origin, number of entries, root"
NO_LINE = "a signature line of the checkpoint is not of the form '— name base64'"
CONTROL = "the checkpoint holds control characters or is far too long"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (NOTE.replace(b"\n", b"\r\n"), CONTROL),
        (NOTE.replace(b"\n29", b"\r\n29"), CONTROL),
        (NOTE.replace(b"29", b"29\t"), CONTROL),
        (NOTE.replace(b"29", b"2\x009"), CONTROL),
        (NOTE.replace(b"1f0c\n", b"1f\x1b[31m\n", 1), CONTROL),
        (NOTE + cosignature() * 2_000, CONTROL),
        (NOTE.replace(b"\n29\n", b"\n029\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n+29\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n-29\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n29 \n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n2_9\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n29.0\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", "\n٢٩\n".encode()), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n" + b"9" * 17 + b"\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n" + b"9" * 50_000 + b"\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n29\n", b"\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n\n", b"\nextension\n\n"), NOT_THREE_LINES),
        (NOTE.replace(b"\n\n", b"\n\n\n"), NOT_THREE_LINES),
        (b"\n" + NOTE, NOT_THREE_LINES),
        (b"\n\n" + NOTE, NOT_THREE_LINES),
        (NOTE.replace(b"/ledger/", b" ledger ", 1), NOT_THREE_LINES),
        (NOTE.replace(b"/ledger/", b"+ledger+", 1), NOT_THREE_LINES),
        (NOTE.replace(b"/ledger/", "/led\u00a0ger/".encode(), 1), NOT_THREE_LINES),
        (NOTE.replace(b"/ledger/", "/led\u2028ger/".encode(), 1), NOT_THREE_LINES),
        (NOTE.replace(b"/ledger/", "/led\u0085ger/".encode(), 1), NOT_THREE_LINES),
        (NOTE.replace(base64.b64encode(ROOT), base64.b64encode(ROOT[:31])), "the root of the checkpoint is not 32 bytes"),
        (NOTE.replace(base64.b64encode(ROOT), base64.b64encode(ROOT + b"\0")), "the root of the checkpoint is not 32 bytes"),
        (NOTE.replace(base64.b64encode(ROOT), b""), "the root of the checkpoint is not 32 bytes"),
        (NOTE.replace(base64.b64encode(ROOT), base64.b64encode(ROOT)[:-1]), "the root of the checkpoint is not standard base64"),
        (NOTE.replace(base64.b64encode(ROOT), ROOT.hex().encode()), "the root of the checkpoint is not 32 bytes"),
        (NOTE.replace(b"\n\n", b"\n"), "the checkpoint has no signature"),
        (CHECKPOINT.body, "the checkpoint has no signature"),
        (CHECKPOINT.body + b"\n", "the checkpoint has no signature"),
        (NOTE[:-1], "the checkpoint has no signature"),
        (NOTE + b"\n", "the checkpoint has no signature"),
        (b"", "the checkpoint has no signature"),
        (NOTE + b"trailing", "the checkpoint has no signature"),
        (NOTE + b"trailing\n", NO_LINE),
        (NOTE.replace(DASH, b"-"), NO_LINE),
        (NOTE.replace(DASH, b"--"), NO_LINE),
        (NOTE.replace(DASH, "\u2013".encode()), NO_LINE),
        (NOTE.replace(DASH + b" ", DASH), NO_LINE),
        (NOTE.replace(DASH + b" ", DASH + b"  "), NO_LINE),
        (NOTE.replace(b"\n" + DASH, b"\n " + DASH), NO_LINE),
        (NOTE.replace(DASH + b" ", DASH + "\u00a0".encode()), NO_LINE),
        (CHECKPOINT.body + b"\n" + line("a+b", bytes(68)), NO_LINE),
        (CHECKPOINT.body + b"\n" + line("", bytes(68)), NO_LINE),
        (CHECKPOINT.body + b"\n" + line(ORIGIN, bytes(4)), "a signature of the checkpoint is too short"),
        (CHECKPOINT.body + b"\n" + line(ORIGIN, b""), "a signature of the checkpoint is too short"),
        (NOTE[:-1] + b" x\n", "a signature of the checkpoint is not standard base64"),
        (NOTE[:-3] + b"=\n", "a signature of the checkpoint is not standard base64"),
        (NOTE[:-1] + b"\xff\n", "the checkpoint is not UTF-8"),
        (NOTE.decode().encode("latin-1", errors="replace").replace(b"?", b"\x97"), "the checkpoint is not UTF-8"),
        (NOTE.decode().encode("utf-16"), "the checkpoint is not UTF-8"),
        (b"\xef\xbb\xbf" + NOTE, "the checkpoint begins with a byte order mark"),
    ],
)  # fmt: skip
def test_a_note_of_any_other_form_is_refused(data, sentence):
    assert data != NOTE
    assert refusal(data) == sentence


def test_no_beginning_of_a_note_is_a_note():
    for length in range(len(NOTE)):
        with pytest.raises(MalformedError):
            SignedCheckpoint.read(NOTE[:length])


def test_no_flipped_bit_goes_unnoticed():
    for place in range(len(NOTE)):
        for bit in range(8):
            changed = NOTE[:place] + bytes([NOTE[place] ^ 1 << bit]) + NOTE[place + 1 :]
            with pytest.raises(EvidenceError):
                SignedCheckpoint.read(changed).verify(KEY.public_key())


@hypothesis.given(st.integers(0, 10**16 - 1), st.binary(min_size=32, max_size=32))
def test_any_checkpoint_is_read_as_it_was_signed(size, root):
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert SignedCheckpoint.read(checkpoint.sign(KEY)).verify(KEY.public_key()) == checkpoint


PROOF = Proof(5, (ROOT, bytes(32)), NOTE)
ZEROES = base64.b64encode(bytes(32))


def test_a_proof_has_exactly_these_bytes_and_is_read_as_it_was():
    expected = b"c2sp.org/tlog-proof@v1\nindex 5\n" + base64.b64encode(ROOT) + b"\n" + ZEROES + b"\n\n" + NOTE
    assert bytes(PROOF) == expected
    assert Proof.read(expected) == PROOF
    assert SignedCheckpoint.read(Proof.read(expected).note).verify(KEY.public_key()) == CHECKPOINT


def test_a_proof_of_a_log_with_one_entry_has_no_hashes():
    proof = Proof(0, (), NOTE)
    assert bytes(proof) == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + NOTE
    assert Proof.read(bytes(proof)) == proof


def test_a_proof_from_a_tree_holds_up_after_a_round_trip():
    tree = Tree(leaf_hash(b"%d" % number) for number in range(29))
    note = replace(CHECKPOINT, root=tree.root()).sign(KEY)
    for index in range(29):
        read = Proof.read(bytes(Proof(index, tuple(tree.inclusion_proof(index)), note)))
        checkpoint = SignedCheckpoint.read(read.note).verify(KEY.public_key())
        leaf = leaf_hash(b"%d" % index)
        assert verify_inclusion(leaf, read.index, checkpoint.size, read.hashes, checkpoint.root)


FIRST = "the proof does not begin with c2sp.org/tlog-proof@v1"
WHICH = "the proof does not say which entry it is of"
HASH = "a hash of the proof is not standard base64"
HASHES = "the proof's hashes are not at most 64 of 32 bytes"
WRITTEN = bytes(PROOF)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", FIRST),
        (b"\n" + WRITTEN, FIRST),
        (WRITTEN.replace(b"@v1", b"@v2"), FIRST),
        (WRITTEN.replace(b"@v1", b"@v1 "), FIRST),
        (WRITTEN.replace(b"\n", b"\r\n"), FIRST),
        (WRITTEN.replace(b"\n\n", b"\n"), FIRST),
        (b"c2sp.org/tlog-proof@v1\n\n" + NOTE, WHICH),
        (WRITTEN.replace(b"index 5\n", b""), WHICH),
        (WRITTEN.replace(b"index 5", b"index 05"), WHICH),
        (WRITTEN.replace(b"index 5", b"index -5"), WHICH),
        (WRITTEN.replace(b"index 5", b"index  5"), WHICH),
        (WRITTEN.replace(b"index 5", b"index 5 "), WHICH),
        (WRITTEN.replace(b"index 5", b"index 5\r"), WHICH),
        (WRITTEN.replace(b"index 5", b"Index 5"), WHICH),
        (WRITTEN.replace(b"index 5", b"index"), WHICH),
        (WRITTEN.replace(b"index 5", b"index " + b"9" * 17), WHICH),
        (WRITTEN.replace(b"index 5", b"extra aGk=\nindex 5"), WHICH),
        (WRITTEN.replace(b"index 5", b"index 5\nindex 5"), HASH),
        (WRITTEN.replace(ZEROES, ZEROES + b" "), HASH),
        (WRITTEN.replace(ZEROES, ZEROES[:-1]), HASH),
        (WRITTEN.replace(ZEROES, ZEROES.replace(b"=", b"\r=")), HASH),
        (WRITTEN.replace(ZEROES, base64.b64encode(bytes(31))), HASHES),
        (WRITTEN.replace(ZEROES, base64.b64encode(bytes(33))), HASHES),
        (WRITTEN.replace(ZEROES, b"\n".join([ZEROES] * 64)), HASHES),
        (WRITTEN.replace(b"index 5", b"index 5\xff"), "the proof is not UTF-8"),
        (b"\xef\xbb\xbf" + WRITTEN, "the proof begins with a byte order mark"),
    ],
)  # fmt: skip
def test_a_proof_of_any_other_form_is_refused(data, sentence):
    assert data != WRITTEN
    assert refusal_of_proof(data) == sentence


def test_the_most_hashes_a_proof_may_have_are_read():
    proof = Proof(0, (bytes(32),) * 64, NOTE)
    assert Proof.read(bytes(proof)) == proof
