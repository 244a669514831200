"""From a dataset to a table of features: one SQL query."""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InputError, nearest
from workbench.events import Dataset, LabelSet
from workbench.features.definitions import FEATURES, spec_sha256

__all__ = ["FeatureTable", "build"]


@dataclass(frozen=True)
class FeatureTable:
    """Features of labelled events, in event order.

    ``X``: DataFrame of shape (n, number of features), float64. ``y``: shape (n,), 1 for a violation. ``users``: shape
    (n,), the user of each event, for grouping. ``event_id`` and ``timestamp`` (datetime64, UTC): shape (n,).
    """

    X: pd.DataFrame
    y: npt.NDArray[np.int8]
    users: npt.NDArray[np.object_]
    event_id: npt.NDArray[np.object_]
    timestamp: npt.NDArray[np.datetime64]
    spec_sha256: str


def build(
    dataset: Dataset,
    labels: LabelSet | None = None,
    *,
    features: list[str] | None = None,
    extra: Mapping[str, str] | None = None,
) -> FeatureTable:
    """Compute ``features`` (all, unless named) for every labelled event of ``dataset``.

    ``extra`` adds features of one's own: name to SQL over the event columns, ``t`` and ``local_us`` (microseconds). A
    window in it must leave out the event itself and what comes later, as those in ``definitions`` do.

    Every event counts towards the past of later ones, labelled or not. Of several labels of one event the newest
    counts. ``labels`` is the dataset's only label set unless given.

    Raises ``InputError`` for an unknown feature, ``NotFoundError`` if there are no labels.
    """
    known = {feature.name: feature for feature in FEATURES}
    chosen = list(known) if features is None else features
    for name in chosen:
        if name not in known:
            raise InputError(f"unknown feature {name!r}{nearest(name, known)}")
    expressions = {name: known[name].sql for name in chosen} | dict(extra or {})
    labels = labels or dataset.labels()
    columns = ", ".join(f'CAST({sql} AS DOUBLE) AS "{name}"' for name, sql in expressions.items())
    query = f"""
        WITH past AS (
            SELECT *, epoch_us("timestamp") AS t, epoch_us("timestamp") + utc_offset_min::BIGINT * 60000000 AS local_us,
                   CAST(outcome = 'denied' AS TINYINT) AS denied, CAST(action = 'export' AS TINYINT) AS is_export
            FROM {dataset.sql}),
        said AS (
            SELECT DISTINCT ON (event_id) event_id, label FROM {labels.sql} ORDER BY event_id, labelled_at DESC),
        wide AS (SELECT seq, event_id, "timestamp", "user", {columns} FROM past)
        SELECT wide.*, CAST(label = 'violation' AS TINYINT) AS y
        FROM wide JOIN said USING (event_id) ORDER BY seq"""
    with duckdb.connect() as connection:
        frame = connection.execute(query).df()
    return FeatureTable(
        X=frame[list(expressions)],
        y=frame["y"].to_numpy(dtype=np.int8),
        users=frame["user"].to_numpy(dtype=object),
        event_id=frame["event_id"].to_numpy(dtype=object),
        timestamp=frame["timestamp"].to_numpy(),
        spec_sha256=spec_sha256(extra),
    )
