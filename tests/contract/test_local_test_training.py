"""Training and processing jobs of the local SageMaker, with foreign programs as containers."""

from __future__ import annotations

import gzip
import json
import random
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from container.errors import UserError
from local_test.data import record_formats
from local_test.data.checkpoints import CheckpointSync
from local_test.jobs.processing import ProcessingJob
from local_test.jobs.result import JobResult, Listeners
from local_test.jobs.training import TrainingJob
from local_test.requests import shapes, shorthand
from local_test.requests.validation import validate
from local_test.runners import faults
from local_test.runners.interface import Launch
from local_test.runners.launcher import has_namespaces, has_networks
from local_test.runners.process import ProcessRunner
from tests.support import PROGRAMS

RunJob = Callable[..., JobResult]


@pytest.fixture(params=[pytest.param(True, id="private"), pytest.param(False, id="base-dir")])
def runner(request: pytest.FixtureRequest) -> ProcessRunner:
    if request.param and not has_namespaces():
        pytest.skip("this machine lets nobody make a private /opt/ml")
    return make_runner("conformant.py", is_private=request.param)


def make_runner(program: str, *, is_private: bool | None = None) -> ProcessRunner:
    return ProcessRunner([sys.executable, str(PROGRAMS / program)], is_private=is_private)


def run_job(directory: Path, runner: ProcessRunner, **options: Any) -> JobResult:
    """Run a job on `data/` of the directory.

    Options are those of the shorthand, and `extra`, `faults`, `grace_s`, `listeners`.
    """
    data = directory / "data"
    if not data.exists():
        data.mkdir()
        (data / "a.csv").write_text("1,2\n3\n")
        (data / "b.csv").write_text("10\n")
    extra = options.pop("extra", {})
    happenings = [faults.parse(text) for text in options.pop("faults", [])]
    grace_s = options.pop("grace_s", 20)
    listeners = options.pop("listeners", Listeners())
    channels = options.pop("channels", {"training": str(data)})
    name = options.pop("name", "job")
    request = shorthand.training_request(
        name=name, image="any", channels=channels, output=str(directory / "out"), **options
    )
    return TrainingJob(
        validate("CreateTrainingJob", {**request, **extra}),
        runner,
        directory / name,
        listeners,
        faults=happenings,
        stop_grace_s=grace_s,
    ).run()


def read_model(result: JobResult) -> dict[str, Any]:
    uri = result.description["ModelArtifacts"]["S3ModelArtifacts"]
    with tarfile.open(uri.removeprefix("file://")) as tar:
        return {
            name: json.load(tar.extractfile(name))
            for name in tar.getnames()
            if name.endswith(".json")
        }  # type: ignore[arg-type]


def secondary_statuses(result: JobResult) -> list[str]:
    return [transition["Status"] for transition in result.description["SecondaryStatusTransitions"]]


def test_a_job_completes_and_its_archives_hold_what_the_container_wrote(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    result = run_job(tmp_path, runner)

    assert result.status == "Completed"
    assert read_model(result) == {"model.json": {"totals": {"training": 16.0}, "host": "algo-1"}}
    with tarfile.open(tmp_path / "out/job/output/output.tar.gz") as tar:
        assert tar.getnames() == ["algo-1.txt"]
    assert secondary_statuses(result) == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]  # OUT-10
    assert (tmp_path / "job/logs/algo-1.log").read_text().splitlines()[1] == "step=0; loss=1.0000;"


def test_a_description_has_the_shape_of_describe_training_job(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    result = run_job(
        tmp_path, runner, metric_definitions=[{"Name": "loss", "Regex": "loss=([0-9.]+);"}]
    )

    shape = shapes.service_model().operation_model("DescribeTrainingJob").output_shape
    assert set(result.description) <= set(shape.members)
    assert set(shape.required_members) <= set(result.description)
    assert [metric.value for metric in result.metrics] == [1.0, 0.5]  # HPO-1
    assert result.description["FinalMetricDataList"][0]["Value"] == 0.5
    assert (
        result.description["TrainingJobArn"]
        == "arn:aws:sagemaker:us-east-1:000000000000:training-job/job"
    )


def test_the_job_directory_is_the_platforms(tmp_path: Path) -> None:
    result = run_job(
        tmp_path,
        make_runner("show.py"),
        hyperparameters={"epochs": "3", "empty": ""},
        environment={"MINE": "1"},
        extra={"Tags": [{"Key": "a", "Value": "b"}]},
    )

    seen = json.loads((result.directory / "hosts/algo-1/output/data/seen.json").read_text())
    assert seen["argv"] == ["train"]  # IMG-1
    config = seen["config"]
    assert config["hyperparameters.json"] == {"epochs": "3"}  # TF-1, HP-1, HP-4
    assert config["inputdataconfig.json"] == {
        "training": {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
    }
    assert config["resourceconfig.json"]["current_host"] == "algo-1"
    assert config["resourceconfig.json"]["hosts"] == ["algo-1"]
    assert config["resourceconfig.json"]["instance_groups"] == [
        {
            "instance_group_name": "homogeneousCluster",
            "instance_type": "ml.m5.large",
            "hosts": ["algo-1"],
        }
    ]
    assert {
        "init-config.json",
        "metric-definition-regex.json",
        "upstreamoutputdataconfig.json",
    } <= set(config)  # TF-2
    assert sorted(seen["data"]) == ["training", "training-manifest"]  # TF-3
    assert seen["environment"]["TRAINING_JOB_NAME"] == "job"  # TF-4
    assert (
        seen["environment"]["TRAINING_JOB_ARN"]
        == "arn:aws:sagemaker:us-east-1:000000000000:training-job/job"
    )
    assert seen["environment"]["MINE"] == "1"
    assert not [
        name for name in seen["environment"] if name.startswith(("SM_", "PYTEST", "VIRTUAL_ENV"))
    ]


@pytest.mark.skipif(not has_namespaces(), reason="this machine lets nobody make a private /opt/ml")
def test_a_private_program_sees_opt_ml_as_root_and_leaves_the_machine_alone(tmp_path: Path) -> None:
    existed = Path("/opt/ml").exists()

    result = run_job(tmp_path, make_runner("show.py", is_private=True))

    seen = json.loads((result.directory / "hosts/algo-1/output/data/seen.json").read_text())
    assert seen["base"] == "/opt/ml"
    assert seen["uid"] == 0  # IMG-6
    assert "SAGEMAKER_BASE_DIR" not in seen["environment"]
    assert Path("/opt/ml").exists() == existed


def test_the_failure_files_first_1024_characters_are_the_reason(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    result = run_job(tmp_path, runner, hyperparameters={"fail": "the cause " + "x" * 2000})

    assert result.status == result.description["TrainingJobStatus"] == "Failed"  # OUT-1
    assert result.description["FailureReason"].startswith("the cause xxx")  # OUT-2
    assert len(result.description["FailureReason"]) == 1024


def test_without_a_failure_file_the_exit_code_is_explained(tmp_path: Path) -> None:
    result = run_job(tmp_path, ProcessRunner(["sh", "-c", "exit 127", "sh"]))

    assert result.status == "Failed"
    assert "exit code: 127" in result.failure
    assert "not found" in result.failure  # OUT-12


def test_a_missing_program_is_told_as_a_client_error(tmp_path: Path) -> None:
    result = run_job(tmp_path, ProcessRunner(["no-such-program"]))

    assert result.status == "Failed"
    assert result.failure.startswith("ClientError: 'no-such-program' is not an executable")


def test_a_missing_channel_is_told_as_a_client_error(tmp_path: Path, runner: ProcessRunner) -> None:
    result = run_job(tmp_path, runner, channels={"training": str(tmp_path / "nothing/")})

    assert result.status == "Failed"
    assert str(tmp_path / "nothing") in result.failure


def test_a_stop_order_is_sigterm_and_what_was_saved_is_uploaded(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    result = run_job(
        tmp_path,
        runner,
        hyperparameters={"steps": "9999", "step_s": "5"},
        faults=["stop@/step=0;/"],
    )

    assert (result.status, result.description["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert result.outcome.exit_codes == {"algo-1": 0}  # OUT-8
    assert not result.outcome.was_killed
    assert read_model(result)["model.json"]["totals"] == {"training": 16.0}  # OUT-7


def test_a_program_that_ignores_the_stop_is_killed_after_the_grace(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    result = run_job(
        tmp_path,
        runner,
        hyperparameters={"ignore_stop": "1"},
        faults=["stop@/step=1;/"],
        grace_s=0.2,
    )

    assert result.status == "Stopped"
    assert result.outcome.was_killed
    assert result.outcome.exit_codes == {"algo-1": 137}


def test_stop_from_another_thread_ends_the_job(tmp_path: Path, runner: ProcessRunner) -> None:
    request = shorthand.training_request(
        name="job",
        image="any",
        channels={},
        output=str(tmp_path),
        hyperparameters={"steps": "9999", "step_s": "5"},
    )
    is_training = threading.Event()
    job = TrainingJob(
        validate("CreateTrainingJob", request),
        runner,
        tmp_path / "job",
        Listeners(on_line=lambda *_: is_training.set()),
    )
    results: list[JobResult] = []
    thread = threading.Thread(target=lambda: results.append(job.run()))
    thread.start()
    assert is_training.wait(20)

    job.stop()
    thread.join(20)

    assert results[0].status == "Stopped"


def test_a_stop_reaches_a_program_whose_start_is_under_way(tmp_path: Path) -> None:
    moments = random.Random(1)  # noqa: S311 - the same moments each time
    launch = Launch(name="algo-1", arguments=(), root=tmp_path, environment={})
    for _ in range(60):
        program = ProcessRunner(["sleep", "600"]).start(launch, lambda _: None)
        # In this time the launcher makes the program's view and its processes.
        time.sleep(moments.uniform(0.01, 0.04))
        program.send_signal(signal.SIGTERM)
        ended = program.wait(20)
        program.remove()
        assert ended == 128 + signal.SIGTERM


def test_the_longest_runtime_stops_the_job(tmp_path: Path, runner: ProcessRunner) -> None:
    result = run_job(
        tmp_path, runner, hyperparameters={"steps": "9999", "step_s": "5"}, max_runtime_s=1
    )

    assert (result.status, result.description["SecondaryStatus"]) == (
        "Stopped",
        "MaxRuntimeExceeded",
    )


@pytest.mark.parametrize("kind", ["spot", "spot-kill"])
def test_a_spot_interruption_restarts_from_the_checkpoint(
    tmp_path: Path, runner: ProcessRunner, kind: str
) -> None:
    result = run_job(
        tmp_path,
        runner,
        hyperparameters={"steps": "6", "step_s": "0.7"},
        checkpoints=str(tmp_path / "checkpoints"),
        is_spot=True,
        faults=[f"{kind}@/step=2;/"],
    )

    assert result.status == "Completed"
    statuses = secondary_statuses(result)
    assert statuses.count("Training") == 2
    assert "Interrupted" in statuses  # SP-1
    starts = [
        line
        for line in (tmp_path / "job/logs/algo-1.log").read_text().splitlines()
        if "starting" in line
    ]
    assert starts[0].startswith("starting at step 0")
    # The program continues while the harness reads a line and acts on it.
    assert 2 <= int(starts[1].split()[3]) < 6
    assert (tmp_path / "checkpoints/step").read_text() == "5"  # CK-2


def test_a_checkpoint_that_is_deleted_goes_behind_the_uri_too(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/old").write_text("old")

    sync = CheckpointSync(tmp_path / "local", f"file://{tmp_path}/store")
    assert (tmp_path / "local/old").read_text() == "old"  # CK-1
    (tmp_path / "local/old").unlink()
    (tmp_path / "local/new").write_text("new")
    sync.close()

    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["new"]  # CK-2


def test_an_internal_error_is_retried_as_often_as_the_request_allows(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    result = run_job(
        tmp_path,
        runner,
        hyperparameters={"step_s": "0.5"},
        faults=["internal-error@/step=0;/", "internal-error@/step=1;/"],
        extra={"RetryStrategy": {"MaximumRetryAttempts": 1}},
    )

    assert result.status == "Failed"  # OUT-11
    assert result.failure.startswith("InternalServerError")
    assert secondary_statuses(result).count("Restarting") == 1


def test_every_host_has_its_own_directory_and_clashes_are_told(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    result = run_job(tmp_path, runner, instance_count=11)

    resources = json.loads(
        (tmp_path / "job/hosts/algo-10/input/config/resourceconfig.json").read_text()
    )
    assert resources["current_host"] == "algo-10"
    assert resources["hosts"][:3] == ["algo-1", "algo-10", "algo-11"]  # DS-1
    assert sorted(read_model(result)) == sorted(f"algo-{number}.json" for number in range(1, 12))
    assert result.findings == []


def test_hosts_without_a_private_view_hear_that_their_names_do_not_resolve(tmp_path: Path) -> None:
    run_job(tmp_path, make_runner("show.py", is_private=False), instance_count=2)
    log = (tmp_path / "job/logs/algo-1.log").read_text()
    assert "hosts find each other by name only with namespaces or an image (DS-4)" in log


def test_two_hosts_that_write_the_same_name_are_told_of_the_clash(tmp_path: Path) -> None:
    result = run_job(tmp_path, make_runner("show.py"), instance_count=2)

    assert any(
        "was written by algo-1 and algo-2" in finding for finding in result.findings
    )  # OUT-5


@pytest.mark.skipif(not has_namespaces(), reason="names need a private /etc/hosts")
def test_peers_find_each_other_by_name(tmp_path: Path) -> None:
    result = run_job(tmp_path, make_runner("peers.py", is_private=True), instance_count=3)

    assert result.status == "Completed"
    log = (tmp_path / "job/logs/algo-1.log").read_text()
    assert "heard from algo-2, algo-3" in log


@pytest.mark.skipif(not has_namespaces(), reason="names need a private /etc/hosts")
@pytest.mark.parametrize("is_isolated", [False, True])
def test_hosts_of_a_processing_job_find_each_other_by_name(
    tmp_path: Path, *, is_isolated: bool
) -> None:
    request = shorthand.processing_request(
        name="job", image="any", inputs={}, outputs={}, instance_count=2
    )
    request["NetworkConfig"] = {"EnableNetworkIsolation": is_isolated}

    result = ProcessingJob(
        validate("CreateProcessingJob", request),
        make_runner("peers.py", is_private=True),
        tmp_path / "job",
    ).run()

    assert result.status == "Completed"
    assert (tmp_path / "job/logs/algo-1.log").read_text() == "heard from algo-2\n"


@pytest.mark.skipif(
    not has_networks(), reason="a network of their own needs namespaces and pairs of interfaces"
)
def test_isolated_hosts_have_ports_an_interface_and_peers_of_their_own_and_nothing_else(
    tmp_path: Path,
) -> None:
    with socket.create_server(("", 17844)):  # this machine's port: theirs are others (DS-1)
        result = run_job(tmp_path, make_runner("ring.py"), instance_count=3, is_isolated=True)

    assert result.status == "Completed", result.failure
    for number, before in ((1, 3), (2, 1), (3, 2)):
        root = tmp_path / f"job/hosts/algo-{number}/output/data"
        assert json.loads((root / f"algo-{number}.json").read_text()) == {
            "heard": f"algo-{before}",
            "named": "eth0",  # DS-2
            "interfaces": ["eth0", "lo"],
            "way_out": "Network is unreachable",  # SEC-1
            "open_files": ["1", "2"],  # its log's pipe; nothing of the namespaces
        }
    assert not [
        path
        for path in Path("/proc/self/fd").iterdir()
        if path.is_symlink() and "net:" in str(path.readlink())
    ]


def test_one_hosts_failure_ends_the_others(tmp_path: Path, runner: ProcessRunner) -> None:
    result = run_job(
        tmp_path,
        runner,
        instance_count=2,
        hyperparameters={"steps": "9999", "step_s": "5"},
        faults=["kill@/step=0;//algo-2"],
    )

    assert result.status == "Failed"
    assert set(result.outcome.exit_codes) == {"algo-1", "algo-2"}
    assert result.outcome.exit_codes["algo-2"] == 137
    assert not result.outcome.was_killed


def test_sharded_channels_give_each_host_its_part(tmp_path: Path, runner: ProcessRunner) -> None:
    (tmp_path / "data").mkdir()
    for index in range(5):
        (tmp_path / f"data/{index}.csv").write_text(f"{10**index}\n")
    request = shorthand.training_request(
        name="job",
        image="any",
        channels={"training": f"{tmp_path}/data"},
        output=str(tmp_path / "out"),
        instance_count=2,
    )
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataDistributionType"] = (
        "ShardedByS3Key"
    )

    result = TrainingJob(validate("CreateTrainingJob", request), runner, tmp_path / "job").run()

    model = read_model(result)
    assert model["algo-1.json"]["totals"] == {"training": 10101.0}  # IN-7
    assert model["algo-2.json"]["totals"] == {"training": 1010.0}


def test_a_fast_file_channel_is_read_only(tmp_path: Path) -> None:
    if not has_namespaces():
        pytest.skip("this machine lets nobody make a private /opt/ml")
    result = run_job(tmp_path, make_runner("show.py", is_private=True), input_mode="FastFile")

    seen = json.loads((result.directory / "hosts/algo-1/output/data/seen.json").read_text())
    assert seen["write_to_channel"] == "Read-only file system"  # IN-3
    assert (tmp_path / "data/a.csv").read_text() == "1,2\n3\n"


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_a_file_channel_may_be_written_to_without_touching_the_original(
    tmp_path: Path, mode: str
) -> None:
    """Nor may a FastFile channel be linked where nothing keeps a program from writing to it."""
    runner = make_runner("show.py", is_private=False if mode == "FastFile" else None)
    result = run_job(tmp_path, runner, input_mode=mode)

    seen = json.loads((result.directory / "hosts/algo-1/output/data/seen.json").read_text())
    assert seen["write_to_channel"] == "done"  # IN-2
    assert (tmp_path / "data/a.csv").read_text() == "1,2\n3\n"


def test_a_prefix_is_a_string_prefix(tmp_path: Path, runner: ProcessRunner) -> None:
    for name, number in (("train", 1), ("train2", 2), ("test", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text(str(number))

    result = run_job(tmp_path, runner, channels={"training": f"file://{tmp_path}/train"})

    assert read_model(result)["model.json"]["totals"] == {"training": 3.0}  # IN-9


def test_a_manifest_names_the_objects_of_a_channel(tmp_path: Path, runner: ProcessRunner) -> None:
    (tmp_path / "data").mkdir()
    for name, number in (("a", 1), ("b", 2), ("c", 4)):
        (tmp_path / "data" / name).write_text(str(number))
    (tmp_path / "list.json").write_text(
        json.dumps([{"prefix": f"file://{tmp_path}/data/"}, "a", "c"])
    )
    request = shorthand.training_request(
        name="job",
        image="any",
        channels={"training": f"{tmp_path}/list.json"},
        output=str(tmp_path / "out"),
    )
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"

    result = TrainingJob(validate("CreateTrainingJob", request), runner, tmp_path / "job").run()

    assert read_model(result)["model.json"]["totals"] == {"training": 5.0}


def make_pipe_request(
    directory: Path, channel: Mapping[str, Any], data_type: str = "S3Prefix"
) -> dict[str, Any]:
    name = channel.get("ChannelName", "training")
    request = shorthand.training_request(
        name="job",
        image="any",
        channels={name: f"{directory}/data"},
        output=str(directory / "out"),
        input_mode="Pipe",
        hyperparameters={"epochs": "3", "channel": name},
    )
    request["InputDataConfig"][0].update(channel)
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataType"] = data_type
    return request


def test_a_pipe_gives_every_epoch_anew_also_after_an_early_close(
    tmp_path: Path, runner: ProcessRunner
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_bytes(b"x" * 300_000)
    (tmp_path / "data/b").write_bytes(b"y" * 7)

    result = TrainingJob(
        validate("CreateTrainingJob", make_pipe_request(tmp_path, {"ChannelName": "partial"})),
        runner,
        tmp_path / "job",
    ).run()

    # IN-4: four bytes of the first epoch, then two whole ones
    assert read_model(result)["model.json"]["totals"] == {"partial": 4 + 2 * 300_007}


def read_piped(directory: Path) -> list[bytes]:
    root = directory / "job/hosts/algo-1/output/data"
    return [path.read_bytes() for path in sorted(root.glob("epoch-*"))]


def test_a_recordio_pipe_frames_each_object(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_bytes(b"abcde")
    (tmp_path / "data/b").write_bytes(b"")

    TrainingJob(
        validate(
            "CreateTrainingJob", make_pipe_request(tmp_path, {"RecordWrapperType": "RecordIO"})
        ),
        make_runner("pipe.py"),
        tmp_path / "job",
    ).run()

    framed = (
        bytes.fromhex("0a23d7ce05000000") + b"abcde\0\0\0" + bytes.fromhex("0a23d7ce00000000")
    )  # IN-6
    assert read_piped(tmp_path) == [framed] * 3
    assert [record.payload for record in record_formats.split(framed, "RecordIO")] == [
        b"abcde",
        b"",
    ]


def test_a_gzip_pipe_is_decompressed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.gz").write_bytes(gzip.compress(b"hello"))

    TrainingJob(
        validate("CreateTrainingJob", make_pipe_request(tmp_path, {"CompressionType": "Gzip"})),
        make_runner("pipe.py"),
        tmp_path / "job",
    ).run()

    assert read_piped(tmp_path) == [b"hello"] * 3  # IN-5


def test_an_augmented_manifest_streams_its_attributes(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"PNG")
    line = json.dumps({"image-ref": f"file://{tmp_path}/one.png", "label": 3, "other": "unused"})
    (tmp_path / "data").write_text(line + "\n" + line + "\n")
    request = make_pipe_request(
        tmp_path, {"RecordWrapperType": "RecordIO"}, "AugmentedManifestFile"
    )
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["AttributeNames"] = [
        "image-ref",
        "label",
    ]

    TrainingJob(
        validate("CreateTrainingJob", request), make_runner("pipe.py"), tmp_path / "job"
    ).run()

    payloads = [
        record.payload for record in record_formats.split(read_piped(tmp_path)[0], "RecordIO")
    ]
    assert payloads == [b"PNG", b"3", b"PNG", b"3"]


def test_shuffled_pipes_change_their_order_each_epoch_and_repeat_it_each_job(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    for name in "abcdefgh":
        (tmp_path / "data" / name).write_text(name)
    request = make_pipe_request(tmp_path, {"ShuffleConfig": {"Seed": 7}})

    TrainingJob(
        validate("CreateTrainingJob", request), make_runner("pipe.py"), tmp_path / "job"
    ).run()
    first = read_piped(tmp_path)
    TrainingJob(
        validate("CreateTrainingJob", {**request, "TrainingJobName": "again"}),
        make_runner("pipe.py"),
        tmp_path / "again",
    ).run()

    assert all(sorted(epoch) == sorted(b"abcdefgh") for epoch in first)
    assert len(set(first)) > 1  # IN-8
    again = tmp_path / "again/hosts/algo-1/output/data"
    assert [path.read_bytes() for path in sorted(again.glob("epoch-*"))] == first


def test_a_program_that_never_reads_its_pipe_leaves_nothing_waiting(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_text("a")
    before = threading.active_count()

    result = TrainingJob(
        validate("CreateTrainingJob", make_pipe_request(tmp_path, {})),
        make_runner("show.py"),
        tmp_path / "job",
    ).run()

    assert result.status == "Completed"
    assert threading.active_count() <= before + 1


def test_links_in_the_model_are_told(tmp_path: Path) -> None:
    program = (
        "import os; os.symlink('/etc/passwd', os.environ.get('SAGEMAKER_BASE_DIR', "
        "'/opt/ml') + '/model/link')"
    )

    result = run_job(tmp_path, ProcessRunner([sys.executable, "-c", program]))

    assert result.status == "Completed"
    assert any(
        "link is a symbolic link" in finding and "OUT-6" in finding for finding in result.findings
    )


def test_an_empty_model_directory_is_told(tmp_path: Path) -> None:
    result = run_job(tmp_path, ProcessRunner([sys.executable, "-c", "pass"]))

    assert result.status == "Completed"
    assert any("model.tar.gz is empty" in finding for finding in result.findings)  # TRIP-24


def test_loose_output_is_not_packed(tmp_path: Path, runner: ProcessRunner) -> None:
    output = {"S3OutputPath": f"file://{tmp_path}/out", "CompressionType": "NONE"}

    run_job(tmp_path, runner, extra={"OutputDataConfig": output})

    assert (tmp_path / "out/job/output/model/model.json").is_file()  # OUT-3


def test_a_container_argument_replaces_train(tmp_path: Path) -> None:
    algorithm = {
        "TrainingImage": "any",
        "TrainingInputMode": "File",
        "ContainerArguments": ["--lr", "1"],
    }

    result = run_job(tmp_path, make_runner("show.py"), extra={"AlgorithmSpecification": algorithm})

    seen = json.loads((result.directory / "hosts/algo-1/output/data/seen.json").read_text())
    assert seen["argv"] == ["--lr", "1"]  # IMG-3


def test_an_entrypoint_alone_gets_no_train(tmp_path: Path) -> None:
    entrypoint = [sys.executable, str(PROGRAMS / "show.py")]
    algorithm = {
        "TrainingImage": "any",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": entrypoint,
    }

    result = run_job(
        tmp_path, ProcessRunner(["unused"]), extra={"AlgorithmSpecification": algorithm}
    )

    seen = json.loads((result.directory / "hosts/algo-1/output/data/seen.json").read_text())
    assert seen["argv"] == []  # IMG-3


@pytest.mark.skipif(not has_namespaces(), reason="a network of its own needs a namespace")
def test_an_isolated_program_has_no_way_out(tmp_path: Path) -> None:
    result = run_job(tmp_path, make_runner("show.py", is_private=True), is_isolated=True)

    seen = json.loads((result.directory / "hosts/algo-1/output/data/seen.json").read_text())
    assert seen["interfaces"] == ["lo"]  # SEC-1


def test_a_name_is_used_once(tmp_path: Path, runner: ProcessRunner) -> None:
    run_job(tmp_path, runner)

    with pytest.raises(UserError, match="already exists"):
        run_job(tmp_path, runner)


def test_what_a_program_starts_dies_with_it(tmp_path: Path, runner: ProcessRunner) -> None:
    script = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid, flush=True)"
    lines: list[str] = []

    run_job(
        tmp_path,
        ProcessRunner([sys.executable, "-c", script], is_private=runner.is_private),
        listeners=Listeners(on_line=lambda _, line: lines.append(line)),
    )

    commands = [_read_command(path) for path in Path("/proc").iterdir() if path.name.isdigit()]
    assert "sleep\x001000\x00" not in commands


def _read_command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:  # it has ended meanwhile
        return ""


def test_a_manifest_delivers_the_files_that_it_names(tmp_path: Path, runner: ProcessRunner) -> None:
    for name in ("a.csv", "sub/b.csv", "not_named.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("1")
    manifest = tmp_path / "manifest.json"
    prefix = {"prefix": f"file://{tmp_path}/data/"}
    manifest.write_text(json.dumps([prefix, "a.csv", "sub/b.csv"]))
    request = shorthand.processing_request(
        name="job", image="any", inputs={"data": str(manifest)}, outputs={"out": f"{tmp_path}/out"}
    )
    request["ProcessingInputs"][0]["S3Input"]["S3DataType"] = "ManifestFile"

    result = ProcessingJob(validate("CreateProcessingJob", request), runner, tmp_path / "job").run()

    assert result.status == "Completed", result.failure
    [names] = (tmp_path / "out").rglob("names.json")
    assert json.loads(names.read_text()) == ["a.csv", "b.csv", "sub"]


STREAM = """
import os, pathlib, sys, time
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "processing")
(base / "out/first").write_bytes((base / "data_0").read_bytes())
while not pathlib.Path(sys.argv[1]).exists():  # until the platform has stored it
    time.sleep(0.01)
(base / "out/first").unlink()
(base / "out/last").touch()
"""


def test_an_input_is_streamed_and_an_output_stored_while_the_job_runs(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.gz").write_bytes(gzip.compress(b"one,"))
    (tmp_path / "data/b.gz").write_bytes(gzip.compress(b"two"))
    request = shorthand.processing_request(
        name="job",
        image="any",
        inputs={"data": f"{tmp_path}/data"},
        outputs={"out": f"{tmp_path}/out"},
        arguments=[f"{tmp_path}/out/first"],
    )
    piped = {"S3InputMode": "Pipe", "S3CompressionType": "Gzip"}
    request["ProcessingInputs"][0]["S3Input"] |= piped
    output = request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]
    output["S3UploadMode"] = "Continuous"
    runner = ProcessRunner([sys.executable, "-c", STREAM])

    result = ProcessingJob(validate("CreateProcessingJob", request), runner, tmp_path / "job").run()

    assert result.status == "Completed", result.failure
    assert (tmp_path / "out/first").read_bytes() == b"one,two"  # PR-2
    assert (tmp_path / "out/last").exists()
