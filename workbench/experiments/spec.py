"""An experiment's YAML file: notebook, parameters, grid, seeds, inputs, claims. Validated before anything runs."""

import contextlib
import itertools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from workbench.documents import Strict, read_document
from workbench.errors import SpecError, nearest
from workbench.experiments.claims import Claim
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["Experiment", "Input", "Parameter", "load_experiment", "load_notebook"]

Scalar = bool | int | float | str
_LARGEST_SEED = 2**32 - 1  # what NumPy and scikit-learn take
_TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


class Parameter(Strict):
    """A typed parameter with its default. ``folds: 5`` is short for ``folds: {type: int, default: 5}``."""

    type: Literal["int", "float", "str", "bool"]
    default: Scalar
    minimum: float | None = None
    maximum: float | None = None
    choices: list[Scalar] | None = None
    help: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, bool | int | float | str):
            return {"type": type(value).__name__, "default": value}
        return value

    @model_validator(mode="after")
    def _default_fits(self) -> "Parameter":
        self.check("default", self.default)
        return self

    def check(self, name: str, value: Scalar) -> Scalar:
        """``value`` in this parameter's type; an int will do for a float, nothing else is converted.

        Raises ``ValueError`` naming the parameter, what was expected and what was found.
        """
        if self.type == "float" and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53:
            value = float(value)
        if type(value) is not _TYPES[self.type]:
            raise ValueError(f"{name!r} expects {self.type}, found {type(value).__name__} {value!r}")
        if isinstance(value, str) and not value.isprintable():
            raise ValueError(f"{name!r} holds characters that cannot be printed")
        if isinstance(value, int | float) and not isinstance(value, bool):
            if abs(value) > 2**53 if isinstance(value, int) else not math.isfinite(value):
                raise ValueError(f"{name!r} cannot be recorded exactly: expected a finite number up to 2^53")
            if self.minimum is not None and value < self.minimum:
                raise ValueError(f"{name!r} is {value}: expected at least {self.minimum:g}")
            if self.maximum is not None and value > self.maximum:
                raise ValueError(f"{name!r} is {value}: expected at most {self.maximum:g}")
        if self.choices is not None and value not in self.choices:
            raise ValueError(f"{name!r} is {value!r}: expected one of {', '.join(map(str, self.choices))}")
        return value

    def read(self, name: str, text: str) -> Scalar:
        """A value typed on the command line. Raises ``ValueError`` as ``check`` does."""
        if self.type == "str":
            return self.check(name, text)
        if self.type == "bool":
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{name!r} expects true or false, found {text!r}")
            return text.lower() == "true"
        number = _number_in(text.strip())
        return self.check(name, text if number is None else number)


def _number_in(text: str) -> int | float | bool | None:
    """The number or truth value that ``text`` spells, if it does."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not re.fullmatch(r"[+-]?[0-9.]{1,40}([eE][+-]?[0-9]{1,4})?", text):
        return None
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return None


class Input(Strict):
    """A dataset, by name or digest, and its labels: ``required``, or which label set where there are several."""

    dataset: str
    labels: str | None = Field(
        None,
        pattern=r"^(required|[0-9a-f]{6,64})$",
        description="'required' where the notebook needs labels, or the first digits of a label set's digest",
    )


def _short_input(value: Any) -> Any:
    return {"dataset": value} if isinstance(value, str) else value


class Experiment(Strict):
    """A whole experiment file."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$", description="Short name, e.g. risk-baseline")
    title: str = Field(min_length=1)
    question: str = Field(min_length=1, description="What the experiment asks")
    notebook: str = Field(description="Path of the notebook, relative to the workspace")
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    grid: dict[str, list[Scalar]] = Field(
        default_factory=dict, description="Parameter to values; one run each combination"
    )
    seeds: list[Annotated[int, Field(ge=0, le=_LARGEST_SEED)]] = Field(
        default_factory=lambda: [42], min_length=1, description="One run each; given as 'seed'"
    )
    inputs: dict[str, Annotated[Input, BeforeValidator(_short_input)]] = Field(default_factory=dict)
    timeout: float = Field(600, gt=0, description="Seconds a cell may take")
    claims: list[Claim] = Field(default_factory=list)
    quick: dict[str, Scalar] = Field(
        default_factory=dict, description="Parameter values of the notebook's test at reduced size"
    )

    @model_validator(mode="after")
    def _hangs_together(self) -> "Experiment":
        for name in self.parameters:
            if name in self.inputs or name == "seed":
                raise ValueError(f"{name!r} is both a parameter and {'the seed' if name == 'seed' else 'an input'}")
        for name, values in self.grid.items():
            if not values:
                raise ValueError(f"grid.{name}: no values")
            for value in values:
                self._parameter(name).check(name, value)
        for name, value in self.quick.items():
            self._parameter(name).check(name, value)
        ids = [claim.id for claim in self.claims]
        for claim in ids:
            if ids.count(claim) > 1:
                raise ValueError(f"two claims have the id {claim!r}")
        return self

    def _parameter(self, name: str) -> Parameter:
        if name not in self.parameters:
            raise ValueError(f"unknown parameter {name!r}{nearest(name, self.parameters)}")
        return self.parameters[name]

    def settings(self, given: dict[str, str]) -> tuple[dict[str, Scalar], dict[str, Input], int | None]:
        """Split what a user typed as ``name=text`` into parameters, inputs and a seed, each checked.

        Raises ``SpecError`` for an unknown name (with the nearest right one) or a wrong type.
        """
        parameters: dict[str, Scalar] = {}
        inputs: dict[str, Input] = {}
        seed = None
        for name, text in given.items():
            if name in self.inputs:
                required = self.inputs[name].labels is not None
                inputs[name] = Input(dataset=text, labels="required" if required else None)
                continue
            if name == "seed":
                if not re.fullmatch(r"[0-9]{1,10}", text.strip()) or int(text) > _LARGEST_SEED:
                    raise SpecError(
                        f"experiment {self.id!r}: 'seed' expects a whole number from 0 to {_LARGEST_SEED}, "
                        f"found {text!r}"
                    )
                seed = int(text)
                continue
            if name not in self.parameters:
                known = [*self.parameters, *self.inputs, "seed"]
                raise SpecError(f"experiment {self.id!r} has no parameter {name!r}{nearest(name, known)}")
            try:
                parameters[name] = self.parameters[name].read(name, text)
            except ValueError as error:
                raise SpecError(f"experiment {self.id!r}: {error}") from error
        return parameters, inputs, seed

    def combinations(self, given: dict[str, Scalar], seed: int | None = None) -> list[dict[str, Scalar]]:
        """All parameter sets to run: defaults, then the grid, then what was ``given``; for each seed."""
        # Through ``check``, so that a whole number given for a float is the same float however it was given.
        free = {
            name: [self.parameters[name].check(name, value) for value in values]
            for name, values in self.grid.items()
            if name not in given
        }
        defaults = {name: parameter.check(name, parameter.default) for name, parameter in self.parameters.items()}
        return [
            {**defaults, **dict(zip(free, point, strict=True)), **given, "seed": number}
            for number in ([seed] if seed is not None else self.seeds)
            for point in itertools.product(*free.values())
        ]


def load_experiment(path: Path) -> Experiment:
    """Read and validate an experiment file. Raises ``SpecError``."""
    return read_document(path, Experiment, what="experiment file", error=SpecError)


def load_notebook(workspace: Workspace, experiment: Experiment) -> "NotebookNode":
    """The experiment's notebook, if it takes all the experiment's parameters.

    Raises ``SpecError`` if it is missing, no notebook, outside the workspace, or lacks a parameter.
    """
    import nbformat  # papermill and nbformat take two seconds to import: not for every command
    from papermill.iorw import load_notebook_node
    from papermill.translators import PythonTranslator

    if Path(experiment.notebook).is_absolute() or "\0" in experiment.notebook:
        raise SpecError(f"experiment {experiment.id!r}: name the notebook relative to the workspace")
    path = (workspace.root / experiment.notebook).resolve()
    if not path.is_relative_to(workspace.root):
        raise SpecError(
            f"experiment {experiment.id!r}: the notebook {experiment.notebook!r} lies outside the workspace"
        )
    try:
        notebook: NotebookNode = load_notebook_node(nbformat.read(path, as_version=4))
        nbformat.validate(notebook)
        tagged = [cell for cell in notebook.cells if "parameters" in list(cell.metadata.get("tags", []))]
    except FileNotFoundError:
        raise SpecError(f"experiment {experiment.id!r}: the notebook {experiment.notebook!r} does not exist") from None
    except Exception as error:  # a file can fail to be a notebook in as many ways as there are readers in between
        raise SpecError(f"experiment {experiment.id!r}: {experiment.notebook!r} is not a notebook") from error
    if not tagged:
        raise SpecError(f"experiment {experiment.id!r}: no cell of {experiment.notebook!r} is tagged 'parameters'")
    taken = {parameter.name for parameter in PythonTranslator.inspect(tagged[0])}
    for name in [*experiment.parameters, *experiment.inputs, "seed"]:
        if name not in taken:
            raise SpecError(
                f"experiment {experiment.id!r}: the notebook's cell tagged 'parameters' has no {name!r}"
                f"{nearest(name, taken)}"
            )
    return notebook
