"""Finds the model that some tool has saved, and says which it is if there are several.

Rules of this file: names decide, and the first bytes where a name may mean several things; no
framework is imported before `load_model`.

Not looked at: hidden files and those of macOS (`._*`, `.DS_Store`, `__MACOSX`), `code`, checkpoints
in folders of that name. A model at the top hides those in folders; `model.*` hides the others; of
the checkpoints of one training, the best hides the final one, and that the last one.
"""

import importlib
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from container import artifact
from container.errors import UserError
from container.serving.third_party import kinds
from container.serving.third_party.kinds import KINDS
from container.serving.third_party.signature import Model
from container.user_packages import import_advice

log = logging.getLogger(__name__)

MODEL_VARIABLE: Final = "BYO_MODEL"
PICKLE_VARIABLE: Final = "BYO_ALLOW_PICKLE"
POSSIBLE: Final = (
    "LiteRT, ONNX, Keras, SavedModel, XGBoost, LightGBM, CatBoost, torch.export, AOTInductor, "
    "TorchScript, safetensors, skops, MLflow"
)
_DEPTH: Final = 4  # export/Servo/1/saved_model.pb
_SKIPPED: Final = frozenset({"code", "variables", "assets", "__MACOSX"})
_CHECKPOINTS: Final = ("checkpoint", "ckpt")
_RANKS: Final = {
    "best": 0,
    "final": 1,
    **dict.fromkeys(("last", "latest"), 2),
    **dict.fromkeys(("checkpoint", "ckpt", "epoch", "step", "iter"), 3),
}
"""Words in the names of checkpoints of one training; the lowest is served."""
_OTHERS: Final = re.compile("[^a-z]+")
_FILLERS: Final = frozenset({"", "model", "weights", "net"})


@dataclass(frozen=True)
class Choice:
    """What the user says about the model."""

    name: str = ""
    """Which of several is served: a path in the model directory."""
    allow_pickle: bool = False
    """Whether a file that runs code when it is loaded may be loaded."""


ANY: Final = Choice()
"""The only model that there is."""


@dataclass(frozen=True)
class ModelFile:
    """A model on disk."""

    kind: str
    path: Path
    choice: Choice = ANY

    @property
    def is_allowed(self) -> bool:
        """Return whether the user allows it to be loaded."""
        return self.choice.allow_pickle or not KINDS[self.kind].is_pickle

    def check(self) -> None:
        """Refuse a pickle. Raises: UserError if loading it may run code, and is not allowed."""
        if not self.is_allowed:
            raise UserError(
                f"{self.path} is a pickle, which may run any code when it is loaded; set "
                f"{PICKLE_VARIABLE}=true if you trust whoever wrote it, or save the model with "
                "skops.io.dump(model, 'model.skops') or as ONNX, which hold only data"
            )

    def load_model(self) -> Model:
        """Load the model, in the process that will predict.

        Raises: UserError if it cannot be loaded, or its framework is not installed.
        """
        self.check()
        kind = KINDS[self.kind]
        module_name, _, class_name = kind.loader.partition(":")
        module: Any = importlib.import_module(f"{__package__}.loaders.{module_name}")
        try:
            model: Model = getattr(module, class_name)(self.path, self.choice)
        except UserError:
            raise
        except Exception as error:
            raise UserError(self._explain(error)) from error
        log.info("loaded %s as %s", self.path, self.kind)
        return model

    def _explain(self, error: Exception) -> str:
        """Say why the model cannot be loaded, and what to do if something is not installed."""
        advice = import_advice.explain(str(error))
        if isinstance(error, ImportError) and not advice:
            package = find_package(error) or KINDS[self.kind].package
            own = ""
            if KINDS[self.kind].is_pickle:  # which may hold classes of any module
                own = f"if {package} is your own, add it and an inference.py as code/; otherwise "
            return (
                f"{self.path} needs {package}, which this image lacks: {error}; {own}make an image "
                f"of your own, FROM this one, with the line RUN pip install {package}"
            )
        reason = f"{self.path} cannot be loaded as {self.kind}: {type(error).__name__}: {error}"
        return f"{reason}; {advice}" if advice else reason


_PACKAGES: Final = {"sklearn": "scikit-learn", "mlflow": "mlflow-skinny", "PIL": "pillow"}


def find_package(error: ImportError) -> str:
    """Return the package that holds the module which an import did not find; empty if unknown."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    name = error.name.partition(".")[0]
    return _PACKAGES.get(name, name)


def is_artifact(model_dir: Path) -> bool:
    """Return whether a directory, or the only one below it, holds an artifact of this toolkit.

    XGBoost's file may have the name of its manifest.
    """
    manifest = artifact.find_manifest(model_dir)
    return manifest is not None and kinds.recognize(manifest) is None


def find(model_dir: Path, choice: Choice = ANY) -> ModelFile | None:
    """Find the model in `model_dir`, which may have been saved in several kinds.

    Of several kinds with one name the one with the lightest runtime is chosen, of numbered
    SavedModels the newest, as TensorFlow Serving does.

    Raises: UserError if there are several models, or the one that was chosen is none.
    """
    if choice.name:
        return _take_chosen(model_dir, choice)
    if is_artifact(model_dir):
        return ModelFile("artifact", model_dir, choice)
    found = list(_walk(model_dir, choice, _DEPTH))
    candidates = _keep_best(_keep_newest(found), model_dir)
    if not candidates:
        return None
    if len({_find_stem(model) for model in candidates}) > 1:
        raise UserError(_describe_several(model_dir, candidates))
    order = list(KINDS)
    candidates.sort(key=lambda model: order.index(model.kind))
    best = candidates[0]
    if len(candidates) > 1 and candidates[1].kind == best.kind:
        raise UserError(_describe_several(model_dir, candidates))
    others = ", ".join(_name(model, model_dir) for model in found if model != best)
    if others:
        log.info("of several models %s is served, not %s", _name(best, model_dir), others[:500])
    return best


def explain_nothing(model_dir: Path) -> str:
    """Say what a directory holds in which `find` found nothing, and what it should hold."""
    files = sorted(path for path in model_dir.rglob("*") if path.is_file())
    names = [path.relative_to(model_dir).as_posix() for path in files]
    found = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
    message = f"{model_dir} holds no model that is served without code"
    hints = [hint for hint in map(kinds.explain, files) if hint]
    return (
        f"{'; '.join([message, *hints[:3]])}; found: {found or 'nothing'}; possible are a model "
        f"that this toolkit has trained, and {POSSIBLE}; for any other, add code/inference.py"
    )


def _take_chosen(model_dir: Path, choice: Choice) -> ModelFile:
    path = (model_dir / choice.name).resolve()
    if path.is_relative_to(model_dir.resolve()) and path.exists():
        path = model_dir / choice.name
        found = list(_look(path, choice))
        if not found and path.is_dir():
            found = _keep_newest(list(_walk(path, choice, _DEPTH)))
        if len(found) == 1:
            return found[0]
        message = f"{MODEL_VARIABLE}={choice.name} is not a model that can be served without code"
    else:
        message = f"{MODEL_VARIABLE}={choice.name} does not exist in {model_dir}"
    models = [_name(model, model_dir) for model in _walk(model_dir, choice, _DEPTH)]
    message += f"; there are {', '.join(models[:10]) or 'no models'}"
    raise UserError(message)


def _walk(directory: Path, choice: Choice, depth: int) -> Iterator[ModelFile]:
    """Yield the models in a directory and below."""
    if not depth or not directory.is_dir():
        return
    here = list(_look(directory, choice))
    if here:  # its files are parts of it
        yield from here
        return
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            yield from _look(entry, choice)
        elif entry.name not in _SKIPPED and not entry.name.lower().startswith(_CHECKPOINTS):
            yield from _walk(entry, choice, depth - 1)


def _look(path: Path, choice: Choice) -> Iterator[ModelFile]:
    """Yield the model that a path is, if it is one."""
    if path.is_dir():
        if (path / "MLmodel").is_file():
            yield ModelFile("MLflow", path, choice)
        elif (path / "saved_model.pb").is_file():
            yield ModelFile("SavedModel", path, choice)
        elif kinds.is_of_several_files(path):
            yield ModelFile("safetensors", path, choice)
        return
    kind = kinds.recognize(path)
    if kind is not None:
        yield ModelFile(kind, path, choice)


def _keep_newest(models: list[ModelFile]) -> list[ModelFile]:
    """Keep the newest of SavedModels whose folders are numbers, beside each other."""
    newest: dict[Path, ModelFile] = {}
    for model in models:
        if model.kind == "SavedModel" and model.path.name.isdigit():
            before = newest.setdefault(model.path.parent, model)
            if int(model.path.name) > int(before.path.name):
                newest[model.path.parent] = model
    return [
        model
        for model in models
        if newest.get(model.path.parent, model) is model or not model.path.name.isdigit()
    ]


def _keep_best(models: Iterable[ModelFile], model_dir: Path) -> list[ModelFile]:
    """Keep the models at the top if there are any, and those called `model` if there are any."""
    candidates = list(models)
    top = [model for model in candidates if model_dir in (model.path, model.path.parent)]
    candidates = top or candidates
    named = [model for model in candidates if kinds.find_stem(model.path) == "model"]
    if top and named:
        return named
    return _keep_best_checkpoint(candidates, model_dir)


def _keep_best_checkpoint(models: list[ModelFile], model_dir: Path) -> list[ModelFile]:
    """Keep the best of checkpoints by the words of their names; all if there is a doubt."""
    ranks = []
    subjects = set()
    for model in models:
        place = model.path.relative_to(model_dir).as_posix().removesuffix(model.path.suffix)
        words = set(_OTHERS.split(place.lower())) - _FILLERS
        ranks.append(min((_RANKS[word] for word in words if word in _RANKS), default=None))
        subjects.add(frozenset(words - _RANKS.keys()))
    if None in ranks or len(subjects) > 1:  # perhaps of different trainings
        return models
    best = min(rank for rank in ranks if rank is not None) if ranks else None
    return [model for model, rank in zip(models, ranks, strict=True) if rank == best]


def _find_stem(model: ModelFile) -> str:
    """Return what two forms of one model have in common."""
    if model.kind in ("SavedModel", "MLflow"):
        return str(model.path)
    return str(model.path.with_name(kinds.find_stem(model.path)))


def _name(model: ModelFile, model_dir: Path) -> str:
    return f"{model.path.relative_to(model_dir)} ({model.kind})"


def _describe_several(model_dir: Path, models: list[ModelFile]) -> str:
    names = ", ".join(_name(model, model_dir) for model in models[:10])
    first = models[0].path
    return (
        f"{model_dir} holds {len(models)} models: {names}; one is expected: name it "
        f"model{first.suffix} at the top, or best{first.suffix} beside last{first.suffix}, or set "
        f"{MODEL_VARIABLE}={first.relative_to(model_dir)}"
    )
