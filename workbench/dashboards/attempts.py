"""How often a passphrase may be guessed, across all processes of a dashboard: five at once, then ever more slowly.

An attempt is counted before it is made and taken back when it was right, so that many at once are no way around it.
"""

import json
from pathlib import Path
from typing import Final

from workbench.clock import Clock
from workbench.errors import KeyFileError
from workbench.files import canonical_json, one_at_a_time, sha256_bytes, write_atomic

__all__ = ["Attempts"]

_FREE: Final = 5
_FIRST_WAIT: Final = 30  # seconds; doubles with each further attempt
_LONGEST_WAIT: Final = 900
_FORGOTTEN: Final = 3_600  # seconds after the last attempt


class Attempts:
    """Wrong passphrases of each name, in one small file. Names are kept as digests: anything may be typed.

    At most ``most`` names are remembered, the latest. What anybody may type must not be counted in one file with what
    there is: a flood of new names would make it forget the others.

    >>> import tempfile; from workbench.clock import VirtualClock
    >>> clock = VirtualClock(start_ns=10**18)
    >>> attempts = Attempts(Path(tempfile.mkdtemp()) / "attempts.json", clock=clock)
    >>> for _ in range(5): attempts.begin("p:ann")
    >>> attempts.begin("p:ann")
    Traceback (most recent call last):
    workbench.errors.KeyFileError: too many wrong passphrases: wait 30 seconds and try again
    """

    def __init__(self, path: Path, *, clock: Clock, most: int = 10_000) -> None:
        self._path = path
        self._clock = clock
        self._most = most

    def begin(self, person: str) -> None:
        """Count an attempt. Raises ``KeyFileError``, and counts nothing, while it is too early for one."""
        now, name = self._now(), _named(person)
        with one_at_a_time(self._path):
            known = self._read(now)
            count, last = known.get(name, (0, 0))
            left = last + _wait(count) - now
            if left > 0:
                told = f"{left} seconds" if left < 120 else f"{-(-left // 60)} minutes"
                raise KeyFileError(f"too many wrong passphrases: wait {told} and try again")
            self._write(known | {name: (count + 1, now)})

    def succeeded(self, person: str) -> None:
        """Forget the attempts of ``person``: the passphrase was right."""
        with one_at_a_time(self._path):
            known = self._read(self._now())
            if known.pop(_named(person), None) is not None:
                self._write(known)

    def _now(self) -> int:
        return self._clock.time_ns() // 1_000_000_000

    def _read(self, now: int) -> dict[str, tuple[int, int]]:
        try:
            found = json.loads(self._path.read_bytes())
            return {
                str(name): (int(count), min(int(last), now))
                for name, (count, last) in found.items()
                if now - int(last) < _FORGOTTEN
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # none yet, or damaged

    def _write(self, known: dict[str, tuple[int, int]]) -> None:
        newest = sorted(known.items(), key=lambda one: one[1][1])[-self._most :]
        write_atomic(self._path, canonical_json({name: list(one) for name, one in newest}))


def _wait(count: int) -> int:
    """Seconds that must lie between attempt ``count`` and the next."""
    return 0 if count < _FREE else int(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(count - _FREE, 10)))


def _named(person: str) -> str:
    return sha256_bytes(person.strip().casefold().encode())[:32]
