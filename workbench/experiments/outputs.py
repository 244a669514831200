"""Reading an executed notebook: what it recorded, and its canonical digest."""

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import ConfigDict, Field, ValidationError

from workbench.documents import Strict, explain
from workbench.errors import InputError
from workbench.experiments.recording import FIGURE_MIME, TABLE_MIME, VALUE_MIME
from workbench.files import sha256_bytes

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["Recorded", "canonical_sha256", "code_cells", "collect", "headings", "numbers", "read_payload"]

_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]{6,16}")


@dataclass(frozen=True)
class Recorded:
    """What a run recorded, each with the number of its cell. ``repeated`` maps a name recorded
    more than once to its cells; ``invalid`` says which cell shows something under our types that is not valid."""

    values: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    repeated: dict[str, list[int]] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)

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


class _Payload(Strict):
    """What stands behind a MIME type of ours. Notebooks can display anything under it, so it is checked when read."""

    model_config = ConfigDict(allow_inf_nan=False)

    name: str = Field(pattern=r"^[^\W\d]\w*$")


_Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]


class _Value(_Payload):
    value: bool | _Whole | float | str
    type: str
    low: _Whole | float | None
    high: _Whole | float | None
    unit: str | None
    tolerance: float


class _Figure(_Payload):
    alt: str
    caption: str


class _Table(_Payload):
    caption: str
    digits: int
    columns: list[str]
    rows: list[list[bool | int | float | str | None]]


_MODELS: Final[dict[str, type[_Payload]]] = {VALUE_MIME: _Value, FIGURE_MIME: _Figure, TABLE_MIME: _Table}


def read_payload(data: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The MIME type of ours in an output's ``data`` with its payload, or None if there is none.

    Raises ``InputError`` if the payload is not what ``record``, ``figure`` or ``table`` make.
    """
    mime = next((mime for mime in _MODELS if mime in data), None)
    if mime is None:
        return None
    kind = mime.split(".")[2]
    if mime == FIGURE_MIME and not isinstance(data.get("image/svg+xml"), str):
        raise InputError(f"a {kind} without its picture")
    try:
        return mime, _MODELS[mime].model_validate(data[mime]).model_dump()
    except ValidationError as error:
        raise InputError(f"a {kind} that is not valid: {explain(error)}") from error


def collect(notebook: "NotebookNode") -> Recorded:
    """Gather values, figures and tables in cell order."""
    found: dict[str, list[dict[str, Any]]] = {mime: [] for mime in _MODELS}
    invalid = []
    for index, number in numbers(notebook).items():
        for output in notebook.cells[index].get("outputs", []):
            try:
                read = read_payload(output.get("data", {}))
            except InputError as error:
                invalid.append(f"cell {number} shows {error}")
                continue
            if read is not None:
                mime, payload = read
                if mime == FIGURE_MIME:
                    payload["sha256"] = sha256_bytes(output["data"]["image/svg+xml"].encode())
                found[mime].append({**payload, "cell": number})
    everything = [item for items in found.values() for item in items]
    repeated = {
        item["name"]: [other["cell"] for other in everything if other["name"] == item["name"]] for item in everything
    }
    return Recorded(
        found[VALUE_MIME],
        found[FIGURE_MIME],
        found[TABLE_MIME],
        {name: cells for name, cells in repeated.items() if len(cells) > 1},
        invalid,
    )


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
                    outputs[-1][1] += _without_addresses(output["text"])
                else:
                    outputs.append(["stdout", _without_addresses(output["text"])])
            elif kind == "error":
                outputs.append(["error", output["ename"], _without_addresses(output["evalue"])])
            elif not any("widget-view" in mime for mime in output["data"]):
                data = {
                    mime: _without_addresses(shown) if mime in ("text/plain", "text/html") else shown
                    for mime, shown in sorted(output["data"].items())
                }
                outputs.append(["data", data])
        cells.append([cell.cell_type, cell.source, outputs])
    text = json.dumps(cells, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return sha256_bytes(text.encode(errors="surrogatepass"))


def _without_addresses(text: Any) -> Any:
    return _ADDRESS.sub(" at 0x", text) if isinstance(text, str) else text
