"""Makes an image's Python environment: hash-locked wheels, without what never runs, and the same bytes each time.

    python make_environment.py REQUIREMENTS.txt [--scripts REQUIREMENTS.txt]

Runs in the builder stage of the Dockerfiles, on the Python that the final stage has too. The
environment is made at /opt/venv and left in /image/opt/venv, beside its bill of materials: all of
/image is what the final stage copies.

Rules of this file: standard library only; what is removed stands in one table with its reason;
nothing is left that depends on the clock, on the order of a directory or on a cache.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import io
import os
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

VENV: Final = Path("/opt/venv")
IMAGE: Final = Path("/image")
WHEELHOUSE: Final = Path(
    "/wheelhouse"
)  # the build context's docker/wheelhouse; installed from alone if it holds wheels
BASE_PACKAGES: Final = Path("/build/base-packages")

# Below site-packages. Proven harmless by the test rings, which run inside the image.
NEVER_RUNS: Final = {
    "tensorflow/include": "C++ headers, for compiling custom operations",
    "tensorflow/xla_aot_runtime_src": "C++ sources of compiled-ahead models",
    "tensorflow/python/kernel_tests": "TensorFlow's own tests",
    "clang": "libclang: TensorFlow requires it, and only its source tools import it",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so": "runs models on a WebGPU device; servers have none",
    "ai_edge_litert/vendors": "plug-ins for phones' neural processors",
    "ai_edge_litert/tools": "converters' command lines",
    "sagemaker_training/etc": "MPI's start scripts; MPI is left out",
    "nvidia/*/include": "CUDA's headers",
    "nvidia/cuda_nvcc/nvvm/bin": "the CUDA C++ compiler; XLA brings its own and wants libdevice and ptxas alone",
    "nvidia/cuda_nvcc/nvvm/lib64": "the same",
    "nvidia/cusolver/lib/libcusolverMg.so.*": "one solver over several GPUs; TensorFlow has no call for it",
    "nvidia/cuda_nvrtc/lib/libnvrtc.alt.so.*": "a second run-time compiler that no library here loads",
    "**/tests": "packages' own tests",
    "**/*.pyi": "types, for checkers",
    "**/*.h": "headers that packages carry for compilers",
    "**/*.a": "static libraries",
}

# What these packages say that they require, and need for MPI alone
# (docker/requirements-scripts.in).
OPTIONAL: Final = {
    "sagemaker_training": ("gevent", "inotify_simple", "paramiko", "psutil", "retrying", "scipy"),
    "sagemaker_inference": ("psutil", "retrying", "scipy"),
}


def main() -> None:
    """Make the environment that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--scripts", type=Path, help="lock of the toolkits of users' own scripts")
    options = parser.parse_args()

    run(sys.executable, "-m", "venv", VENV)
    pip: list[str | Path] = [
        VENV / "bin/python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
    ]
    # The lock names every package, so pip need not look for more; `pip check` below holds it to
    # that.
    install = [*pip, "install", "--quiet", "--require-hashes", "--no-deps", "--no-compile"]
    if any(WHEELHOUSE.glob("*.whl")):
        install += ["--no-index", "--find-links", WHEELHOUSE]
    run(*install, "--only-binary=:all:", "--requirement", options.requirements)
    site_packages = next(VENV.glob("lib/python3.*/site-packages"))
    if options.scripts:
        # They come as source, for the locked setuptools, and without what only MPI needs.
        run(*install, "--use-pep517", "--no-build-isolation", "--requirement", options.scripts)
        for package, names in OPTIONAL.items():
            make_optional(next(site_packages.glob(f"{package}-*.dist-info/METADATA")), names)
    run(*pip, "check")
    materials = IMAGE / "opt/bill-of-materials"
    materials.mkdir(parents=True)
    run(
        VENV / "bin/python",
        Path(__file__).with_name("bill_of_materials.py"),
        BASE_PACKAGES,
        materials,
    )
    remove_what_never_runs(site_packages)
    if (
        site_packages / "nvidia/cuda_nvcc"
    ).exists():  # a name without Python's version in it, for XLA_FLAGS
        (VENV / "cuda").symlink_to((site_packages / "nvidia/cuda_nvcc").relative_to(VENV))
    strip_symbols(site_packages)
    compile_bytecode()
    shutil.move(VENV, IMAGE / "opt/venv")
    set_times(IMAGE)


def run(*command: str | Path) -> None:
    """Run a program to its end; its output is the build's log.

    It leaves no bytecode, which would hold times, and what it compiles holds no paths of temporary
    directories (-g0).
    """
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CFLAGS": "-g0"}
    subprocess.run([str(part) for part in command], check=True, env=environ)


def make_optional(metadata: Path, names: tuple[str, ...]) -> None:
    """Say in a package's metadata that it needs `names` for its extra `mpi` alone: `pip check` then tells the truth."""
    text = metadata.read_text(encoding="utf-8")
    for name in names:
        text, count = re.subn(
            rf"^(Requires-Dist: {name}\b[^;\n]*)$", r'\1; extra == "mpi"', text, flags=re.MULTILINE
        )
        if count != 1:
            message = f"{metadata} requires {name} {count} times; OPTIONAL expects it once"
            raise SystemExit(message)
    metadata.write_text(text, encoding="utf-8")


def remove_what_never_runs(site_packages: Path) -> None:
    """Remove the paths of `NEVER_RUNS`; a pattern that finds nothing is fine, packages differ between images."""
    for pattern in NEVER_RUNS:
        for path in list(site_packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def strip_symbols(site_packages: Path) -> None:
    """Strip shared libraries of the symbols that only debuggers read: a quarter of TensorFlow's bytes.

    NVIDIA's libraries come stripped, and patched in ways that another tool had better not touch.
    """
    for path in sorted(files_below(site_packages)):
        with path.open("rb") as file:
            is_elf = file.read(4) == b"\x7fELF"
        if is_elf and not path.is_relative_to(site_packages / "nvidia"):
            run("strip", "--strip-unneeded", "--preserve-dates", path)


def compile_bytecode() -> None:
    """Compile all modules once, here: the running image writes no bytecode, and may not.

    Bytecode is valid whatever its source's time says, so that times can be set; the image's files
    do not change.
    """
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    with contextlib.redirect_stdout(
        io.StringIO()
    ):  # templates that are no Python fail to compile, and never run
        compileall.compile_dir(
            VENV / "lib", quiet=2, force=True, workers=1, invalidation_mode=unchecked
        )


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
