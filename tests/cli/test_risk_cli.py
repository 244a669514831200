"""``workbench train``, ``validate`` and ``score``: what they print, write and refuse."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from workbench.events import Population, generate, ingest
from workbench.features import build
from workbench.risk.registry import Registry
from workbench.risk.training import train as train_model
from workbench.workspace import MARKER, Workspace

QUICK = ("--algorithm", "hist_gradient_boosting", "--tune", "none", "--folds", "2", "--resamples", "50", "--jobs", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("risk") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    workspace = Workspace(root)
    generate(workspace, Population(scale=3, days=9, seed=5), name="small")
    generate(workspace, Population(scale=30, days=30, seed=6, start="2026-01-05"), name="later")
    dataset, _ = generate(workspace, Population(scale=22, days=90, seed=30))
    (root / "bare.csv").write_text("timestamp,user,action\n2025-01-01T00:00:00Z,ann,read\n")
    ingest(workspace, [str(root / "bare.csv")], name="bare")
    table = build(dataset, labelled_only=False)
    made = train_model(table, algorithm="hist_gradient_boosting", tune="none", folds=2, resamples=50, jobs=1)
    Registry(workspace).register(made.model, made.files())
    return workspace


@pytest.fixture
def workspace(made: Workspace) -> Workspace:
    """One for all tests here, with one model: training again gives the same, so no test disturbs another."""
    return made


def test_training_says_in_words_what_the_model_is_worth_and_with_other_resamples_what_stays(
    cli: Callable[..., Any], made: Workspace
) -> None:
    (version,) = Registry(made).versions()
    told = cli("train", "demo", *QUICK, "--resamples", "60")
    assert (told.code, told.stderr) == (
        0,
        "workbench: this model was registered already, as v1; its stored card and metrics stay\n",
    )
    assert Registry(made).versions() == [version]
    lines = told.stdout.splitlines()
    assert lines[0].startswith("v1: hist_gradient_boosting, 100 trees, model ")
    digest = lines[0].rsplit(" ", 1)[1]
    assert (made.models / digest / "model.prm").is_file()
    for words in (
        "  train: 2025-01-",
        "  labels take up to 14 days, so ",
        ": at most 10 alerts a day; ",
        "average precision",
        "recall at the budget",
        " violations; chance is an average precision of 0.0",
        "  2 folds forward in time: average precision ",
        "  2 folds by row, regardless of user and time; too hopeful: average precision ",
        "  looks most at: ",
        f"  folder: data/models/{digest}",
    ):
        assert words in told.stdout, words


@pytest.mark.slow
def test_who_trains_a_model_is_its_author(cli: Callable[..., Any], made: Workspace, tmp_path: Path) -> None:
    own = Workspace(Path(shutil.copytree(made.root, tmp_path / "own")))
    told = cli("--workspace", own.root, "train", "demo", *QUICK, "--seed", "7", "--as", "ada", "--json")
    version = Registry(own).open(json.loads(told.stdout)["sha256"])
    assert version.row["actor"] == "p:ada"


@pytest.mark.slow
def test_training_again_gives_the_same_version_and_json_has_all_the_numbers(
    cli: Callable[..., Any], made: Workspace
) -> None:
    told = json.loads(cli("train", "demo", *QUICK, "--json").stdout)
    (version,) = Registry(made).versions()
    assert set(told) == {"version", "sha256", "already_there", "threshold", "metrics"}
    assert told["already_there"] is True
    assert (told["version"], told["sha256"]) == (1, version.sha256)
    assert told["metrics"] == json.loads(version.file("metrics.json"))
    assert told["threshold"] == json.loads(version.file("threshold.json"))


def test_on_its_own_dataset_a_model_is_validated_by_later_events_only(cli: Callable[..., Any], made: Workspace) -> None:
    (version,) = Registry(made).versions()
    metrics = json.loads(version.file("metrics.json"))
    found = json.loads(cli("validate", version.sha256[:12], "demo", "--resamples", "50", "--json").stdout)
    assert found["slices"]["judged"]["confusion"] == metrics["slices"]["test"]["confusion"]
    assert found["left_out"] > 0 and not found["overlap"]
    told = cli("validate", "latest", "demo", "--all", "--resamples", "50")
    assert "the numbers flatter it" in told.stdout


def test_a_model_is_validated_on_another_dataset(cli: Callable[..., Any]) -> None:
    told = cli("validate", "v1", "later", "--resamples", "50")
    assert told.code == 0
    assert "  another dataset than the model was fitted on, all of it later" in told.stdout


def test_scores_of_all_events_are_written_and_the_highest_printed(cli: Callable[..., Any], made: Workspace) -> None:
    (version,) = Registry(made).versions()
    told = cli("score", "later", "--model", "v1", "--out", "scores.parquet", "--top", "3")
    assert told.code == 0, told.stderr
    stored = duckdb.sql(f"FROM read_parquet('{made.root / 'scores.parquet'}')")
    rows = stored.fetchall()
    assert stored.columns == ["event_id", "p", "alert", "threshold", "model", "spec"]
    assert {row[4] for row in rows} == {version.sha256}
    alerts = sum(row[2] for row in rows)
    assert told.stdout.startswith(f"{len(rows):,} events scored by v1 ({version.sha256[:12]}), {alerts:,} at or above")
    highest = sorted(rows, key=lambda row: -row[1])[:3]
    printed = told.stdout.splitlines()[2:5]
    assert [line.split()[:2] for line in printed] == [[row[0], f"{row[1]:.4f}"] for row in highest]
    cli("score", "later", "--model", "latest", "--out", "scores.csv", "--top", "0")
    with (made.root / "scores.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [(row["event_id"], float(row["p"])) for row in written] == [row[:2] for row in rows]


def test_scores_as_json(cli: Callable[..., Any]) -> None:
    told = json.loads(cli("score", "later", "--model", "latest", "--top", "2", "--json").stdout)
    assert set(told) == {"version", "model", "spec", "threshold", "events", "alerts", "top"}
    assert [set(row) for row in told["top"]] == [{"event_id", "p", "alert", "time", "user"}] * 2
    assert told["top"][0]["p"] >= told["top"][1]["p"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("train", "nothing"), "no dataset 'nothing'"),
        (("train", "demo", "--algorithm", "forest"), "no algorithm 'forest'; did you mean 'random_forest'?"),
        (("train", "demo", "--threshold", "cost"), "needs the cost of a miss and of a false alarm"),
        (("train", "demo", "--embargo", "-1"), "--embargo -1: expected hours"),
        (("train", "demo", "--embargo", "1100"), "twice an embargo of 45.8 days must be left out"),
        (("train", "small", *QUICK), "must be left out"),
        (("train", "demo", "--labels", "ffff"), "--labels 'ffff' names 0 label sets"),
        (("train", "demo", "--folds", "1"), "--folds'"),
        (("train", "demo", "--as", "Ada Lovelace"), "--as 'Ada Lovelace': expected a pseudonym"),
        (("train", "bare"), "`workbench events label` attaches labels"),
        (("validate", "v99", "demo"), "there is no model 'v99'"),
        (("validate", "v1", "demo", "--budget", "0"), "the budget is a number of alerts a day above 0, not 0"),
        (("validate", "v1", "demo", "--budget", "-2"), "the budget is a number of alerts a day above 0, not -2"),
        (("validate", "v1", "demo", "--budget", "nan"), "the budget is a number of alerts a day above 0, not nan"),
        (("validate", "v1", "bare"), "`workbench events label` attaches labels"),
        (("score", "demo"), "no model is the champion yet"),
        (("score", "demo", "--model", "../../etc/passwd"), "names no model"),
        (("score", "demo", "--model", "latest", "--out", "scores.txt"), "expected a file name that ends in .parquet or .csv"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_sentence(cli: Callable[..., Any], arguments: tuple, told: str) -> None:
    found = cli(*arguments)
    assert found.code == 2
    assert told in found.stderr
    assert "Traceback" not in found.stderr and found.stderr.count("\n") == 1


def test_a_file_that_cannot_be_written_leaves_none(cli: Callable[..., Any], made: Workspace) -> None:
    (made.root / "taken.csv").mkdir(exist_ok=True)
    told = cli("score", "later", "--model", "latest", "--out", "taken.csv")
    assert told.code == 2
    assert "cannot write 'taken.csv'" in told.stderr
    assert list(Path(made.root).glob(".partial-*")) == []
