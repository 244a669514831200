"""``workbench dashboard``: what it refuses before it serves anything."""

import pytest

from workbench.custody import Custody
from workbench.lifecycle import People


@pytest.fixture
def served(monkeypatch):
    """What would have been served, instead of serving it."""
    calls = []
    monkeypatch.setattr(
        "workbench.dashboards.server.serve", lambda workspace, notebook, **given: calls.append((notebook.name, given))
    )
    return calls


@pytest.mark.parametrize("page", ["approvals", "results"])
def test_a_page_is_served_to_this_machine_unless_told_otherwise(office, cli, served, page):
    told = cli("dashboard", page, "--port", "0", "--no-browser")
    assert (told.code, told.stderr) == (0, "")
    ((notebook, given),) = served
    assert notebook == f"{page}.ipynb"
    assert given["workers"] == {"approvals": 2, "results": 0}[page]  # a page that was made ahead shows old runs
    assert (given["ip"], given["port"], given["https"], given["base"], given["browser"]) == (
        "127.0.0.1",
        0,
        False,
        "/",
        False,
    )


@pytest.mark.parametrize("base", ["review", "/review", "/review/", "review/"])
def test_a_base_is_spelled_in_one_way(office, cli, served, base):
    assert cli("dashboard", "approvals", "--base-url", base).code == 0
    assert served[0][1]["base"] == "/review/"


def test_passphrases_do_not_travel_in_the_clear(office, cli, served):
    told = cli("dashboard", "approvals", "--ip", "0.0.0.0")
    assert told.code == 2 and "put a proxy that speaks TLS in front, and add --https" in told.stderr
    assert served == []
    assert cli("dashboard", "approvals", "--ip", "0.0.0.0", "--https").code == 0


@pytest.mark.slow
def test_demonstration_keys_are_for_this_machine_only(workspace, cli, served):
    custody = Custody.begin(workspace, root_passphrase="", passphrase="", demo=True)
    People(custody).enrol("Ada", passphrase="", root=custody.root_signer(""), roles=["owner"])
    told = cli("dashboard", "approvals", "--ip", "0.0.0.0", "--https")
    assert told.code == 2 and "demonstration keys open to anybody" in told.stderr
    told = cli("dashboard", "approvals", "--https")  # a proxy would show it to others
    assert told.code == 2 and "the page is not served through a proxy" in told.stderr
    assert served == []


def test_without_people_there_is_nobody_to_serve(custody, cli, served):
    told = cli("dashboard", "approvals")
    assert told.code == 2 and "nobody can sign in yet: `workbench people add" in told.stderr
    assert served == []


def test_without_keys_the_way_to_them_is_said(workspace, cli, served):
    told = cli("dashboard", "approvals")
    assert told.code == 2 and "workbench keys init" in told.stderr
    assert served == []
