"""The timestamp authority inside the workbench (RFC 3161): no network, one key, one clock that may not go back.

It proves order, and that a document existed while its key was in use. It does not prove the calendar date to somebody
who does not trust this machine: for that there is ``ExternalAuthority``.
"""

import contextlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from workbench.clock import Clock, SystemClock
from workbench.errors import CertificateError, TimestampError, WorkbenchError
from workbench.evidence.certificates import PrivateKey, Role, moment, role_of, spki
from workbench.evidence.timestamps.chain import check_in_use
from workbench.evidence.timestamps.frame import POLICY, Frame, content_of
from workbench.evidence.timestamps.signing import SigningKey, sign
from workbench.evidence.timestamps.structures import HASH_SIZES, read_request, rejection
from workbench.files import one_at_a_time, sha256_bytes, write_atomic

__all__ = ["POLICY", "Issued", "LocalAuthority"]

_STATE_VERSION: Final = 1
_LONGEST_NONCE: Final = 256  # bits


@dataclass(frozen=True)
class Issued:
    """One token that was given out, for the record: ``digest`` is what was stamped, ``time`` the token's time."""

    serial: int
    time: datetime
    digest: bytes
    response_sha256: str


class _Refusal(Exception):  # noqa: N818
    """Why a request is not answered with a token; ``failure`` is a name of PKIFailureInfo (RFC 3161 section 2.4.2)."""

    def __init__(self, failure: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure


class LocalAuthority:
    """Issues timestamps with ``key`` under ``certificate`` (role ``timestamp``).

    ``state`` is a JSON file that keeps the last time given out, so that no later process goes behind it; without it
    only this object knows. ``on_issue`` is told of every token before it leaves; if it raises, the token does not.

    Raises ``TimestampError`` for a key of a kind that other verifiers refuse, or one that the certificate is not for.
    """

    def __init__(
        self,
        key: PrivateKey,
        certificate: x509.Certificate,
        *,
        clock: Clock | None = None,
        state: Path | None = None,
        on_issue: Callable[[Issued], None] | None = None,
    ) -> None:
        self._key = _usable(key, certificate)
        self.certificate = certificate
        self._clock = clock or SystemClock()
        self._last = _LastTime(state)
        self._on_issue = on_issue
        self._frame = Frame(certificate, self._key.public_key())

    def stamp(self, digest: bytes) -> bytes:
        """A DER TimeStampResp over ``digest`` (SHA-256, 32 bytes), with the authority's certificate inside.

        Raises ``TimestampError``: the clock was set back, the key's time is over or has not begun.
        """
        try:
            _check_size("sha256", digest)
            return self._issue("sha256", digest, nonce=None, with_certificate=True)
        except _Refusal as refusal:
            raise TimestampError(f"no timestamp was made: {refusal}") from refusal

    def respond(self, request: bytes) -> bytes:
        """The DER TimeStampResp to a DER TimeStampReq: a token, or a rejection that says why. It does not raise."""
        try:
            return self._answer(request)
        except _Refusal as refusal:
            return rejection(refusal.failure, str(refusal))
        except WorkbenchError as error:
            return rejection("system_failure", f"the timestamp could not be recorded: {error}")
        except Exception as error:
            return rejection("system_failure", f"the timestamp could not be made ({type(error).__name__})")

    def _answer(self, request: bytes) -> bytes:
        asked = _read(request)
        imprint = asked["message_imprint"]
        return self._issue(
            imprint["hash_algorithm"]["algorithm"].native,
            imprint["hashed_message"].native,
            nonce=asked["nonce"].native,
            with_certificate=asked["cert_req"].native,
        )

    def _issue(self, hash_name: str, digest: bytes, *, nonce: int | None, with_certificate: bool) -> bytes:
        time = self._now()
        serial = secrets.randbits(64) or 1
        content = content_of(hash_name, digest, serial=serial, time=time, nonce=nonce)
        signature = sign(self._key, self._frame.attributes(content, time))
        response = self._frame.response(content, time, signature, with_certificate=with_certificate)
        if self._on_issue is not None:
            self._on_issue(Issued(serial, time, digest, sha256_bytes(response)))
        return response

    def _now(self) -> datetime:
        """The time to give out. It is kept before anything is signed with it, so that no crash can lose it."""
        with self._last.held() as last:
            now = moment(self._clock)
            if now < last.time:
                raise _Refusal(
                    "time_not_available",
                    f"the clock was set back: it says {now:%Y-%m-%d %H:%M:%S} UTC, the last timestamp said "
                    f"{last.time:%Y-%m-%d %H:%M:%S} UTC. Set the clock right and try again",
                )
            try:
                check_in_use(self.certificate, now)
            except CertificateError as error:
                raise _Refusal(
                    "system_failure", f"{error}; a new timestamp key is needed, or the clock is wrong"
                ) from error
            last.keep(now)
            return now


def _usable(key: PrivateKey, certificate: x509.Certificate) -> SigningKey:
    """The key, if it is one that makes tokens others can verify."""
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TimestampError(
            "an Ed25519 key cannot sign timestamps: openssl ts and rfc3161-client reject its tokens. "
            "Use a P-256, P-384 or RSA-3072 key"
        )
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        raise TimestampError(f"timestamps are signed with P-256, P-384 or RSA, not {key.curve.name}")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 3072:
        raise TimestampError(f"timestamps are signed with RSA keys of at least 3072 bits; this one has {key.key_size}")
    try:
        role = role_of(certificate)
    except CertificateError as error:
        raise TimestampError(f"a timestamp authority needs a certificate for timestamps: {error}") from error
    if role is not Role.TIMESTAMP:
        raise TimestampError(
            f"a timestamp authority needs a certificate for timestamps; this one is a {role.value} key's"
        )
    if spki(certificate) != key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise TimestampError("the timestamp authority's certificate is for another key than the one given")
    return key


def _read(request: bytes) -> Any:
    """The request, if it is one that can be answered (RFC 3161 section 2.4.1)."""
    try:
        asked = read_request(request)
    except Exception as error:
        raise _Refusal("bad_data_format", "this is not a timestamp request (RFC 3161, DER)") from error
    if asked["version"].native != "v1":
        raise _Refusal("bad_request", "only version 1 of timestamp requests is known")
    algorithm = asked["message_imprint"]["hash_algorithm"]
    name = algorithm["algorithm"].native
    if name not in HASH_SIZES or algorithm["parameters"].native is not None:
        raise _Refusal("bad_alg", "only digests by SHA-256, SHA-384 and SHA-512 are stamped")
    _check_size(name, asked["message_imprint"]["hashed_message"].native)
    if asked["req_policy"].native is not None and asked["req_policy"].dotted != POLICY:
        raise _Refusal("unaccepted_policy", f"the only policy here is {POLICY}")
    if not isinstance(asked["extensions"], core.Void):
        raise _Refusal("unaccepted_extensions", "no extensions are known here")
    nonce = asked["nonce"].native
    if nonce is not None and (nonce < 0 or nonce.bit_length() > _LONGEST_NONCE):
        raise _Refusal("bad_request", f"a nonce is a positive number of at most {_LONGEST_NONCE} bits")
    return asked


def _check_size(hash_name: str, digest: bytes) -> None:
    if len(digest) != HASH_SIZES[hash_name]:
        raise _Refusal(
            "bad_data_format", f"a digest by {hash_name} has {HASH_SIZES[hash_name]} bytes, not {len(digest)}"
        )


class _LastTime:
    """The last time given out, in memory and in a file that several processes share."""

    def __init__(self, path: Path | None) -> None:
        self.time = datetime.fromtimestamp(0, UTC)
        self._path = path
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator["_LastTime"]:
        """Hold it against other threads and processes; what they kept is known inside."""
        with self._lock, self._locked_file():
            if self._path is not None:
                self.time = max(self.time, self._kept(self._path))
            yield self

    def keep(self, time: datetime) -> None:
        """Keep ``time``, which is not before the last. Within one second nothing new is written."""
        if self._path is not None and time != self._kept(self._path):
            document = {"version": _STATE_VERSION, "lastTime": int(time.timestamp())}
            write_atomic(self._path, json.dumps(document).encode())
        self.time = time

    def _locked_file(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._path is None else one_at_a_time(self._path)

    @staticmethod
    def _kept(path: Path) -> datetime:
        """The time in the file. A damaged file is not passed over: it may hide that the clock went back."""
        try:
            document = json.loads(path.read_bytes())
            if document["version"] != _STATE_VERSION:
                raise ValueError("its version is not known")
            return datetime.fromtimestamp(document["lastTime"], UTC)
        except FileNotFoundError:
            return datetime.fromtimestamp(0, UTC)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise _Refusal(
                "time_not_available",
                f"the file {path.name!r}, which keeps the time of the last timestamp, cannot be read ({error}). "
                "Make sure that the clock is right, then remove the file",
            ) from error
