"""``workbench explain`` and ``card``: why an event got its risk, and what a model is for, on the command line."""

import json
import shutil

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from workbench.events import Population, generate, open_dataset
from workbench.features import FeatureSpec, build
from workbench.files import canonical_json
from workbench.risk.calibration import Calibrator
from workbench.risk.card import card_markdown
from workbench.risk.forest import Forest
from workbench.risk.model import RiskModel
from workbench.risk.registry import Registry
from workbench.risk.threshold import Threshold
from workbench.workspace import MARKER, Workspace


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace with a dataset ``small`` and one registered model of it; made once, as that takes a second."""
    workspace = Workspace(tmp_path_factory.mktemp("prepared"))
    (workspace.root / MARKER).write_text("format = 1\n")
    dataset, _ = generate(workspace, Population(scale=6, days=20, seed=3), name="small")
    table = build(dataset)
    forest = RandomForestClassifier(12, max_depth=5, random_state=0, n_jobs=1).fit(table.X.to_numpy(), table.y)
    origin = {"dataset_sha256": table.dataset_sha256, "labels_sha256": table.labels_sha256}
    model = RiskModel(Forest.of(forest), Calibrator("none"), Threshold(0.1, "f1", {}), FeatureSpec(), origin)
    card = card_markdown(model, {}).encode()
    Registry(workspace).register(model, {"metrics.json": canonical_json({}), "card.md": card})
    return workspace, table, model


@pytest.fixture
def made(workspace, prepared):
    from_, table, model = prepared
    shutil.copytree(from_.root, workspace.root, dirs_exist_ok=True)
    return table, model


@pytest.fixture
def riskiest(made):
    table, model = made
    return str(table.event_id[int(np.argmax(model.predict(table.X.to_numpy())))])


def test_an_event_is_explained_in_words(cli, made, riskiest):
    told = cli("explain", riskiest, "--model", "latest")
    assert (told.code, told.stderr) == (0, "")
    first, header, *reasons, last = told.stdout.splitlines()
    assert first.startswith("risk ") and ", an alert by model v1, whose threshold is 0.100" in first
    assert header.split() == ["reason", "points", "of", "risk"]
    assert len(reasons) == 9
    assert reasons[-1].startswith("15 others together ")
    assert last == "The reasons say what moved the score of this model, not what caused the event."


def test_the_explanation_as_json_adds_up(cli, made, riskiest):
    table, model = made
    told = json.loads(cli("explain", riskiest, "--model", "v1", "--json").stdout)
    assert (told["event_id"], told["model"], told["model_sha256"]) == (riskiest, "v1", model.sha256)
    assert told["dataset_sha256"] == table.dataset_sha256
    assert told["alert"] is True
    moved = sum(one["raw"] for one in told["contributions"])
    assert told["raw_base"] + moved == pytest.approx(told["risk"], abs=1e-12)
    row = list(table.event_id).index(riskiest)
    assert list(told["vector"].values()) == table.X.iloc[row].tolist()


def test_an_event_of_another_dataset_without_labels_is_explained_too(cli, made, workspace):
    lines = ["timestamp,user,action", "2025-01-01T00:00:00Z,ann,read", "2025-01-01T03:00:00Z,ann,export"]
    (workspace.root / "plain.csv").write_text("\n".join(lines) + "\n")
    assert cli("events", "ingest", "plain.csv").code == 0
    event = open_dataset(workspace, "plain").frame()["event_id"][1]
    told = json.loads(cli("explain", event, "--model", "latest", "--dataset", "plain", "--json").stdout)
    assert (told["vector"]["hour"], told["vector"]["seconds_since_last"]) == (3, 10_800)


def test_the_page_of_an_event_names_it_and_loads_nothing(cli, made, riskiest, workspace):
    told = cli("explain", riskiest, "--model", "latest", "--html", "pages/why.html")
    assert (told.code, told.stdout) == (0, "pages/why.html\n")
    page = (workspace.root / "pages" / "why.html").read_text()
    assert riskiest in page and "Local time" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", "--model", "latest"), ", which the model was trained on: --dataset names another"),
        (("nothing", "--model", "latest", "--dataset", "small"), "no event 'nothing' in dataset "),
        (("nothing", "--model", "v9"), "v9"),
        (("nothing", "--model", "latest", "--dataset", "smal"), "no dataset 'smal'; did you mean 'small'?"),
        (("nothing", "--model", "latest", "--reasons", "0"), "reasons"),
        (("nothing",), "champion"),
    ],
)
def test_what_is_not_there_is_told_in_one_sentence(cli, made, arguments, message):
    told = cli("explain", *arguments)
    assert told.code == 2
    assert message in told.stderr
    assert told.stdout == ""


def test_the_card_is_the_registered_one(cli, made):
    _, model = made
    told = cli("card", "v1")
    assert (told.code, told.stdout) == (0, card_markdown(model, {}))
    told = json.loads(cli("card", "latest", "--json").stdout)
    assert (told["model"], told["model_sha256"]) == ("v1", model.sha256)


def test_the_card_s_page_is_written(cli, made, workspace):
    assert cli("card", "v1", "--html", "card.html").stdout == "card.html\n"
    assert "Risk of violation, version 1" in (workspace.root / "card.html").read_text()
    told = cli("card", "v1", "--html", "/proc/none/card.html")
    assert (told.code, told.stderr.count("\n")) == (2, 1)
