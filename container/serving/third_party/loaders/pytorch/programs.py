"""PyTorch's programs, which need no Python code: torch.export, AOTInductor and TorchScript.

A program of `torch.export` says what it takes. One of AOTInductor does not, and reads memory that
is not its own if a shape is wrong, so that `module.json` beside it must describe the inputs. One of
TorchScript says only names; `module.json` may add types and shapes.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container import machine
from container.errors import RequestError, UserError
from container.serving.third_party.loaders.pytorch import module_manifest
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Tensor, Tensors, make_shape

log = logging.getLogger(__name__)

_WRONG_TYPE: Final = re.compile(r"dtype|scalar type|\bLong\b|indices", re.IGNORECASE)
_MEMORY: Final = re.compile(r"out of memory|allocate memory", re.IGNORECASE)


def import_torch() -> Any:
    """Import PyTorch, which may keep all of our processors busy."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(machine.count_threads())
    return torch


class TorchModel:
    """A callable of PyTorch and its inputs."""

    def __init__(self, call: Callable[..., Any], signature: Tensors, device: str = "cpu") -> None:
        """`call` takes a tensor for each input, in their order."""
        self._torch = import_torch()
        self._call = call
        self._device = device
        self.signature = signature
        self._untyped = [tensor.name for tensor in signature.tensors if tensor.dtype is None]
        self._types = ("float32", "int64")

    def predict(self, data: Any) -> Any:
        """Predict a batch."""
        return self.signature.run(data, self._run)

    def _run(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for name in self._untyped:
            if feed[name].dtype.kind not in "iufb":
                message = f"the input {name!r} must be numbers; {feed[name].dtype} was found"
                raise RequestError(400, message)
        has_fractions = any(feed[name].dtype.kind == "f" for name in self._untyped)
        if not self._untyped or has_fractions:
            return self._compute(feed, "float32")
        return self._try_types(feed)

    def _try_types(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute with integers whose type is unknown: most models take float32, some indices."""
        likely, other = self._types
        try:
            return self._compute(feed, likely)
        except RequestError as error:
            if not _WRONG_TYPE.search(str(error)):
                raise
            outputs = self._compute(feed, other)
        self._types = (other, likely)
        return outputs

    def _compute(self, feed: Mapping[str, NDArray[Any]], untyped: str) -> dict[str, NDArray[Any]]:
        tensors = []
        for name, array in feed.items():
            typed = array.astype(untyped) if name in self._untyped else array
            tensors.append(self._torch.from_numpy(np.ascontiguousarray(typed)).to(self._device))
        try:
            with self._torch.inference_mode():
                outputs = self._call(*tensors)
        except (RuntimeError, AssertionError, IndexError) as error:
            reason = _find_reason(error)
            if _MEMORY.search(reason):
                raise
            log.info("the model refuses an input: %s", error)
            raise RequestError(400, f"the model refuses the input: {reason}") from error
        return {name: _to_numpy(self._torch, output) for name, output in name_outputs(outputs)}


def _find_reason(error: BaseException) -> str:
    """Return the line of a message of PyTorch's that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.partition(": ")[0].endswith("Error")]
    return (named[-1:] or lines[:1] or [type(error).__name__])[0][:300]


def _to_numpy(torch: Any, output: Any) -> NDArray[Any]:
    if not hasattr(output, "detach"):
        return np.asarray(output)
    tensor = output.detach().cpu()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return array


def name_outputs(outputs: Any) -> list[tuple[str, Any]]:
    """Return the outputs with their names, or their numbers where they have none."""
    if isinstance(outputs, Mapping):
        return [(str(name), output) for name, output in outputs.items() if output is not None]
    if isinstance(outputs, (tuple, list)):
        return [(f"output_{number}", output) for number, output in enumerate(outputs)]
    return [("output_0", outputs)]


class ExportedProgram(TorchModel):
    """A program of `torch.export.save`."""

    def __init__(self, path: Path, _: Choice) -> None:
        import_torch()
        export: Any = importlib.import_module("torch.export")
        pytree: Any = importlib.import_module("torch.utils._pytree")
        program = export.load(path)
        module = program.module()
        tensors = _describe(program)
        structure = program.call_spec.in_spec

        def call(*flat: Any) -> Any:
            arguments, named = pytree.tree_unflatten(flat, structure)
            return module(*arguments, **named)

        parameter = next(iter([*program.state_dict.values(), *program.constants.values()]), None)
        super().__init__(call, Tensors(tensors), str(getattr(parameter, "device", "cpu")))


def _describe(program: Any) -> list[Tensor]:
    examples: dict[str, Any] = {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"
    }
    tensors = []
    for name in program.graph_signature.user_inputs:
        example: Any = examples.get(name)
        if not hasattr(example, "dtype"):
            message = f"the program takes {name!r}, which is not a tensor; export it with tensors"
            raise UserError(message)
        dtype = np.dtype(str(example.dtype).removeprefix("torch."))
        tensors.append(Tensor(name, dtype, make_shape(example.shape)))
    return tensors


class CompiledProgram(TorchModel):
    """A package of AOTInductor, which was compiled for the processor that it runs on."""

    def __init__(self, path: Path, _: Choice) -> None:
        import_torch()
        inputs = module_manifest.read_inputs(path.parent)
        if not inputs:
            message = (
                f"{path} is an AOTInductor package, which does not say what it takes; put "
                f"{module_manifest.EXAMPLE_OF_INPUTS} into {module_manifest.NAME} beside it"
            )
            raise UserError(message)
        inductor: Any = importlib.import_module("torch._inductor")
        super().__init__(inductor.aoti_load_package(str(path)), Tensors(inputs))


class ScriptProgram(TorchModel):
    """A program of TorchScript."""

    def __init__(self, path: Path, _: Choice) -> None:
        torch = import_torch()
        device = find_device(torch)
        program = torch.jit.load(str(path), map_location=device).eval()
        arguments = program.forward.schema.arguments[1:]
        names = [argument.name for argument in arguments if not argument.has_default_value()]
        inputs = module_manifest.read_inputs(path.parent)
        super().__init__(program, Tensors(inputs or name_inputs(names)), device)


def find_device(torch: Any) -> str:
    """Return where a model computes."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def name_inputs(names: Sequence[str]) -> list[Tensor]:
    """Describe inputs of which only the names are known."""
    return [Tensor(name, None, None) for name in names]
