"""Fixtures of the server's tests: a trained artifact, a server on it, and what Keras predicts."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import ROOT, free_port, share, wait_until


class Server:
    """A running server: its process, its port and its log."""

    def __init__(self, base: Path, log: Path, **environ: str) -> None:
        """Start the server on the artifact below `base`."""
        self.base = base
        self.port = free_port()
        self.log = log
        self.is_quiet = "SAGEMAKER_GUNICORN_LOGLEVEL" in environ
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "container", "serve"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "SAGEMAKER_BASE_DIR": str(base),
                    "SAGEMAKER_BIND_TO_PORT": str(self.port),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **environ,
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_healthy(self) -> None:
        """Wait for the first 200 of /ping."""

        def is_healthy() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                # Its log is asked as well: another program might have taken the port in between.
                return self.request("GET", "/ping")[0] == 200 and (
                    self.is_quiet
                    or f"Listening at: http://0.0.0.0:{self.port}" in self.log.read_text()
                )
            except OSError:
                return False

        wait_until(is_healthy)

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request on its own connection; return status, lower-case headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(
                method, path, body, {name.replace("_", "-"): text for name, text in headers.items()}
            )
            answer = connection.getresponse()
            return (
                answer.status,
                {name.lower(): text for name, text in answer.getheaders()},
                answer.read(),
            )
        finally:
            connection.close()

    def wait_until_all_workers_serve(self, count: int) -> None:
        """Wait until each of so many event workers accepts clients: it has loaded its model."""

        def all_accept() -> bool:
            before = self.list_sockets()
            with contextlib.ExitStack() as stack:
                for _ in range(2 * count):
                    client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
                    stack.enter_context(contextlib.closing(client))
                    client.request("GET", "/ping")
                    client.getresponse().read()
                after = self.list_sockets()
            return len(after) == count and all(after[pid] - before.get(pid, set()) for pid in after)

        wait_until(all_accept)

    def list_sockets(self) -> dict[int, set[str]]:
        """List the sockets that each worker has open, by the worker's process ID."""
        sockets = {}
        for pid in self.worker_pids():
            links = set()
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    links.add(str(link.readlink()))
            sockets[pid] = {link for link in links if link.startswith("socket:")}
        return sockets

    def worker_pids(self) -> list[int]:
        """List the master's children."""
        children = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )
        return [int(pid) for pid in children]


@contextmanager
def run_server(base: Path, log: Path, **environ: str) -> Iterator[Server]:
    server = Server(base, log, **environ)
    try:
        server.wait_until_healthy()
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.process.pid, signal.SIGKILL)
            raise


@pytest.fixture(scope="session")
def artifact_base(digits_job: Path) -> Path:
    """Return a base directory whose `model/` holds a trained artifact. Read-only."""
    return digits_job


@pytest.fixture(scope="session")
def images(digits: Any) -> Any:
    """Return the test digits, `[360, 8, 8] uint8`."""
    return digits["test"][0][..., 0]


@pytest.fixture
def serve(artifact_base: Path, tmp_path: Path) -> Callable[..., AbstractContextManager[Server]]:
    """Return `serve(base=..., **environ)`, a context with a healthy server of its own."""
    return lambda base=artifact_base, **environ: run_server(
        base, tmp_path / "server.log", **environ
    )


@pytest.fixture
def run_to_its_end(artifact_base: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return `run_to_its_end(base=..., **environ)`, for a server that is expected to give up."""

    def run(base: Path = artifact_base, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "container", "serve"],
            cwd=ROOT,
            env={
                **os.environ,
                "SAGEMAKER_BASE_DIR": str(base),
                "SAGEMAKER_BIND_TO_PORT": str(free_port()),
                **environ,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def server(artifact_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_server(
        artifact_base, tmp_path_factory.mktemp("log") / "log", SAGEMAKER_MODEL_SERVER_WORKERS="2"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def shells(
    artifact_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """Start a server under each worker class."""
    environ = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1"}
    logs = tmp_path_factory.mktemp("shells")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                run_server(
                    artifact_base, logs / name, SAGEMAKER_GUNICORN_WORKER_CLASS=name, **environ
                )
            )
            for name in ("event", "gthread")
        }


@pytest.fixture(scope="session")
def keras_probabilities(
    artifact_base: Path, images: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Ask Keras itself about every digit."""

    def ask() -> Path:
        return ask_keras(artifact_base, images, tmp_path_factory.mktemp("keras"))

    return np.load(share(tmp_path_factory, "keras", ask))


def ask_keras(artifact_base: Path, images: Any, directory: Path) -> Path:
    program = (
        "import sys, keras, numpy as np\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "np.save(sys.argv[2], model.predict(np.load(sys.argv[3]), verbose=0))"
    )
    np.save(directory / "images.npy", images[..., None])
    paths = [
        artifact_base / "model/model.keras",
        directory / "probabilities.npy",
        directory / "images.npy",
    ]
    subprocess.run(
        [sys.executable, "-c", program, *paths],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return paths[1]
