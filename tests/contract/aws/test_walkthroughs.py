"""The examples on the API, unchanged: only their environment points at the local AWS."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from container.developer import init
from tests.contract.aws import walkthrough
from tests.contract.aws.client import LocalAws
from tests.contract.aws.test_endpoints import make_model
from tests.support import PROGRAMS, ROOT, wait_for

pytestmark = pytest.mark.timeout(1500)  # the SDKs' environments are made once, of 180 packages
Digits = dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]


@pytest.fixture(scope="module")
def real_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """Start a local AWS that runs this toolkit's own program for every image."""
    program = shlex.join([sys.executable, "-m", "container"])
    with LocalAws(tmp_path_factory.mktemp("walkthrough-aws")).running(program) as local:
        yield local


@pytest.fixture(scope="module")
def walks(
    real_aws: LocalAws,
    tmp_path_factory: pytest.TempPathFactory,
    digits: Digits,
    request: pytest.FixtureRequest,
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Start the walk-throughs at once; they spend most of their time waiting for jobs."""
    data = walkthrough.write_digits(tmp_path_factory.mktemp("digits-csv"), digits)
    selected = [item.name for item in request.session.items]
    wanted = [name for name in walkthrough.WALKS if any(f"[{name}]" in item for item in selected)]
    with walkthrough.walking(real_aws, data, walks=wanted) as processes:
        yield processes


@pytest.mark.parametrize(
    "walk",
    # tests/image/test_local_aws.py runs the one of boto3 in containers.
    ["sdk-v3", *(pytest.param(walk, marks=pytest.mark.slow) for walk in ("boto3", "sdk-v2"))],
)
def test_a_walk_through_trains_tunes_transforms_and_predicts(
    walks: dict[str, subprocess.Popen[str]], walk: str
) -> None:
    walkthrough.check(walkthrough.finish(walks[walk]))


def test_the_walk_throughs_leave_no_endpoint(
    real_aws: LocalAws, walks: dict[str, subprocess.Popen[str]]
) -> None:
    for process in walks.values():
        process.wait(500)
    wait_for(
        lambda: real_aws.sagemaker.list_endpoints()["Endpoints"], lambda endpoints: not endpoints
    )


def test_the_walkthroughs_open_as_notebooks() -> None:
    """Editors show a script whose steps begin with `# %%` as cells of a notebook."""
    for script in ROOT.glob("examples/mnist_walkthrough_*.py"):
        cells = re.findall(r"^# %% (\d+)\. ", script.read_text(), re.MULTILINE)
        assert cells == [str(number) for number in range(len(cells))], script
        assert len(cells) > 5, script


def test_a_project_of_init_is_deployed(real_aws: LocalAws, tmp_path: Path) -> None:
    project = tmp_path / "my-algorithm"
    init.write(project, "script")

    process = walkthrough.start(
        real_aws, "boto3", ROOT / "examples/deploy_project_boto3.py", project
    )

    output = walkthrough.finish(process)
    assert re.search(r"3\. predict\n   \[?\d+\.\d+", output), output
    wait_for(
        lambda: real_aws.sagemaker.list_endpoints(NameContains="project-")["Endpoints"],
        lambda endpoints: not endpoints,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing"], "missing/code does not exist; name a project with"),
        (["mine", "--body", "missing.csv"], "missing.csv does not exist; name a project with"),
        (["mine", "--env", "A"], "--env A: expected NAME=VALUE"),
        (["mine"], "cannot use AWS: Unable to locate credentials; for the local AWS, run"),
    ],
)
def test_a_mistake_before_a_deployment_is_one_sentence(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    init.write(tmp_path / "mine", "script")
    done = run_without_credentials("deploy_project_boto3.py", arguments, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(words)


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("mnist_walkthrough_boto3.py", ["--data", "."]),
        ("pipeline_with_gate.py", ["--data", "s3://bucket/prefix", "--smoke-body", "body.csv"]),
    ],
)
def test_an_example_without_credentials_says_how_to_reach_the_local_aws(
    program: str, arguments: list[str], tmp_path: Path
) -> None:
    done = run_without_credentials(program, arguments, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot use AWS: Unable to locate credentials; for the local AWS")


def run_without_credentials(
    program: str, arguments: list[str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run an example in a directory, in a shell that knows a region and nothing else of AWS."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    settings = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.run(
        [sys.executable, ROOT / "examples" / program, *arguments],
        cwd=directory,
        env=kept | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_call_of_the_sdk_v2_that_people_know_works(aws: LocalAws) -> None:
    program = PROGRAMS / "sdk_v2_calls.py"
    process = walkthrough.start(aws, "v2", program, aws.image, aws.role, f"s3://{aws.bucket}/data/")
    facts = json.loads(walkthrough.finish(process).splitlines()[-1])
    artifact = facts["attach knows"].pop()
    assert artifact.startswith(f"s3://{aws.bucket}/calls-")
    assert facts == {
        "fit shows the log": [0, 1, 2],
        "attach knows": [aws.image, "3"],
        "metrics": 1,
        "fit does not wait": "InProgress",
        "wait after stop": "Stopped",
        "a failure raises": ["Failed", True],
        "a run": [12, 1.0],
        "predict": "hello",
        "update": ["3", "7"],
        "transform": "1,2",
        "transformer attach": True,
        "tune": ["0.03", 2],
        "stop tuning": "Stopped",
        "inference component": [True, "hello", 1],
        "scale to zero": 0,
    }


@pytest.mark.slow  # the SDK v2 does the same in the calls above
def test_the_sdk_v3_deploys_an_inference_component(aws: LocalAws) -> None:
    make_model(aws, "components-v3")
    artifact = f"s3://{aws.bucket}/models/components-v3/model.tar.gz"
    program = PROGRAMS / "sdk_v3_components.py"
    process = walkthrough.start(aws, "v3", program, aws.image, aws.role, artifact)
    facts = json.loads(walkthrough.finish(process).splitlines()[-1])
    assert facts == {"copies": 2, "predict": "hello", "scaled": 1}


def test_the_pipeline_deploys_what_is_good_and_keeps_the_rest_out(
    aws: LocalAws, tmp_path: Path
) -> None:
    for name in ("training", "testing"):
        aws.s3.put_object(Bucket=aws.bucket, Key=f"gate/{name}/rows.csv", Body=b"1,2\n")
    (tmp_path / "good").write_bytes(b"1,2,3")
    (tmp_path / "bad").write_bytes(b"refuse")

    def pipeline(body: str, accuracy: str) -> int:
        arguments = [
            *("--data", f"s3://{aws.bucket}/gate", "--group", "gate", "--endpoint", "gate"),
            *("--smoke-body", str(tmp_path / body), "--threshold", "0.9"),
            *("--hyperparameter", f"accuracy={accuracy}"),
        ]
        with walkthrough.start(
            aws, "boto3", ROOT / "examples/pipeline_with_gate.py", *arguments
        ) as process:
            return process.wait(300)

    assert pipeline("good", "0.95") == 0
    deployed = aws.sagemaker.describe_endpoint(EndpointName="gate")["EndpointConfigName"]
    assert pipeline("good", "0.8") == 3
    assert pipeline("bad", "0.99") == 4
    described = aws.sagemaker.describe_endpoint(EndpointName="gate")
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", deployed)
    packages = aws.sagemaker.list_model_packages(ModelPackageGroupName="gate")[
        "ModelPackageSummaryList"
    ]
    assert [package["ModelApprovalStatus"] for package in packages] == [
        "Approved",
        "Rejected",
        "Rejected",
    ]
    answer = aws.runtime.invoke_endpoint(EndpointName="gate", Body=b"1,2,3")
    assert json.load(answer["Body"])["model"]["hyperparameters"]["accuracy"] == "0.95"
    aws.sagemaker.delete_endpoint(EndpointName="gate")
