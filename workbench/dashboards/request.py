"""What a dashboard's kernel is told of the request it serves: who asks, and what is in the address."""

import json
import os
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

__all__ = ["QUERY_VARIABLE", "Request", "wait_for_request"]

QUERY_VARIABLE: Final = "WORKBENCH_DASHBOARD_QUERY"
_TRIES: Final = 20


@dataclass(frozen=True)
class Request:
    """``person`` is the pseudonym of who signed in, None where nobody had to; ``query`` is the address's."""

    person: str | None
    query: str

    def value(self, name: str) -> str | None:
        """A parameter of the address; None if it is not there.

        >>> Request(None, "item=policy%3Abulk%402&x=1").value("item")
        'policy:bulk@2'
        """
        return parse_qs(self.query).get(name, [None])[0]


def wait_for_request() -> Request:
    """The request, at once or, in a kernel that was started ahead, when somebody comes.

    Everything slow is imported before this is called. Voila's own function of this name would cost 3 s of imports.
    """
    told = dict(os.environ)
    if os.environ.get("VOILA_PREHEAT") == "True":
        told |= _ask(f"{os.environ[QUERY_VARIABLE]}/{os.environ['VOILA_KERNEL_ID']}")
    return Request(told.get("HTTP_X_WORKBENCH_USER"), told.get("QUERY_STRING", ""))


def _ask(address: str) -> dict[str, str]:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    for attempt in range(_TRIES):
        try:
            with connect(address, open_timeout=10, proxy=None) as socket:
                told = json.loads(socket.recv())
                return {str(name): str(value) for name, value in told.items()}
        except (OSError, WebSocketException):
            time.sleep(0.2 * (attempt + 1))
    raise SystemExit("the server that this page belongs to has gone")
