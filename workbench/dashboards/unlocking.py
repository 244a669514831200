"""Unlocking one's key with a passphrase, at a measured pace: to sign in, and again for each signature."""

import secrets
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag

from workbench.custody import Custody
from workbench.dashboards.attempts import Attempts
from workbench.dashboards.sessions import Session, dashboard_folder
from workbench.errors import InputError, KeyFileError, NotFoundError
from workbench.evidence.certificates import Role
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import Signer
from workbench.lifecycle import People, Person
from workbench.lifecycle.reading import read_record

__all__ = ["Unlocking"]

_NOT_RIGHT: Final = "the person or the passphrase is not right"
_LONGEST: Final = 1_000  # characters of a passphrase
_STRANGERS: Final = 1_000  # names that are remembered of those who are nobody here


class Unlocking:
    """The one way in which a dashboard asks for a passphrase. Nothing keeps what was typed."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._people = People(custody)
        folder = dashboard_folder(custody.workspace)
        self._attempts = Attempts(folder / "attempts.json", clock=custody.clock)
        self._strangers = Attempts(folder / "strangers.json", clock=custody.clock, most=_STRANGERS)

    def sign_in(self, text: str, passphrase: str) -> tuple[Person, Signer]:
        """The person whom ``text`` names, and their key. A stranger and a wrong passphrase are told alike, as late.

        Raises ``KeyFileError`` with a sentence for the page.
        """
        if not text.strip():
            raise KeyFileError("say who you are: your name, or how the ledger calls you, such as reviewer-1")
        try:
            person = self._people.find(text)
        except NotFoundError as error:
            self._check_typed(passphrase)
            self._strangers.begin(text)
            (self._custody.store.derivation or KeyDerivation()).derive(passphrase, secrets.token_bytes(16))
            raise KeyFileError(_NOT_RIGHT) from error
        except InputError as error:
            raise KeyFileError("several people have this name: sign in as the ledger calls you") from error
        return person, self.unlock(person.pseudonym, passphrase, wrong=_NOT_RIGHT)

    def unlock(self, person: str, passphrase: str, *, wrong: str = "wrong passphrase; nothing was signed") -> Signer:
        """The key of ``person`` (a pseudonym), fit to sign now.

        Raises ``KeyFileError`` for a wrong passphrase (``wrong``), one too many of them, or a key that is withdrawn,
        replaced, damaged or past its time.
        """
        self._check_typed(passphrase)
        self._attempts.begin(person)
        try:
            signer = self._custody.store.unlock(Role.APPROVAL, passphrase, person.removeprefix("p:"))
        except KeyFileError as error:
            if isinstance(error.__cause__, InvalidTag):
                raise KeyFileError(wrong) from error
            self._attempts.succeeded(person)  # nothing was guessed
            self._people.check_key(read_record(self._custody, self._custody.ledger, ""), person)
            raise
        self._attempts.succeeded(person)
        self._people.check_key(read_record(self._custody, self._custody.ledger, ""), person, signer)
        return signer

    def without_key(self, sessions: Iterable[Session]) -> list[Session]:
        """Those of ``sessions`` whose key was withdrawn, replaced or has run out since."""
        record, found = read_record(self._custody, self._custody.ledger, ""), []
        for session in sessions:
            try:
                self._people.check_key(record, session.person)
            except KeyFileError:
                found.append(session)
                continue
            if record.key_of(session.person)[0] != session.certificate_sha256:
                found.append(session)
        return found

    def _check_typed(self, passphrase: str) -> None:
        """Raises ``KeyFileError`` for what cannot be a passphrase: that is no attempt."""
        if not passphrase and not self._custody.store.demo:
            raise KeyFileError("type your passphrase")
        if len(passphrase) > _LONGEST:
            raise KeyFileError(f"a passphrase has at most {_LONGEST:,} characters")
        if any("\ud800" <= one <= "\udfff" for one in passphrase):  # a browser may send halves of characters
            raise KeyFileError("the passphrase has a character that cannot be: type it again")
