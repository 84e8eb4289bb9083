"""`byo aws check` finds what is wrong in an account before anything costs money."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.aws.client import LocalAws
from tests.contract.aws.remote import Remote, answer, reply
from tests.contract.aws.simulator import leave_out, permits

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
URI = "000000000000.dkr.ecr.us-east-1.amazonaws.com/checked:gpu"
CONFIG = {"architecture": "amd64", "config": {"Env": ["PATH=/bin", "CUDA_VERSION=12.4.1"]}}


def list_quotas(value: float) -> Any:
    usages = ("training job", "processing job", "transform job", "endpoint")
    quotas = [{"QuotaName": f"ml.g5.xlarge for {usage} usage", "Value": value} for usage in usages]
    return reply({"Quotas": quotas})


@pytest.fixture(scope="module")
def config_url() -> Iterator[str]:
    """Serve an image's configuration, as the storage behind ECR does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(CONFIG).encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def image(aws: LocalAws) -> str:
    ecr = aws.client("ecr")
    ecr.create_repository(repositoryName="checked")
    manifest = {"schemaVersion": 2, "mediaType": DOCKER, "config": {"digest": f"sha256:{'0' * 64}"}}
    ecr.put_image(
        repositoryName="checked",
        imageTag="gpu",
        imageManifest=json.dumps(manifest),
        imageManifestMediaType=DOCKER,
    )
    return URI


@pytest.fixture
def flags(image: str, remote: Remote, config_url: str) -> list[str]:
    remote.faults["GetDownloadUrlForLayer"] = [reply({"downloadUrl": config_url})] * 9
    remote.faults["ListServiceQuotas"] = [list_quotas(2)]
    return ["aws", "check", "--image", image, "--instance-type", "ml.g5.xlarge"]


def test_all_is_well_and_each_statement_of_the_policy_is_needed(
    remote: Remote, flags: list[str]
) -> None:
    name = ["--name", "checked"]
    remote.run_well("aws", "role", "--create", "--yes", *name)
    remote.policy = json.loads(remote.run_well("aws", "role", "check", *name))
    flags += ["--role", "checked", "--inference-ami", "al2-ami-sagemaker-inference-gpu-3-1"]
    out = remote.run_well(*flags)
    assert [line.split()[0] for line in out.splitlines()] == ["ok"] * 10, out
    assert "quota: ml.g5.xlarge for endpoint usage: 2" in out
    assert "driver: CUDA 12 needs driver 525 or newer; al2-ami" in out
    for sid in {item["Sid"] for item in remote.policy["Statement"]}:
        rest = leave_out(remote.policy, sid)
        assert not all(permits(rest, need) for need in remote.needs), f"nothing needs {sid}"


@pytest.mark.parametrize(
    ("operation", "fault", "line"),
    [
        (
            "GetRole",
            answer(404, "NoSuchEntity"),
            (
                "fault    role: the account has no role mine; "
                "`python -m local_test aws role --create` creates it"
            ),
        ),
        ("GetRole", answer(403, "AccessDenied"), "unknown  role: these credentials may not call"),
        (
            "HeadBucket",
            answer(403, "403"),
            "fault    bucket: sagemaker-us-east-1-000000000000 belongs to another account",
        ),
        ("HeadBucket", answer(404, "404"), "ok       bucket: sagemaker-us-east-1-000000000000 is"),
        (
            "ListServiceQuotas",
            list_quotas(0),
            "fault    quota: ml.g5.xlarge for endpoint usage: 0; raise it in the console",
        ),
        ("ListServiceQuotas", reply({"Quotas": []}), "unknown  quota: ml.g5.xlarge for training"),
        ("BatchGetImage", reply({"images": []}), "fault    image: the registry has no single"),
        (
            "ListTrainingJobs",
            answer(400, "ExpiredTokenException"),
            "unknown  SageMaker: the AWS credentials have expired",
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    remote: Remote, flags: list[str], operation: str, fault: Any, line: str
) -> None:
    remote.faults[operation] = [fault]
    code, out, _ = remote.run(*flags, "--role", "mine")
    assert line in out
    assert code == int("fault  " in out)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--instance-count", "2"], "ok       quota: ml.g5.xlarge for training job usage: 2"),
        (
            ["--instance-count", "3"],
            "fault    quota: ml.g5.xlarge for training job usage: 2, and 3 are needed; raise it",
        ),
        (["--instance-type", "ml.c7g.large"], "fault    image: it is built for amd64, and ml.c7g"),
        (
            [
                "--instance-type",
                "ml.m5.large",
                "--inference-ami",
                "al2-ami-sagemaker-inference-gpu-2",
            ],
            "fault    driver: ml.m5.large has no GPU; leave out al2-ami-sagemaker",
        ),
        (["--image", "program"], "fault    image: AWS runs images"),
        ([], "unknown  driver: CUDA 12 needs driver 525 or newer; for an endpoint, name one of"),
    ],
)
def test_a_quota_or_image_that_does_not_fit_is_found(
    remote: Remote, flags: list[str], given: list[str], line: str
) -> None:
    _, out, _ = remote.run(*flags, *given)
    assert line in out
