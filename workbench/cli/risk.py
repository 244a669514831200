"""``workbench train``, ``validate`` and ``score``."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from workbench.cli.console import errors, output, print_json, say, working, workspace_of
from workbench.cli.model_inputs import JsonOption, LabelsOption, open_registry, table_for
from workbench.errors import InputError
from workbench.evidence.entries import is_person
from workbench.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from workbench.risk.metrics import Evaluation
    from workbench.risk.registry import Registry
    from workbench.risk.training import Training
    from workbench.risk.version import Version

__all__ = ["register"]

DatasetArgument = Annotated[str, typer.Argument(help="Name, digest, or first digits of the digest.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything that is drawn at random.", min=0)]
ResamplesOption = Annotated[int, typer.Option(help="Bootstrap resamples for the intervals.", min=10)]

_SLICES = {
    "test": "later events",
    "judged": "judged events",
    "new_users": "new users",
    "unseen_users": "users never learnt from",
}
_METRICS = {
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "precision": "precision of alerts",
    "recall": "recall of alerts",
    "f1": "F1 of alerts",
    "recall_at_budget": "recall at the budget",
    "brier": "Brier score",
    "ece": "calibration error",
}


def register(app: typer.Typer) -> None:
    app.command("train")(train_command)
    app.command("validate")(validate_command)
    app.command("score")(score_command)


class _Bar:
    """Steps of training on standard error: a bar with the time left on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed} of {task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._bar.add_task(what, total=total)
        self._bar.update(self._task, description=what, completed=done, total=total)


def train_command(
    context: typer.Context,
    dataset: DatasetArgument,
    algorithm: Annotated[
        str, typer.Option(help="random_forest, gradient_boosting or hist_gradient_boosting.")
    ] = "random_forest",
    tune: Annotated[str, typer.Option(help="Search for parameters: grid, halving or none.")] = "grid",
    folds: Annotated[int, typer.Option(help="Folds of each cross-validation.", min=2)] = 5,
    use_all_labels: Annotated[
        bool, typer.Option("--use-all-labels", help="After the evaluation, fit again on every label there is.")
    ] = False,
    calibration: Annotated[str, typer.Option(help="auto, isotonic, sigmoid or none.")] = "auto",
    threshold: Annotated[str, typer.Option(help="Rule for the alert threshold: budget, cost or f1.")] = "budget",
    budget: Annotated[float, typer.Option(help="Alerts a day that people can look at.")] = 10.0,
    cost_miss: Annotated[float | None, typer.Option(help="Cost of a missed violation, for --threshold cost.")] = None,
    cost_alarm: Annotated[float | None, typer.Option(help="Cost of a false alarm, for --threshold cost.")] = None,
    embargo: Annotated[
        float | None, typer.Option(metavar="HOURS", help="Left out before each cut; otherwise as long as labels take.")
    ] = None,
    known_at: Annotated[
        bool, typer.Option("--known-at/--no-known-at", help="Use a label only from when it was known.")
    ] = True,
    holdout_users: Annotated[float, typer.Option(help="Share of users never learnt from.")] = 0.1,
    resamples: ResamplesOption = 1000,
    seed: SeedOption = 42,
    jobs: Annotated[int, typer.Option(help="Processes for the search; the result is the same.", min=1)] = 2,
    labels: LabelsOption = None,
    as_: Annotated[
        str, typer.Option("--as", metavar="WHO", help="Pseudonym of who trains it, such as p:ada: its author.")
    ] = "p:local",
    json: JsonOption = False,
) -> None:
    """Train a model on a dataset, measure it on later events, and register it."""
    from workbench.features import FeatureSpec
    from workbench.risk.training import train

    workspace = workspace_of(context)
    author = as_ if as_.startswith("p:") else f"p:{as_}"
    if not is_person(author):
        raise InputError(f"--as {as_[:40]!r}: expected a pseudonym of small letters, digits and '-', such as p:ada")
    with working("building features"):
        table = table_for(workspace, dataset, labels, FeatureSpec(), labelled_only=False)
    with _Bar() as bar:
        training = train(
            table,
            algorithm=cast(Any, algorithm),
            tune=cast(Any, tune),
            folds=folds,
            use_all_labels=use_all_labels,
            calibration=cast(Any, calibration),
            threshold=cast(Any, threshold),
            budget=budget,
            cost_miss=cost_miss,
            cost_alarm=cost_alarm,
            embargo=None if embargo is None else _hours(embargo),
            known_at=known_at,
            holdout_users=holdout_users,
            resamples=resamples,
            seed=seed,
            jobs=jobs,
            progress=bar,
        )
    with working("registering"):
        version, already_there = _registered(open_registry(workspace), training, author)
    if already_there:
        errors.print(
            f"workbench: this model was registered already, as {version.name}; its stored card and metrics stay",
            markup=False,
            soft_wrap=True,
        )
    if json:
        print_json(
            {
                "version": version.number,
                "sha256": version.sha256,
                "already_there": already_there,
                "threshold": training.model.threshold.as_dict(),
                "metrics": training.metrics,
            }
        )
        return
    _tell_training(workspace, version, training)


def _registered(registry: "Registry", training: "Training", author: str) -> "tuple[Version, bool]":
    """The version of the model, and whether it had one: then other files, as other resamples make, are not kept."""
    model = training.model
    if any(version.sha256 == model.sha256 for version in registry.versions()):
        known = registry.open(model.sha256)
        known.verify()
        return known, True
    return registry.register(model, training.files(), actor=author), False


def _hours(hours: float) -> timedelta:
    if not 0 <= hours <= 24 * 3650:
        raise InputError(f"--embargo {hours:g}: expected hours, 0 to 87,600")
    return timedelta(hours=hours)


def _tell_training(workspace: Workspace, version: "Version", training: "Training") -> None:
    metrics, model = training.metrics, training.model
    say(f"{version.name}: {model.forest.algorithm}, {model.forest.n_trees:,} trees, model {version.sha256}")
    for name, window in metrics["windows"].items():
        told = f"{window['rows']:,} labelled events, {window['positives']:,} violations"
        say(f"  {name}: {window['from'][:16]} to {window['to'][:16]} UTC, {told}")
    labels = metrics["labels"]
    if labels["embargo_days"]:
        say(
            f"  labels take up to {labels['embargo_days']:.3g} days, so {labels['left_out_by_embargo']:,} labelled "
            "events just before a cut were left out"
        )
    say(f"  alert from p = {model.threshold.value:.4f} on: {_rule(model.threshold.detail, model.threshold.rule)}")
    _tell_metrics(training.evaluations)
    for way, words in (
        ("forward", "forward in time"),
        ("grouped", "by user, regardless of time"),
        ("stratified", "by row, regardless of user and time; too hopeful"),
    ):
        found = [fold["average_precision"] for fold in metrics["folds"][way]]
        say(f"  {len(found)} folds {words}: average precision {min(found):.3f} to {max(found):.3f}")
    best = ", ".join(row["feature"] for row in metrics["importance"][:3])
    say(f"  looks most at: {best}")
    if not metrics["belongs_to"]["is_the_registered_model"]:
        say(f"  note: {metrics['belongs_to']['note']}")
    say(f"  folder: {workspace.shown(version.path)}")


def _rule(detail: dict[str, Any], rule: str) -> str:
    words = {
        "budget": f"at most {detail.get('alerts_per_day', 0):g} alerts a day",
        "cost": f"least cost, {detail.get('cost_miss', 0):g} a miss and {detail.get('cost_alarm', 0):g} a false alarm",
        "f1": "highest F1",
    }[rule]
    if not detail["alerts"]:
        return f"{words}, which no event of its slice may exceed: nothing will be an alert"
    return (
        f"{words}; {detail['alerts']:,} alerts in its slice's {detail['days']:.3g} days, {detail['hits']:,} violations"
    )


def _tell_metrics(slices: Any) -> None:
    """Metrics in rows, slices in columns, with their 95 % intervals; then one sentence a slice."""
    shown: dict[str, Evaluation] = {name: found for name, found in slices.items() if found.rows}
    table = Table("", *(_SLICES[name] for name in shown), box=None)
    for metric, words in _METRICS.items():
        cells = [
            f"{one.metrics[metric].value:.3f} ({one.metrics[metric].low:.3f} to {one.metrics[metric].high:.3f})"
            if metric in one.metrics
            else "-"
            for one in shown.values()
        ]
        table.add_row(words, *cells)
    output.print(table)
    for name, one in shown.items():
        confusion = one.confusion
        alerts = confusion["tp"] + confusion["fp"]
        caught = f"{confusion['tp']:,} of {one.positives:,} violations"
        say(
            f"  {_SLICES[name]}: {one.rows:,} of {one.users:,} users; {alerts:,} alerts found {caught}; chance is an "
            f"average precision of {one.positives / one.rows:.3f}"
        )


def validate_command(
    context: typer.Context,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="v3, champion, latest, or first digits of the model's SHA-256.")
    ],
    dataset: DatasetArgument,
    everything: Annotated[
        bool, typer.Option("--all", help="Count events that the model was fitted on as well, and say so.")
    ] = False,
    budget: Annotated[
        float | None, typer.Option(help="Alerts a day for the recall at budget; otherwise the threshold's.")
    ] = None,
    resamples: ResamplesOption = 1000,
    seed: SeedOption = 42,
    labels: LabelsOption = None,
    json: JsonOption = False,
) -> None:
    """Judge a registered model on a dataset: on the one it was trained on, only by later events."""
    from workbench.risk.validation import validate

    workspace = workspace_of(context)
    found = open_registry(workspace).open(version)
    with working("building features"):
        table = table_for(workspace, dataset, labels, found.model.spec, labelled_only=False)
    result = validate(found.model, table, everything=everything, budget=budget, resamples=resamples, seed=seed)
    if json:
        print_json({"version": found.number, **result.as_dict()})
        return
    say(f"{found.name} ({found.sha256[:12]}) on dataset {result.dataset_sha256[:12]}")
    say(f"  {result.note}")
    _tell_metrics(result.slices)


def score_command(
    context: typer.Context,
    dataset: DatasetArgument,
    model: Annotated[
        str, typer.Option(help="v3, champion, latest, or first digits of the model's SHA-256.")
    ] = "champion",
    out: Annotated[Path | None, typer.Option(help="File for all scores: .parquet or .csv.")] = None,
    top: Annotated[int, typer.Option(help="How many of the highest to print.", min=0)] = 10,
    labels: LabelsOption = None,
    json: JsonOption = False,
) -> None:
    """Score every event of a dataset, and print the highest."""
    from workbench.risk.validation import score_events

    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise InputError(f"--out {out.name!r}: expected a file name that ends in .parquet or .csv")
    workspace = workspace_of(context)
    found = open_registry(workspace).open(model)
    with working("building features"):
        table = table_for(workspace, dataset, labels, found.model.spec, labelled_only=False)
    scores = score_events(found.model, table)
    if out is not None:
        _write(scores, out)
    scores["time"], scores["user"] = table.timestamp, table.users
    # Of equal scores the earlier event comes first, so that the list is the same every time.
    highest = scores.sort_values("p", ascending=False, kind="stable").head(top)
    if json:
        print_json(
            {
                "version": found.number,
                "model": found.sha256,
                "spec": found.model.spec.sha256,
                "threshold": found.model.threshold.value,
                "events": len(scores),
                "alerts": int(scores["alert"].sum()),
                "top": [
                    {
                        "event_id": str(row["event_id"]),
                        "p": float(row["p"]),
                        "alert": bool(row["alert"]),
                        "time": row["time"].isoformat(timespec="microseconds") + "Z",
                        "user": str(row["user"]),
                    }
                    for row in highest.to_dict("records")
                ],
            }
        )
        return
    alerts = f"{int(scores['alert'].sum()):,} at or above the threshold {found.model.threshold.value:.4f}"
    say(f"{len(scores):,} events scored by {found.name} ({found.sha256[:12]}), {alerts}")
    shown = Table("event", "risk", "alert", "time (UTC)", "user", box=None)
    for row in highest.to_dict("records"):
        # As Text, so that no name is read as markup or reaches the terminal as a control sequence.
        event, user = Text(str(row["event_id"])), Text(str(row["user"]))
        alert = "alert" if row["alert"] else ""
        shown.add_row(event, f"{row['p']:.4f}", alert, f"{row['time']:%Y-%m-%d %H:%M:%S}", user)
    if len(highest):
        output.print(shown)
    if out is not None:
        say(f"  all scores: {workspace.shown(out)}")


def _write(scores: "pd.DataFrame", out: Path) -> None:
    """The scores as one file that is whole or not there."""
    import duckdb

    from workbench.events.formats.reading import path_text
    from workbench.files import staging, storage_errors

    with storage_errors(out), staging(out.parent) as folder, duckdb.connect() as connection:
        connection.register("scores", scores)
        made = folder / out.name
        kind = "FORMAT parquet" if out.suffix == ".parquet" else "FORMAT csv, HEADER"
        connection.execute(f"COPY (SELECT * FROM scores) TO {path_text(made)} ({kind})")
        made.rename(out)
