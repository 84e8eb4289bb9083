"""How the copies of an inference component are started; no container runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from local_test.aws.account.records import CopiedRequests
from local_test.aws.sagemaker.hosting import failures
from local_test.aws.sagemaker.hosting.component import Component, make_requests
from local_test.runners.interface import Container, Launch


class Recorder:
    """A runner that keeps what it should start."""

    description = "a recorder"

    def __init__(self) -> None:
        self.launches: list[Launch] = []

    def network_interface(self, **_: bool) -> str:
        """Return no interface."""
        return ""

    def mount_point(self, root: Path) -> str:
        """Return the directory itself."""
        return str(root)

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> Container:
        """Refuse to start."""
        self.launches.append(launch)
        message = f"{launch.name} is only recorded, not run with {on_output}"
        raise UserError(message)


def copied(**specification: Any) -> CopiedRequests:
    needs = {"MinMemoryRequiredInMb": 128, "MaxMemoryRequiredInMb": 256}
    model = {"ModelName": "m", "PrimaryContainer": {"Image": "i", "Environment": {"A": "1"}}}
    return {
        "specification": {"ComputeResourceRequirements": needs, **specification},
        "model": model,
        "copies": 2,
    }


def test_a_copy_is_a_container_with_a_limit_of_its_memory(tmp_path: Path) -> None:
    runner = Recorder()
    component = Component("c", "e", runner, tmp_path / "c", lambda *_: None)
    with pytest.raises(UserError, match="v-1 is only recorded"):
        component.start(make_requests("v", copied()))
    (launch,) = runner.launches
    assert (launch.image, launch.memory_bytes, launch.environment["A"]) == ("i", 2**28, "1")
    assert launch.is_server
    assert (component.variant, component.count_copies()) == (None, 0)
    component.stop()


def test_the_start_limit_is_that_of_the_startup_parameters() -> None:
    startup = {
        "ModelDataDownloadTimeoutInSeconds": 60,
        "ContainerStartupHealthCheckTimeoutInSeconds": 90,
    }
    (variant,) = make_requests("v", copied(StartupParameters=startup)).config["ProductionVariants"]
    assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == 90
    assert "ModelDataDownloadTimeoutInSeconds" not in variant
    assert (variant["VariantName"], variant["InitialInstanceCount"]) == ("v", 2)


def test_a_failure_of_ours_is_told_from_the_container_s(capsys: pytest.CaptureFixture[str]) -> None:
    reason = failures.explain(UserError("it ended"), "inference component", "/group/c")
    assert reason == (
        "it ended. Please check CloudWatch logs for this inference component: group /group/c."
    )
    assert failures.explain(KeyError("x"), "endpoint", "g").startswith("InternalServerError: We")
    assert "KeyError" in capsys.readouterr().err
