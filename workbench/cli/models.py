"""``workbench models``: list, show, compare, promote, rollback, history."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from workbench.cli.console import fields, output, print_json, say, working, workspace_of
from workbench.cli.model_inputs import JsonOption, LabelsOption, labels_for, moment_us, open_registry
from workbench.errors import InputError, IntegrityError, MalformedError, NotFoundError, NotPermittedError

if TYPE_CHECKING:
    from workbench.risk.promotion import Promotion
    from workbench.risk.registry import Move, Registry
    from workbench.risk.version import Version

__all__ = ["app"]

app = typer.Typer(help="Models: versions, comparisons, and the champion.", no_args_is_help=True, rich_markup_mode=None)

VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="v3, champion, latest, or first digits of the model's SHA-256.")
]


@app.command("list")
def list_command(context: typer.Context, json: JsonOption = False) -> None:
    """List all models, oldest first."""
    registry = open_registry(workspace_of(context))
    moves = registry.history()
    champion = moves[-1].sha256 if moves else None
    rows = [_row(version, champion) for version in registry.versions()]
    if json:
        print_json(rows)
        return
    if not rows:
        raise NotFoundError("there is no model yet: `workbench train DATASET` makes one")
    table = Table("version", "model", "algorithm", "average precision (test)", "violations", "dataset", "", box=None)
    for row in rows:
        notes = ["champion"] * row["champion"] + ["DAMAGED: `models show` says how"] * (row["damage"] is not None)
        table.add_row(
            f"v{row['version']}",
            row["sha256"][:12],
            row["algorithm"],
            _interval(row["average_precision"]),
            "" if row["test_violations"] is None else f"{row['test_violations']:,}",
            row["dataset_sha256"][:12],
            ", ".join(notes),
        )
    output.print(table, markup=False)


def _row(version: "Version", champion: str | None) -> dict[str, Any]:
    """One damaged model must not hide the others."""
    damage, test = None, {}
    try:
        test = _test_slice(version)
    except (IntegrityError, MalformedError) as error:
        damage = str(error)
    return {
        "version": version.number,
        "sha256": version.sha256,
        "algorithm": version.row["algorithm"],
        "dataset_sha256": version.row["dataset_sha256"],
        "champion": version.sha256 == champion,
        "average_precision": test.get("metrics", {}).get("average_precision"),
        "test_violations": test.get("positives"),
        "damage": damage,
    }


def _test_slice(version: "Version") -> dict[str, Any]:
    """The test slice of ``metrics.json``; empty where the model was registered without it."""
    from workbench.evidence.strict import read_object

    if "metrics.json" not in version.manifest["files"]:
        return {}
    metrics = read_object(version.file("metrics.json"), what=f"metrics.json of model {version.name}")
    slices = metrics.get("slices")
    test = slices.get("test") if isinstance(slices, dict) else None
    return test if isinstance(test, dict) else {}


def _interval(metric: dict[str, float] | None) -> str:
    return "" if metric is None else f"{metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"


@app.command("show")
def show_command(context: typer.Context, version: VersionArgument, json: JsonOption = False) -> None:
    """Show a model: where it comes from, what it was worth, and its files, all checked."""
    registry = open_registry(workspace_of(context))
    found = registry.open(version)
    found.verify()
    model, test = found.model, _test_slice(found)
    moves = registry.history()
    shown = {
        "version": found.number,
        "sha256": found.sha256,
        "champion": bool(moves) and moves[-1].sha256 == found.sha256,
        "algorithm": model.forest.algorithm,
        "trees": model.forest.n_trees,
        "calibration": model.calibrator.method,
        "threshold": model.threshold.as_dict(),
        "spec_sha256": model.spec.sha256,
        "features": list(model.spec.columns),
        "origin": model.origin,
        "test": test,
        "files": found.manifest["files"],
    }
    if json:
        print_json(shown)
        return
    metrics = test.get("metrics", {})
    output.print(
        fields(
            [
                ("model", f"{found.name}{', the champion' if shown['champion'] else ''}"),
                ("sha256", found.sha256),
                ("algorithm", f"{model.forest.algorithm}, {model.forest.n_trees:,} trees"),
                ("calibration", model.calibrator.method),
                ("threshold", f"{model.threshold.value:.4f}, by {model.threshold.rule}"),
                ("dataset", str(model.origin["dataset_sha256"])),
                ("labels", str(model.origin["labels_sha256"] or "none")),
                ("features", f"{len(model.spec.columns)}, spec {model.spec.sha256[:12]}"),
                *((name.replace("_", " "), _interval(metric)) for name, metric in metrics.items()),
                ("files", ", ".join(f"{name} ({file['size']:,})" for name, file in shown["files"].items())),
            ]
        )
    )


@app.command("compare")
def compare_command(
    context: typer.Context,
    challenger: Annotated[str, typer.Argument(help="v3, latest, or first digits of a model's SHA-256.")],
    dataset: Annotated[str, typer.Argument(help="Name or digest of a dataset that is later than both models.")],
    champion: Annotated[str, typer.Option(help="The model to beat.")] = "champion",
    reason: Annotated[
        str, typer.Option(help="Why to change: better, or cheaper (a smaller file, nearly as good).")
    ] = "better",
    since: Annotated[
        str | None, typer.Option(help="First moment to judge, UTC; otherwise where both models' data end.")
    ] = None,
    alerts: Annotated[
        int | None, typer.Option(help="Equal budget of alerts over the window; otherwise as many as the champion's.")
    ] = None,
    maturity: Annotated[float, typer.Option(help="Days after which a label is taken to have come in.")] = 14,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 42,
    labels: LabelsOption = None,
    json: JsonOption = False,
) -> None:
    """Compare a challenger with the champion on later events; exit code 0 if it may take over, 1 if not."""
    from workbench.events import open_dataset
    from workbench.risk.comparisons import compare_versions, keep_comparison
    from workbench.risk.criteria import PromotionRules

    workspace = workspace_of(context)
    rules = PromotionRules(reason=reason, alerts=alerts, maturity_days=maturity, seed=seed)  # type: ignore[arg-type]
    after_us = moment_us(since, "--since")
    registry = open_registry(workspace)
    new, old = registry.open(challenger), registry.open(champion)
    if new.sha256 == old.sha256:
        raise InputError(f"{new.name} ({new.sha256[:12]}) is the champion already: name another challenger")
    opened = open_dataset(workspace, dataset)
    with working("comparing"):
        promotion = compare_versions(old, new, opened, labels_for(opened, labels), rules=rules, after_us=after_us)
    path = keep_comparison(workspace, promotion)
    if json:
        print_json(promotion.as_dict() | {"sha256": promotion.sha256, "measured": promotion.measured})
    else:
        _tell_comparison(promotion, old, new)
        say(f"comparison {workspace.shown(path)}")
        if promotion.promoted:
            because = f"workbench models promote {new.name} --because {promotion.sha256[:12]}"
            say(f"next: {f'workbench submit model:{new.name}' if registry.governed else because}")
    raise typer.Exit(0 if promotion.promoted else 1)


def _tell_comparison(promotion: "Promotion", old: "Version", new: "Version") -> None:
    window = promotion.window
    say(f"champion {old.name} ({old.sha256[:12]}), challenger {new.name} ({new.sha256[:12]})")
    say(
        f"{window['labelled']:,} labelled events of {window['users']:,} users, {window['violations']:,} violations, "
        f"after {window['after']} and until {window['until']}"
    )
    table = Table("criterion", "verdict", "what was found", box=None)
    for criterion in promotion.criteria:
        statement = criterion.statement
        if criterion.name == "cost":
            statement += f" (measured here: {promotion.measured['p99_us'] / 1000:.3f} ms)"
        table.add_row(criterion.name, _VERDICTS[criterion.passed], statement)
    output.print(table, markup=False)
    say(promotion.statement)


_VERDICTS = {True: "passed", False: "FAILED", None: "not judged"}


@app.command("promote")
def promote_command(
    context: typer.Context,
    version: VersionArgument,
    because: Annotated[
        str | None, typer.Option(metavar="COMPARISON", help="An accepted comparison: its file, or its digest's start.")
    ] = None,
    first: Annotated[bool, typer.Option("--first", help="There is no champion yet: this is the first.")] = False,
    override: Annotated[
        bool, typer.Option("--override", help="Promote without an accepted comparison; the ledger shows that.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Let the alias champion point to a model, and log it. A comparison is made again first and must come out the same.

    Where people are enrolled, a champion is made by their decisions instead (submit, approve).
    """
    if [because is not None, first, override].count(True) != 1:
        raise InputError(
            "a model is promoted --because COMPARISON (which `workbench models compare` makes), as the --first "
            "champion, or with --override: give one of the three"
        )
    registry = open_registry(workspace_of(context))
    registry.require_ungoverned(version)  # asked again when it is entered; here so that nobody waits for a comparison
    current, chosen = registry.champion(), registry.open(version)
    evidence = None if because is None else _evidence(registry, because, current, chosen)
    if first and current is not None:
        raise InputError(f"--first is for the first champion, and {current.name} is it already: compare with it")
    promoted = registry.promote(
        chosen.sha256, expected_previous=current.sha256 if current else None, evidence_sha256=evidence
    )
    reason = f"on comparison {evidence[:12]}" if evidence else "without a comparison, and the ledger says so"
    _tell_move(promoted, current, evidence, reason, json)


def _evidence(registry: "Registry", because: str, current: "Version | None", chosen: "Version") -> str:
    """The digest of an accepted comparison that comes out again here, and is kept from now on."""
    from workbench.risk.comparisons import accepted, keep_bytes, open_comparison, repeat

    if current is None:
        raise InputError("there is no champion to have been compared with: `--first` makes the first one")
    comparison = open_comparison(registry.workspace, because)
    digest = accepted(comparison, champion=current.sha256, challenger=chosen.sha256)
    with working("repeating the comparison"):
        repeat(registry, comparison)
    keep_bytes(registry.workspace, comparison.data)
    return digest


def _tell_move(promoted: "Version", previous: "Version | None", evidence: str | None, reason: str, json: bool) -> None:
    if json:
        print_json(
            {
                "champion": promoted.number,
                "sha256": promoted.sha256,
                "previous_sha256": previous.sha256 if previous else None,
                "evidence_sha256": evidence,
            }
        )
        return
    before = f"; it was {previous.name} ({previous.sha256[:12]})" if previous else ", the first"
    say(f"champion is {promoted.name} ({promoted.sha256[:12]}){before}")
    if previous is not None:
        say(f"  {reason}")


@app.command("rollback")
def rollback_command(context: typer.Context, json: JsonOption = False) -> None:
    """Let champion point to the model that was champion before the present one.

    Where people are enrolled, somebody retires the present one instead, and another is submitted and approved.
    """
    registry = open_registry(workspace_of(context))
    if registry.governed:
        raise NotPermittedError(
            "people are enrolled here, and the champion changes by their decisions: `workbench retire model:VERSION` "
            "takes the present one out of use for good, and `workbench submit` and `approve` put another in its place"
        )
    earlier = _standing([move.sha256 for move in registry.history()])
    if len(earlier) < 2:
        raise InputError("no model was champion before the present one: there is nothing to roll back to")
    current = registry.open(earlier[-1])
    promoted = registry.promote(earlier[-2], expected_previous=current.sha256)
    _tell_move(promoted, current, None, "back to an earlier champion", json)


def _standing(moves: list[str | None]) -> list[str]:
    """The champions that a rollback can go back through, the present one last; going back drops what came after."""
    standing: list[str] = []
    for model in (move for move in moves if move is not None):
        standing = standing[: standing.index(model) + 1] if model in standing else [*standing, model]
    return standing


@app.command("history")
def history_command(context: typer.Context, json: JsonOption = False) -> None:
    """List every change of the champion, oldest first."""
    registry = open_registry(workspace_of(context))
    numbers = {version.sha256: version.number for version in registry.versions()}
    moves = registry.history()
    rows: list[dict[str, Any]] = [
        {
            "time": move.time,
            "champion": None if move.sha256 is None else numbers.get(move.sha256),
            "sha256": move.sha256,
            "previous_sha256": move.previous,
            "actor": move.actor,
            "evidence_sha256": move.evidence,
            "why": _why(moves[:place], move),
        }
        for place, move in enumerate(moves)
    ]
    if json:
        print_json(rows)
        return
    if not rows:
        raise NotFoundError("no model is champion yet: `workbench models promote VERSION --first` makes one")
    table = Table("time", "champion", "model", "by", "why", box=None)
    for row in rows:
        champion = ("none", "") if row["sha256"] is None else (f"v{row['champion']}", row["sha256"][:12])
        table.add_row(row["time"], *champion, row["actor"], row["why"])
    output.print(table)


def _why(before: "list[Move]", move: "Move") -> str:
    if move.evidence is not None and move.decided:
        return f"{'retirement' if move.sha256 is None else 'approval'} {move.evidence[:12]}"
    if move.evidence is not None:
        return f"comparison {move.evidence[:12]}"
    standing = _standing([earlier.sha256 for earlier in before])
    if not standing:
        return "first"
    return "back to an earlier champion" if move.sha256 in standing else "override, without a comparison"
