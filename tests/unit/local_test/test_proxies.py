"""What is reached without a proxy."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
import requests

from local_test import proxies
from local_test.aws.process.containers import ClientRunner
from local_test.runners.interface import Launch


@pytest.mark.parametrize(
    ("environ", "exempt"),
    [
        ({}, "127.0.0.1,localhost,::1,[::1]"),
        ({"NO_PROXY": ".corp, 10.0.0.0/8"}, ".corp,10.0.0.0/8,127.0.0.1,localhost,::1,[::1]"),
        ({"no_proxy": "a", "NO_PROXY": "b a"}, "a,b,127.0.0.1,localhost,::1,[::1]"),
        ({"no_proxy": "", "NO_PROXY": "localhost"}, "localhost,127.0.0.1,::1,[::1]"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_loopback_is_added_to_what_is_exempt(environ: dict[str, str], exempt: str) -> None:
    found = proxies.exempt(environ, *proxies.LOOPBACK)
    assert found == {"no_proxy": exempt, "NO_PROXY": exempt}
    assert proxies.exempt(found, *proxies.LOOPBACK) == found


def test_this_process_reaches_loopback_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert not urllib.request.proxy_bypass("127.0.0.1:8080")

    proxies.exempt_this_process()

    assert urllib.request.proxy_bypass("127.0.0.1:8080")
    assert urllib.request.proxy_bypass("localhost:8080")
    assert urllib.request.proxy_bypass("[::1]:8080")
    assert requests.utils.should_bypass_proxies("http://[::1]:8080/", None)
    assert not urllib.request.proxy_bypass("pypi.example")


class Recorder:
    """A runner that keeps what it is asked to start."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}

    def start(self, launch: Launch, _: object) -> None:
        """Keep the variables."""
        self.environment = dict(launch.environment)


@pytest.mark.parametrize(
    ("given", "exempt"),
    [
        ({}, None),
        ({"https_proxy": "http://p:1"}, "127.0.0.1,localhost,::1,[::1],172.17.0.1"),
        (
            {"HTTP_PROXY": "http://p:1", "NO_PROXY": "x"},
            "x,127.0.0.1,localhost,::1,[::1],172.17.0.1",
        ),
    ],
)
def test_a_container_that_was_given_a_proxy_reaches_the_local_aws_without(
    given: dict[str, str], exempt: str | None, tmp_path: Path
) -> None:
    recorder = Recorder()
    variables = {"AWS_ENDPOINT_URL": "http://172.17.0.1:4566"}
    runner = ClientRunner(recorder, variables)  # type: ignore[arg-type]
    runner.start(Launch("algo-1", ("train",), tmp_path, given), lambda _: None)
    assert recorder.environment.get("no_proxy") == exempt
