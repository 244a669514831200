"""Drift: has the model become worse, or only the sample smaller?

"Retrain when F1 falls by more than 5 %" alarms 17 times in 100 on 200 violations when nothing has changed. So a point
estimate below that line only warns; retraining is advised when the upper bound of F1 is below it as well, on at least
200 matured violations. Features that moved (PSI) are named for a look and decide nothing, and labels are described,
because a sample that analysts chose is not a sample of the events.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, MalformedError
from workbench.evidence.strict import read_object
from workbench.features import FeatureTable
from workbench.features.definitions import DAY_US
from workbench.risk.f1 import DriftRules, F1Estimate, Verdict, f1_by_user, f1_from_counts, f1_rule
from workbench.risk.matured import as_utc, matured
from workbench.risk.model import RiskModel
from workbench.risk.psi import Shift, bin_counts, shift
from workbench.risk.version import Version

__all__ = ["DriftReport", "DriftRules", "F1Estimate", "drift", "f1_by_user", "f1_from_counts", "f1_rule"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DriftReport:
    """What was found. ``shifts``: the scores and every feature, furthest beyond its threshold first."""

    model: str
    verdict: Verdict
    statement: str
    f1: F1Estimate
    reference_f1: float
    counts: dict[str, int]
    shifts: tuple[Shift, ...]
    labels: dict[str, float | None]
    window: dict[str, Any]
    rules: DriftRules

    @property
    def moved(self) -> tuple[Shift, ...]:
        """Features, or the score, that moved further than chance: to be looked at."""
        return tuple(shift for shift in self.shifts if shift.moved)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "format": 1,
            "kind": "drift-report",
            "model": self.model,
            "verdict": self.verdict,
            "statement": self.statement,
            "f1": {name: _round(value) for name, value in asdict(self.f1).items()}
            | {"reference": _round(self.reference_f1), "line": _round(self.rules.share * self.reference_f1)},
            "counts": self.counts,
            "labels": {name: _round(value) for name, value in self.labels.items()},
            "shifts": [shift.as_dict() for shift in self.shifts],
            "window": self.window,
            "rules": asdict(self.rules),
        }


def drift(
    model: Version | RiskModel,
    table: FeatureTable,
    *,
    reference: Mapping[str, Any] | None = None,
    since_us: int | None = None,
    as_of_us: int | None = None,
    rules: DriftRules | None = None,
) -> DriftReport:
    """Judge ``model`` on the events of ``table`` later than ``since_us`` (microseconds, UTC).

    ``table`` should hold all events, labelled or not. ``since_us`` is the end of everything the model was trained and
    tested on, unless given. ``reference`` is the model's ``reference.json``, which a registered model brings along.
    ``as_of_us``: the moment of judging; the newest event or label unless given.

    Raises ``InputError`` where there is nothing to judge or the features are not the model's, ``MalformedError`` for a
    reference that cannot be read.
    """
    rules = rules or DriftRules()
    own = model if isinstance(model, RiskModel) else model.model
    stored = _reference(model, reference)
    if own.spec.sha256 != table.spec_sha256:
        raise InputError(
            f"model {own.sha256[:12]} was trained on feature spec {own.spec.sha256[:12]}, the table is of spec "
            f"{table.spec_sha256[:12]}: build the features with the model's own spec"
        )
    since = _judged_until(own) if since_us is None else since_us
    window = matured(table, after_us=since, maturity_days=rules.maturity_days, as_of_us=as_of_us)
    rows = np.flatnonzero(table.time > (since if since is not None else np.iinfo(np.int64).min))
    if not len(rows):
        newest = f"the newest is of {as_utc(int(table.time.max()))}"
        raise InputError(
            f"no event is later than {as_utc(since or 0)}, until when the model was trained and tested; {newest}: "
            "use newer data, or name an earlier moment with --since"
            if since_us is None
            else f"no event is later than {as_utc(since_us)}; {newest}: name an earlier moment with --since, or use "
            "newer data"
        )
    X = table.X[list(own.spec.columns)].to_numpy(dtype=np.float64)[rows]
    p = own.predict(X)
    place = np.searchsorted(rows, window.labelled)
    y, alert = table.y[window.labelled], p[place] >= own.threshold.value
    f1 = (
        f1_by_user(
            y, alert, table.users[window.labelled], level=rules.level, resamples=rules.resamples, seed=rules.seed
        )
        if len(y)
        else F1Estimate(None, None)
    )
    violations = int((y == 1).sum())
    verdict = f1_rule(f1.value, f1.upper, violations, stored["f1"], rules=rules)
    counts = {
        "tp": int((alert & (y == 1)).sum()),
        "fp": int((alert & (y == 0)).sum()),
        "fn": int((~alert & (y == 1)).sum()),
        "tn": int((~alert & (y == 0)).sum()),
    }
    return DriftReport(
        model=own.sha256,
        verdict=verdict,
        statement=_statement(verdict, f1, violations, stored["f1"], rules),
        f1=f1,
        reference_f1=stored["f1"],
        counts=counts,
        shifts=_shifts(stored, own.spec.columns, X, p, rules),
        labels=_delays(table, window.labelled) | {"share_labelled": window.share_labelled},
        window=window.as_dict(table) | {"scored": len(rows)},
        rules=rules,
    )


def _reference(model: Version | RiskModel, given: Mapping[str, Any] | None) -> dict[str, Any]:
    content = dict(given) if given is not None else _stored(model)
    try:
        f1 = float(content["f1"])
        sound = [_is_histogram(one) for one in (content["scores"], *content["features"].values())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedError(f"reference.json of model {model.sha256[:12]} is not of its format") from error
    if not all(sound):
        raise MalformedError(f"reference.json of model {model.sha256[:12]} has a histogram that is none")
    if not 0 < f1 <= 1:
        raise InputError(
            f"model {model.sha256[:12]} had an F1 of {f1:g} on its own test slice: there is nothing to fall from; "
            "choose a threshold at which it catches something"
        )
    return content | {"f1": f1}


def _is_histogram(content: Any) -> bool:
    edges, counts = (np.asarray(content[name], dtype=np.float64) for name in ("edges", "counts"))
    rising = edges.ndim == 1 and bool((np.diff(edges) > 0).all())
    return rising and counts.shape == (len(edges) + 1,) and bool((counts >= 0).all() and counts.sum() >= 1)


def _stored(model: Version | RiskModel) -> dict[str, Any]:
    if isinstance(model, RiskModel):
        raise InputError("a model that is not registered has no reference with it: give reference=")
    return read_object(model.file("reference.json"), what=f"reference.json of model {model.sha256[:12]}")


def _judged_until(model: RiskModel) -> int | None:
    cutoffs = model.origin.get("cutoffs", {})
    return max((value for value in cutoffs.values() if isinstance(value, int)), default=None)


def _shifts(
    stored: Mapping[str, Any], columns: tuple[str, ...], X: Floats, p: Floats, rules: DriftRules
) -> tuple[Shift, ...]:
    values = {"score": (stored["scores"], p)}
    values |= {
        name: (stored["features"][name], X[:, k]) for k, name in enumerate(columns) if name in stored["features"]
    }
    found = []
    for name, (histogram, now) in values.items():
        before = np.asarray(histogram["counts"], dtype=np.int64)
        counts = bin_counts(now, np.asarray(histogram["edges"], dtype=np.float64))
        found.append(shift(name, before, counts, tests=len(values), level=rules.psi_level))
    return tuple(sorted(found, key=lambda shift: (-shift.psi / shift.threshold, shift.name)))


def _delays(table: FeatureTable, labelled: npt.NDArray[np.intp]) -> dict[str, float | None]:
    days = (table.known[labelled] - table.time[labelled]) / DAY_US
    if not len(days):
        return {"delay_days_median": None, "delay_days_p90": None}
    median, late = np.quantile(days, [0.5, 0.9])
    return {"delay_days_median": float(median), "delay_days_p90": float(late)}


def _statement(verdict: Verdict, f1: F1Estimate, violations: int, reference: float, rules: DriftRules) -> str:
    line = rules.share * reference
    if f1.value is None or f1.upper is None:
        return "extend the window: no matured violation and no alert is in it, so nothing can be said"
    measured = (
        f"F1 is {f1.value:.3f} on {violations:,} matured violations, at most {f1.upper:.3f} with "
        f"{100 * rules.level:g} % confidence; it was {reference:.3f}, and the line is {line:.3f}"
    )
    few = f"fewer than {rules.violations:,} violations"
    unsure = f"extend the window: {few} do not decide" if violations < rules.violations else "this may be chance: watch"
    return {
        "RETRAIN": f"retrain: the model has become worse: {measured}",
        "WARN": f"below the line, but {unsure}; {measured}",
        "EXTEND": f"extend the window: {few} cannot show that nothing changed; {measured}",
        "OK": f"no sign that the model has become worse: {measured}",
    }[verdict]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6) + 0.0
