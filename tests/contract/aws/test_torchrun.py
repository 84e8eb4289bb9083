"""Two hosts that train one model, asked for by either version of the SDK, unmodified."""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from container import contract
from container.errors import UserError
from container.training.launching import choice
from local_test.runners.launcher import has_networks
from tests.contract.aws import walkthrough
from tests.contract.aws.client import LocalAws, read_logs
from tests.environments import find_packages, install_apart
from tests.support import PROGRAMS, ROOT, USER_CODE, free_port

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),  # the SDKs' environments are made once, of 180 packages
    pytest.mark.skipif(not has_networks(), reason="two hosts need a network of their own"),
]
Facts = dict[str, Any]


@pytest.fixture(scope="module")
def real_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """Start a local AWS that runs this toolkit's own program for every image."""
    program = shlex.join([sys.executable, "-m", "container"])
    with LocalAws(tmp_path_factory.mktemp("torchrun-aws")).running(program) as local:
        local.s3.create_bucket(Bucket=local.bucket)
        yield local


@pytest.fixture(scope="module")
def facts_of(
    real_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Facts]:
    """Return what a user of a version of the SDK saw."""
    source = tmp_path_factory.mktemp("source")
    shutil.copyfile(USER_CODE / "ddp.py", source / "ddp.py")
    torch = install_apart("torch")
    path = f"{torch / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    environment = {
        "PYTHONPATH": f"{ROOT}:{find_packages('torch')}",
        "PATH": path,
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    arguments = [real_aws.image, real_aws.role, str(source), json.dumps(environment)]

    @functools.cache
    def run(version: str) -> Facts:
        program = PROGRAMS / f"sdk_{version}_torchrun.py"
        process = walkthrough.start(real_aws, version, program, *arguments)
        facts: Facts = json.loads(walkthrough.finish(process).splitlines()[-1])
        return facts

    return run


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_an_sdk_trains_one_model_on_two_hosts(
    real_aws: LocalAws, facts_of: Callable[[str], Facts], version: str
) -> None:
    trained = facts_of(version)["trained"]
    hosts = read_logs(real_aws, trained["name"])

    assert trained["failed"] == "", "\n".join(hosts)
    assert len(hosts) == 2
    assert [set(re.findall(r"rank=(\d); world=2;", log)) for log in hosts] == [{"0"}, {"1"}]
    weights = [re.findall(r"weights=(\w+);", log) for log in hosts]
    assert len(weights[0]) == 1
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("case", "named"),
    [
        ("killed", ["rank 1 of torchrun failed first", "Process killed by SIGKILL"]),
        ("raised", ["rank 1 of torchrun failed first", "ValueError", "the cause is on rank"]),
        ("refused", ["TensorFlow's parameter servers", "possible are torchrun"]),
    ],
)
def test_the_sdk_v2_shows_why_a_job_failed(
    facts_of: Callable[[str], Facts], case: str, named: list[str]
) -> None:
    for text in named:
        assert text in facts_of("v2")[case]["failed"]


def test_a_rank_that_is_killed_fails_the_job_of_the_sdk_v3(
    real_aws: LocalAws, facts_of: Callable[[str], Facts]
) -> None:
    killed = facts_of("v3")["killed"]

    assert killed["failed"] != ""
    assert "Signal 9 (SIGKILL)" in "".join(read_logs(real_aws, killed["name"]))


def test_what_the_sdk_v2_sends_for_each_other_distribution_is_refused_by_name(
    facts_of: Callable[[str], Facts], tmp_path: Path
) -> None:
    layout = contract.Layout(tmp_path)
    layout.hyperparameters.parent.mkdir(parents=True)
    hosts = {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]}
    layout.resource_config.write_text(json.dumps(hosts))
    assert len(facts_of("v2")["asked"]) == 5
    for name, hyperparameters in facts_of("v2")["asked"].items():
        layout.hyperparameters.write_text(json.dumps(hyperparameters))
        with pytest.raises(UserError, match=name):
            choice.choose(layout)
