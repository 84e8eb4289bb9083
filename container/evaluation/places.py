"""Where an evaluation finds the artifact and the test set, and where it writes.

A processing job (PR-1 to PR-5) has inputs named `model` and `test` (or `testing`), and an output
named `evaluation`. Elsewhere the artifact is in `model/`, the test set is the channel `test` or
`testing`, and results go to `output/data` and `output/evaluation`. Options override either.
"""

import argparse
import tarfile
import tempfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from container import artifact, contract
from container.errors import PlatformError, UserError
from container.user_packages import archive

_TEST_NAMES: Final = ("test", "testing")
_SHARDED: Final = "ShardedByS3Key"


@dataclass(frozen=True)
class Places:
    """Where one evaluation reads and writes."""

    model: Path
    """Directory of an artifact, directory that holds one `model.tar.gz`, or such an archive."""
    test: Path
    outputs: tuple[Path, ...]
    is_sharded: bool = False
    """Each host of the job has files of its own of the test set (`ShardedByS3Key`)."""


def output_dirs(layout: contract.Layout) -> tuple[Path, Path]:
    """Return the directories of results outside processing jobs; the first is uploaded (OUT-4)."""
    return layout.output_data, layout.output_data.with_name("evaluation")


def find(layout: contract.Layout, options: argparse.Namespace) -> Places:
    """Find the places of a processing job, or of a run elsewhere.

    Raises: UserError if a place is missing; PlatformError if the request of the job is wrong.
    """
    if layout.processing_job_config.exists():
        return _find_in_processing_job(layout, options)
    channels = [layout.channel(name) for name in _TEST_NAMES]
    test = options.test_dir or _take_only([path for path in channels if path.is_dir()])
    if test is None:
        raise UserError(
            f"no test set was found: neither {channels[0]} nor {channels[1]} is a directory; "
            "pass a directory as --test-dir"
        )
    outputs = (options.output_dir,) if options.output_dir else output_dirs(layout)
    return Places(options.model_dir or layout.model, test, outputs)


def _take_only(tests: list[Path]) -> Path | None:
    """Return the only test set, or None without one. Raises: UserError if there are two."""
    if len(tests) > 1:
        message = f"{tests[0]} and {tests[1]} are two test sets; keep one, or pass --test-dir"
        raise UserError(message)
    return tests[0] if tests else None


def _find_in_processing_job(layout: contract.Layout, options: argparse.Namespace) -> Places:
    config = contract.load_json_object(layout.processing_job_config)
    output_config = config.get("ProcessingOutputConfig") or {}
    inputs = _local_paths(layout, config.get("ProcessingInputs"), "Input")
    outputs = _local_paths(layout, output_config.get("Outputs"), "Output")
    model = options.model_dir or inputs.get("model")
    test = options.test_dir or _take_only(list(filter(None, map(inputs.get, _TEST_NAMES))))
    output = options.output_dir or outputs.get("evaluation")
    faults = []
    if model is None:
        faults.append(f"no input is named 'model'; found {_list_names(inputs)}")
    if test is None:
        faults.append(f"no input is named 'test' or 'testing'; found {_list_names(inputs)}")
    if output is None:
        faults.append(f"no output is named 'evaluation'; found {_list_names(outputs)}")
    if model is None or test is None or output is None:
        raise UserError.from_faults("the processing job lacks an input or output", faults)
    return Places(model, test, (output,), _is_sharded(layout, config, test))


def _is_sharded(layout: contract.Layout, config: dict[str, Any], test: Path) -> bool:
    """Return whether the input that holds `test` is divided between the hosts of the job."""
    sharded = [
        entry
        for entry in config.get("ProcessingInputs") or []
        if _SHARDED in (entry.get("S3Input") or {}).values()
        or _SHARDED in (entry.get("DatasetDefinition") or {}).values()
    ]
    paths = _local_paths(layout, sharded, "Input").values()
    return any(test.is_relative_to(path) for path in paths)


def _list_names(paths: dict[str, Path]) -> str:
    return ", ".join(sorted(paths)) or "none"


def _local_paths(layout: contract.Layout, entries: Any, kind: str) -> dict[str, Path]:
    """Return the directory of each input or output by name, all below `processing` (PR-2)."""
    paths = {}
    for entry in entries if isinstance(entries, list) else []:
        name = entry.get(f"{kind}Name")
        source = entry.get(f"S3{kind}") or entry.get("DatasetDefinition") or {}
        local = PurePosixPath(source.get("LocalPath") or f"/opt/ml/processing/{name}")
        if not local.is_relative_to("/opt/ml/processing") or ".." in local.parts:
            raise PlatformError(
                f"{kind.lower()} {name!r} has the local path {local}; only paths below "
                "/opt/ml/processing are mounted"
            )
        paths[name] = layout.processing / local.relative_to("/opt/ml/processing")
    return paths


def unpack_model(model: Path, stack: ExitStack) -> Path:
    """Return a directory that holds the artifact; an archive is unpacked until `stack` closes.

    Raises: UserError if there are several archives, or an archive is damaged, or has members that
    are not files and directories inside it (OUT-6, SEC-3); PlatformError if the disk is full.
    """
    if (model / artifact.MANIFEST_NAME).exists():
        return model
    archives = [model] if model.is_file() else sorted(model.glob("*.tar.gz"))
    if not archives:
        return model
    if len(archives) > 1:
        names = ", ".join(path.name for path in archives)
        raise UserError(f"{model} holds several archives, expected one: {names}")
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-")))
    try:
        with tarfile.open(archives[0], tarinfo=archive.Member) as packed:
            members = archive.list_members(packed, archives[0].stat().st_size)
            archive.unpack(packed, members, scratch)
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        reason = str(error).partition("\n")[0] + archive.explain(archives[0])
        raise UserError(f"{archives[0]} cannot be unpacked: {reason}") from error
    except OSError as error:
        raise PlatformError(f"{archives[0]} cannot be unpacked into {scratch}: {error}") from error
    return scratch
