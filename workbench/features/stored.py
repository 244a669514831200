"""Feature tables of a workspace: immutable folders named by their digest, as datasets are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from workbench import __version__
from workbench.errors import InputError, NotFoundError
from workbench.events import Dataset, LabelSet
from workbench.events.dataset import FORMAT_VERSION, _Snapshot, _snapshots
from workbench.events.formats.reading import path_text
from workbench.events.snapshot import connect, content_sha256
from workbench.features.definitions import SPEC_VERSION
from workbench.features.spec import FeatureSpec
from workbench.features.table import FeatureTable
from workbench.features.writing import write_features
from workbench.files import canonical_json, sha256_bytes, sha256_file, staging, storage_errors, write_atomic
from workbench.workspace import Workspace

__all__ = ["StoredFeatures", "list_features", "only_features", "store_features"]


@dataclass(frozen=True, repr=False)
class StoredFeatures(_Snapshot):
    """Features of every event of a dataset. Columns: ``event_id``, ``user``, ``t``, ``y``, ``known``, and the spec's.

    The digest covers the dataset's and the label set's digests, the spec, and the values.
    """

    KIND = "feature table"
    TABLE = "features"

    @property
    def spec(self) -> FeatureSpec:
        """Raises ``InputError`` if it was built with other definitions than this workbench has."""
        return FeatureSpec.from_dict(self.identity["spec"])

    def table(self, *, labelled_only: bool = True) -> FeatureTable:
        """The table that ``build`` gives. Raises ``InputError`` as ``spec`` does."""
        spec = self.spec
        where = "WHERE y >= 0" if labelled_only else ""
        with duckdb.connect() as connection:
            frame = connection.execute(f"SELECT * FROM {self.sql} {where} ORDER BY seq").df()
        return FeatureTable(
            X=frame[list(spec.columns)],
            y=frame["y"].to_numpy(dtype=np.int8),
            users=frame["user"].to_numpy(dtype=object),
            event_id=frame["event_id"].to_numpy(dtype=object),
            time=frame["t"].to_numpy(dtype=np.int64),
            known=frame["known"].to_numpy(dtype=np.int64),
            spec=spec,
            dataset_sha256=self.identity["dataset"],
            labels_sha256=self.identity["labels"],
        )

    def summary(self) -> pd.DataFrame:
        """One row a column: ``feature``, ``min``, ``median``, ``mean``, ``p99``, ``max``; ``zero``: the share of 0."""
        figures = """min(x) AS min, median(x) AS median, fsum(x) / count(*) AS mean, quantile_cont(x, 0.99) AS p99,
            max(x) AS max, count(*) FILTER (x = 0) / count(*) AS zero"""
        rows = " UNION ALL ".join(
            f"SELECT {place} AS place, '{name}' AS feature, {figures} FROM (SELECT \"{name}\" AS x FROM {self.sql})"
            for place, name in enumerate(self.identity["columns"])
        )
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT * EXCLUDE (place) FROM ({rows}) ORDER BY place").df()


def store_features(
    workspace: Workspace,
    dataset: Dataset,
    labels: LabelSet | None,
    *,
    spec: FeatureSpec | None = None,
    buckets: int | None = None,
    memory_limit: str | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> tuple[StoredFeatures, bool]:
    """Compute the features of all events and move them into place; returns them and whether they were there already.

    Done again, the same dataset, labels and spec give the same digest, whatever ``buckets`` and ``memory_limit`` are.
    Raises as ``write_features`` does.
    """
    spec = spec or FeatureSpec()
    with staging(workspace.features) as folder:
        built = folder / "features"
        with storage_errors(workspace.features):
            built.mkdir()
        path = built / "features.parquet"
        rows = write_features(
            dataset, labels, path, spec=spec, buckets=buckets, memory_limit=memory_limit, progress=progress
        )
        progress("taking the digest")
        with connect(folder, memory_limit=memory_limit) as connection:
            values = content_sha256(connection, f"SELECT * FROM read_parquet({path_text(path)})", folder)
        identity = {
            "dataset": dataset.digest,
            "labels": labels.digest if labels else None,
            "spec_version": SPEC_VERSION,
            "spec": spec.as_dict(),
            "rows": rows,
            "columns": list(spec.columns),
            "features_sha256": values,
        }
        digest = sha256_bytes(canonical_json(identity))
        manifest: dict[str, Any] = {
            "kind": StoredFeatures.KIND,
            "format_version": FORMAT_VERSION,
            "digest": digest,
            "identity": identity,
            "files": [{"path": path.name, "rows": rows, "size": path.stat().st_size, "sha256": sha256_file(path)}],
            "written_by": {"workbench": __version__, "duckdb": duckdb.__version__},
        }
        write_atomic(built / "manifest.json", canonical_json(manifest) + b"\n")
        return _move(built, workspace.features / digest)


def _move(built: Path, final: Path) -> tuple[StoredFeatures, bool]:
    with storage_errors(final):
        try:
            built.rename(final)
        except OSError:
            if not (final / "manifest.json").is_file():
                raise
            return StoredFeatures.open(final), True
    return StoredFeatures.open(final), False


def list_features(workspace: Workspace, dataset: Dataset | None = None) -> list[StoredFeatures]:
    """The feature tables of a workspace, or of one dataset, by digest."""
    found = [StoredFeatures.open(path) for path in _snapshots(workspace.features)]
    return [one for one in found if dataset is None or one.identity["dataset"] == dataset.digest]


def only_features(workspace: Workspace, dataset: Dataset) -> StoredFeatures:
    """The one feature table of ``dataset``.

    Raises ``NotFoundError`` if there is none, ``InputError`` if there are several.
    """
    found = list_features(workspace, dataset)
    if not found:
        raise NotFoundError(f"dataset {dataset.digest[:12]} has no features yet: `workbench features build` makes them")
    if len(found) > 1:
        listed = ", ".join(one.digest[:12] for one in found)
        raise InputError(f"dataset {dataset.digest[:12]} has several feature tables ({listed}): name one with --table")
    return found[0]
