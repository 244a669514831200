"""Reading an executed notebook: what it recorded, and its canonical digest."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from workbench.experiments.recording import FIGURE_MIME, TABLE_MIME, VALUE_MIME
from workbench.files import sha256_bytes

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["Recorded", "canonical_sha256", "code_cells", "collect", "headings", "numbers"]

_ADDRESS: Final = re.compile(r"0x[0-9a-f]{6,16}")


@dataclass(frozen=True)
class Recorded:
    """What a run recorded, each with the number of its cell. ``repeated`` maps a name recorded
    more than once to its cells."""

    values: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    repeated: dict[str, list[int]] = field(default_factory=dict)

    def by_name(self) -> dict[str, dict[str, Any]]:
        return {value["name"]: value for value in self.values}


def code_cells(notebook: "NotebookNode") -> list[int]:
    """Indexes of the cells that will be executed."""
    return [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip() and "skip-execution" not in cell.metadata.get("tags", [])
    ]


def numbers(notebook: "NotebookNode") -> dict[int, int]:
    """Index of each executed cell to its number: 1 for the first, as Jupyter's ``In [1]``. Users see only numbers."""
    return {index: number for number, index in enumerate(code_cells(notebook), start=1)}


def headings(notebook: "NotebookNode") -> list[str]:
    """For each cell, the last markdown heading at or above it ('' before the first)."""
    current, found = "", []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            titles = re.findall(r"^#{1,6}\s+(.+?)\s*#*$", cell.source, flags=re.MULTILINE)
            current = titles[-1] if titles else current
        found.append(current)
    return found


def _outputs(notebook: "NotebookNode", mime: str) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    for index, number in numbers(notebook).items():
        for output in notebook.cells[index].get("outputs", []):
            data = output.get("data", {})
            if mime in data:
                payload = data[mime]
                yield number, (json.loads(payload) if isinstance(payload, str) else dict(payload)), data


def collect(notebook: "NotebookNode") -> Recorded:
    """Gather values, figures and tables in cell order."""
    values = [{**payload, "cell": number} for number, payload, _ in _outputs(notebook, VALUE_MIME)]
    figures = [
        {**payload, "cell": number, "sha256": sha256_bytes(data.get("image/svg+xml", "").encode())}
        for number, payload, data in _outputs(notebook, FIGURE_MIME)
    ]
    tables = [{**payload, "cell": number} for number, payload, _ in _outputs(notebook, TABLE_MIME)]
    everything = [*values, *figures, *tables]
    repeated = {
        item["name"]: [other["cell"] for other in everything if other["name"] == item["name"]] for item in everything
    }
    return Recorded(values, figures, tables, {name: cells for name, cells in repeated.items() if len(cells) > 1})


def canonical_sha256(notebook: "NotebookNode") -> str:
    """Digest of what the notebook says: sources and outputs, without anything that varies between equal runs.

    Left out: metadata, ids, execution counts, standard error (progress bars), widget views; memory addresses are
    blanked and split streams joined.
    """
    cells = []
    for cell in notebook.cells:
        outputs: list[Any] = []
        for output in cell.get("outputs", []):
            kind = output["output_type"]
            if kind == "stream":
                if output["name"] != "stdout":
                    continue
                if outputs and outputs[-1][0] == "stdout":
                    outputs[-1][1] += output["text"]
                else:
                    outputs.append(["stdout", output["text"]])
            elif kind == "error":
                outputs.append(["error", output["ename"], output["evalue"]])
            elif not any("widget-view" in mime for mime in output["data"]):
                outputs.append(["data", dict(sorted(output["data"].items()))])
        cells.append([cell.cell_type, cell.source, outputs])
    text = json.dumps(cells, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256_bytes(_ADDRESS.sub("0x", text).encode())
