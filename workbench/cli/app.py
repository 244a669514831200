"""The application: global options, and errors told in one paragraph."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from workbench import __version__
from workbench.cli import (
    dashboard,
    drift,
    events,
    evidence,
    experiments,
    explain,
    features,
    keys,
    ledger,
    lifecycle,
    models,
    people,
    policy,
    risk,
    setup,
    simulation,
)
from workbench.cli.console import State, errors, output
from workbench.errors import WorkbenchError

__all__ = ["app", "main"]

app = typer.Typer(
    name="workbench",
    help="Experiments on security-policy compliance, turned into evidence anyone can check.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(events.app, name="events")
app.add_typer(features.app, name="features")
risk.register(app)
explain.register(app)
app.add_typer(models.app, name="models")
drift.register(app)
lifecycle.register(app)
app.add_typer(people.app, name="people")
app.add_typer(policy.app, name="policy")
app.add_typer(dashboard.app, name="dashboard")
app.add_typer(ledger.app, name="ledger")
experiments.register(app)
simulation.register(app)
evidence.register(app)
app.add_typer(keys.app, name="keys")
setup.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        output.print(f"workbench {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    workspace: Annotated[
        Path | None, typer.Option(help="Folder of the workspace; otherwise found upward from here.")
    ] = None,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001  # handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    context.obj = State(workspace, debug)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code; no traceback unless ``--debug``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == [] or arguments in [[group.name] for group in app.registered_groups]:
        arguments = [*arguments, "--help"]
    try:
        code = app(arguments, standalone_mode=False)
    except WorkbenchError as error:
        code = _tell(str(error), error.exit_code, arguments)
    except TyperException as error:  # how the command was typed
        message = " ".join((error.format_message() if hasattr(error, "format_message") else str(error)).split())
        code = _tell(f"{message} (`workbench --help` lists what there is)", 2, [])
    except (typer.Abort, KeyboardInterrupt):
        code = _tell("stopped", 130, [])
    except BrokenPipeError:
        # The reader (head, less) has gone: not an error, and nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of Ctrl-C
            code = _tell("stopped", 130, [])
        else:
            text = f"unexpected {type(error).__name__}: {error}; this is a defect of workbench: please report it with"
            code = _tell(f"{text} --debug", 2, arguments)
    sys.exit(code if isinstance(code, int) else 0)


def _tell(message: str, code: int, arguments: list[str]) -> int:
    if "--debug" in arguments:
        errors.print_exception()
    errors.print(f"workbench: {message}", style=None, highlight=False, markup=False, soft_wrap=True)
    return code
