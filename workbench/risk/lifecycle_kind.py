"""Models as what is decided on: what the lifecycle asks of them, what a reviewer is shown, and how the alias follows.

A model's subject is ``model:risk@3`` for version 3. Where people are enrolled, an approval is the only way for the
alias ``champion`` to come to a model, and a retirement the only way for it to leave one without another.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from workbench.custody import Custody
from workbench.errors import InputError, IntegrityError, MalformedError, NotFoundError, WorkbenchError
from workbench.evidence.strict import read_object
from workbench.features import FeatureState
from workbench.files import sha256_file
from workbench.lifecycle import State, Subject
from workbench.risk.comparisons import Comparison, accepted, kept_comparisons, repeat
from workbench.risk.parity import PARITY, check_parity
from workbench.risk.registry import Registry
from workbench.risk.version import MODEL, Version

if TYPE_CHECKING:
    from workbench.evidence.keys import Signer
    from workbench.ledger import Transaction
    from workbench.lifecycle import Decision

__all__ = ["MODEL_NAME", "ModelKind", "champion_problems"]

MODEL_NAME: Final = "risk"
FORMAT_VERSION: Final = 1
_OF_CARD: Final = (
    "plain",
    "threshold",
    "calibration",
    "data",
    "limits",
    "outside",
)  # sections that reviewers are shown


class ModelKind:
    """The models of a workspace, for the lifecycle."""

    kind = "model"

    def __init__(self, custody: Custody) -> None:
        self.registry = Registry(custody.workspace, clock=custody.clock)
        self._repeated: dict[str, str] = {}  # comparisons that were made again here: what spoke against each

    def find(self, reference: str) -> Subject:
        """The subject that ``v3``, ``risk@3``, ``champion``, ``latest`` or the beginning of a digest names.

        Raises ``NotFoundError`` if there is none, ``InputError`` if there are several.
        """
        name, at, number = reference.partition("@")
        if at and (name != MODEL_NAME or not number.isdecimal()):
            raise NotFoundError(f"{reference[:80]!a} names no model: expected one like v3 or {MODEL_NAME}@3")
        return self._made(self.registry.find(f"v{number}" if at else reference))

    def subjects(self) -> Iterable[Subject]:
        """Every registered model."""
        return [self._made(version) for version in self.registry.versions()]

    def _made(self, version: Version) -> Subject:
        path = version.path / MODEL
        # What is here now, so that a changed file is noticed; one that is gone is named by the objections.
        sha256 = sha256_file(path) if path.is_file() and not path.is_symlink() else version.sha256
        return Subject(self.kind, MODEL_NAME, version.number, sha256, (str(version.row["actor"]),))

    def objections(self, subject: Subject) -> Sequence[str]:
        """Why it is not fit to be submitted or approved: changed files, probabilities that do not come out again,
        features that no scorer can compute, or no accepted comparison with the present champion.

        The comparison is made again, once, which takes as long as ``workbench models compare``.
        """
        version = self.registry.find(f"v{subject.version}")
        try:
            if version.sha256 != subject.sha256:
                raise IntegrityError(f"{MODEL} of model {version.name} was changed")
            version.verify()
            if PARITY not in version.manifest["files"]:
                raise IntegrityError("it has no parity vectors, so nobody can tell whether it computes the same here")
            check_parity(version.model, version.file(PARITY), what=f"model {version.name}")
            FeatureState(version.spec)
        except (InputError, IntegrityError, MalformedError) as error:
            return [str(error)]
        trouble = self._trouble(version)
        return [trouble] if trouble else []

    def _trouble(self, version: Version) -> str:
        """What is missing for it to take over from the present champion, a clause; empty if nothing is."""
        champion = self.registry.pointed()
        if champion in (None, version.sha256):
            return ""
        old = self.registry.find("champion").name
        found = self._comparisons(champion, version.sha256)
        if not found:
            return (
                f"no comparison with the champion, {old}, is kept: "
                f"`workbench models compare {version.name} DATASET` makes one"
            )
        return self._best(found)[1]

    def _best(self, found: Sequence[Comparison]) -> tuple[Comparison, str]:
        """The newest comparison that counts, or just the newest, and why it does not count."""
        judged = []
        for comparison in found:
            refusal = self._refusal(comparison)
            if not refusal:
                return comparison, ""
            judged.append((comparison, refusal))
        return judged[0]

    def _refusal(self, comparison: Comparison) -> str:
        """Why a comparison does not count; empty if it lets the challenger take over and comes out again here."""
        content, digest = comparison.content, comparison.sha256
        if digest not in self._repeated:
            try:
                accepted(comparison, champion=str(content["champion"]), challenger=str(content["challenger"]))
                repeat(self.registry, comparison)
                self._repeated[digest] = ""
            except NotFoundError as error:  # its data may be put back
                return str(error)
            except WorkbenchError as error:
                self._repeated[digest] = str(error)
        return self._repeated[digest]

    def _comparisons(self, champion: str | None, challenger: str) -> list[Comparison]:
        """The kept comparisons of just these two, the newest first."""
        if champion in (None, challenger):
            return []
        return kept_comparisons(self.registry.workspace, champion=str(champion), challenger=challenger)

    def shown(self, subject: Subject, active: Subject | None) -> Mapping[str, Any]:
        """What a reviewer is shown: digests, what the model was worth on its test slice, what its card says of that,
        the champion now, and the comparison with it, a verdict for each criterion. The digest of it is what an approval
        signs."""
        del active  # who decides now is the champion, which may be older than the first approval
        told = self.facts(subject)
        found = self._found(told)
        return {**told, "comparison": _told(*self._best(found), len(found)) if found else None}

    def to_repeat(self, told: Mapping[str, Any]) -> int:
        """How many comparisons ``shown`` may have to make again first, each as slow as ``workbench models compare``;
        ``told`` are the ``facts``."""
        return sum(comparison.sha256 not in self._repeated for comparison in self._found(told))

    def _found(self, told: Mapping[str, Any]) -> list[Comparison]:
        champion = told["champion"]
        return self._comparisons(None if champion is None else champion["sha256"], told["model"]["sha256"])

    def page(self, subject: Subject) -> str:
        """The model card, as HTML. Raises ``IntegrityError`` if a file of the model was changed."""
        from workbench.risk.card import card_page

        return card_page(self.registry.open(f"v{subject.version}"))

    def facts(self, subject: Subject) -> dict[str, Any]:
        """What ``shown`` says, without the comparison: told at once."""
        version = self.registry.find(f"v{subject.version}")
        champion = self.registry.pointed()
        row = version.row
        return {
            "format": FORMAT_VERSION,
            "model": {
                "version": version.number,
                "sha256": version.sha256,
                "algorithm": row["algorithm"],
                "manifest_sha256": row["manifest_sha256"],
                "spec_sha256": row["spec_sha256"],
                "dataset_sha256": row["dataset_sha256"],
                "labels_sha256": row["labels_sha256"],
                **_contents(version),
            },
            "authors": [str(row["actor"])],
            "champion": None
            if champion is None
            else {"version": self.registry.find("champion").number, "sha256": champion},
        }

    def decided(self, decision: "Decision", *, signer: "Signer", transaction: "Transaction") -> None:
        """Let the champion follow: to a model that became ACTIVE, and to none from one that was retired.

        Raises ``InputError`` if the champion is another than was shown, which undoes the decision.
        """
        del signer
        subject = decision.subject
        version = self.registry.find(f"v{subject.version}", transaction)
        if decision.state is State.ACTIVE:
            if version.sha256 != subject.sha256:
                raise IntegrityError(f"model {version.name} is {version.sha256[:12]}, not {subject.sha256[:12]}")
            champion = decision.proposal.shown["champion"]
            to, expected = version.sha256, None if champion is None else champion["sha256"]
        elif decision.state is State.RETIRED and self.registry.pointed(transaction) == version.sha256:
            to, expected = None, version.sha256
        else:
            return
        self.registry.move(
            transaction,
            to,
            expected=expected,
            actor=decision.person,
            evidence_sha256=decision.envelope_sha256,
            again=True,
        )


def _told(comparison: Comparison, refusal: str, kept: int) -> dict[str, Any]:
    content = comparison.content
    return {
        "sha256": comparison.sha256,
        "promoted": content["promoted"],
        "counts": not refusal,
        "refusal": refusal or None,
        "criteria": [
            {"name": one["name"], "passed": one["passed"], "statement": one.get("statement", "")}
            for one in content["criteria"]
        ],
        "window": content.get("window"),
        "kept": kept,  # of these two: the more there are, the less one that passed says
    }


def _contents(version: Version) -> dict[str, Any]:
    """What only the folder can tell; of a damaged one, how it is damaged: it must still be possible to retire it."""
    try:
        version.verify()
        files = version.manifest["files"]
        metrics = read_object(version.file("metrics.json"), what="metrics.json") if "metrics.json" in files else {}
        slices = metrics.get("slices")
        test = slices.get("test") if isinstance(slices, dict) else None
        return {
            "card_sha256": files["card.md"]["sha256"] if "card.md" in files else None,
            "threshold": version.model.threshold.as_dict(),
            "test": {name: test.get(name) for name in ("rows", "positives", "users", "metrics")} if test else None,
            "card": _card(version),
            "damage": None,
        }
    except (InputError, IntegrityError, MalformedError) as error:
        return {**dict.fromkeys(("card_sha256", "threshold", "test")), "card": [], "damage": str(error)}


def _card(version: Version) -> list[dict[str, Any]]:
    from workbench.risk.card import card_of  # draws, so it is fetched when it is wanted

    return [section for section in card_of(version)["sections"] if section["name"] in _OF_CARD]


def champion_problems(custody: Custody) -> list[str]:
    """Moves of the champion that no decision stands behind although people were enrolled, and decisions that it did
    not follow; a sentence each. Whether a decision itself counts, ``lifecycle.audit`` tells."""
    ledger = custody.ledger
    (first,) = ledger.query("SELECT min(seq) AS seq FROM entries WHERE type = 'person.enrolled'")
    if first["seq"] is None:
        return []
    decided = {
        row["seq"]: row
        for row in ledger.query(
            "SELECT seq, subject, digest, person, to_state, envelope_sha256 FROM subject_history WHERE kind = 'model'"
        )
    }
    moves = {
        row["seq"]: row
        for row in ledger.query(
            "SELECT seq, actor, entry ->> 'modelSha256' AS model, entry ->> 'evidenceSha256' AS evidence "
            "FROM entries WHERE type = 'model.aliased' AND entry ->> 'alias' = 'champion' AND seq > ? ORDER BY seq",
            [first["seq"]],
        )
    }
    found = []
    for seq, move in moves.items():
        step = decided.get(seq - 1)
        wanted = None if step is None else (step["person"], step["envelope_sha256"], _led_to(step))
        if wanted is None or wanted != (move["actor"], move["evidence"], move["model"]):
            to = "no model" if move["model"] is None else move["model"][:16]
            found.append(f"entry {seq} moves the champion to {to} by {move['actor']}, and no decision stands behind it")
    found += [
        f"entry {seq} made {step['subject']} ACTIVE, and the champion did not follow"
        for seq, step in decided.items()
        if step["to_state"] == State.ACTIVE and seq + 1 not in moves
    ]
    return found


def _led_to(step: Mapping[str, Any]) -> str | None:
    return str(step["digest"]) if step["to_state"] == State.ACTIVE else None
