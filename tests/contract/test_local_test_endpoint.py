"""Endpoints of the local SageMaker, with foreign programs as containers."""

from __future__ import annotations

import base64
import json
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from container.errors import RequestError, UserError
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation_http import InvocationApi, InvocationError
from local_test.endpoints.invocation_server import InvocationServer
from local_test.endpoints.server import Limits
from local_test.requests import shapes, shorthand
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.support import PROGRAMS, list_loaded_models, wait_until

FAST = Limits(startup_s=15, ping_interval_s=0.05, invocation_s=5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model archive whose total is 100."""
    return make_model(tmp_path / "model.tar.gz", 100)


def make_model(path: Path, total: int) -> Path:
    source = path.with_suffix(".json")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(json.dumps({"totals": {"training": total}}))
    with tarfile.open(path, "w:gz") as tar:
        tar.add(source, "model.json")
    source.unlink()
    return path


def make_runner(program: str = "conformant.py") -> ProcessRunner:
    return ProcessRunner([sys.executable, str(PROGRAMS / program)])


def make_requests(model: Path | None, **options: Any) -> EndpointRequests:
    return shorthand.endpoint_requests(
        name="e", image="any", model=str(model) if model else None, **options
    )


@pytest.fixture
def endpoint(tmp_path: Path, model: Path) -> Iterator[Endpoint]:
    with Endpoint(make_requests(model), make_runner(), tmp_path / "e", limits=FAST) as running:
        yield running


def test_an_answer_carries_status_body_and_content_type(endpoint: Endpoint) -> None:
    answer = endpoint.invoke(b"1,2\n3", {"Content-Type": "text/csv", "Accept": "text/csv"})

    assert (answer.status, answer.body, answer.headers["content-type"]) == (
        200,
        b"103\n103",
        "text/csv",
    )
    assert answer.variant == "AllTraffic"
    assert endpoint.describe()["EndpointStatus"] == "InService"
    shape = shapes.service_model().operation_model("DescribeEndpoint").output_shape
    assert set(endpoint.describe()) <= set(shape.members)


def test_headers_that_the_api_does_not_know_stay_behind(endpoint: Endpoint) -> None:
    answer = endpoint.invoke(b"1", {"Content-Type": "text/csv", "X-Secret": "1", "Cookie": "a=b"})

    assert "x-amzn-sagemaker-custom-attributes" not in answer.headers  # RQ-2


def test_custom_attributes_go_there_and_back(endpoint: Endpoint) -> None:
    answer = endpoint.invoke(
        b"1", {"Content-Type": "text/csv", "X-Amzn-SageMaker-Custom-Attributes": "trace=7"}
    )

    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "trace=7"  # RQ-5


def test_the_callers_view_of_a_refusal_is_a_model_error(endpoint: Endpoint) -> None:
    with pytest.raises(
        InvocationError, match=r"Received server error \(500\) from AllTraffic"
    ) as refusal:
        InvocationApi({"e": endpoint}.get).invoke(endpoint, b"-3", {"Content-Type": "text/csv"})

    error = refusal.value
    assert (error.code, error.status) == ("ModelError", 424)  # RQ-6
    assert error.members["OriginalStatusCode"] == 500
    assert error.members["OriginalMessage"] == "x" * 2048


@pytest.mark.skipif(not has_namespaces(), reason="without namespaces nothing is read-only")
def test_the_model_directory_is_read_only(tmp_path: Path, model: Path) -> None:
    with Endpoint(
        make_requests(model), make_runner("writes_model.py"), tmp_path / "e", limits=FAST
    ) as running:
        answer = running.invoke(b"", {})

    assert answer.body == b"Read-only file system"  # HO-2


def test_a_model_directory_serves_as_an_archive_does(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.json").write_text('{"totals": {"training": 7}}')

    with Endpoint(
        make_requests(tmp_path / "model"), make_runner(), tmp_path / "e", limits=FAST
    ) as running:
        assert running.invoke(b"1", {"Content-Type": "text/csv"}).body == b"8"  # HO-3


def test_an_archive_with_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "link", "link")

    with pytest.raises(UserError, match="holds links, special files"):  # OUT-6
        Endpoint(make_requests(tmp_path / "model.tar.gz"), make_runner(), tmp_path / "e").start()


def test_a_cut_archive_is_refused(tmp_path: Path, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-20])

    with pytest.raises(UserError, match=r"not a complete tar\.gz"):
        Endpoint(make_requests(model), make_runner(), tmp_path / "e").start()


def test_a_server_that_ends_at_once_is_told_without_waiting(tmp_path: Path) -> None:
    runner = ProcessRunner(["sh", "-c", "exit 139", "sh"])

    with pytest.raises(UserError, match=r"exit code: 139 \(segmentation fault"):
        Endpoint(make_requests(None), runner, tmp_path / "e").start()


def test_a_server_on_loopback_alone_never_gets_healthy_and_is_told_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1 only; bind 0\.0\.0\.0"):  # HO-1
        Endpoint(
            make_requests(None),
            make_runner("loopback.py"),
            tmp_path / "e",
            limits=Limits(startup_s=1.5),
        ).start()


def test_an_unhealthy_ping_keeps_an_endpoint_out_of_service(tmp_path: Path) -> None:
    requests = make_requests(None, environment={"PING_STATUS": "503"})

    with pytest.raises(UserError, match="status 503"):  # HO-6
        Endpoint(
            requests, make_runner("moody.py"), tmp_path / "e", limits=Limits(startup_s=1)
        ).start()


def test_a_server_that_turns_unhealthy_gets_no_requests_until_it_recovers(tmp_path: Path) -> None:
    mood = tmp_path / "mood"
    requests = make_requests(None, environment={"MOOD": str(mood)})
    with Endpoint(requests, make_runner("moody.py"), tmp_path / "e", limits=FAST) as running:
        mood.write_text("503")
        wait_until(
            lambda: running.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 0,
            "never out",
        )
        with pytest.raises(RequestError) as refusal:
            running.invoke(b"", {})
        assert refusal.value.status == 503

        mood.write_text("200")
        wait_until(
            lambda: running.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 1,
            "never back",
        )
        assert running.invoke(b"", {}).status == 200


def test_an_answer_after_the_limit_is_a_time_out(tmp_path: Path) -> None:
    limits = Limits(startup_s=15, invocation_s=0.2)
    with Endpoint(make_requests(None), make_runner(), tmp_path / "e", limits=limits) as running:
        with pytest.raises(RequestError, match=r"did not answer within 0\.2 s") as refusal:  # HO-8
            running.invoke(b"-1,2", {"Content-Type": "text/csv"})
        assert refusal.value.status == 424


def test_a_body_above_the_limit_does_not_reach_the_container(endpoint: Endpoint) -> None:
    with pytest.raises(RequestError, match="26214400 are allowed") as refusal:  # HO-9
        endpoint.invoke(b"1" * (25 * 1024**2 + 1), {"Content-Type": "text/csv"})

    assert refusal.value.status == 413


def test_a_request_in_flight_is_answered_before_the_server_stops(
    tmp_path: Path, model: Path
) -> None:
    running = Endpoint(make_requests(model), make_runner(), tmp_path / "e", limits=FAST)
    running.start()
    answers: list[bytes] = []
    call = threading.Thread(
        target=lambda: answers.append(
            running.invoke(b"-1,0.7\n5", {"Content-Type": "text/csv"}).body
        )
    )
    call.start()
    time.sleep(0.3)  # the request has to be under way; nothing can be seen of it from outside

    findings = running.stop()
    call.join()

    assert answers == [b"99.7\n105"]  # HO-10
    assert findings == []


def test_a_server_that_ignores_the_stop_is_killed_and_told(tmp_path: Path) -> None:
    limits = Limits(startup_s=15, stop_grace_s=0.2)
    running = Endpoint(
        make_requests(None, environment={"IGNORE": "1"}),
        make_runner("moody.py"),
        tmp_path / "e",
        limits=limits,
    )
    running.start()

    assert running.stop() == ["AllTraffic-1 was killed 0.2 s after SIGTERM (HO-10)"]


def test_instances_take_turns_and_can_be_added_and_removed(tmp_path: Path) -> None:
    with Endpoint(
        make_requests(None), make_runner("moody.py"), tmp_path / "e", limits=FAST
    ) as running:
        running.set_instance_count("AllTraffic", 3)
        pids = {running.invoke(b"", {}).body for _ in range(9)}
        assert len(pids) == 3

        running.set_instance_count("AllTraffic", 1)
        assert len({running.invoke(b"", {}).body for _ in range(5)}) == 1
        assert running.describe()["ProductionVariants"][0]["DesiredInstanceCount"] == 1


def make_two_variants(directory: Path, weights: tuple[float, float]) -> EndpointRequests:
    requests = make_requests(None)
    variants, models = [], {}
    for name, weight, total in (("blue", weights[0], 1000), ("green", weights[1], 2000)):
        archive = make_model(directory / f"{name}.tar.gz", total)
        models[name] = {
            "ModelName": name,
            "PrimaryContainer": {"Image": "any", "ModelDataUrl": f"file://{archive}"},
        }
        variants.append(
            {
                "VariantName": name,
                "ModelName": name,
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "InitialVariantWeight": weight,
            }
        )
    config = {"EndpointConfigName": "e", "ProductionVariants": variants}
    return EndpointRequests(models, config, requests.endpoint)


def test_variants_share_the_traffic_by_weight_and_a_request_can_name_one(tmp_path: Path) -> None:
    requests = make_two_variants(tmp_path, (1.0, 0.0))
    with Endpoint(requests, make_runner(), tmp_path / "e", limits=FAST) as running:
        csv = {"Content-Type": "text/csv"}
        assert {running.invoke(b"0", csv).body for _ in range(20)} == {b"1000"}
        assert (
            running.invoke(b"0", {**csv, "X-Amzn-SageMaker-Target-Variant": "green"}).body
            == b"2000"
        )
        with pytest.raises(RequestError, match="'red' does not exist"):
            running.invoke(b"0", {**csv, "X-Amzn-SageMaker-Target-Variant": "red"})

        running.set_weight("blue", 0.0)
        running.set_weight("green", 1.0)
        assert {running.invoke(b"0", csv).variant for _ in range(20)} == {"green"}


def test_an_update_takes_over_without_losing_a_request(tmp_path: Path, model: Path) -> None:
    newer = make_model(tmp_path / "newer.tar.gz", 200)
    with Endpoint(make_requests(model), make_runner(), tmp_path / "e", limits=FAST) as running:
        bodies: list[bytes] = []
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                bodies.append(running.invoke(b"0", {"Content-Type": "text/csv"}).body)

        caller = threading.Thread(target=ask)
        caller.start()
        running.update(make_requests(newer))
        wait_until(lambda: bodies[-1:] == [b"200"], "the new model never answered")
        is_over.set()
        caller.join()

    assert set(bodies) == {b"100", b"200"}
    assert bodies == sorted(bodies)


def test_an_update_that_never_gets_healthy_is_rolled_back(tmp_path: Path, model: Path) -> None:
    with Endpoint(make_requests(model), make_runner(), tmp_path / "e", limits=FAST) as running:
        with pytest.raises(UserError, match="does not exist"):
            running.update(make_requests(tmp_path / "missing.tar.gz"))

        assert running.describe()["EndpointStatus"] == "InService"
        assert "rolled back" in running.describe()["FailureReason"]
        assert running.invoke(b"0", {"Content-Type": "text/csv"}).body == b"100"


def make_multi_model(directory: Path, cache: str = "Enabled") -> EndpointRequests:
    for name, total in (("a.tar.gz", 1), ("b.tar.gz", 2), ("sub/c.tar.gz", 3)):
        make_model(directory / "models" / name, total)
    requests = make_requests(None)
    [container] = [model["PrimaryContainer"] for model in requests.models.values()]
    container |= {
        "Mode": "MultiModel",
        "ModelDataUrl": f"file://{directory}/models/",
        "MultiModelConfig": {"ModelCacheSetting": cache},
    }
    return requests


def test_models_are_loaded_when_asked_for_and_the_least_used_makes_room(tmp_path: Path) -> None:
    with Endpoint(
        make_multi_model(tmp_path), make_runner(), tmp_path / "e", limits=FAST
    ) as running:

        def ask(target: str) -> bytes:
            headers = {"Content-Type": "text/csv", "X-Amzn-SageMaker-Target-Model": target}
            return running.invoke(b"10", headers).body

        assert list_loaded_models(running) == {"AllTraffic-1": []}  # MME-6
        assert [ask("a.tar.gz"), ask("b.tar.gz"), ask("a.tar.gz")] == [b"11", b"12", b"11"]
        assert ask("sub/c.tar.gz") == b"13"  # the program holds two and answers 507: MME-2
        assert list_loaded_models(running) == {"AllTraffic-1": ["a.tar.gz", "sub/c.tar.gz"]}
        with pytest.raises(RequestError, match="cannot fetch TargetModel") as refusal:
            ask("none.tar.gz")
        assert refusal.value.status == 400
        with pytest.raises(RequestError, match="needs TargetModel"):
            running.invoke(b"10", {"Content-Type": "text/csv"})


def test_a_disabled_cache_unloads_after_each_request(tmp_path: Path) -> None:
    with Endpoint(
        make_multi_model(tmp_path, "Disabled"), make_runner(), tmp_path / "e", limits=FAST
    ) as running:
        headers = {"Content-Type": "text/csv", "X-Amzn-SageMaker-Target-Model": "a.tar.gz"}

        assert running.invoke(b"10", headers).body == b"11"
        assert list_loaded_models(running) == {"AllTraffic-1": []}  # MME-6


def test_a_multi_model_container_without_a_list_of_models_never_gets_healthy(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match="GET /models returned 404"):  # MME-3
        Endpoint(
            make_multi_model(tmp_path), make_runner("echo.py"), tmp_path / "e", limits=FAST
        ).start()


def test_a_stream_arrives_part_by_part(tmp_path: Path) -> None:
    with Endpoint(
        make_requests(None), make_runner("streams.py"), tmp_path / "e", limits=FAST
    ) as running:
        stream = running.invoke_stream(b"", {"Content-Type": "text/csv"})
        first = next(stream.parts)
        # The program sends the rest only when the first part was read.
        (tmp_path / "e/hosts/AllTraffic-1/go").touch()
        rest = b"".join(stream.parts)

    assert (stream.status, stream.headers["content-type"]) == (200, "application/jsonlines")
    assert (first, rest) == (b"first\n", b"second\nthird\n")  # ST-1


def test_an_asynchronous_answer_is_stored(tmp_path: Path, model: Path) -> None:
    requests = make_requests(model)
    requests.config["AsyncInferenceConfig"] = {
        "OutputConfig": {
            "S3OutputPath": f"file://{tmp_path}/out",
            "S3FailurePath": f"file://{tmp_path}/failed",
        }
    }
    (tmp_path / "good").write_bytes(b"1")
    (tmp_path / "bad").write_bytes(b"one")
    with Endpoint(requests, make_runner(), tmp_path / "e", limits=FAST) as running:
        good = running.invoke_async(f"file://{tmp_path}/good", {"Content-Type": "text/csv"})
        bad = running.invoke_async(f"file://{tmp_path}/bad", {"Content-Type": "text/csv"})
        updated = make_requests(model)
        output = {"S3OutputPath": f"file://{tmp_path}/updated"}
        updated.config["AsyncInferenceConfig"] = {"OutputConfig": output}
        running.update(updated)
        later = running.invoke_async(b"2", {"Content-Type": "text/csv"})

    assert later["OutputLocation"].startswith(f"file://{tmp_path}/updated/")
    assert Path(later["OutputLocation"].removeprefix("file://")).read_bytes() == b"102"
    assert Path(good["OutputLocation"].removeprefix("file://")).read_bytes() == b"101"  # ASY-1
    assert b"could not convert" in Path(bad["FailureLocation"].removeprefix("file://")).read_bytes()


def test_captured_data_has_the_platforms_form(tmp_path: Path, model: Path) -> None:
    requests = make_requests(model)
    requests.config["DataCaptureConfig"] = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"file://{tmp_path}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    with Endpoint(requests, make_runner(), tmp_path / "e", limits=FAST) as running:
        running.invoke(b"1,2", {"Content-Type": "text/csv", "X-Amzn-SageMaker-Inference-Id": "i-1"})

    [path] = (tmp_path / "capture").rglob("*.jsonl")
    assert path.relative_to(tmp_path / "capture").parts[:2] == ("e", "AllTraffic")
    line = json.loads(path.read_text())
    assert line["eventVersion"] == "0"  # DC-1
    assert line["eventMetadata"]["inferenceId"] == "i-1"
    told = line["captureData"]["endpointInput"]
    assert (told["mode"], told["encoding"], base64.b64decode(told["data"])) == (
        "INPUT",
        "BASE64",
        b"1,2",
    )


def test_the_http_server_speaks_the_runtime_api(endpoint: Endpoint) -> None:
    with InvocationServer({"e": endpoint}) as server:

        def post(path: str, body: bytes) -> tuple[int, Message, bytes]:
            call = urllib.request.Request(
                server.url + path, body, {"Content-Type": "text/csv"}, method="POST"
            )
            try:
                with urllib.request.urlopen(call, timeout=20) as response:
                    return response.status, response.headers, response.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.headers, error.read()

        status, headers, body = post("/endpoints/e/invocations", b"1")
        assert (status, body, headers["x-Amzn-Invoked-Production-Variant"]) == (
            200,
            b"101",
            "AllTraffic",
        )
        assert headers["X-Local-Test-Container-Status"] == "200"
        assert float(headers["X-Local-Test-First-Byte-Seconds"]) > 0
        status, headers, body = post("/endpoints/e/invocations", b"-3")
        assert (status, headers["x-amzn-ErrorType"], json.loads(body)["OriginalStatusCode"]) == (
            424,
            "ModelError",
            500,
        )
        status, headers, body = post("/endpoints/other/invocations", b"1")
        assert (status, headers["x-amzn-ErrorType"]) == (400, "ValidationError")
        assert b"Endpoint other of account 000000000000 not found" in body
        assert post("/endpoints", b"")[0] == 404


def test_boto3_invokes_an_endpoint_through_the_http_server(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    with InvocationServer({"e": endpoint}) as server:
        client = boto3.client("sagemaker-runtime", endpoint_url=server.url, region_name="us-east-1")
        answer = client.invoke_endpoint(
            EndpointName="e",
            Body=b"1",
            ContentType="text/csv",
            Accept="text/csv",
            CustomAttributes="a=b",
        )
        assert (answer["Body"].read(), answer["ContentType"], answer["CustomAttributes"]) == (
            b"101",
            "text/csv",
            "a=b",
        )
        with pytest.raises(client.exceptions.ModelError) as refusal:
            client.invoke_endpoint(EndpointName="e", Body=b"-3", ContentType="text/csv")
        assert refusal.value.response["OriginalStatusCode"] == 500
        client.close()


def test_a_stream_passes_the_http_server_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    with (
        Endpoint(
            make_requests(None), make_runner("streams.py"), tmp_path / "e", limits=FAST
        ) as running,
        InvocationServer({"e": running}) as server,
    ):
        client = boto3.client("sagemaker-runtime", endpoint_url=server.url, region_name="us-east-1")
        answer = client.invoke_endpoint_with_response_stream(EndpointName="e", Body=b"")
        parts = (event["PayloadPart"]["Bytes"] for event in answer["Body"])
        first = next(parts)
        (tmp_path / "e/hosts/AllTraffic-1/go").touch()
        rest = b"".join(parts)
        client.close()

    assert answer["ContentType"] == "application/jsonlines"
    assert (first, rest) == (b"first\n", b"second\nthird\n")
