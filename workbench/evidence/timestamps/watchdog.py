"""A hard end for one HTTP exchange, whatever the other side does."""

import contextlib
import socket
import threading
from typing import Any, Self

__all__ = ["Watchdog"]


class Watchdog:
    """Cuts the connection after ``after_s`` seconds of real time.

    The timeouts of httpx hold for each single read: an answer that drips one byte of its head every few seconds would
    never end. ``trace`` is given to httpx as an extension and learns of the connection; when the time is over the
    socket is shut down, which ends the pending read as if the other side had hung up.
    """

    def __init__(self, after_s: float) -> None:
        self._timer = threading.Timer(after_s, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._over = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called by httpcore at each step; the steps that make a connection return its stream."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                over = self._over
            if over:
                self._cut()

    def _cut(self) -> None:
        with self._lock:
            self._over = True
            if self._socket is not None:
                # Not the method of a TLS socket, which would first take the reader's TLS state away from under it.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
