"""The page around the content: template environment, style sheet, policy, and how numbers are written."""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

__all__ = ["number", "render"]


def number(value: object, digits: int | None = None) -> str:
    """A number as readers see it: whole ones in groups of three, others with ``digits`` decimals or 4 significant ones.

    >>> number(49828), number(0.8926362), number(0.25, 1), number("yes"), number(None)
    ('49,828', '0.8926', '0.2', 'yes', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if digits is not None:
            return f"{value:.{digits}f}"
        return f"{value:.4g}" if value == 0 or 1e-4 <= abs(value) < 1e7 else f"{value:.3e}"
    return str(value)


@cache
def _style() -> str:
    return resources.files("workbench.pages").joinpath("page.css").read_text(encoding="utf-8")


@cache
def _environment(package: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, ".") for name in ("workbench.pages", package)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def render(package: str, template: str, **content: Any) -> str:
    """Render ``template`` of ``package``; it extends ``page.html.j2`` and may use ``macros.html.j2``."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return _environment(package).get_template(template).render(style=Markup(style), policy=policy, **content)  # noqa: S704
