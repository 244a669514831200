"""A model: trees, calibration, threshold, the features it wants, and where it comes from; and its one file, model.prm.

Opening a model is a matter of trust: its SHA-256 is compared before anything else is looked at, and what follows is
checked as if the digest said nothing. A file holds numbers only, so the worst that a hostile one can do is be wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self, cast

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, IntegrityError, MalformedError
from workbench.features import FeatureSpec
from workbench.files import canonical_json, sha256_bytes
from workbench.risk.calibration import Calibrator
from workbench.risk.forest import Forest
from workbench.risk.modelfile import MAXIMUM_BYTES, decode, encode
from workbench.risk.threshold import Threshold

__all__ = ["RiskModel"]

_HEADER: Final = {"forest", "calibrator", "threshold", "spec", "origin"}
_FOREST: Final = {"algorithm", "n_features", "n_trees", "base"}
_CALIBRATOR: Final = {"method", "a", "b"}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RiskModel:
    """A binary classifier of events, ready to score. ``bytes(model)`` is its file; ``sha256`` its identity.

    ``origin`` is JSON with ``dataset_sha256`` and ``labels_sha256`` (or None) in it, and whatever else training says of
    itself; nothing in it may differ between two equal trainings (no times, no paths).

    Raises ``InputError`` if the parts do not fit together.
    """

    forest: Forest
    calibrator: Calibrator
    threshold: Threshold
    spec: FeatureSpec
    origin: dict[str, Any]

    def __post_init__(self) -> None:
        if len(self.spec.columns) != self.forest.n_features:
            raise InputError(
                f"the trees take {self.forest.n_features} features and the feature spec names {len(self.spec.columns)}"
            )
        if not isinstance(self.origin, dict) or not self.origin.keys() >= {"dataset_sha256", "labels_sha256"}:
            raise InputError("the origin of a model says at least dataset_sha256 and labels_sha256")
        for name in ("dataset_sha256", "labels_sha256"):
            digest = self.origin[name]
            if not (digest is None and name == "labels_sha256") and not _is_sha256(digest):
                raise InputError(f"{name} of the model's origin is not a SHA-256")

    def __bytes__(self) -> bytes:
        return self._file

    @cached_property
    def _file(self) -> bytes:
        header = {
            "forest": {
                "algorithm": self.forest.algorithm,
                "n_features": self.forest.n_features,
                "n_trees": self.forest.n_trees,
                "base": self.forest.base,
            },
            "calibrator": {"method": self.calibrator.method, "a": self.calibrator.a, "b": self.calibrator.b},
            "threshold": self.threshold.as_dict(),
            "spec": self.spec.as_dict(),
            "origin": self.origin,
        }
        arrays: dict[str, npt.NDArray[Any]] = {
            "value": self.forest.value,
            "cover": self.forest.cover,
            "calibration_x": self.calibrator.x,
            "calibration_y": self.calibrator.y,
            "feature": self.forest.feature,
            "missing_left": self.forest.missing_left,
        }
        try:
            return encode(header, arrays)
        except (ValueError, TypeError) as error:
            raise InputError(f"the origin or threshold of a model holds what JSON cannot: {error}") from error

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of ``bytes(model)``, 64 hex digits."""
        return sha256_bytes(self._file)

    def predict(self, rows: Floats) -> Floats:
        """The calibrated probabilities (n,) of ``rows`` (n, k), columns as in ``spec.columns``.

        Raises ``InputError`` for another shape or unusable values.
        """
        return self.calibrator.apply(self.forest.predict(rows))

    def predict_one(self, row: Floats) -> float:
        """As ``predict`` for one row (k,) of float64, the same to the last bit."""
        return self.calibrator.apply_one(self.forest.predict_one(row))

    @classmethod
    def read(cls, data: bytes, *, sha256: str) -> Self:
        """The model whose file ``data`` is, if that is the file with this digest.

        Raises ``IntegrityError`` for another digest, and then nothing of ``data`` was looked at. Raises
        ``MalformedError`` for a file that does not follow the format, or whose parts contradict each other.
        """
        what = f"model.prm of the model {sha256[:12]}"
        if len(data) > MAXIMUM_BYTES:
            raise MalformedError(f"{what} has {len(data):,} bytes, and a model file at most {MAXIMUM_BYTES:,}")
        if (found := sha256_bytes(data)) != sha256:
            raise IntegrityError(f"{what} was changed: its SHA-256 is {found[:12]}…, not {sha256[:12]}…")
        header, arrays = decode(data, what=what)
        _require_keys(header, _HEADER, f"the header of {what}")
        try:
            model = cls(
                _forest(header["forest"], arrays),
                _calibrator(header["calibrator"], arrays),
                Threshold.from_dict(header["threshold"]),
                _spec(header["spec"]),
                header["origin"],
            )
        except (MalformedError, InputError) as error:
            raise MalformedError(f"{what}: {error}") from error
        if bytes(model) != data:
            raise MalformedError(f"{what} is not written in the one way that models are written")
        return model


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _require_keys(content: Any, keys: set[str], what: str) -> None:
    if not isinstance(content, dict) or set(content) != keys:
        raise MalformedError(f"{what} does not have exactly {', '.join(sorted(keys))}")


def _number(content: dict[str, Any], name: str, kind: type[int] | type[float]) -> Any:
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise MalformedError(f"{name} is not a {'whole number' if kind is int else 'number'}")
    return kind(value)


def _forest(content: Any, arrays: dict[str, npt.NDArray[Any]]) -> Forest:
    _require_keys(content, _FOREST, "forest")
    forest = Forest(
        content["algorithm"],
        _number(content, "n_features", int),
        _number(content, "base", float),
        arrays["value"],
        arrays["feature"],
        arrays["missing_left"],
        arrays["cover"],
    )
    if forest.n_trees != _number(content, "n_trees", int):
        raise MalformedError(f"the nodes make {forest.n_trees} trees, and the header says {content['n_trees']}")
    return forest


def _calibrator(content: Any, arrays: dict[str, npt.NDArray[Any]]) -> Calibrator:
    _require_keys(content, _CALIBRATOR, "calibrator")
    a, b = _number(content, "a", float), _number(content, "b", float)
    return Calibrator(content["method"], arrays["calibration_x"], arrays["calibration_y"], a, b)


def _spec(content: Any) -> FeatureSpec:
    """The feature spec; whatever its reader makes of a hostile one, the answer is a refusal."""
    read = cast(Callable[[Any], FeatureSpec], FeatureSpec.from_dict)
    try:
        spec = read(content)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise MalformedError("the feature spec does not follow its format") from error
    if canonical_json(spec.as_dict()) != canonical_json(content):
        raise MalformedError("the feature spec is not one that this version of the workbench computes")
    return spec
