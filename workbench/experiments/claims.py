"""Claims: sentences written down before the run, each bound to a value and an expectation.

An expectation is one of

    >= 0.80              a bound (also >, <=, <, ==)
    0.70 .. 0.90         a range, both ends included
    > prevalence         another value of the same run
    >= 2 * prevalence    a multiple of it

and the value may be one end of its interval: ``roc_auc.low``.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pydantic import Field, field_validator

from workbench.documents import Strict
from workbench.errors import nearest

__all__ = ["Claim", "Expectation", "Outcome", "Verdict", "judge"]

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NAME: Final = r"[A-Za-z_]\w*(?:\.(?:low|high))?"
_RANGE: Final = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})")
_COMPARISON: Final = re.compile(rf"(>=|<=|==|>|<)\s*(?:({_NUMBER})|(?:({_NUMBER})\s*\*\s*)?({_NAME}))")


class Outcome(StrEnum):
    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Expectation:
    """What a claim's value must be: ``text`` as written, and the names of other values it refers to.

    >>> Expectation.parse(">= 0.8").holds(0.85, {})
    True
    >>> Expectation.parse("> 2 * prevalence").holds(0.3, {"prevalence": 0.2})
    False
    >>> Expectation.parse("about 0.8")
    Traceback (most recent call last):
    ...
    ValueError: 'about 0.8' is not an expectation: write e.g. '>= 0.80', '0.70 .. 0.90' or '> other_value'
    """

    text: str
    names: tuple[str, ...]
    holds: Callable[[float, Mapping[str, float]], bool]

    @classmethod
    def parse(cls, text: str) -> "Expectation":
        text = text.strip()
        if match := _RANGE.fullmatch(text):
            low, high = float(match[1]), float(match[2])
            if low > high:
                raise ValueError(f"the range {text!r} is empty")
            return cls(text, (), lambda value, others: low <= value <= high)
        if match := _COMPARISON.fullmatch(text):
            compare, factor, name = _OPERATORS[match[1]], float(match[3] or 1), match[4]
            if name is None:
                bound = float(match[2])
                return cls(text, (), lambda value, others: compare(value, bound))
            return cls(text, (name,), lambda value, others: compare(value, factor * others[name]))
        raise ValueError(f"{text!r} is not an expectation: write e.g. '>= 0.80', '0.70 .. 0.90' or '> other_value'")


class Claim(Strict):
    """One claim of an experiment."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="Short name, e.g. beats-chance")
    sentence: str = Field(min_length=1, description="The sentence as the dissertation will say it")
    value: str = Field(pattern=rf"^{_NAME}$", description="Name of the recorded value, or NAME.low / NAME.high")
    expect: str = Field(description="'>= 0.80', '0.70 .. 0.90', '> other_value', '>= 2 * other_value'")
    tolerance: float = Field(0.0, ge=0, description="How far a re-execution may differ (absolute)")

    @field_validator("expect")
    @classmethod
    def _parses(cls, text: str) -> str:
        Expectation.parse(text)
        return text


@dataclass(frozen=True)
class Verdict:
    """A claim's outcome. ``value`` is the number it was judged by, ``compared`` the values that it was compared with;
    ``reason`` says why it was not tested."""

    claim: Claim
    outcome: Outcome
    value: float | None = None
    reason: str = ""
    compared: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.claim.model_dump(),
            "outcome": self.outcome.value,
            "measured": self.value,
            "reason": self.reason,
            "compared": self.compared,
        }


def judge(claim: Claim, values: Mapping[str, Mapping[str, Any]], *, completed: bool) -> Verdict:
    """Judge ``claim`` by the recorded ``values`` (name to payload of ``record``).

    A run that did not complete tests nothing, even where the value was recorded before it ended.
    """
    if not completed:
        return Verdict(claim, Outcome.NOT_TESTED, reason="the run did not complete")
    expectation = Expectation.parse(claim.expect)
    found: dict[str, float] = {}
    for reference in (claim.value, *expectation.names):
        name, _, end = reference.partition(".")
        if name not in values:
            return Verdict(claim, Outcome.NOT_TESTED, reason=f"no value {name!r} was recorded{nearest(name, values)}")
        number = values[name].get(end or "value")
        if number is None and end:
            return Verdict(claim, Outcome.NOT_TESTED, reason=f"{name!r} was recorded without an interval")
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            return Verdict(claim, Outcome.NOT_TESTED, reason=f"{reference!r} is not a number")
        found[reference] = float(number)
    value = found[claim.value]
    outcome = Outcome.SUPPORTED if expectation.holds(value, found) else Outcome.NOT_SUPPORTED
    return Verdict(claim, outcome, value, compared={name: found[name] for name in expectation.names})
