"""Models in the lifecycle: a champion comes and goes by signed decisions, and by nothing else."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from workbench.clock import VirtualClock
from workbench.custody import Custody
from workbench.errors import (
    InputError,
    IntegrityError,
    LifecycleError,
    NotFoundError,
    NotPermittedError,
    OvertakenError,
)
from workbench.evidence.envelope import Envelope
from workbench.evidence.keyfile import KeyDerivation
from workbench.features import FeatureSpec
from workbench.files import canonical_json
from workbench.lifecycle import Lifecycle, State, audit
from workbench.risk import lifecycle_kind
from workbench.risk.calibration import Calibrator
from workbench.risk.comparisons import keep_bytes
from workbench.risk.forest import Forest
from workbench.risk.lifecycle_kind import ModelKind, champion_problems
from workbench.risk.model import RiskModel
from workbench.risk.registry import Registry
from workbench.risk.scorer import load_scorer
from workbench.risk.threshold import Threshold
from workbench.workspace import MARKER, Workspace

CHEAP = KeyDerivation(memory=64, passes=1)
CAST = {"olga": ["owner"], "rita": ["researcher"], "rob": ["researcher", "reviewer"], "ann": ["reviewer"]}
METRIC = {"value": 0.5, "low": 0.4, "high": 0.6}
TEST = {"rows": 900, "positives": 31, "users": 9, "metrics": {"average_precision": METRIC}}


def words(person):
    return f"the words of {person}"


def register(registry, threshold, *, extra=(), p=(0.25, 1.0), **more):
    """A model of one split, and its files; ``p`` are the probabilities that its parity vectors promise."""
    forest = Forest("random_forest", 2, 0.0, [8.0, 0.25, 1.0], [0, 255, 255], [0, 0, 0])
    spec = FeatureSpec(names=("hour", "is_first")[: 2 - len(extra)], extra=extra)
    origin = {"dataset_sha256": "a" * 64, "labels_sha256": "b" * 64}
    model = RiskModel(forest, Calibrator("none"), Threshold(threshold, "f1", {}), spec, origin)
    parity = {"format": 1, "columns": list(spec.columns), "X": [[3, 0], [9, 1]], "p": list(p)}
    files = {
        "parity.json": canonical_json(parity),
        "metrics.json": canonical_json({"format": 1, "slices": {"test": TEST}}),
        "card.md": b"# Card\n",
    }
    return registry.register(model, files, **more)


def keep(workspace, champion, challenger, *, failed="", **more):
    """A comparison that nobody made from data; ``failed`` is a criterion."""
    criteria = [
        {"name": name, "passed": name != failed, "statement": f"{name} was looked at", "numbers": {}}
        for name in ("ranking", "parity")
    ]
    content = {
        "format": 1, "kind": "model-comparison", "champion": champion.sha256, "challenger": challenger.sha256,
        "window": {"labelled": 900}, "rules": {}, "criteria": criteria, "promoted": not failed, **more,
    }  # fmt: skip
    return keep_bytes(workspace, canonical_json(content)).stem


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Two models, and nobody enrolled; then everybody."""
    root = tmp_path_factory.mktemp("models") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    workspace, clock = Workspace(root), VirtualClock(start_ns=1_777_800_000_000_000_000)
    custody = Custody.begin(
        workspace, root_passphrase="root passphrase", passphrase="working passphrase", derivation=CHEAP, clock=clock
    )
    registry = Registry(workspace, clock=clock)
    register(registry, 0.3, actor="p:rob")
    register(registry, 0.4)
    alone = root.parent / "alone"
    shutil.copytree(root, alone)
    signer, people = custody.root_signer("root passphrase"), Lifecycle(custody).people
    for person, roles in CAST.items():
        given = {} if person == "olga" else {"by": "olga", "by_passphrase": words("olga")}
        people.enrol(person.title(), passphrase=words(person), root=signer, roles=roles, pseudonym=person, **given)
    return root


class Desk:
    """The models of a workspace, and the people who decide on them."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.clock = VirtualClock(start_ns=1_777_800_100_000_000_000)
        self.custody = Custody(workspace, derivation=CHEAP, clock=self.clock)
        self.kind = ModelKind(self.custody)
        self.registry = self.kind.registry
        self.lifecycle = Lifecycle(self.custody, [self.kind])

    def act(self, reference, action, person, **more):
        self.clock.advance_ns(1_000_000_000)
        subject = self.kind.find(reference)
        return self.lifecycle.transition(subject, action, person, reason="because", passphrase=words(person), **more)

    def activate(self, reference, **more):
        self.act(reference, "submit", "rita")
        return self.act(reference, "approve", "ann", **more)

    def moves(self):
        return [(move.sha256, move.previous, move.evidence, move.actor) for move in self.registry.history()]


@pytest.fixture
def desk(template, workspace):
    shutil.rmtree(workspace.root)
    shutil.copytree(template, workspace.root)
    return Desk(workspace)


@pytest.fixture
def alone(template, workspace):
    """The same, before anybody was enrolled."""
    shutil.rmtree(workspace.root)
    shutil.copytree(template.parent / "alone", workspace.root)
    return Desk(workspace)


@pytest.fixture
def repeated(monkeypatch):
    """Comparisons come out again, or not, as the test says: the data of these were never there."""
    asked = []

    def repeat(registry, comparison):
        asked.append(comparison.sha256)
        if comparison.content["rules"]:
            raise IntegrityError("it does not come out again")

    monkeypatch.setattr(lifecycle_kind, "repeat", repeat)
    return asked


def test_a_model_is_found_by_each_of_its_names(desk):
    found = desk.kind.find("v1")
    version = desk.registry.open("v1")
    assert (str(found), found.sha256, found.authors) == ("model:risk@1", version.sha256, ("p:rob",))
    for reference in ("1", "risk@1", version.sha256, version.sha256[:8]):
        assert desk.kind.find(reference) == found
    assert [str(one) for one in desk.kind.subjects()] == ["model:risk@1", "model:risk@2"]
    for wrong in ("v9", "risk@9", "other@1", "risk@", "champion"):
        with pytest.raises(NotFoundError):
            desk.kind.find(wrong)


def test_the_first_champion_is_made_by_an_approval(desk):
    decision = desk.activate("v1")
    v1 = desk.registry.open("v1").sha256
    assert desk.registry.champion().sha256 == v1
    assert desk.moves() == [(v1, None, decision.envelope_sha256, "p:ann")]
    assert desk.registry.history()[0].decided is True
    assert desk.lifecycle.state(desk.kind.find("champion")) is State.ACTIVE
    assert audit(desk.custody) == champion_problems(desk.custody) == []
    assert desk.custody.ledger.verify().problems == ()


def test_neither_submitting_nor_rejecting_moves_the_champion(desk):
    desk.act("v1", "submit", "rita")
    desk.act("v1", "reject", "ann")
    assert desk.moves() == []
    desk.activate("v2")
    assert desk.registry.champion().number == 2


def test_whoever_registered_a_model_does_not_approve_it(desk):
    desk.act("v1", "submit", "rita")
    with pytest.raises(NotPermittedError, match="p:rob is an author of model:risk@1"):
        desk.act("v1", "approve", "rob")
    assert desk.moves() == []


def test_a_challenger_needs_a_comparison_with_the_champion_and_retires_it(desk, repeated):
    desk.activate("v1")
    with pytest.raises(
        LifecycleError, match="no comparison with the champion, v1, is kept: `workbench models compare v2"
    ):
        desk.act("v2", "submit", "rita")
    v1, v2 = desk.registry.versions()
    keep(desk.workspace, v1, v2, failed="ranking")
    with pytest.raises(LifecycleError, match="did not let the challenger take over: it failed on ranking"):
        desk.act("v2", "submit", "rita")
    keep(desk.workspace, v2, v1)  # the other way round says nothing
    digest = keep(desk.workspace, v1, v2)
    desk.act("v2", "submit", "rita")
    with pytest.raises(LifecycleError, match=r"model:risk@1 is ACTIVE, and only one version can be"):
        desk.act("v2", "approve", "ann")
    decision = desk.act("v2", "approve", "ann", retire_active=True)
    assert repeated == [digest]  # made again once
    assert desk.moves()[1:] == [(v2.sha256, v1.sha256, decision.envelope_sha256, "p:ann")]
    assert desk.lifecycle.state(desk.kind.find("v1")) is State.RETIRED
    assert desk.lifecycle.active("model", "risk") == "model:risk@2"
    assert audit(desk.custody) == champion_problems(desk.custody) == []


def test_a_comparison_that_does_not_come_out_again_is_none(desk, repeated):
    desk.activate("v1")
    v1, v2 = desk.registry.versions()
    keep(desk.workspace, v1, v2, rules={"forged": True})
    with pytest.raises(LifecycleError, match="it does not come out again"):
        desk.act("v2", "submit", "rita")
    comparison = desk.kind.shown(desk.kind.find("v2"), None)["comparison"]
    assert (comparison["counts"], comparison["refusal"]) == (False, "it does not come out again")


def test_a_comparison_that_does_not_come_out_again_does_not_hide_one_that_does(desk, repeated):
    desk.activate("v1")
    v1, v2 = desk.registry.versions()
    digest = keep(desk.workspace, v1, v2)
    forged = keep(desk.workspace, v1, v2, rules={"forged": True})
    comparisons = desk.workspace.models / "comparisons"
    os.utime(comparisons / f"{forged}.json", ns=(2 * 10**18, 2 * 10**18))
    os.utime(comparisons / f"{digest}.json", ns=(10**18, 10**18))
    shown = desk.kind.shown(desk.kind.find("v2"), None)["comparison"]
    assert (shown["sha256"], shown["counts"], shown["kept"]) == (digest, True, 2)
    assert repeated == [forged, digest]
    desk.act("v2", "submit", "rita")


def test_what_is_shown_names_the_digests_the_figures_and_every_criterion(desk, repeated):
    desk.activate("v1")
    v1, v2 = desk.registry.versions()
    failed, digest = keep(desk.workspace, v1, v2, failed="ranking"), keep(desk.workspace, v1, v2)
    shown = desk.kind.shown(desk.kind.find("v2"), desk.kind.find("v1"))
    files = v2.manifest["files"]
    model = shown["model"]
    assert (model["sha256"], model["card_sha256"]) == (v2.sha256, files["card.md"]["sha256"])
    assert model["manifest_sha256"] == v2.row["manifest_sha256"]
    assert model["test"] == TEST
    assert model["threshold"]["value"] == 0.4
    assert shown["champion"] == {"version": 1, "sha256": v1.sha256}
    assert failed != digest
    assert (shown["comparison"]["sha256"], shown["comparison"]["kept"]) == (digest, 2)
    assert shown["comparison"]["criteria"] == [
        {"name": name, "passed": True, "statement": f"{name} was looked at"} for name in ("ranking", "parity")
    ]
    desk.act("v2", "submit", "rita")
    decision = desk.act("v2", "approve", "ann", retire_active=True)
    kept = json.loads((desk.workspace.evidence / "_shown" / f"{decision.proposal.shown_sha256}.json").read_bytes())
    assert kept["comparison"] == shown["comparison"]
    subjects = {one["name"]: one["digest"]["sha256"] for one in Envelope.read(decision.envelope).statement()["subject"]}
    assert subjects == {"model:risk@2": v2.sha256, "shown": decision.proposal.shown_sha256}


@pytest.mark.parametrize("name", ["model.prm", "card.md"])
def test_a_changed_file_stands_in_the_way_of_approving_and_not_of_retiring(desk, name):
    desk.activate("v1")
    desk.act("v1", "retire", "olga")
    desk.act("v2", "submit", "rita")
    path = desk.registry.open("v2").path / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(LifecycleError):
        desk.act("v2", "approve", "ann")
    assert desk.registry.pointed() is None
    desk.act("v2", "reject", "ann")
    assert desk.lifecycle.state(desk.kind.find("v2")) is State.DRAFT


def test_a_damaged_champion_can_be_retired(desk):
    desk.activate("v1")
    (desk.registry.open("v1").path / "card.md").unlink()
    assert "card.md of model v1" in desk.kind.shown(desk.kind.find("v1"), None)["model"]["damage"]
    desk.act("v1", "retire", "olga")
    assert desk.registry.pointed() is None


def test_a_model_that_computes_otherwise_here_is_not_fit(desk, monkeypatch):
    def differs(*_, **__):
        raise IntegrityError("model v1 gives 0.3 for parity vector 0, and gave 0.2 when it was made")

    monkeypatch.setattr(lifecycle_kind, "check_parity", differs)
    with pytest.raises(LifecycleError, match=r"gives 0\.3 for parity vector 0"):
        desk.act("v1", "submit", "rita")


def test_a_model_with_features_that_no_scorer_computes_is_not_fit(desk):
    version = register(desk.registry, 0.3, extra=(("own", "1.0"),))
    (objection,) = desk.kind.objections(desk.kind.find(version.name))
    assert objection == "features of one's own (own) are computed in batch only: leave them out of the spec"


def test_an_owner_s_retirement_leaves_no_champion_and_is_final(desk):
    desk.activate("v1")
    scorer = load_scorer("champion", workspace=desk.workspace)
    decision = desk.act("v1", "retire", "olga")
    v1 = desk.registry.open("v1").sha256
    assert desk.moves()[1:] == [(None, v1, decision.envelope_sha256, "p:olga")]
    assert desk.registry.champion() is None
    with pytest.raises(NotFoundError, match="no model is the champion yet: `workbench submit model:VERSION` and an"):
        desk.registry.open("champion")
    with pytest.raises(NotFoundError, match="no model is the champion yet"):
        scorer.refresh()
    assert scorer.version.number == 1  # what is loaded stays, and says so when it is asked to look
    with pytest.raises(LifecycleError, match="model:risk@1 is RETIRED"):
        desk.act("v1", "submit", "rita")
    assert audit(desk.custody) == champion_problems(desk.custody) == []
    desk.activate("v2")  # nothing to be compared with
    assert desk.registry.champion().number == 2


def test_an_approval_of_another_champion_than_was_shown_is_undone(desk, repeated):
    subject = desk.kind.find("v1")
    desk.act("v1", "submit", "rita")
    proposal = desk.lifecycle.propose(subject, "approve", "ann", shown={"champion": {"version": 2, "sha256": "f" * 64}})
    before = desk.custody.ledger.size
    with pytest.raises(InputError, match=r"the champion is none, not f+ as expected: somebody moved it"):
        desk.lifecycle.transition(subject, "approve", "ann", reason="x", passphrase=words("ann"), proposal=proposal)
    assert desk.custody.ledger.size == before
    assert desk.lifecycle.state(subject) is State.REVIEW
    desk.act("v1", "approve", "ann")
    with pytest.raises(OvertakenError):
        desk.lifecycle.transition(subject, "approve", "ann", reason="x", passphrase=words("ann"), proposal=proposal)


def test_an_earlier_champion_can_be_approved_as_what_it_is(alone, template):
    alone.registry.promote("v1", expected_previous=None)
    signer, people = alone.custody.root_signer("root passphrase"), alone.lifecycle.people
    for person, roles in CAST.items():
        given = {} if person == "olga" else {"by": "olga", "by_passphrase": words("olga")}
        people.enrol(person.title(), passphrase=words(person), root=signer, roles=roles, pseudonym=person, **given)
    assert champion_problems(alone.custody) == []  # nobody could have decided then
    decision = alone.activate("v1")
    v1 = alone.registry.open("v1").sha256
    assert alone.moves()[1:] == [(v1, v1, decision.envelope_sha256, "p:ann")]
    assert champion_problems(alone.custody) == []


# No other way


def test_once_people_are_enrolled_nothing_else_moves_the_champion(desk):
    with pytest.raises(NotPermittedError, match="`workbench submit model:v1`, and somebody else `workbench approve"):
        Registry(desk.workspace).promote("v1", expected_previous=None)


def test_a_move_without_a_decision_is_found(desk):
    v2 = desk.registry.open("v2")
    entry = desk.custody.ledger.append(
        "model.aliased",
        "p:ann",
        fields={"alias": "champion", "modelSha256": v2.sha256, "previousSha256": None, "evidenceSha256": None},
    )
    told = f"entry {entry.seq} moves the champion to {v2.sha256[:16]} by p:ann, and no decision stands behind it"
    assert champion_problems(desk.custody) == [told]


def test_a_move_to_another_model_than_was_approved_is_found(desk):
    desk.kind.decided = lambda decision, *, signer, transaction: (
        desk.registry.move(
            transaction,
            desk.registry.find("v2", transaction).sha256,
            expected=None,
            actor=decision.person,
            evidence_sha256=decision.envelope_sha256,
        )
        if decision.state is State.ACTIVE
        else None
    )
    desk.activate("v1")
    (problem,) = champion_problems(desk.custody)
    assert problem.endswith("by p:ann, and no decision stands behind it")


def test_an_approval_that_the_champion_did_not_follow_is_found(desk):
    desk.kind.decided = lambda decision, *, signer, transaction: None
    decision = desk.activate("v1")
    assert champion_problems(desk.custody) == [
        f"entry {decision.seq} made model:risk@1 ACTIVE, and the champion did not follow"
    ]


def test_of_two_approvals_at_once_the_second_is_told(desk, repeated):
    desk.act("v1", "submit", "rita")
    desk.act("v2", "submit", "rita")
    late = desk.lifecycle.propose(desk.kind.find("v2"), "approve", "ann", retire_active=True)
    desk.act("v1", "approve", "ann")
    keep(desk.workspace, *desk.registry.versions())
    with pytest.raises(OvertakenError):
        desk.lifecycle.transition(
            late.subject, "approve", "ann", reason="x", passphrase=words("ann"), retire_active=True, proposal=late
        )
    assert desk.registry.champion().number == 1
    assert replace(late.subject, sha256=desk.kind.find("v2").sha256) == late.subject


# On the command line


@pytest.fixture
def act(cli, workspace, desk, monkeypatch):
    monkeypatch.chdir(workspace.root.parent)
    monkeypatch.chdir(workspace.root)  # the folder was made anew

    def act(verb, subject, person, *more):
        file = workspace.root.parent / f"{person}.txt"
        file.write_text(words(person) + "\n")
        return cli(verb, subject, "--as", person, "--reason", "x", "--yes", "--passphrase-file", file, *more)

    return act


@pytest.mark.slow
def test_a_champion_from_submission_to_retirement_as_it_is_typed(act, cli, workspace):
    told = cli("models", "promote", "v1", "--first")
    assert told.code == 2
    assert told.stderr == (
        "workbench: people are enrolled here, and a champion is made by their decisions: `workbench submit model:v1`, "
        "and somebody else `workbench approve model:v1`\n"
    )
    assert act("submit", "model:v1", "rita").stdout.endswith("; model:risk@1 is REVIEW\n")
    assert act("approve", "model:risk@1", "ann").stdout.endswith("; model:risk@1 is ACTIVE\n")
    (row,) = json.loads(cli("models", "history", "--json").stdout)
    assert (row["champion"], row["actor"]) == (1, "p:ann")
    assert row["why"] == f"approval {row['evidence_sha256'][:12]}"
    told = act("submit", "model:v2", "rita")
    assert told.code == 2 and "no comparison with the champion, v1, is kept" in told.stderr
    told = cli("models", "rollback")
    assert told.code == 2 and "`workbench retire model:VERSION` takes the present one out of use" in told.stderr
    assert act("retire", "model:v1", "olga").stdout.endswith("; model:risk@1 is RETIRED\n")
    assert "none" in cli("models", "history").stdout.splitlines()[-1]
    assert [row["champion"] for row in json.loads(cli("models", "list", "--json").stdout)] == [False, False]
    assert cli("history", "model:v1").code == 0
    assert cli("ledger", "verify").code == 0
    Registry(workspace)._ledger.append(
        "model.aliased",
        fields={"alias": "champion", "modelSha256": "a" * 64, "previousSha256": None, "evidenceSha256": None},
    )
    told = cli("ledger", "verify")
    assert told.code == 1 and "and no decision stands behind it" in told.stdout
