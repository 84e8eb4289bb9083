"""`doctor`: says what is wrong with a project, a model archive, a Dockerfile or an image before it is pushed.

Rules of this file: reads, never runs the user's code, nor a container of an image; each finding
names the file, what will happen and what to do; the clause that a finding rests on stands in
brackets.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container import algorithm, artifact, contract
from container.errors import UserError
from container.user_packages import archive, required_packages, versions

_FUNCTION_ARGUMENTS: Final = {
    "model_fn": 1,
    "input_fn": 2,
    "predict_fn": 2,
    "output_fn": 2,
    "transform_fn": 4,
    "pre_model_fn": 1,
    "model_warmup_fn": 2,
}
_IMAGE_NAME: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._/:@-]*")
_RESERVED: Final = re.compile(r"/opt/ml/(model|input|output|checkpoints)\b")


@dataclass(frozen=True)
class Finding:
    """One thing to know: `error` fails the job or the endpoint, `warning` may, `note` tells what will happen."""

    severity: str
    text: str


def examine(path: Path) -> list[Finding]:
    """Examine a model archive, a Dockerfile, a directory (of a project, code or a model), or an image by its name."""
    if not path.exists():
        is_name = _IMAGE_NAME.fullmatch(str(path))
        return (
            list(_examine_image(str(path)))
            if is_name
            else [Finding("error", f"{path} does not exist")]
        )
    if path.is_dir():
        return list(_examine_directory(path))
    if path.name.startswith("Dockerfile"):
        return list(_examine_dockerfile(path))
    return list(_examine_archive(path))


def main(argv: Sequence[str]) -> int:
    """Run `doctor` and give its exit code: 1 if anything is an error."""
    parser = argparse.ArgumentParser(
        prog="python -m container doctor",
        description="Say what is wrong with a project, model archive, Dockerfile or image.",
    )
    parser.add_argument("path", type=Path, nargs="+", help="a path, or an image's name")
    findings = [finding for path in parser.parse_args(argv).path for finding in examine(path)]
    for finding in findings:
        print(f"{finding.severity}: {finding.text}")
    count = sum(finding.severity == "error" for finding in findings)
    print("nothing stands in the way" if not count else f"{count} error{'s' * (count > 1)}")
    return 1 if count else 0


def _examine_directory(directory: Path) -> Iterator[Finding]:
    dockerfiles = sorted(directory.glob("Dockerfile*"))
    for dockerfile in dockerfiles:
        yield from _examine_dockerfile(dockerfile)
    if (directory / "code").is_dir():
        yield from _examine_code(directory / "code")
        if not dockerfiles:
            yield from _examine_model(directory)
    elif any(directory.glob("*.py")) or any(directory.glob("*.sh")):
        yield from _examine_code(directory)
    else:
        yield from _examine_model(directory)


def _examine_code(code: Path) -> Iterator[Finding]:
    from container.training.user_script import find

    program = find.find_default(code)
    if program:
        yield Finding(
            "note",
            f"{code / program} trains, when the code is the channel 'code' or lies in /opt/ml/code",
        )
    elif not (code / "inference.py").is_file():
        names = ", ".join(find.DEFAULT_PROGRAMS)
        yield Finding(
            "warning", f"{code} holds none of {names}: name the program by SAGEMAKER_PROGRAM"
        )
    for path in sorted(code.rglob("*.sh")):
        first = path.read_bytes().partition(b"\n")[0]
        if first.endswith(b"\r"):
            yield Finding(
                "error",
                f"{path} has Windows line ends: no shell runs it; save it with LF [IMG-13, TRIP-2]",
            )
        elif not first.startswith(b"#!"):
            yield Finding(
                "warning", f"{path} does not begin with #! and an interpreter: /bin/sh runs it"
            )
    local = {path.stem for path in code.rglob("*.py")} | {
        path.name for path in code.rglob("*") if path.is_dir()
    }
    requirements = code / required_packages.REQUIREMENTS
    if requirements.is_file() and not required_packages.find_wheel_directories(code):
        text = f"{requirements} needs a network when training starts, and is not installed for serving; bake it in, or"
        yield Finding("warning", f"{text} lay its wheels into {code / 'wheels'} [TRIP-27]")
    for path in sorted(code.rglob("*.py")):
        yield from _examine_python(path, local, knows_more=requirements.is_file())


def _examine_python(path: Path, local: set[str], *, knows_more: bool) -> Iterator[Finding]:
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        yield Finding(
            "error", f"{path} is no Python {sys.version_info[0]}.{sys.version_info[1]}: {error}"
        )
        return
    imported = {
        name.partition(".")[0]
        for node in tree.body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    missing = sorted(
        name for name in imported - local if name and importlib.util.find_spec(name) is None
    )
    if missing and not knows_more:
        text = f"{path} imports {', '.join(missing)}, which are not installed here and in no requirements.txt"
        yield Finding("warning", f"{text}: is the image to bring them?")
    if path.name == "inference.py":
        yield from _examine_handlers(path, tree)
    if path.name == algorithm.FILE_NAME and not any(
        getattr(node, "name", "") == "train" for node in tree.body
    ):
        yield Finding("error", f"{path} has no function train(job)")


def _examine_handlers(path: Path, tree: ast.Module) -> Iterator[Finding]:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    others = sorted({"input_fn", "predict_fn", "output_fn"} & functions.keys())
    if "transform_fn" in functions and others:
        yield Finding(
            "error",
            f"{path}: transform_fn does the work of all three and excludes {', '.join(others)}",
        )
    for name, count in _FUNCTION_ARGUMENTS.items():
        if name in functions:
            arguments = functions[name].args
            taken = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
            if taken not in (count, count + 1):
                possible = f"{count} or, with the context, {count + 1}"
                yield Finding(
                    "error",
                    f"{path}:{functions[name].lineno}: {name} takes {taken} arguments, not {possible}",
                )


def _examine_archive(path: Path) -> Iterator[Finding]:
    try:
        with tarfile.open(path, "r:gz") as packed, tempfile.TemporaryDirectory() as scratch:
            members = packed.getmembers()
            links = [member.name for member in members if member.issym() or member.islnk()]
            special = [
                member.name
                for member in members
                if not (member.isfile() or member.isdir()) and member.name not in links
            ]
            outside = [
                member.name
                for member in members
                if Path(member.name).is_absolute() or ".." in Path(member.name).parts
            ]
            for names, what in (
                (links, "links"),
                (special, "devices or pipes"),
                (outside, "paths that lead out of it"),
            ):
                if names:
                    text = (
                        f"{path} holds {what}: {', '.join(names[:5])}; such an archive is refused"
                    )
                    yield Finding("error", f"{text} [OUT-6]")
            hidden = [member.name for member in members if Path(member.name).name.startswith("._")]
            if hidden:
                text = f"{path} holds macOS's files {', '.join(hidden[:3])}; make it with COPYFILE_DISABLE=1"
                yield Finding("warning", text)
            archive.unpack(
                packed, [member for member in members if archive.is_harmless(member)], Path(scratch)
            )
            yield from _examine_model(Path(scratch), shown=path)
    except (tarfile.TarError, EOFError, OSError) as error:
        yield Finding("error", f"{path} is no tar.gz archive: {error} [HO-3]")


def _examine_model(model_dir: Path, shown: Path | None = None) -> Iterator[Finding]:
    from container.serving.user_code import handlers

    shown = shown or model_dir
    entries = sorted(entry.name for entry in model_dir.iterdir() if not entry.name.startswith("."))
    if len(entries) == 1 and (model_dir / entries[0]).is_dir() and entries[0] not in ("code", "1"):
        text = f"{shown} holds the one folder {entries[0]}; archives are made inside it (tar -C {entries[0]} .)"
        yield Finding("warning", f"{text}; it is served all the same [TRIP-21]")
    # A code directory that is nowhere: what the image brings is not known here.
    layout = _ModelLayout(model_dir)
    try:
        found = handlers.find(layout, {})
    except UserError as error:
        yield Finding("error", str(error).replace(str(model_dir), str(shown)))
        return
    if found is not None:
        what = str(
            getattr(found, "module", None)
            or f"{getattr(found, 'kind', '')} model {getattr(found, 'path', '')}"
        )
        yield Finding("note", f"{shown} is served by {what.replace(str(model_dir), str(shown))}")
        if isinstance(found, handlers.Handlers):
            for finding in _examine_code(found.module.parent):
                if finding.severity != "note":
                    yield Finding(
                        finding.severity, finding.text.replace(str(model_dir), str(shown))
                    )
    else:
        try:
            artifact.load(model_dir)
            yield Finding("note", f"{shown} is an artifact of this toolkit")
        except UserError as error:
            text = str(error).replace(str(model_dir), str(shown))
            yield Finding(
                "error", f"nothing in {shown} can be served without code in the image: {text}"
            )
    changes = versions.compare(model_dir)
    if changes:
        yield Finding(
            "warning", f"{shown} was made with other versions: {', '.join(changes[:10])} [TRIP-28]"
        )


class _ModelLayout(contract.Layout):
    """The layout of a model directory alone."""

    @property
    def model(self) -> Path:
        """The directory itself."""
        return self.base

    @property
    def code(self) -> Path:
        """Nowhere."""
        return self.base / ".no-such-directory"


def _examine_image(name: str) -> Iterator[Finding]:
    """Examine an image of the container engine by what is recorded of it."""
    try:
        described = json.loads(_ask_engine("inspect", name))[0]
        history = _ask_engine(
            "history", "--no-trunc", "--format", "{{.CreatedBy}}", name
        ).splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip()
        yield Finding(
            "error",
            f"{name} does not exist, nor does the container engine know such an image: {reason}",
        )
        return
    yield from judge_image(name, described, history)


def _ask_engine(*arguments: str) -> str:
    """Ask about images; raises OSError without a client, SubprocessError with its words in `stderr` if it fails."""
    command = ["docker", "image", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603


def judge_image(
    name: str, described: Mapping[str, Any], history: Sequence[str]
) -> Iterator[Finding]:
    """Judge an image by the answer of `docker image inspect`, and by the instructions that made it."""
    config = described.get("Config") or {}
    entry_point = config.get("Entrypoint") or []
    command = " ".join(entry_point)
    if not entry_point:
        text = f"{name} has no ENTRYPOINT: `train` and `serve` must be programs on its PATH"
        yield Finding("warning", f"{text} [IMG-1]")
    elif entry_point[:2] in (["/bin/sh", "-c"], ["/bin/bash", "-c"]):
        text = f"{name} starts a shell that keeps SIGTERM to itself ({command}); write ENTRYPOINT as [...]"
        yield Finding("error", f"{text} [IMG-4]")
    elif "tini" in command:
        yield Finding(
            "error",
            f"{name} starts tini, which is confused by `train` and `serve`; leave it out [IMG-5]",
        )
    user = config.get("User") or ""
    if user.partition(":")[0] not in ("", "root", "0"):
        yield Finding(
            "warning",
            f"{name} runs as {user}: hosting expects root, and input is owned by root [IMG-6]",
        )
    if described.get("Architecture") not in (None, "amd64"):
        text = (
            f"{name} is built for {described['Architecture']}: it runs on Graviton instances alone"
        )
        yield Finding("warning", f"{text}; build it with --platform linux/amd64 [IMG-8]")
    volumes = [path for path in config.get("Volumes") or {} if path.startswith("/opt/ml")]
    if volumes:
        yield Finding(
            "error",
            f"{name} declares volumes that hide the platform's mounts: {', '.join(volumes)} [IMG-7]",
        )
    for line in history:
        if re.match(r"(/bin/sh -c #\(nop\) )?\s*(COPY|ADD) ", line) and _RESERVED.search(line):
            yield Finding(
                "error", f"{name} holds files where mounts hide them: {line.strip()[:120]} [IMG-7]"
            )
    secrets = [entry.partition("=")[0] for entry in config.get("Env") or [] if _is_secret(entry)]
    if secrets:
        text = f"{name} holds secrets for everybody who pulls it: {', '.join(secrets)}; give them to the job instead"
        yield Finding("error", text)


def _is_secret(entry: str) -> bool:
    from container.training.user_script.masking import find_secrets

    name, _, value = entry.partition("=")
    return bool(value and find_secrets({name: value}))


def _examine_dockerfile(path: Path) -> Iterator[Finding]:
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        instruction = word.upper()
        if instruction == "ENTRYPOINT" and not rest.startswith("["):
            yield Finding(
                "error",
                f"{path}: {line.strip()!r} starts a shell that keeps SIGTERM to itself; use [...] [IMG-4]",
            )
        elif instruction == "ENTRYPOINT" and "tini" in rest:
            yield Finding(
                "error", f"{path}: tini is confused by `train` and `serve`; leave it out [IMG-5]"
            )
        elif instruction == "USER" and rest not in ("root", "0"):
            text = f"{path}: USER {rest}: hosting expects root, and input is owned by root"
            yield Finding("warning", f"{text} [IMG-6]")
        elif instruction in ("COPY", "ADD") and _RESERVED.search(rest):
            text = f"{path}: {line.strip()!r}: mounts hide what lies there"
            yield Finding("error", f"{text} [IMG-7]")
        elif instruction == "FROM" and "--platform=linux/arm64" in rest:
            yield Finding(
                "warning", f"{path}: an arm64 image runs on Graviton instances alone [IMG-8]"
            )
