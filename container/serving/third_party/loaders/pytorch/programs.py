"""PyTorch's programs, which need no Python code: AOTInductor and TorchScript.

A program of AOTInductor does not say what it takes, and reads memory that is not its own if a shape
is wrong, so that `module.json` beside it must describe the inputs. One of TorchScript says only
names; `module.json` may add types and shapes.
"""

import importlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from container import machine
from container.errors import RequestError, UserError
from container.serving.third_party.loaders.pytorch import module_manifest, training_mode
from container.serving.third_party.model_files import Choice
from container.serving.third_party.signature import Tensor, Tensors, shorten

log = logging.getLogger(__name__)

_WRONG_TYPE: Final = re.compile(r"dtype|scalar type|\bLong\b|indices", re.IGNORECASE)
_MEMORY: Final = re.compile(r"out of memory|allocate memory", re.IGNORECASE)


def import_torch() -> Any:
    """Import PyTorch, which may keep all of our processors busy."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(machine.count_library_threads())
    return torch


class TorchModel:
    """A callable of PyTorch and its inputs."""

    def __init__(
        self,
        call: Callable[..., Any],
        signature: Tensors,
        device: str = "cpu",
        exact_types: Mapping[str, Any] | None = None,
        float_type: Any = None,
    ) -> None:
        """`call` takes a tensor for each input, in their order.

        `exact_types` are PyTorch's types of inputs whose type numpy lacks, and `float_type` is that
        of numbers with a fraction for inputs whose type is unknown; float32 by default.
        """
        self._torch = import_torch()
        self._call = call
        self._device = device
        self.signature = signature
        self._untyped = [tensor.name for tensor in signature.tensors if tensor.dtype is None]
        self._exact_types = dict(exact_types or {})
        self._float_type = float_type or self._torch.float32
        self._float_name = "float64" if self._float_type == self._torch.float64 else "float32"
        self._types = (self._float_name, "int64")

    def predict(self, data: Any) -> Any:
        """Predict a batch."""
        return self.signature.run(data, self._run)

    def _run(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for name in self._untyped:
            if feed[name].dtype.kind not in "iufb":
                values = [value for value in feed[name].flat if not isinstance(value, (int, float))]
                found = shorten(values[0]) if values else str(feed[name].dtype)
                raise RequestError(400, f"the input {name!r} must be numbers; {found} was found")
        if all(feed[name].dtype.kind == "f" for name in self._untyped):
            return self._compute(feed, self._float_name)
        return self._try_types(feed)

    def _try_types(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute with integers whose type is unknown: most models take float32, some indices."""
        likely, other = self._types
        try:
            return self._compute(feed, likely)
        except RequestError as error:
            if error.__cause__ is None or not _WRONG_TYPE.search(_find_reason(error.__cause__)):
                raise
            outputs = self._compute(feed, other)
        self._types = (other, likely)
        return outputs

    def _compute(self, feed: Mapping[str, NDArray[Any]], untyped: str) -> dict[str, NDArray[Any]]:
        tensors = []
        for name, array in feed.items():
            typed = array
            exact_type = self._exact_types.get(name)
            if name in self._untyped:
                typed = array.astype(self._float_name if array.dtype.kind == "f" else untyped)
                exact_type = self._float_type if typed.dtype.kind == "f" else None
            tensor = self._torch.from_numpy(np.ascontiguousarray(typed))
            tensors.append(tensor.to(self._device, exact_type))
        try:
            with self._torch.inference_mode():
                outputs = self._call(*tensors)
        except (RuntimeError, AssertionError, IndexError) as error:
            reason = _find_reason(error)
            if _MEMORY.search(reason):
                raise
            log.info("the model refuses an input: %s", error)
            given = ", ".join(f"{name!r} {list(array.shape)}" for name, array in feed.items())
            message = f"the model refuses the input: {reason}; given: {given}"
            raise RequestError(400, message) from error
        named = {name: _to_numpy(self._torch, output) for name, output in name_outputs(outputs)}
        if not named:
            raise UserError(f"the model returns {type(outputs).__name__}, which holds no array")
        return named


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


def name_outputs(outputs: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the outputs with their names, or their numbers where they have none.

    Names of what is nested have dots. An output that is None is left out.
    """
    if isinstance(outputs, Mapping):
        for name, output in outputs.items():
            yield from name_outputs(output, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(outputs, (tuple, list)):
        for number, output in enumerate(outputs):
            name = f"{prefix}.{number}" if prefix else f"output_{number}"
            yield from name_outputs(output, name)
    elif outputs is not None:
        yield prefix or "output_0", outputs


class CompiledProgram(TorchModel):
    """A package of AOTInductor, which was compiled for the processor that it runs on."""

    def __init__(self, path: Path, _: Choice) -> None:
        import_torch()
        inputs = module_manifest.read_inputs(path.parent)
        if not inputs:
            raise UserError(
                f"{path} is an AOTInductor package, which does not describe its inputs; put "
                f"{module_manifest.EXAMPLE_OF_INPUTS} into {module_manifest.NAME} beside it"
            )
        inductor: Any = importlib.import_module("torch._inductor")
        call = inductor.aoti_load_package(str(path))
        super().__init__(call, Tensors(inputs), exact_types=read_exact_types(path.parent))


class ScriptProgram(TorchModel):
    """A program of TorchScript."""

    def __init__(self, path: Path, _: Choice) -> None:
        torch = import_torch()
        device = find_device(torch)
        program = torch.jit.load(str(path), map_location=device).eval()
        training_mode.refuse(path, training_mode.list_scripted(torch, program))
        arguments = [
            argument
            for argument in program.forward.schema.arguments[1:]
            if not argument.has_default_value()
        ]
        for argument in arguments:
            if str(argument.type) not in ("Tensor", "Optional[Tensor]"):
                raise UserError(
                    f"the program takes {argument.name!r}, a {argument.type}; script a module "
                    "whose forward takes tensors, or add code/inference.py"
                )
        names = [argument.name for argument in arguments]
        inputs = module_manifest.read_inputs(path.parent)
        super().__init__(
            program,
            Tensors(inputs or name_inputs(names)),
            device,
            read_exact_types(path.parent),
            find_float_type(program),
        )


def read_exact_types(directory: Path) -> dict[str, Any]:
    """Return PyTorch's type of each input of `module.json` whose type numpy lacks."""
    torch = import_torch()
    names = module_manifest.read_exact_types(directory)
    return {name: getattr(torch, type_name) for name, type_name in names.items()}


def find_float_type(module: Any) -> Any:
    """Return the type of all floating-point parameters; None if there are none, or several."""
    types = {each.dtype for each in module.parameters() if each.dtype.is_floating_point}
    return types.pop() if len(types) == 1 else None


def find_device(torch: Any) -> str:
    """Return where a model computes."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def name_inputs(names: Sequence[str]) -> list[Tensor]:
    """Describe inputs of which only the names are known."""
    return [Tensor(name, None, None) for name in names]
