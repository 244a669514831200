"""Means over seeds with their intervals."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["paired", "summarise", "t_interval"]


def t_interval(values: npt.NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float, float, int]:
    """Mean, low, high and count of the finite ``values``, shape (n,), by Student's t with n - 1 degrees of freedom.

    The interval is of the mean over all seeds, not of a single run. Without two values it has no ends (NaN).

    >>> [round(float(number), 3) for number in t_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484, 3.0]
    """
    from scipy.special import stdtrit

    found = values[np.isfinite(values)]
    count = len(found)
    if count < 2:
        return (float(found[0]) if count else np.nan), np.nan, np.nan, count
    mean = float(found.mean())
    reach = float(stdtrit(count - 1, 0.5 + confidence / 2) * found.std(ddof=1) / np.sqrt(count))
    return mean, mean - reach, mean + reach, count


def summarise(runs: "pd.DataFrame") -> "pd.DataFrame":
    """A row for each measure of ``runs`` (a row a seed): ``measure``, ``mean``, ``low``, ``high``, ``seeds``."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for name in runs.columns.drop("seed"):
        mean, low, high, seeds = t_interval(runs[name].to_numpy(dtype=np.float64))
        rows.append({"measure": name, "mean": mean, "low": low, "high": high, "seeds": seeds})
    return pd.DataFrame(rows)


def paired(runs: "pd.DataFrame", first: "pd.DataFrame") -> "pd.DataFrame":
    """``summarise(runs)`` with the differences from ``first``, seed by seed, and their intervals."""
    table = summarise(runs)
    ends = []
    for name in table["measure"]:
        if name in first:
            difference = runs[name].to_numpy(dtype=np.float64) - first[name].to_numpy(dtype=np.float64)
            ends.append(t_interval(difference)[:3])
        else:
            ends.append((np.nan, np.nan, np.nan))
    for place, column in enumerate(("difference", "difference_low", "difference_high")):
        table[column] = [end[place] for end in ends]
    return table
