"""From a dataset to a table of features, and the example policies that speak of its columns."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from workbench.errors import InputError, NotFoundError
from workbench.events import Dataset, IngestOptions, Population, generate, ingest, load_mapping
from workbench.features import FEATURES, FeatureSpec, build
from workbench.workspace import Workspace

PLAIN = "format: csv\ncolumns: {timestamp: timestamp, user: user, action: {constant: read}}\n"


@pytest.fixture(scope="module")
def dataset(home: Workspace) -> Dataset:
    return generate(home, Population(scale=20, days=30), name="small")[0]


def test_a_table_holds_the_labelled_events_in_event_order(dataset: Dataset) -> None:
    table = build(dataset)
    assert list(table.X.columns) == [feature.name for feature in FEATURES]
    assert set(table.X.dtypes.astype(str)) == {"float64"}
    labels = dataset.labels().frame().set_index("event_id")
    events = dataset.frame().set_index("event_id")
    labelled = [event_id for event_id in events.index if event_id in labels.index]
    assert table.event_id.tolist() == labelled
    assert table.users.tolist() == events.loc[labelled, "user"].tolist()
    assert (table.y == (labels.loc[labelled, "label"] == "violation").to_numpy()).all()
    assert (table.timestamp == events.loc[labelled, "timestamp"].to_numpy()).all()
    known = labels.loc[labelled, "labelled_at"].to_numpy().astype("datetime64[us]").astype(np.int64)
    assert (table.known == known).all()
    assert (len(table), table.dataset_sha256, table.labels_sha256) == (
        len(labelled), dataset.digest, dataset.labels().digest,
    )  # fmt: skip


def test_every_table_says_by_which_rules_it_was_made(dataset: Dataset) -> None:
    spec = FeatureSpec(names=("hour", "burst"), day_starts=8)
    table = build(dataset, spec=spec)
    assert (table.spec, table.spec_sha256) == (spec, spec.sha256)
    assert table.take(np.arange(5)).spec_sha256 == spec.sha256


def test_rows_can_be_taken_by_number_and_by_mask(dataset: Dataset) -> None:
    table = build(dataset, spec=FeatureSpec(names=("hour", "tenure_days")))
    mask = table.X["hour"].to_numpy() > 12
    one, two = table.take(mask), table.take(np.flatnonzero(mask))
    pd.testing.assert_frame_equal(one.X, two.X)
    assert len(one) == mask.sum() == len(one.X)
    assert one.event_id.tolist() == table.event_id[mask].tolist() == two.event_id.tolist()
    assert one.X.index.tolist() == list(range(len(one)))


def test_without_labels_all_events_come_back_and_nobody_said_anything(workspace: Workspace) -> None:
    table, mapping = workspace.root / "plain.csv", workspace.root / "plain.yaml"
    mapping.write_text(PLAIN)
    table.write_text("timestamp,user\n2025-01-01T00:00:00Z,ada\n2025-01-01T00:30:00Z,ada\n")
    plain = ingest(workspace, [str(table)], options=IngestOptions(load_mapping(mapping)), name="plain").dataset
    found = build(plain, labelled_only=False)
    assert (found.y.tolist(), found.labels_sha256) == ([-1, -1], None)
    assert found.known.tolist() == [2**63 - 1] * 2
    assert found.X["events_1h"].tolist() == [0, 1]
    with pytest.raises(NotFoundError, match=r"has no labels"):
        build(plain)


@pytest.mark.parametrize("engine", ["kernel", "sql"])
def test_features_of_ones_own_stand_behind_the_shipped_ones(dataset: Dataset, engine: Any) -> None:
    spec = FeatureSpec(names=("hour",), extra=(("words", "length(resource)"), ("late_hour", "local_hour + 0.5")))
    table = build(dataset, spec=spec, engine=engine, labelled_only=False)
    events = dataset.frame()
    assert list(table.X.columns) == ["hour", "words", "late_hour"]
    assert table.X["words"].tolist() == events["resource"].str.len().tolist()
    assert (table.X["late_hour"] == table.X["hour"] + 0.5).all()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("nullif(local_hour, 3)", "the feature 'mine' of one's own is NULL or not finite for"),
        ("1 / (local_hour - local_hour)::DOUBLE", "the feature 'mine' of one's own is NULL or not finite for"),
        ("nothing", "the SQL of the features of one's own (mine) failed: Binder Error"),
        ("(", "the SQL of the features of one's own (mine) failed: Parser Error"),
    ],
)
def test_sql_of_ones_own_that_gives_no_number_is_refused(dataset: Dataset, sql: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        build(dataset, spec=FeatureSpec(extra=(("mine", sql),)))
    assert str(refused.value).startswith(message)


def test_an_unknown_engine_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"^unknown engine 'kernal'; did you mean 'kernel'\?$"):
        build(dataset, engine="kernal")  # type: ignore[arg-type]


def test_the_compiled_pass_runs_where_nothing_may_be_written(tmp_path: Path) -> None:
    """A package folder and a home that are read-only: it compiles anew instead of failing."""
    script = (
        "import numba.core.caching as c\n"
        "for one in c.CacheImpl._locator_classes: one.from_function = classmethod(lambda *a: None)\n"
        "from workbench.features import kernel\n"
        "import numpy as np\n"
        "print(kernel.grouped(np.array([1, 0, 1], np.int32), 2)[0].tolist())"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert told.stdout == "[1, 0, 2]\n", told.stderr


def test_importing_the_features_brings_no_compiler() -> None:
    script = "import sys, workbench.features; print('numba' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_the_example_policies_speak_of_columns_that_exist(home: Workspace, project: Path) -> None:
    dataset, _ = generate(home, Population(scale=30, days=60, seed=3), name="demo")
    table = build(dataset)
    frame = dataset.frame().merge(table.X.assign(event_id=table.event_id), on="event_id")
    policies = [yaml.safe_load(path.read_text()) for path in sorted((project / "policies").glob("*.yaml"))]
    assert len(policies) == 2
    for policy in policies:
        assert set(policy) == {"name", "title", "description", "severity", "controls", "expression", "rationale"}
        with duckdb.connect() as connection:
            connection.register("known", frame)
            ((hits,),) = connection.execute(f"SELECT count(*) FROM known WHERE {policy['expression']}").fetchall()
        assert 0 < hits < len(frame) / 10, policy["name"]
