"""Datasets and label sets as an experiment's inputs: pinned when a run is planned, needed or not as the file says."""

import json
import re

import pytest

from workbench.errors import IntegrityError, SpecError
from workbench.events import Moment, ingest, label_where
from workbench.experiments import Status, plan, run

EVENTS = "timestamp,user,action\n2024-01-01T00:00:00Z,ann,read\n2024-01-02T00:00:00Z,bob,export\n"
CELLS = "size = 3\nseed = 1\nevents = 'demo'"


@pytest.fixture
def data(workspace):
    path = workspace.root / "demo.csv"
    path.write_text(EVENTS)
    return ingest(workspace, [str(path)], name="demo").dataset


def labelled(data, rule="action = 'export'"):
    at = Moment.parse("event+1d")
    return label_where(data, rule, label="violation", otherwise="compliant", by="policy", at=at).labels


def test_an_experiment_that_needs_labels_names_the_command_that_attaches_them(workspace, make, data, cli):
    path = make(inputs={"events": {"dataset": "demo", "labels": "required"}}, parameters_cell=CELLS)
    told = cli("run", path)
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr == (
        "workbench: input 'events': dataset 'demo' has no labels and this experiment needs them; attach some with "
        "`workbench events label demo FILE` (or --where)\n"
    )
    assert not workspace.runs.exists()
    labels = labelled(data)
    (one,) = plan(workspace, path)
    assert one.labels == {"events": labels.digest}


def test_labels_stay_needed_when_another_dataset_is_given(workspace, make, data):
    path = make(inputs={"events": {"dataset": "other", "labels": "required"}}, parameters_cell=CELLS)
    with pytest.raises(SpecError, match="dataset 'demo' has no labels and this experiment needs them"):
        plan(workspace, path, {"events": "demo"})


def test_without_a_word_labels_are_taken_if_there_are_any(workspace, make, data):
    path = make(inputs={"events": "demo"}, parameters_cell=CELLS)
    assert plan(workspace, path)[0].labels == {"events": None}
    labels = labelled(data)
    assert plan(workspace, path)[0].labels == {"events": labels.digest}


def test_of_several_label_sets_one_must_be_named(workspace, make, data):
    one, two = labelled(data), labelled(data, "action = 'read'")
    path = make(inputs={"events": {"dataset": "demo", "labels": "required"}}, parameters_cell=CELLS)
    with pytest.raises(SpecError, match=r"has 2 fitting label sets; name one .* or with -p events=demo@DIGEST"):
        plan(workspace, path)
    for labels in (one, two):
        given = plan(workspace, path, {"events": f"demo@{labels.digest[:10]}"})
        assert given[0].labels == {"events": labels.digest}
    named = make(inputs={"events": {"dataset": "demo", "labels": two.digest[:8]}}, parameters_cell=CELLS)
    assert plan(workspace, named)[0].labels == {"events": two.digest}


@pytest.mark.slow
def test_a_run_sees_the_labels_it_was_planned_with(workspace, make, data):
    """Whoever attaches other labels between plan and run changes nothing, and the record says which were used."""
    labels = labelled(data)
    path = make(
        "import workbench as wb\nfound = wb.dataset(events).labels()\nwb.record('labels', found.digest)",
        inputs={"events": "demo"},
        parameters_cell=CELLS,
    )
    (one,) = plan(workspace, path)
    labelled(data, "action = 'read'")
    done = run(workspace, one)
    assert done.status is Status.COMPLETED, done.record["detail"]
    assert done.results["values"][0]["value"] == labels.digest
    assert done.record["inputs"]["events"]["labels_sha256"] == labels.digest


def test_changed_labels_stop_a_run_before_it_starts(workspace, make, data):
    labels = labelled(data)
    (one,) = plan(workspace, make(inputs={"events": "demo"}, parameters_cell=CELLS))
    file = labels.path / "labels.parquet"
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"^labels.parquet of label set"):
        run(workspace, one)
    assert not workspace.runs.exists()


@pytest.mark.parametrize("labels", ["needed", "ABCDEF", "abc", ""])
def test_labels_are_required_or_a_digest(workspace, make, data, labels):
    path = make(inputs={"events": {"dataset": "demo", "labels": labels}}, parameters_cell=CELLS)
    with pytest.raises(SpecError, match=re.escape("not of the form (required|[0-9a-f]{6,64})")):
        plan(workspace, path)


def test_the_schema_knows_both_forms(project):
    schema = json.loads((project / "experiments" / "experiment.schema.json").read_text())
    labels = schema["$defs"]["Input"]["properties"]["labels"]
    assert labels["anyOf"][0]["pattern"] == "^(required|[0-9a-f]{6,64})$"
