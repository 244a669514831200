"""Checkpoints of a log and proofs that stand on them, in the formats of C2SP.

A checkpoint (c2sp.org/tlog-checkpoint) says how many entries a log has and what their root is, and is signed
(c2sp.org/signed-note, Ed25519). A proof (c2sp.org/tlog-proof@v1) shows that an entry is in it.

    workbench/ledger/1f0c…          the log's origin
    29                              entries
    sFodV/vSp5O8…                   root, base64

    — workbench/ledger/1f0c… hI2DJw…roloI=
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from workbench.errors import EvidenceError, MalformedError
from workbench.evidence.merkle import Tree
from workbench.evidence.strict import decode_base64, text

__all__ = ["Checkpoint", "Proof", "SignedCheckpoint", "consistency_document", "key_id"]

_ED25519: Final = b"\x01"
_DASH: Final = "\u2014"
_MOST_SIGNATURES: Final = 16
_NAME: Final = re.compile(r"[^\s+]{1,200}")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_PROOF_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"


def key_id(name: str, key: Ed25519PublicKey) -> bytes:
    """The first 4 bytes of SHA-256(name || 0x0A || 0x01 || public key): which key a signature line is by."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + raw).digest()[:4]


@dataclass(frozen=True)
class Checkpoint:
    """How many entries a log has, and the root hash (32 bytes) over them."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> bytes:
        """What is signed and timestamped: three lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """The checkpoint as a signed note; its only signature bears the origin's name.

        >>> key = Ed25519PrivateKey.generate()
        >>> note = Checkpoint("example.org/log", 0, hashlib.sha256(b"").digest()).sign(key)
        >>> SignedCheckpoint.read(note).verify(key.public_key()).size
        0
        """
        signature = key_id(self.origin, key.public_key()) + key.sign(self.body)
        return self.body + f"\n{_DASH} {self.origin} {base64.b64encode(signature).decode()}\n".encode()


@dataclass(frozen=True)
class SignedCheckpoint:
    """A signed note as read: believe nothing of it before ``verify``."""

    checkpoint: Checkpoint
    signatures: tuple[tuple[str, bytes], ...]  # name, key id and signature

    @classmethod
    def read(cls, data: bytes) -> "SignedCheckpoint":
        """Raises ``MalformedError``."""
        decoded = text(data, what="the checkpoint")
        if any(ord(letter) < 32 and letter != "\n" for letter in decoded) or len(data) > 100_000:
            raise MalformedError("the checkpoint holds control characters or is far too long")
        body, blank, lines = decoded.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise MalformedError("the checkpoint has no signature")
        return cls(_read_body(body), tuple(_read_signature(line) for line in _lines(lines)))

    def verify(self, *keys: Ed25519PublicKey) -> Checkpoint:
        """The checkpoint, if one of ``keys`` signed it in the name of its origin. Raises ``EvidenceError``.

        Signatures of others (witnesses) are passed over, as the format wants; one of a known key must be right.
        """
        origin, found = self.checkpoint.origin, False
        for key in keys:
            for name, signature in self.signatures:
                if name == origin and signature[:4] == key_id(origin, key):
                    try:
                        key.verify(signature[4:], self.checkpoint.body)
                    except InvalidSignature as error:
                        raise EvidenceError("the checkpoint's signature does not belong to it") from error
                    found = True
        if not found:
            raise EvidenceError("the checkpoint is not signed by a key of this log")
        return self.checkpoint


def _lines(lines: str) -> list[str]:
    found = lines.removesuffix("\n").split("\n")
    if len(found) > _MOST_SIGNATURES:
        raise MalformedError(f"the checkpoint has more than {_MOST_SIGNATURES} signatures")
    return found


def _read_body(body: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) != 3 or not _NAME.fullmatch(lines[0]) or not _DECIMAL.fullmatch(lines[1]):
        raise MalformedError("the checkpoint is not three lines: origin, number of entries, root")
    root = decode_base64(lines[2], what="the root of the checkpoint")
    if len(root) != 32:
        raise MalformedError("the root of the checkpoint is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def _read_signature(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != _DASH or not _NAME.fullmatch(name):
        raise MalformedError("a signature line of the checkpoint is not of the form '— name base64'")
    signature = decode_base64(encoded, what="a signature of the checkpoint")
    if len(signature) < 5:
        raise MalformedError("a signature of the checkpoint is too short")
    return name, signature


@dataclass(frozen=True)
class Proof:
    """That entry ``index`` (from 0) is in the log of the ``note``: c2sp.org/tlog-proof@v1, without extra data."""

    index: int
    hashes: tuple[bytes, ...]
    note: bytes

    def __bytes__(self) -> bytes:
        hashes = "".join(f"{base64.b64encode(node).decode()}\n" for node in self.hashes)
        return f"{_PROOF_FIRST_LINE}\nindex {self.index}\n{hashes}\n".encode() + self.note

    @classmethod
    def read(cls, data: bytes) -> "Proof":
        """Raises ``MalformedError``."""
        decoded = text(data, what="the proof")
        head, blank, note = decoded.partition("\n\n")
        first, *lines = head.split("\n")
        if first != _PROOF_FIRST_LINE or not blank:
            raise MalformedError(f"the proof does not begin with {_PROOF_FIRST_LINE}")
        word, _, index = lines[0].partition(" ") if lines else ("", "", "")
        if word != "index" or not _DECIMAL.fullmatch(index):
            raise MalformedError("the proof does not say which entry it is of")
        return cls(int(index), _hashes(lines[1:]), note.encode())


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    hashes = tuple(decode_base64(line, what="a hash of the proof") for line in lines)
    if any(len(node) != 32 for node in hashes) or len(hashes) > 64:
        raise MalformedError("the proof's hashes are not at most 64 of 32 bytes")
    return hashes


def consistency_document(tree: Tree, first: int) -> bytes:
    """``log/consistency.json``, in its one spelling: that the log's first entries are still its beginning."""
    content = {
        "v": 1,
        "first": {"size": first, "root": base64.b64encode(tree.root(first)).decode()},
        "second": {"size": len(tree), "root": base64.b64encode(tree.root()).decode()},
        "proof": [base64.b64encode(node).decode() for node in tree.consistency_proof(first)],
    }
    return json.dumps(content, indent=1).encode() + b"\n"
