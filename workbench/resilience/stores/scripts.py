"""The script that decides inside Redis: how charges become its arguments, and its answer decisions."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from workbench.errors import InputError, StoreUnavailableError
from workbench.resilience.algorithms import algorithm_of, phase_of
from workbench.resilience.decision import NEVER, Decision
from workbench.resilience.keys import bounded_key
from workbench.resilience.quota import Quota
from workbench.resilience.stores.store import Charge, checked

__all__ = ["Command", "DecisionScript", "lua"]

Command = tuple[bytes | str | int, ...]
"""A command of Redis, word by word."""

_UNIT_NS: Final = 1_000  # Redis tells the time in microseconds
_NUMBERS: Final = 5  # of the answer, for each charge
# Numbers in Lua are doubles, exact below 2^53. The largest there is: up to four times limit * period, or the time
# (below 2^52 until the year 2112) and two bursts.
_EXACT_BELOW: Final = 1 << 51
_MAX_LOG: Final = 100_000  # seven bytes each: the longest string that is sensible to rewrite while all others wait
_UNFIT: Final = frozenset("{}*?[]\\")


def lua(name: str) -> str:
    """The text of one of the Lua files of this package."""
    return files(__package__).joinpath("lua", name).read_text(encoding="utf-8")


class DecisionScript:
    """Writes charges as one ``EVALSHA`` and reads the answer.

    ``prefix``: what all keys begin with. ``clustered``: whether all keys of a command must lie in one slot.
    ``clock``: Lua that sets ``now`` and ``hold``; for tests.

    A key is ``prefix:digest of the quota:{key}``, so a quota that was changed begins anew. What stands in braces is
    what a cluster places keys by: quotas on the same key lie together. Raises ``InputError`` for an unfit prefix.

    >>> script = DecisionScript("wb")
    >>> script.name(Quota.parse("5/minute"), "u:42")
    b'wb:fb3ee21b0c59fbb2:{u:42}'
    """

    __slots__ = ("_clustered", "_prefix", "_words", "sha", "text")

    def __init__(self, prefix: str, *, clustered: bool = False, clock: str | None = None) -> None:
        if not prefix or not prefix.isprintable() or " " in prefix or len(prefix) > 64 or _UNFIT & set(prefix):
            raise InputError(
                f"a prefix of keys is 1 to 64 printable characters, no blank and none of *?[]{{}}\\, not {prefix!r:.80}"
            )
        self._prefix = prefix
        self._clustered = clustered
        self.text = (lua("clock.lua") if clock is None else clock) + lua("decide.lua")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()  # what Redis calls it
        self._words: dict[str, tuple[str, Command, int]] = {}

    def name(self, quota: Quota, key: str) -> bytes:
        """Where the state of ``key`` is kept."""
        shown = bounded_key(key)
        if not shown or shown[0] == "}":  # empty braces would be no tag
            shown = f"blake2b:{hashlib.blake2b(shown.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
        return f"{self._prefix}:{quota.digest}:{{{shown}}}".encode("utf-8", "surrogatepass")

    def command(self, charges: Sequence[Charge], *, consume: bool) -> Command:
        """One command for all charges.

        Raises ``InputError`` for a quota whose numbers do not fit, and on a cluster for keys in several slots.
        """
        names = [self.name(quota, key) for quota, key, _ in checked(charges)]
        if self._clustered and len(names) > 1:
            self._together(names, charges)
        words: list[bytes | str | int] = ["EVALSHA", self.sha, len(names), *names, "1" if consume else "0"]
        for quota, key, cost in charges:
            algorithm, numbers, period = self._words.get(quota.digest) or self._learn(quota)
            words += (algorithm, cost, *numbers, phase_of(key, period) if quota.stagger else 0)
        return tuple(words)

    def probe(self) -> Command:
        """A command that decides nothing: the answer of a server that can decide is an empty list."""
        return ("EVALSHA", self.sha, 0, "0")

    def whole(self, command: Command) -> Command:
        """The same command with the script itself instead of its digest: for a server that does not know it."""
        return ("EVAL", self.text, *command[2:])

    def read(self, charges: Sequence[Charge], answer: object) -> list[Decision]:
        """The decisions that ``answer`` stands for. Raises ``StoreUnavailableError`` if it is not such an answer."""
        if not isinstance(answer, list) or len(answer) != _NUMBERS * len(charges):
            raise StoreUnavailableError(f"Redis answered {answer!r:.80}, not {_NUMBERS} numbers a charge")
        decisions = []
        for at, (quota, _, _) in zip(range(0, len(answer), _NUMBERS), charges, strict=True):
            allowed, remaining, retry, following, reset = answer[at : at + _NUMBERS]
            decisions.append(
                Decision(
                    allowed == 1,
                    quota.name,
                    quota.capacity,
                    remaining,
                    NEVER if retry == NEVER else retry * _UNIT_NS,
                    following * _UNIT_NS,
                    reset * _UNIT_NS,
                    refused=() if allowed == 1 else (quota.name,),
                )
            )
        return decisions

    def fits(self, quota: Quota) -> None:
        """Raises ``InputError`` if the numbers of ``quota`` are too large for Redis; says what would fit."""
        self._words.get(quota.digest) or self._learn(quota)

    def _learn(self, quota: Quota) -> tuple[str, Command, int]:
        meter = algorithm_of(quota, unit_ns=_UNIT_NS)
        period = meter.period
        most = {
            "exact": _MAX_LOG,
            "smooth": _EXACT_BELOW // -(-period // quota.limit),
            "approx": _EXACT_BELOW // period,
            "fixed": _EXACT_BELOW,
        }[quota.algorithm]
        if meter.capacity > most or quota.limit > _EXACT_BELOW:
            what = "burst" if quota.algorithm == "smooth" else "limit"
            other = "" if quota.algorithm == "smooth" else ", or take the algorithm 'smooth'"
            raise InputError(
                f"quota {quota.name!r}: a {what} of {meter.capacity} in {quota.per:g} s is too large for the algorithm "
                f"{quota.algorithm!r} in Redis; at most {most} fits{other}"
            )
        learned = (quota.algorithm, (quota.limit, period, meter.capacity), period)
        self._words[quota.digest] = learned
        return learned

    def _together(self, names: list[bytes], charges: Sequence[Charge]) -> None:
        from redis.crc import key_slot

        if len({key_slot(name) for name in names}) > 1:
            raise InputError(
                "a cluster of Redis decides all or nothing only for keys that lie together, and the keys of "
                f"{', '.join(repr(quota.name) for quota, _, _ in charges)} differ; give these quotas one key, or ask "
                "for each on its own, the most selective first (a later refusal then leaves the earlier ones charged)"
            )
