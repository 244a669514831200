"""Two versions of a policy on real edits, against what people said of them."""

import pytest

from workbench.events import IngestOptions, ingest, load_mapping
from workbench.policies import PolicyStore, backtest

pytestmark = pytest.mark.slow

# Edits without an account; and of those, only the first of each address.
FIRST = "ip <> '∅'"
SECOND = "ip <> '∅' AND is_first"


@pytest.fixture
def edits(workspace, shared_data, project):
    options = IngestOptions(mapping=load_mapping(project / "tests" / "data" / "wiki_edits.yaml"))
    return ingest(workspace, [str(shared_data / "wiki_edits" / "edits.csv")], options=options, name="wiki").dataset


def test_two_versions_on_wiki_edits(workspace, edits, policy):
    store = PolicyStore(workspace)
    one = store.add(policy(FIRST, name="anonymous-edit"))[0]
    two = store.add(policy(SECOND, name="anonymous-edit"))[0]
    found = backtest(two, edits, against=one, labels=edits.labels())
    content = found.content
    said, compared = content["labelled"], content["comparison"]
    assert (content["events"], said["events"], said["violations"]) == (9_985, 9_980, 1_143)
    assert (content["hits"], said["confusion"]["tp"]) == (3_060, 857)
    assert compared["added"]["events"] == 0 and compared["dropped"]["events"] == 3_542 - 3_060
    # It is right more often, and misses more: both beyond what chance among users explains.
    assert compared["difference"]["precision"]["low"] > 0 > compared["difference"]["recall"]["high"]
    assert compared["difference"]["f1"]["low"] < 0.01
    assert said["precision"]["low"] > said["violations"] / said["events"]
    assert found.sha256 == backtest(two, edits, against=one, labels=edits.labels(), threads=1).sha256
