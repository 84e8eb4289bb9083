"""The Docker runner of the local SageMaker runs the process runner's jobs in a foreign image."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from container.errors import RequestError, UserError
from local_test.conformance import run as conformance
from local_test.conformance.catalog import CHECKS
from local_test.conformance.subject import Subject, Waits
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.server import Limits
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import JobResult, Listeners
from local_test.jobs.training import TrainingJob
from local_test.jobs.transform import TransformJob
from local_test.requests import shorthand
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.requests.validation import validate
from local_test.runners import faults
from local_test.runners.docker import DockerRunner
from local_test.runners.engine import LABEL, describe_image
from local_test.runners.interface import Launch
from local_test.runners.process import ProcessRunner
from local_test.runners.procfs import name_process
from tests.contract import mutants
from tests.image.engine import replacing
from tests.support import PROGRAMS, list_loaded_models, wait_until

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]
BASE_IMAGE = os.environ.get("BASE_IMAGE") or "python:3.13-slim-trixie"
MULTI_MODEL = {"Image": "any", "Mode": "MultiModel"}
FAST = Limits(startup_s=30, ping_interval_s=0.1, invocation_s=10)


def build(client: docker.DockerClient, context: Path, name: str, *lines: str) -> str:
    text = "\n".join([f"FROM {BASE_IMAGE}", "COPY *.py /app/", *lines])
    for path in PROGRAMS.glob("*.py"):
        shutil.copy(path, context)
    (context / "Dockerfile").write_text(text)
    with replacing(name):
        client.images.build(path=str(context), tag=name, rm=True)
    return name


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    connection = docker.from_env()
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def image(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    lines = (
        'ENTRYPOINT ["python", "-u", "/app/conformant.py"]',
        "LABEL com.amazonaws.sagemaker.capabilities.multi-models=true",
        "LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true",
        "LABEL com.amazonaws.sagemaker.capabilities.bidirectional-streaming=true",
    )
    return build(client, tmp_path_factory.mktemp("image"), "harness-test-conformant", *lines)


@pytest.fixture(autouse=True)
def nothing_is_left(client: docker.DockerClient) -> Iterator[None]:
    yield
    assert os.getpid() not in find_left(client).values()
    # Concurrent tests also kill harnesses, and clean up later.
    wait_until(lambda: not find_left(client))


def find_left(client: docker.DockerClient) -> dict[str, int]:
    """Return the engine's resources of this process, or of an ended one, with the owner's PID."""
    things = [
        (container.name, container.labels[LABEL])
        for container in client.containers.list(
            all=True, filters={"label": LABEL}, ignore_removed=True
        )
    ]
    things += [
        (net.name, net.attrs["Labels"][LABEL])
        for net in client.networks.list(filters={"label": LABEL})
    ]
    owners = {name: int(owner.split("-")[0]) for name, owner in things}
    return {
        name: pid
        for name, pid in owners.items()
        if pid == os.getpid() or not Path(f"/proc/{pid}").exists()
    }


def run_job(directory: Path, runner: Any, **options: Any) -> JobResult:
    data = directory / "data"
    if not data.exists():
        data.mkdir(parents=True)
        (data / "a.csv").write_text("1,2\n3\n")
        (data / "b.csv").write_text("10\n")
    happenings = [faults.parse(text) for text in options.pop("faults", [])]
    edit = options.pop("edit", lambda _: None)
    options = {"channels": {"training": str(data)}, **options}
    request = shorthand.training_request(
        name="job", image="any", output=str(directory / "out"), **options
    )
    edit(request)
    return TrainingJob(
        validate("CreateTrainingJob", request),
        runner,
        directory / "job",
        Listeners(),
        faults=happenings,
        stop_grace_s=20,
    ).run()


def digest(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        return {
            member.name: hashlib.sha256(tar.extractfile(member).read()).hexdigest()  # type: ignore[union-attr]
            for member in tar
            if member.isfile()
        }


def shard(request: dict[str, Any]) -> None:
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataDistributionType"] = (
        "ShardedByS3Key"
    )


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="file"),
        pytest.param({"input_mode": "Pipe", "hyperparameters": {"epochs": "2"}}, id="pipe"),
        pytest.param({"instance_count": 2, "edit": shard}, id="two hosts, sharded"),
        pytest.param(
            {"hyperparameters": {"steps": "99", "step_s": "9"}, "faults": ["stop@/step=0;/"]},
            id="stopped",
        ),
    ],
)
def test_both_runners_leave_the_same_files_byte_for_byte(
    tmp_path: Path, image: str, options: dict[str, Any]
) -> None:
    in_docker = run_job(tmp_path / "docker", DockerRunner(image), **options)
    in_process = run_job(
        tmp_path / "process",
        ProcessRunner([sys.executable, str(PROGRAMS / "conformant.py")]),
        **options,
    )

    assert (
        in_docker.status
        == in_process.status
        == ("Stopped" if options.get("faults") else "Completed")
    )
    for name in ("model.tar.gz", "output.tar.gz"):
        places = [tmp_path / kind / "out/job/output" / name for kind in ("docker", "process")]
        assert digest(places[0]) == digest(places[1])
        assert len(digest(places[0])) == options.get("instance_count", 1)


def test_hosts_share_a_network_in_which_names_may_come_late(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    name = build(
        client, context, "harness-test-peers", 'ENTRYPOINT ["python", "-u", "/app/peers.py"]'
    )

    result = run_job(tmp_path, DockerRunner(name), instance_count=3, faults=["slow-dns@8s"])

    assert result.status == "Completed"
    assert "heard from algo-2, algo-3" in (result.directory / "logs/algo-1.log").read_text()  # DS-1
    assert (result.directory / "logs/algo-2.log").read_text() == "algo-1 is unknown\n"  # DS-4


def test_isolated_hosts_of_a_processing_job_find_each_other_by_name(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    name = build(
        client, context, "harness-test-peers", 'ENTRYPOINT ["python", "-u", "/app/peers.py"]'
    )
    request = shorthand.processing_request(
        name="job", image=name, inputs={}, outputs={}, instance_count=2
    )
    request["NetworkConfig"] = {"EnableNetworkIsolation": True}
    owner = {LABEL: name_process(os.getppid())}
    network = "local-test-processing-job"
    # Of another harness that runs a job of the same name.
    others = [client.networks.create(kind, labels=owner) for kind in (network, "local-test-job")]

    try:
        result = ProcessingJob(
            validate("CreateProcessingJob", request), DockerRunner(name), tmp_path / "job"
        ).run()
    finally:
        for other in others:
            other.remove()  # it is there, and nobody is in it

    assert result.status == "Completed"
    assert (tmp_path / "job/logs/algo-1.log").read_text() == "heard from algo-2\n"


def test_code_that_is_baked_below_opt_ml_stays_visible(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    lines = [
        "RUN mkdir -p /opt/ml/code /opt/ml/model",
        "RUN echo baked > /opt/ml/code/user.txt && touch /opt/ml/model/hidden",
        (
            'ENTRYPOINT ["sh", "-c", '
            '"cat /opt/ml/code/user.txt; ls -A /opt/ml/model /opt/ml/input/data"]'
        ),
    ]

    result = run_job(tmp_path, DockerRunner(build(client, context, "harness-test-baked", *lines)))

    log = (result.directory / "logs/algo-1.log").read_text()
    assert log.startswith("baked\n")  # IMG-7
    assert "hidden" not in log
    assert "training-manifest" in log


def test_a_spot_interruption_restarts_from_the_checkpoint(tmp_path: Path, image: str) -> None:
    result = run_job(
        tmp_path,
        DockerRunner(image),
        hyperparameters={"steps": "6", "step_s": "0.7"},
        is_spot=True,
        checkpoints=str(tmp_path / "checkpoints"),
        faults=["spot@/step=2;/"],
    )

    starts = [
        line
        for line in (result.directory / "logs/algo-1.log").read_text().splitlines()
        if "starting" in line
    ]
    assert result.status == "Completed"  # SP-1
    assert len(starts) == 2
    # The program continues while the harness reads a line and acts on it.
    assert 2 <= int(starts[1].split()[3]) < 6


def test_a_stop_is_heard_and_the_model_kept(tmp_path: Path, image: str) -> None:
    result = run_job(
        tmp_path,
        DockerRunner(image),
        hyperparameters={"steps": "9999", "step_s": "5"},
        faults=["stop@/step=0;/"],
    )

    assert result.status == "Stopped"
    assert result.outcome.exit_codes == {"algo-1": 0}  # OUT-8
    assert "model.json" in digest(tmp_path / "out/job/output/model.tar.gz")  # OUT-7


def test_a_fast_file_channel_is_read_only_and_an_isolated_job_has_no_way_out(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    name = build(
        client, context, "harness-test-show", 'ENTRYPOINT ["python", "-u", "/app/show.py"]'
    )

    result = run_job(tmp_path, DockerRunner(name), input_mode="FastFile", is_isolated=True)

    seen = json.loads((result.directory / "hosts/algo-1/output/data/seen.json").read_text())
    assert seen["base"] == "/opt/ml"
    assert seen["argv"] == ["train"]  # IMG-1
    assert seen["write_to_channel"] == "Read-only file system"  # IN-3
    assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in seen["environment"]  # SEC-1


def test_a_memory_limit_ends_a_container_with_137(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    name = build(
        client, context, "harness-test-hog", """ENTRYPOINT ["python", "-c", "x = b'x' * 2**30"]"""
    )

    result = run_job(tmp_path, DockerRunner(name, memory_bytes=64 * 2**20))

    assert result.status == "Failed"
    assert "137" in result.failure
    assert (
        "out of memory: its processes took more than its limit of 64 MB" in result.failure
    )  # OUT-12


def test_shared_memory_is_small_unless_more_is_asked_for(
    tmp_path: Path, client: docker.DockerClient
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    program = (
        "import mmap, os; file = os.open('/dev/shm/x', os.O_RDWR | os.O_CREAT); "
        "os.ftruncate(file, 100 << 20); mmap.mmap(file, 0).write(bytes(100 << 20))"
    )
    name = build(
        client, context, "harness-test-shared", f'ENTRYPOINT ["python", "-c", "{program}"]'
    )

    small = run_job(tmp_path / "small", DockerRunner(name))
    large = run_job(tmp_path / "large", DockerRunner(name, shm_bytes=128 << 20))

    assert "135 (bus error: /dev/shm is full" in small.failure
    assert large.status == "Completed"


@pytest.fixture
def requests(tmp_path: Path) -> EndpointRequests:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.json").write_text('{"totals": {"training": 100}}')
    return shorthand.endpoint_requests(name="e", image="any", model=str(tmp_path / "model"))


def test_an_endpoint_serves_updates_and_rolls_back(
    tmp_path: Path, image: str, requests: EndpointRequests
) -> None:
    csv = {"Content-Type": "text/csv"}
    with Endpoint(requests, DockerRunner(image), tmp_path / "e", limits=FAST) as running:
        assert running.invoke(b"1,2", csv).body == b"103"
        (tmp_path / "newer").mkdir()
        (tmp_path / "newer/model.json").write_text('{"totals": {"training": 200}}')
        running.update(
            shorthand.endpoint_requests(name="e", image="any", model=str(tmp_path / "newer"))
        )
        assert running.invoke(b"1,2", csv).body == b"203"

        (tmp_path / "broken").mkdir()
        (tmp_path / "broken/model.json").write_text("no JSON")
        with pytest.raises(UserError, match="ended before it answered a ping"):
            running.update(
                shorthand.endpoint_requests(name="e", image="any", model=str(tmp_path / "broken"))
            )
        assert running.invoke(b"1,2", csv).body == b"203"


def test_a_multi_model_endpoint_needs_an_image_that_says_so(
    tmp_path: Path, client: docker.DockerClient, requests: EndpointRequests
) -> None:
    name = build(
        client, tmp_path, "harness-test-no-label", 'ENTRYPOINT ["python", "/app/conformant.py"]'
    )
    requests.models["e"]["PrimaryContainer"] = MULTI_MODEL | {
        "ModelDataUrl": f"file://{tmp_path}/models/"
    }
    with pytest.raises(
        UserError, match=r"label com\.amazonaws\.sagemaker\.capabilities\.multi-models=true"
    ):
        Endpoint(requests, DockerRunner(name), tmp_path / "e", limits=FAST).start()  # IMG-12


def test_a_request_passes_the_containers_of_a_pipeline(
    tmp_path: Path, client: docker.DockerClient, image: str, requests: EndpointRequests
) -> None:
    container = requests.models["e"].pop("PrimaryContainer")
    requests.models["e"]["Containers"] = [container, container]
    with Endpoint(requests, DockerRunner(image), tmp_path / "e", limits=FAST) as running:
        assert running.invoke(b"1", {"Content-Type": "text/csv"}).body == b"201"  # PIP-1

    lines = ('ENTRYPOINT ["python", "/app/conformant.py"]',)
    name = build(client, tmp_path, "harness-test-no-label", *lines)
    with pytest.raises(UserError, match=r"several containers needs .*accept-bind-to-port=true"):
        Endpoint(requests, DockerRunner(name), tmp_path / "e", limits=FAST).start()  # IMG-12


def test_a_serverless_container_has_less(
    tmp_path: Path, client: docker.DockerClient, image: str, requests: EndpointRequests
) -> None:
    (variant,) = requests.config["ProductionVariants"]
    for name in ("InitialInstanceCount", "InstanceType"):
        variant.pop(name, None)
    variant["ServerlessConfig"] = {"MemorySizeInMB": 5120, "MaxConcurrency": 1}
    with Endpoint(requests, DockerRunner(image), tmp_path / "e", limits=FAST) as running:
        assert running.invoke(b"1", {"Content-Type": "text/csv"}).body == b"101"
        # Other tests have containers at the same time.
        containers = client.containers.list(filters={"label": LABEL}, ignore_removed=True)
        settings = [container.attrs["HostConfig"] for container in containers]

    (host,) = [item for item in settings if item["Memory"] == 5 * 1024**3]  # SRV-1
    assert host["MemorySwap"] == 5 * 1024**3
    assert (host["ReadonlyRootfs"], host["IpcMode"]) == (True, "none")


def test_models_are_evicted_when_the_container_says_507(
    tmp_path: Path, image: str, requests: EndpointRequests
) -> None:
    for name, total in (("a", 1), ("b", 2), ("c", 3)):
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "model.json").write_text(json.dumps({"totals": {"training": total}}))
        with tarfile.open(tmp_path / f"models/{name}.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "model.json", "model.json")
    requests.models["e"]["PrimaryContainer"] = MULTI_MODEL | {
        "ModelDataUrl": f"file://{tmp_path}/models/"
    }
    with Endpoint(requests, DockerRunner(image), tmp_path / "e", limits=FAST) as running:

        def ask(target: str) -> bytes:
            return running.invoke(
                b"10",
                {"Content-Type": "text/csv", "X-Amzn-SageMaker-Target-Model": f"{target}.tar.gz"},
            ).body

        assert [ask("a"), ask("b"), ask("a"), ask("c")] == [b"11", b"12", b"11", b"13"]
        assert list_loaded_models(running) == {"AllTraffic-1": ["a.tar.gz", "c.tar.gz"]}  # MME-2


def test_an_isolated_endpoint_is_reached_by_the_platform_alone(
    tmp_path: Path, image: str, requests: EndpointRequests
) -> None:
    requests.models["e"]["EnableNetworkIsolation"] = True
    with Endpoint(requests, DockerRunner(image), tmp_path / "e", limits=FAST) as running:
        assert running.invoke(b"1", {"Content-Type": "text/csv"}).body == b"101"  # SEC-1


def test_a_stopped_server_answers_the_request_in_flight(
    tmp_path: Path, image: str, requests: EndpointRequests
) -> None:
    running = Endpoint(requests, DockerRunner(image), tmp_path / "e", limits=FAST)
    running.start()

    assert running.stop() == []  # HO-10
    with pytest.raises(RequestError):
        running.invoke(b"1", {"Content-Type": "text/csv"})


def test_transform_joins_in_a_container(
    tmp_path: Path, image: str, requests: EndpointRequests
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_bytes(b"7,1,2\n8,3,4\n")
    request = shorthand.transform_request(
        name="t",
        model_name="e",
        data=str(tmp_path / "in"),
        output=str(tmp_path / "out"),
        input_filter="$[1:]",
        is_joined=True,
    )

    result = TransformJob(
        validate("CreateTransformJob", request),
        validate("CreateModel", requests.models["e"]),
        DockerRunner(image),
        tmp_path / "t",
    ).run()

    assert result.status == "Completed"
    assert (tmp_path / "out/a.csv.out").read_bytes() == b"7,1,2,103\n8,3,4,107\n"  # BT-12
    again = {
        **request,
        "TransformOutput": {
            **request["TransformOutput"],
            "S3OutputPath": f"file://{tmp_path}/process",
        },
    }
    program = ProcessRunner([sys.executable, str(PROGRAMS / "conformant.py")])
    TransformJob(
        validate("CreateTransformJob", again),
        validate("CreateModel", requests.models["e"]),
        program,
        tmp_path / "p",
    ).run()
    assert (tmp_path / "process/a.csv.out").read_bytes() == (
        tmp_path / "out/a.csv.out"
    ).read_bytes()


def test_an_image_that_keeps_the_contract_passes_every_check(tmp_path: Path, image: str) -> None:
    identities = set(CHECKS) - {"IMG-9a"}  # how the image is kept is the engine's choice
    verdicts = conformance.run(make_subject(tmp_path, image), identities)

    assert [
        f"{verdict.check.id}: {verdict.evidence}" for verdict in verdicts if verdict.is_violation
    ] == []
    assert {verdict.check.id for verdict in verdicts if verdict.outcome == "not applicable"} == {
        "HO-12a"
    }


def make_subject(directory: Path, image: str) -> Subject:
    (directory / "data").mkdir()
    (directory / "data/a.csv").write_text("1,2\n3\n")
    return Subject(
        runner=DockerRunner(image),
        directory=directory / "work",
        image=describe_image(image),
        channels={"training": str(directory / "data")},
        hyperparameters={"steps": "3", "step_s": "0.2", "optimizer": "adam", "flag": "true"},
        metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+);"}],
        body=b"1,2\n",
        is_multi_model=True,
        waits=Waits(
            start_s=30,
            training_stop_s=5,
            serving_stop_s=5,
            ping_s=2,
            invocation_s=20,
            unhealthy_s=3,
            job_s=120,
        ),
    )


@pytest.mark.parametrize(
    ("case", "lines", "remedy"),
    [
        ("shell-form IMG-4a", ["ENTRYPOINT python -u /app/conformant.py train"], "JSON array"),
        (
            "no-root IMG-6a",
            ['ENTRYPOINT ["python", "/app/conformant.py"]', "USER 1000"],
            "remove USER",
        ),
        ("loopback HO-1a", ['ENTRYPOINT ["python", "/app/loopback.py"]'], "bind 0.0.0.0"),
        (
            "failure OUT-2a",
            ['ENTRYPOINT ["python", "/app/conformant.py", "--violate", "OUT-2a"]'],
            "output/failure",
        ),
        (
            "fixed-port IMG-12b",
            [
                'ENTRYPOINT ["python", "/app/conformant.py", "--violate", "IMG-12b"]',
                "LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true",
            ],
            "remove the label",
        ),
        (
            "no-exec OUT-8a",
            ['ENTRYPOINT ["sh", "-c", "python -u /app/conformant.py $0; exit $?"]'],
            "no shell between",
        ),
        ("no-label IMG-12a", ['ENTRYPOINT ["python", "/app/conformant.py"]'], "multi-models label"),
        (
            "init IMG-5a",
            ['ENTRYPOINT ["/usr/bin/tini", "--", "python", "/app/conformant.py"]'],
            "remove tini",
        ),
    ],
)
def test_a_users_image_that_breaks_one_clause_gets_the_verdict_and_the_remedy(
    tmp_path: Path, client: docker.DockerClient, case: str, lines: list[str], remedy: str
) -> None:
    name, identity = case.split()
    context = tmp_path / "context"
    context.mkdir()
    tag = build(client, context, f"harness-test-{name}", *lines)
    subject = make_subject(tmp_path, tag)
    subject = Subject(
        **{**vars(subject), "waits": Waits(**{**vars(subject.waits), "start_s": 3}), "model": None}
    )

    [verdict] = conformance.run(subject, {identity})

    assert verdict.is_violation, verdict.evidence
    assert remedy in verdict.check.remedy
    assert ("found failure instead" in verdict.evidence) is (name == "failure")


def test_a_server_that_needs_the_world_outside_is_caught(
    tmp_path: Path, client: docker.DockerClient, image: str
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    name = build(
        client, context, "harness-test-network", 'ENTRYPOINT ["python", "/app/needs_network.py"]'
    )
    outside = client.containers.run(image, ["serve"], detach=True)
    try:
        outside.reload()
        address = f"{outside.attrs['NetworkSettings']['IPAddress']}:8080"
        waits = Waits(start_s=4)
        subject = Subject(
            **{
                **vars(make_subject(tmp_path, name)),
                "environment": {"OUTSIDE": address},
                "waits": waits,
            }
        )
        verdicts = {
            verdict.check.id: verdict for verdict in conformance.run(subject, {"HO-5a", "SEC-1b"})
        }
    finally:
        outside.remove(force=True)

    assert not verdicts["HO-5a"].is_violation, verdicts["HO-5a"].evidence
    assert verdicts["SEC-1b"].is_violation, verdicts["SEC-1b"].evidence


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/app/crlf", "Windows line ends"),
        ("/app/not_executable", "is not executable"),
        ("/app/no_interpreter", "interpreter of the entry point .* is missing: /usr/bin/nothing"),
        ("/app/no_program", "neither a program nor a script"),
        ("/app/link", "Windows line ends"),
        ("/app", "is a directory|permission denied"),
        ("/app/missing", "does not exist in the image"),
        ("missing", "does not exist in the image on its PATH, /usr"),
    ],
)
def test_a_container_that_cannot_be_executed_says_why(
    tmp_path: Path, client: docker.DockerClient, name: str, reason: str
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    files = {
        "crlf": "#!/bin/sh\r\ntrue\r\n",
        "not_executable": "#!/bin/sh\n",
        "no_interpreter": "#!/usr/bin/nothing\n",
        "no_program": "true\n",
    }
    for file, text in files.items():
        (context / file).write_bytes(text.encode())
        (context / file).chmod(0o644 if file == "not_executable" else 0o755)
    (context / "link").symlink_to("crlf")
    tag = build(client, context, "harness-test-entry-points", "COPY . /app/")
    (tmp_path / "root").mkdir()
    launch = Launch("algo-1", ("train",), tmp_path / "root", {}, entrypoint=(name,))

    with contextlib.ExitStack() as stack:
        try:
            container = DockerRunner(tag).start(launch, lambda _: None)
        except UserError as error:
            said = str(error)
        else:
            stack.callback(container.remove)
            assert container.wait(30) != 0
            said = container.note

    assert re.search(reason, said), said


def test_an_instance_type_with_gpus_gets_them_or_is_refused(tmp_path: Path, image: str) -> None:
    def edit(request: dict[str, Any]) -> None:
        request["ResourceConfig"]["InstanceType"] = "ml.g5.xlarge"

    runner = DockerRunner(image, gpus=None)
    assert run_job(tmp_path / "cpu", runner).status == "Completed"
    result = run_job(tmp_path / "gpu", runner, edit=edit)
    assert result.status == "Completed" or "no GPU to give" in result.failure


def test_a_missing_image_is_named() -> None:
    with pytest.raises(UserError, match="has no image 'no-such-image:1'"):
        DockerRunner("no-such-image:1")
    for name in ("NoSuch", "a b", ":x", "x@sha256:1"):
        with pytest.raises(UserError, match="refuses the image name"):
            DockerRunner(name)


def test_what_a_killed_harness_left_is_removed_by_the_next(
    tmp_path: Path, client: docker.DockerClient, image: str
) -> None:
    command = [
        sys.executable,
        "-m",
        "local_test",
        "train",
        "--image",
        image,
        "-p",
        "steps=9999",
        "-p",
        "step_s=5",
    ]
    environment = {**os.environ, "LOCAL_TEST_JOBS": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as harness:
        assert harness.stderr is not None
        assert any(b"step=0" in line for line in harness.stderr)
        # Before it is killed, since another test may start a harness at any time.
        owned = [name for name in list_owners(client) if name.startswith(f"{harness.pid}-")]
        harness.send_signal(signal.SIGKILL)
    assert len(owned) == 1

    DockerRunner(image)
    wait_until(lambda: not set(owned) & set(list_owners(client)))  # or that harness removes it


def list_owners(client: docker.DockerClient) -> list[str]:
    """Return the owner of each container of any harness."""
    found = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    return [container.labels[LABEL] for container in found]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_interrupted_at_any_moment_it_leaves_nothing_in_the_engine(
    tmp_path: Path, client: docker.DockerClient, image: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("1,2\n")
    environment = {**os.environ, "LOCAL_TEST_JOBS": str(tmp_path / "jobs")}
    training = [
        "train",
        "--image",
        image,
        "-p",
        "steps=9999",
        "-p",
        "step_s=0.05",
        "--input-mode",
        "Pipe",
    ]
    training += ["-c", f"training={tmp_path}/data", "-p", "epochs=1000"]
    commands = [[*training, "--instance-count", "2"], ["serve", "--image", image]]
    moments = random.Random(0)  # noqa: S311 - the same moments each time
    for number in range(20):
        with subprocess.Popen(
            [sys.executable, "-m", "local_test", *commands[number % 2]],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        ) as harness:  # fmt: skip
            time.sleep(moments.uniform(0, 5))  # any moment is the point of the test
            harness.send_signal(signal.SIGINT)
            assert harness.stderr is not None
            said = harness.stderr.read().decode()
            code = harness.wait(120)
            assert code in (0, 130, -signal.SIGINT) or (
                code == 1 and "KeyboardInterrupt" in said
            ), said
        assert find_left(client) == {}, said
    assert [path for path in tmp_path.rglob("*") if path.is_fifo()] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant", [m for m in mutants.find_mutants() if m.identities == ("SEC-1b",)], ids=str
)
def test_a_verdict_on_isolation_that_is_always_the_same_is_noticed(
    tmp_path: Path,
    client: docker.DockerClient,
    image: str,
    monkeypatch: pytest.MonkeyPatch,
    mutant: mutants.Mutant,
) -> None:
    monkeypatch.setitem(conformance.MODULES, mutant.name, mutant.build())
    context = tmp_path / "context"
    context.mkdir()
    bad = build(
        client, context, "harness-test-network", 'ENTRYPOINT ["python", "/app/needs_network.py"]'
    )
    outcomes = []
    for name in (image, bad):
        (tmp_path / name).mkdir()
        subject = make_subject(tmp_path / name, name)
        subject = Subject(
            **{
                **vars(subject),
                "environment": {"OUTSIDE": "192.0.2.1:80"},
                "waits": Waits(start_s=8),
            }
        )
        outcomes += [verdict.outcome for verdict in conformance.run(subject, {"SEC-1b"})]

    assert outcomes != ["pass", "fail"]
