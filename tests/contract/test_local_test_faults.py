"""Faults that are injected into foreign programs: what they do, and what is reported."""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from container.errors import PlatformError, RequestError, UserError
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.server import Limits
from local_test.jobs.result import JobResult
from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners import faults
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.support import PROGRAMS, wait_until

CSV = {"Content-Type": "text/csv"}
BASE = (
    "from pathlib import Path; import os; "
    "base = Path(os.environ.get('SAGEMAKER_BASE_DIR') or '/opt/ml'); "
)


def run_job(
    directory: Path,
    command: list[str],
    *kinds: str,
    memory_bytes: int | None = None,
    **options: Any,
) -> JobResult:
    request = shorthand.training_request(
        name="job", image="any", channels={}, output=str(directory / "out"), **options
    )
    runner = ProcessRunner([sys.executable, *command], memory_bytes=memory_bytes)
    happenings = [faults.parse(kind) for kind in kinds]
    return TrainingJob(
        validate("CreateTrainingJob", request), runner, directory / "job", faults=happenings
    ).run()


def test_a_program_that_takes_too_much_memory_is_killed_and_told_its_limit(tmp_path: Path) -> None:
    hog = "import time; hoard = b'x' * 400_000_000; time.sleep(600)"

    result = run_job(tmp_path, ["-c", hog], memory_bytes=100 * 2**20)

    assert result.status == "Failed"
    assert "exit code: 137 (out of memory" in result.failure  # OUT-12
    assert "more than its limit of 100 MB" in result.failure


@pytest.mark.skipif(not has_namespaces(), reason="the limit is seen in a view of one's own")
def test_a_program_finds_its_memory_limit_where_containers_look(tmp_path: Path) -> None:
    looking = (
        "import os; assert open('/sys/fs/cgroup/memory.max').read() == '104857600\\n'; "
        "assert not os.path.exists('/sys/fs/cgroup/memory')"
    )

    result = run_job(tmp_path, ["-c", looking], memory_bytes=100 * 2**20)
    assert result.status == "Completed", result.failure


def test_a_program_within_its_limit_is_left_alone_though_it_reserves_more(tmp_path: Path) -> None:
    reserving = (
        "import mmap; hoard = mmap.mmap(-1, 10**9); hoard[0] = 1"  # address space is not memory
    )

    assert run_job(tmp_path, ["-c", reserving], memory_bytes=100 * 2**20).status == "Completed"


def test_out_of_memory_is_exit_code_137(tmp_path: Path) -> None:
    waiting = "import time; print('ready', flush=True); time.sleep(600)"

    result = run_job(tmp_path, ["-c", waiting], "out-of-memory@/ready/")

    assert (result.status, result.outcome.exit_codes) == ("Failed", {"algo-1": 137})
    assert "out of memory" in result.failure


@pytest.mark.skipif(os.getuid() != 0, reason="a volume needs root")
def test_a_full_disk_takes_not_one_byte_more_and_what_was_written_is_kept(tmp_path: Path) -> None:
    program = (
        BASE
        + """
import sys
(base / 'model/before').write_bytes(b'x' * 10_000)
print('ready', flush=True)
for pages in range(1_000_000):  # growing, since what was there when the disk became full fits
    try:
        (base / 'model/after').write_bytes(b'y' * 4096 * pages)
        (base / 'model/after').unlink()
    except OSError as error:
        print(error.strerror, flush=True)
        sys.exit(7)
"""
    )
    result = run_job(tmp_path, ["-c", program], "disk-full@/ready/")

    assert result.status == "Failed"
    assert "No space left on device" in (tmp_path / "job/logs/algo-1.log").read_text()
    assert (tmp_path / "job/hosts/algo-1/model/before").stat().st_size == 10_000
    assert not os.path.ismount(tmp_path / "job/hosts/algo-1")


@pytest.mark.skipif(not has_namespaces(), reason="names need a private /etc/hosts")
def test_names_that_come_late_are_unknown_until_then(tmp_path: Path) -> None:
    result = run_job(tmp_path, [str(PROGRAMS / "peers.py")], "slow-dns@4s", instance_count=3)

    assert result.status == "Completed"  # DS-4
    assert (tmp_path / "job/logs/algo-2.log").read_text() == "algo-1 is unknown\n"
    assert "heard from algo-2, algo-3" in (tmp_path / "job/logs/algo-1.log").read_text()


def test_names_cannot_come_late_without_a_namespace(tmp_path: Path) -> None:
    request = shorthand.training_request(
        name="job", image="any", channels={}, output=str(tmp_path), instance_count=2
    )
    runner = ProcessRunner([sys.executable, str(PROGRAMS / "peers.py")], is_private=False)

    with pytest.raises(PlatformError, match="needs namespaces"):
        TrainingJob(
            validate("CreateTrainingJob", request),
            runner,
            tmp_path / "job",
            faults=[faults.parse("slow-dns@1s")],
        ).run()


@contextmanager
def serving(
    directory: Path, command: list[str], *kinds: str, **limits: Any
) -> Iterator[tuple[Endpoint, list[str]]]:
    lines: list[str] = []
    endpoint = Endpoint(
        shorthand.endpoint_requests(name="e", image="any", model=None),
        ProcessRunner([sys.executable, *command]),
        directory / "e",
        lambda _, line: lines.append(line),
        Limits(startup_s=60, ping_interval_s=0.05, **limits),
        faults=[faults.parse(kind, faults.SERVER_KINDS) for kind in kinds],
    )
    with endpoint:
        yield endpoint, lines


def ask(endpoint: Endpoint) -> int:
    try:
        return endpoint.invoke(b"1,2", CSV).status
    except RequestError as error:
        return error.status


def test_a_killed_worker_is_the_servers_to_notice(tmp_path: Path) -> None:
    # The program answers 500 when its worker is gone.
    command = [str(PROGRAMS / "conformant.py"), "--violate", "HO-12a"]
    with serving(tmp_path, command, "kill-worker@0.1s") as (endpoint, lines):
        wait_until(lambda: ask(endpoint) == 500, "the worker is killed")

    assert any(line.startswith("[fault] kill-worker") for line in lines)


def test_a_killed_server_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, [str(PROGRAMS / "conformant.py")], "kill@0.1s") as (endpoint, lines):
        wait_until(
            lambda: any("it is replaced (HO-12)" in line for line in lines), "the death is logged"
        )
        wait_until(lambda: ask(endpoint) == 200, "the new server answers")
        assert endpoint.describe()["ProductionVariants"][0]["CurrentInstanceCount"] == 1

    assert any("exit code: 137" in line for line in lines)
    assert lines.count("serving") == 2


ANSWERS_AT_LENGTH = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200); self.end_headers(); self.wfile.write(bytes(20_000_000))
kind = getattr(http.server, sys.argv[1])
kind(('0.0.0.0', int(os.environ['SAGEMAKER_BIND_TO_PORT'])), Handler).serve_forever()
"""


@pytest.mark.parametrize(("kind", "status"), [("HTTPServer", 424), ("ThreadingHTTPServer", 200)])
def test_a_slow_reader_holds_up_a_server_that_does_one_thing_at_a_time(
    tmp_path: Path, kind: str, status: int
) -> None:
    command = ["-c", ANSWERS_AT_LENGTH, kind]
    limits = {"invocation_s": 5, "ping_s": 30, "stop_grace_s": 1}
    with serving(tmp_path, command, "slow-reader@0s", **limits) as (endpoint, lines):
        wait_until(lambda: bool(lines), "the fault is logged")
        ask(endpoint)  # the slow reader asks the same; one of the two is first
        assert ask(endpoint) == status


def test_a_truncated_model_never_gets_into_service(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(os.urandom(100_000))
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "model", "model")
    request = shorthand.endpoint_requests(
        name="e", image="any", model=str(tmp_path / "model.tar.gz")
    )
    runner = ProcessRunner([sys.executable, str(PROGRAMS / "conformant.py")])
    happening = faults.parse("truncated-model", faults.SERVER_KINDS)

    with pytest.raises(UserError, match=r"not a complete tar\.gz"):
        Endpoint(request, runner, tmp_path / "e", faults=[happening]).start()
