"""The hash tree of RFC 6962, section 2.1: roots, inclusion proofs, consistency proofs, and a frontier to append with.

    leaf hash   SHA-256(0x00 || entry)
    node hash   SHA-256(0x01 || left || right)

The verifying functions follow RFC 9162, sections 2.1.3.2 and 2.1.4.2; they share no code with those that make proofs.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = [
    "EMPTY_ROOT",
    "Frontier",
    "Tree",
    "leaf_hash",
    "node_hash",
    "verify_consistency",
    "verify_inclusion",
]

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry, 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """All that is needed to append: the roots of the complete subtrees, largest first; O(log n) memory.

    >>> frontier = Frontier()
    >>> for entry in (b"a", b"b", b"c"):
    ...     frontier.append(leaf_hash(entry))
    >>> frontier.size, frontier.root == Tree(map(leaf_hash, (b"a", b"b", b"c"))).root()
    (3, True)
    """

    def __init__(self, size: int = 0, subtrees: Iterable[bytes] = ()) -> None:
        self.size = size
        self.subtrees = list(subtrees)
        if size < 0 or len(self.subtrees) != size.bit_count() or any(len(node) != 32 for node in self.subtrees):
            raise ValueError(f"a frontier of {size} entries has {size.bit_count()} subtrees of 32 bytes")

    def append(self, leaf: bytes) -> None:
        sha256, subtrees, size = hashlib.sha256, self.subtrees, self.size
        while size & 1:
            leaf = sha256(b"\x01" + subtrees.pop() + leaf).digest()
            size >>= 1
        subtrees.append(leaf)
        self.size += 1

    def copy(self) -> "Frontier":
        return Frontier(self.size, self.subtrees)

    @property
    def root(self) -> bytes:
        if not self.subtrees:
            return EMPTY_ROOT
        *others, node = self.subtrees
        for left in reversed(others):
            node = node_hash(left, node)
        return node


class Tree:
    """A tree with all its complete subtrees, from which any root and proof can be made.

    >>> tree = Tree(map(leaf_hash, (b"a", b"b", b"c")))
    >>> verify_inclusion(leaf_hash(b"b"), 1, 3, tree.inclusion_proof(1, 3), tree.root())
    True
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [list(leaves)]
        sha256 = hashlib.sha256
        while len(below := self._levels[-1]) > 1:
            pairs = iter(below)
            self._levels.append(
                [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
            )

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Append one leaf hash and complete the subtrees that it completes."""
        self._levels[0].append(leaf)
        level = 0
        while len(self._levels[level]) % 2 == 0:
            node = node_hash(*self._levels[level][-2:])
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(node)
            level += 1

    def root(self, size: int | None = None) -> bytes:
        """The root of the first ``size`` leaves (of all, unless given)."""
        size = len(self) if size is None else self._within(size)
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """PATH(index, D[size]) of RFC 6962: hashes from the leaf's sibling up to the root's child."""
        size = len(self) if size is None else self._within(size)
        if not 0 <= index < size:
            raise ValueError(f"entry {index} is not among the first {size}")
        return self._path(index, 0, size)

    def consistency_proof(self, first: int, second: int | None = None) -> list[bytes]:
        """PROOF(first, D[second]) of RFC 6962: that the first ``first`` leaves are still the first ones."""
        second = len(self) if second is None else self._within(second)
        if not 0 <= first <= second:
            raise ValueError(f"{first} entries are not a beginning of {second}")
        return [] if first in (0, second) else self._subproof(first, 0, second, whole=True)

    def frontier(self) -> Frontier:
        subtrees, start = [], 0
        for bit in reversed(range(len(self).bit_length())):
            if len(self) >> bit & 1:
                subtrees.append(self._levels[bit][start >> bit])
                start += 1 << bit
        return Frontier(len(self), subtrees)

    def _within(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise ValueError(f"the tree has {len(self)} entries, not {size}")
        return size

    def _hash(self, start: int, count: int) -> bytes:
        if count & (count - 1) == 0:  # complete
            level = count.bit_length() - 1
            return self._levels[level][start >> level]
        left = _split(count)
        return node_hash(self._hash(start, left), self._hash(start + left, count - left))

    def _path(self, index: int, start: int, count: int) -> list[bytes]:
        if count == 1:
            return []
        left = _split(count)
        if index < left:
            return [*self._path(index, start, left), self._hash(start + left, count - left)]
        return [*self._path(index - left, start + left, count - left), self._hash(start, left)]

    def _subproof(self, first: int, start: int, count: int, *, whole: bool) -> list[bytes]:
        if first == count:
            return [] if whole else [self._hash(start, count)]
        left = _split(count)
        if first <= left:
            return [*self._subproof(first, start, left, whole=whole), self._hash(start + left, count - left)]
        return [*self._subproof(first - left, start + left, count - left, whole=False), self._hash(start, left)]


def _split(count: int) -> int:
    """The largest power of two smaller than ``count``."""
    return 1 << ((count - 1).bit_length() - 1)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows that ``leaf`` is entry ``index`` of the tree of ``size`` entries with this ``root``."""
    if not 0 <= index < size or any(len(node) != 32 for node in proof):
        return False
    place, last, node = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(other, node)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            node = node_hash(node, other)
        place >>= 1
        last >>= 1
    return last == 0 and node == root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree of ``first`` entries is the beginning of the one of ``second`` entries."""
    if not 0 <= first <= second or any(len(node) != 32 for node in proof):
        return False
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof and first_root == EMPTY_ROOT
    nodes = list(proof)
    if first & (first - 1) == 0:
        nodes.insert(0, first_root)
    if not nodes:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old = new = nodes[0]
    for other in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            new = node_hash(new, other)
        place >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root
