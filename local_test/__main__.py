"""`python -m local_test COMMAND`: SageMaker on this machine, for any image or program."""

from __future__ import annotations

import sys

from local_test import cli
from local_test.aws import commands

if __name__ == "__main__":
    commands.mount(cli.app)
    sys.exit(cli.main())
