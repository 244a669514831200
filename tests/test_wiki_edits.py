"""The risk experiment on real data from elsewhere: vandalism on Wikipedia, judged by people."""

from pathlib import Path

import pytest

from workbench.events import IngestOptions, ingest, load_mapping
from workbench.experiments import Status, plan, run
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow


def test_the_experiment_runs_on_wiki_edits_and_meets_its_claims(
    workspace: Workspace, project: Path, shared_data: Path
) -> None:
    here = workspace.root / "tests" / "wiki_edits"
    here.mkdir(parents=True)
    for name in ("wiki_edits.ipynb", "wiki-edits.yaml"):
        (here / name).write_bytes((project / "tests" / "wiki_edits" / name).read_bytes())
    mapping = load_mapping(project / "tests" / "data" / "wiki_edits.yaml")
    edits = str(shared_data / "wiki_edits" / "edits.csv")
    ingest(workspace, [edits], options=IngestOptions(mapping), name="wiki")
    (one,) = plan(workspace, here / "wiki-edits.yaml", {"trees": "60", "resamples": "60"})
    done = run(workspace, one)
    assert done.status is Status.COMPLETED, done.record["detail"]
    assert {claim["id"]: claim["outcome"] for claim in done.claims} == {
        "comes-near-the-known-figure": "supported",
        "beats-prevalence": "supported",
        "holds-forward-in-time": "supported",
    }
    values = {value["name"]: value["value"] for value in done.results["values"]}
    assert (values["events"], values["labelled_events"], values["editors"]) == (9985, 9980, 6142)
