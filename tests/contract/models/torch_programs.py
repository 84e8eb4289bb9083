"""Programs and weights of PyTorch."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from container.serving.third_party.loaders.pytorch import exported_graph
from tests.contract.models.cases import CSV, JSON, NPY, Case, ask_tensor, bad, good, refuse_tensor

torch.manual_seed(0)
inputs = torch.arange(8, dtype=torch.float32).reshape(2, 4)
linear = torch.nn.Linear(4, 3).eval()
expected = linear(inputs).tolist()
BATCH = {0: torch.export.Dim("batch")}
BFLOAT16 = {"name": "x", "dtype": "bfloat16", "shape": [None, 4]}
DESCRIBED = [{"name": "x", "dtype": "float32", "shape": [None, 4]}]


class Net(torch.nn.Module):
    """Two inputs and a constant, two outputs by name, one of them nested."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, factor: torch.Tensor, *, mask: Any = None) -> dict[str, Any]:
        """Return scores, and which is the best."""
        scores = self.linear(x) * factor
        return {"scores": scores, "more": {"best": scores.argmax(1), "none": mask}}


def make_exported(model: Path) -> Case:
    net = Net().eval()
    factor = torch.tensor([[2], [3]])
    shapes = {"x": BATCH, "factor": BATCH, "mask": None}
    program = torch.export.export(net, (inputs, factor), {"mask": None}, dynamic_shapes=shapes)
    torch.export.save(program, model / "model.pt2")
    outputs = net(inputs, factor)
    columns = {"scores": outputs["scores"].tolist(), "more.best": outputs["more"]["best"].tolist()}
    given = {"x": inputs.tolist(), "factor": factor.tolist()}
    by_row = [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
    answers = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return Case(
        [
            good(JSON, {"inputs": given}, columns),
            good(JSON, by_row, answers),
            good(JSON, by_row[:1], answers[:1]),
            bad(JSON, inputs.tolist(), "the model has 2 inputs"),
            bad(JSON, {"inputs": given | {"y": 1}}, "the model has no input 'y'"),
            bad(JSON, {"inputs": given | {"x": [[1, 2, 3]]}}, "the input 'x' has the shape"),
            bad(JSON, {"inputs": given | {"factor": [[0.5]]}}, "must be int64"),
            bad(JSON, {"inputs": given | {"x": [["a"] * 4]}}, "'a' was found"),
        ]
    )


class Operations(torch.nn.Module):
    """Buffers, constants, lists, symbols, types and infinities; control flow if asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("kept", torch.arange(4.0))
        self.register_buffer("dropped", torch.ones(4), persistent=False)
        self.constant = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def forward(self, x: torch.Tensor, *, is_simple: bool) -> dict[str, Any]:
        """Return what is computed, in several types."""
        if not is_simple:
            with torch.no_grad():
                x = self.linear(x)
        both = torch.cat([x + self.get_buffer("kept"), x * self.get_buffer("dropped")], 1)
        first, second = torch.split(both * 2, 4, 1)
        masked = torch.where(second > 1, second, torch.full_like(second, float("-inf")))
        row = self.linear(first).view(x.shape[0] * 2, 2)[::2] + x.shape[0] // 2
        values, places = first.topk(2)
        double = masked.masked_fill(masked.isinf(), 0.0).to(torch.float64) @ x.double().T
        return {"best": (values, places), "all": [double.sum(1), row], "c": x * self.constant}


def make_operations(model: Path) -> Case:
    """Compare the reader of graphs with PyTorch's own, which only some programs need."""
    path = model / "model.pt2"
    at_most = {"x": {0: torch.export.Dim("batch", max=3)}, "is_simple": None}
    for is_simple in (False, True):
        named = {"is_simple": is_simple}
        program = torch.export.export(Operations().eval(), (inputs,), named, dynamic_shapes=at_most)
        torch.export.save(program, path)
        read = exported_graph.read(torch, path)
        assert (read is not None) == is_simple
    assert read is not None
    with torch.inference_mode():
        found = torch.utils._pytree.tree_leaves(read(inputs))  # noqa: SLF001 - as PyTorch's own
        known = torch.utils._pytree.tree_leaves(program.module()(inputs, **named))  # noqa: SLF001
    assert len(found) == 5
    assert all(map(torch.equal, found, known))
    many = bad(NPY, np.zeros((4, 4), np.float32), "a side of 'x' is 4; 0 to 3 is expected")
    return Case([many, bad(JSON, [[1, 2, 3]], "the input 'x' has the shape")])


def make_fixed(model: Path) -> Case:
    """Export a batch of two, and of a type that numpy lacks."""
    half = torch.nn.Linear(4, 3).bfloat16().eval()
    torch.export.save(torch.export.export(half, (inputs.bfloat16(),)), model / "model.pt2")
    three = torch.cat([inputs, inputs[:1]])
    answers = half(three.bfloat16()).float().tolist()
    asks = ask_tensor("input", three.numpy(), answers)
    return Case([*asks, *refuse_tensor("input", [1, 2, 3, 4])])


def make_indices(model: Path) -> Case:
    embedding = torch.nn.Embedding(8, 2)
    indices = torch.tensor([[1, 2], [7, 0]])
    torch.export.save(torch.export.export(embedding, (indices,)), model / "model.pt2")
    asks = ask_tensor("input", indices.numpy(), embedding(indices).tolist())
    outside = bad(JSON, [[1, 8]], "index out of range")
    return Case([*asks, *refuse_tensor("input", [1, 2], "int64"), outside])


def make_script(model: Path) -> Case:
    """Save a program that says nothing about types and shapes."""
    torch.jit.script(linear).save(model / "model.pt")
    return Case(
        [
            *ask_tensor("input", inputs.numpy(), expected),
            good(JSON, inputs.int().tolist(), expected),
            bad(JSON, [[1, 2, 3]], "the model refuses the input: RuntimeError: mat1 and mat2"),
            bad(JSON, [[1, 2, 3]], "given: 'input' [1, 3]"),
            bad(JSON, [["a", 2, 3, 4]], "the input 'input' must be numbers; 'a' was found"),
            bad(JSON, [[None, 2, 3, 4]], "the input 'input' must be numbers; null was found"),
            bad(JSON, [{"y": [1, 2, 3, 4]}], "the input 'input' is missing"),
            bad(NPY, np.zeros((0, 4), np.float32), "the input 'input' holds no instance"),
            bad(CSV, "1,,3,4", "row 1, column 2 is ''"),
        ]
    )


class Weighted(torch.nn.Module):
    """Indices and weights, by which types are told apart."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(8, 2)

    def forward(
        self, indices: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return vectors, and their sums in a dictionary."""
        vectors = self.embedding(indices) * weights[..., None]
        return vectors, {"sum": vectors.sum(1)}


def make_script_indices(model: Path) -> Case:
    module = Weighted().eval()
    torch.jit.script(module).save(model / "model.pt")
    given = {"indices": [[1, 2]], "weights": [[0.5, 1]]}
    vectors, more = module(torch.tensor([[1, 2]]), torch.tensor([[0.5, 1]]))
    columns = {"output_0": vectors.tolist(), "output_1.sum": more["sum"].tolist()}
    return Case(
        [
            good(JSON, {"inputs": given}, columns),
            bad(JSON, {"inputs": given | {"indices": [[1, 8]]}}, "index out of range"),
            bad(JSON, {"inputs": {"indices": [[1, 2]]}}, "the input 'weights' is missing"),
        ]
    )


def write_manifest(model: Path, module: str, **others: Any) -> None:
    manifest: dict[str, Any] = {"module": module, "inputs": DESCRIBED, **others}
    manifest["arguments"] = {"in_features": 4, "out_features": 3}
    (model / "module.json").write_text(json.dumps(manifest))


def make_safetensors(model: Path) -> Case:
    safetensors.torch.save_file(linear.state_dict(), model / "model.safetensors")
    write_manifest(model, "torch.nn:Linear")
    asks = ask_tensor("x", inputs.numpy(), expected)
    return Case([*asks, *refuse_tensor("x", [1, 2, 3, 4])])


def make_bfloat16(model: Path) -> Case:
    """Save weights of a type that numpy lacks, for a module that computes in it."""
    half = torch.nn.Linear(4, 3).bfloat16().eval()
    safetensors.torch.save_file(half.state_dict(), model / "model.safetensors")
    write_manifest(model, "torch.nn:Linear", dtype="bfloat16", inputs=[BFLOAT16])
    asks = ask_tensor("x", inputs.numpy(), half(inputs.bfloat16()).float().tolist())
    return Case([*asks, *refuse_tensor("x", [1, 2, 3, 4])])


def make_shards(model: Path) -> Case:
    """Save weights in several files, as Hugging Face does, in a folder of the archive."""
    folder = model / "bert"
    folder.mkdir()
    names = {}
    for number, (name, value) in enumerate(linear.state_dict().items(), start=1):
        names[name] = f"model-0000{number}-of-00002.safetensors"
        safetensors.torch.save_file({name: value}, folder / names[name])
    index = {"metadata": {"total_size": 60}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    write_manifest(folder, "torch.nn:Linear", weights="model.safetensors.index.json")
    asks = ask_tensor("x", inputs.numpy(), expected)
    return Case([*asks, *refuse_tensor("x", [1, 2, 3, 4])])


def make_double(model: Path) -> Case:
    """Script a module of numbers that float32 cannot hold."""
    double = torch.nn.Linear(4, 3).double().eval()
    torch.jit.script(double).save(model / "best.torchscript")
    given = (inputs.double() + 1e-9).numpy()
    found = [good(JSON, given.tolist(), double(torch.from_numpy(given)).tolist())]
    return Case([*found, good(JSON, inputs.int().tolist(), double(inputs.double()).tolist())])


def make_module_pickle(model: Path) -> Case:
    """Pickle a module whose type the request does not know."""
    half = torch.nn.Linear(4, 3).bfloat16().eval()
    (model / "model.pkl").write_bytes(pickle.dumps(half))
    asks = ask_tensor("input", inputs.numpy(), half(inputs.bfloat16()).float().tolist())
    return Case(asks, {"BYO_ALLOW_PICKLE": "true"})


def make_weights(model: Path) -> Case:
    """Save a checkpoint of DistributedDataParallel, whose module is in `code`."""
    (model / "code").mkdir()
    (model / "code/nets.py").write_text("import torch\nclass Net(torch.nn.Linear): ...\n")
    weights = {f"module.{name}": value for name, value in linear.state_dict().items()}
    torch.save({"epoch": 3, "model_state_dict": weights}, model / "weights.pth")
    write_manifest(model, "nets:Net")
    asks = ask_tensor("x", inputs.numpy(), expected)
    return Case([*asks, *refuse_tensor("x", [1, 2, 3, 4])])


def make_pickled(model: Path) -> Case:
    """Save a module with its class, which only a user who trusts it may load."""
    torch.save(linear, model / "model.pth")
    asks = ask_tensor("input", inputs.numpy(), expected)
    return Case(asks, {"BYO_ALLOW_PICKLE": "true"})


def make_still_training() -> torch.nn.Module:
    """Make a module for which nobody has called `eval`."""
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout())


def make_exported_training(model: Path) -> Case:
    program = torch.export.export(make_still_training(), (inputs,))
    torch.export.save(program, model / "model.pt2")
    return Case([])


def make_traced_training(model: Path) -> Case:
    torch.jit.trace(make_still_training(), inputs, check_trace=False).save(model / "model.pt")
    return Case([])


def make_scripted_training(model: Path) -> Case:
    """Script it, so that the program can still leave the training mode."""
    module = make_still_training()
    torch.jit.script(module).save(model / "model.pt")
    return Case([good(JSON, inputs.tolist(), module.eval()(inputs).tolist())])


def make_compiled(model: Path) -> Case:
    """Compile a package of AOTInductor."""
    program = torch.export.export(linear, (inputs,), dynamic_shapes=(BATCH,))
    torch._inductor.aoti_compile_and_package(  # noqa: SLF001 - PyTorch documents it so
        program, package_path=str(model / "model.pt2")
    )
    (model / "module.json").write_text(json.dumps({"inputs": DESCRIBED}))
    asks = ask_tensor("x", inputs.numpy(), expected)
    return Case([*asks, *refuse_tensor("x", [1, 2, 3, 4])])


KINDS = {
    "torch.export": make_exported,
    "torch.export-operations": make_operations,
    "torch.export-fixed": make_fixed,
    "torch.export-indices": make_indices,
    "torchscript": make_script,
    "torchscript-indices": make_script_indices,
    "safetensors": make_safetensors,
    "safetensors-bfloat16": make_bfloat16,
    "safetensors-shards": make_shards,
    "torchscript-double": make_double,
    "module-in-a-pickle": make_module_pickle,
    "weights": make_weights,
    "pickled-module": make_pickled,
    "aotinductor": make_compiled,
    "torch.export-training": make_exported_training,
    "torchscript-traced-training": make_traced_training,
    "torchscript-training": make_scripted_training,
}
