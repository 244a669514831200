"""How often a passphrase may be guessed, across all processes of a dashboard: five at once, then one every ten minutes.

An attempt is counted before it is made and taken back when it was right, so that many at once are no way around it.
The counting is that of ``workbench.resilience``; kept is one number a name, in a file that all processes share.
"""

import json
from pathlib import Path
from typing import Final

from workbench.clock import Clock
from workbench.errors import KeyFileError
from workbench.files import canonical_json, one_at_a_time, sha256_bytes, write_atomic
from workbench.resilience import Quota
from workbench.resilience.algorithms import algorithm_of

__all__ = ["Attempts"]

_GUESSES: Final = Quota("passphrases", limit=6, per=3_600, algorithm="smooth", burst=5)
_METER: Final = algorithm_of(_GUESSES, unit_ns=1_000_000_000)


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
    workbench.errors.KeyFileError: too many wrong passphrases: wait 10 minutes and try again
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
            state, allowed, _, left, _, _ = _METER.ask(known.get(name), now, 1)
            self._write(known if state is None else known | {name: state})
        if not allowed:
            told = f"{left} seconds" if left < 120 else f"{-(-left // 60)} minutes"
            raise KeyFileError(f"too many wrong passphrases: wait {told} and try again")

    def succeeded(self, person: str) -> None:
        """Forget the attempts of ``person``: the passphrase was right."""
        with one_at_a_time(self._path):
            known = self._read(self._now())
            if known.pop(_named(person), None) is not None:
                self._write(known)

    def _now(self) -> int:
        return self._clock.time_ns() // 1_000_000_000

    def _read(self, now: int) -> dict[str, int]:
        try:
            found = json.loads(self._path.read_bytes())
            return {str(name): int(state) for name, state in found.items() if not _METER.dead(int(state), now)}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # none yet, or damaged

    def _write(self, known: dict[str, int]) -> None:
        latest = sorted(known.items(), key=lambda one: one[1])[-self._most :]
        write_atomic(self._path, canonical_json(dict(latest)))


def _named(person: str) -> str:
    return sha256_bytes(person.strip().casefold().encode())[:32]
