"""Widgets with a name that the style sheet knows."""

import ipywidgets as widgets

__all__ = ["box", "button", "html"]


def html(text: str, name: str | None = None) -> widgets.HTML:
    """HTML that was escaped where it was made."""
    made = widgets.HTML(text)
    if name:
        made.add_class(name)
    return made


def box(name: str, *children: widgets.Widget) -> widgets.VBox:
    made = widgets.VBox(children)
    made.add_class(name)
    return made


def button(text: str, name: str) -> widgets.Button:
    made = widgets.Button(description=text, tooltip="")
    made.add_class(name)
    return made
