"""YAML documents that people write, validated strictly, with errors that point at the place."""

from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from workbench.errors import InputError, nearest

__all__ = ["Strict", "explain", "read_document"]

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A model that refuses keys it does not know and does not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def explain(error: ValidationError, model: type[BaseModel] | None = None, limit: int = 3) -> str:
    """The first few complaints of pydantic as ``place: what is wrong``, in one line."""
    wording = {"Extra inputs are not permitted": "unknown key", "Field required": "missing"}
    complaints = []
    for item in error.errors()[:limit]:
        place = ".".join(str(part) for part in item["loc"] if "[" not in str(part))
        text = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden" and model is not None:
            known = _keys_at(model, item["loc"][:-1])
            text = "unknown key" + (nearest(str(item["loc"][-1]), known) if known else "")
        elif item["type"] == "string_pattern_mismatch":
            text = f"not of the form {item['ctx']['pattern'].strip('^$')}"
        found = item.get("input")
        shown = f" (found {found!r})" if isinstance(found, str | int | float | bool) else ""
        complaints.append(f"{place + ': ' if place else ''}{wording.get(text, text)}{shown}")
    more = error.error_count() - limit
    return "; ".join(complaints) + (f"; and {more} more" if more > 0 else "")


class _OneOfEachKey(yaml.SafeLoader):
    """YAML's safe loader, but a key given twice is an error: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and key.value.__hash__ is not None:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _keys_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The keys that ``model`` knows at ``place``; none where a place leads through a list or a free mapping."""
    for part in place:
        field = model.model_fields.get(str(part))
        found = None if field is None else _model_in(field.annotation)
        if found is None:
            return []
        model = found
    return list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def read_document(path: Path, model: type[Model], *, what: str, error: type[InputError]) -> Model:
    """Read and validate one YAML file; ``what`` names its kind in messages.

    Raises ``error`` when the file is missing, unreadable, not YAML, or not a valid ``model``.
    """
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=_OneOfEachKey)  # noqa: S506  # a SafeLoader
    except FileNotFoundError:
        raise error(f"{what} {str(path)!r} does not exist") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"{what} {str(path)!r} cannot be read: {cause}") from cause
    except yaml.YAMLError as cause:
        raise error(f"{what} {path.name!r} is not valid YAML: {_yaml_place(cause)}") from cause
    except (ValueError, OverflowError, RecursionError) as cause:  # a date, a number or a depth beyond all bounds
        raise error(f"{what} {path.name!r} holds a value that cannot be read: {str(cause)[:100]}") from cause
    if not isinstance(content, dict):
        needed = ", ".join(name for name, field in model.model_fields.items() if field.is_required())
        raise error(f"{what} {path.name!r} is not a mapping of keys to values; expected the keys {needed}")
    try:
        return model.model_validate(content)
    except ValidationError as cause:
        raise error(f"{what} {path.name!r}: {explain(cause, model)}") from cause


def _yaml_place(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem or 'error'} at line {mark.line + 1}, column {mark.column + 1}"
    return str(error).splitlines()[0]
