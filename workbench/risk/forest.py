"""Flat forests: the trees of a fitted classifier as three arrays, predicting what scikit-learn predicts, bit for bit.

Random forests and gradient boosting see their input rounded to float32 and compare it with float64 thresholds, as
scikit-learn does; histogram gradient boosting sees float64. Leaves are added in the order of the trees, and the last
step is the same ``scipy.special.expit``. Equality is with ``n_jobs=1``: with more, scikit-learn adds in any order.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, MalformedError

__all__ = ["ALGORITHMS", "MAXIMUM_FEATURES", "Algorithm", "Forest"]

Algorithm = Literal["random_forest", "gradient_boosting", "hist_gradient_boosting"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)

MAXIMUM_FEATURES: Final = 255  # a feature's number is one byte, and 255 marks a leaf
_MAXIMUM_NODES: Final = 2**31 - 2
_MAXIMUM_DEPTH: Final = 10_000
_LARGEST_LEAF: Final = 1e100  # so that no sum of leaves overflows
_CHUNK: Final = 1 << 16

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


class _Laid(NamedTuple):
    nodes: npt.NDArray[Any]
    roots: npt.NDArray[np.int32]
    walk: Callable[..., float]
    link: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Forest:
    """The trees of a binary classifier, each in preorder (left child: the next node), one after the other.

    ``feature`` (n,): the number of the feature that a node asks for, 255 for a leaf. ``value`` (n,): the threshold
    (``x <= value`` goes left), or the leaf's contribution. ``missing_left`` (n,): 1 where not-a-number goes left.
    ``base``: what the sum begins with (log-odds; 0 for a random forest, whose sum is divided by its trees instead).
    ``cover``: the training weight of each leaf, in order, which SHAP values need; empty where nobody knows it.

    A forest that exists is whole: every node is in exactly one tree, every feature is below ``n_features``, every
    value is finite. So walking it cannot leave its arrays. Raises ``MalformedError`` otherwise.

    >>> forest = Forest("random_forest", 1, 0.0, [0.5, 0.25, 1.0], [0, 255, 255], [0, 0, 0])
    >>> forest.predict_one(np.array([0.5])), forest.predict_one(np.array([0.6]))
    (0.25, 1.0)
    """

    algorithm: Algorithm
    n_features: int
    base: float
    value: Floats
    feature: Bytes
    missing_left: Bytes
    cover: Floats = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        kinds = {"value": np.float64, "feature": np.uint8, "missing_left": np.uint8, "cover": np.float64}
        for name, kind in kinds.items():
            array = np.array(getattr(self, name), dtype=kind)  # a copy of our own, that nobody changes
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        self._check()
        self._ready  # noqa: B018 - raises for trees that do not close

    def _check(self) -> None:
        from workbench.risk.walker import LEAF

        if self.algorithm not in ALGORITHMS:
            raise MalformedError(f"the algorithm {str(self.algorithm)[:40]!a} is none of {', '.join(ALGORITHMS)}")
        if not 1 <= self.n_features <= MAXIMUM_FEATURES:
            raise MalformedError(f"the trees have {self.n_features} features, not 1 to {MAXIMUM_FEATURES}")
        if not 1 <= len(self.value) <= _MAXIMUM_NODES:
            raise MalformedError(f"the trees have {len(self.value)} nodes, not 1 to {_MAXIMUM_NODES}")
        if not self.value.shape == self.feature.shape == self.missing_left.shape == (len(self.value),):
            raise MalformedError("value, feature and missing_left of the trees are not of one length")
        leaves = self.feature == LEAF
        if (unknown := ~leaves & (self.feature >= self.n_features)).any():
            node = int(unknown.argmax())
            raise MalformedError(
                f"node {node} asks for feature {self.feature[node]}, of {self.n_features} (counted from 0)"
            )
        if not np.isfinite(self.value).all():
            raise MalformedError(f"the value of node {int((~np.isfinite(self.value)).argmax())} is not a finite number")
        if (self.missing_left > 1).any() or (self.missing_left[leaves] != 0).any():
            raise MalformedError("missing_left is not 0 or 1 at some node, or not 0 at a leaf")
        if self.cover.shape not in ((0,), (int(leaves.sum()),)):
            raise MalformedError(f"the trees have {int(leaves.sum())} leaves and {self.cover.size} of them a weight")
        if not ((self.cover > 0) & (self.cover <= _LARGEST_LEAF)).all():
            raise MalformedError("the training weight of a leaf is not a number above 0")
        low, high = (0.0, 1.0) if self.algorithm == "random_forest" else (-_LARGEST_LEAF, _LARGEST_LEAF)
        contributed = self.value[leaves]
        if (outside := (contributed < low) | (contributed > high)).any():
            raise MalformedError(f"a leaf holds {contributed[outside.argmax()]:g}, not {low:g} to {high:g}")
        if not abs(self.base) <= _LARGEST_LEAF or (self.algorithm == "random_forest" and self.base != 0):
            raise MalformedError(f"the sum of the trees begins with {self.base:g}, which this algorithm does not do")

    @cached_property
    def _ready(self) -> "_Laid":
        """The nodes as the walker wants them, with right children and roots derived.

        The walker is kept with them, so that no prediction pays for an import: numba's takes half a second.
        """
        from scipy.special import expit

        from workbench.risk.walker import NODE, structure, walk

        right = np.zeros(len(self.value), dtype=np.int32)
        roots = np.zeros(len(self.value) + 1, dtype=np.int32)
        trees, depth = structure(self.feature, right, roots)
        if trees < 1:
            raise MalformedError("the last tree ends before it is complete")
        if depth > _MAXIMUM_DEPTH:
            raise MalformedError(f"a tree is {depth} deep, more than {_MAXIMUM_DEPTH}")
        nodes = np.zeros(len(self.value), dtype=NODE)
        nodes["value"], nodes["right"] = self.value, right
        nodes["feature"], nodes["missing_left"] = self.feature, self.missing_left
        return _Laid(nodes, roots[:trees].copy(), walk, expit)

    @property
    def n_trees(self) -> int:
        return len(self._ready.roots)

    @cached_property
    def _single(self) -> bool:
        return self.algorithm != "hist_gradient_boosting"

    @cached_property
    def _complete(self) -> bool:
        return self.algorithm == "gradient_boosting"

    def predict_one(self, row: Floats) -> float:
        """The probability of the positive class for ``row`` (k,) float64, uncalibrated.

        Raises ``InputError`` for another shape, and for what the algorithm does not take: infinite values, values too
        large for float32 (but for histogram gradient boosting), missing ones (gradient boosting only).
        """
        if row.shape != (self.n_features,) or row.dtype != np.float64:
            raise InputError(
                f"the model takes {self.n_features} float64 values, not {row.dtype} of shape {row.shape}: "
                "build them with the model's own feature spec"
            )
        nodes, roots, walk, link = self._ready
        total = walk(nodes, roots, row, self.base, self._single, self._complete)
        if math.isnan(total):
            raise InputError(_UNUSABLE)
        return total / len(roots) if self.algorithm == "random_forest" else float(link(total))

    def predict(self, rows: Floats) -> Floats:
        """As ``predict_one`` for each of ``rows`` (n, k): (n,) probabilities, the same to the last bit."""
        rows = np.asarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise InputError(
                f"the model takes rows of {self.n_features} values, not an array of shape {rows.shape}: "
                "build them with the model's own feature spec"
            )
        from workbench.risk.walker import walk_all

        nodes, roots, _, link = self._ready
        total = np.full(len(rows), self.base, dtype=np.float64)
        for start in range(0, len(rows), _CHUNK):
            chunk = np.ascontiguousarray(rows[start : start + _CHUNK])
            if self._single:
                with np.errstate(over="ignore"):
                    chunk = chunk.astype(np.float32).astype(np.float64)
            if (~np.isfinite(chunk) if self._complete else np.isinf(chunk)).any():
                raise InputError(_UNUSABLE)
            walk_all(nodes, roots, chunk, total[start : start + _CHUNK])
        if self.algorithm == "random_forest":
            return total / len(roots)
        probabilities: Floats = link(total)
        return probabilities

    @classmethod
    def of(cls, estimator: Any) -> "Forest":
        """The trees of a fitted scikit-learn classifier of two classes; ``predict`` gives its second class.

        Raises ``InputError`` for what cannot be held exactly: another kind of estimator, other than two classes,
        categorical splits, another loss than the logistic, a start from another estimator.
        """
        from workbench.risk.flatten import flatten

        return cls(*flatten(estimator))


_UNUSABLE: Final = (
    "a feature is infinite, too large or missing where the model was not trained with that: "
    "build the features with the model's own feature spec"
)
