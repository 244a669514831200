"""The origin of a model: from which data, until when, with what parameters. Equal trainings have equal origins."""

from datetime import timedelta
from typing import Any

import numpy as np
import sklearn

import workbench
from workbench.features import FeatureTable
from workbench.risk.forest import Algorithm
from workbench.risk.splits import Slices

__all__ = ["origin_of"]


def origin_of(
    table: FeatureTable, slices: Slices, algorithm: Algorithm, fitted: Any, seed: int, holdout_users: float
) -> dict[str, Any]:
    """What ``RiskModel.origin`` holds of a model ``fitted`` on the train slice.

    ``cutoffs``: time of the last event (microseconds) of each slice, calibration and threshold included.
    ``labels_known_until``: nothing that became known later touched the model.
    """
    parameters = {
        name: value
        for name, value in sorted(fitted.get_params().items())
        if isinstance(value, str | int | float | bool)
        and name not in ("n_jobs", "verbose", "warm_start", "random_state")
    }
    return {
        "dataset_sha256": table.dataset_sha256,
        "labels_sha256": table.labels_sha256,
        "algorithm": algorithm,
        "parameters": parameters,
        "seed": seed,
        "cutoffs": {
            "train": int(table.time[slices.train].max()),
            "calibrate": int(table.time[slices.calibrate].max()),
            "threshold": int(table.time[slices.window(table, "threshold")].max()),
            "test": int(table.time[slices.window(table, "test")].max()),
        },
        "labels_known_until": slices.cuts[2],
        "embargo_us": slices.embargo // timedelta(microseconds=1),
        "holdout_users": float(holdout_users),
        "refitted": False,
        "versions": {"workbench": workbench.__version__, "scikit-learn": sklearn.__version__, "numpy": np.__version__},
    }
