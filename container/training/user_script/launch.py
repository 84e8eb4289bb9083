"""Runs a user's own training program under the conventions of `sagemaker-training`, and looks after it.

The toolkit says what the program is given (`toolkit`), `container.user_packages.supervision` runs
it, this file decides: which program, what to install, what the end of it means.
docs/bring-your-own.md lists each difference from the toolkit with its reason.

Rules of this file: standard library only; no process is started but through the supervisor.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container import algorithm, contract, machine
from container.errors import PlatformError, UserError
from container.user_packages import required_packages, versions
from container.user_packages.supervision import Outcome, Supervisor

ALLOW_EMPTY_MODEL_VARIABLE: Final = "SAGEMAKER_ALLOW_EMPTY_MODEL"
DEFAULT_PROGRAMS: Final = ("train.py", "train.sh", algorithm.FILE_NAME)
_PACKAGE_ROOT: Final = str(Path(__file__).parents[3])
_ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz")
_TF_CONFIG_PORT: Final = 8890  # DS-6
_RESERVE_BYTES: Final = 16 * 1024
_ENVIRONMENT_STRING_BYTES: Final = 128 * 1024 - 1  # MAX_ARG_STRLEN of Linux, less the closing NUL
_LAUNCHER_PACKAGES: Final = ("gevent", "inotify_simple", "paramiko", "psutil", "retrying")
_COMMAND_CHARACTERS: Final = 200
_CAUSE_CHARACTERS: Final = (
    560  # with the rest of the reason's lines it fills the 1024 characters of OUT-2
)

_SECRET_NAME: Final = re.compile(
    r"SECRET|PASSW|TOKEN(?!S|I)|CREDENTIAL|PRIVATE|(API|ACCESS|AUTH|ENCRYPTION|SIGNING)_?KEY|AUTH(?!ORS?\b)",
    re.IGNORECASE,
)
_URL_LOGIN: Final = re.compile(r"(?<=://)[^/\s@]+@")

# OUT-12; 128 + n says that signal n ended the program.
_EXIT_CODES: Final = {
    2: "the program refused its arguments (each hyperparameter arrives as --name value), or could not be opened",
    126: "the program is not executable",
    127: "the program, a command in it, or the interpreter in its first line was not found",
    132: "illegal instruction: a library was built for another processor (AVX)",
    134: "the program aborted itself, mostly in native code",
    135: "bus error: shared memory (/dev/shm) is full, or a mapped file was cut short",
    136: "arithmetic fault in native code",
    137: "Process killed by SIGKILL (signal 9), most often for want of memory",
    139: "segmentation fault in native code",
    143: "ended by SIGTERM (signal 15)",
}


@dataclass(frozen=True)
class Program:
    """A user's program: where its code comes from, and which file or module of it to run."""

    name: str
    """Path below the code directory; empty where only the unpacked code can tell."""
    source: str = ""
    """s3:// address, directory, archive or file; empty when the code is in the code directory already."""


def find_program(layout: contract.Layout, environ: Mapping[str, str]) -> Program | None:
    """Find the program that this job is to run instead of the bundled algorithm, if there is one.

    It is named by `SAGEMAKER_PROGRAM`, or the hyperparameter `sagemaker_program`; or it is
    `train.py` or `train.sh` in the code directory or the channel `code`.
    """
    raw = contract.load_json_object(layout.hyperparameters)
    name = environ.get(contract.PROGRAM_VARIABLE) or _unquote(
        raw.get(contract.PROGRAM_HYPERPARAMETER)
    )
    source = _unquote(raw.get(contract.SUBMIT_DIRECTORY_HYPERPARAMETER)) or environ.get(
        contract.SUBMIT_DIRECTORY_VARIABLE, ""
    )
    if not source and contract.CODE_CHANNEL in contract.load_json_object(layout.input_data_config):
        source = _find_source(layout.channel(contract.CODE_CHANNEL))
    if source and Path(source) == layout.code:
        source = ""
    if name or source:
        return Program(name, source)
    default = find_default(layout.code)
    return Program(default) if default or environ.get(contract.TRAINING_MODULE_VARIABLE) else None


def run(program: Program, layout: contract.Layout, environ: Mapping[str, str]) -> int:
    """Fetch, install and run the program; give its exit code, or 1 if it succeeded and left nothing behind.

    Whenever the exit code is not 0 the failure file holds a reason: the program's own if it wrote
    one (OUT-2).

    Raises: UserError or PlatformError if the program cannot be started.
    """
    for stale in (layout.failure, layout.success):
        stale.unlink(missing_ok=True)
    for directory in (layout.model, layout.output_data, layout.code):
        _make_directory(directory)
    with _reserved_space(layout) as release, Supervisor() as supervisor:
        answer = _ask_toolkit(program, layout, environ, supervisor)
        if answer is None:
            return _report(
                layout, Outcome(128 + (supervisor.stop_signal or 0), stopped=True), "(preparation)"
            )
        variables = _complete_variables(answer["variables"], layout, environ)
        secrets = find_secrets(variables)
        name = answer["program"]
        kind = (
            "launcher"
            if _is_launched_by_toolkit(answer["variables"], environ)
            else classify(layout.code, name)
        )
        installation = []
        if kind not in ("command", "launcher"):
            installation = required_packages.plan_installation(
                layout.code, environ, is_package=kind == "package"
            )
        if installation:
            _log("installing: " + mask_command(installation, secrets))
            index = (
                {"PIP_INDEX_URL": answer["package_index"]} if answer.get("package_index") else {}
            )
            outcome = supervisor.run(installation, layout.code, variables | index)
            if outcome.exit_code:
                release()
                shown = mask_command(installation, secrets)
                error_class = (
                    "InstallModuleError" if kind == "package" else "InstallRequirementsError"
                )
                return _report(
                    layout, outcome, shown, error_class, required_packages.explain_failure(environ)
                )
        command = _compose_command(layout.code, name, kind, answer["arguments"])
        _log_invocation(command, variables, environ, secrets)
        try:
            outcome = supervisor.run(command, layout.code, variables)
        except (OSError, ValueError) as error:
            message = f"{name} cannot be started: {error}"
            raise UserError(message) from error
        fault = (
            ""
            if outcome.exit_code
            else _find_fault(layout, environ, outcome) or _finish(layout, program)
        )
        release()
        if outcome.exit_code:
            return _report(layout, outcome, mask_command(command, secrets))
        if fault:
            return _fail(layout, fault)
    _log("the program ended with exit code 0")
    return 0


# Which program


def _is_launched_by_toolkit(offered: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Tell whether the toolkit must launch the program itself: by MPI (DS-8), or as a framework's own callable."""
    if environ.get(contract.TRAINING_MODULE_VARIABLE):
        return True
    return bool(json.loads(offered["SM_FRAMEWORK_PARAMS"]).get(contract.MPI_HYPERPARAMETER))


def _unquote(value: Any) -> str:
    """Read a platform hyperparameter: raw, or JSON in a string since SDK 2.110 (HP-3)."""
    if not isinstance(value, str):
        return ""
    with contextlib.suppress(ValueError):
        decoded = json.loads(value)
        return decoded if isinstance(decoded, str) else value
    return value


def _find_source(channel: Path) -> str:
    """Find the code in the channel `code`: the one archive in it, else the directory itself (IN-12)."""
    archives = sorted(path for path in channel.glob("*") if path.name.endswith(_ARCHIVE_SUFFIXES))
    return str(archives[0] if len(archives) == 1 else channel)


def find_default(code: Path) -> str:
    """Give the name of the program that `code` holds under a name that needs no telling; empty if there is none."""
    return next((name for name in DEFAULT_PROGRAMS if (code / name).is_file()), "")


def classify(code: Path, name: str) -> str:
    """Tell what `name` is, as the toolkit does: `command`, `package` or `program`; also by `pyproject.toml`.

    Raises: UserError if the program is not there or could not start on Linux.
    """
    files = sorted(path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file())
    if not name:
        message = (
            f"no program is named and {code} holds none of {', '.join(DEFAULT_PROGRAMS)}; set SAGEMAKER_PROGRAM or "
            f"the hyperparameter sagemaker_program to one of: {_enumerate(files)}"
        )
        raise UserError(message)
    if Path(name).is_absolute() or ".." in Path(name).parts or name.startswith("-"):
        message = f"the program {name!r} must be a path inside {code}, such as 'train.py' or 'bin/train.sh'"
        raise UserError(message)
    is_package = "setup.py" in files or (
        "pyproject.toml" in files and _is_project(code / "pyproject.toml")
    )
    if is_package and not name.endswith(".sh"):
        return "package"
    if name not in files:
        near = difflib.get_close_matches(name, files, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        message = f"the program {name!r} is not in {code}{hint}; found: {_enumerate(files)}"
        raise UserError(message)
    if name.endswith(".py"):
        return "algorithm" if Path(name).name == algorithm.FILE_NAME else "program"
    with (code / name).open("rb") as file:
        if file.readline().endswith(b"\r\n"):  # IMG-13, TRIP-2
            message = f"{name} has Windows line ends, which a shell takes for part of each command; save it with LF"
            raise UserError(message)
    return "command"


def _is_project(path: Path) -> bool:
    try:
        return bool(
            {"project", "build-system"} & tomllib.loads(path.read_text(encoding="utf-8")).keys()
        )
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        raise UserError(message) from error


def _enumerate(names: Sequence[str]) -> str:
    return (", ".join(names[:10]) + (" ..." if len(names) > 10 else "")) if names else "nothing"


# What it is given


def _ask_toolkit(
    program: Program, layout: contract.Layout, environ: Mapping[str, str], supervisor: Supervisor
) -> dict[str, Any] | None:
    """Let the toolkit unpack the code and say arguments and variables; None if a stop came meanwhile."""
    surroundings = dict(environ) | {
        contract.BASE_DIR_VARIABLE: str(layout.base),
        "PYTHONPATH": os.pathsep.join(filter(None, (_PACKAGE_ROOT, environ.get("PYTHONPATH")))),
    }
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "answer.json"
        command = [
            sys.executable,
            "-m",
            "container.training.user_script.training_toolkit",
            str(result),
            program.name,
            program.source,
        ]
        outcome = supervisor.run(command, layout.base, surroundings)
        if supervisor.stop_signal is not None:
            return None
        answer: dict[str, Any] = contract.load_json_object(result)
    if "arguments" in answer:
        return answer
    if answer.get("kind") == "UserError":
        raise UserError(answer["error"])
    raise PlatformError(answer.get("error") or f"sagemaker-training failed: {find_cause(outcome)}")


def _complete_variables(
    offered: Mapping[str, str], layout: contract.Layout, environ: Mapping[str, str]
) -> dict[str, str]:
    """Put together the program's environment; what the user has set wins over what we offer."""
    variables = dict(environ) | dict(offered)
    for (
        name,
        value,
    ) in offered.items():  # a shell can read no name with a hyphen or a dot in it (IN-1)
        variables.setdefault(re.sub(r"[^A-Za-z0-9_]", "_", name), value)
    # The toolkit's own package comes last: `container` must be found wherever this program was
    # started from.
    code_path = os.pathsep.join(
        filter(None, (str(layout.code), environ.get("PYTHONPATH"), _PACKAGE_ROOT))
    )
    cpus = max(1, int(machine.count_cpus()))
    variables |= {"PYTHONPATH": code_path, "SM_NUM_CPUS": str(cpus)}
    defaults = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}  # IMG-14, TRIP-16
    if cpus < (
        os.cpu_count() or cpus
    ):  # libraries see the machine's processors, not the container's (HO-13)
        defaults |= dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cpus)
        )
    resources = contract.load_training_config(layout).resources
    if len(resources.hosts) > 1:
        cluster = {"worker": [f"{host}:{_TF_CONFIG_PORT}" for host in resources.hosts]}
        defaults |= {
            "TF_CONFIG": json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": resources.rank}}
            ),
            "NCCL_SOCKET_IFNAME": resources.network_interface_name,  # DS-2
            "GLOO_SOCKET_IFNAME": resources.network_interface_name,
        }
    variables = defaults | variables
    too_long = [
        name
        for name, value in variables.items()
        if len(f"{name}={value}".encode()) > _ENVIRONMENT_STRING_BYTES
    ]
    for name in too_long:
        _log(
            f"{name} is left out of the environment: Linux allows no variable over 128 KiB; read the file instead"
        )
        del variables[name]
    return variables


def _compose_command(code: Path, name: str, kind: str, arguments: Sequence[str]) -> list[str]:
    """Compose the command as the toolkit does.

    Raises: UserError if the toolkit itself is to launch the program and cannot.
    """
    if kind == "launcher":
        missing = [
            package for package in _LAUNCHER_PACKAGES if importlib.util.find_spec(package) is None
        ]
        if missing:
            message = (
                "MPI and SAGEMAKER_TRAINING_MODULE are launched by sagemaker-training itself, and what it needs for "
                f"that is not installed here: in an image of yours, pip install {' '.join(missing)}"
            )
            raise UserError(message)
        return [sys.executable, "-m", "sagemaker_training.cli.train"]
    if kind == "package":
        return [sys.executable, "-m", name.removesuffix(".py").replace("/", "."), *arguments]
    if kind == "program":
        return [sys.executable, "--", name, *arguments]
    if kind == "algorithm":
        return [sys.executable, "-m", "container.training.typed", name]
    with contextlib.suppress(OSError):
        (code / name).chmod(0o777)
    return ["/bin/sh", "-c", f"./{shlex.quote(name)} " + " ".join(map(shlex.quote, arguments))]


# What its end means


def _find_fault(layout: contract.Layout, environ: Mapping[str, str], outcome: Outcome) -> str:
    """Say why a success is none: there is no model, or the disk did not take it (TRIP-24); empty if it is one."""
    files = [path for path in layout.model.rglob("*") if path.is_file()]
    try:
        for path in files:
            _make_durable(path)
        probe = layout.model / ".probe"
        try:
            probe.write_bytes(os.urandom(_RESERVE_BYTES))
            _make_durable(probe)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return f"DiskError: the program ended with exit code 0, but its files may be cut short: {error}"
    allowed = environ.get(ALLOW_EMPTY_MODEL_VARIABLE, "").lower() in ("1", "true", "yes")
    is_leader = contract.load_training_config(layout).resources.rank == 0
    if not files and is_leader and not allowed and not outcome.stopped:
        return (
            f"EmptyModelError: the program ended with exit code 0 but left no file in {layout.model}; save the model "
            f"to the directory that SM_MODEL_DIR names, or set {ALLOW_EMPTY_MODEL_VARIABLE}=true if there is none"
        )
    links = sorted(str(path) for path in layout.model.rglob("*") if path.is_symlink())
    if links:  # OUT-6
        _log(
            f"warning: a model archive with symbolic links cannot be deployed: {_enumerate(links)}"
        )
    return ""


def _finish(layout: contract.Layout, program: Program) -> str:
    """Put beside the model what serving it takes: the job's inference code, and the versions; gives a fault, if any."""
    try:
        is_model = any(layout.model.iterdir())
        serves = any(
            (layout.code / name).is_file() for name in ("inference.py", algorithm.FILE_NAME)
        )
        if is_model and program.source and serves:
            shutil.copytree(
                layout.code,
                layout.model / "code",
                ignore=shutil.ignore_patterns("__pycache__", ".*"),
                dirs_exist_ok=True,
            )
            _log(f"copied the code that serves it to {layout.model / 'code'}")
        if is_model:
            versions.write(layout.model)
        layout.success.touch()
    except OSError as error:
        return f"DiskError: the program ended with exit code 0, but what belongs beside its model cannot be: {error}"
    return ""


def _make_durable(path: Path) -> None:
    """Write a file through to the disk, which is when a full one shows; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _report(
    layout: contract.Layout,
    outcome: Outcome,
    command: str,
    error_class: str = "ExecuteUserScriptError",
    advice: str = "",
) -> int:
    """Write why the program failed, in the toolkit's form, unless the program has written it itself; give its code."""
    explanation = _explain(outcome)
    lines = [
        f"{error_class}:",
        f"ExitCode {outcome.exit_code}",
        f'ErrorMessage "{find_cause(outcome)}"',
    ]
    if advice or explanation:
        lines.append(f'ExtraInfo "{advice or explanation}"')
    if len(command) > _COMMAND_CHARACTERS:
        command = command[: _COMMAND_CHARACTERS - 4] + " ..."
    lines.append(f'Command "{command}"')
    return _fail(layout, "\n".join(lines), outcome.exit_code)


def _fail(layout: contract.Layout, reason: str, exit_code: int = 1) -> int:
    print(reason, file=sys.stderr, flush=True)
    if not layout.failure.exists() or not layout.failure.stat().st_size:
        try:
            contract.write_failure(layout, reason)
        except OSError as error:
            print(f"the failure file cannot be written: {error}", file=sys.stderr, flush=True)
    return exit_code


def _explain(outcome: Outcome) -> str:
    if outcome.overstayed:
        return "the job was stopped, and the program was still running when its grace was over: it was killed (SIGKILL)"
    if outcome.stopped and outcome.exit_code == 143:
        return "the job was stopped, and the program has no handler of SIGTERM that saves its work and exits with 0"
    if outcome.exit_code == 137 and outcome.out_of_memory:
        limit = machine.count_memory_bytes()
        size = f"; the container may use {limit / 1024**2:.0f} MiB" if limit else ""
        return f"OutOfMemory: Process killed by SIGKILL (signal 9){size}"
    return _EXIT_CODES.get(outcome.exit_code, "")


def find_cause(outcome: Outcome) -> str:
    """Find the cause in the program's last words: the exception first, then as much of the rest as fits."""
    text = (outcome.error_tail.rstrip() or outcome.output_tail.rstrip()).decode(errors="replace")
    text = text.rpartition("\r")[2] if "\n" not in text else text
    lines = [line for line in text.splitlines() if line.strip()]
    starts = [
        i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")
    ]
    starts = starts[-1:] or [
        i for i, line in enumerate(lines) if line.startswith('  File "')
    ]  # of a SyntaxError
    exception: list[str] = []
    if starts:
        for i in range(starts[0] + 1, len(lines)):
            if not lines[i].startswith(" "):
                exception, lines = lines[i:], lines[starts[0] : i]
                break
    cause = "\n".join(exception)[:_CAUSE_CHARACTERS]
    room = _CAUSE_CHARACTERS - len(cause)
    rest = "\n".join(lines)
    return _URL_LOGIN.sub(
        "***@", "\n".join(filter(None, (cause, rest[-room:] if room > 80 else "")))
    )


@contextlib.contextmanager
def _reserved_space(layout: contract.Layout) -> Iterator[Any]:
    """Hold a few blocks of the disk, to be released for the failure file when the program has filled the rest."""
    reserve = layout.failure.with_name(".reserve")
    try:
        reserve.write_bytes(os.urandom(_RESERVE_BYTES))
    except OSError as error:
        message = f"the output directory {reserve.parent} cannot be written: {error}"
        raise PlatformError(message) from error

    def release() -> None:
        reserve.unlink(missing_ok=True)

    try:
        yield release
    finally:
        release()


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error
        message = f"the directory {directory} cannot be made: {reason}"
        raise PlatformError(message) from error


# What is said of it


def find_secrets(variables: Mapping[str, str]) -> list[str]:
    """Find the values of variables whose names tell that they are secret (HP-7), the longest first."""
    values = {
        value for name, value in variables.items() if _SECRET_NAME.search(name) and len(value) >= 4
    }
    return sorted(values, key=len, reverse=True)


def mask(text: str, secrets: Sequence[str]) -> str:
    """Hide secret values, and logins in addresses, wherever they stand in `text`."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _URL_LOGIN.sub("***@", text)


def mask_command(command: Sequence[str], secrets: Sequence[str]) -> str:
    """Write a command as one line without its secrets: values known as such, or named as such."""
    shown, hide = [], False
    for part in command:
        shown.append("***" if hide else mask(part, secrets))
        hide = part.startswith("-") and bool(_SECRET_NAME.search(part))
    return " ".join(shown)


def _log_invocation(
    command: Sequence[str],
    variables: Mapping[str, str],
    environ: Mapping[str, str],
    secrets: Sequence[str],
) -> None:
    """Say what is run with which hyperparameters and channels; with every variable at the log level of debugging."""
    shown = {name: value for name, value in variables.items() if environ.get(name) != value}
    if not _is_debugging(variables):
        shown = {
            name: value
            for name, value in shown.items()
            if name.startswith(("SM_HP_", "SM_CHANNEL_"))
        }
    for name, value in sorted(shown.items()):
        text = "***" if _SECRET_NAME.search(name) else mask(value, secrets)
        _log(f"  {name}={text if len(text) <= 200 else text[:196] + ' ...'}")
    _log("running: " + mask_command(command, secrets))


def _is_debugging(variables: Mapping[str, str]) -> bool:
    """Tell whether `sagemaker_container_log_level`, or the variable of that name, asks for DEBUG (10) or less."""
    levels = (variables.get("SM_LOG_LEVEL", ""), variables.get("SAGEMAKER_CONTAINER_LOG_LEVEL", ""))
    return any(level.isdecimal() and int(level) <= 10 for level in levels)


def _log(line: str) -> None:
    print(line, flush=True)
