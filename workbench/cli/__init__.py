"""The command line: ``workbench NOUN VERB`` or one plain verb, a thin face over the package's functions.

Exit codes: 0 done; 1 a run did not complete, or a ledger or bundle does not verify; 2 bad input, or something that
cannot be done; 3 a bundle is valid with limits; 130 stopped by the user.
"""

from workbench.cli.app import app, main

__all__ = ["app", "main"]
