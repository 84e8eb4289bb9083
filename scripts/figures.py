"""Measure the size and density of the source code, and fail when a figure grows beyond its limit.

    usage: python scripts/figures.py [--functions] [FOLDER ...]

Without FOLDER, the figures of all source code are compared with the limits below; run by
scripts/lint. With FOLDER, the figures of these folders are printed and nothing is compared.
--functions lists the functions that are too complex, and the modules that are too long.

Complexity is counted as radon does: one for the function, and one for each branch, loop,
exception handler, conditional expression, operand of `and` or `or` after the first, and loop or
condition of a comprehension. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("container", "local_test", "docker")
LIMITS = {
    "lines": 72_950,
    "modules over 300 lines": 7,
    "modules over 400 lines": 0,
    "modules in the largest folder": 12,
    "functions over complexity 12": 0,
    "functions with more than 6 parameters": 0,
    "conditional expressions per 1,000 lines": 9.0,
    "noqa without a reason": 0,
    "lines over 100 columns": 0,
}
"""The figures of today. Lower a limit when its figure falls; never raise one."""
TABLES = {"container/contract.py", "local_test/requests/treatments.py"}
"""Modules that are mostly one table; their length is not counted against them."""
COMPLEXITY = 12
PARAMETERS = 6

_BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.Assert,
    ast.match_case,
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Figures:
    """What was counted."""

    lines: int = 0
    conditionals: int = 0
    bare_noqas: int = 0
    long_lines: int = 0
    long_modules: list[tuple[int, str]] = field(default_factory=list)
    complex_functions: list[tuple[int, str]] = field(default_factory=list)
    crowded_functions: list[tuple[int, str]] = field(default_factory=list)
    modules_by_folder: dict[Path, int] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Count one module."""
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT).as_posix()
        lines = text.splitlines()
        tree = ast.parse(text)
        self.lines += len(lines)
        self.long_lines += sum(len(line) > 100 for line in lines)
        self.bare_noqas += len(
            re.findall(r"# noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*\s*$", text, re.MULTILINE)
        )
        self.conditionals += sum(isinstance(node, ast.IfExp) for node in ast.walk(tree))
        self.modules_by_folder[path.parent] = self.modules_by_folder.get(path.parent, 0) + (
            path.name != "__init__.py"
        )
        if len(lines) > 300 and name not in TABLES:
            self.long_modules.append((len(lines), name))
        for node in ast.walk(tree):
            if isinstance(node, _FUNCTIONS):
                self._add_function(node, f"{name}:{node.lineno} {node.name}")

    def _add_function(self, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> None:
        complexity = count_complexity(function)
        if complexity > COMPLEXITY:
            self.complex_functions.append((complexity, name))
        arguments = function.args
        names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        count = sum(argument.arg not in ("self", "cls") for argument in names)
        if count > PARAMETERS:
            self.crowded_functions.append((count, name))

    def summarize(self) -> dict[str, float]:
        """Return each figure by its name in `LIMITS`."""
        return {
            "lines": self.lines,
            "modules over 300 lines": len(self.long_modules),
            "modules over 400 lines": sum(count > 400 for count, _ in self.long_modules),
            "modules in the largest folder": max(self.modules_by_folder.values()),
            "functions over complexity 12": len(self.complex_functions),
            "functions with more than 6 parameters": len(self.crowded_functions),
            "conditional expressions per 1,000 lines": round(
                1000 * self.conditionals / self.lines, 1
            ),
            "noqa without a reason": self.bare_noqas,
            "lines over 100 columns": self.long_lines,
        }


def count_complexity(function: ast.AST) -> int:
    """Count the paths through a function, without those of functions inside it."""
    return 1 + sum(_count_decisions(node) for node in _walk_own(function))


def _walk_own(function: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node
            yield from _walk_own(node)


def _count_decisions(node: ast.AST) -> int:
    if isinstance(node, _BRANCHES):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return 0


def measure(folders: Sequence[str]) -> Figures:
    """Measure every module below these folders of the repository."""
    figures = Figures()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            figures.add(path)
    return figures


def main() -> int:
    """Print the figures and return 1 if one is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    parser.add_argument("--functions", action="store_true", help="list what is too long or complex")
    options = parser.parse_args()
    figures = measure(options.folders or SOURCES)
    if options.functions:
        for title in ("complex_functions", "crowded_functions", "long_modules"):
            print(title.replace("_", " "))
            for count, name in sorted(getattr(figures, title), reverse=True):
                print(f"{count:6} {name}")
    failed = False
    for name, value in figures.summarize().items():
        is_over = not options.folders and value > LIMITS[name]
        failed = failed or is_over
        print(
            f"{value:10,} {name}" + (f"  <-- over its limit, {LIMITS[name]:,}" if is_over else "")
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
