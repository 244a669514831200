"""What all figures here have in common: what they are drawn from, and a text for who cannot see."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.pages.palette import plain

__all__ = [
    "Interval",
    "Scored",
    "Scores",
    "alt_text",
    "arrays",
    "axes_of",
    "listed",
]

Floats = npt.NDArray[np.float64]


class Interval(Protocol):
    """A number with its 95 % interval, such as a ``Metric``."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class _Table(Protocol):
    @property
    def y(self) -> npt.NDArray[np.int8]: ...


class CrossValidated(Protocol):
    """What a figure needs of a ``CrossValidation``."""

    @property
    def table(self) -> _Table: ...
    @property
    def scores(self) -> Floats: ...
    @property
    def fold(self) -> npt.NDArray[np.int64]: ...


class Scored(NamedTuple):
    """Labels ``y`` (n,) of 0 and 1, scores ``p`` (n,), and where there are folds, the fold of each row (n,)."""

    y: npt.NDArray[Any]
    p: Floats
    fold: npt.NDArray[np.int64] | None = None


Scores: TypeAlias = CrossValidated | Scored | tuple[npt.NDArray[Any], Floats]


def arrays(scores: Scores) -> Scored:
    """Labels, scores and folds of a cross-validation, or of arrays."""
    if isinstance(scores, tuple):
        return Scored(*scores)
    return Scored(scores.table.y, scores.scores, scores.fold)


def axes_of(width: float, height: float, alt: str) -> tuple[Figure, Axes]:
    """A figure of ``width`` x ``height`` inches with one plot, described by ``alt``."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(alt)
    axes = figure.subplots()
    plain(axes)
    return figure, axes


def alt_text(figure: Figure) -> str:
    """What a figure of this package shows, in words, for readers who cannot see it."""
    return str(figure.get_label())


def listed(names: Iterable[str]) -> str:
    """Names as they are said: ``a, b and c``.

    >>> listed("abc"), listed("a")
    ('a, b and c', 'a')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
