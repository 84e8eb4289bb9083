"""Weights of PyTorch, as safetensors or a state dictionary, in a module that a manifest names."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from container.errors import UserError
from container.serving.third_party.loaders.pytorch import module_manifest
from container.serving.third_party.loaders.pytorch.programs import (
    TorchModel,
    find_device,
    import_torch,
    name_inputs,
)
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Tensors


class WeightsModel(TorchModel):
    """A module with its weights."""

    def __init__(self, path: Path, _: Choice) -> None:
        """`path` is the directory of a manifest, or weights beside one."""
        directory = path if path.is_dir() else path.parent
        manifest = module_manifest.read(directory)
        if "module" not in manifest:
            message = (
                f"{path} holds weights and no code; put the module that takes them into "
                f'{module_manifest.NAME} beside it: {{"module": "package.module:Class", '
                f'"arguments": {{}}, "weights": "{path.name}"}}, or save the model by '
                "torch.export.save or torch.jit.save"
            )
            raise UserError(message)
        torch = import_torch()
        device = find_device(torch)
        module = _make(directory, manifest["module"], manifest.get("arguments", {}))
        names = manifest.get("weights", path.name)
        if isinstance(names, str):
            names = [names]
        files = [directory / name for name in names]
        weights: dict[str, Any] = {}
        for file in files:
            weights |= _read(torch, file)
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            message = f"the weights in {path} do not fit {manifest['module']}: {error}"
            raise UserError(message) from error
        module = module.to(device).eval()
        inputs = module_manifest.read_inputs(directory) or name_inputs(_list_inputs(module))
        super().__init__(module, Tensors(inputs), device)


def _make(directory: Path, name: str, arguments: dict[str, Any]) -> Any:
    """Import the class or function that a manifest names, and call it."""
    module_name, _, attribute = str(name).partition(":")
    for place in (directory / "code", directory):
        if place.is_dir() and str(place) not in sys.path:
            sys.path.insert(0, str(place))
    path = directory / module_manifest.NAME
    try:
        made = getattr(importlib.import_module(module_name), attribute)(**arguments)
    except ImportError as error:
        message = f"{path} names {name}, which cannot be imported: {error}"
        raise UserError(message) from error
    except (AttributeError, TypeError, ValueError) as error:
        message = f"{path} names {name}, which cannot be made: {error}"
        raise UserError(message) from error
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
        message = (
            f"{path} does not hold weights that load without running code: {reason}; save them by "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        )
        raise UserError(message) from error
    return dict(weights)


def _list_inputs(module: Any) -> list[str]:
    """Return the arguments of `forward` that have no default."""
    parameters = inspect.signature(module.forward).parameters.values()
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    return [parameter.name for parameter in required if parameter.kind is not parameter.VAR_KEYWORD]
