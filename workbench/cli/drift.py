"""``workbench drift``."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from workbench.cli.console import fields, output, print_json, say, working, workspace_of
from workbench.cli.model_inputs import JsonOption, LabelsOption, moment_us, open_registry, table_for

if TYPE_CHECKING:
    from workbench.risk.monitoring import DriftReport

__all__ = ["register"]

_SHOWN = 8


def register(app: typer.Typer) -> None:
    app.command("drift")(drift_command)


def drift_command(
    context: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Name or digest of a dataset that is later than the model.")],
    model: Annotated[
        str, typer.Option(help="v3, champion, latest, or first digits of a model's SHA-256.")
    ] = "champion",
    labels: LabelsOption = None,
    since: Annotated[
        str | None, typer.Option(help="First moment to judge, UTC; otherwise where the model's data end.")
    ] = None,
    maturity: Annotated[float, typer.Option(help="Days after which a label is taken to have come in.")] = 14,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 42,
    json: JsonOption = False,
) -> None:
    """Ask whether a model has become worse on newer events.

    Exit code 0: OK, or EXTEND (too few violations to say more). 1: WARN or RETRAIN. 2: it could not be judged.
    """
    from workbench.risk.monitoring import DriftRules, drift

    workspace = workspace_of(context)
    rules = DriftRules(maturity_days=maturity, seed=seed)
    since_us = moment_us(since, "--since")
    version = open_registry(workspace).open(model)
    with working("building features") as progress:
        table = table_for(workspace, dataset, labels, version.spec, labelled_only=False)
        progress("judging")
        report = drift(version, table, since_us=since_us, rules=rules)
    if json:
        print_json(report.as_dict())
    else:
        _tell(report, version.name)
    raise typer.Exit(1 if report.verdict in ("WARN", "RETRAIN") else 0)


def _tell(report: "DriftReport", name: str) -> None:
    window, labels = report.window, report.labels
    say(f"{report.verdict}: {report.statement}")
    share, median, late = labels["share_labelled"], labels["delay_days_median"], labels["delay_days_p90"]
    delay = "no labels" if median is None else f"{median:.1f} days at the median, {late:.1f} for the slowest tenth"
    begin = f"after {window['after']}" if window["after"] else "all events"
    output.print(
        fields(
            [
                ("model", f"{name} ({report.model[:12]})"),
                ("window", f"{begin}; {window['scored']:,} events, those until {window['until']} have matured labels"),
                ("labelled", "nothing matured yet" if share is None else f"{100 * share:.0f} % of the matured events"),
                ("label delay", delay),
                ("users", f"{window['users']:,} with matured labels"),
                ("alerts", "{tp:,} right, {fp:,} false, {fn:,} violations missed".format(**report.counts)),
            ]
        )
    )
    moved = report.moved
    if not moved:
        say(f"none of {len(report.shifts):,} distributions (score and features) moved further than chance")
        return
    say(f"{len(moved):,} of {len(report.shifts):,} distributions moved; look at them, they do not decide:")
    table = Table("what", "PSI", "threshold", box=None)
    for one in moved[:_SHOWN]:
        table.add_row(one.name, f"{one.psi:.3f}", f"{one.threshold:.3f}")
    output.print(table)
    if len(moved) > _SHOWN:
        say(f"  and {len(moved) - _SHOWN} more: --json lists all")
