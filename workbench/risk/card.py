"""The model card, as Markdown for the registry and as a page with figures for readers."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from matplotlib.figure import Figure

from workbench import __version__
from workbench.errors import MalformedError, NotFoundError
from workbench.evidence.strict import read_object
from workbench.pages import figure_svg, markdown_html, number, render, svg_uri
from workbench.risk.alert_figures import confusion_figure, hundreds_figure
from workbench.risk.card_blocks import Facts, Metrics, Rows, Section, Text
from workbench.risk.card_text import sections
from workbench.risk.course_figures import folds_figure, learning_curve_figure
from workbench.risk.drawing import alt_text
from workbench.risk.figures import calibration_figure, importance_figure, stored_curves_figure
from workbench.risk.metrics import Metric
from workbench.risk.model import RiskModel
from workbench.risk.shap_figures import shap_bar_figure

__all__ = ["card_dict", "card_markdown", "card_of", "card_page"]


class Stored(Protocol):
    """What a card needs of a version in the registry."""

    @property
    def number(self) -> int: ...
    @property
    def model(self) -> RiskModel: ...
    def file(self, name: str) -> bytes: ...


def card_markdown(model: RiskModel, metrics: Metrics, reference: Metrics | None = None) -> str:
    """The card of ``model`` as Markdown: the same bytes for the same model and numbers.

    ``metrics`` is the content of ``metrics.json``, ``reference`` that of ``reference.json``; what they lack, the card
    calls not recorded.
    """
    parts = [f"# Model card: risk of violation, model {model.sha256[:12]}"]
    for section in sections(model, metrics, reference):
        parts.append(f"## {section.title}")
        parts += [_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def card_dict(model: RiskModel, metrics: Metrics, reference: Metrics | None = None) -> dict[str, Any]:
    """The card as plain values, for other programs: each section's paragraphs, facts and tables."""
    return {
        "model_sha256": model.sha256,
        "sections": [
            {"name": section.name, "title": section.title, "content": [_plain(block) for block in section.blocks]}
            for section in sections(model, metrics, reference)
        ],
    }


def card_of(version: Stored) -> dict[str, Any]:
    """``card_dict`` of a stored ``version``. Raises as ``card_page``."""
    metrics, reference = (_stored(version, name) for name in ("metrics.json", "reference.json"))
    with _well_formed(version):
        return card_dict(version.model, metrics, reference)


def card_page(version: Stored) -> str:
    """The card of a stored ``version`` as one self-contained page: the same bytes for the same version.

    Raises ``IntegrityError`` if a file of the version was changed, ``MalformedError`` if one does not follow its form.
    """
    metrics, reference = (_stored(version, name) for name in ("metrics.json", "reference.json"))
    model = version.model
    with _well_formed(version):
        parts = sections(model, metrics, reference)
        figures = {name: _figures(name, metrics) for name in _DRAWN}
    return render(
        "workbench.risk",
        "card.html.j2",
        number=version.number,
        sha256=model.sha256,
        lead=markdown_html(_paragraph(parts[0])),
        hundreds=figures["plain"],
        sections=[
            {
                "name": section.name,
                "title": section.title,
                "blocks": [_shown(block) for block in section.blocks],
                "figures": figures.get(section.name, []),
            }
            for section in parts[1:]
        ],
        version=__version__,
    )


def _stored(version: Stored, name: str) -> Metrics:
    """A JSON file of the version; empty where the version has none."""
    try:
        data = version.file(name)
    except NotFoundError:
        return {}
    return read_object(data, what=f"{name} of model v{version.number}")


@contextmanager
def _well_formed(version: Stored) -> Iterator[None]:
    """Numbers that a model brought along may have any form; none may end in a traceback."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        raise MalformedError(
            f"metrics.json or reference.json of model v{version.number} is not as `workbench train` writes it "
            f"({type(error).__name__}: {error}): train the model anew"
        ) from error


def _paragraph(section: Section) -> str:
    return "\n\n".join(block.text for block in section.blocks if isinstance(block, Text))


def _markdown(block: Text | Facts | Rows) -> str:
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Facts):
        return "\n".join(f"- {name}: {_cell(value)}" for name, value in block.pairs)
    lines = [block.columns, tuple("---" for _ in block.columns), *block.rows]
    table = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    return f"{block.caption}\n\n{table}"


def _cell(content: str | int | None) -> str:
    """Text of a cell, in which nothing may end the cell or the line, or start HTML."""
    return " ".join(number(content).split()).replace("|", "\\|").replace("<", "&lt;")


def _plain(block: Text | Facts | Rows) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"text": block.text}
    if isinstance(block, Facts):
        return {"facts": dict(block.pairs)}
    return {"table": block.caption, "columns": list(block.columns), "rows": [list(row) for row in block.rows]}


def _shown(block: Text | Facts | Rows) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"kind": "text", "html": markdown_html(block.text)}
    if isinstance(block, Facts):
        return {"kind": "facts", "pairs": block.pairs}
    rows = [[_kept_together(cell) if isinstance(cell, str) else cell for cell in row] for row in block.rows]
    return {"kind": "rows", "columns": block.columns, "rows": rows, "caption": block.caption}


def _kept_together(cell: str) -> str:
    """An interval in brackets moves to the next line as one."""
    return re.sub(r"\(([0-9.]+) to ([0-9.]+)\)", "(\\1\u00a0to\u00a0\\2)", cell)


def _figures(section: str, metrics: Metrics) -> list[tuple[str, str, str]]:
    """Source, description and caption of the figures of a section; none where their numbers were not recorded."""
    shown = []
    for draw, caption in _DRAWN.get(section, ()):
        figure = draw(metrics)
        if figure is not None:
            shown.append((svg_uri(figure_svg(figure)), alt_text(figure), caption))
    return shown


def _curves(metrics: Metrics) -> Figure | None:
    test, curves = metrics.get("slices", {}).get("test", {}), metrics.get("curves")
    measured = test.get("metrics", {})
    if not curves or not {"roc_auc", "average_precision"} <= measured.keys():
        return None
    point = (measured["recall"]["value"], measured["precision"]["value"]) if "precision" in measured else None
    roc, precision = (_metric(name, measured[name]) for name in ("roc_auc", "average_precision"))
    return stored_curves_figure(curves, prevalence=test["prevalence"], roc=roc, precision=precision, point=point)


def _metric(name: str, found: Mapping[str, float]) -> Metric:
    return Metric(name, found["value"], found["low"], found["high"])


def _confusion(metrics: Metrics) -> Figure | None:
    counts = metrics.get("slices", {}).get("test", {}).get("confusion")
    return confusion_figure(**counts) if counts else None


def _of(name: str, draw: Callable[[Any], Figure], *path: str) -> Callable[[Metrics], Figure | None]:
    def drawn(metrics: Metrics) -> Figure | None:
        found: Any = metrics.get(name)
        for key in path:
            found = (found or {}).get(key)
        return draw(found) if found else None

    return drawn


def _hundreds(metrics: Metrics) -> Figure | None:
    measured = metrics.get("slices", {}).get("test", {}).get("metrics", {})
    if not {"precision", "recall"} <= measured.keys():
        return None
    return hundreds_figure(_metric("precision", measured["precision"]), _metric("recall", measured["recall"]))


_DRAWN: Final[Mapping[str, tuple[tuple[Callable[[Metrics], Figure | None], str], ...]]] = {
    "plain": (
        (
            _hundreds,
            "Each square is one of a hundred. Hatched: the true number may end there (95 % interval).",
        ),
    ),
    "split": (
        (
            _of("folds", folds_figure, "forward"),
            (
                "Each fold was tested on what came after its training. Bars much above the dotted line are better than "
                "chance; bars that differ much mean that the past is a poor guide."
            ),
        ),
    ),
    "evaluation": (
        (_confusion, "What the alerts were worth. Dark squares at the upper left and lower right are right answers."),
        (
            _curves,
            (
                "All possible thresholds. Left: the more the curve bends to the upper left corner, the better; the "
                "dotted line is chance. Right: finding more violations (to the right) costs more false alarms (down)."
            ),
        ),
        (
            _of("learning_curve", learning_curve_figure),
            "Would more data help? Where the lines still rise at the right end, probably.",
        ),
    ),
    "calibration": (
        (
            _of("calibration", calibration_figure, "bins"),
            "On the dotted line the stated risk is the share really seen; above it, the model is too mild.",
        ),
    ),
    "importance": ((_of("importance", importance_figure), "With ranks; the thin lines are one standard deviation."),),
    "explanations": ((_of("shap", shap_bar_figure), "How far each feature moves a score, up or down, on average."),),
}
