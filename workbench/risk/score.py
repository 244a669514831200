"""What is said of an event, and everything that is needed to say it again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Score", "ShadowScore"]


@dataclass(frozen=True, slots=True)
class ShadowScore:
    """What a challenger would have said of the same event. It decided nothing."""

    p: float
    decision: bool
    threshold: float
    model_sha256: str
    version: int


@dataclass(frozen=True, slots=True)
class Score:
    """What was served for one event.

    ``p``: calibrated probability of a violation. ``decision``: whether it is an alert (``p >= threshold``). ``vector``
    (k,): the features it was computed from, in the order of the model's spec. ``explain()`` gives the reasons; it takes
    milliseconds, so it is done only when asked for.
    """

    event_id: str
    p: float
    decision: bool
    threshold: float
    model_sha256: str
    version: int
    spec_sha256: str
    vector: tuple[float, ...]
    shadow: ShadowScore | None = None
    explain: Callable[[], Any] = field(default=lambda: None, repr=False, compare=False)
