"""Champion against challenger: a model takes over only where six criteria, stated beforehand, let it.

Both models score the same labelled events, all later than anything either was fitted on, with labels that had time to
come in. The verdict, its numbers and the digest of the rows are one canonical JSON document: whoever has the data and
the two models gets the same bytes again. Measured speed is not part of it, because no two machines agree on it.
"""

import time
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, IntegrityError, MalformedError
from workbench.features import FeatureTable
from workbench.features.definitions import DAY_US
from workbench.files import canonical_json, sha256_bytes
from workbench.risk.criteria import Criterion, PromotionRules, judge
from workbench.risk.matured import MaturedWindow, as_utc, matured
from workbench.risk.model import RiskModel
from workbench.risk.parity import PARITY, check_parity
from workbench.risk.splits import held_out
from workbench.risk.version import Version

__all__ = ["COMPARISON_FORMAT", "Promotion", "compare", "fitted_until"]

COMPARISON_FORMAT: Final = 1

_PARITY_ROWS: Final = 100
_TIMED: Final = 1000


@dataclass(frozen=True)
class Promotion:
    """The outcome of a comparison. ``criteria`` are the six, in order; ``window`` says which rows were judged.

    ``measured`` holds what differs between machines (p99 of one prediction, microseconds): shown, never digested.
    """

    champion: str
    challenger: str
    window: dict[str, Any]
    rules: PromotionRules
    criteria: tuple[Criterion, ...]
    measured: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def promoted(self) -> bool:
        """Whether no criterion speaks against the challenger. One that could not be judged does not; it says so."""
        return all(criterion.passed is not False for criterion in self.criteria)

    @property
    def statement(self) -> str:
        """The verdict in one sentence."""
        against = [criterion.name for criterion in self.criteria if criterion.passed is False]
        if against:
            return f"the challenger does not take over: it fails on {', '.join(against)}"
        return "the challenger may take over: no criterion speaks against it"

    def __getitem__(self, name: str) -> Criterion:
        """The criterion of this name. Raises ``KeyError``."""
        for criterion in self.criteria:
            if criterion.name == name:
                return criterion
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """The evidence: what was compared, on what, by which rules, and what came of it."""
        return {
            "format": COMPARISON_FORMAT,
            "kind": "model-comparison",
            "champion": self.champion,
            "challenger": self.challenger,
            "window": self.window,
            "rules": asdict(self.rules),
            "criteria": [criterion.as_dict() for criterion in self.criteria],
            "promoted": self.promoted,
        }

    @cached_property
    def bytes(self) -> bytes:
        """``as_dict`` as canonical JSON."""
        return canonical_json(self.as_dict())

    @property
    def sha256(self) -> str:
        """Digest of ``bytes``: what the ledger's entry refers to."""
        return sha256_bytes(self.bytes)


def compare(
    champion: Version | RiskModel,
    challenger: Version | RiskModel,
    table: FeatureTable,
    *,
    champion_table: FeatureTable | None = None,
    rules: PromotionRules | None = None,
    after_us: int | None = None,
    as_of_us: int | None = None,
) -> Promotion:
    """Judge ``challenger`` against ``champion`` on the matured rows of ``table`` later than what either was fitted on.

    ``champion_table``: the same events with the champion's features, where the two models' feature specs differ.
    ``after_us`` starts the window later than the cut-offs do; ``as_of_us`` is the moment of judging (microseconds, UTC;
    the newest event or label unless given).

    Raises ``InputError`` where the features are not a model's, the window overlaps what a model was fitted on, or the
    window holds fewer violations than ``rules.violations``.
    """
    rules = rules or PromotionRules()
    old, new = _model(champion), _model(challenger)
    if old.sha256 == new.sha256:
        raise InputError(f"model {new.sha256[:12]} is the champion already: name another challenger")
    champion_table = table if champion_table is None else champion_table
    _check_tables(old, new, champion_table, table)
    window = _window(old, new, table, rules, after_us, as_of_us)
    rows = window.labelled
    y, users = table.y[rows], table.users[rows]
    scores = old.predict(_inputs(old, champion_table, rows)), new.predict(_inputs(new, table, rows))
    alerts = rules.alerts or int((scores[0] >= old.threshold.value).sum()) or int((y == 1).sum())
    unseen = _unseen(table, rows, (old, new))
    ranking, budget, calibration, unseen_users = judge(
        y, *scores, users, alerts=min(alerts, len(rows)), unseen=unseen, rules=rules
    )
    cost, measured = _cost(old, new, _inputs(new, table, rows[:_TIMED]), rules)
    criteria = (ranking, budget, calibration, _parity(challenger, new), cost, unseen_users)
    return Promotion(old.sha256, new.sha256, window.as_dict(table), rules, criteria, measured)


def fitted_until(model: RiskModel) -> int:
    """Until when ``model`` was fitted (microseconds, UTC): the last event of its trees, calibrator and threshold, and
    the moment until which labels were known to it.

    Raises ``MalformedError`` where the model does not say.
    """
    cutoffs = model.origin.get("cutoffs")
    said = [cutoffs.get(name) for name in ("train", "calibrate", "threshold")] if isinstance(cutoffs, dict) else []
    times = [time for time in [*said, model.origin.get("labels_known_until")] if isinstance(time, int)]
    if not times:
        raise MalformedError(f"model {model.sha256[:12]} does not say until when its training data reach")
    return max(times)


def _model(of: Version | RiskModel) -> RiskModel:
    return of if isinstance(of, RiskModel) else of.model


def _inputs(model: RiskModel, table: FeatureTable, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    return table.X[list(model.spec.columns)].to_numpy(dtype=np.float64)[rows]


def _check_tables(old: RiskModel, new: RiskModel, old_table: FeatureTable, new_table: FeatureTable) -> None:
    for role, model, table in (("champion", old, old_table), ("challenger", new, new_table)):
        if model.spec.sha256 != table.spec_sha256:
            raise InputError(
                f"the {role} {model.sha256[:12]} was trained on feature spec {model.spec.sha256[:12]}, the table is of "
                f"spec {table.spec_sha256[:12]}: build the features with the model's own spec"
            )
    if old_table is not new_table and not (
        np.array_equal(old_table.event_id, new_table.event_id) and np.array_equal(old_table.y, new_table.y)
    ):
        raise InputError("the two feature tables are not of the same events and labels: build both from one dataset")


def _window(
    old: RiskModel,
    new: RiskModel,
    table: FeatureTable,
    rules: PromotionRules,
    after_us: int | None,
    as_of_us: int | None,
) -> MaturedWindow:
    role, cutoff = max((("champion", fitted_until(old)), ("challenger", fitted_until(new))), key=lambda pair: pair[1])
    if after_us is not None and after_us < cutoff:
        raise InputError(
            f"a window from {as_utc(after_us)} overlaps what the {role} was fitted on, until {as_utc(cutoff)}: "
            "compare on later events only"
        )
    after = cutoff if after_us is None else after_us
    window = matured(table, after_us=after, maturity_days=rules.maturity_days, as_of_us=as_of_us)
    violations = int((table.y[window.labelled] == 1).sum())
    if violations < rules.violations:
        raise InputError(
            f"no comparison: the {role} was fitted until {as_utc(cutoff)}, and labels of {rules.maturity_days:g} days "
            f"reach until {as_utc(window.until_us)}; after {as_utc(after)} that leaves {violations:,} labelled "
            f"violations, and {rules.violations:,} are needed: use a dataset that reaches further"
        )
    return window


def _unseen(
    table: FeatureTable, rows: npt.NDArray[np.intp], models: tuple[RiskModel, RiskModel]
) -> npt.NDArray[np.bool_]:
    """Rows of users that neither model learnt from: held out by both, or first seen after both were fitted.

    When somebody was first seen can be told only where the dataset reaches back to when the models learnt.
    """
    unseen = np.ones(len(rows), dtype=bool)
    for model in models:
        share, seed = model.origin.get("holdout_users", 0), model.origin.get("seed", 42)
        if isinstance(share, int | float) and 0 < share < 1 and isinstance(seed, int):
            unseen &= held_out(table.users[rows], float(share), seed=seed)
        else:
            unseen[:] = False
    fitted = [fitted_until(model) for model in models]
    if "tenure_days" in table.X and table.time.min() < min(fitted):
        tenure_us = np.rint(table.X["tenure_days"].to_numpy(dtype=np.float64)[rows] * DAY_US).astype(np.int64)
        unseen |= table.time[rows] - tenure_us > max(fitted)
    return unseen


def _parity(challenger: Version | RiskModel, model: RiskModel) -> Criterion:
    name = "parity"
    if isinstance(challenger, RiskModel):
        return Criterion(name, None, "not judged: the challenger is not registered, so no vectors are stored with it")
    try:
        vectors = check_parity(model, challenger.file(PARITY), what=f"model {model.sha256[:12]}")
    except IntegrityError as error:
        return Criterion(name, False, str(error), {"matched": False})
    return Criterion(
        name,
        vectors >= _PARITY_ROWS,
        f"{vectors:,} stored predictions come out the same to the last bit, in batch and one by one "
        f"({_PARITY_ROWS} are needed)",
        {"matched": True, "vectors": vectors},
    )


def _cost(
    old: RiskModel, new: RiskModel, X: npt.NDArray[np.float64], rules: PromotionRules
) -> tuple[Criterion, dict[str, float]]:
    size, before = len(bytes(new)), len(bytes(old))
    p99_us = _p99_us(new, X)
    small, fast = size <= rules.max_bytes, p99_us <= 1000 * rules.max_p99_ms
    cheaper = rules.reason == "better" or size < before
    said = [
        f"the model file has {size:,} bytes, the champion's {before:,} (at most {rules.max_bytes:,} are allowed)",
        f"99 of 100 single predictions take {'less' if fast else 'more'} than {rules.max_p99_ms:g} ms",
    ]
    if not cheaper:
        said.append("it is said to be cheaper, but its file is not smaller")
    numbers = {"bytes": size, "champion_bytes": before, "small": small, "fast": fast}
    return Criterion("cost", small and fast and cheaper, "; ".join(said), numbers), {"p99_us": p99_us}


def _p99_us(model: RiskModel, X: npt.NDArray[np.float64]) -> float:
    for x in X[:50]:
        model.predict_one(x)  # compiled and warm
    spent = []
    for x in X:
        start = time.perf_counter_ns()
        model.predict_one(x)
        spent.append(time.perf_counter_ns() - start)
    return float(np.quantile(spent, 0.99)) / 1000
