"""The server of a dashboard: Voila by itself, closed on all sides, with kernels that belong to one session each.

Nothing of a person's Jupyter configuration is read: how the server is closed stands here and nowhere else.
"""

import os
import secrets
import socket
from pathlib import Path
from typing import Any, Final

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from traitlets.config import Config
from voila.app import Voila  # type: ignore[import-untyped]
from voila.request_info_handler import RequestInfoSocketHandler  # type: ignore[import-untyped]
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler  # type: ignore[import-untyped]
from voila.static_file_handler import TemplateStaticFileHandler  # type: ignore[import-untyped]
from voila.tornado.handler import TornadoVoilaHandler  # type: ignore[import-untyped]
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler  # type: ignore[import-untyped]

from workbench.dashboards.identity import PERSON_HEADER, PeopleIdentityProvider, session_of
from workbench.dashboards.request import QUERY_VARIABLE
from workbench.dashboards.sessions import Session, cookie_secret, dashboard_folder
from workbench.dashboards.styles import STYLE_FOLDERS, TEMPLATES
from workbench.errors import InputError
from workbench.workspace import Workspace

__all__ = ["CONTENT_POLICY", "DashboardServer", "KernelOwners", "configuration", "serve"]

# Voila's front end compiles templates, so scripts cannot do without 'unsafe-inline' and 'unsafe-eval'. What others
# wrote reaches the page escaped, and no address but the server's own can be asked for anything.
CONTENT_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-src 'none'; frame-ancestors 'none'; object-src 'none'; base-uri 'self'"
)
_TROUBLE: Final = (
    "This page could not be made. Reload it; if that does not help, tell the time to whoever runs this server."
)
_KERNEL: Final = r"(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)"
_EXTENSIONS: Final = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8"]


class KernelOwners:
    """Which session each kernel was made for. A kernel is there for nobody else."""

    def __init__(self, kernels: Any) -> None:
        self._kernels = kernels
        self._owners: dict[str, str] = {}

    def made(self, kernel_id: str, session: Session) -> None:
        self._owners[kernel_id] = session.id

    def require(self, handler: JupyterHandler, kernel_id: str) -> None:
        """Raises 404, as for a kernel that is not there, unless it was made for the session of the request."""
        session = session_of(handler)
        if session is None or self._owners.get(kernel_id) != session.id:
            raise web.HTTPError(404)

    async def end(self, session_id: str) -> None:
        """End the kernels of a session."""
        for kernel_id in [one for one, owner in self._owners.items() if owner == session_id]:
            del self._owners[kernel_id]
            if kernel_id in self._kernels:
                await self._kernels.shutdown_kernel(kernel_id, now=True)

    async def sweep(self, living: frozenset[str]) -> None:
        """End the kernels of sessions that are over, and forget those that have ended by themselves."""
        for session_id in set(self._owners.values()) - living:
            await self.end(session_id)
        for kernel_id in [one for one in self._owners if one not in self._kernels]:
            del self._owners[kernel_id]


class _Recording:
    """Voila's kernels, as one request sees them: what it is given is written down as its session's."""

    def __init__(self, kernels: Any, owners: KernelOwners, session: Session) -> None:
        self._kernels, self._owners, self._session = kernels, owners, session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernels, name)

    async def get_rendered_notebook(self, *given: Any, **named: Any) -> Any:
        task, cached, kernel_id = await self._kernels.get_rendered_notebook(*given, **named)
        self._owners.made(kernel_id, self._session)
        return task, cached, kernel_id

    async def start_kernel(self, *given: Any, **named: Any) -> Any:
        kernel_id = await self._kernels.start_kernel(*given, **named)
        self._owners.made(kernel_id, self._session)
        return kernel_id


class _Page(TornadoVoilaHandler):  # type: ignore[misc]
    """The dashboard itself, at the root and nowhere else."""

    @property
    def kernel_manager(self) -> Any:
        session = session_of(self)
        if session is None:
            raise web.HTTPError(403)
        return _Recording(self.settings["kernel_manager"], self.settings["kernel_owners"], session)

    @web.authenticated
    async def get(self, path: str | None = None) -> None:
        if path:
            raise web.HTTPError(404)
        await super().get()

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("There is nothing here.\n" if status_code == 404 else "This did not work; please reload.\n")


class _Kernel(KernelHandler):
    """Whether one's own kernel is still there. Nothing is started or ended here."""

    SUPPORTED_METHODS = ("GET",)

    async def get(self, kernel_id: str) -> None:
        self.settings["kernel_owners"].require(self, kernel_id)
        self.set_header("Content-Type", "application/json")
        answered = super().get(kernel_id)
        if answered is not None:
            await answered


class _Channels(VoilaKernelWebsocketHandler):  # type: ignore[misc]
    async def get(self, kernel_id: str) -> None:
        self.settings["kernel_owners"].require(self, kernel_id)
        await super().get(kernel_id)


class _Shutdown(VoilaShutdownKernelHandler):  # type: ignore[misc]
    @web.authenticated
    async def post(self, kernel_id: str) -> None:
        self.settings["kernel_owners"].require(self, kernel_id)
        await super().post(kernel_id)


class DashboardServer(Voila):  # type: ignore[misc]
    """Voila with one notebook and these handlers."""

    def load_config_file(self, *_: Any, **__: Any) -> None:
        """Nothing from files."""

    def setup_template_dirs(self) -> None:
        super().setup_template_dirs()
        self.template_paths += STYLE_FOLDERS

    def start(self) -> None:
        try:
            family = socket.AF_INET6 if ":" in self.ip else socket.AF_INET
            self.socket = socket.create_server((self.ip, int(self.port)), family=family)
            self.socket.setblocking(False)
        except OSError as error:
            raise InputError(
                f"cannot listen on {self.ip} port {self.port} ({error.strerror}): choose another with --port"
            ) from error
        self.port: int = self.socket.getsockname()[1]
        # Kernels that are ready before anybody comes ask here who came. Only they know where.
        self._query = secrets.token_hex(32)
        host = "127.0.0.1" if self.ip in ("", "0.0.0.0", "localhost") else self.ip  # noqa: S104
        address = f"[{host}]" if ":" in host else host
        base = url_path_join(f"{address}:{self.port}", self.server_url or self.base_url, "voila/query", self._query)
        os.environ[QUERY_VARIABLE] = f"ws://{base}"
        super().start()

    def init_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = super().init_settings()
        self.owners = KernelOwners(self.kernel_manager)
        return {**settings, "kernel_owners": self.owners, "login_url": url_path_join(self.base_url, "login")}

    def init_handlers(self) -> list[Any]:
        """Voila's, except that those of kernels and of the page are ours, and that no file is served."""
        own = {
            "KernelHandler": _Kernel,
            "VoilaKernelWebsocketHandler": _Channels,
            "VoilaShutdownKernelHandler": _Shutdown,
            "TornadoVoilaHandler": _Page,
        }
        dropped = ("RequestInfoSocketHandler", "AllowListFileHandler", "TemplateStaticFileHandler")
        handlers = [
            (one[0], own.get(one[1].__name__, one[1]), *one[2:])
            for one in super().init_handlers()
            if one[1].__name__ not in dropped
        ]
        # Voila's way to the static files of templates fails on paths with `..`: only plain ones come there.
        static = url_path_join(self.server_url, r"/voila/templates/(workbench/static/(?:[\w-][\w.-]*/)*[\w-][\w.-]*)")
        handlers.insert(0, (static, TemplateStaticFileHandler))
        query = url_path_join(self.server_url, f"/voila/query/{self._query}/{_KERNEL}")
        return [(query, RequestInfoSocketHandler), *handlers]

    def listen(self) -> None:
        server = HTTPServer(self.app, max_body_size=1 << 20)
        server.add_sockets([self.socket])
        sessions = self.identity_provider.sessions

        async def sweep() -> None:
            await self.owners.sweep(sessions.living())

        sweeping = PeriodicCallback(sweep, 60_000)
        sweeping.start()
        self.announce(self.port)
        if self.open_browser:
            self.launch_browser()
        self.ioloop = IOLoop.current()
        try:
            self.ioloop.start()
        except KeyboardInterrupt:
            pass
        finally:
            sweeping.stop()
            self.stop()

    def announce(self, port: int) -> None:
        """Called once it listens."""


def configuration(workspace: Workspace, *, ip: str, port: int, workers: int, https: bool, base: str) -> Config:
    """How the server is closed: all of it."""
    config = Config()
    config.Voila.ip, config.Voila.port, config.Voila.open_browser = ip, port, False
    config.Voila.base_url = base
    config.Voila.log_level = "WARN"
    config.Voila.cookie_secret = cookie_secret(dashboard_folder(workspace))
    config.Voila.identity_provider_class = PeopleIdentityProvider
    config.PeopleIdentityProvider.https = https
    config.Voila.tornado_settings = {
        "headers": {
            "Content-Security-Policy": CONTENT_POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        },
        "xsrf_cookies": True,
        "websocket_max_message_size": 1 << 20,
        "ws_ping_interval": 30_000,
        "ws_ping_timeout": 30_000,
    }
    voila = config.VoilaConfiguration
    voila.template, voila.allow_template_override, voila.allow_theme_override = "workbench", "NO", "NO"
    voila.strip_sources, voila.show_tracebacks, voila.file_allowlist = True, False, ["^$"]
    voila.http_header_envs = [PERSON_HEADER]
    voila.extension_allowlist = _EXTENSIONS
    voila.preheat_kernel, voila.default_pool_size = workers > 0, max(1, workers)
    config.VoilaExecutor.timeout = 120
    config.VoilaExecutor.cell_error_instruction = _TROUBLE
    kernels = config.MappingKernelManager
    kernels.cull_interval, kernels.cull_idle_timeout, kernels.cull_connected = 60, 1_800, True
    config.KernelManager.transport = "ipc"
    return config


def serve(
    workspace: Workspace,
    notebook: Path,
    *,
    ip: str = "127.0.0.1",
    port: int = 8866,
    workers: int = 2,
    https: bool = False,
    base: str = "/",
    browser: bool = False,
    announce: Any = lambda port: None,
) -> None:
    """Serve one notebook until interrupted or told to end (SIGTERM). Changes this process's environment.

    Raises ``InputError`` if the port is taken, ``KeyFileError`` if there are no keys.
    """
    for name in [name for name in os.environ if name.startswith(("WORKBENCH_", "HTTP_X_WORKBENCH"))]:
        del os.environ[name]  # no passphrase, and nobody's identity, reaches a kernel this way
    os.environ["WORKBENCH_HOME"] = str(workspace.root)
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [str(TEMPLATES), os.environ.get("JUPYTER_PATH")]))
    config = configuration(workspace, ip=ip, port=port, workers=workers, https=https, base=base)
    config.Voila.open_browser = browser
    DashboardServer.clear_instance()
    server = DashboardServer.instance(config=config, root_dir=str(notebook.parent), notebook_path=str(notebook))
    server.announce = announce
    server.initialize([])
    server.start()
