"""``workbench run``, ``runs`` and ``report``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from workbench.cli.console import errors, output, print_json, tell_waiting, workspace_of
from workbench.errors import NotFoundError, SpecError, nearest
from workbench.experiments import Run, Status, list_runs, open_run, plan, run
from workbench.experiments.runs import settings_text
from workbench.workspace import Workspace

__all__ = ["register"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    app.command("run")(run_command)
    app.command("runs")(runs_command)
    app.command("report")(report_command)


class _Terminal:
    """Progress of a run on standard error: a bar on a terminal, a line a cell elsewhere."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        )
        self._task: TaskID | None = None
        self._cells = 0

    def run_started(self, run_id: str, cells: int, expected: float | None) -> None:
        self._cells = cells
        hint = f", about {expected:.0f} s by the last run" if expected else ""
        errors.print(f"run {run_id}: {cells} cells{hint}", markup=False, soft_wrap=True)
        self._task = self._bar.add_task("starting the kernel", total=cells, left="")
        self._bar.start()

    def cell_started(self, number: int, heading: str, expected: float | None) -> None:
        assert self._task is not None
        left = f"about {expected:.0f} s" if expected and expected >= 1 else ""
        self._bar.update(self._task, description=f"cell {number} of {self._cells}: {heading}", left=left)

    def cell_ended(self, number: int, heading: str, status: Status, seconds: float) -> None:
        assert self._task is not None
        self._bar.update(self._task, completed=number)
        if not errors.is_terminal or status is not Status.COMPLETED:
            errors.print(
                f"  cell {number} of {self._cells}: {heading}, {status.value} after {seconds:.1f} s",
                markup=False,
            )

    def close(self) -> None:
        self._bar.stop()


def _file(workspace: Workspace, named: Path) -> Path:
    """The file as named from here, else from the workspace's root, else the experiment with this id."""
    places = (named, workspace.root / named, workspace.experiments / f"{named}.yaml")
    return next((place for place in places if place.is_file()), named)


def _given(pairs: list[str]) -> dict[str, str]:
    given = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise SpecError(f"-p {pair!r}: expected NAME=VALUE")
        given[name.strip()] = value
    return given


def run_command(
    context: typer.Context,
    experiment: Annotated[Path, typer.Argument(help="Experiment file, or the id of one in experiments/.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Set a parameter, an input or the seed."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would run.")] = False,
    json: JsonOption = False,
) -> None:
    """Run an experiment: every combination of its grid and seeds, one run each."""
    workspace = workspace_of(context)
    plans = plan(workspace, _file(workspace, experiment), _given(parameter or []))
    if dry_run:
        for one in plans:
            settings = settings_text(one.parameters)
            inputs = ", ".join(f"{name} {dataset.digest[:12]}" for name, dataset in one.inputs.items())
            output.print(
                f"{one.experiment.id}: {settings}" + (f"; {inputs}" if inputs else ""),
                markup=False,
                soft_wrap=True,
            )
        return
    runs: list[Run] = []
    for number, one in enumerate(plans, start=1):
        if len(plans) > 1:
            settings = settings_text(one.parameters)
            errors.print(f"run {number} of {len(plans)}: {settings}", markup=False, soft_wrap=True)
        progress = _Terminal()
        try:
            runs.append(run(workspace, one, progress=progress, waiting=tell_waiting))
        finally:
            progress.close()
        if not json:
            _print_run(workspace, runs[-1])
        if runs[-1].status is Status.INTERRUPTED:
            break
    if json:
        print_json([one.record for one in runs])
    if any(one.status is Status.INTERRUPTED for one in runs):
        raise typer.Exit(130)
    if any(one.status is not Status.COMPLETED for one in runs):
        raise typer.Exit(1)


def _print_run(workspace: Workspace, run: Run) -> None:
    record = run.record
    where = record["stopped_at"]
    place = f" at cell {where['cell']} ({where['heading']})" if where else ""
    detail = f": {record['detail']}" if record["detail"] else ""
    output.print(f"{run.id} {run.status.value}{place}{detail}", markup=False, soft_wrap=True)
    for claim in run.claims:
        sign = {"supported": "✓", "not supported": "✗", "not tested": "–"}[claim["outcome"]]
        measured = "" if claim["measured"] is None else f", measured {claim['measured']:.4g}"
        reason = f" ({claim['reason']})" if claim["reason"] else ""
        text = (
            f"  {sign} {claim['outcome']}: {claim['id']}, expected {claim['value']} {claim['expect']}{measured}{reason}"
        )
        output.print(text, markup=False, soft_wrap=True)
    output.print(f"  folder: {workspace.shown(run.path)}", markup=False, soft_wrap=True)
    if run.status is not Status.COMPLETED:
        output.print(f"  what there was until then: workbench report {run.id}", markup=False, soft_wrap=True)


def runs_command(
    context: typer.Context,
    experiment: Annotated[str | None, typer.Argument(help="Only runs of this experiment (its id).")] = None,
    json: JsonOption = False,
) -> None:
    """List runs, the oldest first."""
    workspace = workspace_of(context)
    runs = list_runs(
        workspace,
        experiment,
        complain=lambda error: errors.print(f"workbench: {error}", markup=False, soft_wrap=True),
    )
    if json:
        print_json([one.record for one in runs])
        return
    table = Table("run", "status", "claims", "seconds", "parameters", box=None)
    table.columns[0].no_wrap = True
    for one in runs:
        seconds = "" if one.record["seconds"] is None else f"{one.record['seconds']:.1f}"
        table.add_row(one.id, one.status.value, _counted(one), seconds, settings_text(one.record["parameters"]))
    if runs:
        output.print(table)
    elif experiment is not None and (known := sorted({one.record["experiment"] for one in list_runs(workspace)})):
        raise NotFoundError(f"no runs of {experiment!r}{nearest(experiment, known)}")
    else:
        output.print("no runs yet: `workbench run experiments/NAME.yaml` makes one")


def _counted(run: Run) -> str:
    """Outcomes of a run's claims: how many of each, the ones that did not occur left out."""
    outcomes = [claim["outcome"] for claim in run.claims]
    counted = [
        f"{outcomes.count(one)} {one}" for one in ("supported", "not supported", "not tested") if one in outcomes
    ]
    return ", ".join(counted) or "none"


def report_command(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Run id, a part of its beginning or end, or 'latest'.")],
    out: Annotated[Path | None, typer.Option(help="File to write; otherwise reports/<run id>.html.")] = None,
) -> None:
    """Write the report of a run: one HTML file that needs nothing else."""
    from workbench.reports import publish

    workspace = workspace_of(context)
    path = publish(workspace, open_run(workspace, run), out)
    output.print(workspace.shown(path), markup=False, soft_wrap=True)
