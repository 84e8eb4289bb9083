"""Reads a program of `torch.export` without PyTorch's compiler.

`torch.export.load` imports that compiler, which takes as long as PyTorch itself. A program that
only calls operations of ATen does not need it: its graph is JSON, its weights are plain bytes, and
`torch.fx`, which PyTorch has loaded anyway, runs it. PyTorch loads whatever else an archive holds.

Source: torch/_export/serde/schema.py of PyTorch 2.13.
"""

import importlib
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from container.serving.third_party.loaders.pytorch.training_mode import Call

_NEWEST: Final = (8, 20)
_TYPES: Final = {
    **dict(enumerate(("uint8", "int8", "int16", "int32", "int64", "float16", "float32"), start=1)),
    8: "float64",
    12: "bool",
    13: "bfloat16",
}
_FORMATS: Final = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d"}
_STRIDED: Final = 7
_OPERATORS: Final = (
    "add",
    "sub",
    "mul",
    "floordiv",
    "truediv",
    "mod",
    "eq",
    "lt",
    "le",
    "gt",
    "ge",
)
_SIDE: Final = r"L\['(\w+)'\]\.size\(\)\[(\d+)\]"
_EQUAL_SIDES: Final = re.compile(f"{_SIDE} == {_SIDE}")
_SYMBOL: Final = re.compile(r"Symbol\('(\w+)'(?:, \w+=True)*\)")
_LITERALS: Final = ("as_int", "as_bool", "as_string", "as_ints", "as_bools", "as_strings")
_READERS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    **dict.fromkeys(_LITERALS, lambda _torch, value: value),
    "as_none": lambda _torch, _value: None,
    "as_float": lambda _torch, value: float(value),
    "as_floats": lambda _torch, values: list(map(float, values)),
    "as_scalar_type": lambda torch, value: getattr(torch, _TYPES[value]),
    "as_memory_format": lambda torch, value: getattr(torch, _FORMATS[value]),
    "as_layout": lambda torch, value: {_STRIDED: torch.strided}[value],
    "as_device": lambda torch, value: {"cpu": torch.device("cpu")}[value["type"]],
}
"""The value of an argument, by its kind."""


class Input(NamedTuple):
    """A tensor that the program takes; a side of its shape is a number or the name of a symbol."""

    name: str
    type_name: str
    shape: Sequence[int | str]


class Graph:
    """A program that can be called."""

    def __init__(self, torch: Any, path: Path) -> None:
        self._torch = torch
        archive = torch._C.PyTorchFileReader(str(path))  # noqa: SLF001 - as torch.load reads it
        program = json.loads(archive.get_record("models/model.json"))
        version = program["schema_version"]
        module = program["graph_module"]
        outputs = [kind for spec in module["signature"]["output_specs"] for kind in spec]
        _require(
            (_NEWEST[0], 0) <= (version["major"], version["minor"]) <= _NEWEST,
            not module.get("treespec_namedtuple_fields"),
            set(outputs) == {"user_output"},
        )
        self.inputs: list[Input] = []
        self.calls: list[Call] = []
        self._made = torch.fx.Graph()
        self._nodes: dict[str, Any] = {}
        """What makes each value of the graph."""
        weights = self._read_inputs(archive, module)
        for guard in program.get("guards_code", ()):
            self._read_guard(guard)
        self._ranges = program["range_constraints"]
        for node in module["graph"]["nodes"]:
            self._read_node(node)
        self._made.output([self._read(output) for output in module["graph"]["outputs"]])
        self._module = torch.fx.GraphModule(weights, self._made)
        self._pytree: Any = importlib.import_module("torch.utils._pytree")
        structure = module["module_call_graph"][0]["signature"]["out_spec"]
        self._structure = self._pytree.treespec_loads(structure)

    def __call__(self, *given: Any) -> Any:
        """Return the outputs, in the structure of the module that was exported.

        Raises: RuntimeError if a shape does not fit, or an operation fails.
        """
        sides: dict[str, int] = {}
        for put, tensor in zip(self.inputs, given, strict=True):
            for symbol, side in zip(put.shape, tensor.shape, strict=True):
                if isinstance(symbol, str):  # the signature checks the others
                    self._check(put.name, symbol, side, sides)
        return self._pytree.tree_unflatten(self._module.forward(*given), self._structure)

    def _check(self, name: str, symbol: str, side: int, sides: dict[str, int]) -> None:
        limits = self._ranges.get(symbol, {})
        low, high = limits.get("min_val") or 0, limits.get("max_val") or math.inf
        if side != sides.setdefault(symbol, side) or not low <= side <= high:
            message = f"a side of {name!r} is {side}; {low} to {high} is expected, and the same "
            raise RuntimeError(message + "in all inputs")

    def _read_guard(self, guard: str) -> None:
        """Accept a guard that is kept anyway: two sides of the same symbol are equal."""
        found = _EQUAL_SIDES.fullmatch(guard)
        if found is None:
            raise ValueError
        shapes = {put.name: put.shape for put in self.inputs}
        _require(shapes[found[1]][int(found[2])] == shapes[found[3]][int(found[4])])

    def _read_inputs(self, archive: Any, module: Mapping[str, Any]) -> dict[str, Any]:
        """Read the inputs and the weights, which the graph takes as inputs, too."""
        stored: dict[str, Any] = {}
        for kind in ("weights", "constants"):
            stored |= self._read_tensors(archive, f"data/{kind}/", f"model_{kind}_config.json")
        weights = {}
        for number, spec in enumerate(module["signature"]["input_specs"]):
            kind, put = _open(spec)
            if kind == "user_input":
                name = put["arg"]["as_tensor"]["name"]
                meta = module["graph"]["tensor_values"][name]
                shape = [_read_side(side) for side in meta["sizes"]]
                self.inputs.append(Input(name, _TYPES[meta["dtype"]], shape))
                self._nodes[name] = self._made.placeholder(f"input_{number}")
            elif kind != "constant_input":  # whose value is in the graph
                weights[f"weight_{number}"] = stored[put[f"{kind}_name"]]
                self._nodes[put["arg"]["name"]] = self._made.get_attr(f"weight_{number}")
        _require(self.inputs)
        return weights

    def _read_tensors(self, archive: Any, folder: str, config: str) -> dict[str, Any]:
        tensors = {}
        storages: dict[str, Any] = {}
        for name, stored in json.loads(archive.get_record(folder + config))["config"].items():
            meta = stored["tensor_meta"]
            _require(
                not stored["use_pickle"],
                stored["is_param"] or not meta["requires_grad"],
                (meta["device"]["type"], meta["layout"]) == ("cpu", _STRIDED),
            )
            path = folder + stored["path_name"]
            if path not in storages:
                dtype = getattr(self._torch, _TYPES[meta["dtype"]])
                count = archive.get_record_size(path) // dtype.itemsize
                storages[path] = self._torch.empty(0, dtype=dtype)
                if count:
                    data = archive.get_storage_from_record(path, count, dtype).untyped_storage()
                    storages[path].set_(data, 0, (count,), (1,))
            places = [[side["as_int"] for side in meta[part]] for part in ("sizes", "strides")]
            offset = meta["storage_offset"]["as_int"]
            tensors[name] = self._torch.as_strided(storages[path], *places, offset)
            if stored["is_param"]:  # operations differ in their last digits by `requires_grad`
                tensors[name] = self._torch.nn.Parameter(tensors[name], meta["requires_grad"])
        return tensors

    def _read_node(self, node: Mapping[str, Any]) -> None:
        packet, operation = self._find_operation(node["target"])
        given = {put["name"]: self._read(put["arg"]) for put in node["inputs"]}
        self.calls.append((f"aten::{packet}", given))
        kinds = {put["name"]: put["kind"] for put in node["inputs"]}
        _require(set(kinds.values()) <= {1, 2})
        positional = tuple(value for name, value in given.items() if kinds[name] == 1)
        named = {name: value for name, value in given.items() if kinds[name] == 2}
        made = self._made.call_function(operation, positional, named)
        self._keep(made, [_open(output) for output in node["outputs"]])

    def _keep(self, made: Any, outputs: Sequence[tuple[str, Any]]) -> None:
        """Remember which values an operation returns: one, several or a list."""
        if len(outputs) == 1 and outputs[0][0] == "as_tensors":
            outputs = [("as_tensor", each) for each in outputs[0][1]]
        elif len(outputs) == 1:
            self._nodes[_name(*outputs[0])] = made
            return
        for number, output in enumerate(outputs):
            item = self._made.call_function(operator.getitem, (made, number))
            self._nodes[_name(*output)] = item

    def _find_operation(self, target: str) -> tuple[str, Any]:
        *library, packet, overload = target.split(".")
        if library == ["torch", "ops", "aten"]:
            return packet, getattr(getattr(self._torch.ops.aten, packet), overload)
        _require((library, packet) == ([], "_operator"), overload in _OPERATORS)
        return packet, getattr(operator, overload)

    def _read(self, argument: Mapping[str, Any]) -> Any:
        """Return the value of an argument, or the node that makes it."""
        kind, value = _open(argument)
        if kind in ("as_tensor", "as_name"):
            return self._nodes[value["name"] if kind == "as_tensor" else value]
        if kind == "as_tensors":
            return [self._nodes[each["name"]] for each in value]
        if not kind.startswith(("as_sym_", "as_optional_")):
            return _READERS[kind](self._torch, value)
        if isinstance(value, list):
            return [self._read(each) for each in value]
        return self._read(value)


def read(torch: Any, path: Path) -> Graph | None:
    """Read a program; None if PyTorch itself has to load it."""
    try:
        return Graph(torch, path)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError):
        return None


def _require(*facts: Any) -> None:
    if not all(facts):
        raise ValueError


def _open(union: Mapping[str, Any]) -> tuple[str, Any]:
    ((kind, value),) = union.items()
    return kind, value


def _name(kind: str, value: Any) -> str:
    """Return the name of a tensor or number of the graph; empty for nothing."""
    if kind == "as_none":
        return ""
    return str(value["name"] if kind == "as_tensor" else value["as_name"])


def _read_side(side: Mapping[str, Any]) -> int | str:
    if "as_int" in side:
        return int(side["as_int"])
    found = _SYMBOL.fullmatch(side["as_expr"]["expr_str"])
    if found is None:
        raise ValueError
    return found[1]
