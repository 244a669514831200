"""Functions in machine code, compiled on first use."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

import numba

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, error_model: Literal["python", "numpy"] = "python") -> Callable[[Function], Function]:
    """A decorator: compile on first use, and keep the machine code on disk where there is a place to.

    ``error_model``: whether a division by 0 raises, or gives infinity and costs nothing to look out for.
    """

    def compile_(function: Function) -> Function:
        try:
            made: Any = numba.njit(function, cache=True, nogil=True, error_model=error_model)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            made = numba.njit(function, nogil=True, error_model=error_model)
        return cast("Function", made)

    return compile_
