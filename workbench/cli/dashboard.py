"""``workbench dashboard``: approvals, results."""

from typing import Annotated, Final

import typer

from workbench.cli.console import output, workspace_of
from workbench.errors import InputError, NotFoundError

__all__ = ["app"]

app = typer.Typer(help="Pages in the browser.", no_args_is_help=True, rich_markup_mode=None)

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

PortOption = Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 for any that is free.")]
IpOption = Annotated[str, typer.Option(help="Address to listen on; other than this machine's own, use a TLS proxy.")]
WorkersOption = Annotated[int, typer.Option(min=0, max=50, help="Kernels kept ready, so that visitors need not wait.")]
HttpsOption = Annotated[bool, typer.Option("--https", help="Visitors come through a proxy that speaks TLS.")]
BaseOption = Annotated[str, typer.Option("--base-url", help="Path below which a proxy serves the page.")]
BrowserOption = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")]


@app.command("approvals")
def approvals_command(
    context: typer.Context,
    port: PortOption = 8866,
    ip: IpOption = "127.0.0.1",
    workers: WorkersOption = 2,
    https: HttpsOption = False,
    base_url: BaseOption = "/",
    browser: BrowserOption = True,
) -> None:
    """Serve the approvals page: people sign in with their keys, look at what waits for them, and decide."""
    _serve(context, "approvals", port, ip, workers, https, base_url, browser)


@app.command("results")
def results_command(
    context: typer.Context,
    port: PortOption = 8867,
    ip: IpOption = "127.0.0.1",
    https: HttpsOption = False,
    base_url: BaseOption = "/",
    browser: BrowserOption = True,
) -> None:
    """Serve the results page: every run with its status, claims and values, for people with a key."""
    _serve(context, "results", port, ip, 0, https, base_url, browser)  # a kernel kept ready would show old runs


def _serve(
    context: typer.Context, name: str, port: int, ip: str, workers: int, https: bool, base: str, browser: bool
) -> None:
    from workbench.custody import Custody
    from workbench.dashboards.server import serve
    from workbench.dashboards.styles import notebook
    from workbench.lifecycle import People

    workspace = workspace_of(context)
    custody = Custody(workspace)
    if not People(custody).all():
        raise NotFoundError("nobody can sign in yet: `workbench people add NAME --role owner` comes first")
    if custody.store.demo and (https or ip not in _LOOPBACK):
        where = "through a proxy" if https else f"on {ip}"
        raise InputError(f"demonstration keys open to anybody: the page is not served {where}")
    if ip not in _LOOPBACK and not https:
        raise InputError(
            f"passphrases would travel to {ip} in the clear: put a proxy that speaks TLS in front, and add --https"
        )

    def announce(found: int) -> None:
        host = f"[{ip}]" if ":" in ip else ip
        output.print(f"{name}: http://{host}:{found}{base} (Ctrl-C ends it)", markup=False, soft_wrap=True)

    base = f"/{base.strip('/')}/" if base.strip("/") else "/"
    serve(
        workspace, notebook(name), ip=ip, port=port, workers=workers, https=https, base=base, browser=browser,
        announce=announce,
    )  # fmt: skip
