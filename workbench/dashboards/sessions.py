"""Who is signed in to a dashboard: sessions that end by signing out, by time, or with the person's key.

The browser holds a random token in a signed cookie; the server's file holds its SHA-256 only. It survives a restart of
the server, and a session that was ended is ended for good.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.clock import Clock
from workbench.errors import StorageError
from workbench.evidence.keyfile import check_private, make_private_folder
from workbench.files import canonical_json, one_at_a_time, sha256_bytes, write_atomic
from workbench.workspace import Workspace

__all__ = ["Session", "Sessions", "cookie_secret", "dashboard_folder"]

LIFETIME: Final = 8 * 3_600  # seconds
_MOST: Final = 10_000
_MOST_EACH: Final = 20  # of one person: who signs in again and again ends their own sessions, not those of others


@dataclass(frozen=True)
class Session:
    """``id`` is the SHA-256 of the token: fit to be compared and logged. ``person`` is a pseudonym."""

    id: str
    person: str
    certificate_sha256: str
    ends: int  # seconds since the epoch


class Sessions:
    """The sessions of one workspace's dashboards."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def begin(self, person: str, certificate_sha256: str) -> str:
        """Returns the token, which is kept nowhere here."""
        token = secrets.token_urlsafe(32)
        session = Session(_id(token), person, certificate_sha256, self._now() + LIFETIME)
        with one_at_a_time(self._path):
            known = list(self._read().values())
            own = [one for one in known if one.person == person]
            surplus = own[: max(0, len(own) + 1 - _MOST_EACH)]
            self._write([*(one for one in known if one not in surplus), session])
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, if it has not ended."""
        return self._read().get(_id(token))

    def all(self) -> list[Session]:
        """All sessions that have not ended."""
        return list(self._read().values())

    def living(self) -> frozenset[str]:
        """Their ids."""
        return frozenset(self._read())

    def end(self, session: Session) -> None:
        """End it, for good."""
        with one_at_a_time(self._path):
            known = self._read()
            if known.pop(session.id, None) is not None:
                self._write(list(known.values()))

    def _now(self) -> int:
        return self._clock.time_ns() // 1_000_000_000

    def _read(self) -> dict[str, Session]:
        try:
            rows = json.loads(self._path.read_bytes())
            found = [Session(str(row[0]), str(row[1]), str(row[2]), int(row[3])) for row in rows]
        except (OSError, ValueError, TypeError, IndexError):
            return {}  # nobody yet; or damaged, and then nobody any more
        now = self._now()
        return {one.id: one for one in found if one.ends > now}

    def _write(self, sessions: list[Session]) -> None:
        rows = [[one.id, one.person, one.certificate_sha256, one.ends] for one in sessions[-_MOST:]]
        write_atomic(self._path, canonical_json(rows), mode=0o600)


def dashboard_folder(workspace: Workspace) -> Path:
    """Where dashboards keep sessions and attempts: open to its owner only. Raises ``KeyFileError`` if it is loose."""
    folder = workspace.state / "dashboard"
    make_private_folder(folder)
    return folder


def cookie_secret(folder: Path) -> bytes:
    """What cookies are signed with, made on first use, mode 0600. Raises ``KeyFileError`` if others can read it."""
    path = folder / "cookie-secret"
    with one_at_a_time(path):
        if not path.exists():
            write_atomic(path, secrets.token_bytes(64), mode=0o600)
    check_private(path)
    data = path.read_bytes()
    if len(data) != 64:
        raise StorageError(f"{path.name!r} is damaged: remove it, and everybody signs in again")
    return data


def _id(token: str) -> str:
    return sha256_bytes(token.encode())
