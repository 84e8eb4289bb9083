"""A debugger's client: as much of the Debug Adapter Protocol as breakpoints need."""

from __future__ import annotations

import json
import socket
from collections import deque
from pathlib import Path
from typing import Any, Self

from tests.support import wait_until

TIMEOUT_S = 60


class Session:
    """One session: of the program that debugpy started, or of a process that it started."""

    def __init__(self, host: str, port: int, options: dict[str, Any]) -> None:
        """Connect, as soon as the adapter listens; `options` are those of `attach`."""
        self._socket = wait_until(lambda: connect(host, port), f"debugpy listens on {port}")
        self._file = self._socket.makefile("rwb")
        self._options = options
        self._number = 0
        self._events: deque[dict[str, Any]] = deque()

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def start(self, path: Path, line: int) -> None:
        """Attach with one breakpoint, and let the program run."""
        self.request("initialize", adapterID="debugpy", pathFormat="path")
        self._send("attach", self._options)
        self.wait_for("initialized")
        source = {"path": str(path)}
        self.request("setBreakpoints", source=source, breakpoints=[{"line": line}])
        self.request("configurationDone")

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return the body of its response."""
        number = self._send(command, arguments)
        while True:
            message = self._read()
            if message["type"] == "event":
                self._events.append(message)
            elif message["type"] == "response" and message["request_seq"] == number:
                assert message["success"], message
                body: dict[str, Any] = message.get("body") or {}
                return body

    def wait_for(self, *names: str) -> dict[str, Any]:
        """Return the next event of these names."""
        while True:
            message = self._events.popleft() if self._events else self._read()
            if message["type"] == "event" and message["event"] in names:
                return message
            assert message.get("event") != "terminated", f"ended before {names}"

    def evaluate(self, thread: int, expression: str) -> str:
        """Return the value of an expression where a thread has stopped."""
        frames = self.request("stackTrace", threadId=thread)["stackFrames"]
        return str(
            self.request("evaluate", expression=expression, frameId=frames[0]["id"])["result"]
        )

    def _send(self, command: str, arguments: dict[str, Any]) -> int:
        self._number += 1
        message = {"seq": self._number, "type": "request"}
        body = json.dumps(message | {"command": command, "arguments": arguments}).encode()
        self._file.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._file.flush()
        return self._number

    def _read(self) -> dict[str, Any]:
        """Return the next message; after the last one, the event `terminated`."""
        length = 0
        while line := self._file.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if not length:
            return {"type": "event", "event": "terminated"}
        message: dict[str, Any] = json.loads(self._file.read(length))
        return message


def connect(host: str, port: int) -> socket.socket | None:
    """Return a connection, or None while nobody listens."""
    try:
        return socket.create_connection((host, port), timeout=TIMEOUT_S)
    except ConnectionRefusedError:
        return None


def follow(parent: Session, path: Path, line: int) -> tuple[Session, int]:
    """Attach to each process that a program starts, until one stops at a breakpoint.

    Return its session and the number of the thread that has stopped.
    """
    while True:
        options = parent.wait_for("debugpyAttach")["body"]
        child = Session(options["connect"]["host"], options["connect"]["port"], options)
        child.start(path, line)
        event = child.wait_for("stopped", "terminated")
        if event["event"] == "stopped":
            return child, event["body"]["threadId"]
        child.__exit__()
