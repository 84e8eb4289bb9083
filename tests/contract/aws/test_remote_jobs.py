"""`--on aws`: the local commands' requests, sent by boto3 to an account, which `up` plays."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import EndpointConnectionError

from local_test.cli import app
from local_test.remote import access
from tests.contract.aws.client import LocalAws
from tests.contract.aws.remote import Remote, answer
from tests.support import ROOT


@pytest.fixture
def flags(aws: LocalAws, tmp_path: Path) -> list[str]:
    data = tmp_path / "data"
    (data / "more").mkdir(parents=True)
    (data / "a.csv").write_text(f"{tmp_path},2\n")  # content that no other test has
    (data / "more" / "b.csv").write_text("3,4\n")
    return [
        *("train", "--image", aws.image, "-c", f"training={data}", "-p", "epochs=2"),
        *("--output", str(tmp_path / "jobs/training")),
        *("--metric", "score=validation_accuracy=([0-9.]+);", "--instance-type", "ml.m5.xlarge"),
    ]


def status_of(aws: LocalAws, name: str) -> str:
    found = aws.sagemaker.describe_training_job(TrainingJobName=name)
    return str(found["TrainingJobStatus"])


def test_a_training_job_on_aws_leaves_the_local_files(remote: Remote, flags: list[str]) -> None:
    code, out, err = remote.run(*flags, "--name", "there", "--on", "aws", "--yes")

    assert code == 0, err
    [body] = remote.sent["CreateTrainingJob"]
    assert json.loads(body)["Tags"] == [{"Key": "byo-sagemaker", "Value": "training"}]
    directory = remote.jobs / "training" / "there"
    assert out == f"Completed {directory}/output/model.tar.gz\n"
    assert (directory / "output/model.tar.gz").stat().st_size > 0
    log = (directory / "logs/algo-1.log").read_text()
    assert log.startswith("epoch=0; validation_accuracy=")
    assert log in err
    assert "score" in err
    assert json.loads((directory / "description.json").read_text())["TrainingJobStatus"] == (
        "Completed"
    )
    assert "the price is unknown (these credentials may not call GetProducts)" in err
    assert "2 of 2 object(s) uploaded" in err
    assert f" --model {directory}/output/model.tar.gz\n" in err

    code, _, err = remote.run(*flags, "--name", "there", "--on", "aws", "--yes")
    assert code == 2
    assert "error: a job named 'there' already exists" in err
    assert "GetProducts" not in remote.sent  # before the price, the question and the upload


def test_data_is_uploaded_once_and_everything_can_be_cleaned(
    remote: Remote, flags: list[str], aws: LocalAws
) -> None:
    there = [*flags, "--on", "aws", "--yes"]
    remote.run_well(*there, "--name", "first")
    code, _, err = remote.run(*there, "--name", "second")
    assert code == 0
    assert "0 of 2 object(s) uploaded" in err
    assert "PutObject" not in remote.sent
    aws.sagemaker.create_model(  # not ours: it has no tag
        ModelName="of-someone-else",
        PrimaryContainer={"Image": aws.image},
        ExecutionRoleArn=aws.role,
    )

    listed = remote.run_well("aws", "ls", "--json")
    names = [json.loads(line)["name"] for line in listed.splitlines()]
    assert {"first", "second"} <= set(names)
    assert "of-someone-else" not in names

    remote.run_well("aws", "delete", "first", "--yes", "--logs")
    for name in ("first", "fir", "no_name"):
        code, _, err = remote.run("aws", "delete", name, "--yes")
        assert code == 2
        assert f"nothing that --on aws made has the name {name!r}" in err
    code, out, err = remote.run("aws", "clean")
    assert code == 2
    assert "second" in out  # it lists before it asks
    assert "Nobody can be asked here; add --yes" in err
    remote.run_well("aws", "clean", "--yes")
    assert remote.run_well("aws", "ls") == ""
    found = aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix="byo/")
    assert found["KeyCount"] == 0
    assert aws.s3.list_objects_v2(Bucket=aws.bucket, Prefix="data/")["KeyCount"] > 0
    assert aws.sagemaker.describe_model(ModelName="of-someone-else")


def interrupt(_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def disconnect(request: Any) -> None:
    raise EndpointConnectionError(endpoint_url=request.url)


ATTEMPTS = access._ATTEMPTS  # noqa: SLF001 - as often as the client tries
EXPIRED = answer(400, "ExpiredTokenException", "The security token is expired")
THROTTLED = answer(400, "ThrottlingException", "Rate exceeded")


class Case(NamedTuple):
    """Faults by operation, and how the command ends."""

    faults: dict[str, list[Any]]
    code: int
    sentence: str


QUOTA = answer(400, "ResourceLimitExceeded", "The limit for ml.m5.xlarge is 0")
DENIED = answer(400, "AccessDeniedException", "no policy allows it")
CASES = {
    "throttled": Case({"DescribeTrainingJob": [THROTTLED] * 3}, 0, "Completed"),
    "lost-request": Case({"CreateTrainingJob": [disconnect] * 3}, 0, "Completed"),
    "throttled-for-long": Case(
        {"DescribeTrainingJob": [THROTTLED] * ATTEMPTS},
        2,
        "error: AWS still throttles DescribeTrainingJob after several attempts; try again in some "
        "minutes; faulty is being stopped",
    ),
    "expired": Case(
        {"GetLogEvents": [EXPIRED]},
        2,
        "error: the AWS credentials have expired; sign in again, such as with `aws sso login`; "
        "faulty is being stopped",
    ),
    "all-expired": Case(
        {"DescribeTrainingJob": [EXPIRED], "StopTrainingJob": [EXPIRED]},
        2,
        "faulty may still run: `python -m local_test aws stop faulty` stops it",
    ),
    "no-network": Case(
        {"DescribeTrainingJob": [disconnect] * ATTEMPTS},
        2,
        "check the network, proxy and region; faulty is being stopped",
    ),
    "quota": Case(
        {"CreateTrainingJob": [QUOTA]},
        2,
        "error: a quota of the account is reached: The limit for ml.m5.xlarge is 0; raise it in "
        "the console of Service Quotas",
    ),
    "denied": Case(
        {"CreateTrainingJob": [DENIED]},
        2,
        "error: these credentials may not call CreateTrainingJob: no policy allows it; see "
        "`python -m local_test aws role`",
    ),
    "interrupted": Case({"DescribeTrainingJob": [interrupt]}, 130, "stopping faulty"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_fault_ends_with_a_sentence_and_nothing_running(
    remote: Remote, flags: list[str], case: Case
) -> None:
    slow = ["-p", "epoch_s=60"] if case.code else []
    remote.faults |= {operation: list(calls) for operation, calls in case.faults.items()}

    code, _, err = remote.run(*flags, *slow, "--on", "aws", "--yes", "--name", "faulty")

    assert code == case.code, err
    assert case.sentence in err
    assert "Traceback" not in err
    if "may still run" in case.sentence:
        remote.run_well("aws", "stop", "faulty")
    running = remote.aws.sagemaker.list_training_jobs(
        StatusEquals="InProgress", NameContains="faulty"
    )
    assert running["TrainingJobSummaries"] == []
    remote.run_well("aws", "clean", "--yes")


@pytest.mark.parametrize(
    ("operation", "fault", "sentence"),
    [
        ("GetCallerIdentity", answer(403, "ExpiredToken"), "the AWS credentials have expired"),
        (
            "GetCallerIdentity",
            answer(403, "InvalidClientTokenId"),
            "AWS does not know these credentials (InvalidClientTokenId)",
        ),
        (
            "HeadBucket",
            answer(403, "403", "Forbidden"),
            "these credentials may not call HeadBucket",
        ),
        ("PutObject", answer(403, "AccessDenied"), "these credentials may not call PutObject"),
        ("PutObject", answer(503, "SlowDown"), "AWS still throttles PutObject"),
        ("PutObject", answer(404, "NoSuchBucket"), "AWS refuses PutObject (NoSuchBucket)"),
        ("PutObject", answer(403, "RequestTimeTooSkewed"), "this machine's clock differs"),
        (
            "PutObject",
            answer(400, "IllegalLocationConstraintException"),
            "AWS refuses PutObject (IllegalLocationConstraintException)",
        ),
        (
            "CreateTrainingJob",
            answer(400, "ValidationException", "The bucket is not in us-east-1."),
            "AWS refuses CreateTrainingJob (ValidationException): The bucket is not in us-east-1\n",
        ),
    ],
)
def test_what_is_refused_before_the_job_is_one_sentence(
    remote: Remote, flags: list[str], operation: str, fault: Any, sentence: str
) -> None:
    remote.faults[operation] = [fault] * ATTEMPTS
    code, _, err = remote.run(*flags, "--on", "aws", "--yes", "--name", "refused")
    assert code == 2
    assert f"error: {sentence}" in err
    assert operation == "CreateTrainingJob" or "CreateTrainingJob" not in remote.sent
    assert not (remote.jobs / "training/refused").exists()


def test_a_region_that_nobody_knows_is_doubted(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(access, "_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anything")
    for region, hint in {"us-est-1": "no region 'us-est-1' is known; did", "us-east-1": ""}.items():
        there = ["byo", *flags, "--on", "aws", "--yes", "--region", region]
        monkeypatch.setattr(sys, "argv", there)
        assert app.main() == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("error: AWS cannot be reached: Could not connect")
        assert line.partition("proxy and region; ")[2].startswith(hint)
        assert ("us-east-1 or" in line) is bool(hint)


NO_JOB = answer(400, "ValidationException", "Requested resource not found.")
NO_LOG = answer(400, "ResourceNotFoundException", "The specified log stream does not exist.")


def test_a_job_that_someone_else_deletes_is_not_said_to_be_stopped(
    remote: Remote, flags: list[str]
) -> None:
    remote.faults["DescribeTrainingJob"] = [NO_JOB]
    code, _, err = remote.run(*flags, "--on", "aws", "--yes", "--name", "theirs")
    assert code == 2
    assert "error: the job theirs does not exist any more: someone else deleted it\n" in err
    assert "StopTrainingJob" not in remote.sent
    remote.run_well("aws", "clean", "--yes")


def test_a_log_that_someone_else_deletes_does_not_end_the_job(
    remote: Remote, flags: list[str]
) -> None:
    remote.faults["GetLogEvents"] = [NO_LOG]
    remote.faults["DescribeLogStreams"] = [NO_LOG]
    out = remote.run_well(*flags, "--on", "aws", "--yes", "--name", "unlogged")
    assert out.startswith("Completed")
    remote.run_well("aws", "clean", "--yes")


def test_what_vanishes_while_it_is_listed_is_left_out(remote: Remote, flags: list[str]) -> None:
    for name in ("stays", "vanishes"):
        remote.run_well(*flags, "--on", "aws", "--yes", "--name", name)

    def vanish(request: Any) -> None:
        if "vanishes" in json.loads(request.body)["ResourceArn"]:
            remote.aws.sagemaker.delete_training_job(TrainingJobName="vanishes")

    remote.faults["ListTags"] = [vanish] * 100
    listed = remote.run_well("aws", "ls", "--json")
    assert [json.loads(line)["name"] for line in listed.splitlines()] == ["stays"]
    remote.faults.clear()
    remote.run_well("aws", "clean", "--yes")


def test_a_job_that_aws_makes_while_it_fails_is_stopped(remote: Remote, flags: list[str]) -> None:
    fail = answer(500, "InternalFailure")

    def make_and_fail(request: Any) -> Any:
        remote.aws.sagemaker.create_training_job(**json.loads(request.body))
        return fail(request)

    remote.faults["CreateTrainingJob"] = [make_and_fail] + [fail] * (ATTEMPTS - 1)
    code, _, err = remote.run(
        *flags, *("-p", "epoch_s=60", "--on", "aws", "--yes", "--name", "made")
    )
    assert code == 2
    assert "AWS fails at CreateTrainingJob (InternalFailure)" in err
    made = remote.aws.sagemaker.describe_training_job(TrainingJobName="made")
    assert made["TrainingJobStatus"] in {"Stopping", "Stopped"}
    assert not (remote.jobs / "training/made").exists()


def test_a_full_disk_or_closed_terminal_stops_the_job(remote: Remote, flags: list[str]) -> None:
    def fill(_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    remote.faults["DescribeTrainingJob"] = [fill]
    with contextlib.suppress(OSError):
        remote.run(*flags, *("-p", "epoch_s=60", "--on", "aws", "--yes", "--name", "full"))
    left = remote.aws.sagemaker.describe_training_job(TrainingJobName="full")
    assert left["TrainingJobStatus"] in {"Stopping", "Stopped"}


def test_a_job_whose_lines_nobody_reads_any_more_is_stopped(
    aws: LocalAws, flags: list[str], tmp_path: Path
) -> None:
    """As with `2>&1 | head`."""
    options = [word.replace("epochs=2", "epochs=1000") for word in flags]
    options += ["-p", "epoch_s=0.1", "--on", "aws", "--yes", "--name", "unread"]
    settings = {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": aws.key.access_key,
        "AWS_SECRET_ACCESS_KEY": aws.key.secret_key,
        "LOCAL_TEST_JOBS": str(tmp_path / "jobs"),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(
        [sys.executable, "-m", "local_test", *options],
        cwd=ROOT,
        env=kept | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            assert process.stdout
            lines = [process.stdout.readline()]
            while lines[-1] and not lines[-1].startswith(b"epoch="):
                lines.append(process.stdout.readline())
            process.stdout.close()
            code = process.wait(120)
        finally:
            process.kill()
    assert (lines[-1][:6], code) == (b"epoch=", 130), lines
    assert status_of(aws, "unread") in {"Stopping", "Stopped"}


def test_a_request_whose_answer_is_lost_makes_one_job(remote: Remote, flags: list[str]) -> None:
    def lose(request: Any) -> None:
        if remote.sent["CreateTrainingJob"] == [request.body]:
            remote.aws.sagemaker.create_training_job(**json.loads(request.body))
            disconnect(request)

    remote.faults["CreateTrainingJob"] = [lose]
    assert remote.run_well(*flags, "--on", "aws", "--yes", "--name", "lost").startswith("Completed")
    assert len(remote.sent["CreateTrainingJob"]) == 2
    remote.run_well("aws", "clean", "--yes")


def test_who_is_asked_can_leave_the_job_and_stop_it_later(
    remote: Remote, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local_test.cli.remote.submission.wants_to_leave", lambda _: True)
    remote.faults["DescribeTrainingJob"] = [interrupt]
    there = [*flags, "-p", "epoch_s=60", "--on", "aws", "--yes", "--name", "left"]
    code, _, err = remote.run(*there)
    assert code == 130
    assert "left goes on; `python -m local_test aws stop left` stops it" in err
    assert status_of(remote.aws, "left") == "InProgress"
    remote.run_well("aws", "stop", "left")
    asked = [json.loads(body)["ResourceArn"] for body in remote.sent["ListTags"]]
    assert {arn.rpartition("/")[2] for arn in asked} == {"left"}  # an account may have thousands
    assert status_of(remote.aws, "left") == "Stopped"
    remote.run_well("aws", "clean", "--yes")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--on", "moon"], "--on 'moon': choose one of local, aws"),
        (["--region", "us-east-1"], "--region need --on aws"),
        (["--on", "aws", "--gpus"], "--gpus have no meaning with --on aws"),
        (["--on", "aws", "--checkpoints", "/c"], "CheckpointConfig.S3Uri is file:///c"),
    ],
)
def test_options_without_a_meaning_are_refused(
    remote: Remote, flags: list[str], given: list[str], sentence: str
) -> None:
    code, _, err = remote.run(*flags, *given)
    assert code == 2
    assert sentence in err
    assert "CreateTrainingJob" not in remote.sent


def test_a_program_is_not_an_image(remote: Remote) -> None:
    code, _, err = remote.run("train", "--on", "aws", "--yes", "-c", "training=s3://b/c")
    assert code == 2
    assert "AWS runs images; name one with --image" in err
