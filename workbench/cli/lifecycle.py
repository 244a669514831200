"""``workbench submit``, ``approve``, ``withdraw``, ``reject``, ``retire`` and ``history``."""

import json as json_
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from workbench.cli.console import errors, output, print_json, tell_waiting, working, workspace_of
from workbench.cli.passphrases import Passphrase, ask
from workbench.custody import Custody
from workbench.errors import InputError, NotFoundError, StorageError
from workbench.files import write_atomic
from workbench.lifecycle import TRANSITIONS, Action, Lifecycle, Subject, SubjectKind
from workbench.lifecycle.reading import moment_of
from workbench.lifecycle.subjects import split_reference

__all__ = ["KINDS", "lifecycle_of", "register"]


def _policies(custody: Custody) -> SubjectKind:
    from workbench.policies.kind import PolicyKind

    return PolicyKind(custody.workspace, Subject, clock=custody.clock)


def _models(custody: Custody) -> SubjectKind:
    from workbench.risk.lifecycle_kind import ModelKind

    return ModelKind(custody)


def _reports(custody: Custody) -> SubjectKind:
    from workbench.reports.lifecycle_kind import ReportKind

    return ReportKind(custody)


# How each kind of subject is made; whoever plugs one in adds a line, and imports its module inside the function.
KINDS: Final[dict[str, Callable[[Custody], SubjectKind]]] = {
    "policy": _policies,
    "model": _models,
    "report": _reports,
}

SubjectArgument = Annotated[str, typer.Argument(metavar="SUBJECT", help="policy:NAME@VERSION, model:v3 or report:ID.")]
AsOption = Annotated[str, typer.Option("--as", metavar="PERSON", help="Who decides: pseudonym (reviewer-1) or name.")]
ReasonOption = Annotated[str, typer.Option(help="Why; kept beside the ledger, where it can be erased.")]
MetaOption = Annotated[
    list[str] | None, typer.Option("--meta", metavar="KEY=VALUE", help="To be kept with it: commit=..., ticket=...")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Sign without asking once more.")]
ReceiptOption = Annotated[Path | None, typer.Option(help="Write a receipt (JSON) to this file as well.")]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Read the person's passphrase from this file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def lifecycle_of(context: typer.Context, *kinds: str) -> Lifecycle:
    """The lifecycle of the workspace in use, with these kinds plugged in (with all, unless any are named)."""
    custody = Custody(workspace_of(context), waiting=tell_waiting)
    return Lifecycle(custody, [make(custody) for name, make in KINDS.items() if not kinds or name in kinds])


def register(app: typer.Typer) -> None:
    """The commands of the table's actions, with help made from it; and ``history``."""
    for action in Action:
        app.command(action.value, help=_help(action))(_command(action))
    app.command("history")(history_command)


def _help(action: Action) -> str:
    rows = [row for row in TRANSITIONS if row.action is action]
    told = [f"stays in {row.target}" if row.source is row.target else f"{row.source} to {row.target}" for row in rows]
    ways = ", or ".join(reversed(told))
    verbs = {
        Action.SUBMIT: "Submit a subject for review",
        Action.APPROVE: "Approve a subject",
        Action.WITHDRAW: "Withdraw one's own approval",
        Action.REJECT: "Reject a subject",
        Action.RETIRE: "Retire a subject",
    }
    return f"{verbs[action]} ({ways}), signed with one's own key."


def _command(action: Action) -> Callable[..., None]:
    def command(
        context: typer.Context,
        subject: SubjectArgument,
        person: AsOption,
        reason: ReasonOption,
        meta: MetaOption = None,
        yes: YesOption = False,
        receipt: ReceiptOption = None,
        passphrase_file: PassphraseFile = None,
        json: JsonOption = False,
    ) -> None:
        _decide(context, action, subject, person, reason, meta, False, yes, receipt, passphrase_file, json)

    def approve(
        context: typer.Context,
        subject: SubjectArgument,
        person: AsOption,
        reason: ReasonOption,
        retire_active: Annotated[
            bool, typer.Option("--retire-active", help="Retire the version in use in the same step.")
        ] = False,
        meta: MetaOption = None,
        yes: YesOption = False,
        receipt: ReceiptOption = None,
        passphrase_file: PassphraseFile = None,
        json: JsonOption = False,
    ) -> None:
        _decide(context, action, subject, person, reason, meta, retire_active, yes, receipt, passphrase_file, json)

    return approve if action is Action.APPROVE else command


def _decide(
    context: typer.Context,
    action: Action,
    text: str,
    person: str,
    reason: str,
    meta: list[str] | None,
    retire_active: bool,
    yes: bool,
    receipt: Path | None,
    passphrase_file: Path | None,
    json: bool,
) -> None:
    metadata = _pairs(meta or [])
    if not reason.strip():
        raise InputError("--reason is empty: say why, in a sentence")
    if receipt is not None and receipt.is_dir():
        raise InputError(f"{str(receipt)!r} is a folder: name a file for the receipt")
    lifecycle = lifecycle_of(context, split_reference(text)[0])
    with working("checking"):
        subject = lifecycle.find(text)
        proposal = lifecycle.propose(subject, action, person, retire_active=retire_active)
    if not json:
        output.print(proposal.sentence, markup=False, soft_wrap=True)
    if not yes:
        _confirm()
    passphrase = ask(Passphrase.PERSON, file=passphrase_file, demo=lifecycle.custody.store.demo)
    with working("signing"):
        decision = lifecycle.transition(
            subject,
            action,
            proposal.person,
            reason=reason,
            metadata=metadata,
            passphrase=passphrase,
            retire_active=retire_active,
            proposal=proposal,
        )
    if json:
        print_json(decision.as_dict())
    else:
        output.print(
            f"signed and recorded: entry {decision.seq} of the ledger, {decision.time} (the workbench's own time), "
            f"statement {decision.envelope_sha256[:16]}; {subject} is {decision.state}",
            markup=False,
            soft_wrap=True,
        )
    if receipt is not None:
        try:
            write_atomic(receipt, json_.dumps(decision.as_dict(), indent=1).encode() + b"\n", make_folder=True)
        except StorageError as error:
            raise StorageError(f"{error}; the decision is recorded all the same, as entry {decision.seq}") from error


def _confirm() -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError("nobody is here to say yes: read the sentence, then add --yes; nothing was signed")
    if not typer.confirm("Sign this?", err=True):
        raise InputError("not signed; nothing was recorded")


def _pairs(meta: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in meta:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--meta {text!r}: expected KEY=VALUE, such as commit=1f0c2d3")
        if key in pairs:
            raise InputError(f"--meta {key!r} is given twice")
        pairs[key] = value
    return pairs


def history_command(
    context: typer.Context,
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="policy:NAME@VERSION, model:v3, report:ID; or policy:NAME for all.")
    ],
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="DATE", help="Only what was known then: a day (its end) or a time.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show who decided what, when and why; exit code 1 if a decision's evidence was changed."""
    moment = None if as_of is None else moment_of(as_of)
    lifecycle = lifecycle_of(context, split_reference(subject)[0])
    asked = _asked(lifecycle, subject)
    rows = lifecycle.history(asked, until=moment)
    problems = lifecycle.check(asked) if isinstance(asked, Subject) else lifecycle.check_name(asked)
    if json:
        print_json({"subject": str(asked), "history": rows, "problems": problems})
    elif not rows:
        output.print(f"nothing was decided on {asked}{f' until {as_of}' if as_of else ''}: it is a DRAFT", markup=False)
    else:
        output.print(_table(rows), markup=False)
    for problem in [] if json else problems:
        errors.print(f"workbench: {problem}", markup=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def _asked(lifecycle: Lifecycle, text: str) -> Subject | str:
    """A subject, or ``KIND:NAME`` for all its versions; what is decided on can be asked for when it is gone itself."""
    kind, reference = split_reference(text)
    try:
        return lifecycle.find(text)
    except (NotFoundError, InputError):
        logged = {row["subject"]: row["digest"] for row in lifecycle.history(f"{kind}:{reference.partition('@')[0]}")}
        if text in logged:
            name, version = text.partition(":")[2].rsplit("@", 1)
            return Subject(kind, name, int(version), logged[text])
        if logged and "@" not in reference:
            return text
        raise


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        "entry", "time", "version", "who", "as", "step", "state", "reason", "metadata", "statement", "key", "time is",
        box=None,
    )  # fmt: skip
    for row in rows:
        state = row["to_state"] if row["from_state"] != row["to_state"] else f"stays {row['to_state']}"
        table.add_row(
            str(row["seq"]), row["time"], str(row["version"]), row["person"], row["role"], row["action"], state,
            row["reason"], ", ".join(f"{key}={value}" for key, value in row["metadata"].items()),
            row["envelope_sha256"][:12], row["cert_sha256"][:12],
            {"none": "its own", "local": "its own, stamped", "external": "stamped outside"}[row["timestamp"]],
        )  # fmt: skip
    return table
