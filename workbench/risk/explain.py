"""Why a model gave an event its score: SHAP values, checked, and in words.

TreeSHAP (``treeshap.py``) splits the forest's raw output among the features:

    raw = raw_base + value of feature 1 + ... + value of feature k

``raw_base`` is the output for the average training row. A random forest's raw output is a probability, that of both
gradient boostings is a log-odds. The *risk* is what the calibrator makes of it, so the values are also given as
``points`` of risk by one linear rescaling, the same factor for all features of an event:

    points = value * (risk - usual risk) / (raw - raw_base)

They add up to the difference between this event's risk and the usual one, keep their order and proportions, and can
be checked by hand. Where that factor says nothing (no difference to share out, or a share above 1, as at a step of
the calibration) there are no points, only directions.

The explanation is of the model, not of the world: it says what moved the score, not what caused the event.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.risk.model import RiskModel
from workbench.risk.treeshap import Summary, TreeShap
from workbench.risk.words import phrase

__all__ = ["Contribution", "Explainer", "Explanation", "explain_event", "explainer", "summarise"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contribution:
    """What one feature did to one event's score.

    ``raw`` is the SHAP value in the forest's output space; ``points`` the same in risk, or None where there are none.
    """

    feature: str
    value: float
    raw: float
    points: float | None

    @property
    def words(self) -> str:
        return phrase(self.feature, self.value)


@dataclass(frozen=True)
class Explanation:
    """One event's score and the features that moved it, those that moved it most first.

    ``p``: the calibrated risk; ``base``: the usual risk, that of the average training row. ``space`` is the unit of
    ``raw``, ``raw_base`` and of every contribution's ``raw``: ``probability`` or ``log-odds``. ``vector``: the
    features as the model saw them, in the order of ``features``.
    """

    event_id: str
    p: float
    base: float
    space: str
    raw: float
    raw_base: float
    contributions: tuple[Contribution, ...]
    features: tuple[str, ...]
    vector: tuple[float, ...]

    @property
    def shares_out(self) -> bool:
        """Whether the reasons have points."""
        return all(one.points is not None for one in self.contributions)

    @property
    def words(self) -> str:
        """The explanation as one sentence, its five strongest reasons named."""
        return self.sentence()

    def sentence(self, reasons: int = 5) -> str:
        """The explanation as one sentence; what is beyond the ``reasons`` strongest ones is summed up."""
        digits = 2 if max(self.p, self.base) >= 0.1 else 3  # rare violations make small risks
        start = f"risk {self.p:.{digits}f} (usual: {self.base:.{digits}f})"
        if not self.shares_out:
            return f"{start}: {self._directions(reasons)}"
        said = [one for one in self.contributions[:reasons] if abs(one.points or 0) >= 0.5 * 10**-digits]
        if not said:
            return f"{start}: nothing about this event moves the risk by as much as {10**-digits:.{digits}f}"
        told = [f"{one.words} ({_signed(one.points or 0, digits)})" for one in said]
        others = len(self.contributions) - len(said)
        if others:
            rest = sum((one.points or 0) for one in self.contributions if one not in said)
            told.append(f"{_others(others)} ({_signed(rest, digits)})")
        return f"{start}: {', '.join(told)}"

    def shares(self, reasons: int = 8) -> list[tuple[str, float]]:
        """Words and size of the ``reasons`` strongest, then of all others together; in points of risk, else raw."""

        def size(one: Contribution) -> float:
            return one.raw if one.points is None else one.points

        named = [(one.words, size(one)) for one in self.contributions[:reasons]]
        others = self.contributions[reasons:]
        if others:
            named.append((_others(len(others)), sum(map(size, others))))
        return named

    def _directions(self, reasons: int) -> str:
        strongest = [one for one in self.contributions[:reasons] if one.raw]
        sides = (
            ("raising it", [one.words for one in strongest if one.raw > 0]),
            ("lowering it", [one.words for one in strongest if one.raw < 0]),
        )
        told = [f"{side}: {', '.join(words)}" for side, words in sides if words]
        return "; ".join(told) or "nothing about this event moves the risk"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a value that is not known (NaN) is None."""
        return {
            "event_id": self.event_id,
            "risk": self.p,
            "usual_risk": self.base,
            "words": self.words,
            "space": self.space,
            "raw": self.raw,
            "raw_base": self.raw_base,
            "contributions": [
                {
                    "feature": one.feature,
                    "value": _known(one.value),
                    "words": one.words,
                    "raw": one.raw,
                    "points": one.points,
                }
                for one in self.contributions
            ],
            "vector": dict(zip(self.features, map(_known, self.vector), strict=True)),
        }


class Explainer:
    """Explains events scored by one model. Build it once a model (``explainer(model)`` keeps the last few)."""

    def __init__(self, model: RiskModel) -> None:
        self.model = model
        self.features: tuple[str, ...] = tuple(model.spec.columns)
        self.shap = TreeShap(model.forest)

    @cached_property
    def base(self) -> float:
        """The usual risk: the forest's output for the average training row, calibrated."""
        p = self.shap.probability(np.array([self.shap.base]))
        return float(self.model.calibrator.apply(p)[0])

    def explain(self, event_ids: Sequence[str], X: Floats) -> list[Explanation]:
        """An ``Explanation`` of each row of ``X``, shape (n, k). Raises as ``TreeShap.values``."""
        values, raw = self.shap.values(X)
        risks = self.model.predict(np.asarray(X, dtype=np.float64))
        return [
            self._explanation(event_id, X[row], values[row], float(raw[row]), float(risks[row]))
            for row, event_id in enumerate(event_ids)
        ]

    def _explanation(self, event_id: str, x: Floats, values: Floats, raw: float, p: float) -> Explanation:
        points = _points(values, raw - self.shap.base, p - self.base)
        contributions = tuple(
            Contribution(self.features[k], float(x[k]), float(values[k]), None if points is None else float(points[k]))
            for k in np.argsort(-np.abs(values), kind="stable")
        )
        vector = tuple(map(float, x))
        return Explanation(
            event_id, p, self.base, self.shap.space, raw, self.shap.base, contributions, self.features, vector
        )


_KEPT: Final = 4
_explainers: dict[str, Explainer] = {}
_one_at_a_time = Lock()


def explainer(model: RiskModel) -> Explainer:
    """The explainer of ``model``, kept for the four models used last."""
    with _one_at_a_time:
        found = _explainers.pop(model.sha256, None) or Explainer(model)
        _explainers[model.sha256] = found
        while len(_explainers) > _KEPT:
            del _explainers[next(iter(_explainers))]
        return found


def explain_event(model: RiskModel, event_id: str, x: Sequence[float] | Floats) -> Explanation:
    """Explain one event. ``x``: its features, shape (k,), in the order of ``model.spec.columns``; NaN allowed.

    Raises ``InputError`` if ``x`` has another length, ``IntegrityError`` if the values do not add up.
    """
    row = np.asarray(x, dtype=np.float64).reshape(1, -1)
    return explainer(model).explain([event_id], row)[0]


def summarise(
    model: RiskModel,
    X: Floats,
    *,
    rows: int = 1_000,
    seed: int = 42,
    progress: Callable[[int], None] = lambda rows: None,
) -> Summary:
    """SHAP values of at most ``rows`` rows of ``X``, shape (n, k), drawn by the seed and kept in their order."""
    X = np.asarray(X, dtype=np.float64)
    if len(X) > rows:
        X = X[np.sort(np.random.default_rng(seed).choice(len(X), rows, replace=False))]
    made = explainer(model)
    values, _ = made.shap.values(X, progress=progress)
    return Summary(made.features, X, values, made.shap.base, made.shap.space)


def _points(values: Floats, raw: float, risk: float) -> Floats | None:
    """SHAP values rescaled from the difference ``raw`` to the difference ``risk``; None where that says nothing.

    >>> _points(np.array([0.3, -0.1]), 0.2, 0.4), _points(np.array([0.3, -0.3]), 0.0, 0.0)
    (array([ 0.6, -0.2]), None)
    """
    if raw == 0 or risk == 0:
        return None
    points: Floats = values * (risk / raw)
    return points if bool((np.abs(points) <= 1).all()) else None


def _others(count: int) -> str:
    return f"{count} other{'s together' if count > 1 else ''}"


def _signed(points: float, digits: int) -> str:
    said = f"{points:+.{digits}f}"
    return said.replace("-", "+") if float(said) == 0 else said


def _known(value: float) -> float | None:
    return None if isnan(value) else value
