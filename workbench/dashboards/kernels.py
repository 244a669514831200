"""The page and its kernels: each kernel is there for the session that it was made for, and for nobody else."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from tornado import web
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler  # type: ignore[import-untyped]
from voila.tornado.handler import TornadoVoilaHandler  # type: ignore[import-untyped]
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler  # type: ignore[import-untyped]

from workbench.dashboards.identity import session_of
from workbench.dashboards.sessions import Session
from workbench.errors import WorkbenchError

__all__ = ["Channels", "Kernel", "KernelOwners", "Page", "Shutdown"]

_MOST_KERNELS: Final = 8  # of one session
_MOST_AT_ONCE: Final = 3  # pages that are being made for one session


class KernelOwners:
    """Which session each kernel was made for. A kernel is there for nobody else."""

    def __init__(self, kernels: Any) -> None:
        self._kernels = kernels
        self._owners: dict[str, str] = {}  # in the order in which they were made
        self._making: Counter[str] = Counter()

    @contextmanager
    def making(self, session: Session) -> Iterator[None]:
        """While a page is made. Raises 429 if too many are being made for this session."""
        if self._making[session.id] >= _MOST_AT_ONCE:
            raise web.HTTPError(429)
        self._making[session.id] += 1
        try:
            yield
        finally:
            self._making[session.id] -= 1
            if not self._making[session.id]:
                del self._making[session.id]

    async def make_room(self, session: Session) -> None:
        """End the oldest kernels of a session, so that one more is not too many."""
        own = [one for one, owner in self._owners.items() if owner == session.id and one in self._kernels]
        for kernel_id in own[: max(0, len(own) + 1 - _MOST_KERNELS)]:
            await self._end(kernel_id)

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
            await self._end(kernel_id)

    async def _end(self, kernel_id: str) -> None:
        self._owners.pop(kernel_id, None)
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


class Page(TornadoVoilaHandler):  # type: ignore[misc]
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
        session, owners = session_of(self), self.settings["kernel_owners"]
        assert session is not None
        try:
            await self.settings["identity_provider"].end_without_key([session])
        except WorkbenchError as error:
            self.log.warning("whether the key is still in use: %s", error)
            raise web.HTTPError(503) from error
        if self.settings["identity_provider"].get_user(self) is None:
            self.redirect(self.get_login_url())
            return
        with owners.making(session):
            await owners.make_room(session)
            await super().get()


class Kernel(KernelHandler):
    """Whether one's own kernel is still there. Nothing is started or ended here."""

    SUPPORTED_METHODS = ("GET",)

    async def get(self, kernel_id: str) -> None:
        self.settings["kernel_owners"].require(self, kernel_id)
        self.set_header("Content-Type", "application/json")
        answered = super().get(kernel_id)
        if answered is not None:
            await answered


class Channels(VoilaKernelWebsocketHandler):  # type: ignore[misc]
    """The messages to and from one's own kernel."""

    async def get(self, kernel_id: str) -> None:
        self.settings["kernel_owners"].require(self, kernel_id)
        await super().get(kernel_id)


class Shutdown(VoilaShutdownKernelHandler):  # type: ignore[misc]
    """The end of one's own kernel, when its page is left."""

    @web.authenticated
    async def post(self, kernel_id: str) -> None:
        self.settings["kernel_owners"].require(self, kernel_id)
        await super().post(kernel_id)
