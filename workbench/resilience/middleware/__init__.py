"""Limits before a web application: pure ASGI, WSGI and tornado, with the headers that tell clients how they stand.

What is the same for all of them (rules, verdicts, fields, problems) knows no server; each interface is a thin file. A
refusal never reaches the application, and no error of a store ever reaches a client.
"""

from typing import TYPE_CHECKING, Any

from workbench.resilience.middleware.asgi import RateLimitASGI
from workbench.resilience.middleware.limits import Limits, QuotaCounts
from workbench.resilience.middleware.rules import Request, Rule
from workbench.resilience.middleware.wsgi import RateLimitWSGI

if TYPE_CHECKING:
    from workbench.resilience.middleware.tornado import RateLimitTornado

__all__ = ["Limits", "QuotaCounts", "RateLimitASGI", "RateLimitTornado", "RateLimitWSGI", "Request", "Rule"]


def __getattr__(name: str) -> Any:
    """Tornado is imported by those alone who use it."""
    if name == "RateLimitTornado":
        from workbench.resilience.middleware.tornado import RateLimitTornado

        return RateLimitTornado
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
