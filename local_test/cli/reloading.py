"""`serve --reload`: replaces the server when a file of its model or its code changes."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from container import contract
from container.errors import PlatformError, UserError
from local_test import container_files
from local_test.cli import terminal
from local_test.cli.debugging import set_defaults
from local_test.cli.options import ContainerOptions
from local_test.data import models, storage
from local_test.endpoints.endpoint import Endpoint
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.requests.model_containers import list_containers

INTERVAL_S: Final = 0.5
_SKIPPED: Final = ("__pycache__", "node_modules", "jobs")
# Bytecode is found by the second in which its source was changed, which is too coarse here.
_VARIABLES: Final = {"PYTHONDONTWRITEBYTECODE": "1"}


class Sources:
    """The files that an endpoint is made of."""

    def __init__(self, paths: Sequence[Path], suffixes: Sequence[str] = ()) -> None:
        """Remember the state of `paths`: files, and directories with all files below them.

        Of the working directory, only files with one of `suffixes` count.
        """
        self._paths = tuple(paths)
        self._suffixes = tuple(suffixes)
        self._seen = self._look()

    @classmethod
    def find(cls, requests: EndpointRequests, container: ContainerOptions) -> Self:
        """Find the models on this disk, the code beside them, and the user's own program.

        Raises: UserError if none of them exists.
        """
        paths = []
        for model in requests.models.values():
            for served in list_containers(model):
                uri = models.find_uri(served.definition)
                if uri.startswith("file://"):
                    paths.append(storage.to_path(uri))
                code = served.environment.get(contract.SUBMIT_DIRECTORY_VARIABLE, "")
                if code.startswith("/") and container.image is None:
                    paths.append(Path(code))
        is_users = container.image is None and not container.is_own_program
        suffixes = (".py",) if is_users else ()
        if not paths and not suffixes:
            raise UserError(
                "--reload finds nothing to watch on this disk; name a --model, your code with "
                f"-e {contract.SUBMIT_DIRECTORY_VARIABLE}=DIRECTORY, or your --program"
            )
        set_defaults(requests, _VARIABLES)
        return cls(paths, suffixes)

    def find_change(self) -> Path | None:
        """Return a file that was changed, added or removed since the last look."""
        before = self._seen
        self._seen = self._look()
        changed = {path for path, _ in before.items() ^ self._seen.items()}
        return min(changed, default=None)

    def wait(self) -> Path:
        """Wait for a change and return it."""
        while (changed := self.find_change()) is None:
            time.sleep(INTERVAL_S)
        return changed

    def reload(self, endpoint: Endpoint, requests: EndpointRequests) -> None:
        """Replace the servers if there is a change; if the new ones fail, the old ones stay."""
        changed = self.find_change()
        if changed is None:
            return
        terminal.say(f"{changed} has changed: restarting")
        old = endpoint.servers()
        try:
            endpoint.update(requests)
        except (UserError, PlatformError) as error:
            terminal.complain(f"{error}; the server from before the change still answers")
            return
        for server in old:
            container_files.remove_tree(server.root)
        terminal.say("restarted")

    def _look(self) -> dict[Path, tuple[int, int]]:
        files = [file for path in self._paths for file in _list_files(path)]
        if self._suffixes:
            own = _list_files(Path.cwd())
            files += [file for file in own if file.suffix in self._suffixes]
        seen = {}
        for file in files:
            try:
                status = file.stat()
            except OSError:  # removed meanwhile
                continue
            seen[file] = (status.st_mtime_ns, status.st_size)
        return seen


def _list_files(path: Path) -> Iterator[Path]:
    """Yield a file, or the files below a directory, but for hidden and generated directories."""
    if not path.is_dir():
        yield path
        return
    for directory, names, files in os.walk(path):
        names[:] = [name for name in names if name not in _SKIPPED and not name.startswith(".")]
        for name in files:
            yield Path(directory, name)
