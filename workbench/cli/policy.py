"""``workbench policy``: add, check, diff, list, show, backtest, columns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from workbench.cli.console import fields, output, print_json, say, tell_waiting, working, workspace_of
from workbench.cli.policy_output import print_backtest
from workbench.errors import InputError, WorkspaceError

if TYPE_CHECKING:
    from workbench.events import Dataset, LabelSet
    from workbench.policies import Policy, PolicyStore, PolicyVersion
    from workbench.workspace import Workspace

__all__ = ["app"]

app = typer.Typer(help="Policies: files, versions, backtests.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _store(workspace: "Workspace") -> "PolicyStore":
    from workbench.policies import PolicyStore

    return PolicyStore(workspace, waiting=tell_waiting)


@app.command("add")
def add_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Policy file (YAML).")],
    as_: Annotated[
        str, typer.Option("--as", metavar="WHO", help="Pseudonym of its author, such as p:ada or ada.")
    ] = "p:local",
    json: JsonOption = False,
) -> None:
    """Keep a policy file as the next version of its name. The same content again is the same version."""
    from workbench.policies import check_policy, controls_of, load_policy

    workspace = workspace_of(context)
    policy = load_policy(file)
    author = as_ if as_.startswith("p:") else f"p:{as_}"
    version, already_there = _store(workspace).add(policy, author=author)
    problems = check_policy(policy, controls_of(workspace))
    if json:
        print_json({**version.as_dict(), "already_there": already_there, "problems": problems})
        return
    again = " (was there already)" if already_there else ""
    say(f"policy {version}, digest {version.sha256[:12]}, by {', '.join(version.authors)}{again}")
    for problem in problems:
        say(f"  before it can become ACTIVE: {problem}")


@app.command("check")
def check_command(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policy files (YAML).")],
    json: JsonOption = False,
) -> None:
    """Check policy files: form, expression, controls. Exit code 1 if anything stands against one."""
    from workbench.policies import check_policy, controls_of, describe, load_policy

    try:
        controls = controls_of(workspace_of(context))
    except WorkspaceError:  # an editor or a CI job may check a file anywhere
        controls = controls_of(None)
    found: list[dict[str, Any]] = []
    for file in files:
        one: dict[str, Any] = {"file": str(file), "name": None, "problems": [], "words": None}
        found.append(one)
        try:
            policy = load_policy(file)
            one |= {"name": policy.name, "problems": check_policy(policy, controls)}
            one["words"] = describe(policy.parsed)
        except InputError as error:  # of the expression: it is among the problems already
            one["problems"] = one["problems"] or [str(error)]
    if json:
        print_json(found)
    else:
        for one in found:
            say(f"{one['file']}: {'good' if not one['problems'] else 'cannot be used as it is'}")
            for problem in one["problems"]:
                say("  " + problem.replace("\n", "\n  "))
            if one["words"]:
                say(f"  {one['words']}")
    if any(one["problems"] for one in found):
        raise typer.Exit(1)


@app.command("diff")
def diff_command(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="NAME@VERSION, NAME (its newest), a digest, or a file.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same.")],
    json: JsonOption = False,
) -> None:
    """Show what changed from one version, or file, to another: in plain words and line by line."""
    from workbench.policies import compare

    store = _store(workspace_of(context))
    (old_name, before), (new_name, after) = _version_or_file(store, old), _version_or_file(store, new)
    difference = compare(before, after, old_name=old_name, new_name=new_name)
    if json:
        print_json({"old": old_name, "new": new_name, **difference.as_dict()})
        return
    for sentence in difference.words:
        say(sentence)
    if difference.unified:
        say("\n" + difference.unified)


def _version_or_file(store: "PolicyStore", reference: str) -> tuple[str, "Policy"]:
    from workbench.policies import load_policy

    if reference.endswith((".yaml", ".yml")):
        return Path(reference).name, load_policy(Path(reference))
    version = store.open(reference)
    return str(version), version.policy


@app.command("list")
def list_command(context: typer.Context, json: JsonOption = False) -> None:
    """List the policies of this workspace, each with its versions."""
    known = _store(workspace_of(context)).versions()
    if json:
        print_json([version.as_dict() for several in known.values() for version in several])
        return
    if not known:
        raise InputError("there is no policy yet: `workbench policy add policies/bulk-export.yaml` adds one")
    table = Table("policy", "severity", "digest", "author", "added", "title", box=None)
    for several in known.values():
        for version in several:
            policy = version.policy
            author = ", ".join(version.authors)
            table.add_row(str(version), policy.severity, version.sha256[:12], author, version.time[:19], policy.title)
    output.print(table, markup=False)


@app.command("show")
def show_command(
    context: typer.Context,
    policy: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A policy, or the start of its digest.")],
    json: JsonOption = False,
) -> None:
    """Show one version: what it says, and in plain words what it flags."""
    from workbench.policies import check_policy, controls_of, describe

    workspace = workspace_of(context)
    version = _store(workspace).open(policy)
    known, found = controls_of(workspace), version.policy
    words, problems = describe(found.parsed), check_policy(found, known)
    if json:
        print_json({**version.as_dict(), "content": found.content, "words": words, "problems": problems})
        return
    controls = [f"{name} {known.get(name, '(in no catalogue)')}" for name in found.content["controls"]]
    output.print(
        fields(
            [
                ("policy", f"{version}, digest {version.sha256}"),
                ("title", found.title),
                ("severity", found.severity),
                ("description", found.description),
                ("controls", "\n".join(controls) or "none"),
                ("expression", found.expression),
                ("in words", words),
                ("rationale", found.rationale),
                ("added", f"{version.time} by {', '.join(version.authors)}"),
                *(("problem", problem) for problem in problems),
            ]
        ),
        markup=False,
    )


@app.command("columns")
def columns_command(json: JsonOption = False) -> None:
    """List the columns and functions that an expression may use."""
    from workbench.policies.vocabulary import COLUMNS, FLAGS, FUNCTIONS, NOUNS

    words = {name: NOUNS.get(name) or f"1 if {FLAGS[name][0]}, otherwise 0" for name in COLUMNS}
    functions = sorted(name for name in FUNCTIONS if name.isidentifier())
    if json:
        columns = [{"name": name, "type": kind, "words": words[name]} for name, kind in COLUMNS.items()]
        print_json({"columns": columns, "functions": functions})
        return
    table = Table("column", "type", "what it is", box=None)
    for name, kind in COLUMNS.items():
        table.add_row(name, kind, words[name])
    output.print(table, markup=False)
    say(f"\nfunctions: {', '.join(functions)}")
    say("operators: = <> < <= > >= AND OR NOT IN BETWEEN LIKE ILIKE ~ IS NULL + - * / // % || ->> CASE TRY_CAST")


@app.command("backtest")
def backtest_command(
    context: typer.Context,
    policy: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The policy to try.")],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name or digest of the dataset.")],
    against: Annotated[
        str | None,
        typer.Option(metavar="NAME@VERSION", help="Compare with this version, or active: what is added and dropped."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="First digits of the label set, where the dataset has several; or none.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model that gives risk: a version, champion, or the start of a digest.")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Recompute the digests of events, labels and features first.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what a policy would have flagged in a dataset, and keep that under its digest."""
    from workbench.cli.model_inputs import open_registry
    from workbench.events import open_dataset
    from workbench.policies import backtest, scores_of

    workspace = workspace_of(context)
    store = _store(workspace)
    version = store.open(policy)
    other = None if against is None else _other(workspace, store, version, against)
    opened = open_dataset(workspace, dataset)
    said = _labels(opened, labels)
    with working("evaluating") as progress:
        risk = None
        if model is not None:
            risk = scores_of(open_registry(workspace).open(model), opened, said, progress=progress)
        found = backtest(version, opened, against=other, labels=said, risk=risk, verify=verify, progress=progress)
    kept = found.save(workspace)
    if json:
        print_json({"backtest_sha256": found.sha256, "seconds": round(found.seconds, 3), **found.content})
        return
    print_backtest(found)
    say(f"\nkept as {workspace.shown(kept)}")


def _other(workspace: "Workspace", store: "PolicyStore", version: "PolicyVersion", reference: str) -> "PolicyVersion":
    if reference.lower() == "active":
        from workbench.custody import Custody
        from workbench.lifecycle import Lifecycle

        active = Lifecycle(Custody(workspace, waiting=tell_waiting)).active("policy", version.name)
        if active is None:
            raise InputError(f"no version of {version.name} is ACTIVE yet: leave --against out, or name a version")
        reference = active.removeprefix("policy:")
    other = store.open(reference)
    if other.sha256 == version.sha256:
        raise InputError(f"{version} is compared with itself: name another version after --against")
    return other


def _labels(dataset: "Dataset", wanted: str | None) -> "LabelSet | None":
    if wanted == "none" or (wanted is None and dataset.chosen is None and not dataset.label_sets()):
        return None
    return dataset.labels(wanted)
