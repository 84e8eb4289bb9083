"""Builds an image's Python environment from hash-locked wheels: small, reproducible to the byte.

    python make_environment.py REQUIREMENTS.txt [--scripts REQUIREMENTS.txt]

Runs in the builder stage of the Dockerfiles, with the Python that the final stage has too. The
environment is made at /opt/venv and moved to /image/opt/venv, beside its bill of materials; the
final stage copies /image.

Rules of this file: standard library only; one table names what is removed, with reasons; nothing in
the result depends on the clock, on the order of a directory or on a cache.
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
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

VENV: Final = Path("/opt/venv")
IMAGE: Final = Path("/image")
WHEELHOUSE: Final = Path("/wheelhouse")  # docker/wheelhouse; the only source if it holds wheels
PIP_LOCK: Final = Path(__file__).with_name("requirements-pip.txt")
BASE_PACKAGES: Final = Path("/build/base-packages")
_LOAD: Final = 1  # the kind of an ELF segment that is mapped into memory

# Below site-packages. The test rings, run inside the image, prove that nothing needs them.
NEVER_RUNS: Final = {
    "tensorflow/include": "C++ headers, for compiling custom operations",
    "tensorflow/xla_aot_runtime_src": "C++ sources of models compiled ahead of time",
    "tensorflow/python/kernel_tests": "TensorFlow's own tests",
    "clang": "libclang: TensorFlow requires it, and only its source tools import it",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so": "runs models on WebGPU; servers have none",
    "ai_edge_litert/vendors": "plug-ins for phones' neural processors",
    "ai_edge_litert/tools": "converters' command lines",
    "ai_edge_litert/aot": "compiles models for phones' neural processors",
    "sagemaker_training/etc": "MPI's start scripts; MPI is left out",
    "nvidia/*/include": "CUDA's headers",
    "nvidia/cuda_nvcc/nvvm/bin": "the CUDA C++ compiler; XLA needs only libdevice and ptxas",
    "nvidia/cuda_nvcc/nvvm/lib64": "the same",
    "nvidia/cusolver/lib/libcusolverMg.so.*": "solves on several GPUs; TensorFlow never calls it",
    "nvidia/cuda_nvrtc/lib/libnvrtc.alt.so.*": "a second run-time compiler; no library loads it",
    "torch/test": "PyTorch's tests of its C++ code",
    "torch/bin/*[tT]est*": "the same",
    "torch/bin/upgrader_models": "models for these tests",
    "torch/bin/protoc*": "the compiler of protocol buffers",
    "botocore/data/*/*/examples-1.json*": "examples, for the manual of AWS's clients",
    "numpy/distutils": "compiles C and Fortran; the image has no compiler",
    "numpy/_core/_simd.*.so": "shows numpy's vector code to its own tests",
    "**/*.exe": "Windows programs that pip and setuptools copy there",
    "**/tests": "packages' own tests",
    "**/*.pyi": "types, for checkers",
    "**/*.h": "headers that packages carry for compilers",
    "**/*.a": "static libraries",
    "**/*.pxd": "Cython's headers",
}

# What these packages require only for MPI (docker/requirements-scripts.in).
OPTIONAL: Final = {
    "sagemaker_training": ("gevent", "inotify_simple", "paramiko", "psutil", "retrying", "scipy"),
    "sagemaker_inference": ("psutil", "retrying", "scipy"),
}


def main() -> None:
    """Make the environment that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--scripts", type=Path, help="lock file of the toolkits for user scripts")
    options = parser.parse_args()

    run(sys.executable, "-m", "venv", VENV)
    pip: list[str | Path] = [VENV / "bin/python", "-m", "pip"]
    pip += ["--disable-pip-version-check", "--no-input"]
    # The lock names every package, so pip need not look for more; `pip check` below verifies that.
    install = [*pip, "install", "--quiet", "--require-hashes", "--no-deps", "--no-compile"]
    if any(WHEELHOUSE.glob("*.whl")):
        install += ["--no-index", "--find-links", WHEELHOUSE]
    # The base's pip installs nothing but its successor.
    run(*install, "--only-binary=:all:", "--requirement", PIP_LOCK)
    run(*install, "--only-binary=:all:", "--requirement", options.requirements)
    site_packages = next(VENV.glob("lib/python3.*/site-packages"))
    if options.scripts:
        # They are sources, built by the locked setuptools, without what only MPI needs.
        run(*install, "--use-pep517", "--no-build-isolation", "--requirement", options.scripts)
        for package, names in OPTIONAL.items():
            make_optional(next(site_packages.glob(f"{package}-*.dist-info/METADATA")), names)
    run(*pip, "check")
    materials = IMAGE / "opt/bill-of-materials"
    materials.mkdir(parents=True)
    program = Path(__file__).with_name("bill_of_materials.py")
    run(VENV / "bin/python", program, BASE_PACKAGES, materials)
    remove_what_never_runs(site_packages)
    cuda = site_packages / "nvidia/cuda_nvcc"
    if cuda.exists():  # XLA_FLAGS needs a name without Python's version
        (VENV / "cuda").symlink_to(cuda.relative_to(VENV))
    strip_symbols(site_packages)
    compile_bytecode()
    shutil.move(VENV, IMAGE / "opt/venv")
    set_times(IMAGE)


def run(*command: str | Path) -> None:
    """Run a program to its end; its output is the build's log.

    It writes no bytecode, which would contain times, and compiles without the paths of temporary
    directories (-g0).
    """
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CFLAGS": "-g0"}
    subprocess.run([str(part) for part in command], check=True, env=environ)


def make_optional(metadata: Path, names: tuple[str, ...]) -> None:
    """Change a package's metadata to require `names` only for an extra `mpi`, for `pip check`."""
    text = metadata.read_text(encoding="utf-8")
    for name in names:
        text, count = re.subn(
            rf"^(Requires-Dist: {name}\b[^;\n]*)$", r'\1; extra == "mpi"', text, flags=re.MULTILINE
        )
        if count != 1:
            raise SystemExit(f"{metadata} requires {name} {count} times; OPTIONAL expects it once")
    metadata.write_text(text, encoding="utf-8")


def remove_what_never_runs(site_packages: Path) -> None:
    """Remove the paths of `NEVER_RUNS`; a pattern may match nothing, as images differ."""
    for pattern in NEVER_RUNS:
        for path in list(site_packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def strip_symbols(site_packages: Path) -> None:
    """Strip shared libraries of debuggers' symbols: a quarter of TensorFlow's bytes.

    NVIDIA's libraries are already stripped, and patched in ways that `strip` may break.
    """
    for path in sorted(files_below(site_packages)):
        with path.open("rb") as file:
            is_elf = file.read(4) == b"\x7fELF"
        if is_elf and not path.is_relative_to(site_packages / "nvidia"):
            strip_library(path)


def strip_library(path: Path) -> None:
    """Strip one library, unless that breaks it.

    The `strip` of Debian 12 (binutils 2.40) misaligns the segments of libraries that wheels' tools
    have patched, such as numpy's OpenBLAS.
    """
    kept = path.with_name(f"{path.name}.kept")
    shutil.copy2(path, kept)
    run("strip", "--strip-unneeded", "--preserve-dates", path)
    if is_aligned(path):
        kept.unlink()
    else:
        kept.replace(path)
        print(f"{path} keeps its symbols: this distribution's `strip` breaks it", flush=True)


def is_aligned(library: Path) -> bool:
    """Return whether the loader can map all segments of a 64-bit ELF file (elf(5))."""
    content = library.read_bytes()
    (start,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for number in range(count):
        kind, _, offset, address, *_, alignment = struct.unpack_from(
            "<IIQQQQQQ", content, start + number * size
        )
        if kind == _LOAD and (address - offset) % max(alignment, 1):
            return False
    return True


def compile_bytecode() -> None:
    """Compile all modules once: the running image writes no bytecode, and may not.

    The bytecode stays valid whatever its source's time, so that times can be set.
    """
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    with contextlib.redirect_stdout(io.StringIO()):  # templates that are not Python fail to compile
        compileall.compile_dir(
            VENV / "lib", quiet=2, force=True, workers=1, invalidation_mode=unchecked
        )


def set_times(root: Path) -> None:
    """Set one time for all files and directories, so that equal content makes equal layers."""
    epoch_s = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    for directory, directories, names in os.walk(root):
        for name in (*directories, *names, "."):
            os.utime(Path(directory, name), (epoch_s, epoch_s), follow_symlinks=False)


def files_below(root: Path) -> Iterator[Path]:
    """Yield every regular file below `root`, without links."""
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            if path.is_file() and not path.is_symlink():
                yield path


if __name__ == "__main__":
    main()
