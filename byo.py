"""The command `byo`: one name for `python -m local_test` and the developer's half of `container`.

Rules of this file: it parses nothing and imports only the side that has the command, so that
`byo --help` answers at once.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import re
import sys
from typing import Final

DEVELOPER_COMMANDS: Final = ("init", "doctor", "describe")
USAGE: Final = """usage: byo COMMAND [OPTIONS]; byo COMMAND --help explains one

a project:
  init       write the smallest project that trains and serves
  doctor     report what is wrong with a project, a model archive, a Dockerfile or an image
  describe   print an algorithm's hyperparameters, metrics and tuning ranges
  smoke      train, evaluate, serve, invoke and stop, once

SageMaker on this machine, for a program or an --image:
  train      run a training job
  evaluate   evaluate a model in a processing job
  serve      serve a model until Ctrl-C
  invoke     send one request to an endpoint that serve started
  transform  run a batch transform job
  runs       list jobs and their metrics, and compare some of them
  conform    check a container against SageMaker's contract

the AWS API on localhost (the extra aws):
  up         start it
  env        print the variables that point any AWS client at it
  status     print whether it is up, and what runs in it
  down       stop it; its data stays
  purge      delete its data

your AWS account: train, evaluate, transform and serve with --on aws, and
  tune       run a tuning job with --on aws
  aws        list, stop and delete what --on aws created; check the account; make the role

tables:
  fields     print what happens to each request field: emulated, without effect or refused
  operations print which operations the local AWS executes, records or refuses
"""


def main() -> int:
    """Run the command; return the exit code."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in ("", "-h", "--help", "help"):
        print(USAGE, end="", file=sys.stdout if command else sys.stderr)
        return 0 if command else 2
    if command == "--version":
        print(importlib.metadata.version("byo-sagemaker"))
        return 0
    names = re.findall(r"^  (\w+) ", USAGE, re.MULTILINE)
    if command not in (*names, "demo") and not command.startswith("-"):
        near = difflib.get_close_matches(command, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`byo --help` lists the commands"
        print(f"error: unknown command {command!r}; {hint}", file=sys.stderr)
        return 2
    if command in DEVELOPER_COMMANDS:
        from container import __main__ as container  # noqa: PLC0415 - see the rules

        return container.main(sys.argv[1:], os.environ)
    from local_test import __main__ as local_test  # noqa: PLC0415 - see the rules

    return local_test.main()


if __name__ == "__main__":
    sys.exit(main())
