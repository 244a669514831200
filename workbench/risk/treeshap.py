"""TreeSHAP on flat trees: nothing is unpickled, no scikit-learn object is needed, and every sum is checked.

Path-dependent TreeSHAP (Lundberg and others, From local explanations to global understanding with explainable AI for
trees, Nature Machine Intelligence 2, 2020) as the library shap computes it, fed with the arrays of a ``Forest``.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, IntegrityError
from workbench.risk.forest import Forest
from workbench.risk.walker import LEAF

__all__ = ["TOLERANCE", "Summary", "TreeShap"]

Floats = npt.NDArray[np.float64]

TOLERANCE: Final = 1e-9
"""Largest relative difference between the sum of the values and the forest's own output."""

_BATCH: Final = 200  # rows given to shap at once, so that progress can be told


@dataclass(frozen=True)
class Summary:
    """SHAP values of many rows: ``X`` and ``values`` have shape (n, k), ``features`` k names."""

    features: tuple[str, ...]
    X: Floats
    values: Floats
    base: float
    space: str

    @property
    def mean_abs(self) -> Floats:
        """Mean absolute value of each feature, shape (k,), in units of ``space``."""
        mean: Floats = np.abs(self.values).mean(axis=0)
        return mean

    @property
    def order(self) -> npt.NDArray[np.intp]:
        """Features by ``mean_abs``, the largest first; ties in the order of the columns."""
        return np.argsort(-self.mean_abs, kind="stable")

    def as_metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` keeps: ``space``, ``rows`` and each feature's mean absolute value, largest first."""
        mean = self.mean_abs
        ranked = [{"feature": self.features[k], "mean_abs": float(mean[k])} for k in self.order]
        return {"space": self.space, "rows": len(self.X), "features": ranked}


class TreeShap:
    """SHAP values of one forest. ``space`` is their unit: ``probability`` or, of boosted trees, ``log-odds``."""

    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        self.space = "probability" if forest.algorithm == "random_forest" else "log-odds"

    @cached_property
    def _trees(self) -> Any:
        with warnings.catch_warnings():  # shap's import warns of what it asks of matplotlib
            warnings.simplefilter("ignore")
            from shap import TreeExplainer
        return TreeExplainer(_as_shap(self.forest), feature_perturbation="tree_path_dependent")

    @cached_property
    def base(self) -> float:
        """The forest's raw output for the average training row."""
        return float(np.ravel(self._trees.expected_value)[0])

    def values(self, X: Floats, *, progress: Callable[[int], None] = lambda rows: None) -> tuple[Floats, Floats]:
        """SHAP values, shape (n, k), and raw outputs, shape (n,), of rows ``X``, shape (n, k); NaN as the model allows.

        ``progress`` is called with the number of rows done after each batch of 200.

        Raises ``InputError`` if ``X`` has another number of columns than the forest, ``IntegrityError`` if, within a
        relative ``TOLERANCE``, values and base do not add up to the raw output, or that is not what it predicts.
        """
        X = np.ascontiguousarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.forest.n_features:
            raise InputError(f"the model takes rows of {self.forest.n_features} features, not an array of {X.shape}")
        values = np.empty(X.shape)
        raw = np.empty(len(X))
        for start in range(0, len(X), _BATCH):
            rows = slice(start, start + _BATCH)
            predicted = self.forest.predict(X[rows])
            raw[rows] = self._trees.model.predict(X[rows])
            values[rows] = self._trees.shap_values(X[rows], check_additivity=False)
            summed = self.base + values[rows].sum(axis=1)
            _check(start, summed, raw[rows], "does not add up: its values sum to")
            _check(start, self.probability(raw[rows]), predicted, "is of other trees than the model's: they give")
            progress(min(start + _BATCH, len(X)))
        return values, raw

    def probability(self, raw: Floats) -> Floats:
        """Raw outputs as probabilities, not calibrated; shape (n,)."""
        if self.space == "probability":
            return raw
        from scipy.special import expit

        p: Floats = expit(raw)
        return p


def _check(start: int, found: Floats, expected: Floats, wrong: str) -> None:
    bad = ~(np.abs(found - expected) <= TOLERANCE * np.maximum(1.0, np.abs(expected)))  # so that NaN is bad
    if bad.any():
        row = int(np.argmax(bad))
        raise IntegrityError(
            f"the explanation of row {start + row} {wrong} {float(found[row])!r} and not {float(expected[row])!r}; "
            "nothing of it is shown: check the model with `workbench validate`, or train it anew"
        )


def _as_shap(forest: Forest) -> dict[str, Any]:
    """The forest as shap's own dictionary of trees, each with its children counted from its root."""
    leaf = forest.feature == LEAF
    starts, after = _structure(leaf)
    left = np.where(leaf, -1, np.arange(1, len(leaf) + 1))
    is_mean = forest.algorithm == "random_forest"
    value = np.where(leaf, forest.value * (1.0 / (len(starts) - 1) if is_mean else 1.0), 0.0)
    cover = _node_weights(forest, after)
    trees = []
    for start, end in pairwise(starts):
        nodes = slice(start, end)
        yes, no = (np.where(leaf[nodes], -1, child[nodes] - start) for child in (left, after))
        trees.append(
            {
                "children_left": yes,
                "children_right": no,
                "children_default": np.where(forest.missing_left[nodes] == 1, yes, no),
                "features": np.where(leaf[nodes], -2, forest.feature[nodes]),
                "thresholds": np.where(leaf[nodes], -2.0, forest.value[nodes]),
                "values": value[nodes, np.newaxis],
                "node_sample_weight": cover[nodes],
            }
        )
    # scikit-learn rounds the input of these two to float32 before it compares; shap must do the same.
    rounded = np.float64 if forest.algorithm == "hist_gradient_boosting" else np.float32
    return {"trees": trees, "base_offset": forest.base, "input_dtype": rounded, "internal_dtype": np.float64}


def _structure(leaf: npt.NDArray[np.bool_]) -> tuple[list[int], npt.NDArray[np.int64]]:
    """Where each tree starts and the last one ends, and the right child of each inner node, -1 for a leaf.

    Trees are in preorder: the left child is the next node, the right child the one after the left subtree.
    """
    starts, after, waiting = [0], np.full(len(leaf), -1), []
    for node, is_leaf in enumerate(leaf.tolist()):
        if not is_leaf:
            waiting.append(node)
        elif waiting:
            after[waiting.pop()] = node + 1
        else:
            starts.append(node + 1)
    return starts, after


def _node_weights(forest: Forest, after: npt.NDArray[np.int64]) -> Floats:
    """The training weight of every node, from that of the leaves: a parent comes before its children."""
    leaves = np.flatnonzero(forest.feature == LEAF)
    if len(forest.cover) != len(leaves):
        raise InputError("the model keeps no training weights, so its scores cannot be explained: train it anew")
    weights = np.zeros(len(forest.feature))
    weights[leaves] = forest.cover
    made: list[float] = weights.tolist()
    for node, right in reversed(list(enumerate(after.tolist()))):
        if right >= 0:
            made[node] = made[node + 1] + made[right]
    return np.array(made)
