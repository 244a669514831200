"""The explanation of one event as a page, for readers who decide on it."""

from collections.abc import Mapping

from workbench import __version__
from workbench.pages import figure_svg, number, render, svg_uri
from workbench.risk.card_blocks import of_100
from workbench.risk.drawing import alt_text
from workbench.risk.explain import Explanation
from workbench.risk.model import RiskModel
from workbench.risk.shap_figures import explanation_figure
from workbench.risk.words import title

__all__ = ["explanation_page"]


def explanation_page(explanation: Explanation, model: RiskModel, event: Mapping[str, str] | None = None) -> str:
    """``explanation`` of an event by ``model`` as one self-contained page.

    ``event`` says what is known of the event, name by name, as it shall be shown; nothing but its id unless given.
    """
    shared = explanation.shares_out
    alert = model.threshold.is_alert(explanation.p)
    figure = explanation_figure(explanation)
    columns = ["Reason", "Feature", "Value", "Points of risk", f"SHAP value ({explanation.space})"]
    rows = [
        [
            one.words,
            title(one.feature),
            number(int(one.value) if one.value.is_integer() else one.value),
            f"{one.points:+.3f}" if shared and one.points is not None else "–",
            f"{one.raw:+.4f}",
        ]
        for one in explanation.contributions
    ]
    return render(
        "workbench.risk",
        "explanation.html.j2",
        event_id=explanation.event_id,
        risk=f"{explanation.p:.2f}",
        alert=alert,
        lead=_lead(explanation),
        event=[("Event", explanation.event_id), *(event or {}).items()],
        reading=_reading(explanation),
        source=svg_uri(figure_svg(figure)),
        alt=alt_text(figure),
        caption="Full bars to the right raised the risk, hatched bars to the left lowered it.",
        columns=columns,
        rows=rows,
        table_caption="Every feature the model looked at, those that moved the score most first.",
        check=[
            ("Model", f"sha256:{model.sha256}"),
            ("Feature definitions", f"sha256:{model.spec.sha256}"),
            ("An event is an alert from", f"risk {model.threshold.value:.4f}"),
        ],
        version=__version__,
    )


def _lead(explanation: Explanation) -> str:
    return (
        f"Of 100 events like this one, the model expects about {of_100(explanation.p)} to be violations; of 100 usual "
        f"events about {of_100(explanation.base)}."
    )


def _reading(explanation: Explanation) -> str:
    if explanation.shares_out:
        return (
            f"A usual event has risk {explanation.base:.2f}. Added to that, the points of all reasons give "
            f"{explanation.p:.2f}, the risk of this event."
        )
    return (
        f"A usual event has risk {explanation.base:.2f}, this one {explanation.p:.2f}. That difference cannot be "
        f"shared out among the reasons, so they are shown in the model's own unit ({explanation.space})."
    )
