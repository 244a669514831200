"""Texts of others made safe to show: Markdown, code, HTML of notebooks, terminal output."""

import base64
import re
from typing import Any, Final
from xml.etree import ElementTree  # parses only what our own converter made

import bleach
import latex2mathml.converter
import mistune
from markupsafe import Markup, escape
from mistune.plugins.math import math
from mistune.plugins.table import table
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

__all__ = ["clean_html", "code_html", "markdown_html", "plain_text", "svg_uri"]

_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TABLE_TAGS: Final = {"table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "colgroup", "col"}
_TEXT_TAGS: Final = {
    "p",
    "div",
    "span",
    "b",
    "i",
    "em",
    "strong",
    "code",
    "pre",
    "br",
    "ul",
    "ol",
    "li",
    "sub",
    "sup",
    "h3",
    "h4",
}
_MATHML: Final = "http://www.w3.org/1998/Math/MathML"
_MATHML_TAGS: Final = {
    "math",
    "mrow",
    "mi",
    "mn",
    "mo",
    "ms",
    "mtext",
    "mspace",
    "msub",
    "msup",
    "msubsup",
    "munder",
    "mover",
    "munderover",
    "mfrac",
    "msqrt",
    "mroot",
    "mtable",
    "mtr",
    "mtd",
    "mstyle",
    "mpadded",
    "mphantom",
    "menclose",
    "mmultiscripts",
    "mprescripts",
    "none",
}
_MATHML_ATTRIBUTES: Final = {
    "display",
    "displaystyle",
    "scriptlevel",
    "mathvariant",
    "stretchy",
    "fence",
    "form",
    "separator",
    "lspace",
    "rspace",
    "width",
    "height",
    "depth",
    "minsize",
    "maxsize",
    "accent",
    "accentunder",
    "linethickness",
    "columnalign",
    "rowspacing",
    "columnspacing",
    "columnlines",
    "rowlines",
    "notation",
    "movablelimits",
    "largeop",
    "symmetric",
}
_DROPPED: Final = re.compile(r"<(script|style|template|iframe|object|svg|math)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)


class _Renderer(mistune.HTMLRenderer):
    """Escapes raw HTML, moves headings down below the page's own, sets formulas as MathML, shows no remote image."""

    def __init__(self, heading_shift: int) -> None:
        super().__init__(escape=True)
        self._shift = heading_shift

    def heading(self, text: str, level: int, **attrs: Any) -> str:  # noqa: ARG002
        level = min(6, level + self._shift)
        return f"<h{level}>{text}</h{level}>\n"

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith("data:image/"):
            return super().image(text, url, title)
        return f"<em>[image: {text or escape(url)}]</em>"

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if self.safe_url(url).startswith("#harmful"):
            return text
        return super().link(text, url, title)

    def inline_math(self, text: str) -> str:
        return _formula(text, display="inline")

    def block_math(self, text: str) -> str:
        return f"<p>{_formula(text, display='block')}</p>\n"


def _formula(latex: str, *, display: str) -> str:
    """LaTeX as MathML; what is odd, or brings in anything but MathML, is shown as it was typed."""
    try:
        converted = latex2mathml.converter.convert(latex, display=display)
        root = ElementTree.fromstring(converted)  # noqa: S314  # a DOCTYPE cannot stand inside its root element
        if all(_is_plain_mathml(element) for element in root.iter()):
            ElementTree.register_namespace("", _MATHML)
            return ElementTree.tostring(root, encoding="unicode")
    except Exception:  # the converter has no common base error
        return f"<code>{escape(latex)}</code>"
    return f"<code>{escape(latex)}</code>"


def _is_plain_mathml(element: ElementTree.Element) -> bool:
    namespace, _, tag = element.tag.removeprefix("{").rpartition("}")
    return namespace == _MATHML and tag in _MATHML_TAGS and set(element.attrib) <= _MATHML_ATTRIBUTES


def markdown_html(text: str, *, heading_shift: int = 2) -> Markup:
    """Markdown (with tables and ``$formulas$``) as HTML; raw HTML in it is shown as text."""
    renderer = _Renderer(heading_shift)
    convert = mistune.create_markdown(renderer=renderer, plugins=[table])
    math(convert)
    renderer.register("inline_math", lambda _, text: renderer.inline_math(text))
    renderer.register("block_math", lambda _, text: renderer.block_math(text))
    return Markup(convert(text))  # noqa: S704


def code_html(source: str) -> Markup:
    """Python source, highlighted by classes."""
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))  # noqa: S704


def clean_html(html: str) -> Markup:
    """HTML of a notebook's output reduced to tables and plain text markup, without attributes but spans and scopes."""
    cleaned = bleach.clean(
        _DROPPED.sub("", html),
        tags=_TABLE_TAGS | _TEXT_TAGS,
        attributes={"th": ["colspan", "rowspan", "scope"], "td": ["colspan", "rowspan"]},
        strip=True,
        strip_comments=True,
    )
    return Markup(cleaned)  # noqa: S704


def plain_text(text: str) -> str:
    """Terminal output without its colour codes; of lines overwritten by carriage returns, the last state."""
    lines = (line.rsplit("\r", 1)[-1] for line in _ANSI.sub("", text).replace("\r\n", "\n").split("\n"))
    return "\n".join(lines)


def svg_uri(svg: str) -> str:
    """An SVG as a ``data:`` address: shown as an image it can run no script and load nothing."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
