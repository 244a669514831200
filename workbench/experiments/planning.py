"""From an experiment file to the runs it asks for, everything checked before anything starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import SpecError
from workbench.events import Dataset, open_dataset
from workbench.experiments.spec import Experiment, Input, Scalar, load_experiment, load_notebook
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
    labels = {name: _labels(name, dataset, references[name]) for name, dataset in datasets.items()}
    # With its labels, so that the run stays what it is when somebody attaches others to the dataset.
    datasets = {
        name: dataset if (found := labels[name]) is None else dataset.with_labels(found)
        for name, dataset in datasets.items()
    }
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


def _labels(name: str, dataset: Dataset, reference: Input) -> str | None:
    """The digest of the label set that an input stands for; None where there is none and none is needed."""
    sets = dataset.label_sets()
    wanted = reference.labels if reference.labels != "required" else None
    wanted = dataset.chosen or wanted
    if wanted is not None:
        sets = [one for one in sets if one.digest.startswith(wanted)]
    if not sets and reference.labels == "required":
        raise SpecError(
            f"input {name!r}: dataset {reference.dataset!r} has no labels and this experiment needs them; attach some "
            f"with `workbench events label {reference.dataset} FILE` (or --where)"
        )
    if len(sets) > 1 or (wanted is not None and not sets):
        raise SpecError(
            f"input {name!r}: dataset {dataset.digest[:12]} has {len(sets)} fitting label sets; name one with 'labels' "
            f"in the experiment file, or with -p {name}={reference.dataset}@DIGEST"
        )
    return sets[0].digest if sets else None


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
