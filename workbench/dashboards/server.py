"""The server of a dashboard: Voila by itself, closed on all sides, with kernels that belong to one session each.

Nothing of a person's Jupyter configuration is read: how the server is closed stands here and nowhere else.
"""

import os
import secrets
import socket
from pathlib import Path
from typing import Any, Final

from jupyter_server.utils import url_path_join
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop, PeriodicCallback
from traitlets.config import Config
from voila.app import Voila  # type: ignore[import-untyped]
from voila.request_info_handler import RequestInfoSocketHandler  # type: ignore[import-untyped]
from voila.static_file_handler import TemplateStaticFileHandler  # type: ignore[import-untyped]

from workbench.dashboards.closed import HEADERS, HTTPS_HEADERS, Nothing, closed
from workbench.dashboards.identity import PERSON_HEADER, PeopleIdentityProvider
from workbench.dashboards.kernels import Channels, Kernel, KernelOwners, Page, Shutdown
from workbench.dashboards.request import QUERY_VARIABLE
from workbench.dashboards.sessions import cookie_secret, dashboard_folder
from workbench.dashboards.styles import STYLE_FOLDERS, TEMPLATES
from workbench.errors import InputError, WorkbenchError
from workbench.workspace import Workspace

__all__ = ["DashboardServer", "configuration", "serve"]

_TROUBLE: Final = (
    "This page could not be made. Reload it; if that does not help, tell the time to whoever runs this server."
)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_PATIENCE: Final = 60.0  # seconds for the head of a request, and again for its body
_KERNEL: Final = r"(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)"
_EXTENSIONS: Final = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8"]


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
        return {
            **settings,
            "kernel_owners": self.owners,
            "login_url": url_path_join(self.base_url, "login"),
            "default_handler_class": closed(Nothing),
        }

    def init_handlers(self) -> list[Any]:
        """Voila's, except that those of kernels and of the page are ours, and that no file is served."""
        own = {
            "KernelHandler": Kernel,
            "VoilaKernelWebsocketHandler": Channels,
            "VoilaShutdownKernelHandler": Shutdown,
            "TornadoVoilaHandler": Page,
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
        handlers.insert(0, (query, RequestInfoSocketHandler))
        return [(one[0], closed(one[1]), *one[2:]) for one in handlers]

    def listen(self) -> None:
        server = HTTPServer(
            self.app, max_body_size=1 << 20, max_buffer_size=4 << 20, max_header_size=32 << 10,
            idle_connection_timeout=_PATIENCE, body_timeout=_PATIENCE,
        )  # fmt: skip
        server.add_sockets([self.socket])
        provider = self.identity_provider

        async def sweep() -> None:
            try:
                await provider.end_without_key(provider.sessions.all())
            except WorkbenchError as error:  # the ledger is busy, say: the next time will do
                self.log.warning("sessions: %s", error)
            await self.owners.sweep(provider.sessions.living())

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
        "headers": {**HEADERS, **(HTTPS_HEADERS if https else {})},
        # Through a proxy visitors come by whatever name it has; otherwise by the names of this machine.
        "own_names": frozenset() if https else frozenset({*_LOOPBACK, ip}),
        "xsrf_cookies": True,
        "xsrf_cookie_kwargs": {"path": base, "samesite": "Lax", "secure": https},
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
