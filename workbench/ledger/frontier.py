"""What the ledger remembers outside its database: how many entries there were, their subtrees, the last leaf.

An older database put in the place of the present one is whole in itself; only this file, and the checkpoints,
contradict it.
"""

import json
import secrets
from dataclasses import dataclass, replace
from typing import Final

from workbench.errors import IntegrityError
from workbench.evidence.merkle import Frontier
from workbench.files import canonical_json

__all__ = ["Remembered", "new_origin"]

_VERSION: Final = 1


def new_origin() -> str:
    """The name of a new log: random, so that no two logs share one."""
    return f"workbench/ledger/{secrets.token_hex(16)}"


@dataclass(frozen=True)
class Remembered:
    """The content of ``frontier.json``."""

    origin: str
    size: int = 0
    subtrees: tuple[bytes, ...] = ()
    last_leaf: bytes | None = None

    @property
    def frontier(self) -> Frontier:
        return Frontier(self.size, self.subtrees)

    def after(self, leaves: list[bytes]) -> "Remembered":
        """The same log with ``leaves`` (hashes) appended."""
        frontier = self.frontier
        for leaf in leaves:
            frontier.append(leaf)
        last = leaves[-1] if leaves else self.last_leaf
        return replace(self, size=frontier.size, subtrees=tuple(frontier.subtrees), last_leaf=last)

    def __bytes__(self) -> bytes:
        return canonical_json(
            {
                "v": _VERSION,
                "origin": self.origin,
                "size": self.size,
                "subtrees": [node.hex() for node in self.subtrees],
                "lastLeaf": None if self.last_leaf is None else self.last_leaf.hex(),
            }
        )

    @classmethod
    def read(cls, data: bytes) -> "Remembered":
        """Raises ``IntegrityError``."""
        try:
            content = json.loads(data)
            if content["v"] != _VERSION:
                raise ValueError("another version")
            subtrees = tuple(bytes.fromhex(node) for node in content["subtrees"])
            last = None if content["lastLeaf"] is None else bytes.fromhex(content["lastLeaf"])
            read = cls(str(content["origin"]), int(content["size"]), subtrees, last)
            _ = read.frontier
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                "frontier.json of the ledger is damaged: see `workbench ledger verify`, then `workbench ledger rebuild`"
            ) from error
        return read
