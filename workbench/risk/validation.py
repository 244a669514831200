"""Validation: a registered model on events that it was not made with, and the scores of any events.

On the dataset it was trained on, a model is judged on later events only. Another dataset may hold the same events under
another digest; that cannot be seen from here, so the answer says how many of its events are as old as the training's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InputError
from workbench.features import FeatureTable
from workbench.risk.metrics import Evaluation, evaluate
from workbench.risk.model import RiskModel
from workbench.risk.promotion import fitted_until
from workbench.risk.records import alerts_of, matrix, stamp
from workbench.risk.splits import held_out, tenure_days
from workbench.risk.threshold import require_budget

__all__ = ["Validation", "score_events", "validate"]

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Validation:
    """A model's metrics on a dataset. ``slices``: ``judged``, and of it ``new_users`` and, on the training dataset,
    ``unseen_users``. ``note`` says in a sentence which events were judged and why."""

    model_sha256: str
    dataset_sha256: str
    labels_sha256: str | None
    slices: Mapping[str, Evaluation]
    begin: int
    end: int
    left_out: int
    overlap: bool
    note: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "model_sha256": self.model_sha256,
            "dataset_sha256": self.dataset_sha256,
            "labels_sha256": self.labels_sha256,
            "from": stamp(self.begin),
            "to": stamp(self.end),
            "left_out": self.left_out,
            "overlap": self.overlap,
            "note": self.note,
            "slices": {name: found.as_dict() for name, found in self.slices.items()},
        }


def validate(
    model: RiskModel,
    table: FeatureTable,
    *,
    everything: bool = False,
    budget: float | None = None,
    new_days: float = 7.0,
    resamples: int = 1000,
    seed: int = 42,
) -> Validation:
    """Judge ``model`` on the labelled events of ``table``, built with the model's own feature spec.

    On the dataset of its training only events after all it was fitted on count, unless ``everything``; the result then
    says that it has seen them (``overlap``). ``budget`` (alerts a day) is the threshold's own unless given.

    Raises ``InputError`` for a table of another spec, a budget that is none, and where no labelled event is left,
    saying why.
    """
    if budget is not None:
        require_budget(budget)
    _same_spec(model, table)
    cutoff = fitted_until(model)
    same = model.origin["dataset_sha256"] == table.dataset_sha256
    old = table.time <= cutoff
    rows = np.flatnonzero(~old) if same and not everything else np.arange(len(table))
    said = table.y[rows] >= 0
    left_out = int((table.y >= 0).sum() - said.sum())
    if not said.any():
        if not (table.y >= 0).any():
            raise InputError(
                f"no event of dataset {table.dataset_sha256[:12]} has a label, so model {model.sha256[:12]} cannot be "
                "judged on it: `workbench events label` attaches labels"
            )
        raise InputError(
            f"no labelled event is left to judge model {model.sha256[:12]} on: the model was fitted on events of this "
            f"dataset up to {stamp(cutoff)}; use a dataset that reaches further, or --all to see what it says of "
            "events it knows"
        )
    if budget is None:
        budget = model.threshold.detail.get("alerts_per_day")
    parts = {"judged": rows, "new_users": rows[said & (tenure_days(table)[rows] < new_days)]}
    if same and not everything:
        first = table.time[rows] - tenure_days(table)[rows] * 86_400e6
        strangers = first > cutoff
        share = model.origin.get("holdout_users") or 0.0
        strangers |= held_out(table.users[rows], share, seed=model.origin.get("seed", 42))
        parts["unseen_users"] = rows[said & strangers]
    p = np.full(len(table), np.nan)
    p[rows] = model.predict(matrix(table, rows))
    slices = {}
    for name, part in parts.items():
        alerts = alerts_of(table.time[rows], budget) if name == "judged" and budget else None
        found = evaluate(
            table.y[part],
            p[part],
            table.users[part],
            threshold=model.threshold.value,
            alerts=alerts,
            resamples=resamples,
            seed=seed,
        )
        if found.rows:
            slices[name] = found
    return Validation(
        model_sha256=model.sha256,
        dataset_sha256=table.dataset_sha256,
        labels_sha256=table.labels_sha256,
        slices=slices,
        begin=int(table.time[rows].min()),
        end=int(table.time[rows].max()),
        left_out=left_out,
        overlap=bool(same and everything and old.any()),
        note=_note(same, everything, left_out, int(old.sum()), cutoff),
    )


def _note(same: bool, everything: bool, left_out: int, old: int, cutoff: int) -> str:
    if same and everything:
        return (
            f"{old:,} of these events are from before {stamp(cutoff)}, up to when the model was fitted on this very "
            "dataset: the numbers flatter it"
        )
    if same:
        return (
            f"only events after {stamp(cutoff)}; {left_out:,} labelled events before, on which it was fitted, are out"
        )
    if old:
        return (
            f"another dataset than the model was fitted on, but {old:,} of its events are as old as those "
            f"(up to {stamp(cutoff)}): if they are the same events, the numbers flatter the model"
        )
    return "another dataset than the model was fitted on, all of it later"


def score_events(model: RiskModel, table: FeatureTable) -> pd.DataFrame:
    """Every event of ``table`` with its probability: columns ``event_id``, ``p``, ``alert``, ``threshold``, ``model``
    and ``spec`` (both SHA-256), in event order.

    Raises ``InputError`` for a table of another feature spec than the model's.
    """
    _same_spec(model, table)
    p = model.predict(matrix(table))
    return pd.DataFrame(
        {
            "event_id": table.event_id,
            "p": p,
            "alert": p >= model.threshold.value,
            "threshold": model.threshold.value,
            "model": model.sha256,
            "spec": model.spec.sha256,
        }
    )


def _same_spec(model: RiskModel, table: FeatureTable) -> None:
    if table.spec_sha256 != model.spec.sha256:
        raise InputError(
            f"model {model.sha256[:12]} wants features of spec {model.spec.sha256[:12]}, and the table has those of "
            f"{table.spec_sha256[:12]}: build it with the model's own spec"
        )
