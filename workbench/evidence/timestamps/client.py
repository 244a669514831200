"""Asking a timestamp authority outside over HTTP (RFC 3161 section 3.4), and believing nothing of the answer.

Many authorities answer on plain ``http``, and that is sound: the request holds only a digest and a random number, and
the token is signed. Whoever sits on the line can keep the answer back, which is noticed, or see that somebody had
something stamped; they cannot forge a token, nor pass off an old one, as that would have another nonce.
"""

import contextlib
import email.utils
import re
import secrets
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography import x509

from workbench.clock import Clock
from workbench.errors import InputError, TimestampError
from workbench.evidence.timestamps.breaker import Breaker
from workbench.evidence.timestamps.outside import check_outside
from workbench.evidence.timestamps.structures import MAX_RESPONSE, read_response, write_request
from workbench.evidence.timestamps.token import (
    TokenInvalidError,
    TokenMismatchError,
    as_token_errors,
)
from workbench.evidence.timestamps.watchdog import Watchdog
from workbench.resilience.breaker import Outcome

if TYPE_CHECKING:
    import httpx

__all__ = ["ExternalAuthority"]

_CONNECT_S: Final = 5.0
_TOTAL_S: Final = 10.0
_FIRST_WAIT_S: Final = 0.5  # backoff before retry n is up to _FIRST_WAIT_S * 2**n, with full jitter
_SECOND_NS: Final = 1_000_000_000
_QUERY: Final = "application/timestamp-query"
_REPLY: Final = "application/timestamp-reply"


class _TransientError(Exception):
    """What may be otherwise a moment later: the line, 429, 5xx. ``wait_s`` is what the authority asked for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class ExternalAuthority:
    """The authority at ``url``, whose certificate leads to one of ``roots``.

    With ``certificate`` only tokens by that one certificate count. Without it the signer's certificate is read from
    the token and must lead to one of ``roots`` at the time of the token; a root found in a token is never one of them.
    A whole ``stamp`` takes at most ``total_s`` seconds, retries and pauses included.

    Raises ``InputError`` for a URL that is none of http or https.
    """

    def __init__(
        self,
        url: str,
        *,
        roots: Sequence[x509.Certificate],
        breaker: Breaker,
        clock: Clock,
        certificate: x509.Certificate | None = None,
        transport: "httpx.BaseTransport | None" = None,
        retries: int = 2,
        random: Callable[[], float] | None = None,
        connect_s: float = _CONNECT_S,
        total_s: float = _TOTAL_S,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(f"{url!r} is not the address of a timestamp authority; expected http:// or https://")
        if not roots:
            raise InputError("a timestamp authority outside needs at least one root certificate to be checked against")
        self.url = url
        self._shown = parts.hostname  # a URL may hold a password
        self._roots = tuple(roots)
        self._certificate = certificate
        self.breaker = breaker
        self._clock = clock
        self._transport = transport
        self._retries = retries
        self._random = random or SystemRandom().random
        self._connect_s = connect_s
        self._total_s = total_s

    def stamp(self, digest: bytes) -> bytes:
        """A verified DER TimeStampResp over ``digest`` (SHA-256, 32 bytes).

        Raises ``TimestampError`` if none could be had, and its kinds ``TokenInvalidError`` and ``TokenMismatchError``
        if something else was given for one: that is never asked for again, and opens the breaker.
        """
        if len(digest) != 32:
            raise TimestampError(f"a SHA-256 digest of 32 bytes is stamped, not {len(digest)} bytes")
        token = self.breaker.acquire()
        nonce = secrets.randbits(64) or 1
        try:
            data = self._ask(write_request(digest, nonce))
            self._check(data, digest, nonce)
        except TokenInvalidError as error:
            self.breaker.trip(f"{self._shown} gave an invalid timestamp")
            raise TokenInvalidError(f"{self._shown} gave something that is not its timestamp: {error}") from error
        except TokenMismatchError as error:
            self.breaker.trip(f"{self._shown} gave a timestamp over something else")
            raise TokenMismatchError(f"{self._shown}: {error}") from error
        except TimestampError as error:
            self.breaker.record(token, Outcome.FAILURE, str(error))
            raise
        except BaseException:  # broken off, which tells nothing about the authority
            self.breaker.record(token, Outcome.IGNORE)
            raise
        self.breaker.record(token, Outcome.SUCCESS)
        return data

    def _ask(self, request: bytes) -> bytes:
        """The body of the answer, after as many tries as there may be and time for."""
        deadline_ns = self._clock.monotonic_ns() + int(self._total_s * _SECOND_NS)
        for attempt in range(self._retries + 1):
            try:
                return self._post(request, deadline_ns)
            except _TransientError as error:
                pause_s = self._random() * _FIRST_WAIT_S * 2**attempt if error.wait_s is None else error.wait_s
                if attempt == self._retries or pause_s >= self._left_s(deadline_ns):
                    asked = f", and asks to wait {error.wait_s:.0f} s" if error.wait_s else ""
                    raise TimestampError(
                        f"no timestamp could be had from {self._shown}: {error}{asked}. Try again later"
                    ) from error
                self._clock.sleep_ns(int(pause_s * _SECOND_NS))
        raise AssertionError("the last attempt returns or raises")

    def _left_s(self, deadline_ns: int) -> float:
        return (deadline_ns - self._clock.monotonic_ns()) / _SECOND_NS

    def _post(self, request: bytes, deadline_ns: int) -> bytes:
        """One exchange. Raises ``_TransientError`` for what is worth another try, ``TimestampError`` otherwise."""
        import httpx

        left_s = max(0.01, self._left_s(deadline_ns))
        timeout = httpx.Timeout(left_s, connect=min(self._connect_s, left_s))
        headers = {"content-type": _QUERY, "accept": _REPLY, "accept-encoding": "identity"}
        try:
            with (
                Watchdog(left_s) as watchdog,
                httpx.Client(transport=self._transport, timeout=timeout, follow_redirects=False) as client,
                client.stream(
                    "POST", self.url, content=request, headers=headers, extensions={"trace": watchdog.trace}
                ) as answer,
            ):
                self._check_head(answer)
                return self._body(answer, deadline_ns)
        except (httpx.TransportError, httpx.StreamError) as error:
            raise _TransientError(f"the exchange failed ({type(error).__name__}: {error})") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TimestampError(f"{self._shown} cannot be asked for a timestamp: {error}") from error

    def _check_head(self, answer: "httpx.Response") -> None:
        code = answer.status_code
        if code == 429 or code >= 500:
            raise _TransientError(f"it answered {code}", self._retry_after_s(answer.headers.get("retry-after")))
        if code != 200:
            where = " (a redirect; use the address it leads to, if it is to be trusted)" if 300 <= code < 400 else ""
            raise TimestampError(f"no timestamp could be had from {self._shown}: it answered {code}{where}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _REPLY:
            raise TokenInvalidError(f"expected {_REPLY}, found {kind[:60] or 'no content type'}")
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise TokenInvalidError("it is compressed, which was not asked for")

    def _body(self, answer: "httpx.Response", deadline_ns: int) -> bytes:
        """The body, as far as it comes in time; the deadline holds between any two pieces of it."""
        body = bytearray()
        for piece in answer.iter_bytes():
            body += piece
            if len(body) > MAX_RESPONSE:
                raise TokenInvalidError(f"it is longer than {MAX_RESPONSE} bytes")
            if self._left_s(deadline_ns) <= 0:
                raise _TransientError(f"the answer was not complete after {self._total_s:g} s")
        return bytes(body)

    def _retry_after_s(self, value: str | None) -> float | None:
        """Seconds from a Retry-After header (RFC 9110 section 10.2.3); None if it says nothing usable."""
        if value is None:
            return None
        if re.fullmatch(r"[0-9]{1,9}", value.strip()):
            return float(value)
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            until = email.utils.parsedate_to_datetime(value)
            return max(0.0, until.timestamp() - self._clock.time_ns() / _SECOND_NS)
        return None

    def _check(self, data: bytes, digest: bytes, nonce: int) -> None:
        """Raises ``TimestampError`` for a refusal, ``TokenInvalidError`` or ``TokenMismatchError`` for a bad token."""
        with as_token_errors():
            response = read_response(data)
            if response.refused:
                raise _refusal(self._shown, response.status, response.reason)
        check_outside(data, digest, roots=self._roots, certificate=self._certificate, nonce=nonce)


def _refusal(shown: str, status: str, reason: str) -> TimestampError:
    said = f": {reason}" if reason else ""
    return TimestampError(f"{shown} refused to give a timestamp ({status}{said})")
