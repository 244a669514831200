"""``workbench features``: build, show, explain."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from workbench.cli.console import fields, output, print_json, working, workspace_of
from workbench.errors import InputError, NotFoundError
from workbench.events import Dataset, LabelSet, list_datasets, open_dataset
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.features import FeatureSpec

__all__ = ["app"]

app = typer.Typer(help="Features: what an event's past says about it.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LabelsOption = Annotated[str | None, typer.Option(help="Digest of the label set, where a dataset has several.")]
IpUsersOption = Annotated[bool, typer.Option("--ip-users", help="With ip_users_24h, a second pass over addresses.")]
DayOption = Annotated[str | None, typer.Option(metavar="HH-HH", help="Local hours of the day, for off_hours.")]


@app.command("build")
def build_command(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Name, digest, or first digits of the digest.")],
    labels: LabelsOption = None,
    ip_users: IpUsersOption = False,
    day: DayOption = None,
    buckets: Annotated[
        int | None, typer.Option(help="Do users in this many buckets, one after the other; otherwise by size.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="Most memory DuckDB may use, e.g. 1GB; more is spilled to disk.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compute the features of all events of a dataset and keep them."""
    from workbench.features.stored import store_features

    workspace = workspace_of(context)
    found = open_dataset(workspace, dataset)
    spec = _spec(ip_users, day)
    with working("features") as progress:
        made, again = store_features(
            workspace,
            found,
            _labels(found, labels),
            spec=spec,
            buckets=buckets,
            memory_limit=memory_limit,
            progress=progress,
        )
    path = workspace.shown(made.path / "features.parquet")
    if json:
        print_json({**_described(made.digest, made.identity), "path": path, "already_there": again})
        return
    note = " (was there already)" if again else ""
    output.print(
        f"{made.rows:,} events with {len(spec.columns)} features, table {made.digest[:12]}{note}\n  {path}",
        markup=False,
        soft_wrap=True,
    )


@app.command("show")
def show_command(
    context: typer.Context,
    dataset: Annotated[
        str | None, typer.Argument(help="A dataset, for a summary of its built table; otherwise the definitions.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="First digits of the table's digest, where there are several.")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Recompute all digests from the stored bytes first.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the definitions of the features, or what a built table holds."""
    if dataset is None:
        _show_definitions(json)
        return
    from workbench.features.stored import list_features, only_features

    workspace = workspace_of(context)
    found = open_dataset(workspace, dataset)
    if table is None:
        made = only_features(workspace, found)
    else:
        there = list_features(workspace, found)
        fitting = [one for one in there if one.digest.startswith(table)]
        if len(fitting) != 1:
            known = ", ".join(one.digest[:12] for one in there) or "none yet, `workbench features build` makes them"
            raise NotFoundError(
                f"--table {table!r} names {len(fitting)} feature tables of dataset {found.digest[:12]}; "
                f"there are: {known}"
            )
        made = fitting[0]
    if verify:
        made.verify()
    summary = made.summary()
    if json:
        print_json({**_described(made.digest, made.identity), "summary": summary.to_dict("records")})
        return
    output.print(
        fields(
            [
                ("table", made.digest + (" (verified)" if verify else "")),
                ("dataset", made.identity["dataset"]),
                ("labels", made.identity["labels"] or "none"),
                ("spec", f"version {made.identity['spec_version']}, {made.identity['spec']['sha256']}"),
                ("events", f"{made.rows:,}"),
            ]
        )
    )
    listed = Table("feature", "min", "median", "mean", "p99", "max", "zero", box=None)
    for row in summary.to_dict("records"):
        figures = (f"{row[column]:,.4g}" for column in ("min", "median", "mean", "p99", "max"))
        listed.add_row(row["feature"], *figures, f"{row['zero']:.1%}")
    output.print(listed)


@app.command("explain")
def explain_command(
    context: typer.Context,
    event_id: Annotated[str, typer.Argument(help="The event.")],
    dataset: Annotated[str | None, typer.Option(help="Its dataset, where the workspace has several.")] = None,
    labels: LabelsOption = None,
    ip_users: IpUsersOption = False,
    day: DayOption = None,
    json: JsonOption = False,
) -> None:
    """Show how each value of one event came about, with the events it counted."""
    from workbench.features.explain import explain

    workspace = workspace_of(context)
    found = _dataset(workspace, dataset)
    with working("reading the past of this event"):
        account = explain(found, event_id, _labels(found, labels), spec=_spec(ip_users, day))
    told = account.as_dict()
    if json:
        print_json(told)
        return
    event = told["event"]
    late = f", {account.late_by / 1e6:,.3f} s late: counted at {told['effective_time']}" if account.late_by else ""
    output.print(
        fields(
            [
                ("event", f"{event['event_id']} of dataset {account.dataset_sha256[:12]}"),
                ("time", f"{event['timestamp']}, {event['utc_offset_min']:+d} min from UTC{late}"),
                ("who", f"{event['user']}, from {event['source']} at {event['ip']}"),
                ("what", f"{event['action']} {event['resource']}, {event['outcome']}"),
                ("spec", f"version {told['spec_version']}, {told['spec_sha256']}"),
            ]
        )
    )
    for one in told["features"]:
        output.print(f"\n{one['feature']} = {one['value']:.10g}: {one['words']}", markup=False, soft_wrap=True)
        output.print(f"  {one['definition']}", style="dim", markup=False, soft_wrap=True)
        for line in _counted(one):
            output.print(f"  {line}", markup=False, soft_wrap=True)
    output.print(f"\nall {len(told['features'])} values computed from these events equal the built ones", markup=False)


def _counted(one: dict[str, Any]) -> list[str]:
    lines = [one["note"]] if one["note"] else []
    if one["to"] is not None:
        window = f" in [{one['from']}, {one['to']})" if one["from"] else f" before {one['to']}"
        shown = f", the newest {len(one['events'])} of them" if one["count"] > len(one["events"]) else ""
        lines.append(f"counted {one['count']:,}{window}{shown}")
        lines += [f"  {event['time']}  {event['event_id']}  {event['what']}".rstrip() for event in one["events"]]
    return lines


def _show_definitions(json: bool) -> None:
    from workbench.features import FEATURES, IP_USERS, SPEC_VERSION, FeatureSpec

    spec = FeatureSpec()
    columns = ("name", "unit", "first", "definition", "reason", "sql")
    if json:
        listed = [{column: getattr(feature, column) for column in columns} for feature in (*FEATURES, IP_USERS)]
        print_json({"spec_version": SPEC_VERSION, "spec_sha256": spec.sha256, "features": listed})
        return
    output.print(f"spec version {SPEC_VERSION}, {spec.sha256}")
    table = Table("feature", "unit", "first event", "definition", box=None)
    for feature in FEATURES:
        table.add_row(feature.name, feature.unit, feature.first, feature.definition)
    table.add_row(f"{IP_USERS.name} (with --ip-users)", IP_USERS.unit, IP_USERS.first, IP_USERS.definition)
    output.print(table)


def _spec(ip_users: bool, day: str | None) -> "FeatureSpec":
    from workbench.features import FEATURES, IP_USERS, FeatureSpec

    names = tuple(feature.name for feature in (*FEATURES, *([IP_USERS] if ip_users else [])))
    if day is None:
        return FeatureSpec(names=names)
    found = re.fullmatch("([0-9]{1,2})-([0-9]{1,2})", day)
    if found is None:
        raise InputError(f"--day {day!r}: expected two local hours, such as 6-20")
    return FeatureSpec(names=names, day_starts=int(found[1]), day_ends=int(found[2]))


def _dataset(workspace: Workspace, reference: str | None) -> Dataset:
    if reference is not None:
        return open_dataset(workspace, reference)
    known = list_datasets(workspace)
    if not known:
        raise InputError("the workspace has no dataset yet: `workbench events ingest` or `generate` makes one")
    if len(known) > 1:
        called = ", ".join(sorted(names[0] if names else digest[:12] for digest, names in known.items()))
        raise InputError(f"the workspace has several datasets ({called}): name one with --dataset")
    return open_dataset(workspace, next(iter(known)))


def _labels(dataset: Dataset, reference: str | None) -> LabelSet | None:
    """The label set that the digits name, or the only one, or none where there is none."""
    sets = dataset.label_sets()
    if reference is None:
        return dataset.labels() if sets else None
    fitting = [one for one in sets if one.digest.startswith(reference.removeprefix("sha256:"))]
    if len(fitting) != 1:
        raise NotFoundError(f"{len(fitting)} label sets of this dataset begin with {reference!r}, expected one")
    return fitting[0]


def _described(digest: str, identity: dict[str, Any]) -> dict[str, Any]:
    return {
        "table": digest,
        "dataset": identity["dataset"],
        "labels": identity["labels"],
        "spec_version": identity["spec_version"],
        "spec_sha256": identity["spec"]["sha256"],
        "rows": identity["rows"],
        "columns": identity["columns"],
    }
