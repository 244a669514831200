"""What each leak would have claimed: the leaks leak, the checks see them, and neither touches the honest code."""

import ast
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError, NotFoundError
from workbench.events import Dataset, Moment, Population, generate, ingest, label_from_files
from workbench.features import FeatureSpec
from workbench.risk.leakage import CHECKS, LEAKS, leaks
from workbench.workspace import Workspace

NAMES = [leak.name for leak in LEAKS]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made, _ = generate(Workspace(tmp_path_factory.mktemp("leakage")), Population(scale=50, days=60, seed=42))
    return made


@pytest.fixture(scope="module")
def found(dataset: Dataset) -> pd.DataFrame:
    return leaks(dataset, folds=2, iterations=30, resamples=100).set_index("leak")


def test_nothing_else_in_the_package_imports_the_leaks(project: Path) -> None:
    """They are wrong by design: a leak that is imported somewhere is one that will be used somewhere."""
    importers = []
    for path in (project / "workbench").rglob("*.py"):
        if path.name == "leakage.py" and path.parent.name == "risk":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any("leakage" in name.split(".") for name in names):
                importers.append(str(path.relative_to(project)))
    assert importers == []


@pytest.mark.slow
def test_the_honest_evaluation_comes_first_and_no_check_fires_at_it(found: pd.DataFrame) -> None:
    assert list(found.index) == NAMES
    honest = found.iloc[0]
    assert [honest[check] for check in CHECKS][:3] == [0, 0, 0]
    assert honest["best_single_auc"] < 0.9
    assert honest["caught_by"] == ""
    assert (honest["inflation_roc_auc"], honest["inflation_average_precision"]) == (0.0, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leak", "check"),
    [
        ("own label", "changed_by_itself"),
        ("own label", "changed_by_future"),
        ("own outcome", "changed_by_itself"),
        ("user mean, leave one out", "changed_by_future"),
        ("user mean, whole table", "changed_by_future"),
        ("labels at event time", "changed_by_future"),
        ("random rows", "labels_too_late"),
    ],
)
def test_each_leak_is_caught_by_the_check_meant_for_it(found: pd.DataFrame, leak: str, check: str) -> None:
    assert found.loc[leak, check] > 0
    assert CHECKS[check].split(":")[0] in found.loc[leak, "caught_by"]


@pytest.mark.slow
def test_leaks_that_hand_over_the_answer_claim_more(found: pd.DataFrame) -> None:
    assert found.loc["own label", "inflation_roc_auc"] > 0.05
    assert found.loc["labels at event time", "inflation_average_precision_low"] > 0
    assert found.loc["random rows", "inflation_average_precision_low"] > 0


@pytest.mark.slow
def test_every_number_stands_in_its_interval(found: pd.DataFrame) -> None:
    for metric in ("roc_auc", "average_precision"):
        assert (found[f"{metric}_low"] <= found[metric]).all()
        assert (found[metric] <= found[f"{metric}_high"]).all()
        # A difference of paired values: the same test rows and draws, but for the random split.
        honest = found[metric].iloc[0]
        assert np.allclose(found[f"inflation_{metric}"], found[metric] - honest)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(dataset: Dataset) -> None:
    one, two = (leaks(dataset, folds=1, iterations=5, resamples=20, seed=7) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_a_leak_that_cannot_happen_says_why(workspace: Workspace) -> None:
    """Without outcomes and with labels known at once, two leaks have nothing to leak; the others still do."""
    rng = np.random.default_rng(3)
    lines = ["event_id,timestamp,user,action"]
    said = ["event_id,label"]
    for number in range(900):
        stamp = pd.Timestamp("2024-01-01") + pd.Timedelta(minutes=17 * number)
        lines.append(f"e{number},{stamp.isoformat()}Z,u{rng.integers(20)},read")
        said.append(f"e{number},{'violation' if rng.random() < 0.2 else 'compliant'}")
    (workspace.root / "plain.csv").write_text("\n".join(lines))
    (workspace.root / "said.csv").write_text("\n".join(said))
    dataset = ingest(workspace, [str(workspace.root / "plain.csv")]).dataset
    with pytest.raises(NotFoundError, match="has no labels"):
        leaks(dataset)
    label_from_files(dataset, [str(workspace.root / "said.csv")], by="me", at=Moment(after=timedelta(0)))
    found = leaks(dataset, folds=2, iterations=5, resamples=20).set_index("leak")
    assert found.loc["own outcome", "note"] == "the events tell no outcome"
    assert found.loc["labels at event time", "note"].startswith("the labels state no delay")
    assert found["roc_auc"].isna().sum() == 2
    # These labels are noise: the honest evaluation cannot rank them, and the checks see a leak that gains little, too.
    assert 0.4 < found.loc["none", "roc_auc"] < 0.6
    assert found.loc["own label", "caught_by"] == "the event itself"


def test_a_spec_without_label_history_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="need the features violation_rate_30d, violations_30d"):
        leaks(dataset, spec=FeatureSpec(names=("hour",)))
