"""`tune --on aws`: a tuning job of an account, which `up` plays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local_test.remote import access
from tests.contract.aws.client import LocalAws
from tests.contract.aws.remote import Remote, answer

ATTEMPTS = access._ATTEMPTS  # noqa: SLF001 - as often as the client tries
CREATE = "CreateHyperParameterTuningJob"
DESCRIBE = "DescribeHyperParameterTuningJob"
LIST = "ListTrainingJobsForHyperParameterTuningJob"
SLOW = ("-p", "epoch_s=60")


@pytest.fixture
def flags(aws: LocalAws, tmp_path: Path) -> list[str]:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text(f"{tmp_path}\n")  # content that no other test has
    return [
        *("tune", "--image", aws.image, "-c", f"training={data}", "-p", "epochs=2"),
        *("--metric", "score=validation_accuracy=([0-9.]+);", "--maximize", "score"),
        *("--range", "learning_rate=0.001:0.1:log", "--range", "optimizer=adam,sgd"),
        *("--strategy", "Random", "--jobs", "3", "--parallel", "2"),
        *("--output", str(tmp_path / "out"), "--instance-type", "ml.m5.xlarge"),
    ]


def statuses_of(remote: Remote, name: str) -> set[str]:
    """Return the statuses of a tuning job and of its training jobs."""
    sagemaker = remote.aws.sagemaker
    found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    trainings = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name
    )["TrainingJobSummaries"]
    return {
        found["HyperParameterTuningJobStatus"],
        *(job["TrainingJobStatus"] for job in trainings),
    }


def clean(remote: Remote) -> None:
    """Delete everything; nothing may be left."""
    remote.faults.clear()
    remote.run_well("aws", "clean", "--yes", "--logs")
    assert remote.run_well("aws", "ls") == ""


def test_a_tuning_job_is_the_printed_request_and_leaves_the_best_model(
    remote: Remote, flags: list[str], tmp_path: Path
) -> None:
    remote.faults.clear()
    there = [*flags, "--name", "best", "--on", "aws", "--yes"]
    local = json.loads(remote.run_well(*flags, "--name", "best", "--print-request"))
    printed = json.loads(remote.run_well(*there, "--print-request"))
    assert CREATE not in remote.sent

    code, out, err = remote.run(*there)

    assert code == 0, err
    [body] = remote.sent[CREATE]
    assert json.dumps(json.loads(body)) == json.dumps(printed)
    assert printed["Tags"] == [{"Key": "byo-sagemaker", "Value": "tuning"}]
    definition = printed["TrainingJobDefinition"]
    assert definition["OutputDataConfig"]["S3OutputPath"].endswith("/byo/jobs/best")
    for request in (local, printed):
        request.pop("Tags", None)
        for member in ("InputDataConfig", "OutputDataConfig", "RoleArn"):
            del request["TrainingJobDefinition"][member]
    assert printed == local

    directory = remote.jobs / "tuning" / "best"
    trainings = json.loads((directory / "training-jobs.json").read_text())
    objective = "FinalHyperParameterTuningJobObjectiveMetric"
    best = max(trainings, key=lambda job: float(job[objective]["Value"]))
    name = best["TrainingJobName"]
    model = tmp_path / "out" / name / "output/model.tar.gz"
    assert out == f"Completed {model}\n"
    assert model.stat().st_size > 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]  # only the best
    assert f"best: {name}, score={best[objective]['Value']:.6g} with learning_rate=" in err
    assert f"serve --image {remote.aws.image} --model {model}" in err
    short = name.removeprefix("best-")
    assert f"{short}/algo-1 | epoch=0; validation_accuracy=" in err
    assert f"{short} Completed" in err
    assert f"3 of 3 training jobs have ended; the best: {short}, score=" in err
    assert "2 x ml.m5.xlarge" in err
    assert sorted(path.name for path in (directory / "logs").iterdir()) == sorted(
        f"{job['TrainingJobName'].removeprefix('best-')}-algo-1.log" for job in trainings
    )
    described = json.loads((directory / "description.json").read_text())
    assert described["BestTrainingJob"]["TrainingJobName"] == name

    clean(remote)


class Case(NamedTuple):
    """Faults by operation, and how the command ends."""

    faults: dict[str, list[Any]]
    code: int
    sentence: str


EXPIRED = answer(400, "ExpiredTokenException", "The security token is expired")
THROTTLED = answer(400, "ThrottlingException", "Rate exceeded")
CASES = {
    "throttled": Case({DESCRIBE: [THROTTLED] * 3, LIST: [THROTTLED] * 3}, 0, "Completed"),
    "all-expired": Case(
        {LIST: [EXPIRED], "StopHyperParameterTuningJob": [EXPIRED]},
        2,
        "faulty may still run: `python -m local_test aws stop faulty` stops it",
    ),
    "deleted": Case(
        {LIST: [answer(400, "ResourceNotFound", "There is no such tuning job")]},
        2,
        "error: the job faulty does not exist any more: someone else deleted it\n",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_fault_ends_with_a_sentence_and_nothing_running(
    remote: Remote, flags: list[str], case: Case
) -> None:
    slow = SLOW if case.code else ()
    remote.faults |= {operation: list(calls) for operation, calls in case.faults.items()}

    code, _, err = remote.run(*flags, *slow, "--on", "aws", "--yes", "--name", "faulty")

    assert code == case.code, err
    assert case.sentence in err
    assert "Traceback" not in err
    if "may still run" in case.sentence:
        remote.run_well("aws", "stop", "faulty")
    remote.run_well("aws", "stop", "faulty")  # waits for the end of one that is stopping
    assert not statuses_of(remote, "faulty") & {"InProgress", "Stopping"}
    clean(remote)


def test_a_tuning_job_that_aws_makes_while_it_fails_is_stopped(
    remote: Remote, flags: list[str]
) -> None:
    fail = answer(500, "InternalFailure")

    def make_and_fail(request: Any) -> Any:
        remote.aws.sagemaker.create_hyper_parameter_tuning_job(**json.loads(request.body))
        return fail(request)

    remote.faults[CREATE] = [make_and_fail] + [fail] * (ATTEMPTS - 1)
    code, _, err = remote.run(*flags, *SLOW, "--on", "aws", "--yes", "--name", "made")
    assert code == 2
    assert f"AWS fails at {CREATE} (InternalFailure)" in err
    assert not (remote.jobs / "tuning/made").exists()
    remote.run_well("aws", "stop", "made")
    assert not statuses_of(remote, "made") & {"InProgress", "Stopping"}
    clean(remote)


def test_a_detached_tuning_job_is_listed_stopped_and_deleted_with_its_training_jobs(
    remote: Remote, flags: list[str]
) -> None:
    remote.faults.clear()
    out = remote.run_well(*flags, *SLOW, "--on", "aws", "--yes", "--name", "alone", "--detach")
    assert out == "alone\n"

    def list_kinds() -> list[str]:
        lines = remote.run_well("aws", "ls", "--json").splitlines()
        return sorted({json.loads(line)["kind"] for line in lines})

    remote.run_well("aws", "delete", "alone", "--yes", "--logs")
    assert list_kinds() == []
    sagemaker = remote.aws.sagemaker
    assert sagemaker.list_training_jobs(NameContains="alone-")["TrainingJobSummaries"] == []
    assert (
        remote.aws.s3.list_objects_v2(Bucket=remote.aws.bucket, Prefix="byo/jobs/alone/")[
            "KeyCount"
        ]
        == 0
    )
    clean(remote)


def test_a_tuning_job_without_a_value_of_its_objective_says_so(
    remote: Remote, flags: list[str]
) -> None:
    there = ["--on", "aws", "--yes", "--name", "blind", "--metric", "other=never ([0-9]+)"]
    there += ["--maximize", "other"]
    code, out, err = remote.run(*flags, *there)
    assert code == 1
    assert out == "Failed\n"
    assert "error: All training jobs failed. None printed other." in err
    clean(remote)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "tuning jobs run on AWS; add --on aws"),
        (["--on", "aws", "--checkpoints", "/c"], "CheckpointConfig.S3Uri is file:///c"),
        (["--on", "aws", "--minimize", "loss"], "name the objective: --maximize METRIC"),
        (["--on", "aws", "--maximize", "f1"], "no metric definition finds the objective 'f1'"),
        (["--on", "aws", "--strategy", "Luck"], "unknown value 'Luck'"),
        (["--on", "aws", "-p", "optimizer=adam"], "optimizer: given by -p and by --range"),
        (["--on", "aws", "--name", "n" * 33], "HyperParameterTuningJobName: expected at most 32"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    remote: Remote, flags: list[str], given: list[str], sentence: str
) -> None:
    code, _, err = remote.run(*flags, *given)
    assert code == 2
    assert sentence in err
    assert CREATE not in remote.sent
