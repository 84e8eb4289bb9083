"""The kinds of models that are served without code: their files, and what loads them.

To add a kind, write a module in `loaders` and add a line to the table. The module is imported when
its first model is loaded, and its framework with it.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOOK_BYTES: Final = 4096
HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
MODULE_MANIFEST: Final = "module.json"
WEIGHTS_INDEX: Final = ".index.json"
_COMPRESSIONS: Final = frozenset({".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4"})
"""Of which joblib reads all."""
_XGBOOST_OF_SAGEMAKER: Final = "xgboost-model"
"""What the XGBoost container of SageMaker calls its model, whatever XGBoost wrote."""
_PICKLE: Final = b"\x80"


@dataclass(frozen=True)
class Kind:
    """A kind of model."""

    loader: str
    """The module and the class that load it."""
    package: str
    """What to install; a line of requirements.txt."""
    suffixes: tuple[str, ...] = ()
    """Of the names of its files, in lower case."""
    look: Callable[[Path], bool] | None = None
    """Returns whether a file with such a name is one; None if the name suffices."""
    is_pickle: bool = False
    """Whether loading it runs what the file says."""


def _is_lgbm(head: bytes) -> bool:
    return head.lstrip().startswith((b"tree\n", b"tree\r\n"))


def _is_xgb_json(head: bytes) -> bool:
    head = b"".join(head.split())
    return head.startswith(b'{"learner":') or (
        head.startswith(b'{"version":') and b'"learner":' in head
    )


def _is_xgb_ubj(head: bytes) -> bool:
    return head.startswith(b"{") and b"learner" in head[:64]


def _by_head(judge: Callable[[bytes], bool]) -> Callable[[Path], bool]:
    return lambda path: judge(read_head(path))


def list_members(path: Path) -> list[str]:
    """List the files in a zip archive below its only folder; none if it is not an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError):
        return []


def _is_compiled(path: Path) -> bool:
    return any(name.startswith("data/aotinductor/") for name in list_members(path))


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, whatever its name."""
    return read_head(path).startswith(HDF5_MAGIC)


def _is_keras(path: Path) -> bool:
    return not path.name.lower().endswith((".weights.h5", ".weights.hdf5"))


def is_of_several_files(directory: Path) -> bool:
    """Return whether `module.json` in a directory names several files of weights.

    A file of that name may belong to something else.
    """
    try:
        names = json.loads((directory / MODULE_MANIFEST).read_bytes())["weights"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return isinstance(names, list) or str(names).endswith(WEIGHTS_INDEX)


def read_head(path: Path) -> bytes:
    """Read the beginning of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(LOOK_BYTES)
    except OSError:
        return b""


KINDS: Final[dict[str, Kind]] = {
    "LiteRT": Kind("litert:LiteRtModel", "ai-edge-litert", (".tflite",)),
    "SavedModel": Kind("saved_models:SavedModel", "tensorflow"),
    "Keras": Kind("keras_models:KerasModel", "tensorflow", (".keras", ".h5", ".hdf5"), _is_keras),
    "ONNX": Kind("onnx_models:OnnxModel", "onnxruntime", (".onnx",)),
    "MLflow": Kind("mlflow_models:load", "mlflow-skinny"),
    "XGBoost": Kind("boosters.xgboost_models:load", "xgboost", (".json",), _by_head(_is_xgb_json)),
    "XGBoost binary": Kind(
        "boosters.xgboost_models:load", "xgboost", (".ubj",), _by_head(_is_xgb_ubj)
    ),
    "LightGBM": Kind("boosters.lightgbm_models:load", "lightgbm", (".txt",), _by_head(_is_lgbm)),
    "CatBoost": Kind("boosters.catboost_models:load", "catboost", (".cbm",)),
    "AOTInductor": Kind("pytorch.programs:CompiledProgram", "torch", (".pt2",), _is_compiled),
    "torch.export": Kind("pytorch.exported_programs:ExportedProgram", "torch", (".pt2",)),
    "TorchScript": Kind(
        "pytorch.programs:ScriptProgram",
        "torch",
        (".pt", ".pth", ".ts", ".torchscript", ".ptl"),
        lambda path: "constants.pkl" in list_members(path),
    ),
    "skops": Kind("scikit_models:SkopsModel", "skops", (".skops",)),
    "safetensors": Kind("pytorch.weights:load", "safetensors", (".safetensors",)),
    "PyTorch weights": Kind("pytorch.weights:load", "torch", (".pt", ".pth")),
    "pickle": Kind(
        "pickles:load",
        "scikit-learn",
        (".joblib", ".pkl", ".pickle", ".sav", ".p", ".dill", ".cloudpickle"),
        is_pickle=True,
    ),
    "artifact": Kind("artifacts:ArtifactModel", "tensorflow"),
}
"""The kinds; of one model saved in several, the first is served, whose runtime is the lightest.

A file is of the first kind that has its suffix and looks so.
"""


_HEADS: Final[dict[str, Callable[[bytes], bool]]] = {
    "Keras": lambda head: head.startswith(HDF5_MAGIC),
    "XGBoost": _is_xgb_json,
    "XGBoost binary": _is_xgb_ubj,
    "LightGBM": lambda head: _is_lgbm(head) and b"version=" in head[:32],
    "CatBoost": lambda head: head.startswith(b"CBM1"),
    "LiteRT": lambda head: head[4:8] == b"TFL3",
}
"""What says that a file is of a kind where its name does not."""


def recognize(path: Path) -> str | None:
    """Return the kind of model that a file is, or None."""
    suffix = path.suffix.lower()
    if suffix in _COMPRESSIONS:
        is_pickle = Path(path.stem).suffix.lower() in KINDS["pickle"].suffixes
        return "pickle" if is_pickle else None
    for name, kind in KINDS.items():
        if suffix in kind.suffixes and (kind.look is None or kind.look(path)):
            return name
    if any(suffix in kind.suffixes for kind in KINDS.values()):
        return None
    return _recognize_by_head(path)


def _recognize_by_head(path: Path) -> str | None:
    """Return the kind of a file whose name says nothing."""
    head = read_head(path)
    for name, judge in _HEADS.items():
        if judge(head):
            return name
    if path.stem.startswith(_XGBOOST_OF_SAGEMAKER):
        return "pickle" if head.startswith(_PICKLE) else "XGBoost binary"
    return None


_UNPACKED: Final = _COMPRESSIONS | {".zst", ".zip", ".tar", ".tgz"}
_HINTS: Final = {
    ".weights.h5": "weights without a model; save the model with model.save('model.keras')",
    ".ckpt": "a checkpoint; save its state_dict as model.pt and name its module in module.json",
    ".bin": "of an unknown kind; save PyTorch weights as model.pt, with module.json beside it",
    ".pb": "a TensorFlow 1 graph; save it as a SavedModel",
    ".params": "a file of MXNet, which is no longer maintained; convert the model to ONNX",
    ".pmml": "PMML; convert it to ONNX",
    ".gguf": "a model for llama.cpp; add code/inference.py",
}


def explain(path: Path) -> str:
    """Say what a file is that looks like a model of no kind; empty if it does not."""
    name = path.name.lower()
    if path.suffix.lower() in _UNPACKED:
        return f"{path.name} is compressed; unpack it"
    found = [hint for ending, hint in _HINTS.items() if name.endswith(ending)]
    return f"{path.name} is {found[0]}" if found else ""


def find_stem(path: Path) -> str:
    """Return the name of a file without what says its kind: `model` of `model.joblib.gz`."""
    if path.suffix.lower() in _COMPRESSIONS:
        return Path(path.stem).stem
    return path.stem
