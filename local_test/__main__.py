"""`python -m local_test COMMAND`: SageMaker on this machine, for any image or program."""

from __future__ import annotations

import sys

from local_test.cli import aws_commands, commands

if __name__ == "__main__":
    aws_commands.mount(commands.app)
    sys.exit(commands.main())
