"""Running one plan: from a checked experiment to a folder with the executed notebook, the values and a true record."""

from typing import Protocol

from workbench.clock import Clock, SystemClock
from workbench.experiments.planning import RunPlan
from workbench.experiments.runs import Run, Status, create_run, running
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


def run(workspace: Workspace, plan: RunPlan, *, progress: Progress | None = None, clock: Clock | None = None) -> Run:
    """Execute one plan. Returns the run however it ended: look at its ``status``.

    Raises ``IntegrityError`` if an input no longer matches its digest (nothing is started then), ``StorageError`` if
    not even the run's folder could be written.
    """
    from workbench.experiments.runner import Runner  # papermill takes two seconds to import: not for every command

    clock = clock or SystemClock()
    for dataset in plan.inputs.values():
        dataset.verify()
    path = create_run(workspace, plan.experiment.id, clock)
    with running(path):
        return Runner(workspace, plan, path, progress or Silent(), clock).execute()
