"""What every answer of a dashboard's server has in common, whichever handler gives it."""

from typing import Any, Final

from tornado import web

__all__ = ["CONTENT_POLICY", "HEADERS", "HTTPS_HEADERS", "Nothing", "closed"]

# Voila's front end compiles templates, so scripts cannot do without 'unsafe-inline' and 'unsafe-eval'. What others
# wrote reaches the page escaped, and no address but the server's own can be asked for anything.
CONTENT_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-src 'none'; frame-ancestors 'none'; object-src 'none'; base-uri 'self'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HTTPS_HEADERS: Final = {"Strict-Transport-Security": "max-age=31536000"}
_ERRORS: Final = {
    404: "There is nothing here.\n",
    421: "This server does not go by that name.\n",
    429: "You are opening many pages at once: wait for one of them.\n",
    503: "The ledger is busy: reload in a moment.\n",
}


class _Closed(web.RequestHandler):
    """What every answer of the server has in common; mixed into all its handlers."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.clear_header("Server")
        for name, value in self.settings["headers"].items():
            self.set_header(name, value)

    def prepare(self) -> Any:
        """Raises 421 for the name of another server: a page elsewhere may call this address by a name of its own."""
        names = self.settings["own_names"]
        if names and self.request.host_name.strip("[]").lower() not in names:
            raise web.HTTPError(421)
        return super().prepare()

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(_ERRORS.get(status_code, "This did not work; please reload.\n"))


class Nothing(web.RequestHandler):
    """Where there is nothing."""

    def prepare(self) -> None:
        raise web.HTTPError(404)


def closed(handler: type[web.RequestHandler]) -> type[web.RequestHandler]:
    """The handler, with what all have in common."""
    return type(handler.__name__, (_Closed, handler), {})
