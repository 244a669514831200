"""The registry: models by content, versions by the ledger's order, and which of them decides.

A model's folder is named by the SHA-256 of its ``model.prm`` and never changes. What version a model is and where the
alias ``champion`` points stands in the ledger alone, so neither can be changed without leaving a trace, and both are
known as of any earlier moment.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workbench.clock import Clock
from workbench.errors import InputError, MalformedError, NotFoundError, NotPermittedError
from workbench.evidence.strict import read_json
from workbench.files import canonical_json, sha256_bytes, staging, storage_errors, sweep_abandoned, write_atomic
from workbench.ledger import Ledger, Transaction, open_ledger
from workbench.risk.model import RiskModel
from workbench.risk.parity import PARITY, check_parity
from workbench.risk.version import MANIFEST, MODEL, Version, manifest_of
from workbench.workspace import Workspace

__all__ = ["CHAMPION", "Move", "Registry"]

CHAMPION: Final = "champion"

_OWN: Final = {MODEL, MANIFEST, "feature_spec.json", "threshold.json"}
_GIVEN: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\.(?:json|md|html|svg|png|parquet)")
_DIGEST: Final = re.compile("[0-9a-f]{6,64}")
_FIRST: Final = "models promote VERSION --first` makes"


@dataclass(frozen=True)
class Move:
    """One step of an alias: to which model (or none), from which, by whom, when (UTC), on what evidence (SHA-256).

    ``decided`` says that the evidence is a person's signed decision; otherwise it is a comparison, if there is any.
    """

    alias: str
    sha256: str | None
    previous: str | None
    evidence: str | None
    actor: str
    time: str
    decided: bool = False


class Registry:
    """The models of a workspace. Several processes may use it at once; ``waiting`` hears who holds the ledger."""

    def __init__(
        self, workspace: Workspace, *, clock: Clock | None = None, waiting: Callable[[str], None] | None = None
    ) -> None:
        self.workspace = workspace
        self._ledger: Ledger = open_ledger(workspace, clock=clock, waiting=waiting)

    # Registering

    def register(self, model: RiskModel, files: Mapping[str, bytes], *, actor: str = "p:local") -> Version:
        """Keep ``model`` and what belongs to it (``metrics.json``, ``card.md`` ...); the version it has from now on.

        The model, its feature spec, threshold and manifest are written from ``model``. All or nothing: the folder is
        built aside, and renamed while the ledger is held. The same model with the same files again changes nothing.

        Raises ``InputError`` for files that cannot belong to a model, or if the model is registered with others;
        ``IntegrityError`` if it does not reproduce its own parity vectors; ``StorageError`` if the disk refuses.
        """
        content = self._content(model, files)
        manifest = manifest_of(content)
        digests = {
            "modelSha256": model.sha256,
            "manifestSha256": sha256_bytes(manifest),
            "specSha256": model.spec.sha256,
            "datasetSha256": model.origin["dataset_sha256"],
            "labelsSha256": model.origin["labels_sha256"],
        }
        home = self.workspace.models
        with storage_errors(home):
            home.mkdir(parents=True, exist_ok=True)
        sweep_abandoned(home)
        with staging(home) as folder:
            built = folder / model.sha256
            with storage_errors(built):
                built.mkdir()
            for name, data in {**content, MANIFEST: manifest}.items():
                write_atomic(built / name, data)
            with self._ledger.transaction() as transaction:
                known = self._find(transaction.query("FROM models"), model.sha256)
                if known is not None:
                    return self._known_already(known, digests["manifestSha256"], content)
                self._move_in(built, home / model.sha256, folder / "unregistered")
                transaction.append("model.registered", actor, fields={**digests, "algorithm": model.forest.algorithm})
                found = self._find(transaction.query("FROM models"), model.sha256)
        assert found is not None
        return found

    def _content(self, model: RiskModel, files: Mapping[str, bytes]) -> dict[str, bytes]:
        for name, data in files.items():
            if name in _OWN:
                raise InputError(f"{name} of a model is written by the registry: do not give it")
            if not _GIVEN.fullmatch(name):
                raise InputError(f"{name[:60]!a} cannot be a file of a model: its kind is never opened here")
            if name.endswith(".json"):
                read_json(data, what=name)
        if PARITY in files:
            check_parity(model, files[PARITY], what="the model")
        return {
            MODEL: bytes(model),
            "feature_spec.json": canonical_json(model.spec.as_dict()),
            "threshold.json": canonical_json(model.threshold.as_dict()),
            **files,
        }

    @staticmethod
    def _move_in(built: Path, target: Path, aside: Path) -> None:
        """A folder that is there and in no ledger was left by a crash, or put there: what it holds was never vouched
        for, so it makes way, and goes."""
        with storage_errors(target):
            if target.is_symlink() or target.is_file():
                target.unlink()
            elif target.exists():
                target.rename(aside)
            built.rename(target)

    @staticmethod
    def _known_already(known: Version, manifest_sha256: str, content: Mapping[str, bytes]) -> Version:
        if known.row["manifest_sha256"] != manifest_sha256:
            old = known.manifest["files"]
            differing = sorted(
                name
                for name in old.keys() | content.keys()
                if name not in old or name not in content or old[name]["sha256"] != sha256_bytes(content[name])
            )
            raise InputError(
                f"this model is registered already, as {known.name}, with another {', '.join(differing)}: "
                f"what is registered never changes; use {known.name}"
            )
        known.verify()
        return known

    # Finding

    def versions(self) -> list[Version]:
        """All models, oldest first, as the ledger knows them. Their folders are not opened."""
        return [self._version(row) for row in self._ledger.query("FROM models")]

    def open(self, reference: str) -> Version:
        """The model that ``reference`` names: ``v3`` or ``3``, ``champion``, ``latest``, or 6 or more digits of its
        SHA-256. Its folder and manifest are checked; each file, when it is read.

        Raises ``NotFoundError`` if there is none, ``InputError`` if there are several, ``IntegrityError`` and
        ``MalformedError`` for what is not as it was registered.
        """
        version = self.find(reference)
        version.manifest  # noqa: B018 - the check
        return version

    def champion(self) -> Version | None:
        """The model that decides, if one was promoted."""
        return None if self.pointed() is None else self.open(CHAMPION)

    def history(self, alias: str = CHAMPION) -> list[Move]:
        """All moves of ``alias``, oldest first."""
        rows = self._ledger.query(
            "SELECT entry ->> 'alias' AS alias, entry ->> 'modelSha256' AS sha256, "
            "entry ->> 'previousSha256' AS previous, entry ->> 'evidenceSha256' AS evidence, actor, time, "
            "coalesce(entry ->> 'evidenceSha256' IN (SELECT envelope_sha256 FROM subject_history), false) AS decided "
            "FROM entries WHERE type = 'model.aliased' AND entry ->> 'alias' = ? ORDER BY seq",
            [alias],
        )
        return [Move(**row) for row in rows]

    def strangers(self) -> list[str]:
        """Names in the models' folder that no ledger entry stands for, by alphabet. They are never opened."""
        home = self.workspace.models
        known = {version.sha256 for version in self.versions()}
        present = {path.name for path in home.iterdir()} if home.is_dir() else set()
        return sorted(name for name in present - known if not name.startswith(".partial-"))

    # Promoting

    @property
    def governed(self) -> bool:
        """Whether people are enrolled in this workspace: then the champion moves by their signed decisions only."""
        return _governed(self._ledger)

    def require_ungoverned(self, reference: str, transaction: Transaction | None = None) -> None:
        """Raises ``NotPermittedError`` where people are enrolled, with what to do to make ``reference`` champion."""
        if _governed(transaction or self._ledger):
            name = self.find(reference, transaction).name
            raise NotPermittedError(
                "people are enrolled here, and a champion is made by their decisions: "
                f"`workbench submit model:{name}`, and somebody else `workbench approve model:{name}`"
            )

    def promote(
        self,
        reference: str,
        *,
        expected_previous: str | None,
        actor: str = "p:local",
        evidence_sha256: str | None = None,
    ) -> Version:
        """Let ``champion`` point to ``reference`` from now on, if it still points to ``expected_previous``.

        ``expected_previous`` names a model as ``reference`` does, or is None where there is no champion yet.
        ``evidence_sha256`` is the digest of what the decision stands on. To roll back, promote an older version. The
        model is read whole first: one that cannot be opened is never promoted.

        Raises ``InputError`` if the champion is another than expected, or is this model already, and
        ``NotPermittedError`` once people are enrolled: then they decide, and ``move`` is what their decisions call.
        """
        chosen = self.open(reference)
        chosen.verify()
        with self._ledger.transaction() as transaction:
            self.require_ungoverned(chosen.name, transaction)
            expected = None if expected_previous is None else self.find(expected_previous, transaction).sha256
            self.move(transaction, chosen.sha256, expected=expected, actor=actor, evidence_sha256=evidence_sha256)
        return chosen

    def move(
        self,
        transaction: Transaction,
        sha256: str | None,
        *,
        expected: str | None,
        actor: str,
        evidence_sha256: str | None,
        again: bool = False,
    ) -> None:
        """Within ``transaction``, let ``champion`` point to ``sha256`` (or to none), if it points to ``expected``.

        Raises ``InputError`` if it points elsewhere, or to ``sha256`` already, unless it may be entered ``again``.
        """
        current, rows = self.pointed(transaction), transaction.query("FROM models")
        if current != expected:
            raise InputError(
                f"the champion is {self._told(rows, current)}, not {self._told(rows, expected)} as expected: "
                "somebody moved it; compare with the new champion and decide again"
            )
        if current == sha256 and not again:
            raise InputError(f"{self._told(rows, sha256).partition(' ')[0]} is the champion already")
        transaction.append(
            "model.aliased",
            actor,
            fields={
                "alias": CHAMPION,
                "modelSha256": sha256,
                "previousSha256": current,
                "evidenceSha256": evidence_sha256,
            },
        )

    # What the ledger says

    def pointed(self, transaction: Transaction | None = None) -> str | None:
        """The SHA-256 of the champion, or None. Its folder is not opened."""
        asked = transaction or self._ledger
        rows = asked.query("SELECT model_sha256 FROM aliases WHERE alias = ?", [CHAMPION])
        return rows[0]["model_sha256"] if rows else None

    def find(self, reference: str, transaction: Transaction | None = None) -> Version:
        """As ``open``, but its folder is not opened; inside a ``transaction``, as that sees the ledger."""
        asked = transaction or self._ledger
        rows = asked.query("FROM models")
        if reference == CHAMPION:
            champion = self.pointed(transaction)
            if champion is None:
                how = "submit model:VERSION` and an approval make" if _governed(asked) else _FIRST
                raise NotFoundError(f"no model is the champion yet: `workbench {how} one")
            found = [row for row in rows if row["model_sha256"] == champion]
            if not found:
                raise MalformedError(f"the ledger names a champion that was never registered: {champion[:12]}")
        elif reference == "latest":
            found = rows[-1:]
        elif re.fullmatch(r"v[0-9]{1,9}|[0-9]{1,5}", reference):
            found = [row for row in rows if row["version"] == int(reference.removeprefix("v"))]
        elif _DIGEST.fullmatch(reference):
            found = [row for row in rows if row["model_sha256"].startswith(reference)]
        else:
            raise NotFoundError(
                f"{reference[:80]!a} names no model: use a version such as v1, champion, latest, or 6 or more digits "
                "of a model's SHA-256; a file that was not made by `workbench train` is never opened"
            )
        if not found:
            known = ", ".join(f"v{row['version']}" for row in rows) or "none"
            raise NotFoundError(f"there is no model {reference!r}; registered: {known}")
        if len(found) > 1:
            raise InputError(f"several models begin with {reference!r}: give more digits")
        return self._version(found[0])

    def _version(self, row: Mapping[str, Any]) -> Version:
        sha256 = str(row["model_sha256"])
        return Version(int(row["version"]), sha256, self.workspace.models / sha256, row)

    def _find(self, rows: list[dict[str, Any]], sha256: str) -> Version | None:
        return next((self._version(row) for row in rows if row["model_sha256"] == sha256), None)

    def _told(self, rows: list[dict[str, Any]], sha256: str | None) -> str:
        version = None if sha256 is None else self._find(rows, sha256)
        return f"{version.name} ({version.sha256[:12]})" if version else (sha256 or "none")


def _governed(asked: Ledger | Transaction) -> bool:
    return bool(asked.query("SELECT 1 FROM people LIMIT 1"))
