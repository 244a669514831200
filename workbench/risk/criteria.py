"""The criteria of a promotion that are statistics: functions of arrays alone, so that simulations can try them."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.risk.matured import check_maturity
from workbench.risk.paired import (
    UserDraws,
    brier_difference,
    calibration_difference,
    caught,
    draw_users,
    mcnemar_p,
    precision_difference,
)

__all__ = ["Criterion", "PromotionRules", "judge"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class PromotionRules:
    """What a challenger must meet. Change them before looking at a result, not after.

    ``reason``: "better" asks for a higher average precision; "cheaper" accepts one up to ``margin`` lower from a model
    with a smaller file. ``violations``: labelled violations the window must hold. ``alerts``: the equal budget, in
    alerts over the whole window; None takes as many as the champion raises there. ``significance``: of the one-sided
    McNemar test. Tolerances are shares, so that they mean the same for rare and common violations:
    ``brier_tolerance`` of the champion's Brier score, ``calibration_tolerance`` of the window's rate of violations,
    ``unseen_tolerance`` of the champion's average precision on unseen users. With fewer than ``unseen_violations`` and
    ``unseen_users`` that slice is not judged. ``max_bytes`` and ``max_p99_ms`` (milliseconds) bound the model file and
    the 99th percentile of one prediction. ``maturity_days``: age at which a label is taken to have come in.
    """

    reason: Literal["better", "cheaper"] = "better"
    maturity_days: float = 14
    violations: int = 200
    alerts: int | None = None
    margin: float = 0.01
    significance: float = 0.05
    brier_tolerance: float = 0.05
    calibration_tolerance: float = 0.25
    unseen_tolerance: float = 0.25
    unseen_violations: int = 50
    unseen_users: int = 20
    max_bytes: int = 4_000_000
    max_p99_ms: float = 10.0
    resamples: int = 1000
    seed: int = 42

    def __post_init__(self) -> None:
        check_maturity(self.maturity_days)
        if self.reason not in ("better", "cheaper"):
            raise InputError(f"the reason {self.reason!r}: expected better or cheaper")
        if self.alerts is not None and self.alerts < 1:
            raise InputError(f"a budget of {self.alerts} alerts: expected 1 or more")
        if not 100 <= self.resamples <= 100_000:
            raise InputError(f"{self.resamples} resamples: expected 100 to 100,000")


@dataclass(frozen=True)
class Criterion:
    """One criterion: ``passed`` is None where it could not be judged; ``statement`` says in words what was found."""

    name: str
    passed: bool | None
    statement: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "statement": self.statement, "numbers": self.numbers}


def judge(
    y: Labels,
    champion: Floats,
    challenger: Floats,
    users: npt.NDArray[np.object_] | npt.NDArray[np.int64],
    *,
    alerts: int,
    unseen: npt.NDArray[np.bool_] | None = None,
    rules: PromotionRules = PromotionRules(),
) -> tuple[Criterion, ...]:
    """The four criteria that are statistics: ranking, alerts, calibration, unseen users.

    ``y`` (1 violation, 0 compliant), ``champion`` and ``challenger`` (probabilities), ``users`` and ``unseen`` (users
    neither model was trained on; None where nobody knows): shape (n,). ``alerts``: the budget both are held to.

    Raises ``InputError`` where either class is missing.
    """
    if not 0 < int((y == 1).sum()) < len(y):
        raise InputError("a comparison needs both violations and compliant events")
    draws = draw_users(users, resamples=rules.resamples, seed=rules.seed)
    return (
        _ranking(y, champion, challenger, draws, rules),
        _alerts(y, champion, challenger, alerts, rules),
        _calibration(y, champion, challenger, draws, rules),
        _unseen(y, champion, challenger, draws, unseen, rules),
    )


def _ranking(y: Labels, champion: Floats, challenger: Floats, draws: UserDraws, rules: PromotionRules) -> Criterion:
    found = precision_difference(y, champion, challenger, draws)
    floor = 0.0 if rules.reason == "better" else -rules.margin
    passed = found.low > floor
    measured = (
        f"average precision {found.champion:.3f} for the champion, {found.challenger:.3f} for the challenger; "
        f"the difference is {found.value:+.3f}, with 95 % confidence between {found.low:+.3f} and {found.high:+.3f}"
    )
    if rules.reason == "better":
        verdict = "surely above zero" if passed else "it may be luck: the interval must lie above zero"
    else:
        verdict = f"{'surely' if passed else 'not surely'} above the {floor:+.3f} allowed to a cheaper model"
    return Criterion(
        "ranking",
        passed,
        f"{measured}: {verdict}",
        _rounded(
            champion=found.champion, challenger=found.challenger, difference=found.value, low=found.low, high=found.high
        )
        | {"floor": floor, "users": draws.users},
    )


def _alerts(y: Labels, champion: Floats, challenger: Floats, alerts: int, rules: PromotionRules) -> Criterion:
    old = caught(y, champion, alerts, seed=rules.seed)
    new = caught(y, challenger, alerts, seed=rules.seed)
    only_old, only_new = int((old & ~new).sum()), int((new & ~old).sum())
    p = mcnemar_p(only_old, only_new)
    passed = p >= rules.significance
    return Criterion(
        "alerts",
        passed,
        f"with {alerts:,} alerts each, the champion catches {int(old.sum()):,} of {int((y == 1).sum()):,} violations, "
        f"the challenger {int(new.sum()):,}; {only_old:,} only the champion, {only_new:,} only the challenger: "
        f"{'not significantly worse' if passed else 'significantly worse'} (p = {p:.3f})",
        {
            "alerts": alerts,
            "champion": int(old.sum()),
            "challenger": int(new.sum()),
            "only_champion": only_old,
            "only_challenger": only_new,
            "significance": rules.significance,
        }
        | _rounded(p=p),
    )


def _calibration(y: Labels, champion: Floats, challenger: Floats, draws: UserDraws, rules: PromotionRules) -> Criterion:
    brier = brier_difference(y, champion, challenger, draws)
    gap = calibration_difference(y, champion, challenger, draws)
    brier_most = rules.brier_tolerance * brier.champion
    gap_most = rules.calibration_tolerance * float((y == 1).mean())
    passed = brier.high <= brier_most and gap.high <= gap_most
    return Criterion(
        "calibration",
        passed,
        f"the Brier score goes from {brier.champion:.4f} to {brier.challenger:.4f}, at worst {brier.high:+.4f} "
        f"(allowed {brier_most:+.4f}); the calibration error from {gap.champion:.4f} to {gap.challenger:.4f}, "
        f"at worst {gap.high:+.4f} (allowed {gap_most:+.4f})",
        {
            "brier": _rounded(champion=brier.champion, challenger=brier.challenger, high=brier.high, most=brier_most),
            "ece": _rounded(champion=gap.champion, challenger=gap.challenger, high=gap.high, most=gap_most),
        },
    )


def _unseen(
    y: Labels,
    champion: Floats,
    challenger: Floats,
    draws: UserDraws,
    unseen: npt.NDArray[np.bool_] | None,
    rules: PromotionRules,
) -> Criterion:
    rows = np.flatnonzero(unseen) if unseen is not None else np.zeros(0, dtype=np.intp)
    positives, users = int((y[rows] == 1).sum()), len(np.unique(draws.code[rows]))
    if positives < rules.unseen_violations or users < rules.unseen_users or positives == len(rows):
        return Criterion(
            "unseen users",
            None,
            f"not judged: {positives:,} violations of {users:,} users that neither model knew from training; "
            f"{rules.unseen_violations:,} of {rules.unseen_users:,} are needed",
            {"violations": positives, "users": users},
        )
    own = draws.take(rows, seed=rules.seed)
    found = precision_difference(y[rows], champion[rows], challenger[rows], own)
    floor = -rules.unseen_tolerance * found.champion
    passed = found.low > floor
    return Criterion(
        "unseen users",
        passed,
        f"for {own.users:,} users that neither model knew from training ({positives:,} violations), average precision "
        f"goes from {found.champion:.3f} to {found.challenger:.3f}; at worst {found.low:+.3f} "
        f"(allowed {floor:+.3f})",
        {"violations": positives, "users": own.users}
        | _rounded(champion=found.champion, challenger=found.challenger, low=found.low, high=found.high, floor=floor),
    )


def _rounded(**numbers: float) -> dict[str, float]:
    """Six decimals: the last bits of a sum may differ between processors, and the evidence must not."""
    return {name: round(float(value), 6) + 0.0 for name, value in numbers.items()}
