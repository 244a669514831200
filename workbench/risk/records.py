"""What training leaves beside the model: its metrics, the reference that drift is held against, and parity vectors.

Formats are those of ``metrics.json``, ``reference.json`` and ``parity.json``; each carries its version.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from workbench.features import FeatureTable
from workbench.features.definitions import DAY_US
from workbench.risk.crossval import CrossValidation, permuted, ranked
from workbench.risk.metrics import PRIMARY, Evaluation, calibration_bins, evaluate
from workbench.risk.model import RiskModel
from workbench.risk.psi import bin_counts
from workbench.risk.splits import Slices, label_delay

__all__ = [
    "FORMAT",
    "SHARES_LEARNT",
    "alerts_of",
    "importance",
    "labels_of",
    "learning_curve",
    "matrix",
    "metrics_of",
    "parity",
    "reference",
    "slices_of",
    "stamp",
    "windows_of",
]

FORMAT: Final = 1
SHARES_LEARNT: Final = (0.1, 0.25, 0.5)

_PARITY_ROWS: Final = 100
_IMPORTANCE_ROWS: Final = 5_000

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


def matrix(table: FeatureTable, rows: Rows | None = None) -> Floats:
    """The features as the trees take them: float64, shape (n, k), of all rows or of some."""
    X = table.X.to_numpy(dtype=np.float64)
    return X if rows is None else X[rows]


def stamp(microseconds: int) -> str:
    """A moment as it is written down: ISO 8601, UTC.

    >>> stamp(1_736_121_600_000_000)
    '2025-01-06T00:00:00.000000Z'
    """
    return f"{np.datetime_as_string(np.datetime64(microseconds, 'us'))}Z"


def alerts_of(time: npt.NDArray[np.int64], budget: float) -> int:
    """How many alerts ``budget`` a day allows over the span of ``time`` (microseconds, shape (n,))."""
    return int(budget * float(time.max() - time.min()) / DAY_US) if len(time) else 0


def slices_of(
    model: RiskModel, table: FeatureTable, slices: Slices, *, budget: float, resamples: int, seed: int
) -> dict[str, Evaluation]:
    """``model`` on the test slice and its two parts. The budget belongs to all users' events, so only ``test`` has it;
    there, events without a label use it too."""
    every = slices.window(table, "test")
    p = np.full(len(table), np.nan)
    p[every] = model.predict(matrix(table, every))
    found = {}
    for name, rows in (("test", every), ("new_users", slices.new_users), ("unseen_users", slices.unseen_users)):
        alerts = alerts_of(table.time[rows], budget) if name == "test" else None
        threshold = model.threshold.value
        found[name] = evaluate(
            table.y[rows],
            p[rows],
            table.users[rows],
            threshold=threshold,
            alerts=alerts,
            resamples=resamples,
            seed=seed,
        )
    return found


def learning_curve(
    table: FeatureTable, slices: Slices, fit: Callable[[Rows], Any], fitted: Any, *, told: Callable[[str], None]
) -> list[dict[str, Any]]:
    """What less history would have given: ``fit`` on the newest 10, 25 and 50 % of the train slice, and ``fitted`` on
    all of it, each on the test slice. ``told`` hears of each share."""
    X, y = matrix(table, slices.test), table.y[slices.test]
    newest = slices.train[np.argsort(-table.time[slices.train], kind="stable")]
    points = []
    for share in (*SHARES_LEARNT, 1.0):
        rows = np.sort(newest[: max(1, int(share * len(newest)))])
        if len(np.unique(table.y[rows])) == 2:
            p = (fitted if share == 1.0 else fit(rows)).predict_proba(X)[:, 1]
            points.append(
                {
                    "rows": len(rows),
                    "positives": int((table.y[rows] == 1).sum()),
                    "from": stamp(int(table.time[rows].min())),
                    "average_precision": float(average_precision_score(y, p)),
                    "roc_auc": float(roc_auc_score(y, p)),
                }
            )
        if share < 1:
            told(f"learning curve, {share:.0%} of the rows")
    return points


def windows_of(table: FeatureTable, slices: Slices) -> dict[str, dict[str, Any]]:
    """From when to when each slice reaches, what it holds, and how many labelled events of its window it left out."""
    rows = {
        "train": slices.train,
        "calibrate": slices.calibrate,
        "threshold": slices.threshold,
        "test": slices.test,
    }
    return {
        name: {
            "from": stamp(slices.windows[name][0]),
            "to": stamp(slices.windows[name][1]),
            "rows": len(rows[name]),
            "positives": int((table.y[rows[name]] == 1).sum()),
            "left_out": slices.left_out[name],
        }
        for name in rows
    }


def labels_of(table: FeatureTable, slices: Slices, *, known_at: bool) -> dict[str, Any]:
    """How many events have a label, how long labels took, and what that made training leave out."""
    said = table.y >= 0
    delays = (table.known[said] - table.time[said]) / DAY_US
    return {
        "share_labelled": float(said.mean()),
        "delay_days_median": float(np.median(delays)),
        "delay_days_p95": float(np.quantile(delays, 0.95)),
        "delay_days_slower_class_p95": label_delay(table).total_seconds() / 86_400,
        "embargo_days": slices.embargo.total_seconds() / 86_400,
        "left_out_by_embargo": slices.left_out["embargo"],
        "known_at": known_at,
        "new_days": slices.new_days,
    }


def importance(model: Any, table: FeatureTable, rows: Rows, *, repeats: int, seed: int) -> list[dict[str, Any]]:
    """Both importances of the fitted classifier ``model``, each with its rank, by permutation on at most 5,000 of
    ``rows``; impurity is None where the algorithm has none."""
    if len(rows) > _IMPORTANCE_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _IMPORTANCE_ROWS, replace=False))
    names = list(table.X.columns)
    frame = ranked(names, permuted(model, matrix(table, rows), table.y[rows], repeats=repeats, seed=seed))
    impurity = getattr(model, "feature_importances_", None)
    order = [] if impurity is None else [names[k] for k in np.argsort(-impurity, kind="stable")]
    return [
        {
            "feature": row["feature"],
            "permutation": float(row["mean"]),
            "permutation_sd": float(row["sd"]),
            "permutation_rank": int(row["rank"]),
            "impurity": None if impurity is None else float(impurity[names.index(row["feature"])]),
            "impurity_rank": None if impurity is None else order.index(row["feature"]) + 1,
        }
        for row in frame.to_dict("records")
    ]


def reference(model: RiskModel, table: FeatureTable, slices: Slices, test: Evaluation) -> dict[str, Any]:
    """What later windows are compared with: the test slice's F1, and histograms over all events of its window."""
    X = matrix(table, slices.window(table, "test"))
    return {
        "format": FORMAT,
        "rows": test.rows,
        "positives": test.positives,
        **{name: test.metrics[name].value for name in ("f1", "precision", "recall")},
        "features": {name: _histogram(X[:, k]) for k, name in enumerate(table.X.columns)},
        "scores": _histogram(model.predict(X)),
    }


def _histogram(values: Floats) -> dict[str, list[Any]]:
    """Inner edges and counts, about ten equally filled bins; a value that many rows share gets a bin of its own."""
    distinct = np.unique(values)
    if len(distinct) <= 10:
        edges = distinct[1:]
    else:
        edges = np.unique(np.quantile(values, np.arange(1, 10) / 10, method="lower"))
        heavy = edges[np.searchsorted(distinct, edges) < len(distinct) - 1]
        shared = heavy[[np.count_nonzero(values == edge) >= len(values) / 10 for edge in heavy]]
        after = distinct[np.searchsorted(distinct, shared, side="right")]
        edges = np.unique(np.r_[edges, after])
        edges = edges[edges > distinct[0]]
    return {"edges": edges.tolist(), "counts": bin_counts(values, edges).tolist()}


def parity(model: RiskModel, table: FeatureTable) -> dict[str, Any]:
    """100 rows of features, evenly over the table, and the probabilities that must come out of them bit for bit."""
    X = matrix(table, np.linspace(0, len(table) - 1, _PARITY_ROWS).astype(np.intp))
    return {"format": FORMAT, "columns": list(table.X.columns), "X": X.tolist(), "p": model.predict(X).tolist()}


def metrics_of(
    model: RiskModel,
    table: FeatureTable,
    slices: Slices,
    evaluations: dict[str, Evaluation],
    *,
    folds: dict[str, CrossValidation],
    curves: Callable[[npt.NDArray[np.int8], Floats], dict[str, Any]],
    learning: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The parts of ``metrics.json`` that follow from the evaluated ``model`` alone."""
    y, p = table.y[slices.test], model.predict(matrix(table, slices.test))
    return {
        "format": FORMAT,
        "primary": PRIMARY,
        "slices": {name: found.as_dict() for name, found in evaluations.items() if found.rows},
        "folds": {name: found.as_dicts() for name, found in folds.items()},
        "calibration": {
            "method": model.calibrator.method,
            "bins": [bin._asdict() for bin in calibration_bins(y, p)],
        },
        "curves": curves(y, p),
        "learning_curve": list(learning),
        "windows": windows_of(table, slices),
    }
