"""Everything recomputed from the stored bytes, and every contradiction named."""

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workbench.errors import EvidenceError, IntegrityError, WorkbenchError
from workbench.evidence.checkpoint import SignedCheckpoint
from workbench.evidence.entries import read_entry
from workbench.evidence.merkle import Tree
from workbench.ledger.checkpoints import StoredCheckpoint, read_stored
from workbench.ledger.database import Database
from workbench.ledger.place import Place

__all__ = ["THOROUGH_BELOW", "Verification", "recount", "verify"]

THOROUGH_BELOW: Final = 50_000  # entries; parsing a million with the strict reader takes about a minute
_MOST_PROBLEMS: Final = 100
_SPAN: Final = 16_384  # entries read at once
_TIME_KEY: Final = b'"time":"'
_TIME_LENGTH: Final = len("2026-05-03T10:00:00.000Z")
_ANCHORED: Final = b'"type":"checkpoint.anchored"'

Progress = Callable[[str], object]


@dataclass(frozen=True)
class Verification:
    """What ``Ledger.verify`` found: nothing, if ``problems`` is empty.

    ``root`` is that of the ``size`` entries as they are now; ``parsed`` says how many of them were read strictly.
    """

    size: int
    root: bytes
    problems: tuple[str, ...]
    parsed: int

    @property
    def ok(self) -> bool:
        return not self.problems


class _Problems(list[str]):
    """Sentences; beyond a hundred they are only counted."""

    def __init__(self) -> None:
        super().__init__()
        self.further = 0

    def tell(self, problem: str) -> None:
        if len(self) < _MOST_PROBLEMS:
            self.append(problem)
        else:
            self.further += 1

    def told(self) -> tuple[str, ...]:
        return (*self, *([f"and {self.further:,} further problems"] if self.further else []))


@dataclass(frozen=True)
class _Counted:
    """The entries as they were read: the tree over them, what is wrong with them, and those that anchor."""

    tree: Tree
    wrong: tuple[str, ...]
    anchors: list[tuple[int, bytes]]
    parsed: int


def verify(
    place: Place,
    database: Database,
    *,
    keys: Sequence[Ed25519PublicKey],
    thorough: bool | None,
    progress: Progress | None,
) -> Verification:
    """See ``Ledger.verify``. A million entries take about 0.4 GB of memory."""
    problems = _Problems()
    for problem in [*database.table_problems(), *database.guard_problems(), *database.stray_problems()]:
        problems.tell(problem)
    try:
        ((size,),) = database.rows("SELECT count(*) FROM store.audit")
        strictly = size < THOROUGH_BELOW if thorough is None else thorough
        found = _count(database, thorough=strictly, progress=progress)
        beyond = [*_against_frontier(place, found.tree), *_against_checkpoints(place, found, keys)]
        if beyond and not found.wrong and thorough is None and not strictly:
            found = _count(database, thorough=True, progress=progress)  # find the entries that are to blame
    except WorkbenchError as error:  # the table cannot even be read
        problems.tell(str(error))
        return Verification(0, Tree().root(), problems.told(), 0)
    for problem in [*found.wrong, *beyond]:
        problems.tell(problem)
    return Verification(len(found.tree), found.tree.root(), problems.told(), found.parsed)


def recount(database: Database, checkpoints: Sequence[StoredCheckpoint]) -> Tree:
    """The tree over the entries as they are now.

    Raises ``IntegrityError`` if an entry contradicts its hash, or a stored checkpoint is not a beginning of it.
    """
    found = _count(database, thorough=False, progress=None)
    for problem in [*found.wrong, *filter(None, (_no_beginning(stored, found.tree) for stored in checkpoints))]:
        raise IntegrityError(f"{problem}: nothing was signed or written; see `workbench ledger verify`")
    return found.tree


def _count(database: Database, *, thorough: bool, progress: Progress | None) -> _Counted:
    """One pass over all entries, written for speed: a million in about 3 s unless ``thorough``."""
    leaves: list[bytes] = []
    anchors: list[tuple[int, bytes]] = []
    wrong, previous, expected, sha256 = _Problems(), b"", 0, hashlib.sha256
    for rows in _rows(database, progress):
        for seq, entry, leaf in rows:
            computed = sha256(b"\x00" + entry).digest()
            leaves.append(computed)
            if seq != expected:
                gap = f"entry {expected} is missing: the next one is number {seq}"
                wrong.tell(gap if seq > expected else f"entry {seq} is there more than once")
            expected = seq + 1
            if computed != leaf:
                wrong.tell(
                    f"entry {seq} was changed: its hash is {computed.hex()[:16]}…, {bytes(leaf).hex()[:16]}… was stored"
                )
            start = entry.rfind(_TIME_KEY) + len(_TIME_KEY)  # the last one is the entry's own: keys are sorted
            time = entry[start : start + _TIME_LENGTH]
            if time < previous:
                wrong.tell(_back_in_time(seq, time, previous))
            previous = time
            if _ANCHORED in entry:
                anchors.append((seq, entry))
            if thorough and (problem := _unreadable(entry, seq)):
                wrong.tell(problem)
    return _Counted(Tree(leaves), wrong.told(), anchors, len(leaves) if thorough else 0)


def _back_in_time(seq: int, time: bytes, previous: bytes) -> str:
    now, before = time.decode(errors="replace"), previous.decode(errors="replace")
    return f"entry {seq} goes back in time: it is of {now!a}, the one before of {before!a}"


def _rows(database: Database, progress: Progress | None) -> Iterator[list[tuple[Any, ...]]]:
    """The entries in order, a span at a time: to sort all of them at once takes a gigabyte for a million."""
    start: int | None = 0
    done = 0
    while True:
        ((start,),) = database.rows("SELECT min(seq) FROM store.audit WHERE seq >= ?", [start])
        if start is None:
            return
        rows = database.rows(
            "SELECT seq, entry, leaf FROM store.audit WHERE seq >= ? AND seq < ? ORDER BY seq", [start, start + _SPAN]
        )
        yield rows
        start += _SPAN
        done += len(rows)
        if progress is not None:
            progress(f"checked {done:,} entries")


def _unreadable(entry: bytes, seq: int) -> str | None:
    try:
        if bytes(read_entry(entry, seq)) != entry:
            return f"entry {seq} is not canonical JSON"
    except EvidenceError as error:
        return f"entry {seq} cannot be read: {error}"
    return None


def _against_frontier(place: Place, tree: Tree) -> Iterator[str]:
    try:
        remembered = place.remembered()
    except IntegrityError as error:
        yield str(error)
        return
    if remembered is None:
        if len(tree):
            yield f"frontier.json is missing: the ledger has {len(tree)} entries, and nothing beside it says how many"
    elif remembered.size > len(tree):
        yield (
            f"the ledger file was replaced by an older or another one: it has {len(tree)} entries, "
            f"{remembered.size} were there"
        )
    elif tree.root(remembered.size) != remembered.frontier.root:
        yield (
            f"the first {remembered.size} entries are not those that were there: expected the root "
            f"{remembered.frontier.root.hex()[:16]}…, found {tree.root(remembered.size).hex()[:16]}…"
        )


def _against_checkpoints(place: Place, found: _Counted, keys: Sequence[Ed25519PublicKey]) -> Iterator[str]:
    stored: dict[int, StoredCheckpoint] = {}
    for size, note, timestamp in place.read_checkpoints():
        try:
            stored[size] = read_stored(size, note, timestamp)
            if keys:
                SignedCheckpoint.read(note).verify(*keys)
        except IntegrityError as error:
            yield str(error)
        except EvidenceError as error:
            yield f"the stored checkpoint of {size} entries: {error}"
    for checkpoint in stored.values():
        if problem := _no_beginning(checkpoint, found.tree):
            yield problem
    yield from _foreign(place, stored.values())
    for seq, entry in found.anchors:
        if problem := _lost_anchor(entry, seq, stored):
            yield problem


def _foreign(place: Place, stored: Iterable[StoredCheckpoint]) -> Iterator[str]:
    """Checkpoints that were signed in the name of another log."""
    with contextlib.suppress(IntegrityError):  # a damaged frontier is told elsewhere
        remembered = place.remembered()
        if remembered is not None:
            for origin in sorted({one.checkpoint.origin for one in stored} - {remembered.origin}):
                yield f"a stored checkpoint is of another log: {origin!a}, not {remembered.origin!a}"


def _no_beginning(stored: StoredCheckpoint, tree: Tree) -> str | None:
    checkpoint = stored.checkpoint
    if checkpoint.size > len(tree):
        return f"a checkpoint of {checkpoint.size} entries was signed, but the ledger has {len(tree)}"
    if checkpoint.root != tree.root(checkpoint.size):
        return (
            f"the first {checkpoint.size} entries are not those a checkpoint was signed over: expected the root "
            f"{checkpoint.root.hex()[:16]}…, found {tree.root(checkpoint.size).hex()[:16]}…"
        )
    return None


def _lost_anchor(entry: bytes, seq: int, stored: dict[int, StoredCheckpoint]) -> str | None:
    """What an entry says was anchored must still be stored, with its timestamp."""
    try:
        fields = read_entry(entry, seq).fields
    except EvidenceError as error:
        return f"entry {seq} cannot be read: {error}"
    checkpoint = stored.get(fields["size"])
    if checkpoint is None:
        return f"entry {seq} anchors a checkpoint of {fields['size']} entries that is no longer stored"
    if base64.b64encode(checkpoint.checkpoint.root).decode() != fields["root"]:
        return f"entry {seq} anchors another root than the stored checkpoint of {fields['size']} entries has"
    found = None if checkpoint.timestamp is None else hashlib.sha256(checkpoint.timestamp).hexdigest()
    if found != fields["timestampSha256"]:
        was = "missing" if found is None else f"another one ({found[:16]}…)"
        return (
            f"the timestamp of the checkpoint of {fields['size']} entries is {was}: "
            f"entry {seq} recorded {fields['timestampSha256'][:16]}…"
        )
    return None
