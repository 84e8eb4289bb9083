"""The report page in a real browser: quiet console, nothing wider than a telephone."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from container.data.images import LabeledImages
from container.evaluation import classification, report

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the browser ring needs chromium on PATH")

# The page allows no script, so another page of the same origin measures it, in a frame of the
# wanted width.
FRAME = """<!doctype html><title>waiting</title>
<iframe src="report.html" style="width:{width}px;height:800px;border:0"></iframe>
<script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  const width = page.documentElement.clientWidth;
  const right = (element) => element.getBoundingClientRect().right;
  const sticksOut = (element) => !element.closest(".scroll, svg") && right(element) > width + 1;
  const wide = [...page.querySelectorAll("body *")].filter(sticksOut).map((one) => one.className);
  const shown = [...page.images].filter((image) => image.naturalWidth).length;
  const scrolls = page.documentElement.scrollWidth;
  document.title = `width ${{width}}, scrolls ${{scrolls}}, images ${{shown}}, wide ${{wide}}`;
}};
</script>"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep the test's output to the test."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Handler, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def open_page(url: str, profile: Path) -> tuple[str, list[str]]:
    """Return the page's final title and the lines of its console."""
    arguments = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
        *(
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
        ),
        *("--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom"),
    ]
    command = [str(CHROMIUM), *arguments, f"--user-data-dir={profile}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title, done.stderr
    return title[1], console


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    "classes",
    [
        tuple(range(10)),
        (
            "T-shirt/top",
            "<script>alert(1)</script>",
            "a name of many words, and then some",
            "x" * 90,
        ),
    ],
    ids=["digits", "long names"],
)
def test_page_is_no_wider_than_its_window_and_its_console_is_quiet(
    site: tuple[Path, str], tmp_path: Path, classes: tuple[int | str, ...], width: int
) -> None:
    directory, url = site
    random = np.random.default_rng(3)
    labels = random.integers(0, len(classes), 300).astype(np.int32)
    scores = random.dirichlet(np.ones(len(classes)), 300) + np.eye(len(classes))[labels] / 3
    labeled = LabeledImages(random.integers(0, 256, (300, 8, 8, 1), np.uint8), labels, classes)
    html = report.render(
        labeled,
        scores,
        classification.compute(labels, scores, len(classes)),
        report.Background(
            history=[
                {"epoch": i, "train_loss": 1 / i, "validation_accuracy": 1 - 1 / i}
                for i in range(1, 9)
            ],
            facts={"A fact": "y" * 200},
        ),
    )
    (directory / "report.html").write_text(html, encoding="utf-8")
    (directory / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")

    title, console = open_page(f"{url}/frame.html", tmp_path / "profile")

    assert console == []
    assert title == f"width {width}, scrolls {width}, images 24, wide "
