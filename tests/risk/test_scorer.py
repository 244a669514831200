"""What is served is what the batch says, from one whole model, and can be computed again."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from workbench.errors import InputError, IntegrityError, MalformedError, NotFoundError, WorkspaceError
from workbench.events import Population, generate
from workbench.features import Event, FeatureSpec, FeatureState, build
from workbench.features.replaying import replayed
from workbench.files import canonical_json, sha256_bytes
from workbench.risk.calibration import Calibrator
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.registry import Registry
from workbench.risk.score import Score, ShadowScore
from workbench.risk.scorelog import Audit, Difference, ScoreLog, audit, read_scores
from workbench.risk.scorer import Scorer, load_scorer
from workbench.risk.threshold import Threshold
from workbench.risk.version import manifest_of
from workbench.workspace import MARKER, Workspace

EVENT = Event("e1", 1_777_800_000_000_000, 0, "ada", "laptop", "10.0.0.1", "login", "vpn", "denied")


def small_model(threshold=0.3, spec=None, leaf=1.0):
    """Says ``leaf`` for the first event of a user, else a quarter."""
    spec = spec or FeatureSpec(names=("hour", "is_first"))
    forest = Forest(
        "random_forest", len(spec.columns), 0.0, [0.5, 0.25, leaf], [spec.columns.index("is_first"), 255, 255], [0] * 3
    )
    origin = {"dataset_sha256": "a" * 64, "labels_sha256": None}
    return RiskModel(forest, Calibrator("none"), Threshold(threshold, "f1", {}), spec, origin)


@pytest.fixture
def registry(workspace):
    return Registry(workspace)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace whose champion is v1; to be copied, for the ledger takes its time to be safe."""
    root = tmp_path_factory.mktemp("prepared") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    registry = Registry(Workspace(root))
    registry.register(small_model(), {})
    registry.promote("v1", expected_previous=None)
    return root


@pytest.fixture
def champion(registry, workspace, prepared):
    shutil.copytree(prepared, workspace.root, dirs_exist_ok=True)
    return registry.open("v1")


def score_of(version, **changes):
    """The score of ``EVENT`` as the first of its user, by a ``small_model``."""
    model = version.model
    return replace(
        Score("e1", 1.0, True, 0.3, model.sha256, version.number, model.spec.sha256, (9.0, 1.0)),
        **changes,
    )


# One event


def test_a_score_says_everything_that_it_stands_on(registry, champion):
    scorer = Scorer(registry)
    assert scorer.predict(EVENT) == score_of(champion)
    later = EVENT._replace(event_id="e2", t=EVENT.t + 1)
    assert scorer.predict(later) == score_of(champion, event_id="e2", p=0.25, decision=False, vector=(9.0, 0.0))


def test_peeking_changes_nothing(registry, champion):
    logged = []
    scorer = Scorer(registry, log=logged.append)
    assert scorer.peek(EVENT) == scorer.peek(EVENT) == score_of(champion)
    assert logged == []
    assert scorer.predict(EVENT) == score_of(champion)
    assert scorer.predict(EVENT._replace(t=EVENT.t + 1)).p == 0.25


def test_an_event_may_come_as_a_mapping(registry, champion):
    given = {"event_id": "e1", "timestamp": "2026-05-03T09:20:00+00:00", "user": "ada", "outcome": "denied"}
    assert Scorer(registry).predict(given) == score_of(champion)
    with pytest.raises(InputError, match="outcome 'deny'"):
        Scorer(registry).predict({**given, "outcome": "deny"})


def test_the_reasons_are_asked_for_only_on_request(registry, champion):
    asked = []

    def explain(model, event_id, vector):
        asked.append((model.sha256, event_id, vector))
        return "first time"

    score = Scorer(registry, explain=explain).predict(EVENT)
    assert asked == []
    assert score.explain() == "first time"
    assert asked == [(champion.sha256, "e1", (9.0, 1.0))]


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["v1", "v2"])
def test_the_reasons_are_those_of_the_model_that_scored(made, reference):
    dataset, registry = made
    score = next(serve_all(Scorer(registry, reference), dataset))
    explanation = score.explain()
    assert (explanation.event_id, explanation.p) == (score.event_id, score.p)
    assert explanation.vector == score.vector


def test_an_alert_begins_at_the_threshold_itself(registry):
    registry.register(small_model(threshold=1.0), {})
    assert Scorer(registry, "v1").predict(EVENT).decision
    registry.register(small_model(threshold=float(np.nextafter(1.0, 2.0))), {})
    assert not Scorer(registry, "v2").predict(EVENT).decision


def test_a_violation_that_becomes_known_counts_from_then_on(registry):
    spec = FeatureSpec(names=("is_first", "violations_30d"))
    registry.register(small_model(spec=spec), {})
    scorer = Scorer(registry, "v1")
    scorer.predict(EVENT)
    scorer.learn("ada", "e1", EVENT.t + 5)
    assert scorer.predict(EVENT._replace(event_id="e2", t=EVENT.t + 5)).vector == (0.0, 0.0)
    assert scorer.predict(EVENT._replace(event_id="e3", t=EVENT.t + 6)).vector == (0.0, 1.0)


# What is refused


def test_a_model_with_features_of_one_s_own_is_for_batch_only(registry):
    spec = FeatureSpec(names=("is_first",), extra=(("length", "length(resource)"),))
    registry.register(small_model(spec=spec), {})
    with pytest.raises(
        InputError, match=r"^model v1 uses features of one's own \(length\), which are computed in batch"
    ):
        Scorer(registry, "v1")


def test_a_state_of_other_features_is_refused(registry, champion):
    with pytest.raises(InputError, match=r"^model v1 takes other features \([0-9a-f]{12}\) than the state keeps"):
        Scorer(registry, state=FeatureState())


def test_a_shadow_of_other_features_is_refused(registry, champion):
    registry.register(small_model(spec=FeatureSpec(names=("is_first",))), {})
    with pytest.raises(InputError, match=r"^model v2 takes other features"):
        Scorer(registry, shadow="v2")


def test_without_a_champion_there_is_nothing_to_load(registry):
    with pytest.raises(NotFoundError, match="no model is the champion yet"):
        Scorer(registry)


def test_a_model_that_computes_otherwise_here_must_not_decide(registry, monkeypatch):
    """As on a machine whose libraries round differently: registered where it was true, loaded where it is not."""
    vectors = {"format": 1, "columns": ["hour", "is_first"], "X": [[1, 1]], "p": [0.75]}
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("workbench.risk.registry.check_parity", lambda *given, **named: 1)
        registry.register(small_model(), {"parity.json": canonical_json(vectors)})
    with pytest.raises(IntegrityError, match=r"^model v1 gives 1\.0 for parity vector 0, and gave 0\.75"):
        Scorer(registry, "v1")


def test_features_of_another_number_are_refused(registry, champion):
    with pytest.raises(InputError, match=r"^the model takes 2 float64 values"):
        Scorer(registry).score("e1", [1.0])


# Shadow


def test_a_challenger_scores_along_and_decides_nothing(registry, champion):
    challenger = registry.register(small_model(threshold=0.9, leaf=0.75), {})
    logged = []
    score = Scorer(registry, shadow="v2", log=logged.append).predict(EVENT)
    assert score == score_of(champion, shadow=ShadowScore(0.75, False, 0.9, challenger.sha256, 2))
    assert logged == [score]


# Following the alias


def test_the_scorer_swaps_when_the_alias_moved(registry, champion):
    scorer = Scorer(registry, watch=None)
    new = registry.register(small_model(leaf=0.5), {})
    assert scorer.refresh() is False
    registry.promote("v2", expected_previous="v1")
    assert scorer.peek(EVENT).p == 1.0
    assert scorer.refresh() is True
    assert scorer.version == new
    assert scorer.predict(EVENT) == score_of(new, p=0.5)
    assert scorer.refresh() is False


def test_it_notices_by_itself(registry, champion):
    scorer = Scorer(registry, watch=0)
    scorer.predict(EVENT)
    assert scorer._refresher is None, "nothing happened, so nothing is loaded"
    registry.register(small_model(leaf=0.5), {})
    registry.promote("v2", expected_previous="v1")
    scorer.predict(EVENT)
    scorer._refresher.join()
    assert scorer.version.name == "v2"


def test_a_fixed_version_stays(registry, champion):
    scorer = Scorer(registry, "v1", watch=0)
    registry.register(small_model(leaf=0.5), {})
    registry.promote("v2", expected_previous="v1")
    scorer.predict(EVENT)
    assert scorer._refresher is None
    assert scorer.refresh() is False
    assert scorer.version.name == "v1"


def test_a_shadow_that_follows_the_latest_is_swapped_too(registry, champion):
    scorer = Scorer(registry, "v1", shadow="latest", watch=None)
    assert scorer.shadow.name == "v1"
    registry.register(small_model(leaf=0.5), {})
    assert scorer.refresh() is True
    assert (scorer.version.name, scorer.shadow.name) == ("v1", "v2")


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_in_place(registry, champion):
    scorer = Scorer(registry, watch=0)
    new = registry.register(small_model(leaf=0.5), {})
    registry.promote("v2", expected_previous="v1")
    (new.path / "model.prm").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match=r"model\.prm of model v2"):
        scorer.refresh()
    scorer._stamp = None
    assert scorer.predict(EVENT) == score_of(champion)
    scorer._refresher.join()
    assert "model.prm of model v2" in scorer.trouble
    assert scorer.version == champion
    (new.path / "model.prm").write_bytes(bytes(small_model(leaf=0.5)))
    assert scorer.refresh() is True
    assert scorer.trouble is None


def test_a_champion_of_other_features_leaves_the_old_one_in_place(registry, champion):
    scorer = Scorer(registry, watch=None)
    registry.register(small_model(spec=FeatureSpec(names=("is_first",))), {})
    registry.promote("v2", expected_previous="v1")
    with pytest.raises(InputError, match=r"^model v2 takes other features"):
        scorer.refresh()
    assert scorer.version == champion


class Turning:
    """A registry whose champion is another at each look."""

    def __init__(self, registry, *references):
        self.workspace = registry.workspace
        self.versions = [registry.open(reference) for reference in references]
        self.looks = 0

    def open(self, reference):
        self.looks += 1
        return self.versions[self.looks % len(self.versions)]


def test_under_load_each_score_is_of_one_whole_model(registry, champion):
    """Four threads score while the champion goes back and forth: no score mixes two models, none is lost."""
    registry.register(small_model(threshold=0.6, leaf=0.5), {})
    turning = Turning(registry, "v1", "v2")
    scorer = Scorer(turning, watch=None)
    whole = {registry.open("v1").sha256: (1, 1.0, 0.3, True), registry.open("v2").sha256: (2, 0.5, 0.6, False)}
    stop = threading.Event()
    found = [[] for _ in range(4)]

    def serve(mine, number):
        while not stop.is_set():
            mine.append(scorer.predict(EVENT._replace(user=f"{number}-{len(mine)}")))

    threads = [threading.Thread(target=serve, args=(mine, number)) for number, mine in enumerate(found)]
    for thread in threads:
        thread.start()
    while min(len(mine) for mine in found) < 500 or len({score.version for mine in found for score in mine}) < 2:
        assert scorer.refresh() is True
    stop.set()
    for thread in threads:
        thread.join()
    scores = [score for mine in found for score in mine]
    assert {(s.version, s.p, s.threshold, s.decision) for s in scores} == set(whole.values())
    assert all(whole[s.model_sha256][0] == s.version for s in scores)
    assert len(scorer.state) == len(scores), "each user's event was admitted once"


def test_two_scorers_on_one_state_share_its_lock(registry, champion):
    state = FeatureState(small_model().spec)
    assert Scorer(registry, state=state)._state_lock is Scorer(registry, state=state)._state_lock


def test_a_scorer_is_made_once_in_a_process(workspace, registry, champion):
    first = load_scorer(workspace=workspace)
    assert load_scorer("champion", workspace=workspace) is first
    assert load_scorer("v1", workspace=workspace) is not first
    state = FeatureState(small_model().spec)
    other = load_scorer(workspace=workspace, state=state)
    assert other is not first
    assert load_scorer(workspace=workspace) is other
    assert load_scorer(workspace=str(workspace.root)) is load_scorer(workspace=workspace.root) is other


def test_a_scorer_of_no_workspace_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(WorkspaceError, match=r"is not a workspace: it has no workbench\.toml"):
        load_scorer(workspace=str(tmp_path))
    for given in ("", 3):
        with pytest.raises(InputError, match=f"^workspace={given!r}: expected a Workspace or the path of its folder$"):
            load_scorer(workspace=given)


# Batch, log and audit


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A generated dataset, its labels, and two models of it in a registry."""
    root = tmp_path_factory.mktemp("scored")
    (root / MARKER).write_text("format = 1\n")
    workspace = Workspace(root)
    dataset, _ = generate(workspace, Population(scale=12, days=20, seed=5))
    labels = dataset.labels()
    table = build(dataset, labels)
    registry = Registry(workspace)
    X, y = table.X.to_numpy(), (np.arange(len(table)) % 7 == 0).astype(int)
    for estimator, method in (
        (RandomForestClassifier(10, max_depth=6, random_state=0), "isotonic"),
        (HistGradientBoostingClassifier(max_iter=10, random_state=0), "sigmoid"),
    ):
        forest = Forest.of(estimator.fit(X, y))
        calibrator = Calibrator.fit(forest.predict(X), y, method)
        origin = {"dataset_sha256": dataset.digest, "labels_sha256": labels.digest}
        registry.register(RiskModel(forest, calibrator, Threshold(0.15, "f1", {}), table.spec, origin), {})
    return dataset, registry


def serve_all(scorer, dataset):
    """Every event as it came; what was labelled is learned at once, and counts once it was known."""
    with duckdb.connect() as connection:
        for event, known_us in replayed(connection, dataset.sql, dataset.labels().sql):
            yield scorer.predict(event)
            if known_us is not None:
                scorer.learn(event.user, event.event_id, known_us)


@pytest.mark.parametrize("reference", ["v1", "v2"])
def test_one_by_one_and_in_batch_the_scores_are_the_same_to_the_last_bit(made, reference):
    dataset, registry = made
    scorer = Scorer(registry, reference)
    table = build(dataset, spec=scorer.version.spec, labelled_only=False)
    assert table.X["violations_30d"].max() > 0
    served = list(serve_all(scorer, dataset))
    batch = scorer.score_batch(table)
    assert [score.event_id for score in served] == batch["event_id"].tolist()
    assert np.array_equal(np.array([score.vector for score in served]), table.X.to_numpy())
    assert [score.p for score in served] == batch["p"].tolist()
    assert [score.decision for score in served] == batch["alert"].tolist()
    assert 0 < batch["alert"].sum() < len(batch)


def test_a_batch_of_other_features_is_refused(made):
    dataset, registry = made
    with pytest.raises(InputError, match=r"build it with the model's own spec"):
        Scorer(registry, "v1").score_batch(build(dataset, spec=FeatureSpec(day_starts=7)))


@pytest.fixture(scope="module")
def first_served(made, tmp_path_factory):
    """All events served with a shadow, and their log."""
    dataset, registry = made
    path = tmp_path_factory.mktemp("served") / "log" / "scores.jsonl"
    with ScoreLog(path) as log:
        scores = list(serve_all(Scorer(registry, "v1", shadow="v2", log=log), dataset))
    return path, scores


@pytest.fixture
def served(first_served, tmp_path):
    """The same, with a log of one's own to spoil."""
    path, scores = first_served
    return Path(shutil.copy(path, tmp_path)), scores


def test_what_was_served_is_read_back_to_the_last_bit(served):
    path, scores = served
    assert read_scores(path) == scores
    assert all(score.shadow.version == 2 for score in scores)


def test_an_audit_finds_everything_as_it_was_served(made, served):
    dataset, registry = made
    found = audit(read_scores(served[0]), dataset, registry=registry)
    assert found == Audit(len(served[1]))
    assert found.ok


def test_an_audit_names_everything_that_is_not_as_it_was_served(made, served):
    dataset, registry = made
    good = served[1][:6]
    vector = good[1].vector
    up = float(np.nextafter(good[0].p, 2))
    wrong = [
        replace(good[0], p=up),
        replace(good[1], vector=(vector[0] + 1, *vector[1:])),
        replace(good[2], decision=not good[2].decision),
        replace(good[3], shadow=replace(good[3].shadow, p=0.5)),
        replace(good[4], event_id="never"),
        replace(good[5], model_sha256="f" * 64),
    ]
    found = audit(wrong, dataset, registry=registry)
    assert found == Audit(
        6,
        ("never",),
        ("f" * 64,),
        (
            Difference(good[0].event_id, "p", up, good[0].p),
            Difference(good[1].event_id, "hour", vector[0] + 1, vector[0]),
            Difference(good[2].event_id, "decision", float(not good[2].decision), float(good[2].decision)),
            Difference(good[3].event_id, "shadow p", 0.5, good[3].shadow.p),
        ),
    )
    assert not found.ok


def test_an_audit_with_other_labels_than_were_learned_shows_it(made, tmp_path):
    """Served without ever learning a label: exactly the features of past violations differ."""
    dataset, registry = made
    with duckdb.connect() as connection:
        events = [event for event, _ in replayed(connection, dataset.sql, None)]
    scorer = Scorer(registry, "v1")
    found = audit([scorer.predict(event) for event in events], dataset, registry=registry)
    assert {difference.what for difference in found.differences} - {"p", "decision"} == {
        "violations_30d", "violation_rate_30d", "seconds_since_violation"
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"not json",
        b'{"format":2}',
        b'{"a":1,"a":2}',
    ],
)
def test_a_line_that_is_no_score_is_named(served, line):
    path, _ = served
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(MalformedError, match=r"^line [0-9]+ of scores\.jsonl"):
        read_scores(path)


@pytest.mark.parametrize(
    "changes",
    [{"p": "0.5"}, {"p": True}, {"version": 1.5}, {"decision": 1}, {"vector": ["a"]}, {"vector": 5}, {"shadow": {}},
     {"shadow": {"p": 0.5, "decision": 0, "threshold": 1, "model_sha256": "", "version": 1}}, {"event_id": 5}],
)  # fmt: skip
def test_a_score_with_a_value_of_another_type_is_refused(served, changes):
    path, _ = served
    first = path.read_bytes().splitlines()[0]
    path.write_bytes(json.dumps({**json.loads(first), **changes}).encode() + b"\n")
    with pytest.raises(MalformedError, match=r"^line 1 of scores\.jsonl"):
        read_scores(path)


def test_a_last_line_cut_short_is_named(served):
    path, _ = served
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(MalformedError, match=r"^line [0-9]+ of scores\.jsonl was cut short"):
        read_scores(path)


def test_threads_do_not_write_into_each_other_s_lines(tmp_path, registry, champion):
    path = tmp_path / "scores.jsonl"
    with ScoreLog(path) as log:
        scorer = Scorer(registry, log=log)

        def serve(number):
            for at in range(200):
                scorer.predict(EVENT._replace(event_id=f"{number}-{at}", user=f"{number}"))

        threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(score.event_id for score in read_scores(path)) == sorted(
        f"{n}-{a}" for n in range(4) for a in range(200)
    )


def test_the_manifest_is_the_same_for_the_same_files():
    files = {"b.json": b"{}", "a.md": b""}
    assert manifest_of(files) == manifest_of(dict(reversed(files.items())))
    assert sha256_bytes(manifest_of(files)) == sha256_bytes(manifest_of(files))
