"""The process that is the local AWS: one directory, one port on loopback, one server.

Rules of this file: the only place that changes this process's environment, and only as a process of
its own.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

import waitress.server

from container.errors import PlatformError
from local_test.aws.account.account import Account
from local_test.aws.moto.mount import Services
from local_test.aws.process import installation
from local_test.aws.process.containers import choose_runner
from local_test.aws.process.http_server import Application
from local_test.aws.process.installation import AlreadyRunningError, Settings
from local_test.aws.sagemaker import lifecycle

_THREADS: Final = 64  # requests at once; a slow container holds one for up to a minute
_BODY_BYTES: Final = 5 * 1024**3  # the most that S3 takes in one PUT
_STOP_GRACE_S: Final = 150  # more than the platform gives a training job (OUT-8)


def run(directory: Path, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; give the exit code.

    Raises: AlreadyRunning, PlatformError if the directory or port cannot be had.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with installation.lock(directory):
        listener = _listen_anew(directory, settings.port)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        _set_environment(url, settings)
        listeners = [
            listener,
            *([] if settings.program else listen_to_containers(listener.getsockname()[1])),
        ]
        is_reached = bool(settings.program) or len(listeners) > 1
        account, services = _make(
            directory, settings, listeners[-1].getsockname() if is_reached else None
        )
        server = waitress.server.create_server(
            Application(account, services),
            sockets=listeners,
            threads=_THREADS,
            max_request_body_size=_BODY_BYTES,
            channel_timeout=300,
            connection_limit=1000,
            asyncore_use_poll=True,
            ident="local-aws",
        )
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        threading.Thread(target=server.run, daemon=True, name="http").start()
        lifecycle.recover(account)
        services.make_role(installation.ROLE)
        services.make_bucket(installation.default_bucket(settings))
        installation.write_settings(directory, settings)
        installation.write_sdk_configuration(directory, settings)
        installation.write(
            directory / "server.json", asdict(installation.Running(os.getpid(), url, time.time()))
        )
        print(
            f"local AWS at {url}, account {settings.account}, region {settings.region}, data in {directory}",
            flush=True,
        )
        stop.wait()
        lifecycle.close(
            account
        )  # requests are answered meanwhile: jobs still upload what they made
        is_idle = account.wait_for_threads(_STOP_GRACE_S)
        (directory / "server.json").unlink(missing_ok=True)
    return 0 if is_idle else 1


def listen_to_containers(port: int) -> list[socket.socket]:
    """Listen at the address where the Docker engine's containers, and nobody else, reach us.

    If that fails, the reason is logged, nothing is returned, and containers get no AWS variables.

    Raises: PlatformError if the engine is out of reach.
    """
    from local_test.runners import docker  # noqa: PLC0415 - takes 0.2 s to import

    docker.reap()
    gateway = docker.find_gateway()
    if gateway is None:
        _report_unreachable(
            "the Docker engine's network 'bridge' has no IPv4 address; remove the setting"
            ' "bridge": "none" from its daemon.json'
        )
        return []
    try:
        return [_listen(gateway, port)]
    except OSError as error:  # an engine in a virtual machine has an address of that machine
        _report_unreachable(f"cannot listen on {gateway}:{port}: {error.strerror}")
        return []


def _report_unreachable(reason: str) -> None:
    print(f"containers cannot reach this local AWS: {reason}", file=sys.stderr, flush=True)


def _make(
    directory: Path, settings: Settings, address: tuple[str, int] | None
) -> tuple[Account, Services]:
    """`address` is the one that containers are told, if there is one."""
    url = "http://{}:{}".format(*address) if address else ""
    variables = installation.client_environment(url, settings.region) if url else {}
    account = Account(
        directory,
        functools.partial(choose_runner, settings, variables),
        number=settings.account,
        region=settings.region,
        instances_maximum=settings.max_instances,
    )
    services = Services(account)
    account.publish_metrics = services.publish_metrics
    return account, services


def _set_environment(url: str, settings: Settings) -> None:
    """Make this process, and the harness in it, a client of itself."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE"):
        os.environ.pop(name, None)
    os.environ.update(installation.client_environment(url, settings.region))
    os.environ["AWS_ENDPOINT_URL_S3"] = url
    os.environ["LOCAL_TEST_ACCOUNT"] = settings.account
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def _listen_anew(directory: Path, port: int) -> socket.socket:
    """Listen on a port, or on the directory's last one if it is free, so that clients find it again; else on any.

    Raises: PlatformError if the port that was asked for is taken.
    """
    path = directory / "port"
    try:
        last = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        last = 0
    try:
        listener = _listen("127.0.0.1", port or last)
    except OSError as error:
        if port:
            message = (
                f"port {port} of 127.0.0.1 is taken: {error.strerror}; choose another with --port"
            )
            raise PlatformError(message) from error
        listener = _listen("127.0.0.1", 0)
    path.write_text(str(listener.getsockname()[1]), encoding="ascii")
    return listener


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def main(argv: list[str]) -> int:
    """Run as `python -m local_test.aws.process.host DIRECTORY SETTINGS_JSON`, which is how `up` starts it."""
    try:
        return run(Path(argv[0]), Settings(**json.loads(argv[1])))
    except AlreadyRunningError:
        print(f"another local AWS serves {argv[0]}", file=sys.stderr)
        return 3
    except PlatformError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
