"""From a fitted scikit-learn classifier to flat arrays. Only this module knows what scikit-learn keeps where."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.utils.validation import check_is_fitted

from workbench.errors import InputError
from workbench.risk.forest import MAXIMUM_FEATURES, Algorithm
from workbench.risk.walker import LEAF

__all__ = ["flatten"]

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Tree:
    """One tree as scikit-learn numbers it; arrays (n,). A leaf has no ``left``: -1."""

    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: Floats
    leaf: Floats
    cover: Floats
    missing_left: npt.NDArray[np.bool_]

    def preorder(self) -> npt.NDArray[np.int64]:
        """The nodes in preorder: scikit-learn grows most trees so, but not those with ``max_leaf_nodes``."""
        order, waiting = [], [0]
        while waiting:
            node = waiting.pop()
            order.append(node)
            if self.left[node] >= 0:
                waiting += [int(self.right[node]), int(self.left[node])]
        return np.array(order)


def flatten(estimator: Any) -> tuple[Algorithm, int, float, Floats, Bytes, Bytes, Floats]:
    """What a ``Forest`` is made of, in its order: algorithm, number of features, base, and the four arrays.

    Raises ``InputError``.
    """
    kinds: dict[type, Algorithm] = {
        RandomForestClassifier: "random_forest",
        GradientBoostingClassifier: "gradient_boosting",
        HistGradientBoostingClassifier: "hist_gradient_boosting",
    }
    name = type(estimator).__name__
    algorithm = kinds.get(type(estimator))  # not a subclass: it may predict otherwise
    if algorithm is None:
        raise InputError(f"a {name} cannot be kept as a model: use one of {', '.join(kind.__name__ for kind in kinds)}")
    check_is_fitted(estimator)
    if len(estimator.classes_) != 2 or np.ndim(estimator.classes_[0]) != 0:
        raise InputError(f"the {name} was trained with other than two classes: label events 0 and 1, some of each")
    if estimator.n_features_in_ > MAXIMUM_FEATURES:
        raise InputError(f"the {name} has {estimator.n_features_in_} features: a model takes {MAXIMUM_FEATURES}")
    base, trees = _READERS[algorithm](estimator)
    parts = [_arranged(tree) for tree in trees]
    value, feature, missing_left, cover = (np.concatenate(part) for part in zip(*parts, strict=True))
    return algorithm, int(estimator.n_features_in_), base, value, feature, missing_left, cover


def _arranged(tree: _Tree) -> tuple[Floats, Bytes, Bytes, Floats]:
    order = tree.preorder()
    leaf = tree.left[order] < 0
    # An infinite threshold separates the missing from the rest; the largest number does so for all finite ones.
    threshold = np.minimum(tree.threshold[order], np.finfo(np.float64).max)
    return (
        np.where(leaf, tree.leaf[order], threshold),
        np.where(leaf, LEAF, tree.feature[order]).astype(np.uint8),
        np.where(leaf, False, tree.missing_left[order]).astype(np.uint8),
        tree.cover[order][leaf].astype(np.float64),
    )


def _of_tree(tree: Any, leaf: Floats) -> _Tree:
    nodes = tree.__getstate__()["nodes"]
    missing = nodes["missing_go_to_left"] != 0
    threshold, cover = tree.threshold.astype(np.float64), tree.weighted_n_node_samples
    return _Tree(tree.children_left, tree.children_right, tree.feature, threshold, leaf, cover, missing)


def _random_forest(estimator: Any) -> tuple[float, Iterator[_Tree]]:
    if estimator.n_outputs_ != 1:
        raise InputError("the random forest predicts several things at once: train it on one label")
    trees = (one.tree_ for one in estimator.estimators_)
    return 0.0, (_of_tree(tree, tree.value[:, 0, 1]) for tree in trees)


def _gradient_boosting(estimator: Any) -> tuple[float, Iterator[_Tree]]:
    from scipy.special import logit

    if estimator.loss != "log_loss":
        raise InputError(f"gradient boosting with the loss {estimator.loss!r} cannot be kept: use 'log_loss'")
    if estimator.init is None:
        prior = float(estimator.init_.class_prior_[1])
        eps = float(np.finfo(np.float64).eps)
        base = float(logit(np.clip(prior, eps, 1 - eps)))
    elif estimator.init == "zero":
        base = 0.0
    else:
        raise InputError("gradient boosting that starts from another estimator cannot be kept: leave `init` alone")
    trees = (one.tree_ for one in estimator.estimators_[:, 0])
    return base, (_of_tree(tree, estimator.learning_rate * tree.value[:, 0, 0]) for tree in trees)


def _hist_gradient_boosting(estimator: Any) -> tuple[float, Iterator[_Tree]]:
    if np.any(estimator.is_categorical_ if estimator.is_categorical_ is not None else False):
        raise InputError("categorical splits cannot be kept (nor be explained exactly): give the features as numbers")
    return float(estimator._baseline_prediction.ravel()[0]), map(_of_predictor, estimator._predictors)


def _of_predictor(predictors: Any) -> _Tree:
    (predictor,) = predictors
    nodes = predictor.nodes
    leaf = nodes["is_leaf"] != 0
    return _Tree(
        np.where(leaf, -1, nodes["left"].astype(np.int64)),
        np.where(leaf, -1, nodes["right"].astype(np.int64)),
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"],
        nodes["value"],
        nodes["count"],
        nodes["missing_go_to_left"] != 0,
    )


_READERS = {
    "random_forest": _random_forest,
    "gradient_boosting": _gradient_boosting,
    "hist_gradient_boosting": _hist_gradient_boosting,
}
