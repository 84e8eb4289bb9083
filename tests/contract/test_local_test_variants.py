"""Models of several containers, and other kinds of variants, with programs as containers."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from container.errors import RequestError
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation_http import InvocationApi, InvocationError
from local_test.endpoints.server import Limits
from local_test.endpoints.variants import serverless
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.contract.test_local_test_endpoint import make_model
from tests.support import PROGRAMS, wait_until

FAST = Limits(startup_s=30, ping_interval_s=0.05, invocation_s=20)
CSV = {"Content-Type": "text/csv"}
TARGET = "X-Amzn-SageMaker-Target-Container-Hostname"


def make_requests(*totals: int, directory: Path, mode: str) -> EndpointRequests:
    """Return requests for a container that adds 1, one that adds 20, and so on."""
    containers = []
    for number, total in enumerate(totals):
        name = f"adds-{total}"
        model = make_model(directory / f"{name}{number}/model.tar.gz", total)
        containers.append(
            {"Image": "any", "ContainerHostname": name, "ModelDataUrl": model.as_uri()}
        )
    execution = {"Mode": mode}
    variant = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1}
    return EndpointRequests(
        {"m": {"ModelName": "m", "Containers": containers, "InferenceExecutionConfig": execution}},
        {"EndpointConfigName": "c", "ProductionVariants": [variant]},
        {"EndpointName": "e", "EndpointConfigName": "c"},
    )


def make_runner(program: str = "conformant.py") -> ProcessRunner:
    return ProcessRunner([sys.executable, str(PROGRAMS / program)])


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    directory = tmp_path_factory.mktemp("pipeline")
    requests = make_requests(1, 20, 300, directory=directory, mode="Serial")
    with Endpoint(requests, make_runner(), directory / "e", limits=FAST) as running:
        yield running


def test_a_request_passes_every_container_of_a_pipeline(pipeline: Endpoint) -> None:
    answer = pipeline.invoke(b"1000\n2000", CSV)

    assert (answer.status, answer.body) == (200, b"1321\n2321")  # PIP-1
    names = [server.name for server in pipeline.servers()]
    assert names == ["v-1.adds-1", "v-1.adds-20", "v-1.adds-300"]
    assert len({server.container.address for server in pipeline.servers()}) == 3
    described = pipeline.describe()["ProductionVariants"]
    assert [item["CurrentInstanceCount"] for item in described] == [1]


def test_a_model_error_names_the_container_of_a_pipeline(pipeline: Endpoint) -> None:
    with pytest.raises(InvocationError, match=r"server error \(500\) from adds-1 ") as error:
        InvocationApi({"e": pipeline}.get).invoke(pipeline, b"-3", CSV)

    assert error.value.members["OriginalStatusCode"] == 500


def test_a_container_of_a_pipeline_that_dies_is_replaced_alone(pipeline: Endpoint) -> None:
    first, second, third = pipeline.servers()
    os.kill(second.container.processes()[0], signal.SIGKILL)

    wait_until(lambda: pipeline.servers()[1] is not second and pipeline.servers()[1].is_healthy)

    assert [pipeline.servers()[0], pipeline.servers()[2]] == [first, third]
    assert pipeline.invoke(b"1000", CSV).body == b"1321"


def test_a_direct_request_reaches_the_container_that_it_names(tmp_path: Path) -> None:
    requests = make_requests(1, 20, directory=tmp_path, mode="Direct")
    with Endpoint(requests, make_runner("echo.py"), tmp_path / "e", limits=FAST) as running:
        answers: list[dict[str, Any]] = [
            json.loads(running.invoke(b"x", {**CSV, TARGET: name}).body)
            for name in ("adds-1", "adds-20")
        ]
        with pytest.raises(RequestError, match="choose one of adds-1, adds-20"):
            running.invoke(b"x", CSV)

    ports = {answer["environment"]["SAGEMAKER_BIND_TO_PORT"] for answer in answers}
    assert len(ports) == 2
    assert [answer["headers"][TARGET.lower()] for answer in answers] == ["adds-1", "adds-20"]


def test_a_session_stays_with_the_instance_that_opened_it(tmp_path: Path) -> None:
    requests = make_requests(1, 20, directory=tmp_path, mode="Direct")
    requests.config["ProductionVariants"][0]["InitialInstanceCount"] = 2
    headers = {**CSV, TARGET: "adds-1"}
    session = "X-Amzn-SageMaker-Session-Id"
    with Endpoint(requests, make_runner("echo.py"), tmp_path / "e", limits=FAST) as running:
        opened = running.invoke(b"", {**headers, session: "NEW_SESSION"}).headers
        name = opened["x-amzn-sagemaker-new-session-id"]
        answers = [running.invoke(b"", {**headers, session: name}).json() for _ in range(4)]

    ports = [answer["environment"]["SAGEMAKER_BIND_TO_PORT"] for answer in answers]
    assert ports == [name] * 4  # SE-1


def test_a_shadow_variant_gets_copies_whose_answers_are_captured(tmp_path: Path) -> None:
    models = {
        name: {
            "ModelName": name,
            "PrimaryContainer": {
                "Image": "any",
                "ModelDataUrl": make_model(tmp_path / name / "model.tar.gz", total).as_uri(),
            },
        }
        for name, total in (("now", 100), ("next", 200))
    }
    config = {
        "EndpointConfigName": "c",
        "ProductionVariants": [{"VariantName": "now", "ModelName": "now"}],
        "ShadowProductionVariants": [{"VariantName": "next", "ModelName": "next"}],
        "DataCaptureConfig": {
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": (tmp_path / "captured").as_uri(),
            "CaptureOptions": [{"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
        },
    }
    requests = EndpointRequests(models, config, {"EndpointName": "e", "EndpointConfigName": "c"})
    with Endpoint(requests, make_runner(), tmp_path / "e", limits=FAST) as running:
        copies: list[tuple[Any, ...]] = []
        running.on_copy = lambda *copy, **_: copies.append(copy)
        answers = [running.invoke(b"%d" % number, CSV) for number in range(3)]
        assert [(answer.variant, answer.body) for answer in answers] == [
            ("now", b"100"),
            ("now", b"101"),
            ("now", b"102"),
        ]
        with pytest.raises(RequestError, match="variant 'next' does not exist"):
            running.invoke(b"1", {**CSV, "X-Amzn-SageMaker-Target-Variant": "next"})
        running.invoke(b"-3", CSV)  # both fail
        wait_until(lambda: len(copies) == 4)
        assert sorted(copy[:2] for copy in copies) == [("next", 200)] * 3 + [("next", 500)]
        (described,) = running.describe()["ShadowProductionVariants"]
        assert described["CurrentInstanceCount"] == 1
        summary = running.deployment.summarize()["next"]
        assert summary["Healthy servers"] == "1 of 1; copies: 4 sent, 1 failed, 0 dropped"

    captured = [
        (path.parts[-6], json.loads(line)["captureData"]["endpointOutput"]["data"])
        for path in (tmp_path / "captured").rglob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert sorted(captured) == [
        *(("next", str(total)) for total in (200, 201, 202)),
        *(("now", str(total)) for total in (100, 101, 102)),
    ]


def make_serverless(directory: Path) -> Endpoint:
    """Return an endpoint of at most two environments, with a tenth of their memory."""
    serverless_config = {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
    variant = {"VariantName": "v", "ModelName": "m", "ServerlessConfig": serverless_config}
    requests = EndpointRequests(
        {"m": {"ModelName": "m", "PrimaryContainer": {"Image": "any"}}},
        {"EndpointConfigName": "c", "ProductionVariants": [variant]},
        {"EndpointName": "e", "EndpointConfigName": "c"},
    )
    limits = replace(FAST, idle_s=1.0)
    return Endpoint(requests, make_runner("serverless.py"), directory / "e", limits=limits)


@pytest.mark.skipif(not has_namespaces(), reason="without namespaces no root is read-only")
def test_a_serverless_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all, so that the environments start once."""
    monkeypatch.setattr(serverless, "_MEGABYTE", 100_000)
    with make_serverless(tmp_path) as running, ThreadPoolExecutor() as pool:
        told = json.loads(running.invoke(b"", CSV).body)
        assert told["writable"] == ["/tmp"]  # noqa: S108 - SRV-1
        with pytest.raises(RequestError, match="at most 4194304 are allowed") as error:
            running.invoke(b"x" * 4_194_305, CSV)
        assert error.value.status == 413  # HO-9
        with pytest.raises(RequestError, match="the answer has 4194305 bytes"):
            running.invoke(b"give:4194305", CSV)

        released = tmp_path / "released"
        order = f"wait:{released}".encode()
        waiting = [pool.submit(running.invoke, order, CSV) for _ in range(2)]
        wait_until(lambda: sum(server.is_healthy for server in running.servers()) == 2)
        with pytest.raises(InvocationError, match="MaxConcurrency 2") as throttled:
            InvocationApi({"e": running}.get).invoke(running, b"", CSV)
        assert (throttled.value.code, throttled.value.status) == ("ThrottlingException", 429)
        released.touch()
        answers = [item.result() for item in waiting]
        assert len({json.loads(answer.body)["process"] for answer in answers}) == 2
        assert sorted(answer.setup_s > 0 for answer in answers) == [False, True]

        wait_until(lambda: not running.servers())  # scaled to zero
        assert running.invoke(b"", CSV).setup_s > 0
        with pytest.raises(RequestError, match="the connection broke"):
            running.invoke(b"take:200000000", CSV)  # twice its memory
        assert running.invoke(b"", CSV).setup_s > 0
        with pytest.raises(RequestError, match="does not stream"):
            running.invoke_stream(b"", CSV)
