"""Where passphrases come from: a file, the environment, or the terminal without echo. Never an argument."""

import os
import sys
from enum import Enum
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from workbench.errors import InputError

__all__ = ["Passphrase", "RootKeyOption", "RootPassphraseFile", "ask"]

RootKeyOption = Annotated[
    Path | None, typer.Option("--root-key", help="The root's key file, where it is kept outside the workspace.")
]
RootPassphraseFile = Annotated[
    Path | None, typer.Option("--root-passphrase-file", help="Read the root's passphrase from this file.")
]


class Passphrase(Enum):
    """Which one: how people are asked for it, and the environment variable and option that may give it."""

    WORKING = ("the report, ledger and timestamp keys", "WORKBENCH_PASSPHRASE", "--passphrase-file")
    ROOT = ("the root key", "WORKBENCH_ROOT_PASSPHRASE", "--root-passphrase-file")
    PERSON = ("the person's approval key", "WORKBENCH_APPROVAL_PASSPHRASE", "--passphrase-file")
    OWNER = ("the approval key of the owner who grants", "WORKBENCH_OWNER_PASSPHRASE", "--as-passphrase-file")
    NEW = ("the new key", "WORKBENCH_NEW_PASSPHRASE", "--passphrase-file")


def ask(which: Passphrase, *, file: Path | None = None, new: bool = False, demo: bool = False) -> str:
    """The passphrase. ``new`` asks twice on a terminal; with ``demo`` keys nobody is asked.

    Raises ``InputError`` if there is no terminal and neither file nor variable gives one.
    """
    keys, variable, option = which.value
    if demo:
        return ""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the passphrase file {str(file)!r} cannot be read") from error
    if variable in os.environ:
        return os.environ[variable]
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError(
            f"a passphrase is needed for {keys}: there is no terminal to ask on, so name a file with "
            f"{option} or set {variable}"
        )
    try:
        given = getpass(f"Passphrase of {keys}: ")
        if new and getpass("Once more: ") != given:
            raise InputError("the two passphrases differ; nothing was made")
    except EOFError:
        raise InputError(f"no passphrase was given for {keys}; nothing was made") from None
    return given
