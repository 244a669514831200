"""``workbench explain`` and ``card``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from workbench.cli.console import output, print_json, working, workspace_of
from workbench.cli.model_inputs import JsonOption, LabelsOption, labels_for, open_registry
from workbench.errors import InputError, NotFoundError
from workbench.events import Dataset, open_dataset
from workbench.events.schema import ABSENT
from workbench.files import write_atomic
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.risk.explain import Explanation
    from workbench.risk.model import RiskModel

__all__ = ["card_command", "explain_command", "register"]

HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with figures to FILE.")]


def register(app: typer.Typer) -> None:
    app.command("explain")(explain_command)
    app.command("card")(card_command)


def explain_command(
    context: typer.Context,
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event.")],
    model: Annotated[
        str, typer.Option("--model", metavar="VERSION", help="v3, champion, latest, or first digits of its SHA-256.")
    ] = "champion",
    dataset: Annotated[
        str | None, typer.Option(help="Dataset that the event is in; the one the model was trained on, unless given.")
    ] = None,
    labels: LabelsOption = None,
    reasons: Annotated[int, typer.Option(min=1, help="How many reasons to name.")] = 8,
    html: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """Say in words why a model gave an event its risk."""
    from workbench.features import build
    from workbench.risk.explain import explain_event

    workspace = workspace_of(context)
    version = open_registry(workspace).open(model)
    risk = version.model
    reference = dataset or str(risk.origin["dataset_sha256"])
    opened = _opened(workspace, reference, given=dataset is not None)
    event = _event(opened, event_id, given=dataset is not None)
    with working("computing the features"):
        chosen = None if labels is None else labels_for(opened, labels)
        table = build(opened, chosen, spec=risk.spec, labelled_only=False)
    row = int((table.event_id == event_id).nonzero()[0][0])
    explanation = explain_event(risk, event_id, table.X.iloc[row].to_numpy())
    if html is not None:
        from workbench.risk.explanation_page import explanation_page

        write_atomic(html, explanation_page(explanation, risk, event).encode(), make_folder=True)
        output.print(f"{html}", markup=False, soft_wrap=True)
    elif json:
        told = {"model": version.name, "model_sha256": version.sha256, "dataset_sha256": table.dataset_sha256}
        alert = risk.threshold.is_alert(explanation.p)
        print_json(told | {"alert": alert, "threshold": risk.threshold.value} | explanation.as_dict())
    else:
        _tell(explanation, risk, f"model {version.name}", reasons)


def card_command(
    context: typer.Context,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="v3, champion, latest, or first digits of the model's SHA-256.")
    ],
    html: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """Print a model's card: what it is for, how good it is, and its limits."""
    found = open_registry(workspace_of(context)).open(version)
    if html is not None:
        from workbench.risk.card import card_page

        write_atomic(html, card_page(found).encode(), make_folder=True)
        output.print(f"{html}", markup=False, soft_wrap=True)
    elif json:
        from workbench.risk.card import card_of

        print_json({"model": found.name, **card_of(found)})
    else:
        typer.echo(found.file("card.md").decode(), nl=False)


def _opened(workspace: Workspace, reference: str, *, given: bool) -> Dataset:
    try:
        return open_dataset(workspace, reference)
    except NotFoundError as error:
        if given:
            raise
        raise InputError(
            f"the dataset that the model was trained on ({reference[:12]}) is not in this workspace: "
            "name the event's with --dataset"
        ) from error


def _event(found: Dataset, event_id: str, *, given: bool) -> dict[str, str]:
    """What is known of the event, name by name, as it is shown."""
    import duckdb

    with duckdb.connect() as connection:
        row = connection.execute(
            f"""SELECT strftime("timestamp", '%Y-%m-%d %H:%M:%S') || ' UTC',
                strftime("timestamp" + to_minutes(utc_offset_min::BIGINT), '%Y-%m-%d %H:%M'),
                "user", action, resource, outcome, ip, source FROM {found.sql} WHERE event_id = ?""",
            [event_id],
        ).fetchone()
    if row is None:
        which = "" if given else ", which the model was trained on"
        raise NotFoundError(f"no event {event_id!r} in dataset {found.digest[:12]}{which}: --dataset names another")
    names = ("Time", "Local time", "User", "Action", "Resource", "Outcome", "IP", "Device")
    return {name: "not recorded" if value == ABSENT else str(value) for name, value in zip(names, row, strict=True)}


def _tell(explanation: "Explanation", model: "RiskModel", name: str, reasons: int) -> None:
    verdict = "an alert" if model.threshold.is_alert(explanation.p) else "no alert"
    output.print(
        f"risk {explanation.p:.3f} (usual: {explanation.base:.3f}), {verdict} by {name}, whose threshold is "
        f"{model.threshold.value:.3f}",
        markup=False,
        soft_wrap=True,
    )
    unit = "points of risk" if explanation.shares_out else explanation.space
    table = Table("reason", unit, box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for words, value in explanation.shares(reasons):
        table.add_row(words, f"{value:+.3f}")
    output.print(table, markup=False)
    output.print("The reasons say what moved the score of this model, not what caused the event.", markup=False)
