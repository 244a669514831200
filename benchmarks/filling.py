"""A large ledger like any other, but filled in one go: an append each would take an hour."""

from collections.abc import Sequence

import duckdb
import pandas as pd

from workbench.evidence.merkle import leaf_hash
from workbench.files import write_atomic
from workbench.ledger.frontier import Remembered
from workbench.workspace import Workspace

__all__ = ["fill"]


def fill(workspace: Workspace, entries: Sequence[bytes]) -> None:
    """Put ``entries``, numbered on from those that are there, behind them."""
    frontier = workspace.ledger / "frontier.json"
    remembered = Remembered.read(frontier.read_bytes())
    leaves = [leaf_hash(entry) for entry in entries]
    numbers = range(remembered.size, remembered.size + len(entries))
    frame = pd.DataFrame({"seq": numbers, "entry": entries, "leaf": leaves})
    with duckdb.connect(str(workspace.ledger / "ledger.duckdb")) as connection:
        connection.register("filled", frame)
        connection.execute("INSERT INTO audit SELECT seq::UBIGINT, entry::BLOB, leaf::BLOB FROM filled")
    write_atomic(frontier, bytes(remembered.after(leaves)))
