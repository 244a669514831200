"""``workbench init`` and ``workbench schema``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from workbench.cli.console import output, print_json
from workbench.events.mapping import Mapping
from workbench.experiments.spec import Experiment
from workbench.layout import lay_out

__all__ = ["register"]


class Document(StrEnum):
    """The YAML files that have a schema."""

    EXPERIMENT = "experiment"
    MAPPING = "mapping"
    POLICY = "policy"


def register(app: typer.Typer) -> None:
    app.command("init")(init_command)
    app.command("schema")(schema_command)


def init_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make, or an empty one.")],
) -> None:
    """Lay out a fresh workspace: notebooks, experiments and example policies."""
    made = lay_out(folder)
    output.print(f"workspace {made.root}", markup=False, soft_wrap=True)
    output.print(
        f"next: cd {folder} && workbench keys init && workbench events generate "
        "&& workbench run experiments/risk-baseline.yaml && workbench bundle latest",
        markup=False,
        soft_wrap=True,
    )


def schema_command(document: Annotated[Document, typer.Argument(help="Which YAML file.")]) -> None:
    """Print the JSON Schema of a YAML file, for editors."""
    from workbench.policies import Policy  # brings pandas

    models: dict[Document, type[BaseModel]] = {
        Document.EXPERIMENT: Experiment,
        Document.MAPPING: Mapping,
        Document.POLICY: Policy,
    }
    print_json(models[document].model_json_schema())
