"""The options that send a command's request to an account instead of this machine."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import typer

from container.errors import UserError
from local_test.cli import terminal
from local_test.cli.options import OWN_PROGRAM, ContainerOptions, flag, option
from local_test.remote import access
from local_test.remote.access import Account

_PLACES: Final = ("local", "aws")


@dataclass(frozen=True)
class AccountOptions:
    """Which account, and whether to ask."""

    profile: str | None = option(None, "Profile in the AWS configuration.")
    region: str | None = option(None, "AWS region; by default the region of the profile.")
    yes: bool = flag("Do not ask for confirmation.", "--yes")

    def connect(self) -> Account:
        """Find the account of the credentials."""
        return access.find_account(self.profile, self.region)

    def confirm(self, question: str) -> None:
        """Ask, unless --yes is given.

        Raises: UserError if nobody can be asked; typer.Abort if the answer is no.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UserError(f"{question} Nobody can be asked here; add --yes")
        typer.confirm(question, abort=True, err=True)


@dataclass(frozen=True)
class RemoteOptions(AccountOptions):
    """Where a command runs."""

    on: str = option("local", "Where to run: local, or aws for your account.")
    role: str | None = option(
        None, f"With --on aws, name or ARN of the execution role; by default {access.ROLE_NAME}."
    )
    detach: bool = flag("With --on aws, start the job or endpoint and return.", "--detach")

    @property
    def is_wanted(self) -> bool:
        """Whether the command runs on AWS.

        Raises: UserError if `--on` is unknown, or a local run is given options of AWS.
        """
        if self.on not in _PLACES:
            raise UserError(f"--on {self.on!r}: choose one of {', '.join(_PLACES)}")
        if self.on == "local":
            given = {
                "--profile": self.profile,
                "--region": self.region,
                "--role": self.role,
                "--detach": self.detach,
                "--yes": self.yes,
            }
            _refuse(given, "need --on aws")
        return self.on == "aws"

    def refuse(self, container: ContainerOptions, others: Mapping[str, Any]) -> None:
        """Refuse the options that have a meaning only on this machine.

        Raises: UserError that names them.
        """
        given = {
            "--program": container.program != OWN_PROGRAM,
            "--base-dir": container.base_dir,
            "--memory": container.memory,
            "--shm-size": container.shm_size,
            "--gpus": container.gpus,
            **others,
        }
        _refuse(given, "have no meaning with --on aws")


def _refuse(options: Mapping[str, Any], reason: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise UserError(f"{', '.join(given)} {reason}")


def say_where(account: Account) -> None:
    """Print which account is used."""
    terminal.say(f"account {account.number}, region {account.region}, as {account.caller}")
