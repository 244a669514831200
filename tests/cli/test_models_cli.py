"""``workbench models`` and ``workbench drift``: a model becomes champion for a reason, and the reason is kept."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from workbench.events import Population, generate
from workbench.features import build
from workbench.files import canonical_json
from workbench.risk.calibration import Calibrator
from workbench.risk.f1 import f1_by_user
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.psi import bin_counts
from workbench.risk.registry import Registry
from workbench.risk.threshold import Threshold
from workbench.workspace import MARKER, Workspace

ONE_OF_THREE = (
    "a model is promoted --because COMPARISON (which `workbench models compare` makes), as the --first champion, or "
    "with --override: give one of the three"
)


def histogram(values):
    edges = np.unique(np.quantile(values, np.arange(1, 10) / 10))[1:]
    return {"edges": edges.tolist(), "counts": bin_counts(values, edges).tolist()}


def register(registry, table, columns):
    """A model that learnt from ``columns`` of ``table`` (the others it saw as zeros), with its files."""
    X = np.where(table.X.columns.isin(columns), table.X.to_numpy(), 0.0)
    fitted = GradientBoostingClassifier(n_estimators=25, max_depth=3, random_state=0).fit(X, table.y)
    last = int(table.time[-1])
    origin = {
        "dataset_sha256": table.dataset_sha256,
        "labels_sha256": table.labels_sha256,
        "cutoffs": {"train": last, "calibrate": last, "threshold": last, "test": last},
    }
    model = RiskModel(Forest.of(fitted), Calibrator("none"), Threshold(0.08, "f1", {}), table.spec, origin)
    rows = table.X.to_numpy()
    p = model.predict(rows)
    reference = {
        "format": 1,
        "f1": f1_by_user(table.y, p >= 0.08, table.users, resamples=100).value,
        "features": {name: histogram(rows[:, k]) for k, name in enumerate(table.X.columns)},
        "scores": histogram(p),
    }
    metric = {"value": 0.5, "low": 0.4, "high": 0.6}
    test = {"rows": 900, "positives": 31, "users": 9, "metrics": {"average_precision": metric}}
    parity = {"format": 1, "columns": list(table.X.columns), "X": rows[:100].tolist(), "p": p[:100].tolist()}
    contents = {"reference": reference, "metrics": {"format": 1, "slices": {"test": test}}, "parity": parity}
    return registry.register(model, {f"{name}.json": canonical_json(content) for name, content in contents.items()})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two datasets, one after the other, and two models of the first: v1 knows two features, v2 all of them."""
    root = tmp_path_factory.mktemp("models")
    (root / MARKER).write_text("format = 1\n")
    workspace = Workspace(root)
    old, _ = generate(workspace, Population(scale=60, days=60, seed=1), name="old")
    generate(workspace, Population(scale=60, days=90, seed=2, start="2025-06-01"), name="new")
    table, registry = build(old), Registry(workspace)
    register(registry, table, ["hour", "events_1h"])
    register(registry, table, table.X.columns)
    return root


@pytest.fixture
def models(prepared, workspace, cli):
    """The command line in a copy of the prepared workspace."""
    shutil.copytree(prepared, workspace.root, dirs_exist_ok=True)
    return cli


def test_a_champion_is_beaten_promoted_and_rolled_back(models, workspace):
    v1, v2 = Registry(workspace).versions()
    assert models("models", "promote", "v1", "--first").stdout == f"champion is v1 ({v1.sha256[:12]}), the first\n"
    told = models("models", "compare", "v2", "new")
    assert told.code == 0, told
    assert "the challenger may take over: no criterion speaks against it" in told.stdout
    (kept,) = (workspace.models / "comparisons").iterdir()
    assert f"next: workbench models promote v2 --because {kept.stem[:12]}" in told.stdout
    told = models("models", "promote", "v2", "--because", kept.stem[:12])
    assert told.stdout == (
        f"champion is v2 ({v2.sha256[:12]}); it was v1 ({v1.sha256[:12]})\n  on comparison {kept.stem[:12]}\n"
    )
    told = models("models", "rollback")
    assert told.stdout == (
        f"champion is v1 ({v1.sha256[:12]}); it was v2 ({v2.sha256[:12]})\n  back to an earlier champion\n"
    )
    assert models("models", "rollback").stderr == (
        "workbench: no model was champion before the present one: there is nothing to roll back to\n"
    )
    moves = json.loads(models("models", "history", "--json").stdout)
    assert [(move["champion"], move["why"], move["evidence_sha256"]) for move in moves] == [
        (1, "first", None),
        (2, f"comparison {kept.stem[:12]}", kept.stem),
        (1, "back to an earlier champion", None),
    ]
    assert "back to an earlier champion" in models("models", "history").stdout
    told = models("models", "promote", "v2", "--override")
    assert told.stdout == (
        f"champion is v2 ({v2.sha256[:12]}); it was v1 ({v1.sha256[:12]})\n"
        "  without a comparison, and the ledger says so\n"
    )
    assert json.loads(models("models", "history", "--json").stdout)[-1]["why"] == "override, without a comparison"


def test_a_worse_challenger_is_refused_with_exit_code_1_and_cannot_be_promoted_on_that(models, workspace):
    assert models("models", "promote", "v2", "--first").code == 0
    told = models("models", "compare", "v1", "new", "--json")
    assert told.code == 1
    found = json.loads(told.stdout)
    assert found["promoted"] is False
    assert found["criteria"][0]["passed"] is False
    assert json.loads((workspace.models / "comparisons" / f"{found['sha256']}.json").read_bytes()) == {
        name: value for name, value in found.items() if name not in ("sha256", "measured")
    }
    told = models("models", "promote", "v1", "--because", found["sha256"])
    assert told.code == 2
    assert f"comparison {found['sha256'][:12]} did not let the challenger take over: it failed on" in told.stderr
    assert json.loads(models("models", "list", "--json").stdout)[1]["champion"] is True


def test_a_forged_comparison_does_not_come_out_again(models, workspace):
    models("models", "promote", "v2", "--first")
    found = json.loads(models("models", "compare", "v1", "new", "--json").stdout)
    content = {name: value for name, value in found.items() if name not in ("sha256", "measured")}
    for criterion in content["criteria"]:
        criterion["passed"] = True
    forged = workspace.root / "forged.json"
    forged.write_bytes(canonical_json(content | {"promoted": True}))
    told = models("models", "promote", "v1", "--because", forged)
    assert (told.code, told.stdout) == (2, "")
    assert "does not come out again from the models and data that it names" in told.stderr
    assert len(Registry(workspace).history()) == 1


def test_comparing_again_gives_the_same_digest(models):
    one, two = (
        json.loads(models("models", "compare", "v2", "new", "--champion", "v1", "--json").stdout) for _ in range(2)
    )
    assert one["sha256"] == two["sha256"]


def test_models_are_listed_and_shown(models, workspace):
    told = models("models", "list").stdout
    assert [line.split()[0] for line in told.splitlines()] == ["version", "v1", "v2"]
    assert "0.500 (0.400 to 0.600)" in told
    shown = json.loads(models("models", "show", "latest", "--json").stdout)
    assert (shown["version"], shown["champion"], shown["algorithm"]) == (2, False, "gradient_boosting")
    assert set(shown["files"]) >= {"model.prm", "metrics.json", "reference.json", "parity.json"}
    assert "threshold          0.0800, by f1" in models("models", "show", "v2").stdout


def test_a_damaged_model_does_not_hide_the_others(models, workspace):
    v1, _ = Registry(workspace).versions()
    (v1.path / "metrics.json").write_bytes(b"{}")
    rows = json.loads(models("models", "list", "--json").stdout)
    assert "metrics.json of model v1" in rows[0]["damage"]
    assert rows[1]["damage"] is None
    assert "DAMAGED" in models("models", "list").stdout
    told = models("models", "show", "v1")
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr.startswith("workbench: metrics.json of model v1")


def test_drift_is_judged_and_told(models):
    models("models", "promote", "v2", "--first")
    told = models("drift", "new", "--json")
    report = json.loads(told.stdout)
    assert told.code == {"OK": 0, "EXTEND": 0, "WARN": 1, "RETRAIN": 1}[report["verdict"]]
    assert report["labels"]["share_labelled"] == 1
    assert "tenure_days" in [shift["name"] for shift in report["shifts"]]
    plain = models("drift", "new", "--model", "v2")
    assert plain.code == told.code
    assert plain.stdout.startswith(f"{report['verdict']}: {report['statement']}\n")


def test_drift_has_exit_code_1_where_the_model_became_worse_and_0_where_labels_are_too_few(models):
    """v2 on its training data has a high F1; on other people's events it has a lower one."""
    assert models("drift", "new", "--model", "v2").code == 1
    told = models("drift", "new", "--model", "v2", "--maturity", "3650")
    assert told.code == 0
    assert told.stdout.startswith("EXTEND: extend the window: no matured violation")


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (
            "models promote v1",
            ONE_OF_THREE,
        ),
        (
            "models promote v1 --first --override",
            ONE_OF_THREE,
        ),
        (
            "models promote v1 --because abcdef",
            "there is no champion to have been compared with: `--first` makes the first one",
        ),
        ("models promote v9 --first", "there is no model 'v9'; registered: v1, v2"),
        ("models rollback", "no model was champion before the present one: there is nothing to roll back to"),
        ("models history", "no model is champion yet: `workbench models promote VERSION --first` makes one"),
        ("models compare v2 new --champion v2", "is the champion already: name another challenger"),
        ("models compare v2 new --champion v1 --reason luck", "the reason 'luck': expected better or cheaper"),
        ("models compare v2 new --champion v1 --alerts 0", "a budget of 0 alerts: expected 1 or more"),
        ("models compare v2 new --champion v1 --maturity -1", "a maturity of -1 days: expected 0 to 3,650"),
        (
            "models compare v2 new --champion v1 --since soon",
            "--since 'soon': expected a UTC time such as 2026-05-01 or 2026-05-01T12:00",
        ),
        ("models compare v2 new --champion v1 --since 2025-01-10", "compare on later events only"),
        ("models compare v2 old --champion v1", "use a dataset that reaches further"),
        ("models compare v2 nothing --champion v1", "no dataset 'nothing'"),
        ("models compare v2 new --champion v1 --labels abc", "--labels 'abc' names 0 label sets of dataset"),
        ("drift new", "no model is the champion yet: `workbench models promote VERSION --first` makes one"),
        ("drift old --model v2", "Z, until when the model was trained and tested; the newest is of 2025-03-0"),
        (
            "drift new --model v2 --since 2030-01-01",
            "no event is later than 2030-01-01T00:00:00Z; the newest is of 2025-08-",
        ),
        ("drift new --model v2 --since 2300-01-01", "--since '2300-01-01' is not between 1970 and 2242"),
    ],
)
def test_bad_input_is_told_in_one_sentence_and_changes_nothing(models, workspace, typed, complaint):
    told = models(*typed.split())
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr.startswith("workbench: ")
    assert complaint in told.stderr
    assert told.stderr.count("\n") == 1
    assert Registry(workspace).history() == []
    assert not (workspace.models / "comparisons").exists()


def test_a_first_champion_is_the_first_only_once(models):
    models("models", "promote", "v1", "--first")
    told = models("models", "promote", "v2", "--first")
    assert told.stderr == "workbench: --first is for the first champion, and v1 is it already: compare with it\n"
    assert models("models", "promote", "v1", "--override").stderr == "workbench: v1 is the champion already\n"


def test_without_models_the_way_to_one_is_told(cli):
    told = cli("models", "list")
    assert told.stderr == "workbench: there is no model yet: `workbench train DATASET` makes one\n"
    assert cli("models", "list", "--json").stdout == "[]\n"


@pytest.mark.slow
def test_with_people_a_real_comparison_is_made_again_and_an_approval_moves_the_champion(models, workspace):
    from workbench.custody import Custody
    from workbench.evidence.keyfile import KeyDerivation
    from workbench.lifecycle import Lifecycle

    assert models("models", "promote", "v1", "--first").code == 0
    cheap = KeyDerivation(memory=64, passes=1)
    custody = Custody.begin(workspace, root_passphrase="of the root", passphrase="of the rest", derivation=cheap)
    root, people = custody.root_signer("of the root"), Lifecycle(custody).people
    file = workspace.root.parent / "words.txt"
    file.write_text("the words of all\n")
    people.enrol("Olga", passphrase="the words of all", root=root, roles=["owner", "researcher"], pseudonym="olga")
    by = {"by": "olga", "by_passphrase": "the words of all"}
    people.enrol("Ann", passphrase="the words of all", root=root, roles=["reviewer"], pseudonym="ann", **by)

    def act(verb, person, *more):
        given = ("--as", person, "--reason", "x", "--yes", "--passphrase-file", file, *more)
        return models(verb, "model:v2", *given)

    assert "no comparison with the champion, v1, is kept" in act("submit", "olga").stderr
    assert "next: workbench submit model:v2" in models("models", "compare", "v2", "new").stdout
    (kept,) = (workspace.models / "comparisons").iterdir()
    whole = kept.read_bytes()
    content = json.loads(whole)
    content["criteria"][0]["statement"] += ", and more"
    forged = canonical_json(content)
    kept.unlink()
    kept.with_name(f"{hashlib.sha256(forged).hexdigest()}.json").write_bytes(forged)
    told = act("submit", "olga")
    assert told.code == 2 and "does not come out again from the models and data that it names" in told.stderr
    kept.write_bytes(whole)  # beside the forged one, which stands in nobody's way
    assert act("submit", "olga").code == 0
    assert act("approve", "ann").stdout.endswith("; model:risk@2 is ACTIVE\n")
    moves = json.loads(models("models", "history", "--json").stdout)
    assert [(move["champion"], move["actor"]) for move in moves] == [(1, "p:local"), (2, "p:ann")]
    assert models("ledger", "verify").code == 0
