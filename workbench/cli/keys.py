"""``workbench keys``: init, list, add, rotate, revoke, export-root."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from workbench.cli.console import custody_of, output, print_json, say, tell_waiting, working, workspace_of
from workbench.cli.passphrases import Passphrase, RootKeyOption, RootPassphraseFile, ask
from workbench.clock import SystemClock
from workbench.custody import Custody
from workbench.errors import InputError, KeyFileError, nearest
from workbench.evidence.certificates import KeyType, Role, fingerprint, identity_of, pem
from workbench.evidence.keys import REVOCATION_REASONS, KeyInfo
from workbench.files import write_atomic

__all__ = ["app"]

app = typer.Typer(help="Keys: one for each role.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Read the passphrase of the key concerned from this file.")
]


def _role(name: str) -> Role:
    if name not in set(Role):
        raise InputError(f"{name!r} is not a role{nearest(name, [role.value for role in Role])}")
    return Role(name)


@app.command("init")
def init_command(
    context: typer.Context,
    demo: Annotated[
        bool, typer.Option("--demo", help="Demonstration keys: their passphrase is public, nothing is evidence.")
    ] = False,
    key_type: Annotated[
        KeyType, typer.Option("--key-type", help="Kind of the root and timestamp keys: p256 or rsa3072.")
    ] = KeyType.P256,
    root_folder: Annotated[
        Path | None, typer.Option("--root-folder", help="Where the root's key goes: best, a removable medium.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    root_passphrase_file: RootPassphraseFile = None,
) -> None:
    """Make the keys of this workspace: a root, and one each for reports, the ledger and timestamps."""
    workspace = workspace_of(context)
    if Custody(workspace).store.exists:
        raise KeyFileError("there are keys already: `workbench keys list` shows them; rotate them to get new ones")
    root_passphrase = ask(Passphrase.ROOT, file=root_passphrase_file, new=True, demo=demo)
    passphrase = ask(Passphrase.WORKING, file=passphrase_file, new=True, demo=demo)
    with working("making keys"):
        custody = Custody.begin(
            workspace,
            root_passphrase=root_passphrase,
            passphrase=passphrase,
            demo=demo,
            key_type=key_type,
            root_folder=root_folder,
            waiting=tell_waiting,
        )
    if demo:
        say("DEMONSTRATION keys: their passphrase is public, and every verdict on what they sign says so")
    say(f"root fingerprint: {fingerprint(custody.store.root)}")
    say("  print it in the thesis and deposit it where examiners look: it must reach them outside of any bundle")
    if not demo and root_folder is None:
        _say_where_the_root_is(custody)


def _say_where_the_root_is(custody: Custody) -> None:
    workspace = custody.workspace
    where = workspace.shown(workspace.keys / f"root-{identity_of(custody.store.root)}.key")
    say(f"  move the root's key, {where}, to a removable medium; --root-key names it when it is needed")


@app.command("list")
def list_command(context: typer.Context, json: JsonOption = False) -> None:
    """List all certificates: in use, rotated, revoked."""
    custody = custody_of(context)
    infos, states = custody.store.issued(), custody.states()
    rows = [
        {
            "role": info.role.value,
            "name": info.identity,
            "state": states.get(info.sha256, {}).get("state", "not logged"),
            "key_here": info.held,
            "signs_until": _signs_until(info),
            "valid_until": f"{info.certificate.not_valid_after_utc:%Y-%m-%d}",
            "certificate_sha256": info.sha256,
            "demo": custody.store.demo,
        }
        for info in infos
    ]
    if json:
        print_json(rows)
        return
    table = Table("role", "name", "state", "key here", "signs until", "valid until", "certificate", box=None)
    for row in rows:
        here = "yes" if row["key_here"] else "no"
        cells = [str(row[name]) for name in ("role", "name", "state", "signs_until", "valid_until")]
        table.add_row(*cells[:3], here, *cells[3:], str(row["certificate_sha256"])[:16])
    output.print(table)
    if custody.store.demo:
        say("these are DEMONSTRATION keys: their passphrase is public, nothing signed with them is evidence")


def _signs_until(info: KeyInfo) -> str:
    from cryptography import x509

    try:
        period = info.certificate.extensions.get_extension_for_class(x509.PrivateKeyUsagePeriod).value
    except x509.ExtensionNotFound:
        return f"{info.certificate.not_valid_after_utc:%Y-%m-%d}"
    return f"{period.not_after:%Y-%m-%d}" if period.not_after else ""


@app.command("add")
def add_command(
    context: typer.Context,
    role: Annotated[str, typer.Argument(help="approval; or report, ledger or timestamp, where its key was revoked.")],
    person: Annotated[
        str | None,
        typer.Option(help="Whose approval key it is: a pseudonym, for it stands in every bundle and stays there."),
    ] = None,
    root_key: RootKeyOption = None,
    passphrase_file: PassphraseFile = None,
    root_passphrase_file: RootPassphraseFile = None,
) -> None:
    """Make a further key: an approval key for each person who decides."""
    chosen, custody = _role(role), custody_of(context)
    if (chosen is Role.APPROVAL) != (person is not None):
        raise InputError("--person PSEUDONYM goes with approval keys, and only with them")
    demo = custody.store.demo
    root_passphrase = ask(Passphrase.ROOT, file=root_passphrase_file, demo=demo)
    which = Passphrase.PERSON if chosen is Role.APPROVAL else Passphrase.WORKING
    passphrase = ask(which, file=passphrase_file, new=True, demo=demo)
    with working("making the key"):
        info = custody.add(chosen, passphrase, root=custody.root_signer(root_passphrase, root_key), identity=person)
    say(f"{info.role.value} key '{info.identity}', certificate {info.sha256}")


@app.command("rotate")
def rotate_command(
    context: typer.Context,
    role: Annotated[str, typer.Argument(help="root, report, ledger, timestamp or approval.")],
    name: Annotated[str | None, typer.Option("--name", help="Which key, where the role has several.")] = None,
    root_key: RootKeyOption = None,
    root_folder: Annotated[
        Path | None, typer.Option("--root-folder", help="Where a new root's key goes: best, a removable medium.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    root_passphrase_file: RootPassphraseFile = None,
) -> None:
    """Replace a key by a new one and destroy the old; both, and the root, sign that."""
    chosen, custody = _role(role), custody_of(context)
    demo = custody.store.demo
    root = custody.root_signer(ask(Passphrase.ROOT, file=root_passphrase_file, demo=demo), root_key)
    if chosen is Role.ROOT:
        passphrase = ask(Passphrase.NEW, file=passphrase_file, new=True, demo=demo)
        old = root
    else:
        which = Passphrase.PERSON if chosen is Role.APPROVAL else Passphrase.WORKING
        passphrase = ask(which, file=passphrase_file, demo=demo)
        old = custody.store.unlock(chosen, passphrase, name)
    with working("making the key"):
        info = custody.rotate(old, passphrase, root=root, folder=root_folder)
    say(f"{info.role.value} key '{info.identity}', certificate {info.sha256}")
    if chosen is Role.ROOT:
        say("  publish this fingerprint beside the old one; old bundles verify under either")
        if root_key is not None:
            say(f"  destroy the old root's key, {root_key}: nothing is signed with it any more")
        if not demo and root_folder is None:
            _say_where_the_root_is(custody)


@app.command("revoke")
def revoke_command(
    context: typer.Context,
    certificate: Annotated[str, typer.Argument(help="First digits of the certificate's SHA-256 (`keys list`).")],
    reason: Annotated[str, typer.Option(help=f"Why: {', '.join(REVOCATION_REASONS)}.")],
    invalid_from: Annotated[
        str | None, typer.Option("--invalid-from", help="UTC, 2026-05-01 or 2026-05-01T12:00; now, unless given.")
    ] = None,
    root_key: RootKeyOption = None,
    root_passphrase_file: RootPassphraseFile = None,
) -> None:
    """Withdraw a key: what it signs from then on does not count."""
    if reason not in REVOCATION_REASONS:
        raise InputError(f"{reason!r} is not a reason{nearest(reason, REVOCATION_REASONS)}")
    since = _moment(invalid_from)
    custody = custody_of(context)
    root_passphrase = ask(Passphrase.ROOT, file=root_passphrase_file, demo=custody.store.demo)
    fields = custody.revoke(certificate, reason, since, root=custody.root_signer(root_passphrase, root_key))
    say(f"certificate {str(fields['certSha256'])[:16]} is withdrawn from {fields['invalidFrom']} on, for {reason}")


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.fromtimestamp(SystemClock().time_ns() / 1e9, tz=UTC)
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?Z?", text):
            raise ValueError
        return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        raise InputError(
            f"--invalid-from {text!r}: expected a UTC time such as 2026-05-01 or 2026-05-01T12:00"
        ) from None


@app.command("export-root")
def export_root_command(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Write the root certificate to this file (PEM) as well.")] = None,
) -> None:
    """Print the root's fingerprint, which examiners must get outside of any bundle."""
    custody = custody_of(context)
    root = custody.store.root
    if out is not None:
        if out.is_dir():
            raise InputError(f"{str(out)!r} is a folder: name a file for the certificate")
        write_atomic(out, pem(root), make_folder=True)
    typer.echo(fingerprint(root))
