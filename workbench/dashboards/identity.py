"""Signing in to a dashboard is unlocking one's key. The provider that Voila asks, and its two pages.

Who a request comes from is said by the session alone: whatever a client sends as ``X-Workbench-*`` is taken off, and
the person of the session put there instead, for the kernel to read.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlencode

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from markupsafe import Markup
from tornado import web
from traitlets import Bool

from workbench.custody import Custody
from workbench.dashboards.sessions import LIFETIME, Session, Sessions, dashboard_folder
from workbench.dashboards.styles import sheet
from workbench.dashboards.unlocking import Unlocking
from workbench.errors import KeyFileError, WorkbenchError
from workbench.evidence.certificates import fingerprint
from workbench.pages.shell import environment
from workbench.workspace import find_workspace

__all__ = ["PERSON_HEADER", "LoginPage", "LogoutPage", "PeopleIdentityProvider", "session_of"]

PERSON_HEADER: Final = "X-Workbench-User"
_MOST_WAITING: Final = 20  # sign-ins at a time; each takes about 0.3 s
_OURS: Final = re.compile(r"x[-_]workbench[-_].*", re.IGNORECASE)


def session_of(handler: JupyterHandler) -> Session | None:
    """The session of a request, as the provider found it."""
    return getattr(handler, "workbench_session", None)


class PeopleIdentityProvider(IdentityProvider):
    """Voila's identity provider over the people of a workspace and their keys."""

    https = Bool(False, help="The page is reached over TLS: cookies are sent over nothing else.").tag(config=True)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        custody = Custody(find_workspace())
        self.demo = custody.store.demo
        self.unlocking = Unlocking(custody)
        self.sessions = Sessions(dashboard_folder(custody.workspace) / "sessions.json", clock=custody.clock)
        self._one_at_a_time = asyncio.Semaphore(1)  # Argon2id takes 64 MiB each time
        self._waiting = 0

    def get_user(self, handler: web.RequestHandler) -> User | None:
        """Whose session the request belongs to; nobody's, if it has none."""
        headers = handler.request.headers
        for name in [name for name in headers if _OURS.fullmatch(name)]:
            del headers[name]
        token = handler.get_signed_cookie(self.get_cookie_name(handler), max_age_days=LIFETIME / 86_400)
        session = self.sessions.find(token.decode("ascii", "replace")) if token else None
        handler.workbench_session = session  # type: ignore[attr-defined]
        if session is None:
            return None
        headers[PERSON_HEADER] = session.person
        return User(session.person)

    def get_cookie_name(self, handler: web.RequestHandler) -> str:
        """One for each host and port: dashboards beside each other do not sign each other out."""
        # A page of another port or subdomain cannot set what is called so: browsers see to that.
        prefix = "" if not self.https else "__Host-" if self._base == "/" else "__Secure-"
        return prefix + re.sub("[^A-Za-z0-9]", "-", f"workbench-session-{handler.request.host}")

    async def sign_in(self, handler: JupyterHandler, person: str, passphrase: str) -> None:
        """Begin a session. Raises ``KeyFileError`` with a sentence for the page."""
        if self._waiting >= _MOST_WAITING:
            raise KeyFileError("many people are signing in at this moment: try again in a minute")
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                found, signer = await asyncio.to_thread(self.unlocking.sign_in, person, passphrase)
        finally:
            self._waiting -= 1
        handler.set_signed_cookie(
            self.get_cookie_name(handler),
            self.sessions.begin(found.pseudonym, fingerprint(signer.certificate)),
            expires_days=None,
            path=handler.base_url,
            httponly=True,
            samesite="Lax",
            secure=self.https or handler.request.protocol == "https",
        )

    def sign_out(self, handler: JupyterHandler) -> None:
        """End the session of a request, whoever else holds its cookie."""
        if (session := session_of(handler)) is not None:
            self.sessions.end(session)
        handler.clear_cookie(self.get_cookie_name(handler), path=handler.base_url)

    async def end_without_key(self, sessions: Iterable[Session]) -> None:
        """End those of ``sessions`` whose key was withdrawn, replaced or has run out since."""
        for session in await asyncio.to_thread(self.unlocking.without_key, list(sessions)):
            self.sessions.end(session)

    @property
    def _base(self) -> str:
        assert self.parent is not None
        return str(self.parent.base_url)

    def get_handlers(self) -> list[tuple[str, object]]:
        """The two pages, below the server's own base (Voila forgets it)."""
        base = self._base
        return [(url_path_join(base, "login"), LoginPage), (url_path_join(base, "logout"), LogoutPage)]

    @property
    def auth_enabled(self) -> bool:
        return True


class LoginPage(JupyterHandler):
    """The form, and what happens when it is sent."""

    provider: PeopleIdentityProvider

    def initialize(self) -> None:
        self.provider = self.settings["identity_provider"]

    @allow_unauthenticated
    def get(self) -> None:
        if self.current_user is not None:
            self.redirect(self._next())
            return
        self._show()

    @allow_unauthenticated
    async def post(self) -> None:
        person = self.get_body_argument("person", "", strip=False)[:200]
        try:
            await self.provider.sign_in(self, person, self.get_body_argument("passphrase", "", strip=False))
        except KeyFileError as error:
            self._show(person, str(error))
            return
        except WorkbenchError as error:
            self.log.error("sign-in: %s", error)
            self._show(person, f"signing in is not possible now: {error}")
            return
        self.redirect(self._next())

    def _next(self) -> str:
        """Where to go after signing in: a place of this server, or its start."""
        wanted = self.get_query_argument("next", "")
        inside = wanted.startswith(self.base_url) and not wanted.startswith("//") and "\\" not in wanted
        return wanted if inside and wanted.isprintable() else str(self.base_url)

    def _show(self, person: str = "", error: str = "") -> None:
        style = sheet("login")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header(
            "Content-Security-Policy",
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'",
        )
        if error:
            self.set_status(403)
        action = url_path_join(self.base_url, "login") + "?" + urlencode({"next": self._next()})
        template = environment("workbench.dashboards").get_template("login.html.j2")
        xsrf = Markup(self.xsrf_form_html())  # noqa: S704
        self.finish(
            template.render(style=style, action=action, person=person, error=error, demo=self.provider.demo, xsrf=xsrf)
        )


class LogoutPage(JupyterHandler):
    """Ends the session and the kernels that were made for it."""

    @allow_unauthenticated
    def get(self) -> None:
        self.redirect(url_path_join(self.base_url, "login"))

    @allow_unauthenticated
    async def post(self) -> None:
        session = session_of(self)
        self.settings["identity_provider"].sign_out(self)
        if session is not None:
            await self.settings["kernel_owners"].end(session.id)
        self.redirect(url_path_join(self.base_url, "login"))
