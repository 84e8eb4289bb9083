"""Explains why a program failed, and writes the failure file in the toolkit's form (OUT-2)."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from container import contract, machine
from container.user_packages import import_advice
from container.user_packages.masking import mask
from container.user_packages.supervision import Outcome

_COMMAND_CHARACTERS: Final = 200
_CAUSE_CHARACTERS: Final = 560  # with the reason's other lines it fills the 1024 of OUT-2

_MESSAGE: Final = re.compile(r'(?<=\nErrorMessage ").*?(?="\n(?:ExtraInfo|Command) ")', re.DOTALL)
_EXCEPTION: Final = re.compile(r"[\w.<>]+(:|$)")  # and not a line that a launcher has broken
# OUT-12; 128 + n means that signal n ended the program.
_EXIT_CODES: Final = {
    2: "the program refused its arguments (each hyperparameter is passed as --name value), or "
    "could not be opened",
    126: "the program is not executable",
    127: "the program, a command in it, or the interpreter in its first line was not found",
    132: "illegal instruction: a library was built for another processor (AVX)",
    134: "the program aborted itself, usually in native code",
    135: "bus error: shared memory (/dev/shm) is full, or a mapped file was truncated",
    136: "arithmetic fault in native code",
    137: "Process killed by SIGKILL (signal 9), usually because memory ran out",
    139: "segmentation fault in native code",
    143: "ended by SIGTERM (signal 15)",
}


@dataclass(frozen=True)
class Failure:
    """Why the job failed, and the exit code that reports it."""

    reason: str
    exit_code: int = 1


def diagnose(
    outcome: Outcome,
    command: str,
    error_class: str = "ExecuteUserScriptError",
    explanation: str = "",
) -> Failure:
    """Describe a failed command in the toolkit's form."""
    lines = [
        f"{error_class}:",
        f"ExitCode {outcome.exit_code}",
        f'ErrorMessage "{find_cause(outcome)}"',
    ]
    explanation = explanation or explain(outcome)
    if explanation:
        lines.append(f'ExtraInfo "{explanation}"')
    if len(command) > _COMMAND_CHARACTERS:
        command = command[: _COMMAND_CHARACTERS - 4] + " ..."
    lines.append(f'Command "{command}"')
    return Failure("\n".join(lines), outcome.exit_code)


def report(layout: contract.Layout, failure: Failure) -> int:
    """Log the reason and write the failure file, unless the program has; return the exit code."""
    print(_leave_out_output(failure.reason), file=sys.stderr, flush=True)
    if not layout.failure.exists() or not layout.failure.stat().st_size:
        try:
            contract.write_failure(layout, failure.reason)
        except OSError as error:
            print(f"the failure file cannot be written: {error}", file=sys.stderr, flush=True)
    return failure.exit_code


def _leave_out_output(reason: str) -> str:
    """Return a reason for the log, which has the program's output, such as metrics, already."""
    found = _MESSAGE.search(reason)
    if found is None or not found[0]:
        return reason
    exception, *rest = found[0].splitlines()
    if not any(line.startswith('  File "') for line in rest):
        exception = "see the output above"
    return reason[: found.start()] + exception + reason[found.end() :]


def find_cause(outcome: Outcome) -> str:
    """Find the cause in the program's last output: the exception, then as much else as fits."""
    if outcome.stopped and outcome.exit_code == 143:
        return ""  # the cause is the stop
    exception, rest = _split_exception(_read_tail(outcome))
    cause = "\n".join(exception)[:_CAUSE_CHARACTERS]
    room = _CAUSE_CHARACTERS - len(cause)
    parts = [cause] if cause else []
    if rest and room > 80:
        parts.append("\n".join(rest)[-room:])
    return mask("\n".join(parts))


def _read_tail(outcome: Outcome) -> list[str]:
    """Return the last lines of standard error, or of standard output if that is empty."""
    text = (outcome.error_tail.rstrip() or outcome.output_tail.rstrip()).decode(errors="replace")
    if "\n" not in text:
        text = text.rpartition("\r")[2]  # a progress bar
    return [line for line in text.splitlines() if line.strip()]


def _split_exception(lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Split the last exception from its traceback; without one, return all lines as the rest."""
    tracebacks = [
        i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")
    ]
    if not tracebacks:  # that of a SyntaxError has no such line
        files = [i for i, line in enumerate(lines) if line.startswith('  File "')]
        tracebacks = files[:1]
    for start in tracebacks[-1:]:
        for i in range(start + 1, len(lines)):
            if _EXCEPTION.match(lines[i]):
                return lines[i:], lines[start:i]
    return [], lines


def explain(outcome: Outcome) -> str:
    """Explain an exit code; empty if it says nothing more than that the program failed."""
    if outcome.overstayed:
        return (
            "the job was stopped, and the program was still running at the end of its grace "
            "period: it was killed (SIGKILL)"
        )
    if outcome.stopped and outcome.exit_code == 143:
        return (
            "the job was stopped, and the program has no handler for SIGTERM that saves its work "
            "and exits with 0"
        )
    if outcome.exit_code == 137 and outcome.out_of_memory:
        limit = machine.count_memory_bytes()
        size = f"; the container may use {limit / 1024**2:.0f} MiB" if limit else ""
        return f"OutOfMemory: Process killed by SIGKILL (signal 9){size}"
    advice = import_advice.explain(outcome.error_tail.decode(errors="replace"))
    return advice or _EXIT_CODES.get(outcome.exit_code, "")
