"""The command `runs`: lists jobs, and compares some of them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from container.errors import UserError, name_command
from container.user_packages.masking import hide_secrets
from local_test.cli import aws_commands, terminal
from local_test.cli.options import JOBS, Command, Group
from local_test.cli.runs import comparison, page, selection
from local_test.cli.runs.comparison import Comparison, Row
from local_test.runs import run_files
from local_test.runs.run_files import Run
from local_test.times import format_date, format_duration

_STYLES: Final = {"Completed": "green", "Failed": "bold red", "InProgress": "cyan"}
_UNCUT_COLUMNS: Final = 1000
_PARAMETERS_SHOWN: Final = 4

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

app = typer.Typer(
    cls=Group,
    help="List finished and running jobs, and compare them.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def list_runs(
    context: typer.Context,
    sort: Annotated[
        str, typer.Option(help="Sort by this value, smallest first; -NAME sorts the largest first.")
    ] = "-created",
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="Show only these runs, such as status=Failed or test_accuracy>0.9; repeatable.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of runs to show.")] = 30,
    directory: aws_commands.Directory = None,
    as_json: AsJson = False,
) -> int:
    """List the jobs of this machine, also those of the local AWS, the newest first."""
    if context.invoked_subcommand is not None:
        return 0
    runs = selection.filter_runs(read_all(directory), conditions or ())
    runs = selection.sort_runs(runs, sort)
    shown = runs[:limit]
    if as_json:
        print(json.dumps([run.describe() for run in shown], indent=2))
        return 0
    if not shown:
        terminal.say(f"no runs in {JOBS}; `{name_command('train')}` makes one")
        return 0
    _print(_tabulate_list(shown))
    if len(runs) > limit:
        terminal.say(f"{len(runs) - limit} more; --limit shows them")
    return 0


@app.command(cls=Command)
def compare(
    names: Annotated[list[str], typer.Argument(help="Names of runs, or the start of each name.")],
    html: Annotated[
        Path | None,
        typer.Option(help="Also write an HTML page of curves and confusion matrices to this file."),
    ] = None,
    directory: aws_commands.Directory = None,
    as_json: AsJson = False,
) -> int:
    """Compare runs: parameters and metrics side by side; with --html also curves."""
    chosen = selection.choose(read_all(directory), names)
    if len(chosen) < 2:
        raise UserError(f"a comparison needs two runs; `{name_command('runs')}` lists them")
    compared = comparison.compare(chosen)
    if html is not None:
        title = f"Comparison of {len(chosen)} runs"
        html.write_text(page.render(compared, title), encoding="utf-8")
        terminal.say(f"page: {html}")
    if as_json:
        print(json.dumps(compared.describe(), indent=2))
        return 0
    _print(_tabulate_comparison(compared))
    for run in chosen:
        for note in run.notes:
            terminal.note(f"{run.name}: {note}")
    if html is None:
        terminal.say("curves and confusion matrices: --html FILE")
    return 0


def read_all(directory: Path | None = None) -> list[Run]:
    """Read the jobs of the command line, and those of the local AWS."""
    home = aws_commands.find_directory(directory)
    runs = [*run_files.read_all(JOBS), *run_files.read_all(home / "jobs", "up")]
    return sorted(runs, key=lambda run: (-run.created_s, run.name))


def _print(table: Table) -> None:
    # Without a terminal nothing is cut: the reader is a file or a program.
    width = None if sys.stdout.isatty() else _UNCUT_COLUMNS
    Console(highlight=False, width=width).print(table)


def _tabulate_list(runs: Sequence[Run]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("name", "status", "created", "duration"):
        table.add_column(head, no_wrap=True)
    for head in ("metrics", "parameters"):
        table.add_column(head, overflow="fold")
    for run in runs:
        metrics = [f"{name} {value:.4g}" for name, value in run_files.pick_metrics(run)]
        parameters = [f"{name}={value}" for name, value in hide_secrets(run.parameters).items()]
        table.add_row(
            Text(run.name + " (up)" * (run.origin == "up")),
            Text(run.status, style=_STYLES.get(run.status, "yellow")),
            format_date(run.created_s),
            format_duration(run.duration_s),
            Text(", ".join(metrics) or "; ".join(run.notes)),
            Text(_shorten(parameters)),
        )
    return table


def _shorten(parameters: Sequence[str]) -> str:
    text = " ".join(parameters[:_PARAMETERS_SHOWN])
    hidden = len(parameters) - _PARAMETERS_SHOWN
    return text if hidden <= 0 else f"{text} and {hidden} more"


def _tabulate_comparison(compared: Comparison) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for run in compared.runs:
        table.add_column(run.name, overflow="fold")
    groups = (
        ("facts", compared.facts),
        ("parameters", compared.parameters),
        ("last metrics", compared.metrics),
    )
    for title, rows in groups:
        if rows:
            table.add_row(Text(title, style="bold"))
        for row in rows:
            table.add_row(*_format_row(row))
    curves = compared.list_curves()
    if curves:
        table.add_row(Text("curves", style="bold"))
    for name, lines in curves.items():
        drawn = [terminal.draw([value for _, value in line]) for line in lines]
        table.add_row(Text(f"  {name}"), *map(Text, drawn))
    return table


def _format_row(row: Row) -> list[Text]:
    """Mark what differs, and the best value of a metric."""
    head = Text(f"{'* ' if row.differs else '  '}{row.name}", style="bold" if row.differs else "")
    cells = []
    for index, value in enumerate(row.values):
        is_best = bool(row.best) and row.best[index]
        text = f"{value} (best)" if is_best else value
        cells.append(Text(text or "-", style="green" if is_best else ""))
    return [head, *cells]
