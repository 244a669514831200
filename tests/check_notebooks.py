"""Committed notebooks carry no outputs, no execution counts, and stable cell ids: ``python tests/check_notebooks.py DIR``."""

import sys
from pathlib import Path

import nbformat


def complaints(path: Path) -> list[str]:
    """What is wrong with one notebook, in words."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.get("outputs"):
            found.append(f"{path}: cell {number} has outputs")
        if cell.get("execution_count") is not None:
            found.append(f"{path}: cell {number} has an execution count")
        if not cell.get("id"):
            found.append(f"{path}: cell {number} has no id")
    if notebook.metadata.get("widgets"):
        found.append(f"{path}: the metadata hold widget state")
    if (
        not any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
        and "dashboards" not in path.parts
    ):
        found.append(f"{path}: no cell is tagged 'parameters'")
    return found


def main(folders: list[str]) -> int:
    paths = sorted(
        path for folder in folders for path in Path(folder).rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
    )
    found = [complaint for path in paths for complaint in complaints(path)]
    print("\n".join(found) or f"{len(paths)} notebooks, all without outputs")
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
