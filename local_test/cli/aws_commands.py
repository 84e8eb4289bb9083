"""The commands of the local AWS: up, down, status, env, purge."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from container.errors import PlatformError, UserError, find_file_in_the_way, name_command
from local_test import container_files, proxies
from local_test.aws.account.settings import Settings
from local_test.aws.process import installation, keys
from local_test.cli import extras
from local_test.cli.options import CHECKOUT, JOBS, flag, option, split_command, with_groups

_READY_LIMIT_S: Final = 60

Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        envvar="LOCAL_AWS_DIRECTORY",
        help="Directory of the local AWS; by default ~/.local/share/local-aws.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class SettingsOptions:
    """Settings that the local AWS remembers for its next start."""

    program: str | None = option(
        None, "Command to run for every image; by default the bundled program."
    )
    docker: bool = flag("Run the image of each request in Docker.", "--docker")
    port: int | None = option(
        None, "Port on loopback; by default the port of the last start, or a free one."
    )
    region: str | None = option(None, "AWS region; by default us-east-1.")
    account: str | None = option(None, "AWS account ID, twelve digits; by default 000000000000.")
    max_instances: int | None = option(
        None, "Most instances of all jobs together, and of all endpoints; by default 20."
    )
    run_functions: bool | None = option(
        None, "Run Lambda functions of pipelines as programs of this machine."
    )

    def list_changes(self) -> dict[str, object]:
        """Return the settings that are given."""
        changes = dict(vars(self))
        if self.program is not None:
            split_command("--program", self.program)
            changes["working_directory"] = str(Path.cwd())
        if changes.pop("docker"):
            changes["program"] = ""
        return {name: value for name, value in changes.items() if value is not None}


@with_groups
def up(
    options: SettingsOptions,
    directory: Directory = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Run in the foreground until Ctrl-C.")
    ] = False,
) -> int:
    """Start the AWS API on localhost; it remembers its options for the next start."""
    extras.require("moto")
    home = find_directory(directory)
    settings = _load_settings(home, options.list_changes())
    running = installation.find_running(home)
    is_ours = False
    if running is None and not foreground:
        running, is_ours = _start(home, settings)
    if running and not is_ours:
        stop = name_command("down")
        _say(f"already up: {running.url}, data in {home}; to change options, first run `{stop}`")
        return 0
    if running is None:
        from local_test.aws.process import host  # noqa: PLC0415 - slow to import

        return host.run(home, settings)
    _say(
        f"local AWS is up: {running.url}/console, account {settings.account}, "
        f"region {settings.region}, data in {home}"
    )
    for warning in _ask(running)["warnings"]:
        _say(f"warning: {warning}")
    _say(f'point any AWS client of this shell at it: eval "$({name_command("env")})"')
    return 0


def _load_settings(home: Path, changes: dict[str, object]) -> Settings:
    settings = replace(installation.load_settings(home), **changes)  # type: ignore[arg-type]
    faults = []
    if not re.fullmatch(r"[0-9]{12}", settings.account):
        faults.append(f"--account {settings.account!r}: expected twelve digits")
    if not 0 <= settings.port < 65536:
        faults.append(f"--port {settings.port}: expected 0 to 65535")
    if settings.max_instances < 1:
        faults.append(f"--max-instances {settings.max_instances}: expected at least 1")
    if settings.region != Settings.region and (doubt := _doubt_region(settings.region)):
        faults.append(f"--region: {doubt}")
    if faults:
        raise UserError.from_faults("cannot start the local AWS with these settings", faults)
    if not settings.working_directory:
        settings = replace(settings, working_directory=str(CHECKOUT))
    command = name_command("").rstrip()
    return replace(settings, jobs_directory=str(JOBS.absolute()), command=command)


def _doubt_region(name: str) -> str:
    import boto3  # noqa: PLC0415 - slow to import

    from local_test.remote import access  # noqa: PLC0415 - as above

    return access.doubt_region(boto3.Session(region_name=name))


def _start(home: Path, settings: Settings) -> tuple[installation.Running, bool]:
    """Start the local AWS; return what runs, and whether it is ours, not another shell's."""
    installation.make(home)
    log = home / "server.log"
    command = [sys.executable, "-m", "local_test.aws.process.host", str(home)]
    with log.open("ab") as file:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [*command, json.dumps(vars(settings))],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _READY_LIMIT_S
    while time.monotonic() < deadline:
        code = process.poll()
        running = installation.find_running(home)
        is_other = code == installation.ALREADY_RUNNING  # of an `up` in another shell, at once
        if running is not None and (running.pid == process.pid or is_other):
            return running, not is_other
        if code is not None and not (is_other and installation.is_running(home)):
            text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = (text or ["it logged nothing"])[-1]
            raise PlatformError(f"the local AWS did not start: {reason}; its log is {log}")
        time.sleep(0.02)
    process.terminate()
    raise PlatformError(f"the local AWS was not ready after {_READY_LIMIT_S} s; its log is {log}")


def down(
    directory: Directory = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also stop running jobs, as StopTrainingJob does.")
    ] = False,
) -> int:
    """Stop the local AWS; its data stays, and its endpoints come back with the next `up`."""
    home = find_directory(directory)
    running = installation.find_running(home)
    if running is None:
        _say(f"no local AWS is running in {home}")
        return 0
    jobs = _ask(running)["jobs"]
    if jobs and not force:
        names = ", ".join(jobs[:5])
        raise UserError(
            f"{len(jobs)} job(s) running: {names}; wait for them, or stop them with "
            f"`{name_command('down --force')}`"
        )
    os.kill(running.pid, signal.SIGTERM)
    while installation.is_running(home):
        time.sleep(0.05)
    _say(f"local AWS is down; data stays in {home}")
    return 0


def status(
    directory: Directory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON.")] = False,
) -> int:
    """Print whether the local AWS is up, and what runs in it; exit with 1 if it is down."""
    home = find_directory(directory)
    running = installation.find_running(home)
    if running is None:
        if as_json:
            print(json.dumps({"up": False, "directory": str(home)}))
        else:
            print(f"down; data in {home}")
        return 1
    facts: dict[str, Any] = {"up": True, "url": running.url, "pid": running.pid}
    facts |= {"directory": str(home), **_ask(running)}
    if as_json:
        print(json.dumps(facts))
        return 0
    print(
        f"up: {running.url}, process {running.pid}, account {facts['account']}, "
        f"region {facts['region']}"
    )
    print(f"console: {running.url}/console\ndata: {home}")
    print(f"jobs running: {', '.join(facts['jobs']) or 'none'}")
    endpoints = [f"{name} {state}" for name, state in facts["endpoints"].items()]
    print(f"endpoints: {', '.join(endpoints) or 'none'}")
    for warning in facts["warnings"]:
        print(f"warning: {warning}")
    return 0


def env(directory: Directory = None) -> int:
    """Print `export` lines that point any AWS client at the local AWS; use them with `eval`."""
    home = find_directory(directory)
    running = installation.find_running(home)
    if running is None:
        raise UserError(f"no local AWS is running in {home}; start it with `{name_command('up')}`")
    region = installation.load_settings(home).region
    variables = {
        **installation.client_environment(running.url, region, keys.load(home)),
        **installation.sdk_environment(home),
        **proxies.exempt(os.environ, *proxies.LOOPBACK),
    }
    print("unset AWS_PROFILE AWS_SESSION_TOKEN")
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def purge(
    directory: Directory = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> int:
    """Delete all data of the local AWS, which must be down: buckets, jobs, endpoints, logs."""
    home = find_directory(directory)
    if installation.is_running(home):
        raise UserError(
            f"the local AWS in {home} is running; stop it with `{name_command('down')}` first"
        )
    if not home.exists():
        _say(f"nothing to delete: {home} does not exist")
        return 0
    if not (home / "state.sqlite").exists() and any(home.iterdir()):
        raise UserError(f"{home} does not look like the data of a local AWS, so nothing is deleted")
    if not yes:
        typer.confirm(f"Delete everything in {home}?", abort=True, err=True)
    container_files.remove_tree(home)
    if home.exists():
        message = f"{home} cannot be deleted completely: some files belong to another user"
        raise PlatformError(message)
    _say(f"{home} is deleted")
    return 0


def find_directory(directory: Path | None) -> Path:
    """Return the directory of the local AWS: as given, or that of this user.

    Raises: UserError if it is or leads through a file.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    home = (directory or data / "local-aws").expanduser().absolute()
    if (file := find_file_in_the_way(home)) is not None:
        raise UserError(f"{file} is a file; name a folder with --directory or LOCAL_AWS_DIRECTORY")
    return home


def _ask(running: installation.Running) -> dict[str, Any]:
    url = f"{running.url}/console/status.json"
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - loopback
        facts: dict[str, Any] = json.load(response)
    return facts


def _say(text: str) -> None:
    print(text, file=sys.stderr)
