"""Programs of `torch.export`, which say what they take."""

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from container.errors import UserError
from container.serving.third_party.loaders.pytorch import exported_graph, training_mode
from container.serving.third_party.loaders.pytorch.programs import TorchModel, import_torch
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Tensor, Tensors, make_shape


@dataclass(frozen=True)
class ExportedInput:
    """An input of an exported program that is a tensor."""

    tensor: Tensor
    exact_type: Any
    """PyTorch's type if numpy lacks it, such as bfloat16."""


@dataclass(frozen=True)
class _Exported:
    call: Callable[..., Any]
    inputs: Sequence[ExportedInput]
    calls: Iterable[training_mode.Call]
    device: str = "cpu"


class ExportedProgram(TorchModel):
    """A program of `torch.export.save`."""

    def __init__(self, path: Path, _: Choice) -> None:
        torch = import_torch()
        graph = exported_graph.read(torch, path)
        if graph is None:
            program = _load(path)
        else:
            inputs = [
                _describe_tensor(put.name, put.shape, getattr(torch, put.type_name))
                for put in graph.inputs
            ]
            program = _Exported(graph, inputs, graph.calls)
        training_mode.refuse(path, program.calls)
        super().__init__(
            program.call,
            Tensors([put.tensor for put in program.inputs]),
            program.device,
            {put.tensor.name: put.exact_type for put in program.inputs if put.exact_type},
        )


def _load(path: Path) -> _Exported:
    """Load a program by PyTorch itself."""
    export: Any = importlib.import_module("torch.export")
    pytree: Any = importlib.import_module("torch.utils._pytree")
    program = export.load(path)
    module = program.module()
    described = _describe(program)
    structure = program.call_spec.in_spec

    def call(*given: Any) -> Any:
        rest = iter(given)
        flat = [next(rest) if isinstance(put, ExportedInput) else put for put in described]
        arguments, named = pytree.tree_unflatten(flat, structure)
        return module(*arguments, **named)

    parameter = next(iter([*program.state_dict.values(), *program.constants.values()]), None)
    return _Exported(
        call,
        [put for put in described if isinstance(put, ExportedInput)],
        training_mode.list_exported(program),
        str(getattr(parameter, "device", "cpu")),
    )


def _describe(program: Any) -> list[Any]:
    """Return the inputs in their order; one that is not a tensor is the value of the export."""
    examples: dict[str, Any] = {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"
    }
    described: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind.name != "USER_INPUT":
            continue
        example: Any = examples.get(spec.arg.name)
        if hasattr(example, "dtype"):
            described.append(_describe_tensor(spec.arg.name, example.shape, example.dtype))
        elif hasattr(spec.arg, "value"):
            described.append(spec.arg.value)
        else:
            found = type(example).__name__
            message = f"the program takes {spec.arg.name!r}, a {found}; export it with tensors only"
            raise UserError(message)
    if not any(isinstance(put, ExportedInput) for put in described):
        raise UserError("the program does not take a tensor")
    return described


def _describe_tensor(name: str, sides: Iterable[Any], dtype: Any) -> ExportedInput:
    shape = make_shape(sides)
    try:
        return ExportedInput(Tensor(name, np.dtype(str(dtype).removeprefix("torch.")), shape), None)
    except TypeError:
        return ExportedInput(Tensor(name, np.dtype(np.float32), shape), dtype)
