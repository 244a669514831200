"""That the ledger which is opened is the one that was written last time."""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

from workbench.errors import IntegrityError, MalformedError
from workbench.evidence.entries import Entry, read_entry
from workbench.evidence.merkle import Frontier, leaf_hash
from workbench.ledger.checkpoints import StoredCheckpoint
from workbench.ledger.database import Database
from workbench.ledger.frontier import Remembered, new_origin
from workbench.ledger.place import Place
from workbench.ledger.verification import recount

__all__ = ["meet", "take_as_it_is"]

_VERIFY = "see `workbench ledger verify`"


def meet(place: Place, database: Database) -> Remembered:
    """Compare the table with what is remembered, and catch up after a crash between the two.

    Raises ``IntegrityError`` for another ledger than the one remembered. Cheap unless there is something to catch up.
    """
    database.require_shape()
    size = database.size()
    remembered = place.remembered()
    if remembered is None and size:
        raise IntegrityError(
            f"frontier.json is missing, and the ledger has {size} entries: look at it with "
            "`workbench ledger verify`, then take it as it is with `workbench ledger rebuild`"
        )
    remembered = remembered or Remembered(new_origin())
    were = max(remembered.size, place.largest_checkpoint())
    if size < were:
        raise _replaced(f"it has {size} entries, {were} were there")
    if remembered.size:
        ((leaf,),) = database.rows("SELECT leaf FROM store.audit WHERE seq = ?", [remembered.size - 1])
        if leaf != remembered.last_leaf:
            raise _replaced(f"its entry {remembered.size - 1} is another than the one that was there")
    return _catch_up(place, database, remembered) if size > remembered.size else remembered


def take_as_it_is(place: Place, database: Database, checkpoints: Sequence[StoredCheckpoint]) -> Remembered:
    """Remember the table as it is now and put its triggers back.

    Raises ``IntegrityError`` if the entries contradict themselves, or one of ``checkpoints``.
    """
    if problems := database.table_problems():
        raise IntegrityError(f"{problems[0]}: restore the ledger from a backup")
    frontier = recount(database, checkpoints).frontier()
    leaves = deque((leaf for _, leaf in _read(database, 0)), maxlen=1)
    database.guard()
    origin = _known_origin(place, checkpoints)
    taken = Remembered(origin, frontier.size, tuple(frontier.subtrees), *leaves)
    place.stage(taken)
    place.publish()
    return taken


def _catch_up(place: Place, database: Database, remembered: Remembered) -> Remembered:
    """Check that what is remembered is the beginning of the table, then remember the rest as well."""
    beginning = Frontier()
    for rows in database.chunks("SELECT leaf FROM store.audit WHERE seq < ? ORDER BY seq", [remembered.size]):
        for (leaf,) in rows:
            beginning.append(leaf)
    if beginning.root != remembered.frontier.root:
        raise _replaced(f"its first {remembered.size} entries are others than those that were there")
    # The last entry remembered is read again, so that no time after it goes back.
    rest = list(_read(database, max(remembered.size - 1, 0)))
    for (before, _), (after, _) in pairwise(rest):
        if after.time < before.time:
            raise IntegrityError(f"entry {after.seq} of the ledger goes back in time: {_VERIFY}")
    caught_up = remembered.after([leaf for entry, leaf in rest if entry.seq >= remembered.size])
    place.stage(caught_up)
    place.publish()
    return caught_up


def _read(database: Database, start: int) -> Iterator[tuple[Entry, bytes]]:
    """The entries from ``start`` on with their hashes, each read strictly. Raises ``IntegrityError``."""
    for rows in database.chunks("SELECT seq, entry, leaf FROM store.audit WHERE seq >= ? ORDER BY seq", [start]):
        for seq, data, leaf in rows:
            try:
                entry = read_entry(data, seq)
            except MalformedError as error:
                raise IntegrityError(f"{error}: {_VERIFY}") from error
            if leaf_hash(data) != leaf:
                raise IntegrityError(f"entry {seq} of the ledger contradicts its hash: {_VERIFY}")
            yield entry, leaf


def _known_origin(place: Place, checkpoints: Sequence[StoredCheckpoint]) -> str:
    if checkpoints:
        return checkpoints[-1].checkpoint.origin
    with contextlib.suppress(IntegrityError):
        if (remembered := place.remembered()) is not None:
            return remembered.origin
    return new_origin()


def _replaced(how: str) -> IntegrityError:
    return IntegrityError(
        f"the ledger file was replaced by an older or another one: {how}; put the newest one back, or take this one as "
        "it is with `workbench ledger rebuild`"
    )
