"""A local AWS that is killed at random moments under writes: nothing acknowledged is lost.

`LOCAL_AWS_KILLS` sets how often it is killed; some of the kills hit a start.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from local_test.aws.process import installation
from tests.contract.aws.client import LocalAws
from tests.support import ROOT, wait_until

KILLS = int(os.environ.get("LOCAL_AWS_KILLS", "3"))
WRITERS = 4
KEYS = 5  # for each writer
GONE = ("NoSuchKey", "404")


@dataclass
class Writer:
    """Writes to keys and models of its own, and knows what must be there and what may be."""

    number: int
    objects: dict[str, set[bytes | None]] = field(default_factory=dict)
    """By key: the last acknowledged state, and those of requests without an answer."""
    models: set[str] = field(default_factory=set)
    possible_models: set[str] = field(default_factory=set)

    def write(self, aws: LocalAws, stop: threading.Event) -> None:
        """Write until it is told to stop, or no answer comes."""
        chooser = random.Random()  # noqa: S311 - an order of writes
        # An answer that is cut off may look like one that lacks a member.
        with contextlib.suppress(BotoCoreError, AssertionError):
            while not stop.is_set():
                key = f"{self.number}/{chooser.randrange(KEYS)}"
                self.choose(aws, key, chooser)

    def choose(self, aws: LocalAws, key: str, chooser: random.Random) -> None:
        """Send one request."""
        choice = chooser.random()
        place = {"Bucket": aws.bucket, "Key": key}
        if choice < 0.2:
            self.objects.setdefault(key, {None}).add(None)
            aws.s3.delete_object(**place)
            self.objects[key] = {None}
        elif choice < 0.4:
            name = f"m{self.number}-{chooser.getrandbits(64)}"
            self.possible_models.add(name)
            aws.sagemaker.create_model(
                ModelName=name, PrimaryContainer={"Image": aws.image}, ExecutionRoleArn=aws.role
            )
            self.models.add(name)
        else:
            body = chooser.randbytes(chooser.choice((0, 100, 200_000)))
            self.objects.setdefault(key, {None}).add(body)
            aws.s3.put_object(**place, Body=body)
            self.objects[key] = {body}

    def check(self, aws: LocalAws) -> None:
        """Check what the next process serves, and take it as the state to go on from."""
        for key, states in self.objects.items():
            found = read(aws, key)
            assert found in states, f"{key} is neither what was acknowledged nor in flight"
            self.objects[key] = {found}
        prefix = f"m{self.number}-"
        pages = aws.sagemaker.get_paginator("list_models").paginate(NameContains=prefix)
        models = {item["ModelName"] for page in pages for item in page["Models"]}
        assert self.models <= models <= self.possible_models
        self.models = models


def read(aws: LocalAws, key: str) -> bytes | None:
    try:
        return bytes(aws.s3.get_object(Bucket=aws.bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise


def launch(aws: LocalAws) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "local_test", "up", "--foreground"]
    environ = {**os.environ, "LOCAL_AWS_DIRECTORY": str(aws.directory)}
    log = aws.directory.with_suffix(".log")
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=file, stderr=file)


def start(aws: LocalAws) -> subprocess.Popen[bytes]:
    process = launch(aws)

    def is_up() -> bool:
        log = aws.directory.with_suffix(".log")
        assert process.poll() is None, log.read_text()[-3000:]
        running = installation.find_running(aws.directory)
        if running is None or running.pid != process.pid:
            return False
        aws.url = running.url
        return True

    wait_until(is_up)
    aws.client.cache_clear()
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.timeout(120 + 30 * KILLS)
def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    aws = LocalAws(tmp_path / "state")
    writers = [Writer(number) for number in range(WRITERS)]
    for count in range(KILLS):
        if count % 4 == 3:
            process = launch(aws)
            time.sleep(random.uniform(0, 3))  # noqa: S311 - a moment of the start
            kill(process)
        process = start(aws)
        for writer in writers:
            writer.check(aws)
        stop = threading.Event()
        threads = [threading.Thread(target=item.write, args=(aws, stop)) for item in writers]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0, 0.7))  # noqa: S311 - a moment of the writes
        kill(process)
        stop.set()
        for thread in threads:
            thread.join()
    process = start(aws)
    for writer in writers:
        writer.check(aws)
    listed = aws.s3.list_objects_v2(Bucket=aws.bucket).get("Contents", [])
    states = {key: state for writer in writers for key, state in writer.objects.items()}
    assert {item["Key"] for item in listed} == {key for key in states if states[key] != {None}}
    assert "warning" not in aws.directory.with_suffix(".log").read_text()
    process.terminate()
    assert process.wait(60) == 0
