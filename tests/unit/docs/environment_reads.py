"""Which environment variables the sources read, found by parsing them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import ROOT

FOLDERS = ("container", "local_test", "docker")
READER_METHODS = {"integer", "choice", "flag", "media_type"}
"""Of settings and variables: the first argument is the name of one, or its names."""
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")
REQUEST_KEYS = re.compile(
    r"HTTP_.*|CONTENT_(TYPE|LENGTH)|REQUEST_(METHOD|URI)|PATH_INFO|QUERY_STRING|REMOTE_ADDR"
)
"""A WSGI request is called `environ` too."""
SHELL_OWN = {"BASH_SOURCE", "EUID", "HOME", "PATH", "PWD"}


def find_reads() -> dict[str, set[str]]:
    """Map each variable to the files that read it, relative to the repository."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in _list_modules()}
    constants: dict[str, ast.expr] = {}
    for tree in trees.values():
        constants |= _find_constants(tree)
    reads: dict[str, set[str]] = {}
    for path, tree in trees.items():
        names = _Reads({**constants, **_find_constants(tree)}).find(tree)
        for name in names:
            reads.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    for path in _list_scripts():
        for name in _find_shell_reads(path.read_text(encoding="utf-8")):
            reads.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return reads


def _list_modules() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if "templates" not in path.parts:  # programs of a user
                yield path


def _list_scripts() -> Iterator[Path]:
    for folder in ("", "docker", "local_test", "scripts", "tests", ".ci"):
        for path in (ROOT / folder).iterdir():
            if path.is_file() and path.suffix in ("", ".sh"):
                with path.open("rb") as file:
                    if file.readline().endswith(b"bash\n"):
                        yield path


def _find_constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Find the assignments at the top of a module."""
    constants: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            constants[node.target.id] = node.value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            constants[node.targets[0].id] = node.value
    return constants


class _Reads(ast.NodeVisitor):
    def __init__(self, constants: dict[str, ast.expr]) -> None:
        self._values = dict(constants)
        self._found: set[str] = set()

    def find(self, tree: ast.Module) -> set[str]:
        for node in ast.walk(tree):
            if isinstance(node, (ast.For, ast.comprehension)):
                self._bind(node.target, node.iter)
            elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Tuple, ast.List)):
                self._bind(node.targets[0], node.value)
        self.visit(tree)
        names = {name for name in self._found if VARIABLE.fullmatch(name)}
        return {name for name in names if not REQUEST_KEYS.fullmatch(name)}

    def _bind(self, target: ast.expr, values: ast.expr) -> None:
        """Remember what the variables of a loop may be."""
        if isinstance(target, ast.Name):
            self._values[target.id] = values
        elif isinstance(target, ast.Tuple) and isinstance(values, (ast.Tuple, ast.List)):
            rows = [row.elts for row in values.elts if isinstance(row, ast.Tuple)]
            for name, column in zip(target.elts, zip(*rows, strict=False), strict=False):
                self._bind(name, ast.Tuple(list(column), ast.Load()))

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if _is_environ(node.value) and isinstance(node.ctx, ast.Load):
            self._add(node.slice)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if isinstance(node.ops[0], (ast.In, ast.NotIn)) and _is_environ(node.comparators[0]):
            self._add(node.left)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute) and node.args:
            is_read = function.attr in ("get", "setdefault") and _is_environ(function.value)
            is_setting = (
                function.attr in READER_METHODS
                and isinstance(function.value, ast.Name)
                and function.value.id in ("reader", "variables")
            )
            if is_read or is_setting or function.attr == "getenv":
                self._add(node.args[0])
        self.generic_visit(node)

    def _add(self, node: ast.expr, depth: int = 0) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self._found.add(node.value)
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            for item in node.elts:
                self._add(item, depth)
        elif isinstance(node, (ast.Name, ast.Attribute)) and depth < 4:
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name in self._values:
                self._add(self._values[name], depth + 1)


def _is_environ(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name.strip("_") == "environ"


def _find_shell_reads(text: str) -> set[str]:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    read = set(re.findall(r"(?<!\\)\$\{?([A-Z][A-Z0-9_]+)", code))
    assigned = set(
        re.findall(r"^\s*(?:export\s+)?([A-Z][A-Z0-9_]+)=(?!.*\$\{\1)", code, re.MULTILINE)
    )
    return read - assigned - SHELL_OWN
