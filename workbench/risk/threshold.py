"""Thresholds: from which probability on an event becomes an alert, and by which rule that was chosen."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError, MalformedError, nearest
from workbench.features.definitions import DAY_US

__all__ = ["RULES", "Rule", "Threshold", "choose", "require_budget"]

Rule = Literal["budget", "cost", "f1"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Threshold:
    """An event is an alert when its probability is ``value`` or more.

    ``value`` is above 1 when nothing may be an alert. ``rule`` chose it; ``detail`` says what the rule was given and
    what came of it on the rows it was chosen on.

    >>> Threshold(0.5, "f1", {}).is_alert(0.5)
    True
    """

    value: float
    rule: Rule
    detail: dict[str, Any]

    def is_alert(self, p: float) -> bool:
        """Whether probability ``p`` reaches the threshold."""
        return p >= self.value

    def as_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads back."""
        return {"value": self.value, "rule": self.rule, "detail": dict(self.detail)}

    @classmethod
    def from_dict(cls, content: Any) -> "Threshold":
        """Read ``as_dict``'s form; nothing more and nothing less is accepted.

        Raises ``MalformedError`` naming what is wrong.
        """
        if not isinstance(content, Mapping) or set(content) != {"value", "rule", "detail"}:
            raise MalformedError("a threshold has exactly value, rule and detail")
        value, rule, detail = content["value"], content["rule"], content["detail"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= float(value) <= 2.0:
            raise MalformedError(f"a threshold's value is a number from 0 to 2, not {value!r}")
        if rule not in RULES:
            raise MalformedError(f"a threshold's rule is one of {', '.join(RULES)}, not {rule!r}")
        if not isinstance(detail, Mapping) or not all(isinstance(name, str) for name in detail):
            raise MalformedError("a threshold's detail is an object with names")
        return cls(float(value), cast(Rule, rule), dict(detail))


def choose(
    p: Floats,
    y: Labels,
    time: npt.NDArray[np.int64],
    rule: Rule,
    *,
    budget: float | None = None,
    cost_miss: float | None = None,
    cost_alarm: float | None = None,
) -> Threshold:
    """Choose a threshold on rows kept for that, by one of three rules.

    ``p``: shape (n,), calibrated probabilities. ``y``: shape (n,), 1 for a violation, 0 for none, -1 where nobody has
    said; such rows can raise alerts and so use the budget, but count as neither hit nor false alarm. ``time``: shape
    (n,), microseconds.

    ``budget``: the lowest threshold that raises at most ``budget`` alerts a day on average over the span of ``time``.
    ``cost``: the least ``cost_miss`` x misses + ``cost_alarm`` x false alarms (Elkan, The foundations of
    cost-sensitive learning, IJCAI 2001; here counted on the rows, not derived from p, so it holds even where p is not
    well calibrated). ``f1``: the highest F1.

    Only probabilities that occur can be thresholds, and rows of one probability are alerts together or not at all;
    of several thresholds as good, the highest is taken: fewer alerts for the same worth.

    Raises ``InputError`` when the rule's own numbers are missing, and when ``cost`` or ``f1`` have no violation to
    go by.

    >>> p, y = np.array([.9, .8, .8, .1]), np.array([1, 0, 1, 0], dtype=np.int8)
    >>> day = np.array([0, 0, 0, 86_400_000_000])
    >>> choose(p, y, day, "f1").value, choose(p, y, day, "budget", budget=2).value
    (0.8, 0.9)
    """
    if rule not in RULES:
        raise InputError(f"no threshold rule {rule!r}{nearest(rule, RULES)}")
    if len(p) == 0:
        raise InputError("a threshold cannot be chosen on no rows: give it a longer slice")
    counts = _count(p, y)
    days = float(time.max() - time.min()) / DAY_US
    if rule == "budget":
        if budget is None or not budget > 0:
            raise InputError(f"the rule 'budget' needs the alerts a day, a number above 0, not {budget!r}")
        allowed = math.floor(budget * days)
        best = int(np.searchsorted(counts.alerts, allowed, side="right")) - 1
        given = {"alerts_per_day": float(budget), "alerts_allowed": allowed}
    else:
        if counts.positives == 0:
            raise InputError(
                f"the rule {rule!r} needs violations in the threshold slice; there is none among {len(p):,}"
            )
        if rule == "cost":
            miss, alarm = _cost("a miss", cost_miss), _cost("a false alarm", cost_alarm)
            cost = miss * (counts.positives - counts.hits) + alarm * counts.false
            best = int(np.argmin(cost))
            given = {"cost_miss": miss, "cost_alarm": alarm, "cost": float(cost[best])}
        else:
            f1 = 2 * counts.hits / (counts.hits + counts.false + counts.positives)
            best = int(np.argmax(f1))
            given = {"f1": float(f1[best])}
    return Threshold(float(counts.value[best]), rule, given | counts.told(best) | {"days": days})


def require_budget(budget: float) -> None:
    """Raise ``InputError`` unless ``budget`` is a possible number of alerts a day."""
    if not 0 < budget < math.inf:
        raise InputError(f"the budget is a number of alerts a day above 0, not {budget:g}")


@dataclass(frozen=True)
class _Counts:
    """What each possible threshold would do, the highest (no alert at all) first; arrays of one length."""

    value: Floats
    alerts: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    false: npt.NDArray[np.int64]
    rows: int
    positives: int

    def told(self, at: int) -> dict[str, Any]:
        """The chosen one in numbers. ``next_alerts``: how many alerts the next lower threshold would raise."""
        return {
            "rows": self.rows,
            "positives": self.positives,
            "alerts": int(self.alerts[at]),
            "hits": int(self.hits[at]),
            "false_alarms": int(self.false[at]),
            "next_alerts": int(self.alerts[at + 1]) if at + 1 < len(self.alerts) else None,
        }


def _count(p: Floats, y: Labels) -> _Counts:
    order = np.argsort(-p, kind="stable")
    p, y = p[order], y[order]
    last = np.flatnonzero(np.r_[p[1:] != p[:-1], True])
    hits, false = np.cumsum(y == 1)[last], np.cumsum(y == 0)[last]
    # Above the highest probability there is one more threshold: the one that no row reaches.
    return _Counts(
        value=np.r_[np.nextafter(p[0], np.inf), p[last]],
        alerts=np.r_[0, last + 1],
        hits=np.r_[0, hits],
        false=np.r_[0, false],
        rows=len(p),
        positives=int((y == 1).sum()),
    )


def _cost(of: str, value: float | None) -> float:
    if value is None or not 0 < value < math.inf:
        raise InputError(f"the rule 'cost' needs the cost of {of}, a number above 0, not {value!r}")
    return float(value)
