"""A run as one HTML file: claims first, then values, methods and the notebook with its code folded away."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__
from workbench.errors import InputError
from workbench.experiments import Run, Status
from workbench.experiments.outputs import numbers, read_payload
from workbench.experiments.recording import FIGURE_MIME, TABLE_MIME
from workbench.files import write_atomic
from workbench.pages import Frame, code_html, markdown_html, number, plain_text, render, svg_uri
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["publish", "report_html"]

_CHIPS = {"supported": ("good", "✓"), "not supported": ("bad", "✗"), "not tested": ("none", "–")}


def publish(workspace: Workspace, run: Run, target: Path | None = None) -> Path:
    """Write the report of ``run`` to ``target`` (``reports/<run id>.html`` unless given) and return where it is.

    Raises ``InputError`` if the run still runs, ``IntegrityError`` if its notebook was changed, ``StorageError``.
    """
    if run.status is Status.RUNNING:
        raise InputError(f"run {run.id} is still running: its report can be made when it has ended")
    path = target or workspace.reports / f"{run.id}.html"
    if path.is_dir():
        raise InputError(f"{workspace.shown(path)} is a folder: name a file for the report")
    page = report_html(run).encode()
    write_atomic(path, page, make_folder=True)
    return path


def report_html(run: Run) -> str:
    """The report as a page: the same bytes for the same run."""
    record, results = run.record, run.results
    notebook = run.notebook() if (run.path / "executed.ipynb").is_file() else None
    supported = sum(claim["outcome"] == "supported" for claim in run.claims)
    return render(
        "workbench.reports",
        "report.html.j2",
        record=record,
        completed=run.status is Status.COMPLETED,
        status_class="good" if run.status is Status.COMPLETED else "bad",
        summary=_summary(run, supported),
        claims=[_claim(claim) for claim in run.claims],
        values=[_value(value) for value in results["values"]],
        units=any(value["unit"] for value in results["values"]),
        parameters=[(name, str(value)) for name, value in record["parameters"].items()],
        inputs=record["inputs"],
        surroundings=_surroundings(run),
        cells=_cells(notebook, record) if notebook else [],
        version=__version__,
    )


def _summary(run: Run, supported: int) -> str:
    total = len(run.claims)
    ended = f"The run ended {run.status.value}"
    if run.status is not Status.COMPLETED:
        return f"{ended}, so its claims could not be tested."
    if not total:
        return f"{ended}. The experiment states no claims."
    return f"{supported} of {total} claims supported. {ended} after {number(round(run.record['seconds'], 1))} s."


def _claim(claim: dict[str, Any]) -> dict[str, Any]:
    chip, sign = _CHIPS[claim["outcome"]]
    return {**claim, "chip": chip, "sign": sign, "shown": number(claim["measured"])}


def _value(value: dict[str, Any]) -> dict[str, Any]:
    low, high = value["low"], value["high"]
    interval = "" if low is None and high is None else f"{number(low)} to {number(high)}"
    return {**value, "shown": number(value["value"]), "interval": interval}


def _surroundings(run: Run) -> list[tuple[str, str]]:
    record = run.record
    environment = run.environment if (run.path / "environment.json").is_file() else {}
    code = record["code"]
    commit = code["commit"] or "not under version control"
    facts = [
        ("Started", record["started"]),
        ("Ended", record["ended"] or "unknown: the runner died"),
        (
            "Code",
            f"workbench {code['workbench']}, commit {commit}" + (", with uncommitted changes" if code["dirty"] else ""),
        ),
    ]
    if environment:
        packages = environment["packages"]
        named = ("numpy", "pandas", "scikit-learn", "duckdb", "matplotlib")
        facts += [
            ("Interpreter", f"Python {environment['python']} on {environment['platform']}"),
            ("Libraries", ", ".join(f"{name} {packages[name]}" for name in named if name in packages)),
            ("Pinned", ", ".join(f"{name}={value}" for name, value in environment["settings"].items())),
        ]
    return facts


def _cells(notebook: "NotebookNode", record: dict[str, Any]) -> list[dict[str, Any]]:
    states = {cell["cell"]: cell["status"] for cell in record["cells"]}
    number_of = numbers(notebook)
    cells: list[dict[str, Any]] = []
    for index, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        ended_well = states.get(number_of.get(index, 0), "COMPLETED") == "COMPLETED"
        if "remove-cell" in tags and ended_well:
            continue
        if cell.cell_type == "markdown":
            cells.append({"kind": "markdown", "html": markdown_html(cell.source)})
        elif index in number_of:
            shown = {
                "number": number_of[index],
                "kind": "code",
                "injected": "injected-parameters" in tags,
                "code": code_html(cell.source),
                "state": states[number_of[index]],
                "outputs": [_output(output, title) for output, title in _titled(cell, number_of[index])],
            }
            cells.append(shown)
    return cells


def _titled(cell: "NotebookNode", number: int) -> list[tuple["NotebookNode", str]]:
    """Outputs with a title, unique on the page."""
    single = len(cell.outputs) == 1
    named = "Output of cell {1}" if single else "Output {0} of cell {1}"
    return [(output, named.format(index, number)) for index, output in enumerate(cell.outputs, 1)]


def _output(output: "NotebookNode", title: str) -> dict[str, Any]:
    """One output as ``kind`` and what the template needs for it; of several forms, the safest rich one."""
    if output.output_type == "stream":
        kind = "text" if output.name == "stdout" else "log"
        return {"kind": kind, "text": plain_text(output.text)}
    if output.output_type == "error":
        return {
            "kind": "error",
            "name": output.ename,
            "message": output.evalue,
            "text": plain_text("\n".join(output.traceback)),
        }
    data = output.data
    try:
        read = read_payload(data)
    except InputError:
        read = None
    if read is not None:
        mime, payload = read
        if mime == TABLE_MIME:
            return {"kind": "table", **payload}
        if mime == FIGURE_MIME:
            return {"kind": "figure", "source": svg_uri(data["image/svg+xml"]), **payload}
        return {"kind": "value", "text": data.get("text/plain", payload["name"])}
    if "image/svg+xml" in data:
        return {"kind": "figure", "source": svg_uri(data["image/svg+xml"]), **_unnamed(data)}
    for mime in ("image/png", "image/jpeg"):
        if mime in data:
            return {
                "kind": "figure",
                "source": f"data:{mime};base64,{''.join(data[mime].split())}",
                **_unnamed(data),
            }
    if "text/markdown" in data:
        return {"kind": "html", "html": markdown_html(data["text/markdown"]), "title": title}
    if "text/html" in data and (frame := Frame.around(data["text/html"], title=title)):
        return {"kind": "frame", "frame": frame}
    return {"kind": "text", "text": plain_text(data.get("text/plain", ""))}


def _unnamed(data: dict[str, Any]) -> dict[str, str]:
    return {"alt": data.get("text/plain", "figure without a description"), "caption": ""}
