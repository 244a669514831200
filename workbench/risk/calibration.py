"""Calibration: from a model's score to a probability that means what it says, fitted on rows of its own.

Isotonic regression, if there are positives enough to bear it, else Platt's sigmoid of the log-odds (Platt 1999;
Niculescu-Mizil and Caruana 2005 found isotonic to overfit below about 1,000). What is kept is two arrays or two
numbers. No calibration turns the order of two risks around: that is the model's, and is measured on later rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, MalformedError

__all__ = ["ENOUGH_POSITIVES", "METHODS", "Calibrator", "Method"]

Method = Literal["isotonic", "sigmoid", "none"]
METHODS: Final[tuple[Method, ...]] = ("isotonic", "sigmoid", "none")
ENOUGH_POSITIVES: Final = 1_000  # for isotonic regression

_MAXIMUM_KNOTS: Final = 1_000_000
_FARTHEST: Final = 1e-6  # a probability counts as at least so far from 0 and from 1: log-odds must stay finite

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibrator:
    """What turns the probability a forest says into the share of violations seen at that probability.

    ``isotonic``: straight lines between the knots ``x`` and ``y`` (n,), level beyond them. ``sigmoid``:
    ``1 / (1 + exp(a z + b))`` with ``z`` the log-odds of the probability and ``a < 0``. ``none``: as it is.

    A sigmoid takes log-odds for random forests too, where scikit-learn's ``CalibratedClassifierCV`` takes the
    probability itself: most of theirs lie close to 0, where a sigmoid of the probability is flat. On the same input
    both give the same, to the last bit.

    >>> Calibrator("isotonic", x=[0.2, 0.6], y=[0.0, 1.0]).apply_one(0.4)
    0.5
    >>> Calibrator("none").apply_one(0.4)
    0.4
    """

    method: Method
    x: Floats = ()  # type: ignore[assignment]
    y: Floats = ()  # type: ignore[assignment]
    a: float = 0.0
    b: float = 0.0

    def __post_init__(self) -> None:
        """Raises ``MalformedError`` for a calibrator that must not be used."""
        for name in ("x", "y"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.method not in METHODS:
            raise MalformedError(f"the calibration {str(self.method)[:40]!a} is none of {', '.join(METHODS)}")
        if self.x.ndim != 1 or self.x.shape != self.y.shape or len(self.x) > _MAXIMUM_KNOTS:
            raise MalformedError(f"the knots of the calibration are not two rows of at most {_MAXIMUM_KNOTS:,} numbers")
        if (self.method == "isotonic") != (len(self.x) > 0):
            raise MalformedError("an isotonic calibration has knots, and no other has")
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise MalformedError("a knot of the calibration is not a finite number")
        if (np.diff(self.x) <= 0).any() or (np.diff(self.y) < 0).any():
            raise MalformedError("the knots of the calibration do not rise")
        if ((self.y < 0) | (self.y > 1)).any():
            raise MalformedError("a knot of the calibration is no probability")
        if self.method != "sigmoid" and (self.a, self.b) != (0.0, 0.0):
            raise MalformedError("only a sigmoid calibration has a and b")
        if not (abs(self.a) <= 1e100 and abs(self.b) <= 1e100):
            raise MalformedError("a or b of the calibration is not a number of usable size")
        if self.method == "sigmoid" and self.a >= 0:
            raise MalformedError(f"the calibration falls where it must rise: a is {self.a:g}, expected below 0")

    @classmethod
    def fit(cls, p: Floats, y: npt.NDArray[Any], method: Method | Literal["auto"] = "auto") -> Self:
        """Fit on probabilities ``p`` (n,) and outcomes ``y`` (n,) of 0 and 1, of rows the forest never saw.

        ``auto`` is isotonic for ``ENOUGH_POSITIVES`` or more, else sigmoid. Where a sigmoid fitted to few rows would
        fall, its slope stays 1 and only the level is moved, so that risks add up to the violations seen (calibration in
        the large: Steyerberg, Clinical Prediction Models, 2019, section 20.2).

        Raises ``InputError`` where one of the classes is missing, or the shapes differ.
        """
        p, y = np.asarray(p, dtype=np.float64), np.asarray(y)
        if p.ndim != 1 or p.shape != y.shape:
            raise InputError(f"calibration takes one outcome for each probability, not {y.shape} for {p.shape}")
        if method not in (*METHODS, "auto"):
            raise InputError(f"the calibration {method!r} is none of auto, {', '.join(METHODS)}")
        if method == "none":
            return cls("none")
        if set(np.unique(y).tolist()) != {0, 1}:
            raise InputError("calibration needs rows of both classes, 0 and 1, in its slice: give it more rows")
        if method == "isotonic" or (method == "auto" and int((y == 1).sum()) >= ENOUGH_POSITIVES):
            from sklearn.isotonic import IsotonicRegression

            isotonic = IsotonicRegression(out_of_bounds="clip").fit(p, y)
            return cls("isotonic", x=isotonic.X_thresholds_, y=isotonic.y_thresholds_)
        from sklearn.calibration import _SigmoidCalibration

        sigmoid = _SigmoidCalibration().fit(_log_odds(p), y)
        if sigmoid.a_ < 0:
            return cls("sigmoid", a=float(sigmoid.a_), b=float(sigmoid.b_))
        return cls("sigmoid", a=-1.0, b=_level(_log_odds(p), y))

    def apply(self, p: Floats) -> Floats:
        """The calibrated probabilities of ``p`` (n,)."""
        p = np.asarray(p, dtype=np.float64)
        if self.method == "isotonic":
            # Interpolation may round to a hair above 1.
            return np.minimum(np.interp(p, self.x, self.y), 1.0)
        if self.method == "sigmoid":
            sigmoid: Floats = self._link(-(self.a * _log_odds(p) + self.b))
            return sigmoid
        return p.copy()

    def apply_one(self, p: float) -> float:
        """As ``apply`` for one, the same to the last bit."""
        if self.method == "isotonic":
            return min(float(np.interp(p, self.x, self.y)), 1.0)
        if self.method == "sigmoid":
            return float(self._link(-(self.a * _log_odds(np.float64(p)) + self.b)))
        return p

    @cached_property
    def _link(self) -> Callable[[Any], Any]:
        from scipy.special import expit

        return cast(Callable[[Any], Any], expit)

    def as_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads back; knots as lists."""
        return {"method": self.method, "x": self.x.tolist(), "y": self.y.tolist(), "a": self.a, "b": self.b}

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """Read ``as_dict``'s form, exactly. Raises ``MalformedError`` naming what is wrong."""
        if not isinstance(content, Mapping) or set(content) != {"method", "x", "y", "a", "b"}:
            raise MalformedError("a calibration has exactly method, x, y, a and b")
        numbers = [content["a"], content["b"]]
        for name in ("x", "y"):
            if not isinstance(content[name], list):
                raise MalformedError(f"{name} of the calibration is not a list")
            numbers += content[name]
        if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            raise MalformedError("the calibration holds something that is not a number")
        return cls(content["method"], content["x"], content["y"], float(content["a"]), float(content["b"]))


def _log_odds(p: Any) -> Any:
    from scipy.special import logit

    return logit(np.clip(p, _FARTHEST, 1.0 - _FARTHEST))


def _level(log_odds: Floats, y: npt.NDArray[Any]) -> float:
    """The ``b`` with which risks of slope 1 add up to the outcomes."""
    from scipy.optimize import brentq
    from scipy.special import expit

    share = float(np.mean(y == 1))
    return float(brentq(lambda b: float(np.mean(expit(log_odds - b))) - share, -50.0, 50.0, xtol=1e-12))
