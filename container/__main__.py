"""`python -m container COMMAND`: reads the command, then imports that command alone.

A training job calls `train`, an endpoint or transform job `serve`; a processing job gives no
argument (IMG-2), and
`evaluate` is then meant. Any other command is the user's own (`bash`, `python check.py`, IMG-3) and
replaces this process.
"""

from __future__ import annotations

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
  evaluate  score the artifact on a labeled test set and write metrics.json and report.html
  serve     answer GET /ping and POST /invocations on port 8080
  init      write the smallest project that trains and serves: a script, a typed algorithm or a shell script
  doctor    say what is wrong with a project, a model archive, a Dockerfile or an image before it is pushed
  describe  print hyperparameters, metrics, tuning ranges or the CreateAlgorithm request of an algorithm

All paths lie below /opt/ml, or below SAGEMAKER_BASE_DIR where that is set.
"""


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command and give its exit code."""
    layout = contract.Layout.from_environ(environ)
    command = argv[0] if argv else ("evaluate" if layout.processing_job_config.exists() else "")
    if command == "train":
        from container.training.termination import StopRequest

        stop = StopRequest()  # before the imports of a job, which take their time
        from container.training import bundled as training

        return training.main(layout, environ, stop)
    if command == "evaluate":
        from container.evaluation import job as evaluation

        return evaluation.main(layout, environ, argv[1:])
    if command == "serve":
        from container.serving import server

        return server.main(layout, environ)
    if command in _DEVELOPER_COMMANDS:
        module = importlib.import_module(_DEVELOPER_COMMANDS[command])
        return int(module.main(argv[1:]))
    if shutil.which(command):
        os.execvpe(command, list(argv), dict(environ))  # noqa: S606 - a container's own command, no shell wanted
    asked_for_help = command in ("-h", "--help", "help")
    if command and not asked_for_help:
        print(
            f"{command!r} is neither a command of this program nor an executable on PATH",
            file=sys.stderr,
        )
    print(USAGE, end="", file=sys.stdout if asked_for_help else sys.stderr)
    return 0 if asked_for_help else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
