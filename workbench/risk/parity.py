"""Parity vectors: rows and the probabilities they must give again, bit for bit, wherever the model is used.

They are how another machine, another version of a library, or a damaged build is noticed before it decides anything.
"""

from typing import Any, Final

import numpy as np

from workbench.errors import IntegrityError, MalformedError
from workbench.evidence.strict import read_object
from workbench.risk.model import RiskModel

__all__ = ["PARITY", "check_parity"]

PARITY: Final = "parity.json"
FORMAT_VERSION: Final = 1


def check_parity(model: RiskModel, data: bytes, *, what: str) -> int:
    """Score the rows of the parity file ``data`` again, one by one and together; how many there were.

    Raises ``IntegrityError`` if one gives another probability, ``MalformedError`` for a file of another form.
    """
    content: dict[str, Any] = read_object(data, what=f"{PARITY} of {what}")
    if set(content) != {"format", "columns", "X", "p"} or content["format"] != FORMAT_VERSION:
        raise MalformedError(f"{PARITY} of {what} is not of a format that this version reads")
    try:
        rows = np.array(content["X"], dtype=np.float64).reshape(-1, len(model.spec.columns))
        expected = np.array(content["p"], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise MalformedError(f"{PARITY} of {what} does not hold rows of {len(model.spec.columns)} numbers") from error
    if content["columns"] != list(model.spec.columns) or expected.shape != (len(rows),):
        raise MalformedError(f"{PARITY} of {what} has other columns than the model, or not one probability a row")
    one_by_one = np.array([model.predict_one(row) for row in rows])
    for found in (one_by_one, model.predict(rows)):
        if (differing := np.flatnonzero(found != expected)).size:
            row = int(differing[0])
            gives, gave = float(found[row]), float(expected[row])
            raise IntegrityError(
                f"{what} gives {gives!r} for parity vector {row}, and gave {gave!r} when it was made: "
                "this machine or its libraries compute otherwise, so it must not decide here"
            )
    return len(rows)
