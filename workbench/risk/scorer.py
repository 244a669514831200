"""Scoring events as they come: features from the state, one walk through the trees, calibration, threshold.

What is served is exactly what the batch says: the same features, the same trees, the same bits. A score is always that
of one model, whole, also while the champion changes; and it names that model, its features and their values, so that
it can be computed again by somebody who doubts it.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from workbench.errors import InputError, WorkbenchError
from workbench.features import Event, FeatureState, FeatureTable
from workbench.risk.model import RiskModel
from workbench.risk.parity import PARITY, check_parity
from workbench.risk.registry import CHAMPION, Registry
from workbench.risk.score import Score, ShadowScore
from workbench.risk.version import Version
from workbench.workspace import Workspace, find_workspace

__all__ = ["Explain", "Scorer", "load_scorer"]

Explain = Callable[[RiskModel, str, Sequence[float]], Any]

_WATCH_SECONDS: Final = 1.0
_MOVING: Final = (CHAMPION, "latest")


@dataclass(frozen=True)
class _Served:
    """One model, ready: everything that a score needs of it, in one object that is swapped as one."""

    version: Version
    model: RiskModel
    threshold: float
    spec_sha256: str

    @classmethod
    def prepare(cls, version: Version) -> "_Served":
        """Read the model and let it say its parity vectors again, which also warms it up: the first call compiles.

        Raises ``InputError`` for a model that can only be used in batch, and what ``Version`` raises.
        """
        model = version.model
        if model.spec.extra:
            names = ", ".join(name for name, _ in model.spec.extra)
            raise InputError(
                f"model {version.name} uses features of one's own ({names}), which are computed in batch only: "
                f"use `workbench score DATASET --model {version.name}`"
            )
        if PARITY in version.manifest["files"]:
            check_parity(model, version.file(PARITY), what=f"model {version.name}")
        model.predict_one(np.zeros(len(model.spec.columns)))
        return cls(version, model, model.threshold.value, model.spec.sha256)


_locks: WeakKeyDictionary[FeatureState, threading.Lock] = WeakKeyDictionary()
_locks_guard = threading.Lock()


def _lock_of(state: FeatureState) -> threading.Lock:
    """The one lock of ``state``, whoever scores with it."""
    with _locks_guard:
        return _locks.setdefault(state, threading.Lock())


class Scorer:
    """A model and the state of its features. For many threads at once, as long as each user's events come in order.

    ``state`` begins empty unless given: then every user is new. ``FeatureState.replay(dataset, labels, spec=...)``
    makes one that knows the past. ``shadow`` names a challenger that scores along. ``log`` is called with each score
    (see ``workbench.risk.scorelog``). When ``reference`` is ``champion`` or ``latest``, the scorer notices within
    ``watch`` seconds that it moved, loads the new model aside and swaps; what cannot be loaded is told in ``trouble``,
    and the old model stays. ``watch=None`` leaves that to ``refresh``.

    Raises ``InputError`` if the model cannot be used online, or wants other features than ``state`` keeps; what
    ``Registry.open`` raises.
    """

    def __init__(
        self,
        registry: Registry,
        reference: str = CHAMPION,
        *,
        state: FeatureState | None = None,
        shadow: str | None = None,
        log: Callable[[Score], object] | None = None,
        explain: Explain | None = None,
        watch: float | None = _WATCH_SECONDS,
    ) -> None:
        self.reference = reference
        self.shadow_reference = shadow
        self.trouble: str | None = None
        self._registry = registry
        self._log = log
        self._explain = explain or _explain_event
        self._watch = watch if {reference, shadow} & set(_MOVING) else None
        self._next_look = 0.0
        self._refreshing = threading.Lock()
        self._refresher: threading.Thread | None = None
        self._stamp = self._ledger_stamp()
        served = _Served.prepare(registry.open(reference))
        self.state = FeatureState(served.model.spec) if state is None else state
        self._state_lock = _lock_of(self.state)
        self._serving = (served, self._prepare_shadow())
        self._require_state(served)
        if self._serving[1] is not None:
            self._require_state(self._serving[1])

    def _prepare_shadow(self) -> _Served | None:
        return None if self.shadow_reference is None else _Served.prepare(self._registry.open(self.shadow_reference))

    def _require_state(self, served: _Served) -> None:
        if served.spec_sha256 != self.state.spec.sha256:
            raise InputError(
                f"model {served.version.name} takes other features ({served.spec_sha256[:12]}) than the state keeps "
                f"({self.state.spec.sha256[:12]}): replay the state with the model's own spec and load a new scorer"
            )

    @property
    def version(self) -> Version:
        """The model that decides now."""
        return self._serving[0].version

    @property
    def shadow(self) -> Version | None:
        """The model that scores along, if any."""
        shadow = self._serving[1]
        return None if shadow is None else shadow.version

    # Scoring

    def predict(self, event: Event | Mapping[str, Any]) -> Score:
        """Score ``event``, then let it become part of its user's past. Mappings are read by ``Event.of``."""
        if not isinstance(event, Event):
            event = Event.of(event)
        with self._state_lock:
            vector = self.state.update(event)
        return self.score(event.event_id, vector)

    def peek(self, event: Event | Mapping[str, Any]) -> Score:
        """As ``predict``, with nothing changed and nothing logged."""
        if not isinstance(event, Event):
            event = Event.of(event)
        with self._state_lock:
            vector = self.state.peek(event)
        return self._scored(event.event_id, vector)

    def learn(self, user: str, event_id: str, known_us: int) -> None:
        """It became known at ``known_us`` (µs UTC) that this event was a violation: see ``FeatureState.learn``."""
        with self._state_lock:
            self.state.learn(user, event_id, known_us)

    def score(self, event_id: str, vector: Sequence[float]) -> Score:
        """Score features (k,) that were computed elsewhere. Raises ``InputError`` for another number of them."""
        if self._watch is not None and (now := time.monotonic()) >= self._next_look:
            self._look(now + self._watch)
        score = self._scored(event_id, vector)
        if self._log is not None:
            self._log(score)
        return score

    def _scored(self, event_id: str, vector: Sequence[float]) -> Score:
        served, shadow = self._serving  # once: both stay the same for this score, whatever happens meanwhile
        row = np.array(vector, dtype=np.float64)
        p = served.model.predict_one(row)
        kept = tuple(vector)
        return Score(
            event_id,
            p,
            p >= served.threshold,
            served.threshold,
            served.version.sha256,
            served.version.number,
            served.spec_sha256,
            kept,
            None if shadow is None else _shadowed(shadow, row),
            partial(self._explain, served.model, event_id, kept),
        )

    def score_batch(self, table: FeatureTable) -> pd.DataFrame:
        """The scores of a table with the model that decides now, as ``score_events`` gives them; equal to ``predict``.

        The state does not change. Raises ``InputError`` if the table was built with another feature spec.
        """
        from workbench.risk.validation import score_events

        return score_events(self._serving[0].model, table)

    # Following the alias

    def refresh(self) -> bool:
        """Load what ``reference`` (and ``shadow``) point to now, and swap if that is another model; whether it did.

        Scores go on meanwhile with the old one. Raises what the constructor raises, and then the old one stays.
        """
        with self._refreshing:
            old, old_shadow = self._serving
            self._stamp = self._ledger_stamp()
            version = self._registry.open(self.reference)
            new = old if version.sha256 == old.version.sha256 else _Served.prepare(version)
            self._require_state(new)
            shadow = old_shadow
            if self.shadow_reference is not None and old_shadow is not None:
                version = self._registry.open(self.shadow_reference)
                shadow = old_shadow if version.sha256 == old_shadow.version.sha256 else _Served.prepare(version)
                self._require_state(shadow)
            self._serving = (new, shadow)
            self.trouble = None
            return (new, shadow) != (old, old_shadow)

    def _ledger_stamp(self) -> tuple[int, int, int] | None:
        """What changes with each entry of the ledger, for the price of one look at a file's metadata."""
        try:
            status = (self._registry.workspace.ledger / "frontier.json").stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _look(self, next_look: float) -> None:
        self._next_look = next_look
        if self._ledger_stamp() == self._stamp or (self._refresher is not None and self._refresher.is_alive()):
            return
        self._refresher = threading.Thread(target=self._refresh_aside, name="scorer-refresh", daemon=True)
        self._refresher.start()

    def _refresh_aside(self) -> None:
        try:
            self.refresh()
        except WorkbenchError as error:
            self.trouble = str(error)


def _shadowed(shadow: _Served, row: Any) -> ShadowScore:
    p = shadow.model.predict_one(row)
    return ShadowScore(p, p >= shadow.threshold, shadow.threshold, shadow.version.sha256, shadow.version.number)


def _explain_event(model: RiskModel, event_id: str, vector: Sequence[float]) -> Any:
    from workbench.risk.explain import explain_event

    return explain_event(model, event_id, vector)


def _folder(given: Path | str | None) -> Path | None:
    # An empty text is a setting that was not made, and no wish for the folder that happens to be the current one.
    if given == "":
        raise InputError("workspace='': expected a Workspace or the path of its folder")
    return None if given is None else Path(given)


_scorers: dict[tuple[Workspace, str], Scorer] = {}
_scorers_guard = threading.Lock()


def load_scorer(
    reference: str = CHAMPION,
    *,
    workspace: Workspace | Path | str | None = None,
    state: FeatureState | None = None,
    **options: Any,
) -> Scorer:
    """The scorer of ``reference`` (``champion``, ``latest``, ``v3`` ...) in ``workspace``: one, its folder, or, unless
    given, the one found from here.

    Made once in a process and then shared, unless ``state`` or other ``options`` of ``Scorer`` are given: then a new
    one is made, and shared from then on.

    Raises ``WorkspaceError`` for a folder that is no workspace, and what ``Scorer`` raises.
    """
    if not isinstance(workspace, Workspace | Path | str | None):
        raise InputError(f"workspace={workspace!r}: expected a Workspace or the path of its folder")
    place = workspace if isinstance(workspace, Workspace) else find_workspace(_folder(workspace))
    with _scorers_guard:
        found = _scorers.get((place, reference))
        if found is None or state is not None or options:
            found = _scorers[place, reference] = Scorer(Registry(place), reference, state=state, **options)
        return found
