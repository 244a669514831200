"""Timestamps (RFC 3161): a token says that something existed at a time, and anybody can check it with other tools.

Here are the authority inside the workbench, a server to ask it over HTTP, a client for an authority outside, and the
one function that verifies a token. Digests come in and tokens go out: what was stamped, and where tokens are kept, is
not known in this room.
"""

from workbench.evidence.timestamps.authority import POLICY, Issued, LocalAuthority
from workbench.evidence.timestamps.breaker import Breaker, BreakerState
from workbench.evidence.timestamps.client import ExternalAuthority
from workbench.evidence.timestamps.outside import check_outside
from workbench.evidence.timestamps.server import TimestampServer, serve
from workbench.evidence.timestamps.token import Timestamp, TokenInvalidError, TokenMismatchError, check_response

__all__ = [
    "POLICY",
    "Breaker",
    "BreakerState",
    "ExternalAuthority",
    "Issued",
    "LocalAuthority",
    "Timestamp",
    "TimestampServer",
    "TokenInvalidError",
    "TokenMismatchError",
    "check_outside",
    "check_response",
    "serve",
]
