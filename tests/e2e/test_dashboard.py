"""The results page in a real browser, served by the real command to somebody who signs in."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from workbench.custody import Custody
from workbench.experiments import Run
from workbench.lifecycle import People
from workbench.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture
def served(workspace: Workspace, custody: Custody) -> Iterator[str]:
    """The page's address while the command serves it, in a workspace of one person, Ada."""
    signer = custody.root_signer("root passphrase")
    People(custody).enrol("Ada", passphrase="the words of ada", root=signer, roles=["owner"], pseudonym="ada")
    command = [sys.executable, "-m", "workbench", "dashboard", "results", "--port", "0", "--no-browser"]
    environment = {**os.environ, "WORKBENCH_HOME": str(workspace.root)}
    log = (workspace.root / "server.log").open("wb")
    with log, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log) as server:
        try:
            assert server.stdout is not None
            ready, _, _ = select.select([server.stdout], [], [], 90)
            line = server.stdout.readline().decode() if ready else ""
            assert line.startswith("results: http://127.0.0.1:"), (workspace.root / "server.log").read_text()
            yield line.split()[1]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)


def test_the_results_page_shows_runs_and_asks_nobody_outside(
    make: Callable[..., Path], run_once: Callable[..., Run], browser: Browser, served: str
) -> None:
    claim = {"id": "low", "sentence": "It is <b>low</b>.", "value": "answer", "expect": "< 1"}
    run = run_once(make("import workbench as wb\nwb.record('answer', 42)", claims=[claim]))
    context = browser.new_context()
    page = context.new_page()
    outside: list[str] = []
    page.on(
        "request",
        lambda request: (
            outside.append(request.url)
            if "127.0.0.1" not in request.url and not request.url.startswith(("data:", "blob:"))
            else None
        ),
    )
    page.goto(served)
    page.get_by_label("Person").fill("Ada")
    page.get_by_label("Passphrase").fill("the words of ada")
    page.keyboard.press("Enter")
    page.get_by_text("The whole of it").wait_for(timeout=60_000)
    text = page.inner_text("body")
    context.close()
    assert outside == []
    for shown in ("1 runs", run.id, "COMPLETED", "not supported", "It is <b>low</b>.", "answer < 1", "42"):
        assert shown in text
