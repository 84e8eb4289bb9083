"""Finds a user's inference code, installs what it needs and imports it.

Rules of this file: `find` is cheap and imports nothing of the user's; user code is imported by
`Handlers.load`, in the worker, because it may not survive a fork (HO-14); packages are installed
before the first request.
"""

import ast
import importlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from container import algorithm, contract
from container.errors import UserError
from container.serving import server_settings
from container.serving.bodies import media_types
from container.serving.third_party import answers, model_application, model_files
from container.serving.user_code import handler_rules, inference_toolkit, installation
from container.serving.user_code.application import Application
from container.user_packages import import_advice, versions

log = logging.getLogger(__name__)

DEFAULT_MODULE: Final = "inference.py"


@dataclass(frozen=True)
class Handlers:
    """A user's inference code, found and not yet imported."""

    module: Path
    """The file that holds the functions."""
    model_dir: Path
    """The argument of `model_fn`: the model directory, or the only directory in it (TRIP-21)."""
    default_accept: str = media_types.JSON
    pip_environ: Mapping[str, str] | None = None
    """The environment for installing its packages, or None if nothing is to be installed."""
    settings: server_settings.Settings = field(default_factory=server_settings.Settings)

    def load(self) -> Application | model_application.ModelApplication:
        """Install packages, import the code and load its model, in the process that will serve.

        Raises: UserError if the code cannot be imported, its functions contradict each other, or
        the model cannot be loaded; the message names what the model directory holds (TRIP-21) and
        which versions have changed (TRIP-28).
        """
        changes = versions.compare(self.model_dir)
        if changes:
            log.warning("the model was built with other versions: %s", ", ".join(changes[:20]))
        if self.pip_environ is not None:
            installation.install(self.module.parent, self.pip_environ)
        for sentence in installation.list_foreign(self.module.parent):
            log.warning("%s", sentence)
        functions = self._import()
        if not functions:
            return self._load_model_file()
        try:
            application = Application(
                functions,
                self.model_dir,
                self.default_accept,
                _read_choice(self.settings),
                end_of_line=not self.settings.batch,
            )
        except UserError:
            raise
        except Exception as error:
            log.exception("cannot load the model")
            found = []
            if self.model_dir.is_dir():
                found = sorted(path.name for path in self.model_dir.iterdir())[:10]
            message = (
                f"{self.module}: {type(error).__name__}: {error}; {self.model_dir} holds {found}"
            )
            advice = import_advice.explain(str(error))
            if advice:
                message += f"; {advice}"
            if changes:
                message += f"; it was built with other versions: {', '.join(changes[:5])}"
            raise UserError(message) from error
        log.info("loaded %s with %s", self.module, ", ".join(functions))
        return application

    def _import(self) -> Mapping[str, Callable[..., Any]]:
        inference_toolkit.stand_in_for_decoder()
        code = self.module.parent
        for directory in (code / "lib", code):
            if str(directory) not in sys.path and directory.is_dir():
                sys.path.insert(0, str(directory))
        try:
            if self.module.name == algorithm.FILE_NAME:
                return _adapt(algorithm.load(self.module))
            module = importlib.import_module(self.module.stem)
        except ImportError as error:
            message = f"{self.module} cannot be imported: {error}"
            advice = import_advice.explain(str(error)) or installation.explain_missing(
                code, installed=self.pip_environ is not None
            )
            if advice:
                message += f"; {advice}"
            raise UserError(message) from error
        return self._choose_functions(module)

    def _choose_functions(self, module: ModuleType) -> dict[str, Callable[..., Any]]:
        own = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__ and callable(value)
        ]
        misspelt = handler_rules.find_misspelt(own)
        if misspelt:
            raise UserError(f"{self.module}: {'; '.join(misspelt)}")
        defined = {name: getattr(module, name, None) for name in handler_rules.FUNCTIONS}
        functions = {name: function for name, function in defined.items() if callable(function)}
        if not functions and not _defines_classes(module):
            possible = ", ".join(handler_rules.FUNCTIONS)
            raise UserError(f"{self.module} defines no handler; expected one of {possible}")
        return functions

    def _load_model_file(self) -> model_application.ModelApplication:
        """Load the model that needs no handlers, only the classes that the code has defined."""
        found = find_model(self.model_dir, self.settings, self.default_accept)
        if found is None:
            possible = ", ".join(handler_rules.FUNCTIONS)
            raise UserError(
                f"{self.module} defines no handler, and {self.model_dir} holds no model that is "
                f"served without one; expected one of {possible}, or {model_files.POSSIBLE}"
            )
        return found.load()


def find(
    layout: contract.Layout, environ: Mapping[str, str]
) -> Handlers | model_application.Found | None:
    """Find a user's inference code in the model archive or in the image, or a third-party model.

    None means that the model directory holds an artifact of this toolkit, or nothing.
    """
    code = find_code(layout, environ)
    if code or model_files.is_artifact(layout.model):
        return code
    settings = server_settings.parse(environ)
    return find_model(layout.model, settings, _find_default_accept(environ))


def find_model(
    model_dir: Path, settings: server_settings.Settings, default_accept: str
) -> model_application.Found | None:
    """Find a third-party model.

    Raises: UserError if there are several, or it is a pickle and that is not allowed.
    """
    found = model_files.find(model_dir, _read_choice(settings))
    if found is None:
        return None
    found.check()
    server_settings.check_default_accept(settings, answers.TYPES)
    return model_application.Found(
        found.kind,
        found.path,
        found.choice,
        default_accept=default_accept,
        payload_bytes=settings.payload_bytes,
        end_of_line=not settings.batch,
    )


def _defines_classes(module: ModuleType) -> bool:
    """Return whether a module has classes of its own, such as layers that it registers."""
    values = vars(module).values()
    return any(isinstance(value, type) and value.__module__ == module.__name__ for value in values)


def _read_choice(settings: server_settings.Settings) -> model_files.Choice:
    return model_files.Choice(settings.model, settings.allow_pickle)


def find_one_of_many(
    layout: contract.Layout, environ: Mapping[str, str], model_dir: Path
) -> Handlers | model_application.Found | None:
    """Find the code of one model of a multi-model endpoint, or a third-party model.

    A model's own code comes before the code that the image has for all of them. None means that
    there is none, and `model_dir` holds an artifact of this toolkit, or nothing.

    Raises: UserError as `find_model` does.
    """
    shared = [*_list_submitted(environ), layout.code]
    code = _find_module(model_dir, [], shared, environ)
    if code or model_files.is_artifact(model_dir):
        return code
    settings = server_settings.parse(environ)
    return find_model(model_dir, settings, _find_default_accept(environ))


def find_code(layout: contract.Layout, environ: Mapping[str, str]) -> Handlers | None:
    """Find a user's inference code."""
    return _find_module(layout.model, _list_submitted(environ), [layout.code], environ)


def _list_submitted(environ: Mapping[str, str]) -> list[Path]:
    submitted = environ.get(contract.SUBMIT_DIRECTORY_VARIABLE, "")
    return [Path(submitted)] if submitted.startswith("/") else []


def _find_module(
    model_dir: Path, before: Sequence[Path], after: Sequence[Path], environ: Mapping[str, str]
) -> Handlers | None:
    """Find code in the model directory, in the directories `before` it, or in those `after` it."""
    directories = [*before, model_dir / "code", model_dir]
    inner = _find_only_directory(model_dir)
    if inner and ((inner / "code").is_dir() or (inner / DEFAULT_MODULE).is_file()):
        model_dir = inner
        directories += [inner / "code", inner]
    directories += after
    program = environ.get(contract.PROGRAM_VARIABLE) or DEFAULT_MODULE
    for directory in directories:
        for name in (program, DEFAULT_MODULE, algorithm.FILE_NAME):
            module = directory / f"{name.removesuffix('.py')}.py"
            if _holds_handlers(module):
                pip_environ = environ if installation.is_wanted(directory, environ) else None
                accept = _find_default_accept(environ)
                settings = server_settings.parse(environ)
                return Handlers(module, model_dir, accept, pip_environ, settings)
    return None


def _find_only_directory(model_dir: Path) -> Path | None:
    """Return the only entry of the model directory, if that is a directory and not `code`."""
    if not model_dir.is_dir():
        return None
    entries = [entry for entry in model_dir.iterdir() if not entry.name.startswith(".")]
    if len(entries) == 1 and entries[0].is_dir() and entries[0].name != "code":
        return entries[0]
    return None


def _holds_handlers(module: Path) -> bool:
    """Return whether a file holds handlers, not a training program; it is not imported."""
    if not module.is_file():
        return False
    if module.name in (DEFAULT_MODULE, algorithm.FILE_NAME):
        return True
    try:
        tree = ast.parse(module.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return True  # its import will report what is wrong
    names = {getattr(node, "name", "") for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return bool(names & {*handler_rules.FUNCTIONS, "*"})


def _find_default_accept(environ: Mapping[str, str]) -> str:
    given = environ.get(contract.DEFAULT_ACCEPT_VARIABLE, "").strip()
    return media_types.JSON if given in ("", "*/*") else given


def _adapt(typed: algorithm.Algorithm) -> dict[str, Callable[..., Any]]:
    """Return the functions of a typed algorithm under the toolkit's names."""
    load, predict = typed.load, typed.predict
    if load is None or predict is None:
        raise UserError(f"{algorithm.FILE_NAME} has no load(model_dir) and predict(model, data)")
    return {
        "model_fn": lambda model_dir: load(Path(model_dir)),
        "predict_fn": lambda data, model: predict(model, data),
    }
