"""``workbench events``: ingest, generate, label, show, list."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from workbench.cli.console import fields, output, print_json, working, workspace_of
from workbench.errors import InputError
from workbench.events import (
    IngestOptions,
    Labelling,
    Moment,
    Population,
    Summary,
    generate,
    ingest,
    label_from_files,
    label_where,
    list_datasets,
    load_label_mapping,
    load_mapping,
    open_dataset,
    summarise,
)
from workbench.events.dataset import pointed_to

__all__ = ["app"]

app = typer.Typer(help="Events and datasets.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("ingest")
def ingest_command(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, globs, or - for standard input.")],
    format: Annotated[
        str, typer.Option(help="auto, csv, parquet, jsonl, cloudtrail, combined (Apache, nginx) or openssh.")
    ] = "auto",
    map: Annotated[
        Path | None,
        typer.Option(help="Mapping file (YAML): which column means what, for csv, parquet and jsonl."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the dataset; otherwise from the first file's.")] = None,
    year: Annotated[int | None, typer.Option(help="Year of the first stamp, where stamps have none.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of stamps without one: UTC, +HH:MM or e.g. Europe/Berlin.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Text encoding: utf-8, latin-1, utf-16 ...")] = "utf-8",
    strict: Annotated[bool, typer.Option(help="Refuse everything if one record does not parse.")] = False,
    memory_limit: Annotated[
        str | None, typer.Option(help="Most memory DuckDB may use, e.g. 512MB; more is spilled to disk.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Read log files or tables into a dataset."""
    workspace = workspace_of(context)
    options = IngestOptions(load_mapping(map) if map else None, year, timezone, encoding)
    with working("reading") as progress:
        result = ingest(
            workspace,
            files,
            format=format,
            options=options,
            strict=strict,
            name=name,
            memory_limit=memory_limit,
            progress=progress,
        )
    dataset = result.dataset
    if json:
        print_json(
            {
                "dataset": dataset.digest,
                "name": result.name,
                "format": result.format,
                "rows": dataset.rows,
                "skipped": result.skipped,
                "rejected": result.rejected,
                "labels": result.labels,
                "replaced": result.replaced,
                "already_there": result.already_there,
            }
        )
        return
    again = " (was there already)" if result.already_there else ""
    output.print(f"{dataset.rows:,} events as '{result.name}', dataset {dataset.digest[:12]}{again}", markup=False)
    for verdict, reasons in (("skipped", result.skipped), ("rejected", result.rejected)):
        for reason, count in reasons.items():
            output.print(f"  {count:,} {verdict}: {reason}", markup=False)
    if result.labels:
        counted = ", ".join(f"{count:,} {label}" for label, count in result.labels.items())
        unlabelled = dataset.rows - sum(result.labels.values())
        output.print(f"  labels: {counted}, {unlabelled:,} unlabelled", markup=False)
    _tell_replaced(result.name, result.replaced)
    if sum(result.rejected.values()) > dataset.rows:
        output.print(
            "  more records were rejected than became events: is this the right format and mapping?", markup=False
        )
    if result.rejected:
        output.print(
            f"  rejected records: {workspace.shown(dataset.path / 'rejects.jsonl')}",
            markup=False,
            soft_wrap=True,
        )


def _tell_replaced(name: str, replaced: str | None) -> None:
    if replaced is not None:
        output.print(
            f"  the name '{name}' pointed to dataset {replaced[:12]} before, which is still there", markup=False
        )


@app.command("generate")
def generate_command(
    context: typer.Context,
    scale: Annotated[int, typer.Option(help="Users; about 500 events each over 90 days.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events, on every machine.")] = 42,
    days: Annotated[int, typer.Option(help="Days covered.")] = 90,
    start: Annotated[str, typer.Option(help="First day.")] = "2025-01-06",
    label_noise: Annotated[float, typer.Option(help="Share of violations labelled compliant.")] = 0.05,
    name: Annotated[str, typer.Option(help="Name of the dataset.")] = "demo",
    json: JsonOption = False,
) -> None:
    """Make believable compliance events with known violations."""
    workspace = workspace_of(context)
    population = Population(scale, seed, days, start, label_noise)
    replaced = pointed_to(workspace, name)
    with working("generating events"):
        dataset, again = generate(workspace, population, name=name)
    if json:
        print_json({"dataset": dataset.digest, "name": name, "rows": dataset.rows, "already_there": again})
        return
    note = " (was there already)" if again else ""
    output.print(f"{dataset.rows:,} events as '{name}', dataset {dataset.digest[:12]}{note}", markup=False)
    _tell_replaced(name, replaced if replaced != dataset.digest else None)


@app.command("label")
def label_command(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Name, digest, or first digits of the digest.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Files of labels (csv, parquet, jsonl), globs, or -."),
    ] = None,
    map: Annotated[
        Path | None, typer.Option(help="Label mapping file (YAML): which column and which word mean what.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Instead of files: label the events of which this is true.")
    ] = None,
    as_: Annotated[
        str | None, typer.Option("--as", metavar="LABEL", help="The label of those: violation or compliant.")
    ] = None,
    otherwise: Annotated[
        str | None, typer.Option(metavar="LABEL", help="The label of those of which it is false; else they have none.")
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="WHO", help="Who says so, where the files do not.")] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When it became known: an ISO stamp with offset, event, or e.g. event+14d."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for labels by --where.")] = "",
    timezone: Annotated[str | None, typer.Option(help="Zone of labelled_at stamps without one.")] = None,
    encoding: Annotated[str, typer.Option(help="Text encoding: utf-8, latin-1, utf-16 ...")] = "utf-8",
    json: JsonOption = False,
) -> None:
    """Attach labels to a dataset: from files, or by a rule."""
    workspace = workspace_of(context)
    found = open_dataset(workspace, dataset)
    moment = Moment.parse(at) if at is not None else None
    if where is not None:
        if files or map is not None or timezone is not None:
            raise InputError("labels come either from files or from --where: leave one out")
        missing = [name for name, value in (("--as", as_), ("--by", by), ("--at", at)) if not value]
        if missing or as_ is None or not by or moment is None:
            raise InputError(f"--where needs {' and '.join(missing)} as well: the label, who says so, and since when")
        with working("labelling"):
            done = label_where(found, where, label=as_, otherwise=otherwise, by=by, at=moment, reason=reason)
    else:
        if not files:
            raise InputError("name a file of labels, or a rule with --where SQL --as violation --by WHO --at TIME")
        for name, value in (("--as", as_), ("--otherwise", otherwise), ("--reason", reason)):
            if value:
                raise InputError(f"{name} goes with --where; a file says itself which label each event has, and why")
        options = IngestOptions(timezone=timezone, encoding=encoding)
        mapping = load_label_mapping(map) if map is not None else None
        with working("reading labels") as progress:
            done = label_from_files(found, files, mapping=mapping, by=by, at=moment, options=options, progress=progress)
    if json:
        print_json(
            {
                "labels": done.labels.digest,
                "dataset": found.digest,
                "rows": done.labels.rows,
                "counts": done.counts,
                "unlabelled": done.unlabelled,
                "revisions": done.revisions,
                "no_label": done.no_label,
                "already_there": done.already_there,
            }
        )
        return
    _print_labelling(done)


def _print_labelling(done: Labelling) -> None:
    again = " (was there already)" if done.already_there else ""
    counted = ", ".join(f"{count:,} {label}" for label, count in done.counts.items())
    labels, dataset = done.labels.digest[:12], done.dataset.digest[:12]
    output.print(f"{sum(done.counts.values()):,} events of dataset {dataset} labelled, label set {labels}{again}")
    output.print(f"  labels: {counted}, {done.unlabelled:,} unlabelled", markup=False)
    if done.revisions:
        output.print(f"  superseded by a newer label of the same event: {done.revisions:,}", markup=False)
    if done.no_label:
        output.print(f"  neither violation nor compliant: {done.no_label:,}", markup=False)
    if len(done.dataset.label_sets()) > 1:
        output.print(
            f"  the dataset has several label sets now: name one as {dataset}@{labels}, or with --labels {labels}",
            markup=False,
            soft_wrap=True,
        )


@app.command("show")
def show_command(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Name, digest, or first digits of the digest.")],
    json: JsonOption = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this file instead.")] = None,
    verify: Annotated[bool, typer.Option(help="Recompute all digests from the stored bytes first.")] = False,
) -> None:
    """Show what a dataset holds."""
    workspace = workspace_of(context)
    found = open_dataset(workspace, dataset)
    if verify:
        found.verify()
    summary = summarise(found)
    if html is not None:
        from workbench.events.page import write_page  # brings matplotlib

        write_page(found, summary, html)
        output.print(f"{html}", markup=False, soft_wrap=True)
    elif json:
        print_json(summary.as_dict())
    else:
        _print_summary(summary, verified=verify)


@app.command("list")
def list_command(context: typer.Context, json: JsonOption = False) -> None:
    """List the datasets of this workspace."""
    workspace = workspace_of(context)
    datasets = [(open_dataset(workspace, digest), names) for digest, names in list_datasets(workspace).items()]
    if json:
        print_json([{"dataset": d.digest, "names": names, "rows": d.rows} for d, names in datasets])
        return
    if not datasets:
        raise InputError("there is no dataset yet: `workbench events generate` or `workbench events ingest` makes one")
    table = Table("name", "dataset", "events", "from", "to", box=None)
    for found, names in datasets:
        table.add_row(
            ", ".join(names),
            found.digest[:12],
            f"{found.rows:,}",
            found.identity["first"][:19],
            found.identity["last"][:19],
        )
    output.print(table)


def _print_summary(summary: Summary, *, verified: bool) -> None:
    def counted(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"

    labelled = counted(summary.labels)
    if summary.labels:
        share = summary.labels.get("violation", 0) / sum(summary.labels.values())
        labelled += f" ({share:.2%} violations), unlabelled {summary.unlabelled:,}"
    output.print(
        fields(
            [
                ("dataset", summary.digest + (" (verified)" if verified else "")),
                ("events", f"{summary.rows:,}"),
                ("time", f"{summary.first} to {summary.last}, {summary.days:g} days"),
                (
                    "distinct",
                    (
                        f"{summary.users:,} users, {summary.sources:,} sources, {summary.ips:,} IPs, "
                        f"{summary.resources:,} resources"
                    ),
                ),
                ("actions", counted(summary.actions)),
                ("outcomes", counted(summary.outcomes)),
                ("labels", labelled),
                *(("label set", f"{digest[:12]}: {counted(counts)}") for digest, counts in summary.label_sets.items()),
                (
                    "gaps",
                    "; ".join(f"{gap.seconds / 3600:.1f} h from {gap.start}" for gap in summary.gaps)
                    or "none out of the ordinary",
                ),
                ("skipped", counted(summary.skipped)),
                ("rejected", counted(summary.rejected)),
            ]
        )
    )
