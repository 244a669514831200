"""Datasets and label sets: immutable, named by their digest, checked when opened.

A name such as ``demo`` is a pointer that moves; a digest never does. Wherever a dataset is asked for, its name, its
digest, or the first 6 or more digits of the digest will do. Where it has several label sets, ``demo@1a2b3c`` is the
dataset with the label set of that digest.
"""

import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import duckdb
import pandas as pd

from workbench.errors import InputError, IntegrityError, NotFoundError, nearest
from workbench.events.formats.reading import path_text
from workbench.files import canonical_json, sha256_bytes, sha256_file, storage_errors, write_atomic
from workbench.workspace import Workspace, find_workspace

__all__ = [
    "FORMAT_VERSION",
    "Dataset",
    "LabelSet",
    "dataset",
    "list_datasets",
    "name_dataset",
    "open_dataset",
    "pointed_to",
]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class _Snapshot:
    """A folder with Parquet files and a manifest, named by the digest of the manifest's ``identity``."""

    KIND: ClassVar[str]
    TABLE: ClassVar[str]

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the manifest and check it against the folder's name and the files' sizes.

        Raises ``IntegrityError`` if they disagree, ``NotFoundError`` if there is no manifest.
        """
        try:
            manifest = json.loads((path / "manifest.json").read_bytes())
        except FileNotFoundError:
            raise NotFoundError(f"{cls.KIND} {path.name[:12]} has no manifest") from None
        except ValueError as error:
            raise IntegrityError(f"the manifest of {cls.KIND} {path.name[:12]} is not valid JSON") from error
        if not isinstance(manifest, dict) or (manifest.get("format_version"), manifest.get("kind")) != (
            FORMAT_VERSION,
            cls.KIND,
        ):
            raise IntegrityError(f"{path.name[:12]} is not a {cls.KIND} of a format this version reads")
        if missing := {"identity", "digest", "files"} - manifest.keys():
            raise IntegrityError(
                f"the manifest of {cls.KIND} {path.name[:12]} lacks {', '.join(sorted(missing))}: it was changed"
            )
        if not sha256_bytes(canonical_json(manifest["identity"])) == manifest["digest"] == path.name:
            raise IntegrityError(
                f"the manifest of {cls.KIND} {path.name[:12]} does not match its digest: it was changed"
            )
        snapshot = cls(path, manifest)
        for file in manifest["files"]:
            stored = path / file["path"]
            if not stored.is_file() or stored.stat().st_size != file["size"]:
                raise IntegrityError(f"{file['path']} of {cls.KIND} {snapshot.digest[:12]} is missing or cut short")
        return snapshot

    @property
    def digest(self) -> str:
        """SHA-256, 64 hex digits."""
        return str(self.manifest["digest"])

    @property
    def identity(self) -> dict[str, Any]:
        """What the digest covers."""
        identity: dict[str, Any] = self.manifest["identity"]
        return identity

    @property
    def rows(self) -> int:
        return int(self.identity["rows"])

    @property
    def sql(self) -> str:
        """The relation, for use in a FROM clause; ``seq`` is the row's place, from 0."""
        parquet = path_text(self.path / f"{self.TABLE}.parquet")
        return f"(SELECT * RENAME (file_row_number AS seq) FROM read_parquet({parquet}, file_row_number=true))"

    def verify(self) -> None:
        """Recompute every digest from the stored bytes. Raises ``IntegrityError`` naming what changed."""
        from workbench.events.snapshot import connect, content_sha256

        for file in self.manifest["files"]:
            if sha256_file(self.path / file["path"]) != file["sha256"]:
                raise IntegrityError(
                    f"{file['path']} of {self.KIND} {self.digest[:12]} was changed after it was written"
                )
        with tempfile.TemporaryDirectory(prefix="workbench-") as scratch:
            parquet = f"SELECT * FROM read_parquet({path_text(self.path / f'{self.TABLE}.parquet')})"
            try:
                with connect(Path(scratch)) as connection:
                    found = content_sha256(connection, parquet, Path(scratch))
            except duckdb.Error as error:
                raise IntegrityError(f"the rows of {self.KIND} {self.digest[:12]} cannot be read") from error
        if found != self.identity[f"{self.TABLE}_sha256"]:
            raise IntegrityError(f"the rows of {self.KIND} {self.digest[:12]} do not match its digest")

    def frame(self) -> pd.DataFrame:
        """All rows as a DataFrame, in order."""
        with duckdb.connect() as connection:
            return connection.execute(f"SELECT * EXCLUDE (seq) FROM {self.sql} ORDER BY seq").df()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.digest[:12]}, {self.rows:,} rows)"


@dataclass(frozen=True, repr=False)
class LabelSet(_Snapshot):
    """What people said of a dataset's events. Columns: ``schema.LABEL_COLUMNS``."""

    KIND = "label set"
    TABLE = "labels"


@dataclass(frozen=True, repr=False)
class Dataset(_Snapshot):
    """Events. Columns: ``schema.EVENT_COLUMNS``; rows in time order."""

    KIND = "dataset"
    TABLE = "events"

    chosen: str | None = None  # digest of the label set that stands for this dataset's, where there are several

    @property
    def reference(self) -> str:
        """What opens exactly this again: the digest, and that of the chosen label set after an ``@``."""
        return self.digest if self.chosen is None else f"{self.digest}@{self.chosen}"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.path.parents[2])

    def labels(self, digest: str | None = None) -> LabelSet:
        """The label set with this digest (or its first 6 or more digits), the chosen one, or the only one there is.

        Raises ``NotFoundError`` if there is none, ``InputError`` if there are several and none was named.
        """
        wanted = self.chosen if digest is None else digest.removeprefix("sha256:")
        if wanted is not None and re.fullmatch("[0-9a-f]{64}", wanted) and (self.workspace.labels / wanted).is_dir():
            found = [LabelSet.open(self.workspace.labels / wanted)]  # alone: another set that is broken must not matter
            found = [labels for labels in found if labels.identity["dataset"] == self.digest]
        else:
            found = self.label_sets()
        there = ", ".join(labels.digest[:12] for labels in found)
        if wanted is not None:
            fits = re.fullmatch("[0-9a-f]{6,64}", wanted) is not None
            found = [labels for labels in found if fits and labels.digest.startswith(wanted)]
            if not found:
                raise NotFoundError(
                    f"dataset {self.digest[:12]} has no label set {wanted[:12]!r}"
                    + (f"; there is {there}" if there else "")
                )
        if not found:
            raise NotFoundError(
                f"dataset {self.digest[:12]} has no labels: attach some with `workbench events label "
                f"{self.digest[:12]} FILE`"
            )
        if len(found) > 1:
            raise InputError(
                f"dataset {self.digest[:12]} has several label sets ({there}): name one with --labels, or as "
                f"{self.digest[:12]}@{found[0].digest[:12]}"
            )
        return found[0]

    def with_labels(self, digest: str) -> "Dataset":
        """This dataset with the label set of that digest (or its first digits) as its own. Raises as ``labels``."""
        return replace(self, chosen=self.labels(digest).digest)

    def label_sets(self) -> list[LabelSet]:
        """All label sets of this dataset, by digest."""
        sets = [LabelSet.open(path) for path in _snapshots(self.workspace.labels)]
        return [labels for labels in sets if labels.identity["dataset"] == self.digest]


def _snapshots(home: Path) -> list[Path]:
    if not home.is_dir():
        return []
    return sorted(path for path in home.iterdir() if re.fullmatch("[0-9a-f]{64}", path.name))


def name_dataset(workspace: Workspace, name: str, dataset: Dataset) -> None:
    """Let ``name`` point to ``dataset`` from now on."""
    check_name(name)
    with storage_errors(workspace.names):
        workspace.names.mkdir(parents=True, exist_ok=True)
    write_atomic(workspace.names / name, f"{dataset.digest}\n".encode())


def pointed_to(workspace: Workspace, name: str) -> str | None:
    """The digest that ``name`` points to now, if any."""
    path = workspace.names / name
    return path.read_text().strip() if path.is_file() else None


def check_name(name: str) -> None:
    """Raise ``InputError`` unless ``name`` can be told from a digest and is safe as a file name."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name) or re.fullmatch("[0-9a-f]{6,}", name):
        raise InputError(
            f"{name!r} cannot name a dataset: use a letter and then letters, digits, '-' or '_', at most 64, "
            "and not only hexadecimal digits"
        )


def list_datasets(workspace: Workspace) -> dict[str, list[str]]:
    """Digests of all datasets, each with the names that point to it."""
    digests: dict[str, list[str]] = {path.name: [] for path in _snapshots(workspace.datasets)}
    for name in sorted(workspace.names.iterdir()) if workspace.names.is_dir() else []:
        digests.setdefault(name.read_text().strip(), []).append(name.name)
    return digests


def open_dataset(workspace: Workspace, reference: str) -> Dataset:
    """The dataset with this name, digest, or first digits of a digest (6 or more); after an ``@``, its label set's.

    Raises ``NotFoundError``, ``InputError`` if the digits fit several, ``IntegrityError`` if it was changed.
    """
    reference, at, labels = reference.removeprefix("sha256:").partition("@")
    known = list_datasets(workspace)
    matches = [digest for digest, names in known.items() if reference in names]
    if not matches and re.fullmatch("[0-9a-f]{6,64}", reference):
        matches = [digest for digest in known if digest.startswith(reference)]
    if not matches:
        names = [name for names in known.values() for name in names]
        hint = nearest(reference, names) if names else "; there is none yet: see `workbench events --help`"
        raise NotFoundError(f"no dataset {reference!r}{hint}")
    if len(matches) > 1:
        raise InputError(f"{reference!r} fits {len(matches)} datasets: give more digits")
    found = Dataset.open(workspace.datasets / matches[0])
    return found.with_labels(labels) if at else found


def dataset(reference: str) -> Dataset:
    """The dataset with this name or digest in the current workspace: what notebooks call.

    Raises as ``open_dataset`` and ``find_workspace`` do.
    """
    return open_dataset(find_workspace(), reference)
