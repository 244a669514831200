"""What a model would have claimed if its evaluation leaked: every usual slip, made on purpose, measured, and caught.

In quarantine: each function here is wrong by design, and nothing else in the package may import this module (a test
holds that). All leaks start from the same table, split and model as the honest evaluation, and differ in one thing.

The checks are those that the honest features are held to elsewhere; here they run against the leaks as well, because
a check that has never been seen to fire proves little. Leaks and checks after Kaufman et al., Leakage in data mining,
ACM TKDD 2012, and Kapoor and Narayanan, Leakage and the reproducibility crisis, Patterns 2023.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from workbench.errors import InputError
from workbench.events import Dataset, LabelSet
from workbench.features import FeatureSpec, FeatureTable, build
from workbench.features.batch import Rows, compute
from workbench.risk.metrics import roc_aucs
from workbench.risk.paired import UserDraws, average_precisions, draw_users
from workbench.risk.splits import TemporalGroupSplit

__all__ = ["CHECKS", "LEAKS", "SUSPICIOUS_AUC", "Leak", "leaks"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

SUSPICIOUS_AUC: Final = 0.9
"""A single feature that ranks better than this is a leak until shown otherwise."""

CHECKS: Final = {
    "changed_by_future": "prefix invariance: features before a moment stay when all that came after it is deleted",
    "changed_by_itself": "the event itself: features stay when the outcome and label of each user's last are garbled",
    "labels_too_late": "known at the cut: no training label became known after the test began",
    "best_single_auc": f"single feature: none alone ranks with an AUC above {SUSPICIOUS_AUC}",
}
"""The columns of ``leaks`` that catch a leak, each with what it checks. Fine is 0, and at most ``SUSPICIOUS_AUC``."""


@dataclass(frozen=True)
class _History:
    """Events and labels as FROM items, so that a check can hand over others: a part of them, or garbled ones."""

    connection: duckdb.DuckDBPyConnection
    events: str
    labels: str
    spec: FeatureSpec

    def rows(self, labels: str | None = None) -> Rows:
        """All events with their features, labelled or not."""
        return compute(self.connection, self.events, labels or self.labels, self.spec)

    def column(self, sql: str) -> npt.NDArray[Any]:
        """One value of each event, in order of ``seq``."""
        found = self.connection.execute(f"SELECT {sql} AS value FROM {self.events} ORDER BY seq").fetchnumpy()
        return np.asarray(found["value"])


Features = Callable[[_History], pd.DataFrame]


@dataclass(frozen=True)
class Leak:
    """One slip. ``features``: all columns of every event, as the slip makes them. ``random_rows``: how rows are split.

    ``applies`` says why not, where the data do not let the slip happen.
    """

    name: str
    what: str
    features: Features
    random_rows: bool = False
    applies: Callable[[_History], str] = lambda history: ""


def _frame(rows: Rows, spec: FeatureSpec) -> pd.DataFrame:
    return pd.DataFrame(rows.X, columns=list(spec.columns))


def _honest(history: _History) -> pd.DataFrame:
    return _frame(history.rows(), history.spec)


def _own_label(history: _History) -> pd.DataFrame:
    """The end of the label window is ``<=`` instead of ``<``: the event's own label is counted."""
    rows = history.rows()
    X, own = _frame(rows, history.spec), rows.y == 1
    events_30d = (X["violations_30d"] + 0.5) / X["violation_rate_30d"] - 50
    X["violations_30d"] += own
    X["violation_rate_30d"] = (X["violations_30d"] + 0.5) / (events_30d.round() + 50)
    return X


def _own_outcome(history: _History) -> pd.DataFrame:
    """What the policy decided on the event is a feature, and the label follows from what it decided."""
    X = _honest(history)
    for outcome in ("denied", "failure"):
        X[f"own_{outcome}"] = history.column(f"outcome = '{outcome}'").astype(np.float64)
    return X


def _mean_of_user(history: _History, *, leave_one_out: bool) -> pd.DataFrame:
    """Target encoding over the whole table: the share of the user's labels that are violations, test and all."""
    rows = history.rows()
    said = pd.DataFrame({"user": rows.users, "y": np.where(rows.y >= 0, rows.y, np.nan)})
    by_user = said.groupby("user")["y"]
    total, count = by_user.transform("sum"), by_user.transform("count")
    if leave_one_out:
        total, count = total - said["y"].fillna(0), count - said["y"].notna()
    overall = said["y"].mean()
    X = _frame(rows, history.spec)
    X["mean_of_user"] = (total / count.where(count > 0)).fillna(overall if np.isfinite(overall) else 0.0)
    return X


def _labels_at_once(history: _History) -> pd.DataFrame:
    """Labels count from when the event happened, as in a table that was joined long after."""
    early = f"""(SELECT event_id, label, "timestamp" AS labelled_at
        FROM {history.labels} AS l JOIN (SELECT event_id, "timestamp" FROM {history.events}) AS e USING (event_id))"""
    return _frame(history.rows(early), history.spec)


def _without_outcomes(history: _History) -> str:
    told = history.column("outcome IN ('denied', 'failure')")
    return "" if told.any() else "the events tell no outcome"


def _without_delay(history: _History) -> str:
    late = history.connection.execute(
        f"""SELECT count(*) FROM {history.labels} AS l JOIN {history.events} AS e USING (event_id)
        WHERE labelled_at > "timestamp" """
    ).fetchall()[0][0]
    return "" if late else "the labels state no delay: each is known when its event happens"


LEAKS: Final = (
    Leak("none", "features from the past only, a split in time, labels once known", _honest),
    Leak("own label", "the label window includes the event itself", _own_label),
    Leak("own outcome", "the event's own outcome is a feature", _own_outcome, applies=_without_outcomes),
    Leak(
        "user mean, leave one out",
        "share of violations among the user's other labels, later ones included",
        lambda history: _mean_of_user(history, leave_one_out=True),
    ),
    Leak(
        "user mean, whole table",
        "share of violations among all of the user's labels, its own included",
        lambda history: _mean_of_user(history, leave_one_out=False),
    ),
    Leak(
        "labels at event time",
        "past violations count from when they happened, not from when they became known",
        _labels_at_once,
        applies=_without_delay,
    ),
    Leak("random rows", "rows are split at random, not in time", _honest, random_rows=True),
)
"""The honest evaluation first, then the leaks of which it is free."""


@dataclass(frozen=True)
class _Scored:
    """One evaluation: values on the test rows and in each bootstrap draw, shape (B,)."""

    auc: tuple[float, Floats]
    ap: tuple[float, Floats]
    rows: int
    violations: int


def leaks(
    dataset: Dataset,
    labels: LabelSet | None = None,
    *,
    spec: FeatureSpec | None = None,
    folds: int = 4,
    embargo: timedelta | None = None,
    known_at: bool = True,
    iterations: int = 100,
    resamples: int = 1000,
    seed: int = 42,
    progress: Callable[[str], None] = lambda name: None,
) -> pd.DataFrame:
    """Evaluate the honest model and every leak on ``dataset``; one row each, the honest one first.

    The model is a histogram gradient boosting classifier of ``iterations`` trees; the split is the last of ``folds``
    forward folds (``TemporalGroupSplit`` with ``embargo`` and ``known_at``), but for "random rows", which draws as many
    rows at random. Without ``known_at`` it is in retrospect, as if labels had been known in time, and without an
    embargo unless one is given; the check for labels that come too late then fires everywhere, and rightly. ``spec``
    must name ``violations_30d`` and ``violation_rate_30d``, which two leaks are made of.

    Columns: ``leak``, ``what``; ``roc_auc`` and ``average_precision``, each with ``_low``, ``_high`` (95 %, bootstrap
    over users); the same after ``inflation_``: by how much more was claimed than by the honest evaluation, from the
    same draws where the test rows are the same; ``rows`` and ``violations`` of the test; the columns of ``CHECKS``;
    ``caught_by``, the checks that fired; ``note``, why a leak cannot happen here (its numbers are NaN then).

    Raises ``InputError`` if there are too few labelled events for the split, ``NotFoundError`` without labels.
    """
    if not known_at and embargo is None:
        embargo = timedelta(0)
    spec = spec or FeatureSpec()
    if missing := {"violations_30d", "violation_rate_30d"} - set(spec.names):
        raise InputError(f"the leaks need the features {', '.join(sorted(missing))}, which the spec does not name")
    labels = labels or dataset.labels()
    table = build(dataset, labels, spec=spec, labelled_only=False)
    train, test = list(TemporalGroupSplit(folds, embargo=embargo, known_at=known_at).split(table))[-1]
    cut = int(table.time[test].min())
    everyone = draw_users(table.users, resamples=resamples, seed=seed)
    found: list[dict[str, Any]] = []
    honest: _Scored | None = None
    with duckdb.connect() as connection:
        history = _History(connection, dataset.sql, labels.sql, spec)
        for leak in LEAKS:
            row: dict[str, Any] = {"leak": leak.name, "what": leak.what, "note": leak.applies(history)}
            found.append(row)
            if row["note"]:
                continue
            progress(leak.name)
            X = leak.features(history)
            rows = _random_rows(table, len(train), len(test), seed) if leak.random_rows else (train, test)
            scored = _score(table, X, *rows, everyone, iterations=iterations, seed=seed)
            honest = honest or scored
            row |= _numbers(scored, honest)
            row |= _checks(leak, history, table, X, *rows, cut)
    frame = pd.DataFrame(found)
    return frame[[name for name in frame.columns if name != "note"] + ["note"]].fillna({"caught_by": ""})


def _random_rows(table: FeatureTable, train: int, test: int, seed: int) -> tuple[Ints, Ints]:
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(table.y >= 0))
    return shuffled[:train], shuffled[train : train + test]


def _score(
    table: FeatureTable, X: pd.DataFrame, train: Ints, test: Ints, everyone: UserDraws, *, iterations: int, seed: int
) -> _Scored:
    values = X.to_numpy()
    model = HistGradientBoostingClassifier(max_iter=iterations, early_stopping=False, random_state=seed)
    with threadpool_limits(limits=1, user_api="openmp"):  # threads that wait for each other cost more than they save
        model.fit(values[train], table.y[train])
        y, p = table.y[test], model.predict_proba(values[test])[:, 1]
    draws = UserDraws(everyone.code[test], everyone.weight)
    return _Scored(roc_aucs(y, p, draws), average_precisions(y, p, draws), len(test), int((y == 1).sum()))


def _numbers(scored: _Scored, honest: _Scored) -> dict[str, Any]:
    row: dict[str, Any] = {"rows": scored.rows, "violations": scored.violations}
    for name, found, base in (
        ("roc_auc", scored.auc, honest.auc),
        ("average_precision", scored.ap, honest.ap),
    ):
        for prefix, value, drawn in (
            ("", found[0], found[1]),
            ("inflation_", found[0] - base[0], found[1] - base[1]),
        ):
            low, high = np.nanquantile(drawn, [0.025, 0.975])
            row |= {f"{prefix}{name}": value, f"{prefix}{name}_low": float(low), f"{prefix}{name}_high": float(high)}
    return row


def _checks(
    leak: Leak, history: _History, table: FeatureTable, X: pd.DataFrame, train: Ints, test: Ints, cut: int
) -> dict[str, Any]:
    begins = int(table.time[test].min())
    row: dict[str, Any] = {
        "changed_by_future": _changed_by_future(leak, history, X, cut),
        "changed_by_itself": _changed_by_itself(leak, history, X),
        "labels_too_late": int((table.known[train] > begins).sum()),
        "best_single_auc": _best_single_auc(table.y[test], X.iloc[test]),
    }
    fired = [name for name in CHECKS if row[name] > (SUSPICIOUS_AUC if name == "best_single_auc" else 0)]
    return row | {"caught_by": ", ".join(CHECKS[name].split(":")[0] for name in fired)}


def _changed_by_future(leak: Leak, history: _History, X: pd.DataFrame, moment: int) -> int:
    """Events before ``moment`` (µs) whose features change when later events, and labels known later, are deleted."""
    past = _History(
        history.connection,
        f'(SELECT * FROM {history.events} WHERE epoch_us("timestamp") < {moment})',
        f"(SELECT * FROM {history.labels} WHERE epoch_us(labelled_at) < {moment})",
        history.spec,
    )
    before = leak.features(past)
    kept = history.column(f'epoch_us("timestamp") < {moment}').astype(bool)
    return int((before.to_numpy() != X.to_numpy()[kept]).any(axis=1).sum())


def _changed_by_itself(leak: Leak, history: _History, X: pd.DataFrame) -> int:
    """Events whose features change when the outcome and label of each user's last event do.

    No later event of the user sees the change, so it may show only if an event's features rest on the event itself, or
    on labels of the future.
    """
    last = f'(SELECT max(seq) FROM {history.events} GROUP BY "user")'
    theirs = f"(SELECT event_id FROM {history.events} WHERE seq IN {last})"
    garbled = _History(
        history.connection,
        f"""(SELECT * REPLACE (CASE WHEN seq NOT IN {last} THEN outcome WHEN outcome = 'denied' THEN 'success'
            ELSE 'denied' END AS outcome) FROM {history.events})""",
        f"""(SELECT * REPLACE (CASE WHEN event_id NOT IN {theirs} THEN label WHEN label = 'violation' THEN 'compliant'
            ELSE 'violation' END AS label) FROM {history.labels})""",
        history.spec,
    )
    return int((leak.features(garbled).to_numpy() != X.to_numpy()).any(axis=1).sum())


def _best_single_auc(y: npt.NDArray[np.int8], X: pd.DataFrame) -> float:
    """The largest AUC that one column reaches alone, whichever way round."""
    areas = [float(roc_auc_score(y, X[name])) for name in X]
    return max(max(area, 1 - area) for area in areas)
