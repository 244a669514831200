"""Trying a policy on past events from a page: with the champion's scores where it speaks of risk, and what to mind."""

from collections.abc import Callable

from workbench.errors import InputError, NotFoundError
from workbench.events import list_datasets, open_dataset
from workbench.policies import Backtest, PolicyVersion, backtest, scores_of
from workbench.risk import Registry, Version
from workbench.workspace import Workspace

__all__ = ["cautions_of", "datasets_of", "try_policy"]


def datasets_of(workspace: Workspace) -> list[str]:
    """Names of datasets, or the beginning of their digests."""
    return [
        reference
        for digest, names in list_datasets(workspace).items()
        for reference in (sorted(names)[:1] or [digest[:12]])
    ]


def try_policy(
    version: PolicyVersion,
    against: PolicyVersion | None,
    dataset: str,
    registry: Registry,
    *,
    progress: Callable[[str], None],
) -> Backtest:
    """What ``version`` would have done on a dataset, beside ``against``, kept. Risk is given by the champion.

    Raises ``InputError`` if that cannot be told, ``NotFoundError`` if it needs a champion and there is none.
    """
    scorer = None
    if any(one.policy.parsed.needs_risk for one in (version, against) if one is not None):
        scorer = _champion(registry)
    workspace = registry.workspace
    opened = open_dataset(workspace, dataset)
    said = opened.labels() if opened.chosen is not None or opened.label_sets() else None
    risk = None if scorer is None else scores_of(scorer, opened, said, progress=progress)
    found = backtest(version, opened, against=against, labels=said, risk=risk, progress=progress)
    found.save(workspace)
    return found


def cautions_of(tried: Backtest | None, registry: Registry) -> tuple[str, ...]:
    """Of a backtest that used scores: which model gave them, and what to mind with that, a clause each."""
    if tried is None or (risk := tried.content["risk"]) is None:
        return ()
    champion, model, until = registry.pointed(), risk["model"], risk["learnt_until"]
    found = [f"risk was given by model {_name(registry, model)}, the one in use"]
    if champion != model:
        now = "no model is in use now" if champion is None else f"in use is now {registry.find('champion').name}"
        found = [f"risk was given by model {_name(registry, model)}, and {now}: with another it may come out otherwise"]
    if until and until[:10] >= tried.content["first"][:10]:
        found.append(f"that model has learnt from events until {until[:10]}: on those it looks better than it will be")
    return tuple(found)


def _champion(registry: Registry) -> Version:
    try:
        return registry.open("champion")
    except NotFoundError as error:
        raise NotFoundError(
            "this policy speaks of risk, and no model is in use that could give it: a model must be approved first"
        ) from error


def _name(registry: Registry, sha256: str) -> str:
    try:
        return registry.find(sha256).name
    except InputError:
        return sha256[:12]
