"""local_test/setup.sh: an environment of what a lock names."""

from __future__ import annotations

import hashlib
import http.server
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pip
import pytest

from tests.support import ROOT, wait_until

UV = """#!/bin/bash
printf '%s\n' "$*" "$UV_DEFAULT_INDEX" "$UV_INDEX" "$UV_FIND_LINKS" "$SSL_CERT_FILE" >"$UV_SAW"
"""


def pack(directory: Path) -> str:
    """Write a wheel that needs what exists nowhere; return its line in a lock."""
    wheel = directory / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        metadata = (
            "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"
            "Requires-Dist: nowhere-to-be-found>=1\n"
        )
        file.writestr("thing.py", "")
        file.writestr("thing-1.0.dist-info/METADATA", metadata)
        file.writestr(
            "thing-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        file.writestr("thing-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"thing @ {wheel.as_uri()} --hash=sha256:{digest}\n"


@pytest.mark.parametrize(
    "installer", ["uv", pytest.param("a uv that fails", marks=pytest.mark.slow)]
)
def test_setup_installs_what_the_lock_names_and_looks_for_nothing_else(
    tmp_path: Path, installer: str
) -> None:
    """Resolving makes old pips refuse complete locks (docs/decisions.md, 2026-11-27)."""
    script = tmp_path / "a checkout/local_test/setup.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "local_test/setup.sh", script)
    lock = tmp_path / "lock.txt"
    lock.write_text(pack(tmp_path))
    programs = tmp_path / "programs"
    programs.mkdir()
    if installer == "uv":
        (programs / "uv").symlink_to(f"{sys.prefix}/bin/uv")
    elif installer == "a uv that fails":
        (programs / "uv").symlink_to("/bin/false")
    path = os.pathsep.join(
        part for part in os.environ["PATH"].split(os.pathsep) if not Path(part, "uv").exists()
    )
    environ = {**os.environ, "PATH": f"{programs}:{path}", "VENV": str(tmp_path / "of its own")}

    done = subprocess.run([script, lock], capture_output=True, text=True, check=False, env=environ)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "of its own/bin/python")
    subprocess.run([done.stdout.strip(), "-c", "import thing"], check=True)


def test_uv_gets_the_settings_of_pip(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    for name, text in (
        ("uv", UV),
        ("python", f'#!/bin/sh\n[ "$1" != -c ] || exit 0\nexec "{sys.executable}" "$@"\n'),
    ):
        file = environment / "bin" / name
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://index.example/simple\ncert = /etc/a certificate.pem\n"
        "extra-index-url = https://one.example/simple\n    https://two.example/simple\n"
        "find-links = /wheels\n"
    )
    lock = tmp_path / "lock.txt"
    lock.write_text("")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    kept.pop("SSL_CERT_FILE", None)
    saw = tmp_path / "saw"
    environ = {**kept, "VENV": str(environment), "UV_SAW": str(saw)}
    environ["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")

    subprocess.run([ROOT / "local_test/setup.sh", lock], check=True, env=environ)

    arguments, index, more, links, certificate = saw.read_text().splitlines()
    assert arguments.startswith("pip install --python ")
    assert "--require-hashes" in arguments
    assert "--no-deps" in arguments
    assert index == "https://index.example/simple"
    assert "https://one.example/simple https://two.example/simple" in more
    assert "/wheels" in links
    assert certificate == "/etc/a certificate.pem"


class SlowIndex(http.server.BaseHTTPRequestHandler):
    """Serves one wheel in pieces; the second comes when the reader was seen to show the first."""

    wheel = b""
    is_shown = threading.Event()

    def do_GET(self) -> None:
        """Answer every address alike."""
        half = len(self.wheel) // 2
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.wheel)))
        self.end_headers()
        self.wfile.write(self.wheel[:half])
        self.wfile.flush()
        self.is_shown.wait(20)
        self.wfile.write(self.wheel[half:])

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def slow_lock(tmp_path: Path) -> Iterator[Path]:
    """Serve a wheel of 12 MB that arrives slowly; yield a lock that names it."""
    pack(tmp_path)
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a") as file:
        file.writestr("thing-1.0.data/data/large", random.Random(1).randbytes(12_000_000))  # noqa: S311 - only large
    SlowIndex.wheel = wheel.read_bytes()
    SlowIndex.is_shown.clear()
    digest = hashlib.sha256(SlowIndex.wheel).hexdigest()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowIndex) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{wheel.name}"
        lock = tmp_path / "lock.txt"
        lock.write_text(f"thing @ {url} --hash=sha256:{digest}\n")
        yield lock
        SlowIndex.is_shown.set()
        server.shutdown()


def make_environment(tmp_path: Path, installer: str) -> dict[str, str]:
    """Return the variables of a setup into a new environment, by uv or by pip alone."""
    environment = tmp_path / "environment"
    without = ["--without-pip"] if installer == "uv" else []
    subprocess.run([sys.executable, "-m", "venv", *without, environment], check=True)
    if installer == "uv":  # it reads pip's settings, and ours saves the installation of another
        (next(environment.glob("lib/python*/site-packages")) / "pip").symlink_to(pip.__path__[0])
    uv = f"{sys.prefix}/bin/uv" if installer == "uv" else "/bin/false"
    (environment / "bin/uv").symlink_to(uv)
    kept = {name: text for name, text in os.environ.items() if not name.startswith("UV_")}
    cache = {"UV_CACHE_DIR": str(tmp_path / "cache"), "PIP_NO_CACHE_DIR": "1"}
    return {**kept, **cache, "VENV": str(environment), "TERM": "xterm", "COLUMNS": "100"}


INSTALLERS = ["uv", pytest.param("pip", marks=pytest.mark.slow)]


@pytest.mark.parametrize("installer", INSTALLERS)
def test_a_large_package_is_said_with_its_size_before_it_has_arrived(
    tmp_path: Path, slow_lock: Path, installer: str
) -> None:
    environ = make_environment(tmp_path, installer)
    command = [str(ROOT / "local_test/setup.sh"), str(slow_lock)]
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as setup:
        assert setup.stderr is not None
        said = ""
        while "setup: downloading" not in said:
            line = setup.stderr.readline()
            assert line, said
            said += line
        SlowIndex.is_shown.set()
        setup.communicate(timeout=60)
    assert setup.returncode == 0
    assert re.search(r"setup: downloading \S*thing\S* \(1[12]\.\d ?Mi?B\)\n", said), said


@pytest.mark.parametrize("installer", INSTALLERS)
def test_a_terminal_shows_the_bytes_of_a_package_while_it_arrives(
    tmp_path: Path, slow_lock: Path, installer: str
) -> None:
    environ = make_environment(tmp_path, installer)
    ours, theirs = os.openpty()
    command = [str(ROOT / "local_test/setup.sh"), str(slow_lock)]
    seen = ""
    with subprocess.Popen(
        command, env=environ, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
    ) as setup:
        os.close(theirs)
        while piece := read_terminal(ours):
            seen += piece
            if re.search(r"[3-6]\.\d+ ?(?:Mi?B)?/1[12]\.\d+ ?Mi?B", seen):  # about the first half
                SlowIndex.is_shown.set()
    os.close(ours)
    assert setup.returncode == 0, seen
    assert SlowIndex.is_shown.is_set(), seen


def read_terminal(descriptor: int) -> str:
    try:
        return os.read(descriptor, 65536).decode("utf-8", "replace")
    except OSError:  # the other side is closed
        return ""


@pytest.mark.slow
def test_the_walk_of_the_readme_works_on_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    section = (clone / "README.md").read_text().partition("## Bring your own algorithm\n")[2]
    commands = section.partition("```bash\n")[2].partition("```")[0]
    names = ("VIRTUAL_ENV", "PYTHONPATH", "LOCAL_TEST_JOBS")
    environ = {name: value for name, value in os.environ.items() if name not in names}
    environ["PATH"] = environ["PATH"].replace(f"{Path(sys.executable).parent}:", "")
    environ["PYTHON"] = os.path.realpath(sys.executable)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=clone,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no errors found\n" in done.stdout
    assert done.stdout.endswith("[0.0, 5.0]\n")


@pytest.mark.parametrize("compiler", [None, "/bin/false", "cc"])
def test_setup_compiles_the_decoder_or_says_what_is_slow(
    tmp_path: Path, compiler: str | None
) -> None:
    checkout = tmp_path / "a checkout"
    without = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "container", checkout / "container", ignore=without)
    (checkout / "local_test").mkdir()
    shutil.copy(ROOT / "local_test/setup.sh", checkout / "local_test")
    lock = tmp_path / "lock.txt"
    lock.write_text("")
    (checkout / ".venv/bin").mkdir(parents=True)
    shutil.copy(lock, checkout / f".venv/installed-{tmp_path.name}-lock.txt")
    python = checkout / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "sh", "dirname", "basename", "realpath", "tail", "cmp"):
        (programs / name).symlink_to(str(shutil.which(name)))
    path = os.environ["PATH"] if compiler == "cc" else str(programs)

    done = subprocess.run(
        [checkout / "local_test/setup.sh", lock],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, "CC": compiler or ""},
    )

    library = checkout / "container/serving/bodies/librows.so"
    assert done.returncode == 0, done.stderr
    assert library.exists() == (compiler == "cc")
    assert ("half the rate" in done.stderr) == (compiler != "cc")


def test_setup_finds_a_python_that_uv_has_installed(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "dirname", "basename", "realpath", "cmp", "grep", "tee", "cp", "sed"):
        (programs / name).symlink_to(str(shutil.which(name)))
    (programs / "uv").write_text(
        f"#!{programs}/bash\n[[ $1 == pip ]] || printf '%s\\n' \"$HOME/python of uv\"\n"
    )
    (programs / "uv").chmod(0o755)
    (tmp_path / "python of uv").symlink_to(sys.executable)
    environ = {"PATH": str(programs), "HOME": str(tmp_path), "VENV": str(tmp_path / "made")}

    done = subprocess.run(
        [ROOT / "local_test/setup.sh", tmp_path / "lock.txt"],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
    )

    assert done.returncode == 0, done.stderr
    assert f"creating {tmp_path}/made with {tmp_path}/python of uv" in done.stderr


@pytest.mark.parametrize("hangs_at", ["-m venv", "-m pip --version"])
def test_an_interrupted_setup_says_one_sentence(tmp_path: Path, hangs_at: str) -> None:
    began = tmp_path / "began"
    python = tmp_path / "python"
    python.write_text(
        f"""#!{sys.executable}
import os, signal, sys, time
arguments = " ".join(sys.argv[1:])
if "-m venv" in arguments:
    os.makedirs(sys.argv[-1] + "/bin", exist_ok=True)
    os.symlink(__file__, sys.argv[-1] + "/bin/python")
if "{hangs_at}" in arguments:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    open("{began}", "w").close()
    time.sleep(600)
if arguments.startswith("-c ''") or not os.path.exists("{tmp_path}/env/bin/python"):
    sys.exit(0 if "import" in arguments else 1)
"""
    )
    python.chmod(0o755)
    lock = tmp_path / "lock.txt"
    lock.write_text("thing==1.0\n")
    environ = {**os.environ, "PYTHON": str(python), "VENV": str(tmp_path / "env")}
    with subprocess.Popen(
        ["env", "--default-signal=INT", ROOT / "local_test/setup.sh", lock],  # a job may ignore it
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        process_group=0,
    ) as setup:
        wait_until(began.exists)
        os.killpg(setup.pid, signal.SIGINT)
        _, said = setup.communicate()
    assert setup.returncode == -signal.SIGINT
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("setup: interrupted; ")
