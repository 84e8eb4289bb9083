"""Finds lists of packages that are not installed, and says how to make one that is.

Rules of this file: standard library only; it reads names, and `pyproject.toml`.
"""

from pathlib import Path
from typing import Final

from container.user_packages.lists import encoded_text
from container.user_packages.lists.toml_files import Table

_CONDA: Final = "list what your code needs from PyPI in requirements.txt (the image has no conda)"
_PIPENV: Final = "run pipenv requirements > requirements.txt"
_POETRY: Final = "run poetry export -o requirements.txt (poetry-plugin-export)"
_COMPILE: Final = "run uv pip compile {name} -o requirements.txt"
_ADVICE: Final = {
    "Pipfile.lock": _PIPENV,
    "Pipfile": _PIPENV,
    "poetry.lock": _POETRY,
    "pdm.lock": "run pdm export -o requirements.txt",
    "uv.lock": "run uv export --format pylock.toml -o pylock.toml in its project",
    "pixi.toml": _CONDA,
    "environment.yml": _CONDA,
    "environment.yaml": _CONDA,
    "conda.yml": _CONDA,
    "conda.yaml": _CONDA,
    "conda-lock.yml": _CONDA,
    "requirements.in": _COMPILE,
}
_BUILT: Final = ("setup.py", "setup.cfg")


def find(code: Path, project: Table) -> list[str]:
    """Return a sentence for each list in `code` that is not installed; `project` is pyproject.toml.

    For code in which no list is found that is installed.

    Raises: UserError if a value of `project` has an unexpected type.
    """
    advice = {name: _ADVICE[name] for name in _ADVICE if (code / name).is_file()}
    advice |= _read_project(project)
    advice |= _find_named_otherwise(code)
    return [f"{name} is not installed; {text.format(name=name)}" for name, text in advice.items()]


def _read_project(project: Table) -> dict[str, str]:
    """Map the ways in which `pyproject.toml` leaves its dependencies elsewhere to the advice."""
    advice = {}
    if "dependencies" in project.table("project").texts("dynamic"):
        advice["pyproject.toml (dynamic dependencies)"] = _COMPILE.format(name="pyproject.toml")
    if "dependencies" in project.table("tool").table("poetry"):
        advice["pyproject.toml (tool.poetry)"] = _POETRY
    return advice


def _find_named_otherwise(code: Path) -> dict[str, str]:
    """Map files that another name or tool would make a list to the advice."""
    advice = {}
    for name in _BUILT:
        if _lists_packages(code / name):
            advice[name] = _COMPILE
    for path in sorted(code.glob("pylock.?*.toml")):
        advice[path.name] = "rename it to pylock.toml"
    for path in sorted([*code.glob("[Rr]equirements?*.txt"), *code.glob("requirements/*.txt")]):
        name = path.relative_to(code).as_posix()
        advice[name] = f"name it in requirements.txt, by the line -r {name}"
    return advice


def _lists_packages(path: Path) -> bool:
    """Return whether a build script that can be read lists packages."""
    try:
        return "install_requires" in encoded_text.read_text(path, errors="replace")
    except (OSError, ValueError):
        return False
