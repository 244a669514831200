"""Arrows point down only: what each package may import, in one table."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "workbench"

BASE = {"errors", "clock", "compiled", "files", "workspace", "documents", "layout", "pages"}
# What stands directly below each package; what stands below that is allowed as well. Rows for packages still to come
# bind them from their first day.
BELOW = {
    **{name: {"<root>"} for name in BASE},
    "resilience": {"clock", "errors"},
    "evidence": BASE | {"resilience"},
    "ledger": {"evidence"},
    "custody": {"ledger"},
    "lifecycle": {"custody"},
    "events": BASE,
    "features": {"events"},
    "policies": {"features", "lifecycle"},
    "risk": {"features", "lifecycle"},
    "simulation": {"resilience", "events"},
    "experiments": {"custody", "events"},
    "reports": {"experiments", "lifecycle"},
    "dashboards": {"reports", "risk", "policies", "simulation"},
    "cli": {"dashboards"},
    "__main__": {"cli"},
}
# The base is one storey, and within it these few lean on others.
WITHIN_BASE = {
    "files": {"errors"},
    "workspace": {"errors"},
    "documents": {"errors"},
    "layout": {"errors", "files", "workspace"},
}
# The root holds the version, and fetches the notebook's few names on first use (never on import).
LAZY = {"events", "experiments"}


def allowed(part: str) -> set[str]:
    found = {part}
    waiting = list(BELOW[part] if part not in BASE else WITHIN_BASE.get(part, set()))
    while waiting:
        lower = waiting.pop()
        if lower not in found and lower != "<root>":
            found.add(lower)
            waiting += BELOW[lower] if lower not in BASE else WITHIN_BASE.get(lower, set())
    return found | ({"<root>"} if part != "resilience" else set())


def part_of(module: str) -> str:
    """``events`` for ``workbench.events.ingest``; ``<root>`` for ``workbench`` itself."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "<root>"


def imported(path: Path) -> set[str]:
    """The parts of the package that a module imports, anywhere in it."""
    own = ["workbench", *path.relative_to(PACKAGE).with_suffix("").parts]
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = ".".join(own[: len(own) - node.level]) if node.level else ""
            module = ".".join(filter(None, [home, node.module]))
            # ``from workbench import events`` imports the package, ``from workbench import __version__`` does not.
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "workbench" else [module]
            names = [name if part_of(name) in BELOW else "workbench" for name in names if name.startswith("workbench")]
        else:
            continue
        parts |= {part_of(name) for name in names if name.split(".")[0] == "workbench"}
    return parts


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_workspace" not in path.parts)


def test_every_part_of_the_package_has_a_row():
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert parts - set(BELOW) == set()


def test_the_table_has_no_circle():
    assert {part for part in BELOW for lower in allowed(part) - {part, "<root>"} if part in allowed(lower)} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_downwards_only(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    may = LAZY if part == "__init__" else allowed(part)
    assert imported(path) - may == set()


def test_an_upward_import_would_be_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    module = tmp_path / "events" / "bad.py"
    module.parent.mkdir()
    for text in (
        "from workbench.features import build",
        "import workbench.features.table",
        "from workbench import features",
        "from ..features import build",
        "def late():\n    from workbench.features import build",
    ):
        module.write_text(text)
        assert imported(module) - allowed("events") == {"features"}, text


def test_importing_the_package_imports_nothing_else():
    script = "import sys; before = set(sys.modules); import workbench; print(*sorted(set(sys.modules) - before))"
    told = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {name for name in told.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names}
    assert heavy == {"workbench"}


def test_importing_the_events_imports_nothing_that_draws_or_learns():
    script = "import sys, workbench.events; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in told.stdout.split()}
    assert loaded & {"matplotlib", "sklearn", "jupyter_client", "nbformat", "IPython", "typer", "rich"} == set()
