"""One tree of errors, drawn at its top."""

import inspect
import re

import pytest

from workbench import errors
from workbench.errors import InputError, MappingError, NotFoundError, WorkbenchError, nearest

KINDS = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and kind.__module__ == errors.__name__
}


def test_every_error_of_ours_is_a_workbench_error():
    assert {name for name, kind in KINDS.items() if not issubclass(kind, WorkbenchError)} == set()
    assert len(KINDS) >= 8


def test_the_drawing_is_the_tree():
    drawn, above = {}, {0: "WorkbenchError"}
    for branch, name in re.findall(r"^ {4}([│ ├└─]*)(\w+Error)\b", errors.__doc__, re.MULTILINE):
        depth = len(branch) // 4
        above[depth] = name
        drawn[name] = above[depth - 1] if depth else "Exception"
    assert drawn == {name: kind.__base__.__name__ for name, kind in KINDS.items()}


def test_bad_input_can_be_caught_as_one_kind():
    assert issubclass(MappingError, InputError)
    assert issubclass(NotFoundError, InputError)


def test_an_error_of_ours_ends_a_command_with_two():
    assert {name: kind.exit_code for name, kind in KINDS.items()} == dict.fromkeys(KINDS, 2)


@pytest.mark.parametrize(
    ("name", "known", "clause"),
    [
        ("fold", ["folds", "trees"], "; did you mean 'folds'?"),
        ("xyz", ["trees", "folds"], "; known: folds, trees"),
        ("xyz", [], ""),
        (
            "xyz",
            [f"n{number:02d}" for number in range(20)],
            "; known: n00, n01, n02, n03, n04, n05, n06, n07, n08, n09, n10, n11 and 8 more",
        ),
    ],
)
def test_an_unknown_name_is_pointed_to_the_nearest(name, known, clause):
    assert nearest(name, known) == clause
