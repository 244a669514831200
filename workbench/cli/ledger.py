"""``workbench ledger``: show, verify, checkpoint, as-of, rebuild."""

import json as json_
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from workbench.cli.console import output, print_json, tell_waiting, working, workspace_of
from workbench.cli.passphrases import Passphrase, ask
from workbench.custody import Custody
from workbench.errors import InputError, nearest
from workbench.evidence.entries import FIELDS
from workbench.files import write_atomic
from workbench.ledger import Ledger, open_ledger
from workbench.lifecycle import audit
from workbench.lifecycle.reading import moment_of

__all__ = ["app"]

app = typer.Typer(help="The append-only log of every step that matters.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_EMPTY = "the ledger is empty: it begins with the first run, key or approval"
_COMMON = {"v", "seq", "time", "type", "actor"}


def _ledger(context: typer.Context) -> Ledger:
    return open_ledger(workspace_of(context), waiting=tell_waiting)


@app.command("show")
def show_command(
    context: typer.Context,
    type: Annotated[str | None, typer.Option(help="Only entries of this type, e.g. run.finished.")] = None,
    last: Annotated[int, typer.Option(help="How many, counted from the end.")] = 20,
    json: JsonOption = False,
) -> None:
    """Show the latest entries."""
    if type is not None and type not in FIELDS:
        raise InputError(f"no entry is of the type {type!r}{nearest(type, FIELDS)}")
    if not 1 <= last <= 1_000_000:
        raise InputError(f"--last {last}: expected 1 to 1,000,000")
    ledger = _ledger(context)
    rows = ledger.query(
        "FROM (SELECT seq, entry FROM entries WHERE type = coalesce(?, type) ORDER BY seq DESC LIMIT ?) ORDER BY seq",
        [type, last],
    )
    entries = [json_.loads(row["entry"]) for row in rows]
    if json:
        print_json(entries)
    elif not entries:
        output.print(_EMPTY if type is None else f"the ledger has no entry of the type {type}", markup=False)
    else:
        table = Table("entry", "time", "type", "by", "what", box=None)
        for entry in entries:
            what = ", ".join(f"{name} {_short(value)}" for name, value in entry.items() if name not in _COMMON)
            table.add_row(str(entry["seq"]), entry["time"], entry["type"], entry["actor"], what)
        output.print(table, markup=False)


@app.command("verify")
def verify_command(
    context: typer.Context,
    thorough: Annotated[
        bool, typer.Option(help="Parse every entry strictly, however many; below 50,000 that is done anyway.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Recompute everything from the stored bytes. Exit code 1 if anything contradicts it."""
    custody = Custody(workspace_of(context), waiting=tell_waiting)
    with working("checking the ledger") as progress:
        found = custody.ledger.verify(thorough=True if thorough else None, progress=progress)
        if found.ok:  # the bytes are those that were written; now whether the people they name signed what they say
            progress("checking decisions")
            found = replace(found, problems=(*audit(custody), *_champion_problems(custody)))
    if json:
        print_json(
            {
                "size": found.size,
                "root": found.root.hex(),
                "parsed": found.parsed,
                "problems": list(found.problems),
            }
        )
    elif found.problems:
        for problem in found.problems:
            output.print(problem, markup=False, soft_wrap=True)
    elif not found.size:
        output.print(_EMPTY, markup=False)
    else:
        how = "each parsed" if found.parsed else "hashes and times checked, not parsed (--thorough does)"
        output.print(f"{found.size:,} entries, nothing wrong; {how}\nroot {found.root.hex()}", markup=False)
    if found.problems:
        raise typer.Exit(1)


@app.command("checkpoint")
def checkpoint_command(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Write the signed checkpoint to this file as well.")] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="Read the passphrase of the working keys from this file.")
    ] = None,
) -> None:
    """Sign and timestamp how the ledger stands; whoever is given the checkpoint can hold the ledger against it."""
    custody = Custody(workspace_of(context), waiting=tell_waiting)
    if out is not None and out.is_dir():
        raise InputError(f"{str(out)!r} is a folder: name a file for the checkpoint")
    passphrase = ask(Passphrase.WORKING, file=passphrase_file, demo=custody.store.demo)
    with working("signing"):
        custody.log_keys()
        stored = custody.checkpoint(custody.unlock(passphrase))
    if out is not None:
        write_atomic(out, stored.note, make_folder=True)
    typer.echo(stored.note.decode(), nl=False)


@app.command("as-of")
def as_of_command(
    context: typer.Context,
    date: Annotated[str, typer.Argument(help="A day (its end, UTC) or a time, e.g. 2026-05-03 or 2026-05-03T10:00Z.")],
    json: JsonOption = False,
) -> None:
    """Show what held at a time: keys, people, runs, reports, what is ACTIVE, approvals."""
    moment = moment_of(date)
    ledger = _ledger(context)
    size = ledger.as_of(moment)
    names = ("keys", "people", "runs", "reports", "states", "approvals")
    state = {name: ledger.query(f"SELECT * FROM {name}", size=size) for name in names}
    if json:
        print_json({"size": size, **state})
        return
    if not size:
        output.print(f"the ledger had no entry until {moment:%Y-%m-%d %H:%M:%S} UTC", markup=False)
        return
    output.print(f"after {size:,} entries, {moment:%Y-%m-%d %H:%M:%S} UTC", markup=False)
    for name, rows in state.items():
        _print_rows(name, rows)


@app.command("rebuild")
def rebuild_command(context: typer.Context) -> None:
    """Take the ledger as it is now, after a loss or a restored backup; the ledger records that this was done."""
    entry = _ledger(context).rebuild_frontier()
    output.print(f"{entry.fields['size']:,} entries taken as they are; entry {entry.seq} records it", markup=False)


def _champion_problems(custody: Custody) -> list[str]:
    if not custody.ledger.query("SELECT 1 FROM entries WHERE type IN ('model.aliased', 'model.registered') LIMIT 1"):
        return []  # nothing of models is imported then
    from workbench.risk.lifecycle_kind import champion_problems

    return champion_problems(custody)


def _short(value: Any) -> str:
    """Digests by their first digits; a list or object by its size."""
    if isinstance(value, str):
        return value[:12] if len(value) == 64 else value[:40]
    if isinstance(value, dict):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)


def _print_rows(name: str, rows: Sequence[dict[str, Any]]) -> None:
    output.print(f"\n{name}" if rows else f"\n{name}: none", markup=False)
    if rows:
        table = Table(*(column.replace("_", " ") for column in rows[0]), box=None)
        for row in rows:
            table.add_row(*(_short(value) for value in row.values()))
        output.print(table, markup=False)
