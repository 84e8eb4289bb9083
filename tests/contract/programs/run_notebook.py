"""Runs a notebook and prints what its cells print: `python run_notebook.py FILE OPTION...`, its script's options."""

import sys

import nbclient
import nbformat

path, *options = sys.argv[1:]
notebook = nbformat.read(path, 4)
nbformat.validate(notebook)
for cell in notebook.cells:
    cell.source = cell.source.replace('["--data", "."]', repr(options))
nbclient.NotebookClient(notebook, timeout=600).execute()
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        print(output.get("text", ""), end="")
