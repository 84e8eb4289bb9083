"""Errors that are explained: libraries of the system, and classes of the training script."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from container.user_packages import import_advice

SHARED = "shared memory (/dev/shm) is full"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "OSError: libgomp.so.1: cannot open shared object file: No such file or directory",
            "libgomp.so.1 is in the Debian package libgomp1",
        ),
        ("ImportError: libGL.so.1: cannot open shared object file", "add libgl1 to apt.txt"),
        (
            "ImportError: libfancy-2.so.7: cannot open shared object file",
            "find its name with `apt-file search libfancy-2.so.7`",
        ),
        (
            "OSError: libcublas.so.12: cannot open shared object file",
            "which only the GPU image has",
        ),
        ("ImportError: libcudnn_ops.so.9: cannot open shared object file", "build for CPUs"),
        ("ImportError: libcurl.so.4: cannot open shared object file", "libcurl4t64"),
        (
            "ImportError: /lib/libc.so.6: version `GLIBC_2.44' not found (required by /a/b.so)",
            "built on a newer system than this image, which lacks GLIBC_2.44",
        ),
        (
            "AttributeError: Can't get attribute 'Scaler' on <module '__main__' from 'x.py'>",
            "Scaler was defined in the training script itself",
        ),
        ("Can't get attribute 'Net.Block' on <module '__main__' (built-in)>", "Net.Block was"),
        ("RuntimeError: DataLoader worker (pid 9) is killed by signal: Bus error. It", SHARED),
        ("unable to write to file </torch_9_1_0>: No space left on device (28)", SHARED),
        ("OSError: [Errno 28] No space left on device: '/psm_1b2c'", SHARED),
        ("Error while creating shared memory segment /dev/shm/nccl-x (size 9637888)", SHARED),
        ("OSError: [Errno 28] No space left on device: '/opt/ml/model/a'", ""),
        ("ModuleNotFoundError: No module named 'x'", ""),
        ("Can't get attribute 'Scaler' on <module 'features'>", ""),
    ],
)
def test_an_error_is_explained(text: str, advice: str) -> None:
    explanation = import_advice.explain(text)
    assert advice in explanation
    assert bool(explanation) == bool(advice)


@pytest.fixture
def scaler(monkeypatch: pytest.MonkeyPatch) -> object:
    """Return an object of a class of `__main__`, as a training script has them."""
    module = types.ModuleType("__main__")
    exec("class Scaler:\n    pass\nclass Model:\n    pass\n", module.__dict__)  # noqa: S102 - ours
    monkeypatch.setitem(sys.modules, "__main__", module)
    model = module.Model()
    model.parts = [module.Scaler(), np.arange(5000.0), module.Scaler()]
    return model


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_the_scripts_own_classes_is_found(
    tmp_path: Path, scaler: object, protocol: int
) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(scaler, protocol))
    [warning] = import_advice.find_unservable(tmp_path)
    assert warning.startswith("model.pkl cannot be loaded for serving: Model, Scaler was defined")


@pytest.mark.parametrize("name", ["model.joblib", "model.v2.PKL.gz"])
@pytest.mark.parametrize("compress", [0, 3, *((name, 3) for name in ("gzip", "bz2", "xz", "lzma"))])
def test_joblib_files_are_read_as_well(
    tmp_path: Path, scaler: object, compress: int | tuple[str, int], name: str
) -> None:
    joblib.dump(scaler, tmp_path / name, compress=compress)
    [warning] = import_advice.find_unservable(tmp_path)
    assert "Model" in warning


def test_a_module_of_pytorch_and_modules_beside_the_script_are_found(
    tmp_path: Path, scaler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:  # as torch.save writes it
        archive.writestr("model/data.pkl", pickle.dumps(scaler, 2))
        archive.writestr("model/data/0", bytes(99))
    (tmp_path / "old.pt").write_bytes(pickle.dumps(scaler, 2) + bytes(9))
    module = types.ModuleType("features")
    module.Model = type("Model", (), {"__module__": "features"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "features", module)
    (tmp_path / "own.pkl").write_bytes(pickle.dumps(module.Model()))
    first, old, own = import_advice.find_unservable(tmp_path, {"features"})
    assert first.startswith("model.pth cannot be loaded for serving: Model, Scaler was defined")
    assert old.startswith("old.pt cannot be loaded")
    assert own.startswith("own.pkl cannot be loaded for serving without features of your code")
    assert len(list(import_advice.find_unservable(tmp_path))) == 2


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"path": Path("/"), "__main__": "text"}))
    for head in (b"\x78\x9c", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x5d\x00\x00"):
        (tmp_path / f"damaged-{head.hex()}.joblib").write_bytes(head + b"no stream")
    (tmp_path / "empty.pickle").write_bytes(b"")
    (tmp_path / "weights.bin").write_bytes(b"c__main__\nScaler\n")
    assert list(import_advice.find_unservable(tmp_path)) == []
