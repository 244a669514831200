"""What commands about models share: the registry, label sets, features by a model's own spec, moments."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.console import tell_waiting
from workbench.errors import InputError, NotFoundError
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.events import Dataset, LabelSet
    from workbench.features import FeatureSpec, FeatureTable
    from workbench.risk.registry import Registry

__all__ = ["JsonOption", "LabelsOption", "labels_for", "moment_us", "open_registry", "table_for"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LabelsOption = Annotated[
    str | None, typer.Option("--labels", help="First digits of a label set's digest, where the dataset has several.")
]


def open_registry(workspace: Workspace) -> "Registry":
    """The registry of the workspace."""
    from workbench.risk.registry import Registry

    return Registry(workspace, waiting=tell_waiting)


def labels_for(dataset: "Dataset", beginning: str | None) -> "LabelSet":
    """The label set whose digest begins so, or the only one there is."""
    if beginning is None:
        return dataset.labels()
    found = [one for one in dataset.label_sets() if one.digest.startswith(beginning)]
    if len(found) != 1:
        known = ", ".join(one.digest[:12] for one in dataset.label_sets()) or "none"
        raise NotFoundError(
            f"--labels {beginning!r} names {len(found)} label sets of dataset {dataset.digest[:12]}; there are: {known}"
        )
    return found[0]


def table_for(
    workspace: Workspace, dataset: str, labels: str | None, spec: "FeatureSpec", *, labelled_only: bool
) -> "FeatureTable":
    """The features of a dataset by a model's own spec, with the label set that ``labels`` (a digest's start) names."""
    from workbench.events import open_dataset
    from workbench.features import build

    opened = open_dataset(workspace, dataset)
    known = labels_for(opened, labels) if labels or labelled_only or opened.label_sets() else None
    return build(opened, known, spec=spec, labelled_only=labelled_only)


def moment_us(text: str | None, option: str) -> int | None:
    """A date or time with or without offset (UTC then) as microseconds."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text!r}: expected a UTC time such as 2026-05-01 or 2026-05-01T12:00") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    seconds = round(moment.timestamp())
    if not 0 <= seconds < 2**33:
        raise InputError(f"{option} {text!r} is not between 1970 and 2242")
    return seconds * 1_000_000
