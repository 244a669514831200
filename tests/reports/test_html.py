"""Reports: made from a run's folder alone, the same bytes every time, and safe with any text in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from workbench.errors import InputError, IntegrityError, StorageError
from workbench.experiments import Run
from workbench.experiments.outputs import collect
from workbench.files import sha256_bytes
from workbench.pages import clean_html, markdown_html, number, plain_text
from workbench.reports import publish, report_html
from workbench.workspace import Workspace


@pytest.fixture
def run(workspace: Workspace) -> Run:
    """A run as a runner leaves it, written by hand: one value, one claim, hostile words everywhere."""
    folder = workspace.runs / "small-20250101-000000-abcdef"
    folder.mkdir(parents=True)
    payload = {
        "name": "auc",
        "value": 0.91234567,
        "type": "float",
        "low": 0.9,
        "high": 0.95,
        "unit": None,
        "tolerance": 0,
    }
    cell = nbformat.v4.new_code_cell("wb.record('auc', 0.9) # <script>", id="a")
    cell.outputs = [
        nbformat.v4.new_output(
            "display_data", {"application/vnd.workbench.value.v1+json": payload, "text/plain": "auc"}
        )
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# Title <script>x</script>", id="b"), cell]
    )
    data = (nbformat.writes(notebook) + "\n").encode()
    (folder / "executed.ipynb").write_bytes(data)
    recorded = collect(notebook)
    (folder / "values.json").write_text(
        json.dumps({"values": recorded.values, "figures": recorded.figures, "tables": recorded.tables})
    )
    claim = {"id": "c", "sentence": "It is <script>high</script>.", "value": "auc", "expect": "> 1", "tolerance": 0}
    record: dict[str, Any] = {
        "format_version": 1, "id": folder.name, "experiment": "small", "title": "<script>T</script>", "question": "Q?",
        "status": "COMPLETED", "detail": "", "stopped_at": None, "started": "2025-01-01T00:00:00.000Z",
        "ended": "2025-01-01T00:00:01.000Z", "seconds": 1.0, "spec": {}, "spec_sha256": "1" * 64,
        "notebook_sha256": "2" * 64, "parameters": {"size": 3}, "inputs": {},
        "code": {"workbench": "0", "package_sha256": "3" * 64, "commit": None, "dirty": None}, "lock_sha256": None,
        "environment_sha256": None, "cells": [{"cell": 1, "heading": "Title", "status": "COMPLETED", "seconds": 0.1}],
        "claims": [{**claim, "outcome": "not supported", "measured": 0.91234567, "reason": "", "compared": {}}],
        "digests": {"canonical_sha256": "4" * 64, "raw_sha256": sha256_bytes(data)}, "kernel": None,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    return Run.read(folder)


def test_the_same_run_gives_the_same_bytes(workspace: Workspace, run: Run) -> None:
    first = publish(workspace, run).read_bytes()
    assert first == publish(workspace, run, workspace.root / "other.html").read_bytes()
    assert publish(workspace, run) == workspace.reports / f"{run.id}.html"


def test_full_precision_is_in_the_page_and_the_shown_number_is_rounded(run: Run) -> None:
    assert '<data value="0.91234567">0.9123</data>' in report_html(run)


def test_no_word_of_a_run_becomes_markup(run: Run) -> None:
    page = report_html(run)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4


def test_an_unsupported_claim_is_shown_as_such(run: Run) -> None:
    page = report_html(run)
    assert "0 of 1 claims supported. The run ended COMPLETED after 1 s." in page
    assert "not supported" in page


def test_a_changed_notebook_gets_no_report(workspace: Workspace, run: Run) -> None:
    path = run.path / "executed.ipynb"
    path.write_text(path.read_text().replace("0.91234567", "0.99234567"))
    with pytest.raises(IntegrityError, match="was changed after the run"):
        publish(workspace, run)
    assert not workspace.reports.exists()


def test_a_run_at_work_gets_no_report(workspace: Workspace, run: Run) -> None:
    run.record["status"] = "RUNNING"
    with pytest.raises(InputError, match="is still running"):
        publish(workspace, run)


def test_a_report_that_cannot_be_written_is_one_sentence(workspace: Workspace, run: Run) -> None:
    (workspace.root / "blocked").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write 'x\.html': something else is there already"):
        publish(workspace, run, workspace.root / "blocked" / "x.html")
    with pytest.raises(InputError, match="is a folder: name a file"):
        publish(workspace, run, workspace.root)


def test_the_command_prints_where_the_report_is(workspace: Workspace, run: Run, cli: Callable[..., Any]) -> None:
    told = cli("report", "latest")
    assert (told.code, told.stdout, told.stderr) == (0, f"reports/{run.id}.html\n", "")
    assert Path(workspace.root / told.stdout.strip()).is_file()


def test_html_of_notebooks_keeps_tables_and_nothing_that_acts() -> None:
    dirty = (
        '<table class="x" onclick="y()"><tr><th scope="col">a</th></tr></table><script>z()</script><img src=x><b>b</b>'
    )
    assert clean_html(dirty) == '<table><tbody><tr><th scope="col">a</th></tr></tbody></table><b>b</b>'


def test_markdown_becomes_html_with_formulas_and_without_raw_html() -> None:
    html = markdown_html("# T\n\n$x^2$ <b>raw</b> [a](javascript:b) ![p](http://example.org/p.png)\n\n|a|\n|-|\n|1|")
    assert "<h3>T</h3>" in html and "<math" in html and "<table>" in html
    assert "<b>" not in html and "javascript" not in html and "<img" not in html


def test_terminal_output_loses_its_colours_and_overwritten_lines() -> None:
    assert plain_text("\x1b[31mred\x1b[0m\n10%\r50%\r100%\r\ndone") == "red\n100%\ndone"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.00012, "0.00012"), (1e-9, "1.000e-09"), (123456.7, "1.235e+05"), (9999, "9,999"), (True, "yes"), (0.0, "0")],
)
def test_numbers_are_written_for_readers(value: object, shown: str) -> None:
    assert number(value) == shown
