"""Claim: the local SageMaker adds at most 0.5 s to a job, and 1 ms (median) to an invocation.

Machine, versions and n are printed with the results. Baselines, interleaved with ours in one run:
  job         the same program on a job directory made beforehand, started by subprocess
  invocation  the same POST on one kept connection to the same server, with http.client

    python -m benchmarks.local_test_overhead
"""

from __future__ import annotations

import http.client
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation_server import InvocationServer
from local_test.jobs import job_directory
from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners.process import ProcessRunner

PROGRAM = [
    sys.executable,
    str(Path(__file__).resolve().parents[1] / "tests/contract/programs/conformant.py"),
]
JOBS = 20
INVOCATIONS = 1000


def main() -> None:
    """Measure and print."""
    print(
        f"machine: {os.cpu_count()} x {platform.processor() or platform.machine()}, Python "
        f"{platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as directory:
        measure_jobs(Path(directory))
        measure_invocations(Path(directory))


def measure_jobs(directory: Path) -> None:
    """Run jobs directly and through the harness in turns; the first of each is not counted."""
    direct, through = [], []
    for number in range(JOBS + 1):
        request = shorthand.training_request(
            name=f"job-{number}", image="any", channels={}, output=str(directory / "out")
        )
        layout = job_directory.make_training_tree(directory / f"direct-{number}", request, "algo-1")
        environment = {"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(layout.base)}
        started = time.perf_counter()
        subprocess.run([*PROGRAM, "train"], env=environment, check=True, stdout=subprocess.DEVNULL)
        direct.append(time.perf_counter() - started)
        started = time.perf_counter()
        result = TrainingJob(
            validate("CreateTrainingJob", request),
            ProcessRunner(PROGRAM),
            directory / f"job-{number}",
        ).run()
        through.append(time.perf_counter() - started)
        if result.status != "Completed":
            sys.exit(f"the job failed: {result.failure}")
    report("job", direct[1:], through[1:])


def measure_invocations(directory: Path) -> None:
    """Send the same request directly, by `Endpoint.invoke` and by HTTP, in turns."""
    requests = shorthand.endpoint_requests(name="e", image="any", model=None)
    headers = {"Content-Type": "text/csv"}
    body = b",".join([b"1"] * 784)
    times: dict[str, list[float]] = {"direct": [], "Endpoint.invoke": [], "HTTP server": []}
    with (
        Endpoint(requests, ProcessRunner(PROGRAM), directory / "endpoint") as endpoint,
        InvocationServer({"e": endpoint}) as http_server,
    ):
        [server] = endpoint.servers()
        to_server = http.client.HTTPConnection(*server.container.address)
        to_http = http.client.HTTPConnection(http_server.url.removeprefix("http://"))

        def post(connection: http.client.HTTPConnection, path: str) -> None:
            connection.request("POST", path, body, headers)
            connection.getresponse().read()

        for number in range(INVOCATIONS + 100):
            for name, act in (
                ("direct", lambda: post(to_server, "/invocations")),
                ("Endpoint.invoke", lambda: endpoint.invoke(body, headers)),
                ("HTTP server", lambda: post(to_http, "/endpoints/e/invocations")),
            ):
                started = time.perf_counter()
                act()
                if number >= 100:
                    times[name].append(time.perf_counter() - started)
        for connection in (to_server, to_http):
            connection.close()
    for name in ("Endpoint.invoke", "HTTP server"):
        report(f"invocation by {name}", times["direct"], times[name])


def report(what: str, baseline_s: list[float], ours_s: list[float]) -> None:
    """Print medians and what ours adds."""
    before, after = statistics.median(baseline_s), statistics.median(ours_s)
    print(
        f"{what}: direct {before * 1000:.2f} ms, ours {after * 1000:.2f} ms, "
        f"added {(after - before) * 1000:.2f} ms (medians, n={len(ours_s)})"
    )


if __name__ == "__main__":
    main()
