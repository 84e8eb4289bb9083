"""Examines a model archive or a model directory: what would be served, and by what."""

import contextlib
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from container import artifact, contract
from container.developer.doctor import source_code
from container.developer.doctor.finding import Finding
from container.errors import UserError
from container.serving.third_party import kinds
from container.user_packages import archive, versions

# No code, manifest or list of versions is as long.
_READ_BYTES_MAXIMUM: Final = 1 << 20
_UNPACKED_BYTES_MAXIMUM: Final = 64 << 20


def examine(path: Path) -> Iterator[Finding]:
    """Examine a model archive."""
    try:
        with tarfile.open(path, "r:gz", tarinfo=archive.Member) as packed:
            members = archive.list_members(packed, path.stat().st_size)
            yield from _examine_members(path, members)
            harmless = [member for member in members if archive.is_harmless(member)]
            with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
                # Unpack under the archive's name, which messages about the directory show.
                directory = Path(path.name)
                directory.mkdir()  # also for an archive without members
                _keep_what_is_read(harmless)
                archive.unpack(packed, harmless, directory)
                findings = list(examine_directory(directory))
            yield from findings
    except (tarfile.TarError, OSError) as error:
        text = f"{path} is not a tar.gz archive that can be unpacked: {error}"
        yield Finding("error", f"{text}{archive.explain(path)} [HO-3]")


def _keep_what_is_read(members: Sequence[tarfile.TarInfo]) -> None:
    """Let only small files be unpacked with what they hold: of weights, the beginning is enough."""
    room = _UNPACKED_BYTES_MAXIMUM
    for member in members:
        if member.size > min(room, _READ_BYTES_MAXIMUM):
            member.size = min(member.size, max(room, 0), kinds.LOOK_BYTES)
        room -= member.size


def _examine_members(path: Path, members: Sequence[tarfile.TarInfo]) -> Iterator[Finding]:
    refused: dict[str, list[str]] = {}
    hidden = []
    for member in members:
        name = Path(member.name)
        if member.issym() or member.islnk():
            refused.setdefault("links", []).append(member.name)
        elif not (member.isfile() or member.isdir()):
            refused.setdefault("devices or pipes", []).append(member.name)
        if name.is_absolute() or ".." in name.parts:
            refused.setdefault("paths that lead out of it", []).append(member.name)
        if name.name.startswith("._"):
            hidden.append(member.name)
    for what, names in refused.items():
        text = f"{path} holds {what}: {', '.join(names[:5])}; such an archive is refused [OUT-6]"
        yield Finding("error", text)
    if hidden:
        text = f"{path} holds macOS metadata files, {', '.join(hidden[:3])}"
        yield Finding("warning", f"{text}; pack it with COPYFILE_DISABLE=1")


def examine_directory(model_dir: Path) -> Iterator[Finding]:
    """Examine a model directory."""
    inner = _descend(model_dir)
    if inner != model_dir:
        name = inner.relative_to(model_dir)
        text = f"{model_dir} holds only the folder {name}; pack what is inside it (tar -C {name} .)"
        yield Finding("warning", f"{text} [TRIP-21]")
    yield from _examine_serving(model_dir)
    changes = versions.compare(model_dir)
    if changes:
        text = f"{model_dir} was built with other versions: {', '.join(changes[:10])}"
        yield Finding("warning", f"{text} [TRIP-28]")


def _descend(directory: Path) -> Path:
    """Follow directories that hold only another directory; return the last one."""
    entries = [entry for entry in directory.iterdir() if not entry.name.startswith(".")]
    if len(entries) == 1 and entries[0].is_dir() and entries[0].name not in ("code", "1"):
        return _descend(entries[0])
    return directory


def _examine_serving(model_dir: Path) -> Iterator[Finding]:
    from container.serving.third_party import model_files  # loads numpy
    from container.serving.user_code import handlers

    try:
        found = handlers.find(_ModelLayout(model_dir), {})
    except UserError as error:
        yield Finding("error", str(error))
        return
    if isinstance(found, handlers.Handlers):
        yield Finding("note", f"{model_dir} is served by {found.module}")
        for finding in source_code.examine(found.module.parent):
            if finding.severity != "note":
                yield finding
    elif found is not None:
        yield Finding("note", f"{model_dir} is served by the {found.kind} model {found.path}")
    elif model_files.is_artifact(model_dir):
        try:
            artifact.load(model_dir)
            yield Finding("note", f"{model_dir} is an artifact of this toolkit")
        except UserError as error:
            yield Finding("error", str(error))
    else:
        yield Finding("error", f"{model_files.explain_nothing(model_dir)}, or have it in the image")


class _ModelLayout(contract.Layout):
    """The layout of a model directory outside a container."""

    @property
    def model(self) -> Path:
        """The directory itself."""
        return self.base

    @property
    def code(self) -> Path:
        """No directory: what the image brings is unknown here."""
        return self.base / ".no-such-directory"
