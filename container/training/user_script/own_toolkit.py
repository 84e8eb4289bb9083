"""Answers as `sagemaker-training` would for one program, at once and without it.

The toolkit needs a C compiler, scipy and more, which the package for developers does without, and
a third of a second. `test_own_toolkit.py` and `test_script_toolkit.py` compare the two.

Rules of this file: it has the toolkit's interface as far as `environment` and `fetching` use it.
"""

import contextlib
import json
import multiprocessing
import shutil
import subprocess
import tarfile
import tempfile
import urllib.parse
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

from container import contract
from container.user_packages import archive

_PLATFORM_PREFIX: Final = "sagemaker_"
_PLATFORM_NAMES: Final = (
    contract.PROGRAM_HYPERPARAMETER,
    contract.SUBMIT_DIRECTORY_HYPERPARAMETER,
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_region",
    "sagemaker_container_log_level",
    "sagemaker_job_name",
    "default_user_module_name",
    "_tuning_objective_metric",
    "sagemaker_s3_output",
)
_DISTRIBUTIONS: Final = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_torch_distributed_enabled",
)
_ONLY_IN_DOCUMENT: Final = (
    "additional_framework_parameters",
    "channel_input_dirs",
    "distribution_hosts",
    "hyperparameters",
    "is_master",
    "job_name",
    "master_hostname",
)
"""Facts that SM_TRAINING_ENV has, and no variable of their own."""
_ALL_GROUPS: Final = "homogeneousCluster"
_INFO: Final = 20


class Environment:
    """What the toolkit derives from a job's three documents."""

    def __init__(
        self,
        resources: Mapping[str, Any],
        channels: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        environ: MutableMapping[str, str],
    ) -> None:
        """Derive it, and set the variables of `environ` that the toolkit sets."""
        platform = {name: value for name, value in hyperparameters.items() if _is_platform(name)}
        self._hyperparameters = {
            name: value for name, value in hyperparameters.items() if name not in platform
        }
        self._framework = {
            name: value for name, value in platform.items() if name not in _PLATFORM_NAMES
        }
        layout = contract.Layout.from_environ(environ)
        self._facts = {
            **_describe_directories(layout),
            **self._describe_hosts(resources),
            **self._describe_program(platform, layout, environ),
            "hyperparameters": self._hyperparameters,
            "additional_framework_parameters": self._framework,
            "input_data_config": channels,
            "channel_input_dirs": {name: str(layout.channel(name)) for name in channels},
            "num_cpus": multiprocessing.cpu_count(),
            "num_gpus": _count_gpus(),
            "num_neurons": _count_neurons(resources.get("current_instance_type", "local")),
        }
        environ["SAGEMAKER_JOB_NAME"] = str(platform.get("sagemaker_job_name", ""))
        environ["CURRENT_HOST"] = resources["current_host"]
        environ["SAGEMAKER_REGION"] = str(
            platform.get("sagemaker_region") or environ.get("AWS_DEFAULT_REGION", "")
        )

    def to_cmd_args(self) -> list[str]:
        """Return the hyperparameters as arguments: `--name value`, `-n value`."""
        arguments = []
        for name, value in sorted(self._hyperparameters.items()):
            dashes = "--" if len(name) > 1 else "-"
            arguments += [dashes + name if name else "", _format_argument(value)]
        return arguments

    def to_env_vars(self) -> dict[str, str]:
        """Return the variables `SM_*`."""
        facts = self._facts
        document = {
            **facts,
            "is_modelparallel_enabled": None,
            "is_smddprun_installed": False,
            "is_smddpmprun_installed": False,
        }
        variables = {name: fact for name, fact in facts.items() if name not in _ONLY_IN_DOCUMENT}
        if not facts["topology"]:
            del variables["topology"]
        variables |= {
            "hps": self._hyperparameters,
            "framework_params": self._framework,
            "channels": sorted(facts["channel_input_dirs"]),
            "training_env": document,
            "user_args": self.to_cmd_args(),
        }
        for name, path in facts["channel_input_dirs"].items():
            variables[f"channel_{name}"] = path
        for name, value in self._hyperparameters.items():
            variables[f"hp_{name}"] = value
        return {f"SM_{name.upper()}": _format_variable(value) for name, value in variables.items()}

    def _describe_hosts(self, resources: Mapping[str, Any]) -> dict[str, Any]:
        host = resources["current_host"]
        group = resources.get("current_group_name", _ALL_GROUPS)
        given = resources.get("instance_groups") or ()
        groups = {each["instance_group_name"]: each for each in given}
        own = [group] if any(self._framework.get(name) for name in _DISTRIBUTIONS) else []
        distributed = self._framework.get("sagemaker_distribution_instance_groups", own)
        hosts = list(resources["hosts"])
        if groups:
            chosen = [each["hosts"] for name, each in groups.items() if name in distributed]
            hosts = [host for members in chosen for host in members]
        master = (hosts or resources["hosts"])[0]
        return {
            "resource_config": resources,
            "hosts": resources["hosts"],
            "current_host": host,
            "current_instance_type": resources.get("current_instance_type", "local"),
            "current_instance_group": group,
            "current_instance_group_hosts": groups.get(group, {}).get("hosts", []),
            "instance_groups": list(groups),
            "instance_groups_dict": groups,
            "distribution_instance_groups": distributed,
            "distribution_hosts": hosts,
            "is_hetero": len(groups) > 1,
            "master_hostname": master,
            "is_master": host == master,
            "network_interface_name": resources.get("network_interface_name", "eth0"),
            "topology": resources.get("topology", []),
        }

    def _describe_program(
        self, platform: Mapping[str, Any], layout: contract.Layout, environ: Mapping[str, str]
    ) -> dict[str, Any]:
        program = environ[contract.PROGRAM_VARIABLE]
        source = platform.get(contract.SUBMIT_DIRECTORY_HYPERPARAMETER, layout.code)
        return {
            "user_entry_point": program,
            "module_name": program.removesuffix(".py"),
            "module_dir": str(source),
            "framework_module": environ.get(contract.TRAINING_MODULE_VARIABLE),
            "job_name": environ.get(contract.TRAINING_JOB_NAME_VARIABLE),
            "log_level": platform.get("sagemaker_container_log_level", _INFO),
        }


def download_and_extract(source: str, target: str) -> None:
    """Put the code at `source` (`s3://`, directory, tar.gz or file) into the directory `target`.

    Raises: OSError, tarfile.TarError, or botocore's errors.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if source.startswith("s3://"):
            packed = Path(scratch) / "source.tar.gz"
            _download(source, packed)
            _unpack(packed, Path(target))
        elif Path(source).is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif tarfile.is_tarfile(source):
            _unpack(Path(source), Path(target))
        else:
            Path(target).mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _download(uri: str, path: Path) -> None:
    import boto3

    address = urllib.parse.urlsplit(uri)
    boto3.client("s3").download_file(address.netloc, address.path.lstrip("/"), str(path))


def _unpack(packed: Path, target: Path) -> None:
    with tarfile.open(packed, "r:gz", tarinfo=archive.Member) as members:
        archive.unpack(members, archive.list_members(members, packed.stat().st_size), target)


def _is_platform(name: str) -> bool:
    return name in _PLATFORM_NAMES or name.startswith(_PLATFORM_PREFIX)


def _describe_directories(layout: contract.Layout) -> dict[str, str]:
    output = layout.output_data.parent
    return {
        "model_dir": str(layout.model),
        "input_dir": str(layout.base / "input"),
        "input_config_dir": str(layout.hyperparameters.parent),
        "output_dir": str(output),
        "output_data_dir": str(layout.output_data),
        "output_intermediate_dir": str(output / "intermediate"),
    }


def _count_gpus() -> int:
    listed = _run("nvidia-smi", "--list-gpus")
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def _count_neurons(instance_type: str) -> int:
    """Count Neuron cores, as the toolkit does."""
    if "trn2.48xlarge" in instance_type:
        return 64
    listed = _run("neuron-ls", "-j")
    return sum(device.get("nc_count", 0) for device in json.loads(listed or "[]"))


def _run(*command: str) -> str:
    """Return the output of a program; empty if it is not there or fails."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        quiet = subprocess.DEVNULL
        return subprocess.check_output(command, text=True, stderr=quiet)  # noqa: S603 - ours
    return ""


def _format_argument(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={item}" for name, item in sorted(value.items()))
    return str(value)


def _format_variable(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
