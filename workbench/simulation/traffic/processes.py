"""When requests come: exact samples of point processes, vectorised.

Every process is made of one stream of exponential gaps with mean 1, so that a longer run begins as a shorter one
does, and another rate stretches the same pattern. Times are float seconds here; ``arrivals`` makes nanoseconds of them.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "modulated", "poisson", "thinned"]

Floats = npt.NDArray[np.float64]

_CHUNK = 1 << 18  # gaps drawn at once: bounds the memory that thinning needs, and changes no result


def _unit_points(generator: np.random.Generator, end: float) -> Iterator[Floats]:
    """The points of a Poisson process of rate 1 in [0, end), in order, in chunks."""
    reached = 0.0
    while reached < end:
        size = min(_CHUNK, int((end - reached) * 1.05 + 5 * np.sqrt(end - reached)) + 16)
        gaps = generator.standard_exponential(size)
        gaps[0] += reached  # the running sum goes on, so that it does not hang on where a chunk ends
        points = np.cumsum(gaps)
        reached = float(points[-1])
        yield points[: int(np.searchsorted(points, end))]


def poisson(generator: np.random.Generator, rate: float, duration: float) -> Floats:
    """A Poisson process of ``rate`` per second over [0, duration): gaps are independent and exponential.

    >>> poisson(np.random.default_rng(1), rate=2.0, duration=1.0).round(3).tolist()
    [0.537, 0.691]
    """
    return np.concatenate([np.empty(0), *_unit_points(generator, rate * duration)]) / rate


def thinned(
    generator: np.random.Generator,
    coins: np.random.Generator,
    rate_at: Callable[[Floats], Floats],
    peak: float,
    duration: float,
) -> Floats:
    """A Poisson process whose rate is ``rate_at(t)`` per second, nowhere above ``peak``, over [0, duration).

    Exact, by thinning: points of a process of rate ``peak`` are kept with probability ``rate_at(t) / peak`` (Lewis and
    Shedler, "Simulation of nonhomogeneous Poisson processes by thinning", Naval Research Logistics 26, 1979).
    ``coins`` gives one uniform draw for each point.
    """
    kept = [np.empty(0)]
    for points in _unit_points(generator, peak * duration):
        times = points / peak
        kept.append(times[coins.random(len(times)) * peak < rate_at(times)])
    return np.concatenate(kept)


def modulated(
    generator: np.random.Generator,
    phases: np.random.Generator,
    rates: tuple[float, float],
    means: tuple[float, float],
    duration: float,
) -> Floats:
    """A Markov-modulated Poisson process of two phases over [0, duration).

    Phase i lasts an exponential time of mean ``means[i]`` seconds and has the rate ``rates[i]``; phases alternate, and
    the first is drawn with the phases' long-run shares, so that the process is stationary (Fischer and
    Meier-Hellstern, "The Markov-modulated Poisson process (MMPP) cookbook", Performance Evaluation 18, 1993). Exact:
    a process of rate 1 is mapped through the inverse of the accumulated rate.
    """
    first = int(phases.random() >= means[0] / (means[0] + means[1]))
    lengths, reached = [np.empty(0)], 0.0
    while reached < duration:
        drawn = phases.standard_exponential(64) * np.tile((means[first], means[1 - first]), 32)
        lengths.append(drawn)
        reached += float(drawn.sum())
    length = np.concatenate(lengths)
    rate = np.tile((rates[first], rates[1 - first]), len(length) // 2)
    edges = np.concatenate([[0.0], np.cumsum(length)])
    accumulated = np.concatenate([[0.0], np.cumsum(length * rate)])
    total = float(np.interp(duration, edges, accumulated))
    points = np.concatenate([np.empty(0), *_unit_points(generator, total)])
    at = np.searchsorted(accumulated, points, side="right") - 1  # after any phase of rate 0, which holds no point
    return np.asarray(edges[at] + (points - accumulated[at]) / rate[at])
