"""The scoring part: one row through the trees, one event from the state to the decision, the model's file.

The peer is scikit-learn on one thread, which is faster for one row than more are, and is what ours equals bit for bit;
before anything is timed, that equality is asserted. For a whole event the peer is what services mostly do: the same
state, a one-row DataFrame, a calibrated classifier.
"""

import pickle
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from threadpoolctl import threadpool_limits

from benchmarks.timing import Case, seconds
from workbench.events import Dataset, Population, generate
from workbench.features import Event, FeatureState, FeatureTable, build
from workbench.features.replaying import replayed
from workbench.risk.calibration import Calibrator
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.registry import Registry
from workbench.risk.scorelog import ScoreLog
from workbench.risk.scorer import Scorer
from workbench.risk.threshold import Threshold
from workbench.workspace import MARKER, Workspace

__all__ = ["cases"]

_ROWS = 2_000
_PEER_SHARE = 40  # the peer scores a fortieth of the rows, each timed alone
_EVENTS = 5_000
_USERS = 300
_DAYS = 60
_SEED = 42

Rows = npt.NDArray[np.float64]


def _timed(predict: Callable[[Any], Any], given: Iterable[Any], share: float) -> float:
    """Microseconds within which ``share`` of the calls end. A mean would tell of what else the machine does."""
    spent = []
    for one in given:
        start = time.perf_counter_ns()
        predict(one)
        spent.append(time.perf_counter_ns() - start)
    return float(np.quantile(spent, share)) / 1e3


def _ours(forest: Forest, rows: Rows) -> Callable[[], float]:
    return lambda: _timed(forest.predict_one, rows, 0.5)


def _sklearn(estimator: Any, rows: Rows) -> Callable[[], float]:
    """``predict_proba`` of one row at a time, as an array: a DataFrame would cost more."""

    def job() -> float:
        with threadpool_limits(1):
            return _timed(lambda row: estimator.predict_proba(row[None]), rows[: len(rows) // _PEER_SHARE], 0.5)

    return job


def _on_one_thread(job: Callable[[], object]) -> float:
    with threadpool_limits(1):
        return seconds(job)


def _fitted(scale: float, X: Rows, y: npt.NDArray[Any]) -> dict[str, Any]:
    trees = max(10, int(100 * scale**0.5))
    estimators = {
        f"RF{trees} depth 12": RandomForestClassifier(trees, max_depth=12, max_samples=0.5, random_state=_SEED),
        f"GB{trees}": GradientBoostingClassifier(n_estimators=trees, subsample=0.2, random_state=_SEED),
        f"HGB{trees}": HistGradientBoostingClassifier(max_iter=trees, early_stopping=False, random_state=_SEED),
    }
    for estimator in estimators.values():
        estimator.fit(X, y)
    return estimators


class _Stream:
    """A registry with the random forest, and events that follow a replayed past; each is scored once, in order."""

    def __init__(self, folder: Path, table: FeatureTable, dataset: Dataset, estimator: Any) -> None:
        X, y = table.X.to_numpy(), table.y
        forest = Forest.of(estimator)
        calibrator = Calibrator.fit(forest.predict(X), y, "isotonic")
        origin = {"dataset_sha256": table.dataset_sha256, "labels_sha256": table.labels_sha256}
        self.model = RiskModel(forest, calibrator, Threshold(0.5, "f1", {}), table.spec, origin)
        self.registry = Registry(dataset.workspace)
        self.registry.register(self.model, {})
        self.registry.promote("v1", expected_previous=None)
        self.peer = CalibratedClassifierCV(FrozenEstimator(estimator), method="isotonic").fit(X, y)
        with duckdb.connect() as connection:
            self.events = [event for event, _ in replayed(connection, dataset.sql, None)]
        self.columns = list(table.spec.columns)
        self.log = ScoreLog(folder / "scores.jsonl")

    def _started(self) -> tuple[FeatureState, list[Event]]:
        """A state that knows all but the last events, and these."""
        state = FeatureState()
        late = max(1, min(_EVENTS, len(self.events) // 4))
        for event in self.events[:-late]:
            state.update(event)
        return state, self.events[-late:]

    def ours(self, share: float, *, logged: bool = False) -> Callable[[], float]:
        """Microseconds below which ``share`` of the events are scored."""
        state, events = self._started()
        scorer = Scorer(self.registry, state=state, log=self.log if logged else None)
        return _distributed(scorer.predict, events, share)

    def theirs(self, share: float) -> Callable[[], float]:
        state, events = self._started()

        def predict(event: Event) -> bool:
            frame = pd.DataFrame([state.update(event)], columns=self.columns)
            return bool(self.peer.predict_proba(frame.to_numpy())[0, 1] >= 0.5)

        return _distributed(predict, events[: len(events) // 20], share)


def _distributed(predict: Callable[[Event], Any], events: list[Event], share: float) -> Callable[[], float]:
    """One turn scores each event; later turns let the same events come again, later."""
    shift = events[-1].t - events[0].t + 1
    turns = count()

    def once() -> float:
        later = next(turns) * shift
        return _timed(predict, [event._replace(t=event.t + later) for event in events], share)

    return once


def _files(model: RiskModel, estimator: Any, name: str) -> list[Case]:
    written, pickled = bytes(model), pickle.dumps(estimator)
    nodes = f"{name}, {len(model.forest.value):,} nodes"
    return [
        Case(
            "model: file",
            nodes,
            "kB",
            lambda: len(written) / 1e3,
            lambda: len(pickled) / 1e3,
            "pickle",
            target=2_000.0,
            rounds=1,
        ),
        Case(
            "model: check and load",
            nodes,
            "s",
            lambda: seconds(lambda: RiskModel.read(written, sha256=model.sha256)),
            lambda: seconds(lambda: pickle.loads(pickled)),
            "pickle, no checks",
        ),
    ]


def cases(folder: Path, scale: float) -> list[Case]:
    """All cases at ``scale`` (1 is full size), with what they need in ``folder``."""
    (folder / MARKER).write_text("format = 1\n")
    users = max(20, int(_USERS * scale))
    dataset, _ = generate(Workspace(folder), Population(scale=users, days=_DAYS, seed=_SEED))
    table = build(dataset)
    X, y = np.ascontiguousarray(table.X.to_numpy()), table.y
    rows = X[:: max(1, len(X) // _ROWS)][:_ROWS]
    rows = rows[: len(rows) // _PEER_SHARE * _PEER_SHARE]
    found = []
    with threadpool_limits(1):
        estimators = _fitted(scale, X, y)
        for name, estimator in estimators.items():
            forest = Forest.of(estimator)
            expected = estimator.predict_proba(X)[:, 1]
            assert np.array_equal(forest.predict(X), expected)
            assert [forest.predict_one(row) for row in rows[:100]] == estimator.predict_proba(rows[:100])[:, 1].tolist()
            found.append(
                Case(
                    "walker: one row, p50",
                    f"{name}, {len(rows):,} rows",
                    "µs",
                    _ours(forest, rows),
                    _sklearn(estimator, rows),
                    f"predict_proba, 1/{_PEER_SHARE} of the rows",
                    target=20.0,
                )
            )
            found.append(
                Case(
                    "walker: batch",
                    f"{name}, {len(X):,} rows",
                    "s",
                    lambda forest=forest: seconds(lambda: forest.predict(X)),
                    lambda estimator=estimator: _on_one_thread(lambda: estimator.predict_proba(X)),
                    "predict_proba",
                    records=len(X),
                )
            )
        name, estimator = next(iter(estimators.items()))
        stream = _Stream(folder, table, dataset, estimator)
    size = f"{name}, {len(stream.events):,} events before"
    for title, share, target, logged in (
        ("event to decision: p50", 0.5, 60.0, False),
        ("event to decision: p99", 0.99, 200.0, False),
        ("the same, logged: p50", 0.5, None, True),
    ):
        found.append(
            Case(
                title,
                size,
                "µs",
                stream.ours(share, logged=logged),
                stream.theirs(share),
                "state + DataFrame + CalibratedClassifierCV",
                target=target,
                rounds=3,
            )
        )
    return found + _files(stream.model, estimator, name)
