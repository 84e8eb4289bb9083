"""The local SageMaker of a user's tests: settings, and what is refused before anything runs."""

from pathlib import Path
from typing import Any

import pytest

from container.developer import init
from container.errors import UserError
from local_test.cli.options import OWN_PROGRAM
from local_test.testing.local_sagemaker import LocalSageMaker, Settings


def make(start: Path, **settings: Any) -> LocalSageMaker:
    return Settings(**settings).make(start, start / "jobs")


def test_the_project_is_the_first_one_at_or_above_the_tests(tmp_path: Path) -> None:
    init.write(tmp_path, "script")
    (tmp_path / "tests/unit").mkdir(parents=True)
    for start in (tmp_path, tmp_path / "tests", tmp_path / "tests/unit"):
        assert make(start).project.directory == tmp_path


def test_a_setting_names_another_project(tmp_path: Path) -> None:
    init.write(tmp_path / "models/digits", "script")
    assert make(tmp_path, project="models/digits").project.directory == tmp_path / "models/digits"


def test_without_an_image_the_toolkit_runs_the_project(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made.container.program == OWN_PROGRAM
    assert made.container.image is None


def test_variables_reach_the_container(tmp_path: Path) -> None:
    made = make(tmp_path, environment=["A=1", "B=x=y"])
    assert made.container.environment == {"A": "1", "B": "x=y"}


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"image": "mine", "program": "python a.py"}, "choose one: the image 'mine', or"),
        ({"environment": ["A"]}, r"sagemaker_env 'A': expected NAME=VALUE"),
    ],
)
def test_settings_that_contradict_are_refused(
    tmp_path: Path, settings: dict[str, Any], fault: str
) -> None:
    with pytest.raises(UserError, match=fault):
        make(tmp_path, **settings)


def test_missing_data_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"do not exist: training: .*, test: .*nowhere") as caught:
        make(tmp_path).train({"test": "nowhere"})
    assert "sagemaker_project" in str(caught.value)
    assert not (tmp_path / "jobs").exists()


def test_a_model_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"model: .*model\.tar\.gz"),
        make(tmp_path).serve(tmp_path / "model.tar.gz"),
    ):
        pass


def test_a_program_that_cannot_be_parsed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with (
        pytest.raises(UserError, match=r"--program .* is not a command line"),
        make(tmp_path, program="python 'a").serve(tmp_path / "model"),
    ):
        pass
