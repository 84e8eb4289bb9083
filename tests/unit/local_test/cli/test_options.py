"""Option groups become a command's options."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from container.errors import UserError
from local_test.cli.app import assemble, main
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
    for command in assemble().registered_commands:
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--port", "65536"], "--port 65536: expected 0 to 65535"),
        (["serve", "--port", "-1"], "--port -1: expected 0 to 65535"),
        (["serve", "--port", "9" * 5000], "--port"),
        (["up", "--port", "9" * 5000], "--port"),
        (["up", "--max-instances", "9" * 5000], "--max-instances"),
        (["up", "--account", "\uff19" * 12], "expected twelve digits"),
        (["up", "--region", "eu-wst-1"], "no region 'eu-wst-1' is known; did you mean eu-west-1"),
        (["up", "--program", "a 'b"], "is not a command line: No closing quotation"),
        (["train", "--program", "a 'b"], "is not a command line: No closing quotation"),
        (["train", "--program", " "], "does not name a program"),
        (["train", "--memory", "9" * 5000 + "g"], "at most 15 digits"),
        (["train", "--memory", "\uff19g"], "expected a size such as 512m or 2g"),
        (["train", "--shm-size", "1x"], "--shm-size '1x': expected a size such as 512m or 2g"),
        (["train", "--shm-size", "1g"], "--shm-size needs --image"),
        (["train", "--max-runtime-s", "9" * 5000], "--max-runtime-s"),
        (["train", "--max-runtime-s", "9" * 20], "MaxRuntimeInSeconds"),
        (
            ["train", "--fault", "kill@" + "9" * 5000 + "s"],
            "a time of a fault has at most 6 digits",
        ),
        (["train", "--request", "deep.json"], "is not JSON"),
        (["train", "--request", "deep.yaml"], "is not YAML"),
        (["serve", "--model", ".", "--reload", "--debug", "5"], "--debug and --reload exclude"),
    ],
)
def test_what_no_option_can_mean_is_an_error_in_one_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "deep.yaml").write_text("{a: " * 3_000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCAL_AWS_DIRECTORY", str(tmp_path / "aws"))
    monkeypatch.setattr("sys.argv", ["local_test", *arguments])

    assert main() == 2

    assert words in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "aws").exists()


def test_the_help_shows_no_value_for_a_flag_and_no_type_of_python() -> None:
    """`--spot <bool>` would be read as `--spot true`, which is an error."""
    lines = CliRunner().invoke(assemble(), ["train", "--help"]).output.splitlines()

    flags = [line.split() for line in lines if "--spot" in line or "--help" in line]
    assert len(flags) == 2
    assert not [words for words in flags if {"<bool>", "TEXT"} & set(words)]
    assert [line for line in lines if "--channel" in line and " TEXT " in line]
    assert [line for line in lines if "--instance-count" in line and " NUMBER " in line]
    assert not [line for line in lines if "<" in line]
