"""The docs under test: their commands run as printed, their files are used, their links lead somewhere.

A block opened by ```` ```console ```` holds commands (``$ ...``) and what they print, ``...`` standing for anything; with
``exit=N`` the last one leaves with that code. A block opened by a file name's extension and the name is that file.
"""

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

import workbench
from workbench.layout import lay_out

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    yield from BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(body: str) -> list[tuple[str, str]]:
    """Each command with the output printed under it."""
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    return [(part.split("\n", 1)[0], part.split("\n", 1)[1]) for part in parts]


def add_cell(folder: Path, note: str, body: str) -> None:
    """Append the code of a block ```` ```python NOTEBOOK [TAG] ```` to that notebook."""
    name, *tags = note.split()
    path = folder / name
    notebook = nbformat.read(path, as_version=4) if path.exists() else nbformat.v4.new_notebook()
    cell = nbformat.v4.new_code_cell(body.strip(), id=f"cell-{len(notebook.cells)}")
    if tags:
        cell.metadata["tags"] = tags
    notebook.cells.append(cell)
    nbformat.write(notebook, path)


def squeezed(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def matches(told: str, printed: str) -> bool:
    pattern = ".*".join(re.escape(piece) for piece in re.split(r"\.\.\.\.?", squeezed(printed)))
    return re.fullmatch(pattern, squeezed(told), flags=re.DOTALL) is not None


@pytest.mark.docs
@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```console" in page.read_text()], ids=lambda page: page.stem
)
def test_the_commands_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    workspace = lay_out(tmp_path / "fresh")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = 0
    for kind, note, body in blocks(page):
        if kind == "python":
            add_cell(workspace.root / "notebooks" / "experiments", note, body)
        elif kind != "console" and note:
            (workspace.root / note).write_text(body, encoding="utf-8")
        if kind != "console":
            continue
        listed = commands(body)
        wanted = [0] * (len(listed) - 1) + [int(note.removeprefix("exit=")) if note else 0]
        for (command, printed), code in zip(listed, wanted, strict=True):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=workspace.root,
                env={**os.environ, "PATH": path, "WORKBENCH_HOME": ""},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
            told = done.stdout if code == 0 else done.stdout + done.stderr
            assert matches(told, printed), f"$ {command}\n--- told\n{told}\n--- printed\n{printed}"
            ran += 1
    assert ran > 0


def test_the_comparison_sees_a_difference() -> None:
    assert matches("a  b\nc\n", "a b\n...")
    assert matches("run x-1 done", "run ... done")
    assert not matches("run x-1 failed", "run ... done")
    assert not matches("a\nb", "a")


@pytest.mark.docs
def test_the_shown_experiment_file_is_valid() -> None:
    import yaml

    from workbench.experiments.spec import Experiment

    shown = [
        body
        for page in PAGES
        for kind, note, body in blocks(page)
        if kind == "yaml" and note.startswith("experiments/")
    ]
    assert [Experiment.model_validate(yaml.safe_load(body)).id for body in shown] == ["ageing", "coin"]


@pytest.mark.docs
@pytest.mark.parametrize(
    "name", ["cli.md", "features.md", "events.md", "verdicts.md", "ledger.md", "lifecycle.md", "resilience.md"]
)
def test_a_generated_page_is_the_current_one(name: str) -> None:
    sys.path.insert(0, str(PROJECT / "docs"))
    try:
        build = importlib.import_module("build_reference")
    finally:
        sys.path.pop(0)
    assert (PROJECT / "docs" / "reference" / name).read_text(encoding="utf-8") == build.PAGES[name]()


@pytest.mark.docs
def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


@pytest.mark.docs
def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)`", page.read_text(encoding="utf-8"))}
    assert named and named <= targets


def modules() -> list[str]:
    found = pkgutil.walk_packages(workbench.__path__, "workbench.")
    return ["workbench", *(module.name for module in found if not module.name.endswith("__main__"))]


def test_the_examples_in_docstrings_run() -> None:
    attempted = 0
    for name in modules():
        result = doctest.testmod(importlib.import_module(name), verbose=False)
        assert result.failed == 0, name
        attempted += result.attempted
    assert attempted >= 15
