"""Option groups become a command's options."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from container.errors import UserError
from local_test.cli.app import app
from local_test.cli.options import ContainerOptions, parse_pairs, with_groups


@dataclass(frozen=True)
class Colors:
    """A group."""

    red: Annotated[int, typer.Option(help="How red.")] = 1
    blue: Annotated[bool, typer.Option("--blue")] = False


def test_a_groups_fields_are_options_and_reach_the_command_as_one_object() -> None:
    seen: list[object] = []

    @with_groups
    def paint(colors: Colors, name: Annotated[str, typer.Argument()] = "wall") -> int:
        seen.extend((colors, name))
        return 0

    assert list(inspect.signature(paint).parameters) == ["red", "blue", "name"]
    program = typer.Typer()
    program.command()(paint)
    done = CliRunner().invoke(program, ["door", "--red", "3", "--blue"])

    assert done.exit_code == 0, done.output
    assert seen == [Colors(3, blue=True), "door"]


def test_no_option_is_defined_by_two_groups_of_one_command() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        names = list(inspect.signature(command.callback).parameters)
        assert len(names) == len(set(names)), command.callback.__name__


def test_pairs_are_read_and_told_apart() -> None:
    assert parse_pairs("-p", ["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(UserError, match=r"^-p '(a|=1)"):
            parse_pairs("-p", wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ContainerOptions(memory="much"), "such as 512m"),
        (ContainerOptions(memory="0"), "such as 512m"),
        (ContainerOptions(gpus=True), "--gpus needs --image"),
    ],
)
def test_what_a_runner_cannot_be_made_of_is_refused(
    options: ContainerOptions, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        options.make_runner()


def test_only_our_own_program_has_metrics_by_default() -> None:
    assert ContainerOptions().define_metrics(None)
    assert ContainerOptions(program="mine").define_metrics(None) == []
    assert ContainerOptions().define_metrics(["a=b"]) == [{"Name": "a", "Regex": "b"}]
