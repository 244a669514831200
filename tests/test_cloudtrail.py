"""A staged attack in CloudTrail: labelled by a rule, with the fields that give it away kept out, and the leak checks."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

from workbench.events import Dataset, Moment, ingest, label_where
from workbench.experiments import Run, Status, plan, run
from workbench.features import FeatureSpec
from workbench.features.batch import compute
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

MARK = "attributes ->> 'user_agent' LIKE '%stratus-red-team%'"
# Nobody knew while the attack ran.
AFTERWARDS = Moment.parse("2023-07-10T13:00:00Z")


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Dataset:
    root = tmp_path_factory.mktemp("cloudtrail")
    (root / "workbench.toml").write_text("format = 1\n")
    workspace = Workspace(root)
    made = ingest(workspace, [str(shared_data / "cloudtrail" / "*.json")], name="trail").dataset
    done = label_where(made, MARK, label="violation", otherwise="compliant", by="user agent", at=AFTERWARDS)
    assert done.counts == {"compliant": 1754, "violation": 1146}
    return made


@pytest.fixture(scope="module")
def done(trail: Dataset, project: Path) -> Run:
    workspace = trail.workspace
    here = workspace.root / "tests" / "cloudtrail"
    here.mkdir(parents=True)
    for name in ("cloudtrail.ipynb", "cloudtrail.yaml"):
        (here / name).write_bytes((project / "tests" / "cloudtrail" / name).read_bytes())
    (one,) = plan(workspace, here / "cloudtrail.yaml", {"resamples": "200"})
    return run(workspace, one)


def test_the_experiment_runs_and_does_not_claim_what_it_cannot(done: Run) -> None:
    """ "Better than chance" is not supported, and that is the finding: see the notebook's last cell."""
    assert done.status is Status.COMPLETED, done.record["detail"]
    assert {claim["id"]: claim["outcome"] for claim in done.claims} == {
        "nothing-gives-it-away": "supported",
        "a-random-split-flatters": "supported",
        "better-than-chance": "not supported",
    }
    values = {value["name"]: value["value"] for value in done.results["values"]}
    assert (values["events"], values["violations"]) == (2900, 1146)
    assert round(values["share_of_busiest_user"], 2) == 0.91
    assert values["random_roc_auc_over_users"] > 0.95
    assert 0.5 < values["forward_roc_auc_over_minutes"] < 0.85


def test_no_single_feature_gives_the_answer_away(done: Run) -> None:
    values = {value["name"]: value["value"] for value in done.results["values"]}
    assert values["best_single_auc"] < 0.9


def test_the_shipped_features_of_a_prefix_do_not_change_with_what_follows(trail: Dataset) -> None:
    """Prefix invariance and future poisoning, on all shipped features: events and labels after a moment are deleted,
    then garbled, and no feature before it changes."""
    labels, spec = trail.labels().sql, FeatureSpec()
    moment = "TIMESTAMP '2023-07-10 12:07:00'"
    kept = f'(SELECT * FROM {trail.sql} WHERE "timestamp" < {moment})'
    said = f"(SELECT * FROM {labels} WHERE labelled_at < {moment})"
    garbled = ", ".join(
        f'CASE WHEN "timestamp" < {moment} THEN "{key}" ELSE \'x\' || seq % 3 END AS "{key}"'
        for key in ("user", "source", "ip", "action", "resource")
    )
    poisoned = f"""(SELECT * REPLACE ({garbled}, CASE WHEN "timestamp" < {moment} THEN outcome ELSE 'denied' END
        AS outcome) FROM {trail.sql})"""
    flipped = (
        f"(SELECT * REPLACE (CASE label WHEN 'violation' THEN 'compliant' ELSE 'violation' END AS label) FROM {labels})"
    )
    with duckdb.connect() as connection:
        whole = compute(connection, trail.sql, labels, spec)
        prefix = compute(connection, kept, said, spec)
        poison = compute(connection, poisoned, flipped, spec)
    n = len(prefix.seq)
    assert 500 < n < trail.rows
    assert np.array_equal(prefix.seq, whole.seq[:n])
    assert np.array_equal(prefix.X, whole.X[:n])
    assert np.array_equal(poison.X[:n], whole.X[:n])
    assert not np.array_equal(poison.X[n:], whole.X[n:])
