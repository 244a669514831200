"""Scores for policies that speak of ``risk``: of every event of a dataset, by a registered model that is handed in."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt

from workbench.events import Dataset, LabelSet
from workbench.events.formats.reading import quoted
from workbench.features import FeatureSpec
from workbench.policies.backtest import Scores, features_for

__all__ = ["ScoringModel", "scores_of"]

_VECTORS = 64  # DuckDB's vectors of 2,048 rows that are scored at once


class _Predictor(Protocol):
    """What gives the scores."""

    @property
    def origin(self) -> Mapping[str, Any]: ...

    def predict(self, rows: npt.NDArray[np.float64], /) -> npt.NDArray[np.float64]: ...


class ScoringModel(Protocol):
    """What is asked of a registered model (a version of ``workbench.risk.Registry``)."""

    @property
    def sha256(self) -> str: ...

    @property
    def spec(self) -> FeatureSpec: ...

    @property
    def model(self) -> _Predictor: ...


def scores_of(
    version: ScoringModel,
    dataset: Dataset,
    labels: LabelSet | None,
    *,
    progress: Callable[[str], None] = lambda message: None,
) -> Scores:
    """The risk of every event of ``dataset`` by ``version``, from features of the model's own spec with ``labels``;
    they are built first if they are not stored.

    Raises ``InputError`` for a spec that cannot be computed here, ``IntegrityError`` for a model that was changed.
    """
    spec, model = version.spec, version.model
    table = features_for(dataset, labels, spec, progress=progress)
    progress("scoring events")
    columns = ", ".join(quoted(name) for name in spec.columns)
    pieces = []
    with duckdb.connect() as connection:
        connection.execute(f"SELECT {columns} FROM {table.sql} ORDER BY seq")
        while len(piece := connection.fetch_df_chunk(_VECTORS)):
            pieces.append(model.predict(piece.to_numpy(dtype=np.float64)))
    return Scores(np.concatenate(pieces), version.sha256, model.origin.get("labels_known_until"))
