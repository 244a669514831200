"""From a dataset to a table of features."""

from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.events import Dataset, LabelSet
from workbench.features.batch import Engine, Rows, compute
from workbench.features.spec import FeatureSpec

__all__ = ["FeatureTable", "build", "table_of"]


@dataclass(frozen=True)
class FeatureTable:
    """Features of events, in event order (``seq``).

    ``X``: DataFrame of shape (n, k), float64, with the columns of ``spec``; never NaN. ``y``: shape (n,), int8, 1 for a
    violation, 0 for compliant, -1 where nobody said anything. ``users``: shape (n,), the user of each event, for
    grouping. ``event_id``: shape (n,). ``time``: shape (n,), effective time, µs UTC. ``known``: shape (n,), when the
    label that ``y`` holds became known, µs UTC; the largest int64 where there is none.
    """

    X: pd.DataFrame
    y: npt.NDArray[np.int8]
    users: npt.NDArray[np.object_]
    event_id: npt.NDArray[np.object_]
    time: npt.NDArray[np.int64]
    known: npt.NDArray[np.int64]
    spec: FeatureSpec
    dataset_sha256: str
    labels_sha256: str | None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def timestamp(self) -> npt.NDArray[np.datetime64]:
        """``time`` as datetime64[us], shape (n,)."""
        return self.time.view("datetime64[us]")

    @property
    def spec_sha256(self) -> str:
        return self.spec.sha256

    def take(self, rows: npt.NDArray[Any]) -> "FeatureTable":
        """The table of some rows: ``rows`` holds row numbers, or is a mask of shape (n,)."""
        return replace(
            self,
            X=self.X.iloc[rows].reset_index(drop=True),
            y=self.y[rows],
            users=self.users[rows],
            event_id=self.event_id[rows],
            time=self.time[rows],
            known=self.known[rows],
        )


def build(
    dataset: Dataset,
    labels: LabelSet | None = None,
    *,
    spec: FeatureSpec | None = None,
    labelled_only: bool = True,
    engine: Engine = "kernel",
) -> FeatureTable:
    """Compute the features of ``spec`` (all 23, unless given) for the labelled events of ``dataset``, or for all.

    Every event counts towards the past of later ones, labelled or not. Of several labels of one event the newest makes
    ``y``. ``labels`` is the dataset's only label set unless given; without ``labelled_only`` there may be none.

    Raises ``NotFoundError`` if there are no labels, ``InputError`` if there are several sets and for SQL of one's own
    that fails.

    >>> import tempfile, pathlib
    >>> from workbench.events import Population, generate
    >>> from workbench.workspace import Workspace
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made, _ = generate(Workspace(pathlib.Path(folder)), Population(scale=3, days=7, seed=1))
    ...     table = build(made, spec=FeatureSpec(names=("hour", "is_first")))
    >>> list(table.X.columns), int(table.X["is_first"].sum())
    (['hour', 'is_first'], 3)
    """
    spec = spec or FeatureSpec()
    if labels is None and (labelled_only or dataset.label_sets()):
        labels = dataset.labels()
    with duckdb.connect() as connection:
        rows = compute(
            connection,
            dataset.sql,
            labels.sql if labels else None,
            spec,
            engine=engine,
            labelled_only=labelled_only,
        )
    return table_of(rows, spec, dataset.digest, labels.digest if labels else None)


def table_of(rows: Rows, spec: FeatureSpec, dataset_sha256: str, labels_sha256: str | None) -> FeatureTable:
    """``rows`` as a table, without a copy of the features."""
    X = pd.DataFrame(rows.X, columns=list(spec.columns), copy=False)
    return FeatureTable(
        X, rows.y, rows.users, rows.event_id, rows.time, rows.known, spec, dataset_sha256, labels_sha256
    )
