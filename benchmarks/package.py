"""Claim: the base package takes at most 60 MB and 15 s, and its commands answer at once.

Builds the wheel, downloads what it needs, then installs all that from the disk, as from a warm
index, into a fresh environment each time. Measures the size of what was installed, `byo --help`,
`byo train` on a project of `init` until its program's first line, and `byo conform` until its first
verdict. Load and versions are printed with the results; beside each time stands the processor time
of the command and its children, which depends less on other work.

    python -m benchmarks.package [--image IMAGE] [--n 5]
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("pip", "setuptools", "pkg_resources")
"""What every fresh environment has before."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", help="judge this image, too")
    parser.add_argument("--n", type=int, default=5, help="how often each command runs")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, Python {platform.python_version()}, n = {options.n}")
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        binaries = install(place)
        measure_size(place / "venv")
        environ = {**os.environ, "PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(place)}
        clock = Clock(options.n, environ)
        clock.measure("byo --help", ["byo", "--help"], place)
        subprocess.run(
            ["byo", "init", "p"], check=True, env=environ, cwd=place, stdout=subprocess.DEVNULL
        )
        clock.measure("byo train, first line", ["byo", "train"], place / "p", r"rows=")
        programs = [["--program", "python -m container"]]
        if options.image:
            programs.append(["--image", options.image])
        for program in programs:
            judge = ["byo", "conform", "--serve", *program]
            verdict = r"(pass|fail|n/a) +[A-Z]"
            clock.measure(f"conform {program[0]}, first verdict", judge, place / "p", verdict)


def install(place: Path) -> Path:
    """Install the wheel from a folder of wheels; return the folder of its commands."""
    built = subprocess.run(
        [ROOT / "scripts/build", place / "dist"], check=True, stdout=subprocess.PIPE
    )
    [wheel] = [line for line in built.stdout.decode().splitlines() if line.endswith(".whl")]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "-w", place / "wheels", wheel], check=True)
    for flag in ("--compile", "--no-compile"):  # as pip and pipx install, and as uv does
        subprocess.run([sys.executable, "-m", "venv", "--clear", place / "venv"], check=True)
        own = [place / "venv/bin/python", "-m", "pip", "install", "-q", flag, "--no-index"]
        seconds, cpu = run([*own, "--find-links", place / "wheels", wheel])
        print(f"install {flag}: {seconds:.1f} s, {cpu:.1f} s of a processor, {describe_load()}")
    return place / "venv/bin"


def measure_size(venv: Path) -> None:
    """Print the bytes of the files that were installed, and of the bytecode that pip adds."""
    [site] = venv.glob("lib/python*/site-packages")
    files = {path for path in site.rglob("*") if path.is_file()}
    own = [path for path in files if not path.relative_to(site).parts[0].startswith(PARTS)]
    parts: dict[str, int] = {}
    for path in own:
        if path.suffix != ".pyc":
            name = path.relative_to(site).parts[0]
            parts[name] = parts.get(name, 0) + path.stat().st_size
    print(f"size: {sum(parts.values()) / 1e6:.1f} MB without bytecode")
    for name, size in sorted(parts.items(), key=lambda part: -part[1])[:8]:
        print(f"  {name} {size / 1e6:.1f}")
    subprocess.run([venv / "bin/python", "-m", "compileall", "-q", site], check=False)
    code = [path for path in site.rglob("*.pyc") if path.relative_to(site).parts[0] not in PARTS]
    print(f"bytecode: {sum(path.stat().st_size for path in code) / 1e6:.1f} MB")


@dataclass(frozen=True)
class Clock:
    """Runs commands of the package n times."""

    n: int
    environ: dict[str, str]

    def measure(
        self, name: str, command: Sequence[str], place: Path, line: str | None = None
    ) -> None:
        """Print how long a command takes until it has ended or printed `line`."""
        times = sorted(run(command, self.environ, place, line) for _ in range(self.n))
        seconds = [each[0] for each in times]
        cpu = statistics.median(each[1] for each in times)
        found = f"{statistics.median(seconds):.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f})"
        print(f"{name}: {found}, {cpu:.2f} s of a processor, {describe_load()}", flush=True)


def run(
    command: Sequence[str | Path],
    environ: dict[str, str] | None = None,
    place: Path | None = None,
    line: str | None = None,
) -> tuple[float, float]:
    """Return the seconds until the command has ended or printed `line`, and its processor time."""
    before = _count_cpu()
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environ, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        seconds = None
        for text in process.stdout or ():
            if line and seconds is None and re.match(line, text):
                seconds = time.perf_counter() - started
                process.send_signal(signal.SIGINT)
    if line and seconds is None:
        raise SystemExit(f"{command} printed no line like {line!r}")
    return seconds or time.perf_counter() - started, _count_cpu() - before


def _count_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def describe_load() -> str:
    """Return how many processes wanted a processor in the last minute."""
    return f"load {os.getloadavg()[0]:.0f}"


if __name__ == "__main__":
    main()
