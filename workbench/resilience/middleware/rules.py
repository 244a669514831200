"""Which requests are charged to which quotas, and for whom."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from workbench.errors import InputError
from workbench.resilience.composite import EVERYBODY
from workbench.resilience.keys import PathTemplate, bounded_key
from workbench.resilience.quota import Quota, quota_of
from workbench.resilience.stores.store import check_cost

__all__ = ["Key", "Request", "Rule"]

Key = Literal["ip", "user", "path"] | Callable[["Request"], str | None]
"""For whom a rule counts. A function gives the key, or ``None`` for a request that the rule leaves alone."""

_KEYS: Final = ("ip", "user", "path")


class Request:
    """A request as rules see it, whatever server it came through.

    ``method`` in capitals; a WebSocket's handshake is a ``GET``. ``path``: decoded, without query and mount point.
    ``raw``: the server's own: the ASGI scope, the WSGI environ or the tornado handler.
    """

    __slots__ = ("method", "path", "raw")

    def __init__(self, method: str, path: str, raw: Any) -> None:
        self.method = method
        self.path = path
        self.raw = raw

    @property
    def address(self) -> str:
        """The key of the client's address, as far as it is known (``ip_key``)."""
        raise NotImplementedError

    def header(self, name: str) -> str:
        """The value of a header, several joined by commas; empty if it is not there."""
        raise NotImplementedError

    @property
    def user(self) -> str | None:
        """Who it is, if somebody before us in the server has found out. Never what the client merely says."""
        raise NotImplementedError


class Rule:
    """Requests to ``path`` are charged to ``quotas``.

    ``path``: a template such as ``/users/{id}``; ``/{rest:path}`` is everything. All requests that fit it are counted
    together, whatever stands in its places.
    ``quotas``: one or more, as ``Quota`` or in words. With none, what fits is charged to neither this rule nor those
    after it.
    ``key``: for whom is counted: ``ip``, ``user`` (by address where nobody is known), ``path`` (for all together), or a
    function of the ``Request``. ``methods``: those meant, all unless given; ``GET`` includes ``HEAD``.
    ``cost``: units, or a function of the ``Request`` that gives them.
    ``scope`` tells afterwards which requests are meant: methods, if only some, and template.
    Raises ``InputError`` for a cost that never fits, quotas of the same name, and what else cannot be meant.

    >>> Rule("/login", "5/minute", methods=["POST"])
    Rule('POST /login', '5/60s', key='ip')
    """

    __slots__ = ("_always", "_cost", "fits", "key", "methods", "quotas", "scope")

    def __init__(
        self,
        path: str,
        quotas: Quota | str | Iterable[Quota | str],
        *,
        key: Key = "ip",
        methods: Iterable[str] | None = None,
        cost: int | Callable[[Request], int] = 1,
    ) -> None:
        self.fits = PathTemplate(path).matches
        given = quotas if isinstance(quotas, Iterable) and not isinstance(quotas, str) else [quotas]
        self.quotas = tuple(quota_of(quota) for quota in given)
        if len({quota.name for quota in self.quotas}) < len(self.quotas):
            names = ", ".join(quota.name for quota in self.quotas)
            raise InputError(f"the quotas of rule {path!r} need different names, not {names}")
        if not callable(key) and key not in _KEYS:
            raise InputError(f"rule {path!r} counts by {', '.join(_KEYS)} or a function, not {key!r}")
        self.key = key
        self.methods = _capitals(path, methods)
        self._cost = cost
        if not callable(cost):
            for quota in self.quotas:
                check_cost(quota, cost)
                if cost > quota.capacity:
                    raise InputError(f"rule {path!r}: a cost of {cost} never fits in quota {quota.name!r}")
        self.scope = " ".join(filter(None, [",".join(self.methods or ()), path]))
        # A brace in a key would end what a Redis cluster takes for its tag.
        scope = self.scope.replace("{", ":").replace("}", "")
        self._always = f"{scope} {EVERYBODY}" if key == "path" else f"{scope} ip:" if key == "ip" else f"{scope} "

    def __repr__(self) -> str:
        quotas = "".join(f", {quota.name!r}" for quota in self.quotas)
        return f"Rule({self.scope!r}{quotas}, key={self.key!r})"

    def key_of(self, request: Request) -> str | None:
        """The key that ``request`` is counted under; ``None`` if it is not."""
        kind = self.key
        if kind == "ip":
            return bounded_key(self._always + request.address)
        if kind == "path":
            return bounded_key(self._always)
        if kind == "user":
            user = request.user
            # Not "ip:", which another rule with the same quota may be counting.
            whom = f"nobody:{request.address}" if user is None else f"user:{user}"
            return bounded_key(self._always + whom)
        chosen = kind(request)
        if chosen is None:
            return None
        if not isinstance(chosen, str):
            raise InputError(f"rule {self.scope!r}: a key is a text, not {type(chosen).__name__}")
        return bounded_key(f"{self._always}key:{chosen}")

    def cost_of(self, request: Request) -> int:
        """The units that ``request`` is charged. Raises ``InputError`` if a function gave what is no cost."""
        if not callable(self._cost):
            return self._cost
        cost = self._cost(request)
        for quota in self.quotas:
            check_cost(quota, cost)
        return cost


def _capitals(path: str, methods: Iterable[str] | None) -> tuple[str, ...] | None:
    if methods is None:
        return None
    names = [] if isinstance(methods, str) else [str(method).upper() for method in methods]
    if not names or not all(name.isascii() and name.isalpha() for name in names):
        raise InputError(f"rule {path!r}: methods is a list such as ['GET', 'POST'], not {methods!r}")
    return tuple(sorted({*names, "HEAD"} if "GET" in names else set(names)))
