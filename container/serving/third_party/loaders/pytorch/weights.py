"""Weights of PyTorch, as safetensors or a state dictionary, in a module that a manifest names."""

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from container.errors import UserError
from container.serving.third_party.loaders.pytorch import module_manifest
from container.serving.third_party.loaders.pytorch.programs import (
    TorchModel,
    find_device,
    find_float_type,
    import_torch,
    name_inputs,
    read_exact_types,
)
from container.serving.third_party.model_files import PICKLE_VARIABLE, Choice
from container.serving.third_party.signature import Tensors

_FLOATS: Final = ("float32", "float64", "float16", "bfloat16")


class WeightsModel(TorchModel):
    """A module with its weights."""

    def __init__(self, module: Any, directory: Path, dtype: Any = None) -> None:
        """`directory` may hold a manifest; `dtype` is what the parameters become."""
        device = find_device(import_torch())
        module = module.to(device=device, dtype=dtype).eval()
        inputs = module_manifest.read_inputs(directory) or name_inputs(_list_inputs(module))
        super().__init__(
            module, Tensors(inputs), device, read_exact_types(directory), find_float_type(module)
        )


def load(path: Path, choice: Choice) -> WeightsModel:
    """Load the weights at `path` into the module that the manifest beside them names.

    Raises: UserError if there is none, or they do not fit it.
    """
    directory = path if path.is_dir() else path.parent
    manifest = module_manifest.read(directory)
    torch = import_torch()
    if "module" in manifest:
        module = _fill(torch, path, directory, manifest)
    else:
        module = _unpickle(torch, path, directory, choice)
    return WeightsModel(module, directory, _read_type(torch, directory, manifest))


def _fill(torch: Any, path: Path, directory: Path, manifest: dict[str, Any]) -> Any:
    """Make the module that a manifest names, and load its weights."""
    module = _make(directory, manifest["module"], manifest.get("arguments", {}))
    weights: dict[str, Any] = {}
    for name in module_manifest.list_weights(directory, path.name):
        if not (directory / name).is_file():
            message = f"{directory / module_manifest.NAME} names the weights {name}, which are not "
            raise UserError(message + "there")
        weights |= _read(torch, directory / name)
    try:
        module.load_state_dict(_strip(weights, module.state_dict()))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:1000]
        message = f"the weights in {path} do not fit {manifest['module']}: {reason}"
        raise UserError(message) from error
    return module


def _read_type(torch: Any, directory: Path, manifest: dict[str, Any]) -> Any:
    """Return the type that a manifest gives the parameters; None if it gives none."""
    name = manifest.get("dtype")
    if name is None:
        return None
    if name not in _FLOATS:
        expected = ", ".join(_FLOATS)
        message = f"{directory / module_manifest.NAME}: dtype is {name!r}; expected: {expected}"
        raise UserError(message)
    return getattr(torch, name)


def _unpickle(torch: Any, path: Path, directory: Path, choice: Choice) -> Any:
    """Load a module that was saved with its class, if the user allows it.

    Raises: UserError that says how to name the module of weights.
    """
    by_manifest = (
        f"put the module that takes them into {module_manifest.NAME} beside it: "
        f'{{"module": "package.module:Class", "arguments": {{}}, "weights": "{path.name}"}}, or '
        "save the model by torch.export.save or torch.jit.save"
    )
    if path.suffix == ".safetensors" or path.is_dir() or _holds_weights(torch, path):
        raise UserError(f"{path} holds weights and no code; {by_manifest}")
    if not choice.allow_pickle:
        raise UserError(
            f"{path} is a pickle that holds more than weights, and may run any code when it is "
            f"loaded; set {PICKLE_VARIABLE}=true if you trust whoever wrote it, or save only "
            f"the weights, by torch.save(model.state_dict(), ...), and {by_manifest}"
        )
    _add_code(directory)
    module = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(module, torch.nn.Module):
        message = f"{path} holds a {type(module).__name__}, not a torch.nn.Module; {by_manifest}"
        raise UserError(message)
    return module


def _holds_weights(torch: Any, path: Path) -> bool:
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # noqa: BLE001 - whatever a file that is none makes it raise
        return False
    return True


def _strip(weights: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights inside a checkpoint, without the prefixes of wrappers around a module."""
    for name in ("state_dict", "model_state_dict", "model"):
        if name not in known and isinstance(weights.get(name), dict):
            weights = weights[name]
    for prefix in ("module.", "_orig_mod."):
        if not any(name in known for name in weights):
            weights = {str(name).removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _add_code(directory: Path) -> None:
    for place in (directory / "code", directory):
        if place.is_dir() and str(place) not in sys.path:
            sys.path.insert(0, str(place))


def _make(directory: Path, name: str, arguments: dict[str, Any]) -> Any:
    """Import the class or function that a manifest names, and call it."""
    path = directory / module_manifest.NAME
    module_name, _, attribute = str(name).partition(":")
    if not attribute:
        raise UserError(f'{path} names {name}; a module is named as "package.module:Class"')
    _add_code(directory)
    try:
        made = getattr(importlib.import_module(module_name), attribute)(**arguments)
    except ImportError as error:
        raise UserError(f"{path} names {name}, which cannot be imported: {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path} names {name}, which cannot be made: {error}") from error
    if not hasattr(made, "load_state_dict"):
        message = f"{path} names {name}, which makes a {type(made).__name__}, not a torch.nn.Module"
        raise UserError(message)
    return made


def _read(torch: Any, path: Path) -> dict[str, Any]:
    """Read weights without unpickling any code.

    Raises: UserError if the file holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            safetensors: Any = importlib.import_module("safetensors.torch")
            return dict(safetensors.load_file(path))
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0][:300]
        raise UserError(
            f"{path} does not hold weights that load without running code: {reason}; save them by "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        ) from error
    return dict(weights)


def _list_inputs(module: Any) -> list[str]:
    """Return the arguments of `forward` that have no default."""
    parameters = inspect.signature(module.forward).parameters.values()
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    return [parameter.name for parameter in required if parameter.kind is not parameter.VAR_KEYWORD]
