"""What runs the containers of a local AWS: one program for every image, or the Docker engine.

Containers get access to AWS as on the platform, in the form that works here: an address and keys as
environment variables.
"""

import shlex
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from container.errors import UserError
from local_test import proxies
from local_test.aws.account.settings import Settings
from local_test.runners.interface import Container, Launch, Runner
from local_test.runners.process import ProcessRunner


@dataclass(frozen=True)
class ClientRunner:
    """Runs containers with another runner, as clients of the local AWS unless they are isolated."""

    runner: Runner
    variables: Mapping[str, str]
    """What makes a program a client; a variable that a request sets itself keeps its value."""

    @property
    def address(self) -> str:
        """The host by which containers reach the local AWS; empty if they are not clients of it."""
        return urllib.parse.urlsplit(self.variables.get("AWS_ENDPOINT_URL", "")).hostname or ""

    @property
    def description(self) -> str:
        """What runs and how, for logs."""
        return self.runner.description

    def network_interface(self, *, has_peers: bool, is_isolated: bool) -> str:
        """Return the name of the interface by which a job's containers reach their peers."""
        return self.runner.network_interface(has_peers=has_peers, is_isolated=is_isolated)

    def mount_point(self, root: Path) -> str:
        """Return the path at which a container sees its job directory."""
        return self.runner.mount_point(root)

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> Container:
        """Start a container."""
        if not launch.is_isolated:
            environment = {**self.variables, **launch.environment}
            if proxies.uses_one(environment) and self.address:
                environment |= proxies.exempt(environment, *proxies.LOOPBACK, self.address)
            launch = replace(launch, environment=environment)
        return self.runner.start(launch, on_output)


def choose_runner(
    settings: Settings, home: Path, variables: Mapping[str, str], image: str
) -> Runner:
    """Return the runner of an image; programs do not see `home`, which holds keys and all data.

    Raises: UserError if the engine does not have the image, PlatformError if the engine cannot be
    reached.
    """
    if settings.program:
        directory = Path(settings.working_directory or ".")
        command = shlex.split(settings.program)
        program = ProcessRunner(command, directory=directory, hidden=[home])
        return ClientRunner(program, variables)
    from local_test.runners.docker import DockerRunner  # noqa: PLC0415 - takes 0.2 s to import

    try:
        return ClientRunner(DockerRunner(image, gpus=None), variables)
    except UserError:
        # An image that was built here has no registry in its name; one that was pulled has.
        registry, _, local = image.partition("/")
        if "." not in registry or not local:
            raise
        return ClientRunner(DockerRunner(local, gpus=None), variables)
