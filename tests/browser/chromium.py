"""A real browser without a driver: Chromium on a pipe, spoken to in its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import wait_until

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


class Browser:
    """One page in a headless browser; `errors` collects what its console complains of."""

    def __init__(self, profile: Path, *flags: str) -> None:
        """Start it, with more flags; use as a context manager."""
        # The browser reads orders from descriptor 3 and writes answers to descriptor 4, each ended
        # by a zero byte.
        order_read, self._orders = os.pipe()
        self._answers, answer_write = os.pipe()
        own_flags = (
            "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run "
            "--remote-debugging-pipe"
        )
        script = (
            f'exec "$0" {own_flags} --user-data-dir="$@" about:blank '
            f"3<&{order_read} 4>&{answer_write}"
        )
        command = ["bash", "-c", script, str(CHROMIUM), str(profile), *flags]
        self._process = subprocess.Popen(
            command,
            pass_fds=(order_read, answer_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(order_read)
        os.close(answer_write)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        self.errors: list[str] = []
        target = self.order("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.order("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self.order(f"{domain}.enable")

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._orders)
        os.close(self._answers)

    def order(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": number, "method": method, "params": params, **session}
        os.write(self._orders, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser has gone"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        if (
            message.get("method") == "Log.entryAdded"
            and message["params"]["entry"]["level"] == "error"
        ):
            self.errors.append(message["params"]["entry"]["text"])
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(message["params"]["exceptionDetails"]))

    def open(self, url: str, width: int) -> None:
        """Show a page in a window of a width."""
        self.order(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.order("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str) -> Any:
        """Return the value of a script's last expression."""
        result = self.order(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, limit_s: float = 15) -> None:
        """Wait until a script's value is true, while the page may be replaced."""

        def is_true() -> bool:
            try:
                return bool(self.evaluate(script))
            except AssertionError as error:
                if "target navigated" not in str(error):
                    raise
                return False

        wait_until(is_true, script, limit_s)

    def press(self, key: str, *, release: bool = True) -> None:
        """Press a key, as a person would."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        self.order("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        if release:
            self.order("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path) -> None:
        """Save a picture of the full page."""
        data = self.order("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
