"""The rules of promotion and drift, tried where the truth is known: how often does each decide wrongly?

A rule that decides about models is an instrument too. Here it judges simulated models of known quality.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binomtest

from workbench.risk.criteria import PromotionRules, judge
from workbench.risk.f1 import f1_from_counts

__all__ = ["Rate", "simulated_counts", "simulated_scores", "try_drift_rule", "try_promotion"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rate:
    """How often something happened, with its exact 95 % interval (Clopper and Pearson, 1934)."""

    count: int
    trials: int

    @property
    def value(self) -> float:
        return self.count / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """
        >>> low, high = Rate(5, 100).interval
        >>> f"{low:.3f} {high:.3f}"
        '0.016 0.113'
        """
        found = binomtest(self.count, self.trials).proportion_ci(0.95)
        return float(found.low), float(found.high)


def simulated_scores(
    rng: np.random.Generator, *, strength: tuple[float, ...], users: int = 150, events: int = 40, rate: float = 0.035
) -> tuple[Labels, Ints, list[Floats]]:
    """Labels, users, and one calibrated score for each ``strength``: normal, further up by ``strength`` where y = 1.

    Users differ in their rate and share a part of their noise; two scores share half of theirs. ``events`` is how many
    each of ``users`` has. All arrays have shape (users * events,).
    """
    user = np.repeat(np.arange(users), events)
    odds = np.log(rate / (1 - rate))
    y = (rng.random(len(user)) < 1 / (1 + np.exp(-odds - 0.6 * rng.normal(size=users)[user] + 0.18))).astype(np.int8)
    common = rng.normal(size=len(user))

    def score(mu: float) -> Floats:
        own = np.sqrt(0.8) * rng.normal(size=len(user)) + np.sqrt(0.2) * rng.normal(size=users)[user]
        s = mu * y + np.sqrt(0.5) * (common + own)
        return np.asarray(1 / (1 + np.exp(-(odds + mu * s - mu**2 / 2))), dtype=np.float64)

    return y, user, [score(mu) for mu in strength]


def try_promotion(
    trials: int,
    *,
    champion: float = 1.5,
    challenger: float = 1.5,
    resamples: int = 300,
    first_seed: int = 0,
    progress: Callable[[int], None] = lambda trial: None,
) -> Rate:
    """How often a challenger takes over. Equal strengths: every time is a false promotion, by luck alone.

    >>> try_promotion(2, challenger=3.0, resamples=100).count
    2
    """
    count = 0
    for trial in range(trials):
        y, user, (one, other) = simulated_scores(
            np.random.default_rng(first_seed + trial), strength=(champion, challenger)
        )
        rules = PromotionRules(resamples=resamples, seed=trial)
        found = judge(y, one, other, user, alerts=300, unseen=user < 40, rules=rules)
        count += all(criterion.passed is not False for criterion in found)
        progress(trial)
    return Rate(count, trials)


def simulated_counts(
    rng: np.random.Generator,
    violations: int,
    trials: int,
    *,
    kept: float = 1.0,
    recall: float = 0.6,
    precision: float = 0.5,
) -> tuple[Floats, Floats, Floats]:
    """tp, fp, fn of ``trials`` windows, shape (trials,): tp is binomial, fp Poisson; ``kept`` scales both rates."""
    recall, precision = recall * kept, precision * kept
    tp = rng.binomial(violations, recall, trials).astype(np.float64)
    fp = rng.poisson(violations * recall * (1 - precision) / precision, trials).astype(np.float64)
    return tp, fp, violations - tp


def try_drift_rule(
    violations: tuple[int, ...] = (50, 100, 200, 500, 1000),
    *,
    trials: int = 20_000,
    reference: int = 1_000,
    share: float = 0.95,
    seed: int = 42,
) -> pd.DataFrame:
    """Alarms of the plain rule (F1 below ``share`` of the reference) and of the one with an interval.

    One row for each number of ``violations``: ``half_width`` of F1's 95 % interval relative to F1, ``plain_alarm`` and
    ``rule_alarm`` when nothing changed, ``detects_10`` and ``detects_20`` where precision and recall fell by 10 and
    20 %; all shares of ``trials``. The reference is estimated too, on ``reference`` violations.

    >>> list(try_drift_rule((200,), trials=100).columns)
    ['violations', 'half_width', 'plain_alarm', 'rule_alarm', 'detects_10', 'detects_20']
    """
    rows = []
    for many in violations:
        rng = np.random.default_rng([seed, many])
        known, _ = f1_from_counts(*simulated_counts(rng, reference, trials))
        line = share * known
        f1, upper = f1_from_counts(*simulated_counts(rng, many, trials))
        fallen = [f1_from_counts(*simulated_counts(rng, many, trials, kept=kept))[1] < line for kept in (0.9, 0.8)]
        rows.append(
            {
                "violations": many,
                "half_width": float(1.96 * f1.std() / f1.mean()),
                "plain_alarm": float((f1 < line).mean()),
                "rule_alarm": float((upper < line).mean()),
                "detects_10": float(fallen[0].mean()),
                "detects_20": float(fallen[1].mean()),
            }
        )
    return pd.DataFrame(rows)
