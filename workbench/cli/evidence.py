"""``workbench bundle``, ``verify`` and ``tsa serve``."""

import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from workbench.cli.console import errors, output, print_json, tell_waiting, working, workspace_of
from workbench.cli.passphrases import Passphrase, ask
from workbench.clock import SystemClock
from workbench.custody import Custody
from workbench.documents import Strict, read_document
from workbench.errors import CertificateError, InputError, StorageError
from workbench.evidence.certificates import Role, read_certificates
from workbench.evidence.timestamps import Breaker, ExternalAuthority, serve
from workbench.evidence.verify import Demands, Outcome, read_kept, read_root, verify
from workbench.experiments import open_run
from workbench.workspace import Workspace

__all__ = ["register", "tsa"]

tsa = typer.Typer(help="The workspace's own time authority.", no_args_is_help=True, rich_markup_mode=None)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Read the passphrase of the working keys from this file.")
]
TsaRoots = Annotated[
    list[Path] | None, typer.Option("--tsa-root", help="Root certificate (PEM) of an outside time authority.")
]


def register(app: typer.Typer) -> None:
    app.command("bundle")(bundle_command)
    app.command("verify")(verify_command)
    app.add_typer(tsa, name="tsa")


def _roots(paths: list[Path] | None) -> list[Any]:
    roots = []
    for path in paths or []:
        try:
            roots += read_certificates(path.read_bytes())
        except (OSError, CertificateError) as error:
            raise InputError(f"--tsa-root {str(path)!r} is not a certificate file (PEM) that can be read") from error
    return roots


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _outside(workspace: Workspace, url: str | None, paths: list[Path] | None) -> ExternalAuthority | None:
    if url is None:
        if paths:
            raise InputError("--tsa-root goes with --tsa URL")
        return None
    if not paths:
        raise InputError("--tsa needs --tsa-root FILE: the certificate by which its timestamps can be trusted")
    clock = SystemClock()
    breaker = Breaker(workspace.state / "timestamps" / "breaker.json", clock=clock)
    (workspace.state / "timestamps").mkdir(parents=True, exist_ok=True, mode=0o700)
    return ExternalAuthority(url, roots=_roots(paths), breaker=breaker, clock=clock)


def bundle_command(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Run id, a part of its beginning or end, or 'latest'.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; otherwise reports/<run id>-v<n>.evidence.zip.")
    ] = None,
    data: Annotated[
        bool | None, typer.Option("--data/--no-data", help="Put the input data in; otherwise only if it is small.")
    ] = None,
    approvals: Annotated[
        int | None, typer.Option("--approvals", help="How many people must approve; as before, unless given.")
    ] = None,
    tsa: Annotated[str | None, typer.Option("--tsa", metavar="URL", help="An outside time authority to ask.")] = None,
    tsa_root: TsaRoots = None,
    passphrase_file: PassphraseFile = None,
    json: JsonOption = False,
) -> None:
    """Sign, timestamp and pack a run into one file that proves itself offline."""
    from workbench.reports import bundle_run

    workspace = workspace_of(context)
    custody = Custody(workspace, waiting=tell_waiting)
    found = open_run(workspace, run)
    outside = _outside(workspace, tsa, tsa_root)
    passphrase = ask(Passphrase.WORKING, file=passphrase_file, demo=custody.store.demo)
    with working("making the bundle") as progress:
        made = bundle_run(
            custody,
            found,
            passphrase=passphrase,
            with_data=data,
            approvals_required=approvals,
            outside=outside,
            target=out,
            progress=progress,
        )
    if made.degraded:
        errors.print(f"workbench: no outside timestamp: {made.degraded}", markup=False, soft_wrap=True)
    if made.data_left_out:
        errors.print(
            f"workbench: {made.data_left_out / 2**20:,.0f} MiB of data were left out, only their digests are in: "
            "--data puts them in",
            markup=False,
            soft_wrap=True,
        )
    if json:
        print_json(
            {
                "bundle": str(made.path),
                "report": made.report_id,
                "version": made.version,
                "signed_now": made.signed_now,
                "root_sha256": made.root_sha256,
                "degraded": made.degraded,
                "verification": made.verdict.as_dict(),
            }
        )
        return
    output.print(workspace.shown(made.path), markup=False, soft_wrap=True)


class Policy(Strict):
    """The examiner's least demands, as a YAML file."""

    approvals_required: int = Field(0, ge=0)
    external_time: bool = False


def verify_command(
    bundle: Annotated[Path, typer.Argument(metavar="FILE", help="The bundle.")],
    root: Annotated[
        str | None,
        typer.Option(help="The root's fingerprint (64 hex digits) or certificate file, from outside the bundle."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="KEPT", help="A checkpoint, or another bundle, that you have kept.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your least demands: approvals_required, external_time (YAML).")
    ] = None,
    tsa_root: TsaRoots = None,
    json: JsonOption = False,
) -> None:
    """Judge a bundle, offline: exit 0 VALID, 1 INVALID, 2 CANNOT CHECK, 3 VALID WITH LIMITS."""
    demands = Demands()
    if policy is not None:
        wanted = read_document(policy, Policy, what="policy", error=InputError)
        demands = Demands(wanted.approvals_required, wanted.external_time)
    verdict = verify(
        bundle,
        None if root is None else read_root(root),
        kept=None if checkpoint is None else read_kept(checkpoint),
        demands=demands,
        outside=_roots(tsa_root),
    )
    if json:
        print_json(verdict.as_dict())
    else:
        typer.echo(verdict.text())
    if verdict.outcome is not Outcome.VALID:
        raise typer.Exit(int(verdict.outcome))


@tsa.command("serve")
def serve_command(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Where to listen; others can reach it only if you say so.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 3161,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Answer RFC 3161 requests over HTTP until stopped, each answer logged. It proves order, not the calendar date."""
    custody = Custody(workspace_of(context), waiting=tell_waiting)
    passphrase = ask(Passphrase.WORKING, file=passphrase_file, demo=custody.store.demo)
    signer = custody.store.unlock(Role.TIMESTAMP, passphrase)
    custody.log_keys()
    authority = custody.authority(signer, on_issue=custody.log_timestamp)
    try:
        server = serve(authority, host=host, port=port)
    except (OSError, OverflowError, UnicodeError) as error:
        raise StorageError(
            f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}"
        ) from error
    with server:
        signal.signal(signal.SIGTERM, _interrupt)  # ends it as Ctrl-C does
        typer.echo(server.url)
        while True:
            time.sleep(3600)
