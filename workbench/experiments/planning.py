"""From an experiment file to the runs it asks for, everything checked before anything starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import SpecError
from workbench.events import Dataset, open_dataset
from workbench.experiments.spec import Experiment, Scalar, load_experiment, load_notebook
from workbench.experiments.surroundings import Redactor
from workbench.files import sha256_file
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["RunPlan", "plan"]


@dataclass(frozen=True)
class RunPlan:
    """One run to do: everything checked, nothing started."""

    experiment: Experiment
    notebook: "NotebookNode"
    notebook_sha256: str
    parameters: dict[str, Scalar]
    inputs: dict[str, Dataset]
    references: dict[str, str]  # how each input was named
    labels: dict[str, str | None]  # digest of each input's label set


def plan(workspace: Workspace, spec: Path, given: dict[str, str] | None = None) -> list[RunPlan]:
    """All runs that ``spec`` asks for, with parameters and inputs as ``given`` (``name=text``) on top.

    Raises ``SpecError`` or ``NotFoundError`` if anything about them is wrong; so nothing fails half-way for that.
    """
    experiment = load_experiment(spec)
    parameters, inputs, seed = experiment.settings(given or {})
    notebook = load_notebook(workspace, experiment)
    _refuse_private(workspace, experiment, notebook, parameters)
    references = {**experiment.inputs, **inputs}
    datasets = {name: open_dataset(workspace, reference.dataset) for name, reference in references.items()}
    labels: dict[str, str | None] = {}
    for name, dataset in datasets.items():
        sets = dataset.label_sets()
        wanted = references[name].labels
        if wanted is not None:
            sets = [one for one in sets if one.digest.startswith(wanted)]
        if len(sets) > 1 or (wanted is not None and not sets):
            raise SpecError(
                f"input {name!r}: dataset {dataset.digest[:12]} has {len(sets)} fitting label sets; "
                "name one with 'labels' in the experiment file"
            )
        labels[name] = sets[0].digest if sets else None
    return [
        RunPlan(
            experiment,
            notebook,
            sha256_file(workspace.root / experiment.notebook),
            combination,
            datasets,
            {name: reference.dataset for name, reference in references.items()},
            labels,
        )
        for combination in experiment.combinations(parameters, seed)
    ]


def _refuse_private(
    workspace: Workspace, experiment: Experiment, notebook: "NotebookNode", given: dict[str, Scalar]
) -> None:
    """What is recorded word for word (parameters, sources) must not hold what is kept out of outputs."""
    redactor = Redactor(workspace)
    for name, value in given.items():
        if redactor.text(str(value)) != str(value):
            raise SpecError(
                f"experiment {experiment.id!r}: {name!r} holds a folder of this machine or a secret of the "
                "environment, and parameters are recorded: name files relative to the workspace"
            )
    for number, cell in enumerate(notebook.cells):
        if redactor.holds_secret(cell.source):
            raise SpecError(
                f"experiment {experiment.id!r}: cell {number + 1} from the top of the notebook holds the value of a "
                "secret environment variable, and sources are recorded: take it out"
            )
