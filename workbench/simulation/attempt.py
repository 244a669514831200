"""One attempt at a request, on its way from a client to the server and back."""

from workbench.resilience.breaker.state import Token

__all__ = ["Attempt"]


class Attempt:
    """Attempt ``number`` (from 0) at ``request``, by ``client``. ``over``: its caller has its answer, or gave up."""

    __slots__ = ("client", "deadline_ns", "number", "over", "request", "token")

    def __init__(self, request: int, number: int, client: int, deadline_ns: int, token: Token | None) -> None:
        self.request = request
        self.number = number
        self.client = client
        self.deadline_ns = deadline_ns
        self.token = token
        self.over = False
