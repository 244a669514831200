"""Backtest: what a policy would have done on a dataset, as one canonical document whose digest reviewers sign.

The same policy, dataset, labels, features, scores and seed give the same bytes, on any number of threads. How long it
took is no part of them.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, IntegrityError, NotFoundError
from workbench.events import Dataset, LabelSet
from workbench.evidence.strict import read_object
from workbench.features import IP_USERS, FeatureSpec
from workbench.features.stored import StoredFeatures, list_features, store_features
from workbench.files import canonical_json, sha256_bytes, write_atomic
from workbench.policies import findings
from workbench.policies.evaluation import Inputs, find_hits, open_database, write_scores
from workbench.policies.expression import Expression
from workbench.policies.store import PolicyVersion
from workbench.workspace import Workspace

__all__ = ["FORMAT_VERSION", "Backtest", "Scores", "backtest", "features_for"]

FORMAT_VERSION: Final = 1
_KIND: Final = "workbench policy backtest"


@dataclass(frozen=True)
class Scores:
    """``risk`` of every event, in event order: shape (n,), NaN where there is none; and the model that gave it.

    ``learnt_until`` is the last moment that the model knew of, µs UTC: on events before it, a policy that uses the
    scores looks better than it will be.
    """

    values: npt.NDArray[np.float64]
    model_sha256: str
    learnt_until: int | None = None

    @property
    def sha256(self) -> str:
        """Digest of the values, as little-endian float64."""
        return sha256_bytes(np.ascontiguousarray(self.values, dtype="<f8").tobytes())

    def as_dict(self) -> dict[str, Any]:
        """The model, the digest of the values, and ``learnt_until`` (ISO, UTC), as JSON."""
        until = self.learnt_until
        said = None if until is None else str(np.datetime64(until, "us"))
        return {"model": self.model_sha256, "scores": self.sha256, "learnt_until": said}


@dataclass(frozen=True)
class Backtest:
    """What was found. ``content`` is the document; ``seconds`` is what it cost (not the building of features)."""

    content: Mapping[str, Any]
    seconds: float = field(default=0.0, compare=False)

    @property
    def canonical(self) -> bytes:
        """The bytes that the digest is taken over."""
        return canonical_json(self.content)

    @property
    def sha256(self) -> str:
        """What a reviewer's signature covers, 64 hex digits."""
        return sha256_bytes(self.canonical)

    @property
    def headline(self) -> dict[str, Any]:
        """The few numbers that a decision starts from; all are in ``content`` as well."""
        content = self.content
        told: dict[str, Any] = {
            name: content[name] for name in ("events", "hits", "hits_per_day", "users_hit", "unknown")
        }
        if content["risk"] is not None:
            told["risk_learnt_until"] = content["risk"]["learnt_until"]
        if content["labelled"] is not None:
            told |= {name: content["labelled"][name] for name in ("precision", "recall", "f1")}
        if content["comparison"] is not None:
            told |= {name: content["comparison"][name] for name in ("added", "dropped")}
        return told

    def save(self, workspace: Workspace) -> Path:
        """Keep the document in ``data/backtests``, under its digest."""
        path = _home(workspace) / f"{self.sha256}.json"
        write_atomic(path, self.canonical, make_folder=True)
        return path

    @classmethod
    def open(cls, workspace: Workspace, sha256: str) -> "Backtest":
        """The kept document of that digest. Raises ``NotFoundError``, ``IntegrityError`` if it was changed."""
        try:
            data = (_home(workspace) / f"{sha256}.json").read_bytes()
        except OSError:
            raise NotFoundError(f"there is no backtest {sha256[:12]}: `workbench policy backtest` makes one") from None
        if sha256_bytes(data) != sha256:
            raise IntegrityError(f"backtest {sha256[:12]} was changed: its content does not match its digest")
        content = read_object(data, what=f"backtest {sha256[:12]}")
        if (content.get("kind"), content.get("format")) != (_KIND, FORMAT_VERSION):
            raise IntegrityError(f"backtest {sha256[:12]} is not of a format that this version reads")
        return cls(content)


def _home(workspace: Workspace) -> Path:
    return workspace.data / "backtests"


def features_for(
    dataset: Dataset,
    labels: LabelSet | None,
    spec: FeatureSpec,
    *,
    progress: Callable[[str], None] = lambda message: None,
) -> StoredFeatures:
    """The stored features of ``dataset`` with ``labels`` by ``spec``, built if they are not there."""
    workspace, said = dataset.workspace, None if labels is None else labels.digest
    for stored in list_features(workspace, dataset):
        if stored.identity["labels"] == said and stored.identity["spec"] == spec.as_dict():
            return stored
    return store_features(workspace, dataset, labels, spec=spec, progress=progress)[0]


def _spec_for(columns: frozenset[str]) -> FeatureSpec:
    """Always the workbench's own definitions, all 23; with ``ip_users_24h`` where ``columns`` name it."""
    spec = FeatureSpec()
    return FeatureSpec(names=(*spec.names, IP_USERS.name)) if IP_USERS.name in columns else spec


def backtest(
    version: PolicyVersion,
    dataset: Dataset,
    *,
    against: PolicyVersion | None = None,
    labels: LabelSet | None = None,
    risk: Scores | None = None,
    resamples: int = 1000,
    seed: int = 42,
    threads: int | None = None,
    verify: bool = False,
    progress: Callable[[str], None] = lambda message: None,
) -> Backtest:
    """What ``version`` would have flagged in ``dataset``; with ``against``, what it adds to and drops from that one.

    With ``labels``, precision, recall and F1 over the labelled events, with intervals by user, and features that know
    of violations as those labels became known. Features come from the workspace of the dataset, and are built there if
    they are not. With ``verify``, the digests of all that is read are recomputed first.

    Raises ``InputError`` if an expression needs ``risk`` and none is given, or fails on an event; ``IntegrityError`` if
    what is stored does not fit together.
    """
    versions = [version] if against is None else [version, against]
    expressions = [one.policy.parsed for one in versions]
    _check_risk(versions, expressions, dataset, risk)
    columns: frozenset[str] = frozenset().union(*(one.columns for one in expressions))
    features = None
    if labels is not None or any(one.features for one in expressions):
        features = features_for(dataset, labels, _spec_for(columns), progress=progress)
    if verify:
        progress("recomputing digests")
        for read in (dataset, labels, features):
            if read is not None:
                read.verify()
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        scores = None
        if risk is not None and any(one.needs_risk for one in expressions):
            scores = Path(folder) / "risk.parquet"
            write_scores(risk.values, scores)
        inputs = Inputs(dataset, features, scores)
        started = time.perf_counter()
        with open_database(inputs, Path(folder)) as connection:
            said = labels is not None
            unknown = find_hits(connection, inputs, expressions, labels=said, threads=threads, progress=progress)
            progress("counting hits")
            found = _found(connection, inputs, expressions, said, resamples=resamples, seed=seed)
        seconds = time.perf_counter() - started
    content = {
        "kind": _KIND,
        "format": FORMAT_VERSION,
        "policy": _named(version),
        "against": None if against is None else _named(against),
        "dataset": dataset.digest,
        "labels": None if labels is None else labels.digest,
        "features": None if features is None else features.digest,
        "risk": None if scores is None or risk is None else risk.as_dict(),
        "events": dataset.rows,
        "first": dataset.identity["first"],
        "last": dataset.identity["last"],
        "unknown": unknown[0],
        **found,
    }
    return Backtest(content, seconds)


def _found(
    connection: duckdb.DuckDBPyConnection,
    inputs: Inputs,
    expressions: list[Expression],
    said: bool,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    columns: frozenset[str] = frozenset().union(*(one.columns for one in expressions))
    identity = inputs.dataset.identity
    found = findings.totals(connection, inputs.dataset.rows, identity["first"], identity["last"])
    found |= {f"by_{name}": findings.by(connection, name, said=said) for name in ("user", "action", "source")}
    found["examples"] = findings.examples(connection, inputs, columns, "hit_0", said=said)
    counts = None
    if said and inputs.features is not None:
        counts = findings.counts_by_user(connection, inputs.features, len(expressions))
    found["labelled"] = None if counts is None else findings.labelled(counts, resamples=resamples, seed=seed)
    found["comparison"] = None
    if len(expressions) > 1:
        found["comparison"] = findings.comparison(connection, inputs, columns, counts, resamples=resamples, seed=seed)
    return found


def _check_risk(
    versions: list[PolicyVersion], expressions: list[Expression], dataset: Dataset, risk: Scores | None
) -> None:
    for one, expression in zip(versions, expressions, strict=True):
        if expression.needs_risk and risk is None:
            raise InputError(f"policy {one} speaks of risk: say which model gives it with --model, such as champion")
    if risk is not None and risk.values.shape != (dataset.rows,):
        raise InputError(f"scores of shape {risk.values.shape}, expected one for each of {dataset.rows:,} events")


def _named(version: PolicyVersion) -> dict[str, Any]:
    return {"name": version.name, "version": version.number, "sha256": version.sha256}
