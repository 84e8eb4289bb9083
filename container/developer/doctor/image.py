"""Examines an image of the container engine by its configuration and history."""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from container import image_rules
from container.developer.doctor.finding import Finding
from container.user_packages.masking import find_secrets

_RESERVED: Final = re.compile(r"/opt/ml/(model|input|output|checkpoints)\b")


def examine(name: str) -> Iterator[Finding]:
    """Examine an image by its name."""
    try:
        described = json.loads(_ask_engine("inspect", name))[0]
        history = _ask_engine("history", "--no-trunc", "--format", "{{.CreatedBy}}", name)
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip()
        text = f"{name} is neither a file nor an image of the container engine: {reason}"
        yield Finding("error", text)
        return
    yield from judge(name, described, history.splitlines())


def _ask_engine(*arguments: str) -> str:
    """Return what `docker image` prints.

    Raises: OSError if there is no client, SubprocessError with its messages in `stderr`.
    """
    command = ["docker", "image", *arguments]
    done = subprocess.run(  # noqa: S603 - the engine's client
        command, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def judge(name: str, described: Mapping[str, Any], history: Sequence[str]) -> Iterator[Finding]:
    """Judge an image by `docker image inspect`, and by the instructions that built it."""
    config = described.get("Config") or {}
    yield from judge_entry_point(name, config.get("Entrypoint") or [])
    yield from judge_user(name, config.get("User") or "")
    yield from judge_platform(name, image_rules.read_platform(described))
    yield from _judge_volumes(name, config.get("Volumes") or {})
    yield from _judge_labels(name, config.get("Labels") or {})
    for line in history:
        copied = re.match(r"(?:/bin/sh -c #\(nop\) )?\s*(?:COPY|ADD) (.*)", line)
        if copied:
            yield from judge_copy(f"{name}: {line.strip()[:120]!r}", copied[1])
    for entry in config.get("Env") or []:
        yield from _judge_variable(name, *entry.partition("=")[::2])


def _judge_volumes(place: str, paths: Iterable[str]) -> Iterator[Finding]:
    volumes = [path for path in paths if path.startswith("/opt/ml")]
    if volumes:
        text = f"{place} declares volumes that hide the platform's mounts: {', '.join(volumes)}"
        yield Finding("error", f"{text} [IMG-7]")


def _judge_labels(place: str, labels: Mapping[str, str]) -> Iterator[Finding]:
    for label in image_rules.find_wrong_labels(labels):
        text = f"{place} has the label {label}: its value has to be true or false"
        yield Finding("error", f"{text} [IMG-12]")


def _judge_variable(place: str, name: str, value: str) -> Iterator[Finding]:
    if find_secrets({name: value}):
        text = f"{place} holds a secret that everyone who pulls it can read: {name}"
        yield Finding("error", f"{text}; set it for the job instead")


def judge_entry_point(place: str, entry_point: Sequence[str]) -> Iterator[Finding]:
    """Judge an image's entry point, in exec form."""
    if not entry_point:
        text = f"{place} has no ENTRYPOINT: `train` and `serve` must be programs on its PATH"
        yield Finding("warning", f"{text} [IMG-1]")
    elif image_rules.is_shell_form(entry_point):
        text = f"{place} starts a shell, which does not forward SIGTERM ({' '.join(entry_point)})"
        yield Finding("error", f"{text}; write ENTRYPOINT as a JSON list [IMG-4]")
    elif image_rules.starts_init(entry_point):
        text = f"{place} starts {entry_point[0]}, which is confused by `train` and `serve`"
        yield Finding("error", f"{text}; remove it [IMG-5]")


def judge_user(place: str, user: str) -> Iterator[Finding]:
    """Judge the user that an image runs as."""
    if not image_rules.is_root(user):
        text = f"{place} runs as {user}: hosting expects root, and root owns the input"
        yield Finding("warning", f"{text} [IMG-6]")


def judge_platform(place: str, platform: str) -> Iterator[Finding]:
    """Judge what an image is built for, such as `linux/amd64`."""
    if platform != image_rules.PLATFORM:
        text = f"{place} is built for {platform}: it runs only on Graviton instances"
        yield Finding("warning", f"{text}; build it with --platform {image_rules.PLATFORM} [IMG-8]")


def judge_copy(place: str, arguments: str) -> Iterator[Finding]:
    """Judge where a COPY or ADD instruction puts files."""
    if _RESERVED.search(arguments):
        yield Finding("error", f"{place}: the platform's mounts hide these files [IMG-7]")
