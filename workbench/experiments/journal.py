"""What the ledger hears of runs: that one begins, on what; and how it ended, with the digest of everything it left."""

import re
from collections.abc import Callable
from typing import Any, Final

from workbench.clock import Clock
from workbench.experiments.runs import Run, Status
from workbench.files import canonical_json, sha256_bytes, sha256_file
from workbench.ledger import Ledger, open_ledger
from workbench.workspace import Workspace

__all__ = ["OUTPUTS", "Journal"]

# The files a run may leave, beside what a notebook wrote into its folder ``work``.
OUTPUTS: Final = ("run.json", "executed.ipynb", "values.json", "environment.json", "stdout.txt", "stderr.txt")


class Journal:
    """Logs runs. Opens the ledger for a moment at each end of a run, never in between."""

    def __init__(
        self, workspace: Workspace, *, clock: Clock | None = None, waiting: Callable[[str], None] | None = None
    ) -> None:
        self.ledger: Ledger = open_ledger(workspace, clock=clock, waiting=waiting)

    def started(self, record: dict[str, Any]) -> None:
        """Log that a run begins: ``record`` as it stands then. Raises ``LedgerError``, ``StorageError``."""
        inputs = {}
        for name, given in record["inputs"].items():
            inputs[_plain(name)] = given["dataset_sha256"]
            if given["labels_sha256"] is not None:
                inputs[_plain(f"{name}.labels")] = given["labels_sha256"]
        fields = {
            "runId": record["id"],
            "experiment": record["experiment"],
            "specSha256": record["spec_sha256"],
            "notebookSha256": record["notebook_sha256"],
            "parametersSha256": sha256_bytes(canonical_json(record["parameters"])),
            "inputs": inputs,
            "packageSha256": record["code"]["package_sha256"],
            "lockSha256": record["lock_sha256"],
        }
        self.ledger.append("run.started", fields=fields)

    def finished(self, run: Run) -> None:
        """Log how a run ended, once: a run that is logged already stays as it was logged.

        A run whose beginning is not in the ledger never began: its runner died while it waited to log that.
        """
        if run.status is Status.RUNNING:
            return
        outputs = {name: sha256_file(run.path / name) for name in OUTPUTS if (run.path / name).is_file()}
        fields = {
            "runId": run.id,
            "status": run.status.value,
            "outputs": outputs,
            "canonicalSha256": run.record["digests"].get("canonical_sha256"),
        }
        with self.ledger.transaction() as transaction:
            known = "SELECT type FROM entries WHERE type LIKE 'run.%' AND entry ->> 'runId' = ?"
            if [row["type"] for row in transaction.query(known, [run.id])] == ["run.started"]:
                transaction.append("run.finished", fields=fields)


def _plain(name: str) -> str:
    """An input's name as the ledger takes it: as it is where it is plain, else by its digest."""
    return (
        name if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) else f"input-{sha256_bytes(name.encode())[:16]}"
    )
