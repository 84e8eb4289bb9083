"""`python -m container COMMAND`: imports and runs only that command.

A training job calls `train`, an endpoint or transform job `serve`. A processing job passes no
argument, which means `evaluate` (IMG-2). Any other command is the user's own, such as `bash` or
`python check.py`, and replaces this process (IMG-3).
"""

import importlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence

from container import contract

_DEVELOPER_COMMANDS = {
    "init": "container.developer.init",
    "doctor": "container.developer.doctor.command",
    "describe": "container.developer.describe",
}

USAGE = """usage: python -m container train | evaluate | serve | init | doctor | describe

  train     train on the channels in input/data, evaluate, and write the artifact to model/
  evaluate  score the artifact on a labeled test set; write metrics.json and report.html
  serve     answer GET /ping and POST /invocations on port 8080
  init      write a minimal project that trains and serves
  doctor    report what is wrong with a project, a model archive, a Dockerfile or an image
  describe  print an algorithm's hyperparameters, metrics, tuning ranges or CreateAlgorithm request

All paths are below /opt/ml, or below SAGEMAKER_BASE_DIR if that is set.
"""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command and return its exit code."""
    layout = contract.Layout.from_environ(environ)
    command = argv[0] if argv else ""
    if _asks_for_help(argv):
        print(USAGE, end="")
        return 0
    if not argv and layout.processing_job_config.exists():
        command = "evaluate"
    if command == "train":
        from container.training.termination import StopRequest

        stop = StopRequest()  # before a job's imports, which take seconds
        from container.training import main as training

        return training.main(layout, environ, stop)
    if command == "evaluate":
        from container.evaluation import job as evaluation

        return evaluation.main(layout, environ, argv[1:])
    if command == "serve":
        from container.serving import server

        return server.main(layout, environ)
    if command in _DEVELOPER_COMMANDS:
        if "" in argv:
            sys.exit(f"{command}: a path is empty; name one, such as .")
        module = importlib.import_module(_DEVELOPER_COMMANDS[command])
        return int(module.main(argv[1:]))
    if shutil.which(command):
        os.execvpe(command, list(argv), dict(environ))  # noqa: S606 - the user's own command
    if command:
        print(_describe_unknown(command), file=sys.stderr)
    else:
        print(USAGE, end="", file=sys.stderr)
    return 2


def _describe_unknown(command: str) -> str:
    import difflib

    near = difflib.get_close_matches(command, ("train", "evaluate", "serve", *_DEVELOPER_COMMANDS))
    hint = "`python -m container --help` lists the commands"
    if near:
        hint = f"did you mean {near[0]!r}?"
    return f"{command!r} is neither a command of this program nor an executable on PATH; {hint}"


def _asks_for_help(argv: Sequence[str]) -> bool:
    first, *rest = argv or [""]
    if first in ("train", "serve"):  # they have no options of their own
        return not {"-h", "--help"}.isdisjoint(rest)
    return first in ("-h", "--help", "help")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
