"""Which features, with what settings: a value with a digest, kept by every table and model."""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

from workbench.errors import InputError, nearest
from workbench.features.definitions import FEATURES, IP_USERS, RELATION, SPEC_VERSION, Feature
from workbench.files import canonical_json, sha256_bytes

__all__ = ["FeatureSpec"]

_KNOWN: Final = {feature.name: feature for feature in (*FEATURES, IP_USERS)}


@dataclass(frozen=True)
class FeatureSpec:
    """Which features, with what settings: the same digest, the same rules.

    ``day_starts`` and ``day_ends`` (local hours, 0 to 24) bound the day of ``off_hours``. ``extra`` adds features of
    one's own as pairs of name and SQL over the event columns and those of ``RELATION``; they are computed in batch
    only, and a window in one must leave out the event itself and what comes later, as the shipped definitions do.

    Raises ``InputError`` for names that are unknown or given twice, and for hours out of order.

    >>> FeatureSpec(names=("hour", "is_first")).columns
    ('hour', 'is_first')
    """

    names: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
    day_starts: int = 6
    day_ends: int = 20
    extra: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in _KNOWN:
                raise InputError(f"unknown feature {name!r}{nearest(name, _KNOWN)}")
        for name, _ in self.extra:
            if name in _KNOWN or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,62}", name):
                raise InputError(
                    f"{name!r} cannot name a feature of one's own: use letters, digits and '_', and no shipped name"
                )
        twice = {name for name in self.columns if self.columns.count(name) > 1}
        if twice:
            raise InputError(f"feature named twice: {', '.join(sorted(twice))}")
        if not self.columns:
            raise InputError("a feature spec needs at least one feature")
        if not 0 <= self.day_starts < self.day_ends <= 24:
            raise InputError(f"a day from {self.day_starts} h to {self.day_ends} h: expected 0 <= start < end <= 24")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, in order."""
        return (*self.names, *(name for name, _ in self.extra))

    @property
    def features(self) -> tuple[Feature, ...]:
        """The shipped features that ``names`` names, in order."""
        return tuple(_KNOWN[name] for name in self.names)

    def sql(self, feature: Feature) -> str:
        """The feature's SQL with the settings of this spec filled in."""
        return feature.sql.format(day_starts=self.day_starts, day_ends=self.day_ends)

    @property
    def sha256(self) -> str:
        """Digest of the definitions in use, the settings and the SQL of ``extra``."""
        shipped = [[feature.name, self.sql(feature)] for feature in self.features]
        return sha256_bytes(
            canonical_json(
                {
                    "version": SPEC_VERSION,
                    "relation": RELATION,
                    "features": shipped,
                    "extra": [list(p) for p in self.extra],
                }
            )
        )

    def as_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads, for JSON."""
        return {
            "version": SPEC_VERSION,
            "names": list(self.names),
            "day_starts": self.day_starts,
            "day_ends": self.day_ends,
            "extra": [list(pair) for pair in self.extra],
            "sha256": self.sha256,
        }

    @classmethod
    def from_dict(cls, content: Any) -> Self:
        """The spec that ``as_dict`` described.

        Raises ``InputError`` if it is not of that form, or was made with other definitions than these.

        >>> FeatureSpec.from_dict(FeatureSpec(day_starts=7).as_dict()).day_starts
        7
        """
        if not isinstance(content, dict) or set(content) != {
            "version",
            "names",
            "day_starts",
            "day_ends",
            "extra",
            "sha256",
        }:
            raise InputError("not a feature spec: expected version, names, day_starts, day_ends, extra and sha256")
        names, extra = content["names"], content["extra"]
        bounds = (content["day_starts"], content["day_ends"])
        if (
            not isinstance(names, list)
            or not all(isinstance(name, str) for name in names)
            or not isinstance(extra, list)
            or not all(
                isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
                for pair in extra
            )
            or not all(type(bound) is int for bound in bounds)
        ):
            raise InputError("not a feature spec: names, extra or hours are not of their types")
        if content["version"] != SPEC_VERSION:
            raise InputError(
                f"feature spec of version {content['version']!r}; this workbench computes version {SPEC_VERSION}"
            )
        spec = cls(tuple(names), bounds[0], bounds[1], tuple((pair[0], pair[1]) for pair in extra))
        if content["sha256"] != spec.sha256:
            raise InputError(
                "the feature spec was made with other definitions than this workbench has: its digest differs"
            )
        return spec
