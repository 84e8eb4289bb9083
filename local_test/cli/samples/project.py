"""The user's project in the current folder: what commands use where nothing else is named."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from container import contract
from local_test.cli import terminal
from local_test.cli.options import ContainerOptions, DataOptions

_PROGRAMS: Final = ("train.py", "train.sh", "algorithm.py")
_DATA_CHANNEL: Final = "training"


@dataclass(frozen=True)
class Project:
    """A folder as `init` writes it: `code/` with a training program, `data/`, `request.csv`."""

    directory: Path

    @property
    def request(self) -> Path | None:
        """The body of a request, if there is one."""
        path = self.directory / "request.csv"
        return path if path.is_file() else None

    def list_channels(self, container: ContainerOptions) -> dict[str, str]:
        """Return the channels of a training job; an image or program has its own code."""
        channels = {_DATA_CHANNEL: str(self.directory / "data")}
        if container.is_own_program:
            channels[contract.CODE_CHANNEL] = str(self.directory / "code")
        return channels


def find(directory: Path | None = None) -> Project | None:
    """Return the project in a directory, by default the current one."""
    place = (directory or Path.cwd()).absolute()
    has_program = any((place / "code" / name).is_file() for name in _PROGRAMS)
    if not has_program or not (place / "data").is_dir():
        return None
    return Project(place)


def complete(data: DataOptions, container: ContainerOptions) -> tuple[DataOptions, Project | None]:
    """Return the data of a job: as given, or without a channel those of the project here."""
    project = None if data.channels else find()
    if project is None:
        return data, None
    terminal.say(f"using code/ and data/ of the project in {project.directory}")
    pairs = [f"{name}={path}" for name, path in project.list_channels(container).items()]
    return replace(data, channel=pairs), project
