"""Log lines on real pipes, sockets and files, read late or never."""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.serving.telemetry import line_handler
from container.serving.telemetry.line_handler import LineHandler

PIPE_BYTES = 65_536


class Log:
    """A logger on the writing end of a pipe."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.dropped = 0
        self.handler = LineHandler(self.writer, self.count)

    def count(self) -> None:
        """Count a dropped line."""
        self.dropped += 1

    def write(self, text: str) -> None:
        """Log a line."""
        self.handler.handle(logging.LogRecord("x", logging.INFO, "f", 1, text, (), None))

    def read(self) -> list[str]:
        """Read the lines that are there, while what waits moves up."""
        data = b""
        while True:
            while select.select([self.reader], [], [], 0)[0]:
                data += os.read(self.reader, 1 << 20)
            self.handler.flush()
            if not select.select([self.reader], [], [], 0)[0]:
                return data.decode().splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    os.close(made.reader)
    made.handler.close()
    os.close(made.writer)


def test_lines_wait_in_memory_for_a_reader_that_stalls(log: Log) -> None:
    lines = [f"{number:04} " + "x" * 500 for number in range(1000)]  # eight pipes full

    for line in lines:
        log.write(line)

    assert log.read() == lines
    assert log.dropped == 0


def test_lines_that_nobody_reads_are_dropped_and_counted(log: Log) -> None:
    """The process goes on, and neither its memory nor its time grows."""
    for number in range(20_000):
        log.write(f"{number:05} " + "x" * 500)
    assert log.dropped > 15_000
    assert len(log.handler._waiting) < 2 << 20  # noqa: SLF001 - the bound

    kept = log.read()
    log.write("the next one")

    assert kept == [f"{number:05} " + "x" * 500 for number in range(len(kept))]
    notice, following = log.read()
    assert notice == f"{log.dropped} lines of this log were dropped, because nobody read it"
    assert following == "the next one"
    assert len(kept) + log.dropped == 20_000


def test_descriptor_keeps_its_flags_for_user_code_that_prints(log: Log) -> None:
    log.write("x")

    assert os.get_blocking(log.writer)


def test_reader_that_has_gone_costs_lines_and_nothing_else(log: Log) -> None:
    log.write("read")
    assert log.read() == ["read"]
    os.close(log.reader)
    for _ in range(3000):
        log.write("x" * 1000)

    assert log.dropped > 1000
    log.reader = os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_socket_as_of_journald_does_not_block_either(kind: socket.SocketKind) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    handler = LineHandler(ours.fileno())
    for number in range(10_000):
        handler.handle(logging.LogRecord("x", 20, "f", 1, f"{number} " + "x" * 500, (), None))

    assert theirs.recv(1 << 20).startswith(b"0 xxx")
    theirs.close()
    handler.close()
    ours.close()


def test_file_gets_every_line_behind_what_others_write(tmp_path: Path) -> None:
    """As `serve > file`, which does not append."""
    with (tmp_path / "log").open("wb", buffering=0) as file:
        handler = LineHandler(file.fileno())
        for number in range(3):
            handler.handle(logging.LogRecord("x", 20, "f", 1, f"ours {number}", (), None))
            file.write(b"theirs\n")
        handler.close()

    assert (tmp_path / "log").read_text() == "".join(f"ours {n}\ntheirs\n" for n in range(3))


def test_pipe_that_cannot_be_opened_anew_is_written_while_it_has_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when another user made it."""

    def refuse(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(line_handler.os, "open", refuse)
        log = Log()
    for number in range(1000):
        log.write(f"{number:03} " + "x" * 500)

    assert log.read() == [f"{number:03} " + "x" * 500 for number in range(1000)]
    os.close(log.reader)
    os.close(log.writer)


def test_child_does_not_repeat_what_waits_in_its_parent(log: Log) -> None:
    for number in range(400):
        log.write(f"parent {number} " + "x" * 500)
    child = os.fork()
    if not child:
        log.write("child")
        os.kill(os.getpid(), signal.SIGKILL)  # without pytest's own end
    os.waitpid(child, 0)
    log.write("parent again")

    lines = log.read()

    assert [line.split()[0] for line in lines] == ["parent"] * 401
    assert len(set(lines)) == 401


def test_text_that_is_no_unicode_is_a_line(log: Log) -> None:
    log.write("a \udc80 name")

    assert log.read() == ["a \\udc80 name"]


def test_record_that_cannot_be_formatted_ends_nothing(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    log.handler.handle(logging.LogRecord("x", 20, "f", 1, "%d", ("no number",), None))
    log.write("the next one")

    assert log.read() == ["the next one"]
    assert "Logging error" in capsys.readouterr().err


def test_lines_that_wait_at_the_end_are_written_if_somebody_reads(log: Log) -> None:
    for _ in range(400):
        log.write("x" * 500)
    assert log.handler._waiting  # noqa: SLF001 - what the test is about
    child = os.fork()
    if not child:
        while os.read(log.reader, 1 << 16):
            pass

    log.handler.close()

    assert not log.handler._waiting  # noqa: SLF001 - what the test is about
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
