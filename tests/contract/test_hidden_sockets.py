"""An isolated program reaches no socket of the machine; no program reads what is the harness's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_test.jobs.training import TrainingJob
from local_test.requests import shorthand
from local_test.requests.validation import validate
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.support import PROGRAMS, ROOT

pytestmark = pytest.mark.skipif(not has_namespaces(), reason="hiding needs a namespace")


@contextlib.contextmanager
def greeting(address: str) -> Iterator[None]:
    """Greet everyone who connects to a socket, as an engine would."""

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.sendall(b"hello")
                connection.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def look(directory: Path, *, is_isolated: bool) -> dict[str, Any]:
    """Run a job that tries to reach everything; return what it reached."""
    (directory / "state").mkdir()
    (directory / "state/keys.json").write_text("secret")
    unmounted = ["/run", str(directory / "s"), str(directory / "state")] if is_isolated else []
    abstract = f"local-test-{uuid.uuid4().hex}"
    request = shorthand.training_request(
        name="job",
        image="any",
        channels={},
        output=str(directory / "out"),
        is_isolated=is_isolated,
        hyperparameters={
            "file": str(directory / "s"),
            "abstract": abstract,
            "hidden": str(directory / "state"),
            "unmounted": json.dumps(unmounted),
        },
    )
    runner = ProcessRunner(
        [sys.executable, str(PROGRAMS / "sockets.py")],
        is_private=True,
        hidden=[directory / "state"],
    )
    with greeting(str(directory / "s")), greeting("\0" + abstract):
        job = TrainingJob(validate("CreateTrainingJob", request), runner, directory / "state/job")
        result = job.run()
    assert result.status == "Completed", result.failure
    seen = (result.directory / "hosts/algo-1/output/data/seen.json").read_text()
    return dict(json.loads(seen))


def test_an_isolated_program_reaches_no_socket_of_the_machine_and_cannot_undo_that(
    tmp_path: Path,
) -> None:
    seen = look(tmp_path, is_isolated=True)

    assert seen["file"] == "ConnectionRefusedError"  # SEC-1
    assert seen["abstract"] == "ConnectionRefusedError"
    assert set(seen["run"]) <= {"mount"}  # which umount makes
    assert seen["hidden"] == []


def test_a_program_that_is_not_isolated_reaches_sockets_but_not_the_harness_s_own_state(
    tmp_path: Path,
) -> None:
    seen = look(tmp_path, is_isolated=False)

    assert (seen["file"], seen["abstract"]) == ("hello", "hello")
    assert seen["hidden"] == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_rights_isolates_as_well() -> None:
    """A user whom the system gives no namespace is told so by the launcher."""
    program = (
        "import os, subprocess, tempfile\n"
        "from local_test.runners import launcher\n"
        "view = {'root': tempfile.mkdtemp(), 'is_isolated': True, 'hides_sockets': True}\n"
        "print(launcher.has_namespaces(), flush=True)\n"
        "script = 'umount /run; ls /run; id -u'\n"
        "if launcher.has_namespaces():\n"
        "    subprocess.run(launcher.wrap(view, ['sh', '-c', script]), check=True)\n"
    )
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    can_unshare = subprocess.run([*command, "unshare", "-Ur", "true"], check=False).returncode == 0
    # The checkout may be root's alone.
    with tempfile.TemporaryDirectory() as readable:
        Path(readable).chmod(0o755)
        for name in ("container", "local_test"):
            shutil.copytree(ROOT / name, Path(readable, name))
        done = subprocess.run(
            [*command, str(Path(sys.executable).resolve()), "-c", program],
            capture_output=True,
            text=True,
            check=False,
            cwd=readable,
            env={"PATH": os.defpath, "PYTHONPATH": readable},
        )

    assert done.returncode == 0, done.stderr
    said = done.stdout.split()
    assert said[0] == str(can_unshare)
    if can_unshare:
        assert said[-1] == "0"
        assert "docker.sock" not in said
