"""The compiled part: structure of flat trees, and walking them for one row or many.

A tree is written in preorder: a node's left child is the next node, its right child is the node after the left
subtree. So the sequence of inner nodes and leaves alone says how a tree is built, no child is ever stored, and a child
that points elsewhere cannot be written down.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.compiled import compiled

__all__ = ["LEAF", "NODE", "structure", "walk", "walk_all"]

LEAF: Final = 255  # in the place of a feature's number

# One node in 16 bytes, so that a step touches one line of the processor's cache.
NODE: Final = np.dtype(
    [("value", "<f8"), ("right", "<i4"), ("feature", "u1"), ("missing_left", "u1"), ("unused", "<u2")]
)


@compiled()
def structure(
    feature: npt.NDArray[np.uint8], right: npt.NDArray[np.int32], roots: npt.NDArray[np.int32]
) -> tuple[int, int]:
    """Fill ``right`` (n,) and the first places of ``roots`` (n + 1,); return the number of trees and the depth.

    The number is -1 if the last tree ends before it is complete.
    """
    waiting = np.empty(len(feature), dtype=np.int32)  # inner nodes whose right child is still to come
    depth = trees = deepest = 0
    roots[0] = 0
    complete = True
    for node in range(len(feature)):
        if feature[node] == 255:
            if depth == 0:
                trees += 1
                roots[trees] = node + 1
                complete = True
            else:
                depth -= 1
                right[waiting[depth]] = node + 1
                complete = False
        else:
            waiting[depth] = node
            depth += 1
            deepest = max(deepest, depth)
            complete = False
    return (trees if complete else -1), deepest


@compiled()
def walk(
    nodes: Any, roots: npt.NDArray[np.int32], row: npt.NDArray[np.float64], base: float, single: bool, complete: bool
) -> float:
    """``base`` plus the sum of the leaves that ``row`` (k,) comes to, tree by tree.

    ``single`` rounds the row to float32 first. Not a number if a value is infinite (before or after rounding), or
    missing where the row must be ``complete``.
    """
    x = np.empty(len(row), dtype=np.float64)
    for place in range(len(row)):
        value = np.float64(np.float32(row[place])) if single else row[place]
        if np.isinf(value) or (complete and np.isnan(value)):
            return np.nan
        x[place] = value
    total = base
    for tree in range(len(roots)):
        at = roots[tree]
        feature = nodes[at].feature
        while feature != 255:
            value = x[feature]
            # Not a number is never <= anything; only then does the node's own direction count.
            left = value <= nodes[at].value or (np.isnan(value) and nodes[at].missing_left != 0)
            at = at + 1 if left else nodes[at].right
            feature = nodes[at].feature
        total += nodes[at].value
    return total


@compiled()
def walk_all(
    nodes: Any, roots: npt.NDArray[np.int32], x: npt.NDArray[np.float64], out: npt.NDArray[np.float64]
) -> None:
    """Add to ``out`` (n,) the leaves of each row of ``x`` (n, k), already rounded: trees outside, rows inside.

    A tree stays in the cache for all rows, and each row still gets its leaves in the order of the trees.
    """
    for tree in range(len(roots)):
        for row in range(x.shape[0]):
            at = roots[tree]
            feature = nodes[at].feature
            while feature != 255:
                value = x[row, feature]
                left = value <= nodes[at].value or (np.isnan(value) and nodes[at].missing_left != 0)
                at = at + 1 if left else nodes[at].right
                feature = nodes[at].feature
            out[row] += nodes[at].value
