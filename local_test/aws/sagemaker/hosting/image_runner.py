"""Runs each container of a model with the runner of its image."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local_test.runners.interface import Container, Launch, Runner


@dataclass(frozen=True)
class ImageRunner:
    """A runner of containers that have images of their own."""

    choose: Callable[[str], Runner]
    """Return the runner of an image; all runners of an account are of one kind."""
    image: str
    """One of the images."""

    def network_interface(self, *, has_peers: bool, is_isolated: bool) -> str:
        """Return the name of the interface by which peers reach each other; servers have none."""
        runner = self.choose(self.image)
        return runner.network_interface(has_peers=has_peers, is_isolated=is_isolated)

    @property
    def description(self) -> str:
        """What runs and how, for logs."""
        return self.choose(self.image).description

    def mount_point(self, root: Path) -> str:
        """Return the path at which a container sees `root`."""
        return self.choose(self.image).mount_point(root)

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> Container:
        """Start a container of the image that it names."""
        return self.choose(launch.image).start(launch, on_output)
