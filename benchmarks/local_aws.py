"""Claim: InvokeEndpoint adds at most 3 ms to a direct POST; 32 clients get no error in a minute.

Machine, versions and n are printed with the results. The container is a small program of the
standard library, so that nearly all time is the way to it. Medians, interleaved in one run, from
one client that keeps its connections. `direct` is the POST that the local AWS sends, sent to the
container. `HTTP` is the signed request of InvokeEndpoint, made beforehand and sent by http.client:
what the local AWS itself adds. `boto3` is `invoke_endpoint` with all that boto3 does for it.

    python benchmarks/local_aws.py [--seconds 60]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.contract.aws.client import LocalAws
from tests.contract.aws.test_endpoints import make_config, make_model, wait_until_settled

REQUESTS = 2000
WARM_UP = 200
CLIENTS = 32
BODY = b",".join([b"127"] * 784)


def main() -> int:
    """Measure and print; the exit code is 1 if the claim does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(
        f"machine: {os.cpu_count()} x {machine}, Python {platform.python_version()}, boto3 "
        f"{boto3.__version__}"
    )
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalAws(Path(directory, "aws")).running() as aws,
    ):
        make_model(aws, "e")
        make_config(aws, "e", {"VariantName": "one", "ModelName": "e"})
        aws.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="e")
        wait_until_settled(aws, "e")
        added_ms = measure_overhead(aws)
        errors = measure_crowd(aws, options.seconds)
    return int(added_ms > 3 or errors > 0)


def measure_overhead(aws: LocalAws) -> float:
    """Send the same request each way in turns; return the median ms that boto3 and we add."""
    port = json.loads(invoke(aws))["port"].rpartition(":")[2]
    container = http.client.HTTPConnection("127.0.0.1", int(port))
    api = http.client.HTTPConnection(aws.url.removeprefix("http://"))
    path = "/endpoints/e/invocations"
    signed = aws.sign(path, BODY, Content_Type="text/csv")
    ways: dict[str, Callable[[], Any]] = {
        "direct": lambda: post(container, "/invocations", {}),
        "HTTP": lambda: post(api, path, signed),
        "boto3": lambda: invoke(aws),
    }
    times_s: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(REQUESTS + WARM_UP):
        for name, act in ways.items():
            started = time.perf_counter()
            act()
            if number >= WARM_UP:
                times_s[name].append(time.perf_counter() - started)
    container.close()
    api.close()
    direct_ms = statistics.median(times_s["direct"]) * 1000
    for name, values in times_s.items():
        p50, p99 = statistics.median(values) * 1000, statistics.quantiles(values, n=100)[98] * 1000
        print(
            f"{name:7} p50 {p50:.2f} ms, p99 {p99:.2f} ms, p50 over direct {p50 - direct_ms:+.2f} "
            f"ms (n={len(values)})"
        )
    return statistics.median(times_s["boto3"]) * 1000 - direct_ms


def measure_crowd(aws: LocalAws, seconds: float) -> int:
    """Let 32 clients ask without a pause; give the number of wrong answers and errors."""
    times_s: list[float] = []
    errors: list[str] = []
    end = time.monotonic() + seconds

    def ask() -> None:
        while time.monotonic() < end:
            started = time.perf_counter()
            try:
                if json.loads(invoke(aws))["echo"] != BODY.decode():
                    errors.append("another body came back")
            except Exception as error:  # noqa: BLE001 - any failure counts
                errors.append(str(error))
            times_s.append(time.perf_counter() - started)

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = statistics.median(times_s) * 1000, statistics.quantiles(times_s, n=100)[98] * 1000
    print(
        f"{CLIENTS} clients for {seconds:g} s: {len(times_s)} requests, {len(errors)} errors, "
        f"{len(times_s) / seconds:.0f} a second, p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    )
    for error in sorted(set(errors))[:5]:
        print(f"  {error}")
    return len(errors)


def post(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    """Send the request on a kept connection."""
    connection.request("POST", path, BODY, {"Content-Type": "text/csv", **headers})
    return connection.getresponse().read()


def invoke(aws: LocalAws) -> bytes:
    """Send it with boto3."""
    body: bytes = aws.runtime.invoke_endpoint(EndpointName="e", ContentType="text/csv", Body=BODY)[
        "Body"
    ].read()
    return body


if __name__ == "__main__":
    sys.exit(main())
