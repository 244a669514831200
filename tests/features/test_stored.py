"""Feature tables on disk: the same for any number of buckets, named by their digest, explained event by event."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from workbench.errors import InputError, IntegrityError, NotFoundError
from workbench.events import Dataset, Population, generate
from workbench.features import FEATURES, IP_USERS, FeatureSpec, build
from workbench.features.stored import StoredFeatures, list_features, store_features
from workbench.features.writing import write_features
from workbench.workspace import Workspace

# ip_users_24h between the others, and a window of one's own that looks across users.
ACROSS = "count(*) OVER (PARTITION BY resource ORDER BY t RANGE BETWEEN 86400000000 PRECEDING AND 1 PRECEDING)"
NAMES = tuple(feature.name for feature in FEATURES)
SPEC = FeatureSpec(names=(*NAMES[:5], IP_USERS.name, *NAMES[5:]), extra=(("of_resource", ACROSS),))


@pytest.fixture
def dataset(workspace: Workspace) -> Dataset:
    return generate(workspace, Population(scale=15, days=40, seed=9), name="stored")[0]


def test_any_number_of_buckets_gives_the_table_that_build_gives(workspace: Workspace, dataset: Dataset) -> None:
    labels = dataset.labels()
    expected = build(dataset, labels, spec=SPEC, labelled_only=False)
    digests = set()
    for buckets in (1, 5):
        made, again = store_features(workspace, dataset, labels, spec=SPEC, buckets=buckets)
        assert again == (buckets != 1)
        digests.add(made.digest)
    assert len(digests) == 1
    for buckets in (1, 5):
        path = workspace.root / f"{buckets}.parquet"
        assert write_features(dataset, labels, path, spec=SPEC, buckets=buckets) == dataset.rows
        with duckdb.connect() as connection:
            frame = connection.execute(f"SELECT * FROM read_parquet('{path}')").df()
        pd.testing.assert_frame_equal(frame[list(SPEC.columns)], expected.X, check_exact=True)
        assert frame["event_id"].tolist() == expected.event_id.tolist()
        assert frame["user"].tolist() == expected.users.tolist()
        assert (frame["t"] == expected.time).all()
        assert (frame["y"] == expected.y).all()
        assert (frame["known"] == expected.known).all()


def test_a_stored_table_reads_back_as_built_and_says_by_which_rules(workspace: Workspace, dataset: Dataset) -> None:
    made, _ = store_features(workspace, dataset, dataset.labels())
    built, read = build(dataset), made.table()
    pd.testing.assert_frame_equal(read.X, built.X, check_exact=True)
    assert (read.spec, read.dataset_sha256, read.labels_sha256) == (
        built.spec, built.dataset_sha256, built.labels_sha256,
    )  # fmt: skip
    made.verify()
    with duckdb.connect() as connection:
        said = dict(
            connection.execute(
                f"SELECT key::VARCHAR, value::VARCHAR FROM parquet_kv_metadata('{made.path / 'features.parquet'}')"
            ).fetchall()
        )
    assert said["spec_sha256"] == FeatureSpec().sha256
    manifest = json.loads((made.path / "manifest.json").read_text())
    assert manifest["identity"]["spec"]["sha256"] == FeatureSpec().sha256
    assert [one.digest for one in list_features(workspace, dataset)] == [made.digest]


def test_a_dataset_without_labels_has_features_too(workspace: Workspace, dataset: Dataset) -> None:
    made, _ = store_features(workspace, dataset, None, buckets=3)
    assert made.identity["labels"] is None
    assert (made.table(labelled_only=False).X["violations_30d"] == 0).all()


def test_a_changed_file_is_noticed(workspace: Workspace, dataset: Dataset) -> None:
    made, _ = store_features(workspace, dataset, None)
    path = made.path / "features.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"^features.parquet of feature table [0-9a-f]{12} was changed"):
        StoredFeatures.open(made.path).verify()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"buckets": 0}, "--buckets 0: expected 1 to 256"),
        ({"memory_limit": "much"}, "memory limit 'much': expected a size such as 512MB"),
        ({"memory_limit": "1MB"}, "the memory limit 1MB is too small for"),
        (
            {"spec": FeatureSpec(extra=(("mine", "nullif(local_hour, 3)"),)), "buckets": 2},
            "the feature 'mine' of one's",
        ),
    ],
)
def test_a_refusal_leaves_nothing_behind(
    workspace: Workspace, dataset: Dataset, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        store_features(workspace, dataset, None, **given)
    assert str(refused.value).startswith(message)
    assert list(workspace.features.iterdir()) == []


def test_the_commands_build_show_and_explain(cli: Callable[..., Any], dataset: Dataset, workspace: Workspace) -> None:
    told = cli("features", "build", "stored", "--ip-users", "--day", "7-19", "--buckets", "2", "--json")
    made = json.loads(told.stdout)
    spec = FeatureSpec(names=(*NAMES, IP_USERS.name), day_starts=7, day_ends=19)
    assert (made["dataset"], made["spec_sha256"], made["rows"]) == (dataset.digest, spec.sha256, dataset.rows)
    assert (workspace.root / made["path"]).is_file()
    assert "was there already" in cli("features", "build", "stored", "--ip-users", "--day", "7-19").stdout

    shown = json.loads(cli("features", "show", "stored", "--json", "--verify").stdout)
    assert [row["feature"] for row in shown["summary"]] == list(spec.columns)
    assert shown["table"] == made["table"]
    assert made["table"] in cli("features", "show", "stored", "--table", made["table"][:8]).stdout

    table = build(dataset, spec=spec, labelled_only=False)
    busy = int(table.X["violations_30d"].to_numpy().argmax())
    options = ("--ip-users", "--day", "7-19")
    told = json.loads(cli("features", "explain", table.event_id[busy], *options, "--json").stdout)
    values = {one["feature"]: one["value"] for one in told["features"]}
    assert values == table.X.iloc[busy].to_dict()
    accounts = {one["feature"]: one for one in told["features"]}
    for name in ("events_1h", "events_24h", "events_7d", "denials_24h", "ips_24h", "violations_30d", "ip_users_24h"):
        assert accounts[name]["count"] == values[name]
        assert len(accounts[name]["events"]) == min(5, values[name])
        assert all(accounts[name]["from"] <= one["time"] < accounts[name]["to"] for one in accounts[name]["events"])
    words = cli("features", "explain", table.event_id[busy], *options).stdout
    assert "all 24 values computed from these events equal the built ones" in words
    assert f"{values['violations_30d']:.0f} violations known in 30 days" in words


def test_every_event_of_a_user_can_be_explained(dataset: Dataset) -> None:
    from workbench.features.explain import explain

    spec = FeatureSpec(names=(IP_USERS.name, *NAMES))
    table = build(dataset, spec=spec, labelled_only=False)
    for row in range(0, len(table), len(table) // 6):
        account = explain(dataset, table.event_id[row], dataset.labels(), spec=spec)
        assert [one.value for one in account.accounts] == table.X.iloc[row].tolist()
        assert account.time == table.time[row]


def test_an_account_that_differs_from_the_table_is_an_error(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.features import explain as module

    monkeypatch.setattr(module, "DAY_US", 3_600_000_000)
    with pytest.raises(IntegrityError, match=r"from its events, .* built; this is a defect of workbench"):
        for event_id in dataset.frame()["event_id"].tail(40):
            module.explain(dataset, event_id)


def test_the_definitions_can_be_shown_without_a_dataset(cli: Callable[..., Any]) -> None:
    shown = json.loads(cli("features", "show", "--json").stdout)
    assert [one["name"] for one in shown["features"]] == [*NAMES, IP_USERS.name]
    assert shown["spec_sha256"] == FeatureSpec().sha256
    assert "tenure_days" in cli("features", "show").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "stored"), "has no features yet: `workbench features build` makes them"),
        (("show", "stored", "--table", "ab"), "--table 'ab' names 0 feature tables of dataset "),
        (("build", "nothing"), "no dataset 'nothing'"),
        (("build", "stored", "--day", "night"), "--day 'night': expected two local hours, such as 6-20"),
        (("build", "stored", "--day", "20-6"), "a day from 20 h to 6 h: expected 0 <= start < end <= 24"),
        (("build", "stored", "--labels", "ab"), "0 label sets of this dataset begin with 'ab', expected one"),
        (("explain", "nothing"), "has no event 'nothing'"),
        (("explain", "it's", "--dataset", "stored"), 'has no event "it\'s"'),
    ],
)
def test_a_wrong_request_is_told_in_one_paragraph(
    cli: Callable[..., Any], dataset: Dataset, arguments: tuple[str, ...], message: str
) -> None:
    told = cli("features", *arguments)
    assert (told.code, told.stdout) == (2, "")
    assert message in told.stderr
    assert "Traceback" not in told.stderr


def test_a_workspace_with_several_datasets_asks_which(cli: Callable[..., Any], workspace: Workspace) -> None:
    for seed in (1, 2):
        generate(workspace, Population(scale=2, days=3, seed=seed), name=f"d{seed}")
    told = cli("features", "explain", "e")
    assert told.stderr == "workbench: the workspace has several datasets (d1, d2): name one with --dataset\n"


def test_a_workspace_without_datasets_says_how_to_make_one(cli: Callable[..., Any]) -> None:
    told = cli("features", "explain", "e")
    assert told.stderr == (
        "workbench: the workspace has no dataset yet: `workbench events ingest` or `generate` makes one\n"
    )


def test_a_table_that_is_not_there_is_told_with_those_that_are(
    cli: Callable[..., Any], workspace: Workspace, dataset: Dataset
) -> None:
    told = cli("features", "show", "stored", "--table", "q")
    assert told.stderr.endswith("; there are: none yet, `workbench features build` makes them\n")
    digests = [store_features(workspace, dataset, labels)[0].digest for labels in (None, dataset.labels())]
    told = cli("features", "show", "stored", "--table", "q")
    assert told.stderr == (
        f"workbench: --table 'q' names 0 feature tables of dataset {dataset.digest[:12]}; there are: "
        f"{', '.join(digest[:12] for digest in sorted(digests))}\n"
    )


def test_nothing_is_read_from_a_folder_that_is_no_table(workspace: Workspace) -> None:
    folder = workspace.features / ("0" * 64)
    folder.mkdir(parents=True)
    with pytest.raises(NotFoundError, match=r"^feature table 000000000000 has no manifest$"):
        list_features(workspace)


def test_the_file_of_a_table_is_where_its_digest_says(workspace: Workspace, dataset: Dataset) -> None:
    made, _ = store_features(workspace, dataset, None)
    assert made.path == workspace.root / Path("data", "features", made.digest)


PEAK = """
import sys
from pathlib import Path
from workbench.events import open_dataset
from workbench.features.writing import write_features
from workbench.workspace import Workspace
dataset = open_dataset(Workspace(Path(sys.argv[1])), sys.argv[2])
write_features(dataset, dataset.labels(), Path(sys.argv[1]) / "out.parquet", memory_limit="150MB")
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_three_times_the_events_take_no_more_memory(workspace: Workspace) -> None:
    """Buckets bound the peak: it follows the limit, not the events."""
    peaks = {}
    for name, scale in (("small", 500), ("large", 1_500)):
        made, _ = generate(workspace, Population(scale=scale), name=name)
        told = subprocess.run(
            [sys.executable, "-c", PEAK, str(workspace.root), name], capture_output=True, text=True, check=True
        )
        peaks[name] = int(told.stdout.split()[-1]) / 1024  # DuckDB may draw a bar before
    assert made.rows > 700_000
    assert peaks["large"] < 1.15 * peaks["small"], peaks
