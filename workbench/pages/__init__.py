"""Self-contained HTML pages: one file, no script, no request, readable in light and dark, on screen and paper.

Every page carries a Content-Security-Policy that allows its own style sheets and ``data:`` images and nothing else, so
that even a hostile text inside it can neither run nor call home. HTML made by others stands in sandboxed frames with a
policy of their own. Nothing here knows what the pages are about.
"""

from workbench.pages.content import clean_html, code_html, markdown_html, plain_text, svg_uri
from workbench.pages.drawing import figure_svg
from workbench.pages.frames import Frame
from workbench.pages.shell import number, render

__all__ = [
    "Frame",
    "clean_html",
    "code_html",
    "figure_svg",
    "markdown_html",
    "number",
    "plain_text",
    "render",
    "svg_uri",
]
