"""Which program a job runs, and what kind it is."""

import json
from pathlib import Path

import pytest

from container import contract
from container.errors import UserError
from container.training.user_script import find


@pytest.fixture
def layout(tmp_path: Path) -> contract.Layout:
    layout = contract.Layout(tmp_path)
    layout.code.mkdir()
    return layout


def configure(layout: contract.Layout, name: str, document: object) -> None:
    path = layout.base / "input/config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def test_job_without_code_has_no_program(layout: contract.Layout) -> None:
    (layout.code / "inference.py").touch()
    assert find.find_program(layout, {}) is None


@pytest.mark.parametrize("value", ["train_it.py", '"train_it.py"'])
def test_program_is_named_by_variable_or_hyperparameter(
    layout: contract.Layout, value: str
) -> None:
    configure(layout, "hyperparameters.json", {"sagemaker_program": value})
    assert find.find_program(layout, {}) == find.Program("train_it.py")
    assert find.find_program(layout, {"SAGEMAKER_PROGRAM": "other.sh"}) == find.Program("other.sh")


def test_source_of_the_job_wins_over_the_source_of_the_image(layout: contract.Layout) -> None:
    environ = {"SAGEMAKER_PROGRAM": "a.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://image/code.tar.gz"}
    assert find.find_program(layout, environ) == find.Program("a.py", "s3://image/code.tar.gz")
    configure(
        layout, "hyperparameters.json", {"sagemaker_submit_directory": '"s3://job/code.tar.gz"'}
    )
    assert find.find_program(layout, environ) == find.Program("a.py", "s3://job/code.tar.gz")


def test_code_directory_as_source_means_that_the_code_is_in_place(layout: contract.Layout) -> None:
    environ = {"SAGEMAKER_PROGRAM": "a.py", "SAGEMAKER_SUBMIT_DIRECTORY": str(layout.code)}
    assert find.find_program(layout, environ) == find.Program("a.py")


def test_project_file_of_a_tool_makes_no_package(layout: contract.Layout) -> None:
    (layout.code / "a.py").touch()
    (layout.code / "pyproject.toml").write_text("[tool.ruff]\n")
    assert find.classify(layout.code, "a.py") == "program"
    (layout.code / "pyproject.toml").write_text("[project]\nname = 'a'\n")
    assert find.classify(layout.code, "a.py") == "package"
    assert find.classify(layout.code, "a") == "package"


def test_missing_program_is_answered_with_what_there_is(layout: contract.Layout) -> None:
    (layout.code / "trainer.py").touch()
    with pytest.raises(UserError, match=r"did you mean 'trainer.py'.*found: trainer.py"):
        find.classify(layout.code, "trainr.py")
    with pytest.raises(UserError, match=r"no program is named .* one of: trainer.py"):
        find.classify(layout.code, "")
