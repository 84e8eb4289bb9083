"""Commands on other hosts: real processes, on two addresses of this machine."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.training.launching import across_hosts
from tests.support import free_port, wait_until

SCRIPT = [sys.executable, "-I", across_hosts.__file__]
HOSTS = "127.0.0.1,127.0.0.2"
AGENT = "$OMPI_MCA_plm_rsh_agent 127.0.0.2"


def start(*arguments: str | int | Path) -> subprocess.Popen[str]:
    command = [*SCRIPT, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )


@contextlib.contextmanager
def hosts(
    directory: Path, command: str, shell: str = "/bin/sh"
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a leader, which runs a shell command in place of mpirun, and one follower."""
    port = free_port()
    for name in ("first", "second"):
        (directory / name).mkdir()
    leader = start("mpirun", port, HOSTS, directory / "first", shell, "-c", command)
    follower = start("follow", "127.0.0.1", port, "127.0.0.2", directory / "second")
    with leader, follower:
        try:
            yield [leader, follower]
        finally:
            leader.kill()
            follower.kill()


def test_an_agent_runs_a_command_on_another_host_in_its_own_directory(tmp_path: Path) -> None:
    command = f"{AGENT} echo hello '>' {tmp_path}/first/said; {AGENT} exit 7; exit $?"
    with hosts(tmp_path, command) as (leader, follower):
        said, heard = leader.communicate(timeout=60)[0], follower.communicate(timeout=60)[0]

    assert (leader.returncode, follower.returncode) == (7, 7), said + heard
    assert (tmp_path / "second/said").read_text() == "hello\n"
    assert heard == "the job failed on 127.0.0.1, whose log has the cause\n"


def test_a_launcher_in_a_path_with_a_space_starts_its_daemons(tmp_path: Path) -> None:
    prefix = tmp_path / "my tools"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/mpirun").write_text('#!/bin/sh\nexec /bin/sh "$@"\n')
    said = tmp_path / "said"
    (prefix / "bin/prted").write_text(f'#!/bin/sh\necho "$PRTE_PREFIX $1" >{said}\n')
    for program in (prefix / "bin").iterdir():
        program.chmod(0o700)
    # As Open MPI composes them: not quoted.
    words = [f"PRTE_PREFIX={prefix};export PRTE_PREFIX;{prefix}/bin/prted", '"a daemon"']
    with hosts(tmp_path, f"{AGENT} {shlex.join(words)}", f"{prefix}/bin/mpirun") as (leader, _):
        assert leader.wait(60) == 0

    assert said.read_text() == f"{prefix} a daemon\n"


def test_all_hosts_end_well_together(tmp_path: Path) -> None:
    with hosts(tmp_path, f"{AGENT} true") as processes:
        assert [process.wait(60) for process in processes] == [0, 0]


def test_a_host_that_is_not_of_the_job_runs_nothing(tmp_path: Path) -> None:
    with hosts(tmp_path, "$OMPI_MCA_plm_rsh_agent 127.0.0.3 true") as (leader, _):
        assert "127.0.0.3 is not a host of this job" in leader.communicate(timeout=60)[0]
        assert leader.returncode == 255


@pytest.mark.parametrize("killed", [0, 1])
def test_the_death_of_one_host_ends_the_other(tmp_path: Path, killed: int) -> None:
    mark = tmp_path / "second/started"
    with hosts(tmp_path, f"{AGENT} touch {tmp_path}/first/started; exec sleep 600") as processes:
        wait_until(mark.exists)
        processes[killed].send_signal(signal.SIGKILL)
        other = processes[1 - killed]
        said = other.communicate(timeout=60)[0]

    assert other.returncode > 0
    assert f"the connection to 127.0.0.{killed + 1}" in said


def test_a_stop_is_left_to_the_leader(tmp_path: Path) -> None:
    mark = tmp_path / "second/started"
    command = (
        f"{AGENT} touch {tmp_path}/first/started; until [ -e {tmp_path}/go ]; do sleep .05; done"
    )
    with hosts(tmp_path, command) as (leader, follower):
        wait_until(mark.exists)
        follower.terminate()
        (tmp_path / "go").touch()
        assert (leader.wait(60), follower.wait(60)) == (0, 0)


def test_a_stranger_is_not_taken_for_a_host(tmp_path: Path) -> None:
    port = free_port()
    with start("mpirun", port, HOSTS, tmp_path, "true") as leader:
        wait_until(lambda: is_open(port))
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(json.dumps({"host": "127.0.0.2"}).encode() + b"\n")
            assert stranger.recv(1) == b""
        leader.kill()
        output = leader.communicate(timeout=60)[0]

    assert "refused 127.0.0.1, which calls itself '127.0.0.2'" in output


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.mark.parametrize("code", [0, 3])
def test_the_files_of_a_jobs_ray_are_its_own_and_gone_with_it(tmp_path: Path, code: int) -> None:
    """Later programs would wait for a cluster that is recorded in the machine's /tmp/ray."""
    ray = tmp_path / "python that has ray"
    ray.write_text('#!/bin/sh\n[ "$3" = start ] && echo here >"$RAY_TMPDIR/ray_current_cluster"\n')
    ray.chmod(0o700)
    program = f'cat "$RAY_TMPDIR/ray_current_cluster"; echo "$RAY_TMPDIR"; exit {code}'

    with start("ray", 0, "127.0.0.1", tmp_path, ray, "/bin/sh", "-c", program) as leader:
        said, directory = leader.communicate(timeout=60)[0].splitlines()

    assert leader.returncode == code
    assert said == "here"
    assert not Path(directory).exists()
