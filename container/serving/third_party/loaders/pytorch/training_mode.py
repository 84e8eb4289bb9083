"""Programs of PyTorch that were saved in training mode, and so are random or look at other rows."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from container.errors import UserError

Call: TypeAlias = tuple[str, Mapping[str, Any]]
"""An operation and its arguments by name; `...` is one that only a request gives."""
_SWITCHES: Final = ("train", "training", "use_input_stats")


def refuse(path: Path, calls: Iterable[Call]) -> None:
    """Refuse dropout, and normalization by the rows of a request. Raises: UserError."""
    found = sorted({name for name, given in calls if _is_training(given)})
    if found:
        raise UserError(
            f"{path} was saved in training mode ({', '.join(found)}), so its answers are random or "
            "depend on the other rows of a request; call model.eval() and save it again"
        )


def _is_training(given: Mapping[str, Any]) -> bool:
    chance = given.get("p", given.get("dropout", 0.0))
    if "dropout_p" in given:  # of attention, which has no switch
        chance = given["dropout_p"]
    elif not any(given.get(name) is True for name in _SWITCHES):
        return False
    is_random = isinstance(chance, (int, float)) and chance > 0
    return is_random or given.get("running_mean") is not None


def list_exported(program: Any) -> Iterator[Call]:
    """List the calls of a program of `torch.export`."""
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None:
            names = [argument.name for argument in schema.arguments]
            yield schema.name, {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def list_scripted(torch: Any, program: Any) -> Iterator[Call]:
    """List the calls of a traced program; a scripted one knows whether it trains."""
    for node in program.inlined_graph.nodes():
        if node.kind().startswith("aten::"):
            schema = torch._C.parse_schema(node.schema())  # noqa: SLF001 - the only way to names
            names = [argument.name for argument in schema.arguments]
            yield schema.name, dict(zip(names, map(_read_constant, node.inputs()), strict=False))


def _read_constant(value: Any) -> Any:
    return value.toIValue() if value.node().kind() == "prim::Constant" else ...
