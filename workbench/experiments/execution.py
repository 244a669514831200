"""Running one plan: from a checked experiment to a folder with the executed notebook, the values and a true record."""

import shutil
from collections.abc import Callable
from typing import Protocol

from workbench.clock import Clock, SystemClock
from workbench.experiments.journal import Journal
from workbench.experiments.planning import RunPlan
from workbench.experiments.runs import Run, Status, create_run, running, write_record
from workbench.workspace import Workspace

__all__ = ["Progress", "Silent", "run"]


class Progress(Protocol):
    """Who is told how a run goes. ``expected`` seconds come from the last completed run, or are None."""

    def run_started(self, run_id: str, cells: int, expected: float | None) -> None: ...
    def cell_started(self, number: int, heading: str, expected: float | None) -> None: ...
    def cell_ended(self, number: int, heading: str, status: Status, seconds: float) -> None: ...


class Silent:
    """A progress that says nothing."""

    def run_started(self, run_id: str, cells: int, expected: float | None) -> None:
        pass

    def cell_started(self, number: int, heading: str, expected: float | None) -> None:
        pass

    def cell_ended(self, number: int, heading: str, status: Status, seconds: float) -> None:
        pass


def run(
    workspace: Workspace,
    plan: RunPlan,
    *,
    progress: Progress | None = None,
    clock: Clock | None = None,
    waiting: Callable[[str], None] | None = None,
) -> Run:
    """Execute one plan. Returns the run however it ended: look at its ``status``.

    The ledger hears of its beginning and its end; ``waiting`` is told who holds the ledger while one waits for it.

    Raises ``IntegrityError`` if an input no longer matches its digest or the ledger is not as it was left, and
    ``StorageError`` or ``LedgerError`` if the run's folder or the ledger could not be written: nothing is started then.
    An end that could not be logged is logged by the next command, and raised here.
    """
    # papermill takes two seconds to import: not for every command
    from workbench.experiments.runner import Runner, uninterrupted

    clock = clock or SystemClock()
    for dataset in plan.inputs.values():
        dataset.verify()
        if dataset.chosen is not None:
            dataset.labels().verify()
    journal = Journal(workspace, clock=clock, waiting=waiting)
    path = create_run(workspace, plan.experiment.id, clock)
    with running(path):
        try:
            runner = Runner(workspace, plan, path, progress or Silent(), clock)
            write_record(path, runner.record)  # first: whoever finds a run in the ledger finds its folder
            journal.started(runner.record)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)  # nothing has begun
            raise
        ended = runner.execute()
        with uninterrupted():
            journal.finished(ended)
    return ended
