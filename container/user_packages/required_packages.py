"""Plans the installation of the packages that user code lists, and explains its failures.

Rules of this file: standard library only; it composes commands and runs nothing.
"""

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from container import contract
from container.errors import UserError
from container.user_packages import versions
from container.user_packages.job_environment import JobEnvironment
from container.user_packages.lists import locks, requirement_files
from container.user_packages.lists.requirement_files import normalize

WHEEL_DIRECTORIES: Final = (".", "wheels", "wheelhouse")
_TRANSLATED: Final = "listed.txt"
_CONSTRAINTS: Final = "constraints.txt"
_REPOSITORY: Final = re.compile(r"(?:^|[\s@])(git|hg|svn|bzr)\+(?:[a-z]+\+)?(ssh)?")
_REPOSITORY_ADVICE: Final = (
    "this image has no {program}; name an archive instead (NAME @ "
    "https://github.com/OWNER/NAME/archive/COMMIT.tar.gz), put the package's wheel into wheels/, "
    "or install {program} in your image"
)
_ROUTES: Final = ("HTTPS_PROXY", "https_proxy", "PIP_INDEX_URL", "PIP_PROXY")
"""By which pip finds its index behind a company's firewall."""
_PIP: Final = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check")


def find_wheel_directories(code: Path) -> list[str]:
    """Return the directories of `code` that hold wheels."""
    return [directory for directory in WHEEL_DIRECTORIES if any((code / directory).glob("*.whl"))]


def is_needed(code: Path, *, is_package: bool = False) -> bool:
    """Return whether there is anything to install.

    Raises: UserError if a file that lists packages cannot be read.
    """
    return is_package or bool(requirement_files.list_files(code))


def plan_installation(
    code: Path,
    environ: Mapping[str, str],
    environment: JobEnvironment,
    *,
    is_package: bool = False,
    keeps_ours: bool = False,
) -> list[str]:
    """Compose the pip command for everything that `code` lists, to be run in `code`.

    With `keeps_ours`, a version other than ours is a conflict: for code that shares our process.
    Files of pip's own are written into the directory of `environment`.

    Raises: UserError if a file cannot be read, or needs what the image lacks.
    """
    chosen, ignored = requirement_files.choose_files(code)
    if ignored:
        names = ", ".join(ignored)
        print(f"{names} not installed: {' and '.join(chosen)} comes first", flush=True)
    _refuse_repositories(code, chosen, environ)
    if is_package or requirement_files.PROJECT in chosen:
        check_sources(code)
    command = [environment.python, *_PIP, "--root-user-action=ignore"]
    command += _choose_source(code, environ, is_package=is_package)
    pins = locks.list_pins(code)
    if keeps_ours:
        pins += list_own_versions()
    if pins:
        constraints = environment.directory / _CONSTRAINTS
        constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
        command += ["-c", str(constraints)]
    return command + list(_name_targets(code, chosen, environment, is_package=is_package))


def _choose_source(code: Path, environ: Mapping[str, str], *, is_package: bool) -> list[str]:
    """Return pip's options for where packages come from."""
    wheels = find_wheel_directories(code)
    options = []
    if wheels:  # TRIP-27
        options += ["--no-index", *(f"--find-links={directory}" for directory in wheels)]
    elif is_isolated(environ):  # packages that the image has need no network
        options += ["--retries=0", "--timeout=5"]
    if is_package and (wheels or is_isolated(environ)):
        options.append("--no-build-isolation")
    return options


def _name_targets(
    code: Path, chosen: Sequence[str], environment: JobEnvironment, *, is_package: bool
) -> Iterator[str]:
    if is_package:
        yield "."
    for name in chosen:
        if requirement_files.is_list(name):
            yield from ("-r", name)
        elif not (is_package and name == requirement_files.PROJECT):
            translated = environment.directory / _TRANSLATED
            lines = requirement_files.list_requirements(code, name)
            texts = [line.text for line in lines]
            translated.write_text("\n".join(texts) + "\n", encoding="utf-8")
            yield from ("-r", str(translated))


def list_own_versions() -> list[str]:
    """Return the packages of our own environment as constraints; local builds match any build.

    If one is installed twice, the first on the path counts, which is the one that is imported.
    """
    found: dict[str, str] = {}
    for name, version in versions.list_installed(sys.path):
        found.setdefault(normalize(name), version.partition("+")[0])
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def check_sources(code: Path) -> None:
    """Refuse a project without wheels whose packages pip would look for in the wrong place.

    Raises: UserError that names them.
    """
    elsewhere = requirement_files.list_elsewhere(code)
    if elsewhere and not find_wheel_directories(code):
        raise UserError(
            f"{code / requirement_files.PROJECT}: its table tool says where {', '.join(elsewhere)} "
            "comes from, which pip does not read; write NAME @ URL into dependencies, or put its "
            "wheel into wheels/"
        )


def _refuse_repositories(code: Path, chosen: Sequence[str], environ: Mapping[str, str]) -> None:
    for name in chosen:
        for line in requirement_files.list_requirements(code, name):
            found = _REPOSITORY.search(line.text)
            if not found or line.is_constraint or not line.applies():
                continue
            for program in filter(None, found.groups()):
                if not shutil.which(program, path=environ.get("PATH")):
                    advice = _REPOSITORY_ADVICE.format(program=program)
                    raise UserError(f"{line.path}: {line.text!r}: {advice}")


def is_isolated(environ: Mapping[str, str], routes: Path = Path("/proc/net/route")) -> bool:
    """Return whether there is probably no network (SEC-1).

    That is, no route, or a platform job without credentials.
    """
    with contextlib.suppress(OSError):
        if len(routes.read_text(encoding="ascii").splitlines()) <= 1:
            return True
    on_platform = bool(environ.get(contract.TRAINING_JOB_ARN_VARIABLE))
    return on_platform and not any(environ.get(name) for name in contract.CREDENTIALS_VARIABLES)


def explain_failure(code: Path, environ: Mapping[str, str], output: str) -> str:
    """Explain what to do after an installation failed, by what pip wrote."""
    lacking = re.search(r"Cannot find command '(\w+)'", output)
    if lacking:
        advice = _REPOSITORY_ADVICE.format(program=lacking[1])
        return f"a package comes from a repository: {advice}"
    if "after connection broken by" in output and not is_isolated(environ):
        return _explain_unreached_index(environ)
    differing = list_differences(code)
    if differing:
        return f"asked for, and in this image: {'; '.join(differing)}"
    if is_isolated(environ):
        return (
            "this job has no network (EnableNetworkIsolation?): bake the packages into the image, "
            "or put their wheels beside requirements.txt or into wheels/"
        )
    return f"{' and '.join(requirement_files.choose_files(code)[0])} could not be installed"


def _explain_unreached_index(environ: Mapping[str, str]) -> str:
    named = [name for name in _ROUTES if environ.get(name)]
    if named:
        return f"pip did not reach its index; check {' and '.join(named)}"
    return (
        "pip did not reach its index, and this container has no variables for a proxy or a private "
        "index: add HTTPS_PROXY or PIP_INDEX_URL to the job's Environment (local_test: -e "
        "NAME=VALUE), or put wheels into wheels/"
    )


def list_differences(code: Path) -> list[str]:
    """Name both sides of every requirement that our own environment does not satisfy.

    Such as `flask==0.0.1 against flask 3.1.2`; packages that are not installed here are left out.
    """
    lines = []
    for name in requirement_files.choose_files(code)[0]:
        lines += [one for one in requirement_files.list_requirements(code, name) if one.applies()]
    parsed = [(line, line.parse()) for line in lines]
    asked_for = {normalize(each.name) for line, each in parsed if each and not line.is_constraint}
    differing = []
    for _, requirement in parsed:
        if requirement is None or normalize(requirement.name) not in asked_for:
            continue
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(requirement.name)
            if not requirement.specifier.contains(version, prereleases=True):
                shown = f"{requirement.name}{requirement.specifier}"
                differing.append(f"{shown} against {requirement.name} {version}")
    return differing
