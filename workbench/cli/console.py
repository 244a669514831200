"""What all commands share: the two consoles, the workspace in use, JSON and progress."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from workbench.custody import Custody
from workbench.experiments import Journal, recover
from workbench.workspace import Workspace, find_workspace

__all__ = [
    "State",
    "custody_of",
    "errors",
    "fields",
    "output",
    "print_json",
    "say",
    "tell_waiting",
    "working",
    "workspace_of",
]

# Away from a terminal nothing is folded or cut at 80 columns.
_WIDTH = None if sys.stdout.isatty() else 200

output = Console(highlight=False, width=_WIDTH)
errors = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class State:
    """The global options."""

    workspace: Path | None
    debug: bool


def workspace_of(context: typer.Context) -> Workspace:
    """The workspace in use. Runs whose runner died are closed and named first."""
    workspace = find_workspace(context.obj.workspace)
    for run in recover(workspace, log=lambda run: Journal(workspace, waiting=tell_waiting).finished(run)):
        where = run.record["stopped_at"]
        place = f" at cell {where['cell']}" if where else ""
        errors.print(f"workbench: run {run.id} lost its runner{place}; it is now KILLED", markup=False, soft_wrap=True)
    return workspace


def custody_of(context: typer.Context) -> Custody:
    """The keys and the ledger of the workspace in use."""
    return Custody(workspace_of(context), waiting=tell_waiting)


def say(text: str) -> None:
    """One line on standard output, as it is: nothing in it is markup, and nothing is folded."""
    output.print(text, markup=False, soft_wrap=True)


def tell_waiting(message: str) -> None:
    """Say who holds the ledger while a command waits for it."""
    errors.print(f"workbench: waiting: {message}", markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Plain JSON on standard output, for other programs."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def fields(pairs: list[tuple[str, str]]) -> Table:
    """Names and what they are, in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value)
    return table


@contextmanager
def working(first: str) -> Iterator[Any]:
    """A spinner on standard error (on a terminal only); call the result with a message to change it."""
    if not errors.is_terminal:
        yield lambda message: None
        return
    with errors.status(first) as status:
        yield status.update
