"""The kinds of models that are served without code: their files, and what loads them.

To add a kind, write a module in `loaders` and add a line to the table. The module is imported when
its first model is loaded, and its framework with it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOOK_BYTES: Final = 4096
HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"


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


def _starts_with(*beginnings: bytes) -> Callable[[Path], bool]:
    """Return whether a file starts so, after white space."""
    return lambda path: read_head(path).lstrip().startswith(beginnings)


def _is_xgboost_json(path: Path) -> bool:
    head = b"".join(read_head(path).split())
    return head.startswith(b'{"learner":') or (
        head.startswith(b'{"version":') and b'"learner":' in head
    )


def _is_xgboost_ubj(path: Path) -> bool:
    return b"learner" in read_head(path)[:64]


def list_members(path: Path) -> list[str]:
    """List the files in a zip archive below its only folder; none if it is not an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError):
        return []


def _is_torch_script(path: Path) -> bool:
    return "constants.pkl" in list_members(path)


def _is_compiled(path: Path) -> bool:
    return any(name.startswith("data/aotinductor/") for name in list_members(path))


def _is_exported(path: Path) -> bool:
    return not _is_compiled(path)


def _is_torch_pickle(path: Path) -> bool:
    return not _is_torch_script(path)


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, whatever its name."""
    return read_head(path).startswith(HDF5_MAGIC)


def _is_keras_hdf5(path: Path) -> bool:
    return not path.name.lower().endswith((".weights.h5", ".weights.hdf5"))


def read_head(path: Path) -> bytes:
    """Read the beginning of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(_LOOK_BYTES)
    except OSError:
        return b""


KINDS: Final[dict[str, Kind]] = {
    "LiteRT": Kind("litert:LiteRtModel", "ai-edge-litert", (".tflite",)),
    "SavedModel": Kind("saved_models:SavedModel", "tensorflow"),
    "Keras": Kind(
        "keras_models:KerasModel", "tensorflow", (".keras", ".h5", ".hdf5"), _is_keras_hdf5
    ),
    "ONNX": Kind("onnx_models:OnnxModel", "onnxruntime", (".onnx",)),
    "MLflow": Kind("mlflow_models:MlflowModel", "mlflow-skinny"),
    "XGBoost": Kind(
        "boosters.xgboost_models:XgboostModel", "xgboost", (".json",), _is_xgboost_json
    ),
    "XGBoost binary": Kind(
        "boosters.xgboost_models:XgboostModel", "xgboost", (".ubj",), _is_xgboost_ubj
    ),
    "LightGBM": Kind(
        "boosters.lightgbm_models:LightgbmModel",
        "lightgbm",
        (".txt",),
        _starts_with(b"tree\n", b"tree\r\n"),
    ),
    "CatBoost": Kind("boosters.catboost_models:CatboostModel", "catboost", (".cbm",)),
    "AOTInductor": Kind("pytorch.programs:CompiledProgram", "torch", (".pt2",), _is_compiled),
    "torch.export": Kind("pytorch.programs:ExportedProgram", "torch", (".pt2",), _is_exported),
    "TorchScript": Kind(
        "pytorch.programs:ScriptProgram", "torch", (".pt", ".pth", ".ts"), _is_torch_script
    ),
    "skops": Kind("scikit_models:SkopsModel", "skops", (".skops",)),
    "safetensors": Kind("pytorch.weights:WeightsModel", "safetensors", (".safetensors",)),
    "PyTorch weights": Kind(
        "pytorch.weights:WeightsModel", "torch", (".pt", ".pth"), _is_torch_pickle
    ),
    "pickle": Kind(
        "scikit_models:PickledModel",
        "scikit-learn",
        (".joblib", ".pkl", ".pickle"),
        is_pickle=True,
    ),
    "artifact": Kind("artifacts:ArtifactModel", "tensorflow"),
}
"""The kinds; of one model saved in several, the first is served, whose runtime is the lightest."""


def recognize(path: Path) -> str | None:
    """Return the kind of model that a file is, or None."""
    suffix = path.suffix.lower()
    for name, kind in KINDS.items():
        if suffix in kind.suffixes and (kind.look is None or kind.look(path)):
            return name
    is_named = any(suffix in kind.suffixes for kind in KINDS.values())
    if not is_named and is_hdf5(path):
        return "Keras"
    return None
