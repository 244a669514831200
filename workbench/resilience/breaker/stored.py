"""A breaker's state as a JSON object, and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from workbench.errors import InputError
from workbench.resilience.breaker.settings import BreakerSettings
from workbench.resilience.breaker.state import BreakerState, Probe, State, begun

__all__ = ["read", "write"]

_VERSION: Final = 1
_NUMBERS: Final = (
    "generation",
    "failures",
    "successes",
    "issued",
    "opened_ns",
    "open_for_ns",
    "openings",
    "since_ns",
    "opened_since_ns",
)


def write(state: State) -> dict[str, Any]:
    """Everything but the window of the last calls."""
    return {
        "version": _VERSION,
        "state": state.kind.value,
        **{name: getattr(state, name) for name in _NUMBERS},
        "probes": [[probe.number, probe.started_ns] for probe in state.probes],
        "last_error": state.last_error,
    }


def read(record: Mapping[str, Any], settings: BreakerSettings, now_ns: int) -> State:
    """The state that ``write`` wrote; times after ``now_ns`` are taken for over. Raises ``InputError``."""
    try:
        if set(record) != {"version", "state", *_NUMBERS, "probes", "last_error"} or record["version"] != _VERSION:
            raise ValueError("its fields are others")
        kind = BreakerState(record["state"])
        numbers = {name: _whole(record[name]) for name in _NUMBERS}
        probes = tuple(Probe(_whole(number), _whole(started_ns)) for number, started_ns in record["probes"])
        last_error = record["last_error"]
        if not isinstance(last_error, str):
            raise ValueError("last_error is no text")
    except (TypeError, ValueError) as error:
        raise InputError(f"this is not the state of a breaker, as save() gives it: {error}") from error
    numbers["open_for_ns"] = min(numbers["open_for_ns"], settings.max_timeout_ns)
    if numbers["opened_ns"] > now_ns:
        numbers["opened_ns"], numbers["open_for_ns"] = now_ns, 0
    first = begun(kind, numbers.pop("generation"), settings, failures=numbers.pop("failures"), last_error=last_error)
    alive = tuple(probe for probe in probes if probe.started_ns <= now_ns)
    return replace(first, probes=alive, **numbers)  # type: ignore[arg-type]


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is no whole number")
    return value
