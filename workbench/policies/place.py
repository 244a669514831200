"""Errors that point at the place: one sentence, then the line with a mark below it."""

from workbench.errors import InputError

__all__ = ["at_place"]

_WIDEST = 100  # characters of a line that are shown


def at_place(expression: str, sentence: str, start: int | None, length: int = 1) -> InputError:
    """The error ``sentence``, with line and column of character ``start`` (from 0) and a mark of ``length`` below it.

    >>> print(at_place("action = 'a'\\nAND hours > 3", "there is no column 'hours'", 17, 5))
    there is no column 'hours' (line 2, column 5)
        AND hours > 3
            ^^^^^
    """
    if start is None:
        return InputError(sentence)
    start = max(0, min(start, len(expression)))
    begins = expression.rfind("\n", 0, start) + 1
    number, column = expression.count("\n", 0, start) + 1, start - begins
    line = expression[begins:].split("\n", 1)[0]
    cut = max(0, min(column - _WIDEST // 2, len(line) - _WIDEST))
    shown = "".join(letter if letter.isprintable() else "·" for letter in line[cut : cut + _WIDEST])
    width = max(1, min(length, len(shown) - (column - cut)))
    mark = " " * (column - cut) + "^" * width
    return InputError(f"{sentence} (line {number}, column {column + 1})\n    {shown}\n    {mark}")
