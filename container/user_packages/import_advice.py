"""Explains errors whose text does not say what to do: missing libraries, classes of `__main__`.

Rules of this file: standard library only; it reads texts and files, and loads nothing.
"""

import bz2
import contextlib
import lzma
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

APT_LIST: Final = "apt.txt"
_MISSING_LIBRARY: Final = re.compile(r"\b(lib[\w.+-]+?\.so(?:\.\d+)*): cannot open shared object")
_MAIN_ATTRIBUTE: Final = re.compile(
    r"Can't get attribute '([\w.]+)' on <module '__main__'|"
    r"module '__main__' has no attribute '([\w.]+)'"
)
_OLDER: Final = re.compile(r"version `((GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found")
_SHARED: Final = re.compile(r"signal: Bus error|</torch_\d|segment /dev/shm|'/(psm_|dev/shm)")
_CUDA: Final = re.compile(r"lib(cu(da|blas|dnn|fft|file|pti|rand|solver|sparse)|nccl|nv)\w*\.so")
# Of Debian 13, which the CPU image is made from.
_PACKAGES: Final = {
    "libgomp.so.1": "libgomp1",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libGLU.so.1": "libglu1-mesa",
    "libglib-2.0.so.0": "libglib2.0-0t64",
    "libgthread-2.0.so.0": "libglib2.0-0t64",
    "libgobject-2.0.so.0": "libglib2.0-0t64",
    "libsndfile.so.1": "libsndfile1",
    "libportaudio.so.2": "libportaudio2",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libxcb.so.1": "libxcb1",
    "libcairo.so.2": "libcairo2",
    "libgeos_c.so.1": "libgeos-c1t64",
    "libgdal.so.36": "libgdal36",
    "libspatialindex_c.so.8": "libspatialindex8",
    "libpq.so.5": "libpq5",
    "libmariadb.so.3": "libmariadb3",
    "libodbc.so.2": "libodbc2",
    "libmagic.so.1": "libmagic1t64",
    "libgfortran.so.5": "libgfortran5",
    "libquadmath.so.0": "libquadmath0",
    "libopenblas.so.0": "libopenblas0",
    "libstdc++.so.6": "libstdc++6",
    "libatomic.so.1": "libatomic1",
    "libnuma.so.1": "libnuma1",
    "libtbb.so.12": "libtbb12",
    "libjemalloc.so.2": "libjemalloc2",
    "libtcmalloc.so.4": "libgoogle-perftools4t64",
    "libmpi.so.40": "libopenmpi40",
    "libxml2.so.2": "libxml2",
    "libxslt.so.1": "libxslt1.1",
    "libcurl.so.4": "libcurl4t64",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libsasl2.so.2": "libsasl2-2",
    "libtk8.6.so": "libtk8.6",
    "libenchant-2.so.2": "libenchant-2-2",
    "libavcodec.so.61": "libavcodec61",
}
_PICKLE: Final = re.compile(
    r"\.(pkl|pickle|joblib|sav|p|dill|cloudpickle)(\.(gz|z|bz2|xz|lzma))?$", re.IGNORECASE
)
_TORCH: Final = re.compile(r"\.(pt|pth|bin|ckpt)$", re.IGNORECASE)
_DECOMPRESSORS: Final = (
    (b"\x78", zlib.decompressobj),
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ", lzma.LZMADecompressor),
    (b"\x5d\x00\x00", lzma.LZMADecompressor),
)
"""By the first bytes of a file, as joblib compresses."""
_INSPECTED_BYTES: Final = 64 * 1024 * 1024


def explain(text: str) -> str:
    """Explain an error by its text; empty if there is nothing to add."""
    library = _MISSING_LIBRARY.search(text)
    if library:
        return _explain_library(library[1])
    older = _OLDER.search(text)
    if older:
        return (
            f"a library was built on a newer system than this image, which lacks {older[1]}: "
            "install the package from its wheel (manylinux), or build it in this image"
        )
    if _SHARED.search(text):
        return (
            "shared memory (/dev/shm) is full; it may have only 64 MB on SageMaker, and no request "
            "can raise that: use no worker processes in the data loader, or smaller batches"
        )
    attribute = _MAIN_ATTRIBUTE.search(text)
    if attribute:
        return _explain_main([attribute[1] or attribute[2]])
    return ""


def _explain_library(library: str) -> str:
    if _CUDA.match(library):
        return (
            f"{library} is part of NVIDIA's CUDA, which only the GPU image has: build it by "
            "Dockerfile.gpu, or install the package's build for CPUs"
        )
    package = _PACKAGES.get(library)
    if package is None:
        return (
            f"{library} belongs to a system package that this image lacks; find its name with "
            f"`apt-file search {library}`, and add it to {APT_LIST} beside requirements.txt"
        )
    return (
        f"{library} is in the Debian package {package}, which this image lacks: add {package} to "
        f"{APT_LIST} beside requirements.txt, which the Dockerfile of `init` installs, or write "
        f"RUN apt-get update && apt-get install -y {package} into your Dockerfile"
    )


def _explain_main(names: list[str]) -> str:
    listed = ", ".join(names)
    return (
        f"{listed} was defined in the training script itself, which is `__main__` while it trains "
        "and is not there while serving: move the definition into a module of its own beside the "
        "script (from features import ...), and send that module with the inference code"
    )


def find_unservable(model_dir: Path, own_modules: Collection[str] = ()) -> Iterator[str]:
    """Yield a warning for each pickle of `model_dir` that needs what is not there while serving.

    Such are objects of the training script, and of `own_modules`, the modules beside it.
    """
    for path in sorted(filter(Path.is_file, model_dir.rglob("*"))):
        found = set(_list_globals(path, {"__main__", *own_modules}))
        names = sorted(name for module, name in found if module == "__main__")
        modules = ", ".join(sorted({module for module, _ in found} - {"__main__"}))
        if names:
            yield f"{path.name} cannot be loaded for serving: {_explain_main(names)}"
        if modules:
            yield (
                f"{path.name} cannot be loaded for serving without {modules} of your code, which "
                "is put beside the model only if it has an inference.py"
            )


def _list_globals(path: Path, modules: Collection[str]) -> Iterator[tuple[str, str]]:
    """List what a pickle refers to in some modules, as far as it can be read."""
    data = _read_pickle(path)
    one_of = rb"(" + b"|".join(re.escape(module.encode()) for module in modules) + rb")"
    # Both forms in which a pickle names a global: by one opcode, and by two strings.
    for form in (rb"c%b\n([\w.]+)\n", rb"(?s:\x8c.)%b\x94(?s:\x8c.)([\w.]+)\x94\x93"):
        for module, name in re.findall(form % one_of, data):
            yield module.decode(), name.decode()
    # joblib writes arrays between the opcodes; what was found before them counts.
    with contextlib.suppress(ValueError, IndexError, UnicodeError):
        yield from (found for found in _follow_opcodes(data) if found[0] in modules)


def _read_pickle(path: Path) -> bytes:
    """Return the beginning of a pickle, which PyTorch stores in a zip archive; b"" for others."""
    is_torch = _TORCH.search(path.name)
    if not is_torch and not _PICKLE.search(path.name):
        return b""
    with path.open("rb") as file:
        data = file.read(_INSPECTED_BYTES)
    if is_torch and not data.startswith((b"\x80", b"PK")):
        return b""
    for magic, make in _DECOMPRESSORS:
        if data.startswith(magic):
            with contextlib.suppress(zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
                return make().decompress(data, _INSPECTED_BYTES)
    return data


def _follow_opcodes(data: bytes) -> Iterator[tuple[str, str]]:
    """List module and name of what opcodes refer to, also by strings that were met before."""
    import pickletools  # as long to import as ten of our modules

    pushed: object = None
    before: object = None
    memo: dict[object, object] = {}
    for opcode, argument, _ in pickletools.genops(data):
        match opcode.name:
            case "GLOBAL" | "INST":
                module, _, name = str(argument).partition(" ")
                yield module, name
            case "STACK_GLOBAL":
                yield str(before), str(pushed)
            case "MEMOIZE":
                memo[len(memo)] = pushed
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = pushed
            case "BINGET" | "LONG_BINGET":
                before, pushed = pushed, memo.get(argument)
            case _:
                before, pushed = pushed, argument
