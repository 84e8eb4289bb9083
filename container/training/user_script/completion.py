"""Completes a job whose program succeeded: checks its model, adds what serving needs."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from container import algorithm, artifact, contract, variables
from container.training.user_script.diagnosis import Failure
from container.training.user_script.find import Program, enumerate_names
from container.user_packages import import_advice, versions
from container.user_packages.supervision import Outcome

ALLOW_EMPTY_MODEL_VARIABLE: Final = "SAGEMAKER_ALLOW_EMPTY_MODEL"
_PROBE_BYTES: Final = 16 * 1024


def complete(
    program: Program,
    layout: contract.Layout,
    environ: Mapping[str, str],
    outcome: Outcome,
    packages: Path | None = None,
) -> Failure | None:
    """Make the model durable, and put beside it what serving it needs.

    `packages` is the directory of the packages that the job installed.

    Return a failure if there is no model, or if the disk did not take it (TRIP-24).

    Raises: UserError if `SAGEMAKER_ALLOW_EMPTY_MODEL` is neither on nor off.
    """
    try:
        has_files = _make_durable(layout.model)
    except OSError as error:
        return _describe_disk_error(f"its files may be truncated: {error}")
    is_leader = contract.load_training_config(layout).resources.rank == 0
    needs_files = is_leader and not outcome.stopped
    if needs_files and not has_files and not variables.flag(ALLOW_EMPTY_MODEL_VARIABLE, environ):
        return Failure(
            "EmptyModelError: the program ended with exit code 0 but left no file in "
            f"{layout.model}; save the model to the directory that SM_MODEL_DIR names, or set "
            f"{ALLOW_EMPTY_MODEL_VARIABLE}=true if the program has no model to save"
        )
    for warning in import_advice.find_unservable(layout.model, _list_left_out(program, layout)):
        print(f"warning: {warning}", flush=True)
    links = sorted(str(path) for path in layout.model.rglob("*") if path.is_symlink())
    if links:
        print(
            "warning: a model archive with symbolic links cannot be deployed: "
            f"{enumerate_names(links)} [OUT-6]",
            flush=True,
        )
    try:
        _add_code_and_versions(program, layout, packages)
        layout.success.touch()
    except OSError as error:
        return _describe_disk_error(f"its inference code and versions cannot be saved: {error}")
    return None


def _describe_disk_error(what: str) -> Failure:
    return Failure(f"DiskError: the program ended with exit code 0, but {what}")


def _make_durable(directory: Path) -> bool:
    """Flush all files to the disk; return whether there are any.

    Raises: OSError, for instance if the disk is full.
    """
    files = [path for path in directory.rglob("*") if path.is_file()]
    probe = directory / ".probe"
    try:
        probe.write_bytes(os.urandom(_PROBE_BYTES))
        for path in (*files, probe):
            artifact.sync(path)
    finally:
        probe.unlink(missing_ok=True)
    return bool(files)


def _add_code_and_versions(
    program: Program, layout: contract.Layout, packages: Path | None
) -> None:
    if not any(layout.model.iterdir()):
        return
    if _has_inference_code(program, layout):
        target = layout.model / "code"
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(layout.code, target, ignore=ignored, dirs_exist_ok=True)
        print(f"copied the inference code to {target}", flush=True)
    versions.write(layout.model, packages)


def _has_inference_code(program: Program, layout: contract.Layout) -> bool:
    names = ("inference.py", algorithm.FILE_NAME)
    return bool(program.source) and any((layout.code / name).is_file() for name in names)


def _list_left_out(program: Program, layout: contract.Layout) -> set[str]:
    """List the modules of the code if they will not be put beside the model."""
    if _has_inference_code(program, layout):
        return set()
    return {path.stem for path in layout.code.glob("*") if path.suffix in ("", ".py")}
