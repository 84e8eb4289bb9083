"""Examines a directory of user code: its program, scripts, requirements and handlers."""

import ast
import codecs
import importlib.util
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from container import algorithm
from container.developer.doctor.finding import Finding
from container.errors import UserError
from container.serving.user_code import handler_rules
from container.training.user_script import find
from container.user_packages import required_packages
from container.user_packages.import_advice import APT_LIST
from container.user_packages.lists import encoded_text, requirement_files

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
# Source: Debian Policy, 5.6.1 and 5.6.12; `:amd64` and `/trixie` are apt-get's.
_SYSTEM_PACKAGE: Final = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?([=/][\w.+~:-]+)?")
_LINE_BYTES_MAXIMUM: Final = 1 << 16
_MAY_HANDLE: Final = re.compile(rf"import \*|class |\b({'|'.join(handler_rules.FUNCTIONS)})\b")
_FUNCTION_KINDS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def examine(code: Path, *, has_program: bool = False) -> Iterator[Finding]:
    """Examine a code directory; with `has_program`, one with `train` or `serve` of its own."""
    program = find.find_default(code)
    if program:
        text = f"{code / program} trains if the code is sent as the channel 'code' or is in"
        yield Finding("note", f"{text} /opt/ml/code")
    elif not has_program and not (code / "inference.py").is_file():
        text = f"{code} holds none of {', '.join(find.DEFAULT_PROGRAMS)}"
        yield Finding("warning", f"{text}: name the program with SAGEMAKER_PROGRAM")
    for path in sorted(filter(Path.is_file, code.rglob("*.sh"))):
        yield from _examine_shell_script(path)
    lists, findings = _examine_lists(code)
    yield from findings
    if (code / APT_LIST).is_file():
        yield from _examine_system_packages(code / APT_LIST)
    modules = sorted(filter(Path.is_file, code.rglob("*.py")))
    local = {path.stem for path in modules}
    local |= {path.name for path in filter(Path.is_dir, code.rglob("*"))}
    for path in modules:
        yield from _examine_module(path, local, has_requirements=bool(lists))


def _examine_lists(code: Path) -> tuple[list[str], list[Finding]]:
    """Return the lists of packages that would be installed, and what is wrong with them."""
    try:
        lists = requirement_files.check(code)
        foreign = requirement_files.list_foreign(code)
        if lists == [requirement_files.PROJECT]:
            required_packages.check_sources(code)
    except UserError as error:
        return [requirement_files.REQUIREMENTS], [Finding("error", str(error))]
    findings = [Finding("warning", f"{code}: {sentence}") for sentence in foreign]
    if lists and not required_packages.find_wheel_directories(code):
        text = (
            f"{code / lists[0]} needs a network when training starts, and is not installed for "
            "serving; install the packages in an image, or put their wheels into"
        )
        findings.append(Finding("warning", f"{text} {code / 'wheels'} [TRIP-27]"))
    return lists, findings


def _examine_system_packages(path: Path) -> Iterator[Finding]:
    """Examine the names that the Dockerfile of `init` gives to apt-get."""
    try:
        lines = encoded_text.read_text(path).splitlines()
    except (OSError, ValueError) as error:
        yield Finding("error", f"{path} cannot be read: {error}; save it as UTF-8")
        return
    names = [name for line in lines for name in line.partition("#")[0].split()]
    wrong = [name for name in names if not _SYSTEM_PACKAGE.fullmatch(name)]
    if wrong:
        text = f"{path} lists {', '.join(map(repr, wrong[:5]))}, which no Debian package is called"
        yield Finding("error", f"{text}; write one name a line, such as libgl1 or libgl1=1.7.0-1")


def _examine_shell_script(path: Path) -> Iterator[Finding]:
    with path.open("rb") as file:
        first_line = file.readline(_LINE_BYTES_MAXIMUM).removesuffix(b"\n")
    if first_line.endswith(b"\r"):
        text = f"{path} has Windows line ends, which no shell runs; save it with LF line ends"
        yield Finding("error", f"{text} [IMG-13, TRIP-2]")
    elif not first_line.startswith(b"#!"):
        text = f"{path} does not begin with #!: /bin/sh will run it"
        if first_line.startswith(codecs.BOM_UTF8):
            text = f"{path} begins with a byte order mark, so /bin/sh will run it"
        yield Finding("warning", text)


def _examine_module(path: Path, local: set[str], *, has_requirements: bool) -> Iterator[Finding]:
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        reason = str(error) or "it is nested too deep"
        yield Finding("error", f"{path} is not valid Python {version}: {reason}")
        return
    missing = sorted(itertools.filterfalse(_is_installed, _list_imports(tree) - local))
    if missing and not has_requirements:
        text = f"{path} imports {', '.join(missing)}: not installed here, nor in a requirements.txt"
        yield Finding("warning", f"{text}; list what the image does not install")
    functions = {node.name: node for node in tree.body if isinstance(node, _FUNCTION_KINDS)}
    if path.name == "inference.py":
        yield from _examine_handlers(path, functions)
        if not _MAY_HANDLE.search(path.read_text("utf-8", "replace")):
            expected = ", ".join(handler_rules.FUNCTIONS)
            yield Finding("warning", f"{path} defines no handler; expected one of {expected}")
    names = {getattr(node, "name", "") for node in tree.body}
    if path.name == algorithm.FILE_NAME and "train" not in names:
        yield Finding("error", f"{path} has no function train(job)")


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module that was not imported, such as __main__
        return name in sys.modules


def _list_imports(tree: ast.Module) -> set[str]:
    """Return the top-level packages that a module imports when it is loaded."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def _examine_handlers(path: Path, functions: dict[str, _Function]) -> Iterator[Finding]:
    faults = handler_rules.find_contradictions(functions) + handler_rules.find_misspelt(functions)
    for fault in faults:
        yield Finding("error", f"{path}: {fault}")
    stream = functions.get(handler_rules.STREAM_FUNCTION)
    if stream is not None and not _is_asynchronous_generator(stream):
        yield Finding("error", f"{path}:{stream.lineno}: {handler_rules.WRONG_STREAM}")
    for name in functions.keys() & set(handler_rules.FUNCTIONS):
        arguments = functions[name].args
        taken = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
        fault = handler_rules.find_wrong_count(name, taken)
        if fault:
            yield Finding("error", f"{path}:{functions[name].lineno}: {fault}")


def _is_asynchronous_generator(function: _Function) -> bool:
    is_generator = any(isinstance(node, ast.Yield) for node in ast.walk(function))
    return isinstance(function, ast.AsyncFunctionDef) and is_generator
