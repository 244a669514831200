"""The signed checkpoints of a ledger, as they are stored beside it."""

from dataclasses import dataclass

from workbench.errors import IntegrityError, MalformedError
from workbench.evidence.checkpoint import Checkpoint, SignedCheckpoint

__all__ = ["StoredCheckpoint", "read_stored"]


@dataclass(frozen=True)
class StoredCheckpoint:
    """What was signed, the signed note itself, and the DER of its timestamp response if it was stamped."""

    checkpoint: Checkpoint
    note: bytes
    timestamp: bytes | None


def read_stored(size: int, note: bytes, timestamp: bytes | None) -> StoredCheckpoint:
    """The checkpoint in the file for ``size``; its signature is not judged here. Raises ``IntegrityError``."""
    try:
        checkpoint = SignedCheckpoint.read(note).checkpoint
    except MalformedError as error:
        raise IntegrityError(f"the stored checkpoint of {size} entries is damaged: {error}") from error
    if checkpoint.size != size:
        raise IntegrityError(f"the stored checkpoint of {size} entries says {checkpoint.size}")
    return StoredCheckpoint(checkpoint, note, timestamp)
