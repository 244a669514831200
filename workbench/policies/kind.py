"""Policies as what is decided on: what the lifecycle asks of them, and exactly what a reviewer is shown.

``PolicyKind`` has the shape that the lifecycle asks of a kind of subject; it is given the lifecycle's own class for a
subject and knows nothing else of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from workbench.clock import Clock
from workbench.errors import InputError, IntegrityError, MalformedError
from workbench.policies.backtest import Backtest
from workbench.policies.controls import controls_of
from workbench.policies.difference import compare
from workbench.policies.policy import check_policy
from workbench.policies.store import PolicyStore, PolicyVersion
from workbench.policies.words import conditions, describe
from workbench.workspace import Workspace

__all__ = ["PolicyKind", "kept_backtests", "shown"]

FORMAT_VERSION: Final = 1


class _Subject(Protocol):
    """What is read of a subject."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def sha256(self) -> str: ...


Subject = TypeVar("Subject", bound=_Subject)
Made_co = TypeVar("Made_co", bound=_Subject, covariant=True)


class _Maker(Protocol[Made_co]):
    """The class of a subject, as it is called."""

    def __call__(self, kind: str, name: str, version: int, sha256: str, authors: tuple[str, ...]) -> Made_co: ...


class PolicyKind(Generic[Subject]):
    """The policies of a workspace, for the lifecycle. ``subject`` is the lifecycle's class for what is decided on."""

    kind = "policy"

    def __init__(self, workspace: Workspace, subject: _Maker[Subject], *, clock: Clock | None = None) -> None:
        self.workspace = workspace
        self.store = PolicyStore(workspace, clock=clock)
        self._subject = subject

    def find(self, reference: str) -> Subject:
        """The subject that ``NAME@2``, ``NAME`` or the beginning of a digest names. Raises as ``PolicyStore.open``."""
        return self._made(self.store.open(reference))

    def subjects(self) -> Iterable[Subject]:
        """Every version of every policy."""
        return [self._made(version) for several in self.store.versions().values() for version in several]

    def objections(self, subject: Subject) -> Sequence[str]:
        """Why it is not fit to be submitted or approved, a clause each: no known control, an invalid expression."""
        try:
            version = self.version(subject)
            return check_policy(version.policy, controls_of(self.workspace))
        except (IntegrityError, MalformedError, InputError) as error:
            return [str(error)]

    def shown(self, subject: Subject, active: Subject | None) -> Mapping[str, Any]:
        """What a reviewer is shown of ``subject``, beside the version in use, with the newest backtest that is kept of
        just these two. The digest of it is what an approval signs."""
        known = self.store.versions()
        version = self.version(subject, known)
        against = None if active is None else self.version(active, known)
        kept = kept_backtests(self.workspace, version, against)
        return shown(version, against, next(kept, None), controls_of(self.workspace))

    def decided(self, decision: Any, *, signer: Any, transaction: Any) -> None:
        """Nothing else follows from a decision on a policy: which one is in use is a view over the decisions."""

    def version(self, subject: Subject, known: Mapping[str, Sequence[PolicyVersion]] | None = None) -> PolicyVersion:
        """The stored version; ``known`` is what the store said just now. Raises ``IntegrityError`` if it is not the one
        that ``subject`` names by its digest."""
        version = self.store.open(f"{subject.name}@{subject.version}", known)
        if version.sha256 != subject.sha256:
            raise IntegrityError(f"policy {version} is {version.sha256[:12]}, not {subject.sha256[:12]} as was said")
        return version

    def _made(self, version: PolicyVersion) -> Subject:
        return self._subject(self.kind, version.name, version.number, version.sha256, version.authors)


def shown(
    version: PolicyVersion, against: PolicyVersion | None, backtest: Backtest | None, controls: Mapping[str, str]
) -> dict[str, Any]:
    """Exactly what a reviewer is shown, as JSON: the policy whole, in plain words, what changed, and what it would have
    done. ``controls`` are those known, for their titles.

    Raises ``InputError`` for a backtest of another policy, or against another one.
    """
    if backtest is not None:
        tried, other = backtest.content["policy"], backtest.content["against"]
        wanted = (version.sha256, None if against is None else against.sha256)
        if (tried["sha256"], None if other is None else other["sha256"]) != wanted:
            told = "no other version" if against is None else str(against)
            raise InputError(f"the backtest {backtest.sha256[:12]} is not one of {version} against {told}")
    policy = version.policy
    difference = None
    if against is not None:
        names = {"old_name": str(against), "new_name": str(version)}
        difference = compare(against.policy, policy, **names).as_dict()
    return {
        "format": FORMAT_VERSION,
        "policy": policy.content,
        "authors": list(version.authors),
        "controls": {name: controls.get(name, "not in any catalogue") for name in policy.content["controls"]},
        "words": describe(policy.parsed),
        "conditions": list(conditions(policy.parsed)),
        "against": None
        if against is None
        else {"version": against.number, "sha256": against.sha256, "policy": against.policy.content},
        "difference": difference,
        "backtest": None
        if backtest is None
        else {
            "sha256": backtest.sha256,
            "dataset": backtest.content["dataset"],
            "labels": backtest.content["labels"],
            "headline": backtest.headline,
        },
    }


def kept_backtests(workspace: Workspace, version: PolicyVersion, against: PolicyVersion | None) -> Iterator[Backtest]:
    """The kept backtests of just this version against just that one, the newest first; damaged ones are passed over."""
    home = workspace.data / "backtests"
    paths = sorted(home.glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    wanted = (version.sha256, None if against is None else against.sha256)
    for path in paths:
        try:
            found = Backtest.open(workspace, path.stem)
        except (IntegrityError, MalformedError, InputError):
            continue
        other = found.content["against"]
        if (found.content["policy"]["sha256"], None if other is None else other["sha256"]) == wanted:
            yield found
