"""The ledger: the append-only log of every step that matters, and proof that it is still the one it was.

Here: one DuckDB table under a fair lock, its hash tree remembered outside it, signed checkpoints, views of what holds
now, and the store of what must stay erasable. Nothing here may know what an entry is for: no experiments, no reports,
no policies, no keys but those it is handed. No free text and no names may enter it.
"""

from workbench.ledger.checkpoints import StoredCheckpoint
from workbench.ledger.ledger import Ledger, MemoryLedger, open_ledger
from workbench.ledger.private import PrivateStore
from workbench.ledger.transaction import Transaction
from workbench.ledger.verification import Verification

__all__ = [
    "Ledger",
    "MemoryLedger",
    "PrivateStore",
    "StoredCheckpoint",
    "Transaction",
    "Verification",
    "open_ledger",
]
