"""Which launcher a job asks for: every form of the flags, and what is refused."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container import contract
from container.errors import UserError
from container.training.launching import choice

GROUPS = [
    {"instance_group_name": "cpu", "instance_type": "ml.c5.xlarge", "hosts": ["algo-1"]},
    {"instance_group_name": "gpu", "instance_type": "ml.g5.xlarge", "hosts": ["algo-3", "algo-2"]},
]


def lay_out(
    directory: Path, hyperparameters: dict[str, Any], current: str = "algo-2", **resources: Any
) -> contract.Layout:
    config = directory / "input/config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    document = {"current_host": current, "hosts": ["algo-1", "algo-2", "algo-3"], **resources}
    (config / "resourceconfig.json").write_text(json.dumps(document))
    return contract.Layout(directory)


@pytest.mark.parametrize("value", ["true", '"true"', "True", '"True"', True, 1, "1"])
@pytest.mark.parametrize(
    ("flag", "launcher"),
    [
        ("sagemaker_torch_distributed_enabled", "torchrun"),
        ("sagemaker_pytorch_ddp_enabled", "torchrun"),
        ("sagemaker_mpi_enabled", "mpirun"),
    ],
)
def test_a_flag_of_the_sdk_chooses_the_launcher(
    tmp_path: Path, flag: str, launcher: str, value: Any
) -> None:
    launch = choice.choose(lay_out(tmp_path, {flag: value, "epochs": "3"}))

    hosts = ("algo-1", "algo-2", "algo-3")
    assert launch == choice.Launch(launcher, hosts, rank=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["false", '"false"', "False", False, "0", "", None])
@pytest.mark.parametrize(
    "flag", ["sagemaker_mpi_enabled", "sagemaker_parameter_server_enabled", "sagemaker_new_enabled"]
)
def test_a_flag_that_is_off_asks_for_nothing(tmp_path: Path, flag: str, value: Any) -> None:
    assert choice.choose(lay_out(tmp_path, {flag: value})) is None


@pytest.mark.parametrize(
    ("hyperparameters", "named"),
    [
        ({"sagemaker_distributed_dataparallel_enabled": "true"}, "SMDDP"),
        ({"sagemaker_parameter_server_enabled": "true"}, "parameter servers"),
        ({"sagemaker_pytorch_xla_multi_worker_enabled": "true"}, "PyTorch/XLA"),
        ({"sagemaker_training_compiler_enabled": '"true"'}, "Training Compiler"),
        ({"sagemaker_horovod_enabled": "true"}, "sagemaker_horovod_enabled"),
        ({"sagemaker_use_horovod": "true"}, "sagemaker_use_horovod"),
        ({"sagemaker_deepspeed_enabled": '"1"'}, "sagemaker_deepspeed_enabled"),
        ({"sagemaker_launcher": '"slurm"'}, "sagemaker_launcher"),
        ({"sagemaker_mpi_enable": "true"}, "sagemaker_mpi_enable"),
        ({"sagemaker_mpi_Enabled": "true"}, "sagemaker_mpi_Enabled"),
        ({"sagemaker_pytorch_ddp": "true"}, "sagemaker_pytorch_ddp"),
        ({"sagemaker_use_torchrun": "true"}, "sagemaker_use_torchrun"),
        ({"launcher": '"slurm"'}, "launcher='slurm'"),
        ({"sagemaker_mpi_enabled": "true", "mp_parameters": '{"partitions": 2}'}, "SMP"),
        ({"mp_parameters": '{"partitions": 2}'}, "SMP"),
        (
            {
                "sagemaker_distributed_dataparallel_enabled": "true",
                "sagemaker_torch_distributed_enabled": "true",
            },
            "SMDDP",
        ),
    ],
)
def test_what_cannot_be_launched_is_refused_by_name_with_what_is_possible(
    tmp_path: Path, hyperparameters: dict[str, str], named: str
) -> None:
    with pytest.raises(UserError) as refusal:
        choice.choose(lay_out(tmp_path, hyperparameters))

    assert named in str(refusal.value)
    assert "possible are torchrun" in str(refusal.value)


def test_settings_that_ask_for_nothing_are_no_distribution(tmp_path: Path) -> None:
    values = {
        "sagemaker_multi_worker_mirrored_strategy_enabled": "true",
        "sagemaker_instance_type": '"ml.g5.xlarge"',
        "sagemaker_enable_cloudwatch_metrics": "true",
        "sagemaker_estimator_class_name": '"PyTorch"',
        "sagemaker_mpi_custom_mpi_options": '""',
        "sagemaker_distributed_dataparallel_custom_mpi_options": '"-x A"',
        "distributed_epochs": "3",
        "launcher": '"none"',
    }
    assert choice.choose(lay_out(tmp_path, values)) is None


def test_a_launcher_of_the_programs_own_is_passed_on_by_a_single_host(tmp_path: Path) -> None:
    layout = lay_out(tmp_path, {"launcher": '"pytorch"'}, hosts=["algo-2"])
    assert choice.choose(layout) is None


@pytest.mark.parametrize("launcher", ["ray", "torchrun", "mpirun"])
def test_the_hyperparameter_launcher_names_one(tmp_path: Path, launcher: str) -> None:
    launch = choice.choose(lay_out(tmp_path, {"launcher": f'"{launcher}"'}))
    assert launch is not None
    assert launch.launcher == launcher


def test_two_launchers_are_refused(tmp_path: Path) -> None:
    values = {"sagemaker_mpi_enabled": "true", "sagemaker_torch_distributed_enabled": "true"}
    with pytest.raises(UserError, match="several launchers, sagemaker_mpi_enabled and sagemaker_t"):
        choice.choose(lay_out(tmp_path, values))


def test_only_the_hosts_of_the_named_instance_groups_take_part(tmp_path: Path) -> None:
    values = {
        "sagemaker_torch_distributed_enabled": "true",
        "sagemaker_distribution_instance_groups": '["gpu"]',
    }
    inside = choice.choose(lay_out(tmp_path / "2", values, "algo-3", instance_groups=GROUPS))
    outside = choice.choose(lay_out(tmp_path / "1", values, "algo-1", instance_groups=GROUPS))

    assert inside == choice.Launch("torchrun", ("algo-2", "algo-3"), rank=1)
    assert outside is None
    with pytest.raises(UserError, match="names gpu; the job's instance groups are not named"):
        choice.choose(lay_out(tmp_path / "4", values))
    values["sagemaker_distribution_instance_groups"] = '["gpus"]'
    with pytest.raises(UserError, match=r"names gpus; the job's instance groups are cpu, gpu"):
        choice.choose(lay_out(tmp_path / "3", values, instance_groups=GROUPS))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sagemaker_mpi_enabled", '"maybe"', "expected true or false"),
        ("sagemaker_mpi_num_of_processes_per_host", '"two"', "1 or more"),
        ("sagemaker_mpi_num_of_processes_per_host", "0", "1 or more"),
        ("sagemaker_mpi_num_processes", "-1", "1 or more"),
        ("sagemaker_mpi_num_processes", "2.5", "1 or more"),
        ("sagemaker_mpi_num_processes", "true", "1 or more"),
        ("sagemaker_mpi_num_processes", "Infinity", "1 or more"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        choice.choose(lay_out(tmp_path, {"sagemaker_mpi_enabled": "true"} | {name: value}))


def test_settings_of_mpi_without_mpi_are_refused(tmp_path: Path) -> None:
    values = {
        "sagemaker_mpi_num_of_processes_per_host": "4",
        "sagemaker_mpi_custom_mpi_options": "",
    }
    with pytest.raises(UserError, match="per_host is set and sagemaker_mpi_enabled is not"):
        choice.choose(lay_out(tmp_path / "1", values))
    values["sagemaker_mpi_enabled"] = "false"  # as the SDK writes it
    assert choice.choose(lay_out(tmp_path / "2", values)) is None


def test_the_bundled_network_is_not_launched(tmp_path: Path) -> None:
    flag = {"sagemaker_torch_distributed_enabled": "true"}
    with pytest.raises(UserError, match="spreads itself over all hosts"):
        choice.refuse_for_bundled(lay_out(tmp_path / "1", flag))
    choice.refuse_for_bundled(lay_out(tmp_path / "2", {"epochs": "3"}))


FLAGS = (
    *("sagemaker_torch_distributed_enabled", "sagemaker_mpi_enabled"),
    *("sagemaker_distributed_dataparallel_enabled", "sagemaker_new_way_enabled"),
    *("sagemaker_use_horovod", "sagemaker_smddp", "sagemaker_xla_hosts"),
    *("SAGEMAKER_MPI_ENABLED", "sagemaker-torch-distributed-enabled"),
)
ON = ("true", "True", '"true"', '"\\"true\\""', " true ", "1", "yes", "on", True, 1)
OFF = ("false", "False", '"false"', "0", "no", "off", "", "null", None, False, 0)


@settings(max_examples=int(os.environ.get("READER_EXAMPLES", "40")))
@given(
    st.dictionaries(st.sampled_from(FLAGS), st.tuples(st.booleans(), st.sampled_from(range(10))))
)
def test_a_flag_that_is_on_launches_or_is_refused_and_never_trains_alone(
    drawn: dict[str, tuple[bool, int]],
) -> None:
    values = {name: (ON if is_on else OFF)[form] for name, (is_on, form) in drawn.items()}
    asked = sorted(name for name, (is_on, _) in drawn.items() if is_on)
    with tempfile.TemporaryDirectory() as directory:
        layout = lay_out(Path(directory), values)
        if not asked:
            assert choice.choose(layout) is None
        elif asked in (["sagemaker_torch_distributed_enabled"], ["sagemaker_mpi_enabled"]):
            launch = choice.choose(layout)
            assert launch is not None
            assert launch.launcher == ("mpirun" if "mpi" in asked[0] else "torchrun")
        else:
            with pytest.raises(UserError) as refusal:
                choice.choose(layout)
            refused = [name for name in asked if name not in FLAGS[:2]] or asked
            assert all(name in str(refusal.value) for name in refused)
