"""How long something takes: distributions of durations, in seconds, as data."""

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt

from workbench.simulation.values import Bound, Described, Period, Seconds

__all__ = ["DISTRIBUTIONS", "Deterministic", "Distribution", "Exponential", "LogNormal", "Pareto"]


@dataclass(frozen=True)
class Distribution(Described):
    """A distribution of durations."""

    def quantile(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The durations, in seconds, at these points of [0, 1), same shape: the inverse of the distribution."""
        raise NotImplementedError

    def draw_ns(self, generator: np.random.Generator, size: int) -> npt.NDArray[np.int64]:
        """``size`` durations in ns, shape (size,), from one uniform draw each: another distribution of the same kind
        meets the same luck."""
        return np.asarray(np.rint(np.minimum(self.quantile(generator.random(size)), 1e9) * 1e9).astype(np.int64))


@dataclass(frozen=True)
class Deterministic(Distribution):
    """Always ``value`` seconds."""

    value: Seconds

    def quantile(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.full_like(uniform, self.value)


@dataclass(frozen=True)
class Exponential(Distribution):
    """Without memory, ``mean`` seconds on average.

    >>> Exponential(2.0).quantile(np.array([0.0, 0.5])).round(3).tolist()
    [0.0, 1.386]
    """

    mean: Period

    def quantile(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(-np.log1p(-uniform) * self.mean)


@dataclass(frozen=True)
class LogNormal(Distribution):
    """``median`` seconds in the middle; ``sigma`` is the standard deviation of the natural logarithm."""

    median: Period
    sigma: Annotated[float, Bound(above=0, most=10)]

    def quantile(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        from scipy.special import ndtri

        return np.asarray(self.median * np.exp(self.sigma * ndtri(uniform)))  # ndtri(0) is minus infinity: 0 s


@dataclass(frozen=True)
class Pareto(Distribution):
    """A heavy tail: at least ``least`` seconds, and longer than x with probability ``(least / x) ** shape``.

    The mean is finite for a ``shape`` above 1 only, the variance above 2.
    """

    least: Period
    shape: Annotated[float, Bound(above=0, most=100)]

    def quantile(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(self.least * (1 - uniform) ** (-1 / self.shape))


# What YAML may call by its kind.
DISTRIBUTIONS: Final[dict[str, type[Distribution]]] = {
    kind.kind(): kind for kind in (Deterministic, Exponential, LogNormal, Pareto)
}
