"""Experiment files: what is wrong with one is said before anything runs, with the place and the nearest right name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from workbench.errors import SpecError
from workbench.experiments import load_experiment, plan
from workbench.workspace import Workspace

Cli = Callable[..., object]


def refusal(workspace: Workspace, path: Path, **given: str) -> str:
    with pytest.raises(SpecError) as error:
        plan(workspace, path, given)
    return str(error.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sice": "3"}, "experiment 'small' has no parameter 'sice'; did you mean 'size'?"),
        ({"size": "three"}, "experiment 'small': 'size' expects int, found str 'three'"),
        ({"size": "3.5"}, "experiment 'small': 'size' expects int, found float 3.5"),
        ({"size": "True"}, "experiment 'small': 'size' expects int, found bool True"),
        ({"size": "0"}, "experiment 'small': 'size' is 0: expected at least 1"),
        ({"size": "99"}, "experiment 'small': 'size' is 99: expected at most 9"),
        ({"seed": "x"}, "experiment 'small': 'seed' expects a whole number from 0 to 4294967295, found 'x'"),
        ({"mode": "slow"}, "experiment 'small': 'mode' is 'slow': expected one of fast, exact"),
        ({"loud": "yes"}, "experiment 'small': 'loud' expects true or false, found 'yes'"),
        ({"share": "a"}, "experiment 'small': 'share' expects float, found str 'a'"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_sentence(
    workspace: Workspace, make: Callable[..., Path], given: dict[str, str], sentence: str
) -> None:
    parameters = {
        "size": {"type": "int", "default": 3, "minimum": 1, "maximum": 9},
        "mode": {"type": "str", "default": "fast", "choices": ["fast", "exact"]},
        "loud": False,
        "share": 0.5,
    }
    cell = "size = 3\nmode = 'fast'\nloud = False\nshare = 0.5\nseed = 1"
    assert refusal(workspace, make(parameters=parameters, parameters_cell=cell), **given) == sentence


def test_typed_values_arrive_typed(workspace: Workspace, make: Callable[..., Path]) -> None:
    cell = "size = 3\nmode = 'fast'\nloud = False\nshare = 0.5\nseed = 1"
    path = make(parameters={"size": 3, "mode": "fast", "loud": False, "share": 0.5}, parameters_cell=cell)
    (one,) = plan(workspace, path, {"size": "4", "mode": "7", "loud": "True", "share": "1", "seed": "8"})
    assert one.parameters == {"size": 4, "mode": "7", "loud": True, "share": 1.0, "seed": 8}
    assert [type(value) for value in one.parameters.values()] == [int, str, bool, float, int]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"title": None}, "title: Input should be a valid string"),
        ({"colour": "red"}, "colour: unknown key; known: claims, grid, id, inputs"),
        ({"timeout": -1}, "timeout: Input should be greater than 0 (found -1)"),
        ({"id": "Small One"}, "id: not of the form [a-z][a-z0-9-]{0,40}"),
        ({"grid": {"sice": [1]}}, "unknown parameter 'sice'; did you mean 'size'?"),
        ({"grid": {"size": []}}, "grid.size: no values"),
        ({"grid": {"size": ["a"]}}, "'size' expects int, found str 'a'"),
        ({"quick": {"size": 0.5}}, "'size' expects int, found float 0.5"),
        ({"parameters": {"size": {"type": "int", "default": "x"}}}, "'default' expects int, found str 'x'"),
        ({"parameters": {"seed": 1}}, "'seed' is both a parameter and the seed"),
        ({"inputs": {"size": "demo"}}, "'size' is both a parameter and an input"),
        ({"claims": [{"id": "a", "sentence": "b", "value": "c", "expect": "big"}]}, "'big' is not an expectation"),
        (
            {"claims": [{"id": "a", "sentence": "b", "value": "c", "expect": "> 1"}] * 2},
            "two claims have the id 'a'",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(
    make: Callable[..., Path], change: dict[str, object], sentence: str
) -> None:
    path = make(**change)
    with pytest.raises(SpecError) as error:
        load_experiment(path)
    assert str(error.value).startswith("experiment file 'small.yaml': ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("id: [", "is not valid YAML: expected the node content"),
        ("just words", "is not a mapping of keys to values; expected the keys id, title, question, notebook"),
        ("", "is not a mapping of keys to values"),
        ("id: \x00", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(workspace: Workspace, content: str, sentence: str) -> None:
    path = workspace.root / "bad.yaml"
    path.write_text(content)
    assert sentence in refusal(workspace, path)


def test_a_missing_file_is_named(workspace: Workspace) -> None:
    path = workspace.root / "absent.yaml"
    assert refusal(workspace, path) == f"experiment file {str(path)!r} does not exist"


def test_the_notebook_must_exist_take_the_parameters_and_lie_inside(
    workspace: Workspace, make: Callable[..., Path]
) -> None:
    assert refusal(workspace, make(notebook="notebooks/absent.ipynb")).endswith(
        "'notebooks/absent.ipynb' does not exist"
    )
    assert refusal(workspace, make(notebook="../outside.ipynb")).endswith("lies outside the workspace")
    assert refusal(workspace, make(notebook="experiments/small.yaml")).endswith("is not a notebook")
    assert refusal(workspace, make(parameters={"sizes": 3})).endswith("has no 'sizes'; did you mean 'size'?")
    assert "has no 'seed'" in refusal(workspace, make(parameters_cell="size = 3"))


def test_an_unknown_dataset_is_named_before_anything_runs(
    workspace: Workspace, make: Callable[..., Path], cli: Callable[..., object]
) -> None:
    told = cli("run", make(inputs={"events": "demo"}, parameters_cell="size = 3\nseed = 1\nevents = 'demo'"))
    assert told.code == 2
    assert told.stderr == "workbench: no dataset 'demo'; there is none yet: see `workbench events --help`\n"
    assert not workspace.runs.exists()


def test_the_shipped_schema_is_the_current_one(project: Path) -> None:
    import json

    from workbench.experiments.spec import Experiment

    shipped = json.loads((project / "experiments" / "experiment.schema.json").read_text())
    assert shipped == Experiment.model_json_schema()


def test_every_shipped_experiment_is_valid(project: Path) -> None:
    files = sorted((project / "experiments").glob("*.yaml"))
    assert [load_experiment(path).id for path in files] == [path.stem for path in files]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "nowhere.yaml"), "experiment file 'nowhere.yaml' does not exist"),
        (("run", "experiments/small.yaml", "-p", "size"), "-p 'size': expected NAME=VALUE"),
        (("run", "experiments/small.yaml", "-p", "sice=1"), "did you mean 'size'?"),
        (("report", "latest"), "no run 'latest': there is none yet"),
        (("report", "nothing", "--out", "x.html"), "no run 'nothing'"),
        (("run",), "Missing argument 'experiment'"),
        (("runs", "--colour"), "No such option: --colour"),
        (("--workspace", "nowhere", "runs"), "nowhere is not a workspace"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    make: Callable[..., Path], cli: Callable[..., object], arguments: tuple[str, ...], sentence: str
) -> None:
    make()
    told = cli(*arguments)
    assert told.code == 2
    assert sentence in told.stderr
    assert told.stderr.startswith("workbench: ") and told.stderr.count("\n") == 1
    assert told.stdout == ""


def test_a_dry_run_says_what_would_run_and_runs_nothing(
    workspace: Workspace, make: Callable[..., Path], cli: Callable[..., object]
) -> None:
    told = cli("run", make(grid={"size": [1, 2]}), "--dry-run")
    assert (told.code, told.stdout) == (0, "small: size=1, seed=42\nsmall: size=2, seed=42\n")
    assert not workspace.runs.exists()


def test_yaml_written_by_hand_reads_as_meant(workspace: Workspace, make: Callable[..., Path]) -> None:
    path = make()
    text = yaml.safe_dump({**yaml.safe_load(path.read_text()), "parameters": {"size": {"type": "int", "default": 4}}})
    path.write_text(text)
    assert load_experiment(path).parameters["size"].default == 4
