"""What people write: names, reasons, metadata. What nobody could read, or anybody would misread, is refused."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from workbench.errors import InputError

__all__ = ["alike", "checked_metadata", "checked_name", "unreadable"]

_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
# Controls move a terminal's cursor or turn the direction of the text; half a surrogate cannot even be stored.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_HARMLESS: Final = frozenset("\n\t\u00ad\u200c\u200d\u200e\u200f")  # breaks, joiners, marks that scripts need
# Scripts with letters that look like those of another.
_LOOKALIKE: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"})


def unreadable(text: str) -> str | None:
    """The first character that cannot be seen and changes how the rest is seen, as ``U+202E``; None if there is none.

    >>> unreadable("fine,\\nreally"), unreadable("txt.\\u202eexe"), unreadable("\\x1b[2J")
    (None, 'U+202E', 'U+001B')
    """
    hidden = (one for one in text if unicodedata.category(one) in _HIDDEN and one not in _HARMLESS)
    return next((f"U+{ord(one):04X}" for one in hidden), None)


def checked_name(name: str) -> str:
    """A person's name as it is kept: in one spelling (NFKC), with single spaces.

    Raises ``InputError`` for a length other than 1 to 200, for characters that cannot be seen, and for a word of
    letters that look alike and are not: two names would be told apart by nobody.

    >>> checked_name("  Ada   Example ")
    'Ada Example'
    """
    kept = " ".join(unicodedata.normalize("NFKC", name).split())
    if not 1 <= len(kept) <= 200:
        raise InputError("a person's name has 1 to 200 characters")
    if found := next((f"U+{ord(one):04X}" for one in kept if unicodedata.category(one) in _HIDDEN), None):
        raise InputError(f"a person's name has no character that cannot be seen ({found})")
    for word in kept.split():
        scripts = {unicodedata.name(one, "").split(" ")[0] for one in word if one.isalpha()} & _LOOKALIKE
        if len(scripts) > 1:
            raise InputError(
                f"a word of the name {kept[:60]!a} is of letters of {' and '.join(map(str.title, sorted(scripts)))}, "
                "which look alike: write it in one script"
            )
    return kept


def alike(name: str) -> str:
    """What two spellings of one name have in common.

    >>> alike("ADA  example") == alike("Ada Example")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Raises ``InputError`` for what cannot be kept."""
    if len(metadata) > 20:
        raise InputError(f"{len(metadata)} items of metadata: at most 20 are kept")
    for key, value in metadata.items():
        if not _KEY.fullmatch(key):
            raise InputError(f"metadata {key[:40]!a}: a key is of small letters, digits, '-' and '_'")
        if len(value) > 500:
            raise InputError(f"metadata {key!r} is {len(value)} characters long: at most 500 are kept")
        if found := unreadable(value):
            raise InputError(f"metadata {key!r} has a character that cannot be seen ({found})")
    return dict(metadata)
