"""What a person reads: results on standard output, everything else on standard error."""

import contextlib
import functools
import json
import math
import os
import queue
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Final

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Column, Table
from rich.text import Text

from local_test.cli.runs import next_steps
from local_test.data import models
from local_test.data.local_objects import check_places, list_files
from local_test.jobs.job import Job
from local_test.jobs.result import JobResult, Listeners, Metric
from local_test.requests.model_containers import list_containers
from local_test.requests.validation import ValidRequest
from local_test.runners.interface import Runner
from local_test.runners.log_lines import split_states

_BARS: Final = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_COURSE_POINTS: Final = 40
_TABLE_COLUMNS: Final = 80
_MEMBER: Final = re.compile(
    r'(?ms)^(?:ExitCode|ErrorMessage|ExtraInfo) "?(.*?)"?(?=\n(?:E\w+|Command) "|\Z)'
)
_EXCEPTION: Final = re.compile(r'[\w.<>]+(:|\n).*\n.*(Traceback|File ")', re.DOTALL)
_UNNOTED: Final = (
    "RoleArn",
    "ExecutionRoleArn",
    "ResourceConfig.Volume",
    "ProcessingResources.Cluster",
)
"""Fields that the API requires, so that a note on them would only disturb."""

no_stop: Final = threading.Lock()
"""Held once a stop was asked for, and in a process that is not this program's own."""


def lose_reader() -> None:
    """Drop all later lines, and stop as by Ctrl-C, once: nobody reads them, as after `| head`."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if os.path.sameopenfile(1, 2):
        os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    if no_stop.acquire(blocking=False):
        os.kill(os.getpid(), signal.SIGINT)


class _Talk(Console):
    def on_broken_pipe(self) -> None:
        """Stop in order; the base class ends the thread, and the job goes on or is lost."""
        lose_reader()


_console: Final = _Talk(stderr=True, highlight=False)


def say(text: str) -> None:
    """Print a line of talk."""
    _console.print(_escape(text), soft_wrap=True)


def mark(style: str, head: str, text: str) -> None:
    """Print a line whose head is colored."""
    _console.print(f"[{style}]{head}[/] {_escape(text)}", soft_wrap=True)


note = functools.partial(mark, "yellow", "note:")
"""Print something that the user should know."""
find = functools.partial(mark, "yellow", "finding:")
"""Print a finding: what SageMaker accepts now, and the user will regret."""
complain = functools.partial(mark, "bold red", "error:")
"""Print an error."""


def _escape(text: str) -> str:
    return text.replace("[", "\\[")


def show_line(host: str, line: str) -> None:
    """Print one line of a container's log, or each state of its progress bar on a line."""
    head = f"{host} | " if host else ""
    try:
        for state in split_states(line):
            print(f"{head}{state}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        lose_reader()


def announce(request: ValidRequest, runner: Runner) -> None:
    """Say what is about to run, and which fields of the request have no effect."""
    say(f"{request.operation}: {runner.description}")
    for name in os.environ:
        if name.startswith("BYO_") and f'"{name}"' not in json.dumps(request.fields):
            note(f"{name} of this shell is not passed on; give --env {name}=VALUE")
    for container in list_containers(request.fields):
        uri = models.find_uri(container.definition)
        is_filled_later = container.definition.get("Mode") == "MultiModel"
        if re.fullmatch("file://.*/", uri) and not is_filled_later:
            sizes = [size for _, size in list_files(uri)]
            if len(sizes) > 1000 or sum(sizes) > 4e9:
                size = f"{len(sizes)} files ({sum(sizes) / 1e9:.1f} GB), which are copied"
                note(f"the model is a folder of {size}; name the model's own folder")
    for line in request.notes:
        if not line.startswith(_UNNOTED):
            note(line)


def run_job(job: Job, request: ValidRequest, runner: Runner) -> JobResult:
    """Run a job to its end; Ctrl-C stops it as SageMaker would.

    Raises: UserError before it starts, if an input is missing or an output cannot be stored.
    """
    check_places(request.fields)
    announce(request, runner)
    with stopping(job):
        return job.run()


def make_listeners(request: ValidRequest) -> Listeners:
    """Print a job's log, with the host before each line if there are several, and its statuses."""
    fields = request.fields
    resources: dict[str, Any] = (
        fields.get("ResourceConfig")
        or fields.get("TransformResources")
        or fields["ProcessingResources"]["ClusterConfig"]
    )
    is_single = resources.get("InstanceCount", 1) == 1 and not resources.get("InstanceGroups")
    return Listeners(
        on_line=lambda host, line: show_line("" if is_single else host, line),
        on_status=lambda status, message: mark("bold", status, first_line(shorten_reason(message))),
    )


def first_line(text: str) -> str:
    """Return the first line; the rest is in the log above."""
    return text.partition("\n")[0]


def shorten_reason(reason: str) -> str:
    """Return a failure reason without the traceback, which is in the log above.

    The toolkit's form has in its member ErrorMessage an exception and the end of its traceback, or
    else the last lines of the program.
    """
    members = _MEMBER.findall(reason)
    if len(members) > 1:
        code, message, *rest = members
        if _EXCEPTION.match(message):
            message = first_line(message)
        said = "; ".join(filter(None, [message.rpartition("\n")[2], *rest]))
        return f"the program failed with exit code {code}: {said}"
    return reason.partition("\nTraceback (most recent call last)")[0]


@contextlib.contextmanager
def handling(handler: Callable[..., None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call a handler within the block."""

    def handle(number: int, frame: FrameType | None) -> None:
        no_stop.acquire(blocking=False)  # with `| tee`, Ctrl-C ends the reader as well: one signal
        handler(number, frame)

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)


@contextlib.contextmanager
def stopping(job: Job) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into SageMaker's stop, the second into an immediate end."""
    count = 0
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def on_signal(number: int, _: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt
        signals.put(number)  # what takes a lock could wait forever for the code it interrupts

    def obey() -> None:
        if number := signals.get():
            say(f"{signal.Signals(number).name}: stopping as SageMaker does; send it again to kill")
            job.stop()

    stopper = threading.Thread(target=obey, daemon=True, name="stop")
    stopper.start()
    try:
        with handling(on_signal):
            yield
    finally:
        signals.put(0)
        stopper.join()


def report(result: JobResult, artifact: str, *, as_json: bool = False) -> int:
    """Print a job's result; return the exit code."""
    if result.metrics and not as_json:
        _console.print(_tabulate(result.metrics))
    for finding in result.findings:
        find(finding)
    if as_json:
        print(json.dumps(result.description, indent=2))
    elif result.status == "Failed":
        print("Failed")
    else:
        print(f"{result.status} {artifact}")
    if not as_json:
        say(f"job directory: {result.directory}")
        for line in next_steps.list_lines(result):
            say(line)
        if reason := result.description.get("FailureReason"):
            complain(shorten_reason(reason))
    return {"Completed": 0, "Stopped": 130}.get(result.status, 1)


def is_live() -> bool:
    """Return whether lines can be replaced; a CI log is not a terminal, even with FORCE_COLOR."""
    return _console.is_interactive and sys.stderr.isatty()


@contextlib.contextmanager
def live_metrics(describe: Callable[[], str] = str) -> Iterator[Callable[[Metric], None]]:
    """Show a job's metrics and a line below its log, on a terminal; elsewhere the log is enough."""
    if not is_live():
        yield lambda _: None
        return
    from rich.live import Live  # noqa: PLC0415 - only terminals need it

    metrics: list[Metric] = []

    def render() -> Group:
        parts: list[Table | Text] = [_tabulate(metrics)] if metrics else []
        if line := describe():
            parts.append(Text(line, style="bold", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)

    with Live(console=_console, transient=True, get_renderable=render):
        yield metrics.append


def _tabulate(metrics: Sequence[Metric]) -> Table:
    """Tabulate metrics; a narrow terminal leaves out what the course shows as well."""
    is_narrow = _console.width < _TABLE_COLUMNS
    names = list(dict.fromkeys(metric.name for metric in metrics))
    longest = max(map(len, names), default=0)
    first = Column("metric", min_width=min(longest, _console.width // 3))  # the course gives way
    heads = ("last",) if is_narrow else ("values", "last", "smallest", "largest")
    table = Table(first, *heads, "course", box=SIMPLE_HEAD if is_narrow else HEAVY_HEAD)
    for name in names:
        values = [metric.value for metric in metrics if metric.name == name]
        last, low, high = (f"{value:.6g}" for value in (values[-1], min(values), max(values)))
        course = Text(draw(values), no_wrap=True, overflow="crop")
        cells = (last,) if is_narrow else (str(len(values)), last, low, high)
        table.add_row(name, *cells, course)
    return table


def draw(values: Sequence[float]) -> str:
    """Draw the last values as one line of bars; a value that is not finite is a gap."""
    values = values[-_COURSE_POINTS:]
    finite = [value for value in values if math.isfinite(value)]
    low = min(finite, default=0.0)
    span = (max(finite, default=0.0) - low) or 1.0
    line = ""
    for value in values:
        if math.isfinite(value):
            line += _BARS[round((value - low) / span * (len(_BARS) - 1))]
        else:
            line += " "
    return line
