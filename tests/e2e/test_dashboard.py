"""The results page in a real browser, served by Voila with the project's own configuration."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from workbench.experiments import Run
from workbench.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_it_listens(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "Voila ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        select.select([], [], [], 0.1)
    raise AssertionError("Voila does not listen")


@pytest.fixture
def served(workspace: Workspace, project: Path, tmp_path: Path) -> Iterator[str]:
    """The page's address while Voila serves it."""
    config = tmp_path / "config"
    config.mkdir()
    (config / "voila.json").write_bytes((project / "config" / "jupyter" / "voila.json").read_bytes())
    port = free_port()
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_PATH": str(project / "share" / "jupyter"),
        "WORKBENCH_HOME": str(workspace.root),
    }
    notebook = project / "notebooks" / "dashboards" / "results.ipynb"
    command = [sys.executable, "-m", "voila", str(notebook), "--no-browser", f"--port={port}"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        address = f"http://127.0.0.1:{port}/"
        try:
            wait_until_it_listens(server, port)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=20)


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
    page.get_by_text("The whole of it").wait_for(timeout=60_000)
    text = page.inner_text("body")
    context.close()
    assert outside == []
    for shown in ("1 runs", run.id, "COMPLETED", "not supported", "It is <b>low</b>.", "answer < 1", "42"):
        assert shown in text
