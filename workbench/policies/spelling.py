"""What an expression may be spelled with, before anything parses it: its characters, its length, its quotes.

A reviewer reads the very text that is evaluated, so nothing in it may look like something else: outside quotes stand
ASCII characters only, inside them no invisible ones and no words of letters that mix two scripts. Comments are refused:
they would say one thing and the expression another.
"""

import unicodedata
from typing import Final

from workbench.policies.place import at_place

__all__ = ["DEEPEST", "LONGEST", "LONGEST_TEXT", "check_characters", "check_spelling", "scripts"]

LONGEST: Final = 4_000  # characters of an expression
LONGEST_TEXT: Final = 500  # characters between two quotes
LONGEST_NUMBER: Final = 30  # digits
DEEPEST: Final = 32  # parentheses, and parts within parts

_REFUSED: Final = {
    ";": "a ';': a policy is one expression, not several statements",
    "$": "a '$': parameters and dollar quotes have no place here; write the value itself, in single quotes",
    "?": "a '?': a parameter has no value here; write the value itself",
    "#": "a '#': columns are named, never counted",
    "@": "an '@': it is no operator here",
    "`": "a backquote: texts stand in single quotes, and names as they are",
    "\\": "a backslash: it may stand only inside a text in single quotes",
    "{": "a '{': structs and maps have no place here",
    "[": "a '[': lists and subscripts have no place here; write column IN ('a', 'b'), or substring(column, 1, 3)",
}
_TYPOGRAPHIC: Final = {"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "´": "'"}
_PREFIXES: Final = {"e", "x", "b", "n", "u&"}
# Scripts that stand side by side in one word of ordinary text.
_TOGETHER: Final = ({"CJK", "HIRAGANA", "KATAKANA", "LATIN", "KATAKANA-HIRAGANA"}, {"CJK", "HANGUL", "LATIN"})


def check_spelling(expression: str) -> None:
    """Raise ``InputError``, pointing at the place, unless ``expression`` is spelled as a policy's may be."""
    if not expression.strip():
        raise at_place(expression, "the expression is empty: expected one such as outcome = 'denied'", None)
    if len(expression) > LONGEST:
        raise at_place(expression, f"the expression has {len(expression):,} characters, at most {LONGEST:,}", None)
    place, digits, opened = 0, 0, list[int]()
    while place < len(expression):
        letter = expression[place]
        digits = digits + 1 if letter.isascii() and letter.isdigit() else 0
        if letter in "'\"":
            place = _quoted(expression, place)
            continue
        if letter == "(":
            opened.append(place)
        elif letter == ")" and not opened:
            raise at_place(expression, "a ) that closes nothing", place)
        elif letter == ")":
            opened.pop()
        if len(opened) > DEEPEST:
            raise at_place(expression, f"the expression is nested too deep: more than {DEEPEST} parentheses", place)
        if digits > LONGEST_NUMBER:
            raise at_place(expression, f"a number of more than {LONGEST_NUMBER} digits", place + 1 - digits, digits)
        _check_letter(expression, place)
        place += 1
    if opened:
        raise at_place(expression, "a ( that is never closed", opened[-1])


def _check_letter(expression: str, place: int) -> None:
    """One character outside quotes."""
    letter, two = expression[place], expression[place : place + 2]
    if two in ("--", "/*"):
        what = "a comment: what is to be said about the policy belongs into description and rationale"
        raise at_place(expression, f"the expression holds {what}", place, 2)
    if letter in _REFUSED:
        raise at_place(expression, f"the expression holds {_REFUSED[letter]}", place)
    if letter in "\n\t" or " " <= letter <= "~":
        return
    if letter in _TYPOGRAPHIC:
        raise at_place(expression, f"a typographic quote {letter}: write {_TYPOGRAPHIC[letter]} instead", place)
    raise at_place(
        expression,
        f"the expression holds {_named(letter)}: outside quotes only plain ASCII characters may stand",
        place,
    )


def _quoted(expression: str, start: int) -> int:
    """The place after a text or name in quotes that begins at ``start``."""
    quote = expression[start]
    before = expression[:start]
    word = before[len(before.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_&")) :].lower()
    if quote == "'" and word in _PREFIXES:
        raise at_place(
            expression,
            f"a text with the prefix {word.upper()}: write it plainly, in single quotes",
            start - len(word),
            len(word) + 1,
        )
    place = start + 1
    while True:
        end = expression.find(quote, place)
        if end < 0:
            raise at_place(expression, f"a quote {quote} that is never closed", start)
        if expression[end + 1 : end + 2] != quote:
            break
        place = end + 2
    inside = expression[start + 1 : end]
    if len(inside) > LONGEST_TEXT:
        raise at_place(expression, f"a text of {len(inside):,} characters, at most {LONGEST_TEXT}", start, end - start)
    if quote == '"' and not inside.isascii():
        raise at_place(expression, f"a name in quotes with {_first_foreign(inside)}", start, end + 1 - start)
    if found := check_characters(inside):
        at, problem = found
        raise at_place(expression, f"a text with {problem}", start + 1 + at)
    return end + 1


def check_characters(text: str) -> tuple[int, str] | None:
    """The first character of ``text`` that a reader would not see as what it is: its place, and what it is.

    >>> check_characters("ex\\u200bport")
    (2, 'an invisible character (ZERO WIDTH SPACE)')
    >>> check_characters("straße ∅ 東京") is None
    True
    """
    for place, letter in enumerate(text):
        category = unicodedata.category(letter)
        if category[0] == "C" or (category[0] == "Z" and letter != " "):
            return place, f"an invisible character ({_name(letter)})"
    if not unicodedata.is_normalized("NFC", text):
        place = next(
            (
                at
                for at, letter in enumerate(text)
                if unicodedata.combining(letter) or unicodedata.decomposition(letter)
            ),
            0,
        )
        return place, f"letters in a form that is not the usual one (NFC), at {_name(text[place])}"
    place = 0
    for word in _words(text):
        place = text.index(word, place)
        mixed = scripts(word)
        if len(mixed) > 1 and not any(mixed <= together for together in _TOGETHER):
            odd = next(at for at, letter in enumerate(word) if scripts(letter) - {"LATIN"})
            return place + odd, f"a word that mixes {' and '.join(sorted(mixed))} letters: {_name(word[odd])}"
        place += len(word)
    return None


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text).split()


def scripts(text: str) -> set[str]:
    """The scripts that the letters of ``text`` are of, as Unicode's names begin.

    >>> sorted(scripts("abс"))
    ['CYRILLIC', 'LATIN']
    """
    return {_name(letter).split()[0] for letter in text if letter.isalpha()} - {"MICRO", "FEMININE", "MASCULINE"}


def _name(letter: str) -> str:
    return unicodedata.name(letter, f"U+{ord(letter):04X}")


def _named(letter: str) -> str:
    return f"{letter!r} ({_name(letter)})" if letter.isprintable() else f"an invisible character ({_name(letter)})"


def _first_foreign(text: str) -> str:
    return _named(next(letter for letter in text if not letter.isascii()))
