"""What is decided about a user's program before and after it runs."""

import json
from pathlib import Path

import pytest

from container import contract, machine
from container.errors import UserError
from container.training.user_script import launch
from container.user_packages import required_packages
from container.user_packages.supervision import Outcome


@pytest.fixture
def layout(tmp_path: Path) -> contract.Layout:
    layout = contract.Layout(tmp_path)
    layout.code.mkdir()
    return layout


def configure(layout: contract.Layout, name: str, document: object) -> None:
    path = layout.base / "input/config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def test_job_without_code_has_no_program(layout: contract.Layout) -> None:
    (layout.code / "inference.py").touch()
    assert launch.find_program(layout, {}) is None


@pytest.mark.parametrize("value", ["train_it.py", '"train_it.py"'])
def test_program_is_named_by_variable_or_hyperparameter(
    layout: contract.Layout, value: str
) -> None:
    configure(layout, "hyperparameters.json", {"sagemaker_program": value})
    assert launch.find_program(layout, {}) == launch.Program("train_it.py")
    assert launch.find_program(layout, {"SAGEMAKER_PROGRAM": "other.sh"}) == launch.Program(
        "other.sh"
    )


def test_source_of_the_job_wins_over_the_source_of_the_image(layout: contract.Layout) -> None:
    environ = {"SAGEMAKER_PROGRAM": "a.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://image/code.tar.gz"}
    assert launch.find_program(layout, environ) == launch.Program("a.py", "s3://image/code.tar.gz")
    configure(
        layout, "hyperparameters.json", {"sagemaker_submit_directory": '"s3://job/code.tar.gz"'}
    )
    assert launch.find_program(layout, environ) == launch.Program("a.py", "s3://job/code.tar.gz")


def test_code_directory_as_source_means_that_the_code_is_in_place(layout: contract.Layout) -> None:
    environ = {"SAGEMAKER_PROGRAM": "a.py", "SAGEMAKER_SUBMIT_DIRECTORY": str(layout.code)}
    assert launch.find_program(layout, environ) == launch.Program("a.py")


def test_project_file_of_a_tool_makes_no_package(layout: contract.Layout) -> None:
    (layout.code / "a.py").touch()
    (layout.code / "pyproject.toml").write_text("[tool.ruff]\n")
    assert launch.classify(layout.code, "a.py") == "program"
    (layout.code / "pyproject.toml").write_text("[project]\nname = 'a'\n")
    assert launch.classify(layout.code, "a.py") == "package"
    assert launch.classify(layout.code, "a") == "package"


def test_missing_program_is_answered_with_what_there_is(layout: contract.Layout) -> None:
    (layout.code / "trainer.py").touch()
    with pytest.raises(UserError, match=r"did you mean 'trainer.py'.*found: trainer.py"):
        launch.classify(layout.code, "trainr.py")
    with pytest.raises(UserError, match=r"no program is named .* one of: trainer.py"):
        launch.classify(layout.code, "")


def test_platform_job_without_credentials_counts_as_isolated(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text("Iface Destination\neth0 00000000\n")
    arn = {"TRAINING_JOB_ARN": "arn:aws:sagemaker"}
    assert required_packages.is_isolated(arn, routes)
    assert not required_packages.is_isolated(
        arn | {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}, routes
    )
    assert not required_packages.is_isolated({}, routes)
    routes.write_text("Iface Destination\n")
    assert required_packages.is_isolated({}, routes)


TRACEBACK = b"""epoch 1
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    f()
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
    raise ValueError("the cause,\\nin two lines")
ValueError: the cause,
in two lines
"""


def test_cause_of_a_traceback_is_the_last_exception_and_comes_first() -> None:
    cause = launch.find_cause(Outcome(1, error_tail=TRACEBACK))
    assert cause.startswith("ValueError: the cause,\nin two lines\nTraceback")
    assert "KeyError" not in cause


def test_cause_without_a_traceback_is_the_end_of_the_output() -> None:
    assert launch.find_cause(Outcome(1, output_tail=b"a\n" * 9000 + b"the end\n")).endswith(
        "the end"
    )
    assert launch.find_cause(Outcome(1, error_tail=b"10%\r20%\r30%")) == "30%"
    assert launch.find_cause(Outcome(1)) == ""
    assert len(launch.find_cause(Outcome(1, error_tail=b"x" * 16384))) <= 1024


@pytest.mark.parametrize(
    "name", ["API_KEY", "db_password", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "Authorization"]
)
def test_value_of_a_secret_name_is_hidden_wherever_it_occurs(name: str) -> None:
    secrets = launch.find_secrets({name: "hunter2", "other": "visible"})
    assert (
        launch.mask('{"a": "hunter2", "b": "visible"}', secrets) == '{"a": "***", "b": "visible"}'
    )
    assert (
        launch.mask_command(["run", f"--{name}", "abc", "--x", "1"], secrets)
        == f"run --{name} *** --x 1"
    )


@pytest.mark.parametrize("name", ["tokenizer", "max_tokens", "author", "sort_key", "monkey"])
def test_value_of_a_harmless_name_is_shown(name: str) -> None:
    assert launch.find_secrets({name: "value"}) == []


def test_limits_are_those_of_the_cgroup(tmp_path: Path) -> None:
    assert machine.count_memory_bytes(tmp_path) is None
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert machine.count_cpus(tmp_path) == 0.5
    assert machine.count_memory_bytes(tmp_path) == 2**30
    assert machine.count_memory_kills(tmp_path) == 2


def test_limits_of_the_older_cgroup_are_read_too(tmp_path: Path) -> None:
    for name, text in {
        "cpu/cpu.cfs_quota_us": "25000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "1048576",
        "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert machine.count_cpus(tmp_path) == 0.25
    assert machine.count_memory_bytes(tmp_path) == 2**20
    assert machine.count_memory_kills(tmp_path) == 3


@pytest.mark.parametrize(
    ("cpu", "memory"), [("max 100000", "max"), ("garbage", ""), ("", "9223372036854771712")]
)
def test_no_limit_is_the_machines(tmp_path: Path, cpu: str, memory: str) -> None:
    (tmp_path / "cpu.max").write_text(cpu)
    (tmp_path / "memory.max").write_text(memory)
    assert machine.count_cpus(tmp_path) >= 1
    assert machine.count_memory_bytes(tmp_path) is None


def test_launch_by_the_toolkit_names_the_packages_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in ("gevent", "paramiko") else name
    )
    with pytest.raises(UserError, match=r"pip install gevent paramiko$"):
        launch._compose_command(tmp_path, "", "launcher", [])  # noqa: SLF001
