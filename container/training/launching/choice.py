"""Decides which launcher a job asks for, by the flags that the SDKs send as hyperparameters.

A job that asks for a distribution which nothing here launches is refused: otherwise each host would
train by itself, and the job would be Completed (DS-9).
"""

import contextlib
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from container import contract
from container.errors import UserError
from container.hyperparameters import BOOLEANS

LauncherName: TypeAlias = Literal["torchrun", "mpirun", "ray"]

LAUNCHER_HYPERPARAMETER: Final = "launcher"
_MPI: Final = "sagemaker_mpi_enabled"
_FLAGS: Final[Mapping[str, LauncherName]] = {
    "sagemaker_torch_distributed_enabled": "torchrun",
    "sagemaker_pytorch_ddp_enabled": "torchrun",
    _MPI: "mpirun",
}
_LAUNCHERS: Final[Mapping[str, LauncherName]] = {
    "torchrun": "torchrun",
    "mpirun": "mpirun",
    "ray": "ray",
}
# Every host gets TF_CONFIG anyway, which is all that this strategy needs (DS-6).
_NEEDS_NO_LAUNCHER: Final = "sagemaker_multi_worker_mirrored_strategy_enabled"
_REFUSED: Final = {
    "sagemaker_distributed_dataparallel_enabled": (
        "SageMaker's data parallel library (SMDDP), which only AWS's own images contain"
    ),
    "sagemaker_parameter_server_enabled": "TensorFlow's parameter servers",
    "sagemaker_pytorch_xla_multi_worker_enabled": "PyTorch/XLA",
    "sagemaker_training_compiler_enabled": (
        "SageMaker Training Compiler, which only AWS's own images contain"
    ),
}
_MODEL_PARALLEL: Final = "mp_parameters"
# How SDKs name what they ask for; `sagemaker_instance_type` and the like ask for nothing.
_ASKING_WORDS: Final = (
    *("distribut", "horovod", "ddp", "xla", "parameter_server", "launcher"),
    *("mpirun", "torchrun", "deepspeed"),
)
_LIKENESS: Final = 0.9  # of `sagemaker_mpi_enable`
_SETTINGS: Final = frozenset(
    {
        "sagemaker_distribution_instance_groups",
        "sagemaker_distributed_dataparallel_custom_mpi_options",
    }
)
_POSSIBLE: Final = (
    "possible are torchrun (torch_distributed or pytorchddp of the SDK), mpirun (mpi; Horovod "
    "runs under it), Ray (the hyperparameter launcher=ray), TensorFlow's multi-worker mirrored "
    "strategy (multi_worker_mirrored_strategy), or no distribution: then each host runs the program"
)


@dataclass(frozen=True)
class Launch:
    """How the program is launched, as seen by one host that takes part."""

    launcher: LauncherName
    hosts: tuple[str, ...]
    """The hosts that take part, in the order of their ranks; the first one coordinates."""
    rank: int
    """Index of this host in `hosts`."""
    processes_per_host: int | None = None
    """None: one for each accelerator, or one."""
    processes: int | None = None
    """In all; None: as many as the hosts have together."""
    options: str = ""
    """More options for `mpirun`, as the user wrote them."""


def choose(layout: contract.Layout) -> Launch | None:
    """Return how this host launches the program, or None if it is started as it is.

    Raises: UserError if the job asks for a distribution that cannot be launched here.
    """
    values = {
        name: _decode(value)
        for name, value in contract.load_json_object(layout.hyperparameters).items()
    }
    resources = contract.load_json_object(layout.resource_config)
    launcher = _choose_launcher(values, resources)
    if launcher is None:
        return None
    hosts = _list_hosts(values, resources)
    current = contract.load_training_config(layout).resources.current_host
    if current not in hosts:  # its group of the cluster does other work (DS-7)
        return None
    return Launch(
        launcher,
        hosts,
        hosts.index(current),
        _read_count(values, "sagemaker_mpi_num_of_processes_per_host"),
        _read_count(values, "sagemaker_mpi_num_processes"),
        str(values.get("sagemaker_mpi_custom_mpi_options") or ""),
    )


def remove_own(arguments: Sequence[str], launch: Launch | None) -> list[str]:
    """Return a program's arguments without the hyperparameter that names our launcher."""
    option = f"--{LAUNCHER_HYPERPARAMETER}"
    if launch is None or option not in arguments:
        return list(arguments)
    at = list(arguments).index(option)
    if arguments[at + 1] not in _LAUNCHERS:  # an option of the program's own
        return list(arguments)
    return [*arguments[:at], *arguments[at + 2 :]]


def refuse_for_bundled(layout: contract.Layout) -> None:
    """Refuse a launcher for the bundled network, which distributes itself over all hosts.

    Raises: UserError.
    """
    launch = choose(layout)
    if launch is not None:
        raise UserError(
            f"the job asks for {launch.launcher}, but it runs the bundled network, which spreads "
            "itself over all hosts and devices; remove the distribution, or add your own program"
        )


def _choose_launcher(
    values: Mapping[str, Any], resources: Mapping[str, Any]
) -> LauncherName | None:
    flags = [name for name, value in sorted(values.items()) if _asks(name) and _is_on(name, value)]
    asked = {name: _FLAGS[name] for name in flags if name in _FLAGS}
    named = str(values.get(LAUNCHER_HYPERPARAMETER) or "none")
    if named in _LAUNCHERS:
        asked[f"{LAUNCHER_HYPERPARAMETER}={named}"] = _LAUNCHERS[named]
    refused = _refuse_flags(flags) + _refuse_model_parallel(values, is_launched=bool(asked))
    if not asked and named != "none" and len(_list_hosts(values, resources)) > 1:
        # A program may have an option of that name; on a single host it does not ask for us.
        refused.append(f"{LAUNCHER_HYPERPARAMETER}={named!r} is not a launcher of this image")
    refused += _refuse_settings(values, is_launched=bool(asked))
    if refused:
        raise UserError(f"each host would train by itself: {'; '.join(refused)}; {_POSSIBLE}")
    return _choose_one(asked)


def _refuse_flags(flags: Sequence[str]) -> list[str]:
    return [
        f"{name} asks for {_REFUSED.get(name, 'an unknown distribution')}"
        for name in flags
        if name not in _FLAGS and name != _NEEDS_NO_LAUNCHER
    ]


def _refuse_settings(values: Mapping[str, Any], *, is_launched: bool) -> list[str]:
    """Refuse settings of mpirun in a job that does not say whether it asks for it."""
    if is_launched or _MPI in values:
        return []
    settings = [name for name in values if name.startswith("sagemaker_mpi_")]
    return [f"{name} is set and {_MPI} is not" for name in settings if values[name]]


def _refuse_model_parallel(values: Mapping[str, Any], *, is_launched: bool) -> list[str]:
    """Refuse model parallelism; other text of that name, without a launcher, is the program's."""
    parameters = values.get(_MODEL_PARALLEL)
    if not parameters or not (is_launched or isinstance(parameters, dict)):
        return []
    library = "SageMaker's model parallel library (SMP)"
    return [f"{_MODEL_PARALLEL} asks for {library}, which only AWS's own images contain"]


def _choose_one(asked: Mapping[str, LauncherName]) -> LauncherName | None:
    if len(set(asked.values())) > 1:
        raise UserError(f"the job asks for several launchers, {' and '.join(asked)}; choose one")
    return next(iter(asked.values()), None)


def _asks(name: str) -> bool:
    """Return whether a hyperparameter asks for a distribution, also one that is unknown here."""
    name = name.strip().lower().replace("-", "_")
    if name in _SETTINGS or not name.startswith("sagemaker_"):
        return False
    if name.endswith("_enabled") or any(word in name for word in _ASKING_WORDS):
        return True
    known = (*_FLAGS, *_REFUSED, _NEEDS_NO_LAUNCHER)
    return bool(difflib.get_close_matches(name, known, n=1, cutoff=_LIKENESS))


def _is_on(name: str, value: Any) -> bool:
    """Read a flag, in any of the forms in which the SDKs and people write it. Raises: UserError."""
    meant = {**BOOLEANS, "none": False, "": False}.get(str(value).strip().lower())
    if meant is not None:
        return meant
    if name in _FLAGS or name in _REFUSED or name == _NEEDS_NO_LAUNCHER:
        raise UserError(f"{name}={value!r}: expected true or false")
    return bool(value)


def _read_count(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value in (None, ""):
        return None
    try:
        count = int(value)
    except (TypeError, ValueError, OverflowError):
        count = 0
    if count < 1 or isinstance(value, bool) or count != float(value):
        raise UserError(f"{name}={value!r}: expected a number of processes, 1 or more")
    return count


def _list_hosts(values: Mapping[str, Any], resources: Mapping[str, Any]) -> tuple[str, ...]:
    """List the hosts of the instance groups that take part; by default of all.

    Raises: UserError if a named group does not exist.
    """
    names = values.get("sagemaker_distribution_instance_groups")
    groups = {
        group["instance_group_name"]: group["hosts"]
        for group in resources.get("instance_groups") or []
    }
    if not names:
        return tuple(sorted(resources.get("hosts") or ["algo-1"]))
    unknown = sorted(set(names) - set(groups))
    if unknown:
        raise UserError(
            f"sagemaker_distribution_instance_groups names {', '.join(unknown)}; the job's "
            f"instance groups are {', '.join(sorted(groups)) or 'not named'}"
        )
    return tuple(sorted(host for name in names for host in groups[name]))


def _decode(value: Any) -> Any:
    """Decode a hyperparameter twice at most: the SDKs write a string as JSON in a string (HP-3)."""
    for _ in range(2):
        if isinstance(value, str):
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(value)
    return value
