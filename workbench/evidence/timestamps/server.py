r"""The local authority over HTTP (RFC 3161 section 3.4), for tools that ask for timestamps themselves.

    openssl ts -query -data report.pdf -sha256 -cert -out report.tsq
    curl -sS -H 'Content-Type: application/timestamp-query' --data-binary @report.tsq \
        http://127.0.0.1:3161/ > report.tsr

It listens on the loopback interface unless told otherwise: whoever reaches it has timestamps made.
"""

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from workbench.evidence.timestamps.authority import LocalAuthority

__all__ = ["TimestampServer", "serve"]

_LONGEST_REQUEST: Final = 16 * 1024  # bytes
_READ_S: Final = 5.0  # for one read, and for a whole body
_CONNECTIONS: Final = 64  # at once
_QUERY: Final = "application/timestamp-query"
_REPLY: Final = "application/timestamp-reply"
_ABOUT: Final = "This is a timestamp authority (RFC 3161); send it application/timestamp-query by POST.\n"


def serve(
    authority: LocalAuthority, *, host: str = "127.0.0.1", port: int = 0, read_s: float = _READ_S
) -> "TimestampServer":
    """Start answering on ``host`` and ``port`` (0: a free one) in threads of this process; leave the block to stop.

    A client has ``read_s`` seconds for each read and for a whole body. Raises ``OSError`` if the port is taken.
    """
    return TimestampServer(authority, host=host, port=port, read_s=read_s)


class TimestampServer:
    """A running server. ``address`` is where it listens, ``url`` what a client needs; ``close`` ends it cleanly."""

    def __init__(self, authority: LocalAuthority, *, host: str, port: int, read_s: float) -> None:
        self._server = _Server((host, port), authority, read_s)
        self.address: tuple[str, int] = self._server.server_address[:2]  # type: ignore[assignment]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self.address
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def close(self) -> None:
        """Stop listening, hang up on who is still connected, and wait until all threads have ended."""
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # they are few, each read of theirs ends, and ``close`` waits for them

    def __init__(self, address: tuple[str, int], authority: LocalAuthority, read_s: float) -> None:
        self.authority = authority
        self.read_s = read_s
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            room = len(self._open) < _CONNECTIONS
            if room:
                self._open.add(request)
        if room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.read_s)

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, _ABOUT)
        else:
            self._answer(404, "There is nothing here; the address is /.\n")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.path != "/":
            self._refuse(404, "There is nothing here; the address is /.\n")
        elif kind != _QUERY:
            self._refuse(415, f"Send {_QUERY}.\n")
        elif "transfer-encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            self._refuse(411, "Say how long the request is (Content-Length).\n")
        elif len(length) > 9 or int(length) > _LONGEST_REQUEST:
            self._refuse(413, f"A request has at most {_LONGEST_REQUEST} bytes.\n")
        else:
            self._reply(int(length))

    def _reply(self, length: int) -> None:
        body = self._body(length)
        if body is None:
            self._refuse(408, "The request was not complete in time.\n")
        else:
            self._answer(200, self.server.authority.respond(body), kind=_REPLY)

    def _body(self, length: int) -> bytes | None:
        """The request's body, or None if it does not come in time, however little by little."""
        body = b""
        deadline = time.monotonic() + self.server.read_s
        while len(body) < length:
            try:
                piece = self.rfile.read1(length - len(body))
            except TimeoutError:
                return None
            if not piece or time.monotonic() > deadline:
                return None
            body += piece
        return body

    def _refuse(self, code: int, text: str) -> None:
        """Answer, and hang up: what may still come is not read."""
        self.close_connection = True
        self._answer(code, text)

    def _answer(self, code: int, content: str | bytes, *, kind: str = "text/plain; charset=utf-8") -> None:
        data = content.encode() if isinstance(content, str) else content
        self.send_response_only(code)  # the other one adds a banner with versions
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """For what the base class refuses (a malformed request line, an unknown method): plainly, and hang up."""
        self._refuse(405 if code == 501 else code, "This is not a request that is answered here.\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what was issued is recorded by the authority."""
