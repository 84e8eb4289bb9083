"""The plug-in for pytest: options and fixtures that run a project on the local SageMaker.

Rules of this file: every run of pytest in the environment imports it, so it imports nothing but the
standard library and pytest; a fixture imports the rest when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from local_test.testing.local_sagemaker import LocalSageMaker, ServedEndpoint, TrainingRun


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and settings of the fixtures."""
    group = parser.getgroup("sagemaker", "the local SageMaker (byo-sagemaker)")
    group.addoption("--sagemaker-image", metavar="NAME", help="image that the fixtures run")
    parser.addini("sagemaker_image", "image that the fixtures run, without --sagemaker-image")
    parser.addini("sagemaker_program", "command line that the fixtures run, without an image")
    parser.addini("sagemaker_project", "folder with code/ and data/; by default that of the tests")
    parser.addini("sagemaker_env", "variables of the containers: NAME=VALUE", "linelist", [])


@pytest.fixture(scope="session")
def sagemaker_image(pytestconfig: pytest.Config) -> str:
    """Name the image under test; empty to run a program. Override it to build an image."""
    return str(
        pytestconfig.getoption("--sagemaker-image") or pytestconfig.getini("sagemaker_image") or ""
    )


@pytest.fixture(scope="session")
def sagemaker(
    sagemaker_image: str, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> LocalSageMaker:
    """Return SageMaker on this machine, with the project under test: `train` and `serve`."""
    from local_test.testing import local_sagemaker  # noqa: PLC0415 - see the rules

    settings = local_sagemaker.Settings(
        image=sagemaker_image,
        program=str(pytestconfig.getini("sagemaker_program") or ""),
        project=str(pytestconfig.getini("sagemaker_project") or ""),
        environment=pytestconfig.getini("sagemaker_env"),
    )
    return settings.make(pytestconfig.rootpath, tmp_path_factory.mktemp("sagemaker"))


@pytest.fixture(scope="session")
def training_job(sagemaker: LocalSageMaker) -> TrainingRun:
    """Train once on the project's data, for all tests; the job is completed."""
    return sagemaker.train()


@pytest.fixture(scope="session")
def endpoint(sagemaker: LocalSageMaker, training_job: TrainingRun) -> Iterator[ServedEndpoint]:
    """Serve the model of `training_job`, for all tests."""
    with sagemaker.serve(training_job) as served:
        yield served
