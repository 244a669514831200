"""What was served, kept line by line, and computed again by whoever doubts it.

A served score is only as good as the features behind it, and those are gone the moment after. So the log keeps the
vector, and the audit builds the same features from the dataset in batch, and compares to the last bit.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from workbench.errors import MalformedError
from workbench.events import Dataset, LabelSet
from workbench.evidence.strict import read_object
from workbench.features import build
from workbench.files import storage_errors
from workbench.risk.model import RiskModel
from workbench.risk.registry import Registry
from workbench.risk.score import Score, ShadowScore

__all__ = ["Audit", "Difference", "ScoreLog", "audit", "read_scores"]

FORMAT_VERSION: Final = 1

Floats = npt.NDArray[np.float64]

_KEYS: Final = {
    "format", "event_id", "p", "decision", "threshold", "model_sha256", "version", "spec_sha256", "vector", "shadow",
}  # fmt: skip
_SHADOW: Final = {"p", "decision", "threshold", "model_sha256", "version"}


class ScoreLog:
    """Appends each score to a file as one line of JSON, safe among threads: ``Scorer(..., log=ScoreLog(path))``.

    A line is handed to the operating system at once; ``close`` (or leaving ``with``) flushes it to disk. Numbers are
    written so that they read back to the same bits. Raises ``StorageError`` where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)

    def __call__(self, score: Score) -> None:
        line = json.dumps(_as_dict(score), allow_nan=False, separators=(",", ":")).encode() + b"\n"
        with self._lock, storage_errors(self.path):
            self._file.write(line)

    def close(self) -> None:
        """Flush to disk and close. Raises ``StorageError`` if the disk refuses."""
        if not self._file.closed:
            with storage_errors(self.path):
                os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_dict(score: Score) -> dict[str, Any]:
    shadow = score.shadow
    return {
        "format": FORMAT_VERSION,
        "event_id": score.event_id,
        "p": score.p,
        "decision": score.decision,
        "threshold": score.threshold,
        "model_sha256": score.model_sha256,
        "version": score.version,
        "spec_sha256": score.spec_sha256,
        "vector": score.vector,
        "shadow": None if shadow is None else {name: getattr(shadow, name) for name in ShadowScore.__slots__},
    }


def read_scores(path: Path) -> list[Score]:
    """The scores of a log, in order. Raises ``MalformedError`` naming the first line that is not one."""
    scores = []
    with storage_errors(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            what = f"line {number} of {path.name}"
            if not line.endswith(b"\n"):
                raise MalformedError(f"{what} was cut short: it is the last, so take it out and go on")
            scores.append(_read(read_object(line, what=what), what))
    return scores


def _read(content: dict[str, Any], what: str) -> Score:
    shadow = content.get("shadow")
    if (
        set(content) != _KEYS
        or content["format"] != FORMAT_VERSION
        or not isinstance(content["vector"], list)
        or not (shadow is None or (isinstance(shadow, dict) and set(shadow) == _SHADOW))
    ):
        raise MalformedError(f"{what} is not a score of a format that this version reads")
    given = {name: value for name, value in content.items() if name not in ("format", "vector", "shadow")}
    try:
        _require(given)
        vector = tuple(map(float, content["vector"]))
        if shadow is not None:
            _require({"event_id": "", "spec_sha256": "", **shadow})
        return Score(**given, vector=vector, shadow=None if shadow is None else ShadowScore(**shadow))
    except (TypeError, ValueError) as error:
        raise MalformedError(f"{what} holds a value of another type than scores have") from error


def _require(content: Mapping[str, Any]) -> None:
    kinds: dict[str, type | tuple[type, ...]] = {
        "event_id": str, "model_sha256": str, "spec_sha256": str, "decision": bool, "version": int,
        "p": (int, float), "threshold": (int, float),
    }  # fmt: skip
    for name, value in content.items():
        if not isinstance(value, kinds[name]) or (isinstance(value, bool) and name != "decision"):
            raise TypeError(name)


@dataclass(frozen=True)
class Difference:
    """Something served that is not what is computed now. ``what``: a feature, ``p``, ``decision``,
    ``threshold``, or one of these of the shadow."""

    event_id: str
    what: str
    served: float
    computed: float


@dataclass(frozen=True)
class Audit:
    """What became of computing ``scores`` scores again.

    ``unknown_events``: served, but not in the dataset. ``unknown_models``: digests that no model has here.
    ``differences``: everything that is not equal to the last bit.
    """

    scores: int
    unknown_events: tuple[str, ...] = ()
    unknown_models: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        return not (self.unknown_events or self.unknown_models or self.differences)


def audit(scores: list[Score], dataset: Dataset, labels: LabelSet | None = None, *, registry: Registry) -> Audit:
    """Build the features of ``scores`` again from ``dataset`` and ``labels``, score them, and compare every bit.

    The labels must be those that were learned while scoring. A shadow's scores are computed again as well. Raises what
    opening a model raises.
    """
    known = {version.sha256 for version in registry.versions()}
    asked = dict.fromkeys(sha256 for score in scores for sha256 in _models_of(score))
    models = {sha256: registry.open(sha256).model for sha256 in asked if sha256 in known}
    unknown_events: list[str] = []
    differences: list[Difference] = []
    for sha256, model in models.items():
        served = [score for score in scores if score.model_sha256 == sha256]
        if not served:
            continue
        table = build(dataset, labels, spec=model.spec, labelled_only=False)
        row_of = {event_id: row for row, event_id in enumerate(table.event_id)}
        unknown_events += [score.event_id for score in served if score.event_id not in row_of]
        served = [score for score in served if score.event_id in row_of]
        X = table.X.to_numpy(dtype=np.float64)[[row_of[score.event_id] for score in served]]
        for score, row, p in zip(served, X, model.predict(X).tolist(), strict=True):
            differences += _differences(score, row, p, model)
            if score.shadow is not None and score.shadow.model_sha256 in models:
                shadow = models[score.shadow.model_sha256]
                differences += _compared(score.event_id, score.shadow, shadow.predict_one(row), shadow, "shadow ")
    return Audit(len(scores), tuple(unknown_events), tuple(asked.keys() - known), tuple(differences))


def _models_of(score: Score) -> list[str]:
    return [score.model_sha256, *([] if score.shadow is None else [score.shadow.model_sha256])]


def _differences(score: Score, row: Floats, p: float, model: RiskModel) -> Iterator[Difference]:
    if len(score.vector) != len(row):
        yield Difference(score.event_id, "number of features", len(score.vector), len(row))
    for name, served, computed in zip(model.spec.columns, score.vector, row.tolist(), strict=False):
        if served != computed:
            yield Difference(score.event_id, name, served, computed)
    yield from _compared(score.event_id, score, p, model, "")


def _compared(event_id: str, said: Score | ShadowScore, p: float, model: RiskModel, whose: str) -> Iterator[Difference]:
    threshold = model.threshold.value
    for name, served, computed in (
        ("p", said.p, p),
        ("threshold", said.threshold, threshold),
        ("decision", said.decision, p >= threshold),
    ):
        if served != computed:
            yield Difference(event_id, whose + name, float(served), float(computed))
