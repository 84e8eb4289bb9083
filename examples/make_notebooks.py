"""Makes the notebooks of the walk-throughs from the scripts: a cell for each step, the same code.

    python examples/make_notebooks.py

The scripts are what is edited; a test holds the notebooks to them.
"""

import ast
import json
import re
import textwrap
from pathlib import Path
from typing import Any

SETUP = """\
This notebook is `{script}`, a cell for each step. It runs on AWS and on the local AWS; only the environment differs.
For the local one, start Jupyter in a shell that has run

```bash
python -m local_test up
eval "$(python -m local_test env)"
```"""


def main() -> None:
    """Write a notebook beside each walk-through."""
    for script in sorted(Path(__file__).parent.glob("mnist_walkthrough_*.py")):
        script.with_suffix(".ipynb").write_text(make_notebook(script), encoding="utf-8")


def make_notebook(script: Path) -> str:
    """Give the notebook of a script: its imports and functions, its options, and the steps that its `main` prints."""
    source = script.read_text(encoding="utf-8")
    tree = ast.parse(source)
    walk = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"
    )
    title, _, rest = (ast.get_docstring(tree) or "").partition("\n")
    data = "The data are" + rest.partition("DIRECTORY holds")[2]
    cells = [_text(f"# {title}\n\n{SETUP.format(script=script.name)}\n\n{data}")]
    lines = source.splitlines()
    start = (ast.get_docstring(tree, clean=False) or "").count("\n") + 1
    head = "\n".join(lines[start : walk.lineno - 1])
    tail = "\n".join(lines[walk.end_lineno or 0 :]).partition('\n\nif __name__ == "__main__":')[0]
    cells.append(_code(head.strip() + "\n\n\n" + tail.strip()))
    cells.append(_text("The options are those of the script's command line; change them here."))
    body = lines[walk.body[1].lineno - 1 : walk.end_lineno]
    step: list[str] = []
    for line in body:
        heading = re.fullmatch(r'    print\("(\d+\. .*)"\)', line)
        if heading:
            cells += [_code(_dedent(step)), _text(f"## {heading[1].capitalize()}")]
            step = []
        else:
            step.append(line)
    cells.append(_code(_dedent(step)))
    document = {
        "cells": [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1) + "\n"


def _dedent(lines: list[str]) -> str:
    code = textwrap.dedent("\n".join(lines)).strip()
    return code.replace("parse_options()", 'parse_options(["--data", "."])')


def _code(source: str) -> dict[str, Any]:
    source = re.sub(r"  # noqa.*", "", source)
    return {**_text(source), "cell_type": "code", "execution_count": None, "outputs": []}


def _text(source: str) -> dict[str, Any]:
    return {
        "cell_type": "markdown",
        "metadata": {},
        "source": source.strip().splitlines(keepends=True),
    }


if __name__ == "__main__":
    main()
