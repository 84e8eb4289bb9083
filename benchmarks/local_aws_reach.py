"""Claim: the first answer of `up` within 1 s, 80 MB when idle, a pipeline adds 0.5 s to its jobs.

Machine, versions and n are printed with the results. `start` is the time from the call of `up` to
the first answer, the console's first page. `idle` is the resident memory (Pss) of the local AWS's
processes after that answer. `pipeline` is the time of an
execution of ten training steps, one after the other, less that of the same ten jobs, each started
by boto3 when DescribeTrainingJob shows the end of the one before. Both wait with the same polls,
in turns.

    python benchmarks/local_aws_reach.py [--repeats 5]
"""

import argparse
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from local_test.runners import procfs
from tests.contract.aws.client import LocalAws, training_request

STEPS = 10
POLL_S = 0.02
LIMITS = {"start_s": 1.0, "idle_mb": 80.0, "pipeline_s": 0.5}


def main() -> int:
    """Measure and print; the exit code is 1 if the claim does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(
        f"machine: {os.cpu_count()} x {machine}, Python {platform.python_version()}, boto3 "
        f"{boto3.__version__}"
    )
    found: dict[str, list[float]] = {name: [] for name in LIMITS}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as directory:
            measure(LocalAws(Path(directory, "aws")), found)
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, values in found.items():
        shown = ", ".join(f"{value:.3f}" for value in values)
        print(f"{name:10} median {medians[name]:.3f}, at most {LIMITS[name]:g} (n: {shown})")
    return int(any(medians[name] > limit for name, limit in LIMITS.items()))


def measure(aws: LocalAws, found: dict[str, list[float]]) -> None:
    """Start a local AWS; add one value of each figure."""
    started = time.perf_counter()
    with aws.running():
        connection = http.client.HTTPConnection(aws.url.removeprefix("http://"))
        connection.request("GET", "/")
        connection.getresponse().read()
        found["start_s"].append(time.perf_counter() - started)
        pids = procfs.list_descendants(aws.pid)
        found["idle_mb"].append(sum(map(count_pss_bytes, pids)) / 1e6)
        aws.s3.put_object(Bucket=aws.bucket, Key="data/a.csv", Body=b"1,2\n")
        run_jobs(aws, "warm")  # the first job imports what jobs need
        jobs_s = run_jobs(aws, "job")
        found["pipeline_s"].append(run_pipeline(aws) - jobs_s)


def count_pss_bytes(pid: int) -> int:
    """Return a process's memory, with its part of shared pages."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    [line] = [line for line in text.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) * 1024


def run_jobs(aws: LocalAws, prefix: str) -> float:
    """Run the jobs one after the other; return the seconds that they took."""
    started = time.perf_counter()
    for number in range(STEPS):
        name = f"{prefix}-{number}"
        aws.sagemaker.create_training_job(**training_request(aws, name))
        while describe(aws, name) == "InProgress":
            time.sleep(POLL_S)
    return time.perf_counter() - started


def describe(aws: LocalAws, name: str) -> str:
    """Return a job's status."""
    answer: dict[str, Any] = aws.sagemaker.describe_training_job(TrainingJobName=name)
    return str(answer["TrainingJobStatus"])


def run_pipeline(aws: LocalAws) -> float:
    """Run the same jobs as a pipeline; return the seconds from its start to its end."""
    request = training_request(aws, "")
    del request["TrainingJobName"]
    steps = [
        {
            "Name": f"s{number}",
            "Type": "Training",
            "Arguments": request,
            "DependsOn": [f"s{number - 1}"] if number else [],
        }
        for number in range(STEPS)
    ]
    document = json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": steps})
    aws.sagemaker.create_pipeline(
        PipelineName="p",
        PipelineDefinition=document,
        RoleArn=aws.role,
        ClientRequestToken="p" * 32,
    )
    started = time.perf_counter()
    arn = aws.sagemaker.start_pipeline_execution(PipelineName="p")["PipelineExecutionArn"]
    status = "Executing"
    while status == "Executing":
        time.sleep(POLL_S)
        answer = aws.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        status = answer["PipelineExecutionStatus"]
    if status != "Succeeded":
        message = f"the pipeline ended as {status}: {answer}"
        raise RuntimeError(message)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
