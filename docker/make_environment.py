"""Makes an image's Python environment: hash-locked wheels, without what never runs, and the same bytes each time.

    python make_environment.py REQUIREMENTS.txt --venv /opt/venv [--wheelhouse DIR] [--without-pip]

Runs in the builder stage of the Dockerfiles, on the Python that the final stage has too.

Rules of this file: standard library only; what is removed stands in one table with its reason; nothing is left that
depends on the clock, on the order of a directory or on a cache.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import io
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Below site-packages. Proven harmless by the test rings, which CI runs inside the image.
NEVER_RUNS: Final = {
    "tensorflow/include": "C++ headers, for compiling custom operations",
    "tensorflow/xla_aot_runtime_src": "C++ sources of compiled-ahead models",
    "tensorflow/python/kernel_tests": "TensorFlow's own tests",
    "clang": "libclang: TensorFlow requires it, and only its source tools import it",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so": "runs models on a WebGPU device; servers have none",
    "ai_edge_litert/vendors": "plug-ins for phones' neural processors",
    "ai_edge_litert/tools": "converters' command lines",
    "**/tests": "packages' own tests",
    "**/*.pyi": "types, for checkers",
    "**/*.h": "headers that packages carry for compilers",
    "**/*.a": "static libraries",
}


def main() -> None:
    """Make the environment that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--wheelhouse", type=Path, help="install from this directory alone if it holds wheels")
    parser.add_argument("--without-pip", action="store_true", help="remove pip when all is installed")
    options = parser.parse_args()

    python = options.venv / "bin/python"
    run(sys.executable, "-m", "venv", options.venv)
    install(python, options.requirements, options.wheelhouse)
    if options.without_pip:
        run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip")
    site_packages = next(options.venv.glob("lib/python3.*/site-packages"))
    remove_what_never_runs(site_packages)
    strip_symbols(options.venv)
    compile_bytecode(options.venv)
    set_times(options.venv)


def run(*command: str | Path) -> None:
    """Run a program to its end; its output is the build's log."""
    subprocess.run([str(part) for part in command], check=True)


def install(python: Path, requirements: Path, wheelhouse: Path | None) -> None:
    """Install the locked wheels: no source is ever built, and each file has the hash that the lock names."""
    command: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    if wheelhouse and any(wheelhouse.glob("*.whl")):
        command += ["--no-index", "--find-links", wheelhouse]
    run(*command, "--require-hashes", "--only-binary=:all:", "--no-compile", "--requirement", requirements)
    run(python, "-m", "pip", "check")


def remove_what_never_runs(site_packages: Path) -> None:
    """Remove the paths of `NEVER_RUNS`; a pattern that finds nothing is fine, packages differ between images."""
    for pattern in NEVER_RUNS:
        for path in list(site_packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def strip_symbols(venv: Path) -> None:
    """Strip shared libraries of the symbols that only debuggers read: a quarter of TensorFlow's bytes."""
    for path in sorted(files_below(venv)):
        with path.open("rb") as file:
            is_elf = file.read(4) == b"\x7fELF"
        if is_elf:
            run("strip", "--strip-unneeded", "--preserve-dates", path)


def compile_bytecode(venv: Path) -> None:
    """Compile all modules once, here: the running image writes no bytecode, and may not.

    Bytecode is valid whatever its source's time says, so that times can be set; the image's files do not change.
    """
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    with contextlib.redirect_stdout(io.StringIO()):  # templates that are no Python fail to compile, and never run
        compileall.compile_dir(venv / "lib", quiet=2, workers=1, invalidation_mode=unchecked)


def set_times(root: Path) -> None:
    """Give each file and directory one time: layers of equal content are then equal."""
    epoch_s = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    for directory, directories, names in os.walk(root):
        for name in (*directories, *names, "."):
            os.utime(Path(directory, name), (epoch_s, epoch_s), follow_symlinks=False)


def files_below(root: Path) -> Iterator[Path]:
    """Give every regular file below `root`; links are left out."""
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            if path.is_file() and not path.is_symlink():
                yield path


if __name__ == "__main__":
    main()
