"""One registered model: its folder, its manifest, its files, each checked at the moment it is read."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from workbench.errors import IntegrityError, MalformedError, NotFoundError, nearest
from workbench.evidence.strict import read_object
from workbench.features import FeatureSpec
from workbench.files import canonical_json, sha256_bytes
from workbench.risk.model import RiskModel

__all__ = ["MANIFEST", "MODEL", "Version", "manifest_of"]

MODEL: Final = "model.prm"
MANIFEST: Final = "manifest.json"
FORMAT_VERSION: Final = 1

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\.(?:prm|json|md|html|svg|png|parquet)")
_MAXIMUM_MANIFEST: Final = 1 << 20
_MAXIMUM_FILE: Final = 1 << 30


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """The manifest of a model's ``files``: name, size in bytes and SHA-256 of each. Canonical JSON."""
    described = {name: {"sha256": sha256_bytes(data), "size": len(data)} for name, data in files.items()}
    return canonical_json({"format": FORMAT_VERSION, "files": described})


@dataclass(frozen=True)
class Version:
    """A model as registered: ``number`` counts them, ``sha256`` names one. ``path`` is its folder.

    ``row`` is what the ledger says of it: the columns of the view ``models``.
    """

    number: int
    sha256: str
    path: Path
    row: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Version(v{self.number}, {self.sha256[:12]}, {self.row['algorithm']})"

    @property
    def name(self) -> str:
        """``v3``, as it is typed."""
        return f"v{self.number}"

    @property
    def _what(self) -> str:
        return f"model {self.name} ({self.sha256[:12]})"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest, if it is the one that the ledger knows and the folder holds just what it lists.

        Raises ``IntegrityError`` naming what is missing, changed or not part of the model, ``MalformedError`` for a
        manifest that does not follow its format.
        """
        self._require_folder()
        data = self._read(MANIFEST, _MAXIMUM_MANIFEST)
        if sha256_bytes(data) != self.row["manifest_sha256"]:
            raise IntegrityError(f"{MANIFEST} of {self._what} was changed: it is not the one that the ledger knows")
        content = read_object(data, what=f"{MANIFEST} of {self._what}")
        files = content.get("files")
        if content.get("format") != FORMAT_VERSION or not isinstance(files, dict) or not files.keys() >= {MODEL}:
            raise MalformedError(f"{MANIFEST} of {self._what} is not of a format that this version reads")
        for name, described in files.items():
            if not _NAME.fullmatch(name) or not isinstance(described, dict) or set(described) != {"sha256", "size"}:
                raise MalformedError(f"{MANIFEST} of {self._what} describes {name[:60]!a}, which is no file of a model")
        if files[MODEL]["sha256"] != self.sha256:
            raise IntegrityError(f"{MANIFEST} of {self._what} lists another {MODEL} than the folder is named for")
        self._require_exactly(set(files) | {MANIFEST})
        return content

    def _require_folder(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            raise IntegrityError(f"{self._what} is in the ledger, but its folder is gone: restore a backup") from None
        if not stat.S_ISDIR(mode):
            raise IntegrityError(f"the folder of {self._what} was replaced by something else: restore a backup")

    def _require_exactly(self, names: set[str]) -> None:
        found = {entry.name for entry in os.scandir(self.path)}
        if missing := sorted(names - found):
            raise IntegrityError(f"{missing[0]} of {self._what} is missing: restore a backup")
        if strange := sorted(found - names):
            raise IntegrityError(
                f"{strange[0][:60]!a} in the folder of {self._what} is not part of the model and was not opened: "
                "take it out"
            )

    def _read(self, name: str, largest: int) -> bytes:
        """The bytes of a regular file, read once, without following a link."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise IntegrityError(f"{name} of {self._what} is missing: restore a backup") from None
        except OSError as error:
            raise IntegrityError(f"{name} of {self._what} cannot be read as a file: {error.strerror}") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise IntegrityError(f"{name} of {self._what} is not a regular file: it was not opened")
            if status.st_size > largest:
                raise IntegrityError(f"{name} of {self._what} has {status.st_size:,} bytes: it was changed")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(largest + 1)
        finally:
            os.close(descriptor)

    def file(self, name: str) -> bytes:
        """The bytes of one of its files, as they were registered.

        Raises ``NotFoundError`` for a name that is not in the manifest, ``IntegrityError`` for changed content.
        """
        files = self.manifest["files"]
        if name not in files:
            raise NotFoundError(f"{self._what} has no file {name!a}{nearest(name, files)}")
        data = self._read(name, _MAXIMUM_FILE)
        if len(data) != files[name]["size"] or sha256_bytes(data) != files[name]["sha256"]:
            raise IntegrityError(f"{name} of {self._what} was changed: its SHA-256 is not the one of its manifest")
        return data

    @cached_property
    def model(self) -> RiskModel:
        """The model itself. Raises as ``file`` and ``RiskModel.read`` do."""
        return RiskModel.read(self.file(MODEL), sha256=self.sha256)

    @property
    def spec(self) -> FeatureSpec:
        """The features that the model takes."""
        return self.model.spec

    def verify(self) -> None:
        """Read and compare every file. Raises ``IntegrityError`` or ``MalformedError`` naming the first wrong one."""
        for name in self.manifest["files"]:
            self.file(name)
        self.model  # noqa: B018
