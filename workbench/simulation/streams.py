"""Randomness by name: each stream of a simulation has a generator that hangs on the seed and its own name only."""

import hashlib
from typing import Final

import numpy as np

from workbench.errors import InputError

__all__ = ["Streams"]

_LARGEST: Final = 2**63 - 1


class Streams:
    """The random streams of one run. The same seed and name give the same draws; other names give independent ones.

    A stream's place in the tree of ``numpy.random.SeedSequence`` is a digest of its name. So what one part draws, or
    whether it draws at all, changes no other: two policies under one seed meet the same traffic. Names differ with
    certainty for practical purposes: they are told apart by 128 bits of BLAKE2b.
    Raises ``InputError`` for a seed that is not a whole number from 0 to 2^63 - 1.

    >>> first, again = Streams(7).generator("arrivals"), Streams(7).generator("arrivals")
    >>> first.random() == again.random(), first.random() == Streams(7).generator("services").random()
    (True, False)
    """

    __slots__ = ("seed",)

    def __init__(self, seed: int) -> None:
        if type(seed) is not int or not 0 <= seed <= _LARGEST:
            raise InputError(f"a seed is a whole number from 0 to 2^63 - 1, not {seed!r:.60}")
        self.seed = seed

    def __repr__(self) -> str:
        return f"Streams({self.seed})"

    def generator(self, name: str) -> np.random.Generator:
        """The stream ``name`` from its beginning: PCG64, a new object each time."""
        digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
        place = tuple(int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4))
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=place)))
