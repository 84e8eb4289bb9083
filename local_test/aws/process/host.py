"""The process of a local AWS: one directory, one port on loopback, one server.

Rules of this file: the only place that changes this process's environment, and only as a process of
its own.
"""

import functools
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from container.errors import PlatformError, describe_port
from local_test import proxies, web_server
from local_test.aws.account.account import Account
from local_test.aws.account.settings import Settings
from local_test.aws.account.store import Store
from local_test.aws.moto.mount import Services
from local_test.aws.process import installation, keys, lifecycle, log_stream, peers
from local_test.aws.process.containers import choose_runner
from local_test.aws.process.http_server import Application
from local_test.aws.process.installation import AlreadyRunningError, Running
from local_test.aws.process.keys import Key

_THREADS: Final = 64  # requests at once; a slow container holds one for up to a minute
_BODY_BYTES: Final = 5 * 1024**3  # the most that S3 takes in one PUT
_STOP_GRACE_S: Final = 150  # more than a training job's grace period (OUT-8)
_UNSET: Final = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE")


def run(directory: Path, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    Raises: AlreadyRunningError if another process serves the directory, PlatformError if the
    directory or the port cannot be used.
    """
    installation.make(directory)
    with installation.lock(directory):
        installation.blank(directory)
        listener = _listen_anew(directory, settings.port)
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        key = keys.load_or_make(directory)
        containers_key = keys.make()
        _set_environment(url, settings, key)
        addresses: list[str] = []
        if settings.program:
            listeners, container_url = [listener], url
        else:
            access = peers.listen_to_containers(port)
            listeners = [listener, *access.listeners]
            addresses = [access.host] if access.host else []
            container_url = f"http://{access.host}:{port}" if access.host else ""
        variables: dict[str, str] = {}
        if container_url:
            region = settings.region
            variables = installation.client_environment(container_url, region, containers_key)
        store = Store(directory / "state.sqlite")
        services = Services(store, directory / "objects", settings)
        runners = functools.partial(choose_runner, settings, directory, variables)
        account = Account(directory, settings, store, runners, services)
        for warning in account.store.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        secrets = {key.id: key.secret, containers_key.id: containers_key.secret}
        application: Any = Application(account, services, secrets, addresses)
        if addresses:
            application = peers.PeerGate(application, access.list_networks)
        server = web_server.create_server(
            application,
            sockets=listeners,
            threads=_THREADS,
            max_request_body_size=_BODY_BYTES,
            channel_timeout=300,
            connection_limit=1000,
            ident="local-aws",
        )
        # A queue, since an event that a signal handler sets may be locked by the interrupted code.
        stops: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: stops.put(number))
        threading.Thread(target=server.run, daemon=True, name="http").start()
        lifecycle.recover(account)
        installation.write(directory / "settings.json", asdict(settings))
        installation.write_sdk_configuration(directory, settings)
        running = Running(os.getpid(), url, time.time())
        installation.write(directory / "server.json", asdict(running))
        print(
            f"local AWS at {url}, account {settings.account}, region {settings.region}, "
            f"data in {directory}",
            flush=True,
        )
        stops.get()
        _end(account)
    return 0


def _end(account: Account) -> None:
    """Stop what runs, and end the process if that takes too long."""
    # The server still answers, as jobs that stop upload what they have.
    lifecycle.close(account)
    is_idle = account.wait_for_threads(_STOP_GRACE_S)
    account.store.close()
    if not is_idle:
        print(f"ends with work that did not stop in {_STOP_GRACE_S} s", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)  # Python would wait for its threads; the containers end with the process


def _set_environment(url: str, settings: Settings, key: Key) -> None:
    """Make this process, and the harness in it, a client of itself."""
    for name in _UNSET:
        os.environ.pop(name, None)
    proxies.exempt_this_process()
    os.environ.update(installation.client_environment(url, settings.region, key))
    os.environ["AWS_ENDPOINT_URL_S3"] = url
    os.environ["LOCAL_TEST_ACCOUNT"] = settings.account
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def _listen_anew(directory: Path, port: int) -> socket.socket:
    """Listen on `port`; if it is 0, on the directory's last port, or on any if that is taken.

    Raises: PlatformError if `port` is taken.
    """
    path = directory / "port"
    try:
        last = max(0, min(int(path.read_text(encoding="ascii")), 65535))
    except (OSError, ValueError):
        last = 0
    try:
        listener = peers.bind("127.0.0.1", port or last)
    except OSError as error:
        if port:
            raise PlatformError(describe_port(port, error)) from error
        listener = peers.bind("127.0.0.1", 0)
    installation.write_text(path, str(listener.getsockname()[1]))
    return listener


def main(argv: list[str]) -> int:
    """Run as `python -m local_test.aws.process.host DIRECTORY SETTINGS_JSON`, as `up` does."""
    log_stream.install()
    try:
        return run(Path(argv[0]), Settings(**json.loads(argv[1])))
    except AlreadyRunningError:
        print(f"another local AWS serves {argv[0]}", file=sys.stderr)
        return installation.ALREADY_RUNNING
    except PlatformError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
