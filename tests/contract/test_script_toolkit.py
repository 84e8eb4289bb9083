"""The same jobs, run by `python -m container train` and by `sagemaker-training`'s own `train`.

What a program is given and what is said of its failure must be equal, but for the rows of the table
of differences in docs/bring-your-own.md: DIFFERENCES names for each row where it is shown.
"""

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contract.training_job import Job
from tests.support import ROOT, USER_CODE

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")

HOST = {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "eth0"}
FILE = {"TrainingInputMode": "File"}

# The row of the documentation -> the word that cases below use for it, or the test that shows it
# elsewhere.
DIFFERENCES = {
    "exit code is always 1": "exit code",
    "`ExitCode -9` after a signal": "signal",
    "SIGTERM is not passed on": "test_stop_reaches_the_program_and_waits_for_its_work",
    '`ErrorMessage ""`, or every error line once': "message",
    "`ExtraInfo` only for 137": "extra info",
    (
        "a missing program fails as `can't open file`, a wrong name as a list of its characters"
    ): "program",
    "names of programs may hold only letters, digits and `._+-/`": "name",
    "pip is called with its defaults": "pip",
    "`SAGEMAKER_SUBMIT_DIRECTORY` is overridden by its default": "submit directory",
    "`PYTHONPATH` is this Python's entire path": "path",
    "`SM_NUM_CPUS` counts the machine's processors": "processors",
    "names with a hyphen only, `SM_CHANNEL_MY-DATA`": "hyphen",
    "nothing is set for logs, crashes and threads": "defaults",
    "several hosts get no `TF_CONFIG` and no interface": "hosts",
    "variables over 128 KiB fail the start": "too long",
    "missing `input/config` files fail the start": "no files",
    "the entire environment is logged": "test_secrets_are_masked_in_the_log_and_the_reason",
    "success with an empty model directory": "empty model",
    "only `setup.py` makes a package": "package",
    "the host's own name must resolve, for up to 15 minutes": "test_single_host_needs_no_name",
    "`sagemaker_s3_output` starts a copy of `output/intermediate`": "test_s3_output_has_no_effect",
    (
        "MPI on several hosts needs sshd and keys, and Open MPI 4: with version 5 the other hosts "
        "wait for `orted`, which is gone"
    ): "test_mpirun_starts_the_processes_of_two_hosts",
    (
        "flags of distributions other than MPI have no effect: each host trains by itself"
    ): "test_distribution_that_is_not_launched_ends_the_job",
}
ALWAYS = frozenset({"path", "defaults"})


@dataclass
class Case:
    """A job: its files, its configuration, and the differences that it shows."""

    files: dict[str, str | bytes] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    channels: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=lambda: dict(HOST))
    variables: dict[str, str] = field(default_factory=dict)
    differs: frozenset[str] = frozenset()


@dataclass
class End:
    """How a job ended, and the files it left."""

    exit_code: int
    failure: str
    succeeded: bool
    given: dict[str, Any]
    output: str


def run(
    case: Case, base: Path, start: Callable[[Job], "subprocess.CompletedProcess[bytes]"]
) -> End:
    """Lay the job out in `base`, the same for either peer, and run it."""
    shutil.rmtree(base, ignore_errors=True)
    job = Job(base)
    # The toolkit cannot call a pip whose path has a space.
    environment = base.parent / "environment"
    if not environment.exists():
        environment.symlink_to(sys.prefix)
    job.python = str(environment / "bin/python")
    documents = (case.hyperparameters, case.channels, case.resources)
    for name, document in zip(
        ("hyperparameters", "inputdataconfig", "resourceconfig"), documents, strict=True
    ):
        job.configure(name, document)
    if "no files" in case.differs:
        shutil.rmtree(base / "input/config")
    for name in ("model", "output", "code"):
        (base / name).mkdir()
    for name, content in case.files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755)
    result = start(job)
    given = base / "model/given.json"
    return End(
        exit_code=result.returncode,
        failure=job.failure,
        succeeded=(base / "output/success").exists(),
        given=json.loads(given.read_text()) if given.exists() else {},
        output=(result.stdout + result.stderr).decode(errors="replace"),
    )


def run_both(case: Case, base: Path, *, captures: bool = False) -> tuple[End, End]:
    """Run the job by us and by the toolkit."""
    options = ["captures"] if captures else []

    def ask_toolkit(job: Job) -> "subprocess.CompletedProcess[bytes]":
        environ = job.environ(**case.variables)
        command = [job.python, str(USER_CODE / "toolkit_train.py"), *options]
        return subprocess.run(command, env=environ, capture_output=True, check=False, timeout=300)

    return run(case, base, lambda job: job.train(**case.variables)), run(case, base, ask_toolkit)


def read(name: str) -> str:
    """Return the text of a fixture program."""
    return (USER_CODE / name).read_text()


def pack(**members: str) -> bytes:
    """Make a tar.gz archive of members that are named without their dots."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


# What a program is given

DUMP: dict[str, str | bytes] = {"code/dump.py": read("dump.py")}
SETUP = "from setuptools import setup\nsetup(name='dump', py_modules=[])\n"
GROUPS = [
    {"instance_group_name": "cpu", "instance_type": "ml.c5.xlarge", "hosts": ["127.0.0.1"]},
    {"instance_group_name": "gpu", "instance_type": "ml.p3.2xlarge", "hosts": ["localhost"]},
]
SUCCESSES = {
    "raw hyperparameters": Case(
        DUMP,
        {
            "sagemaker_program": "dump.py",
            "epochs": "3",
            "lr": "0.001",
            "optimizer": "adam",
            "augment": "true",
            "x": "1",
        },
        {"train": FILE, "validation": FILE},
    ),
    "hyperparameters in JSON": Case(
        DUMP,
        {
            "sagemaker_program": '"dump.py"',
            "optimizer": '"adam"',
            "dims": "[1, 2]",
            "map": '{"b": 1, "a": "z"}',
            "flag": "false",
            "none": "null",
            "number": 3,
            "list": [1, 2],
        },
    ),
    "hyperparameters in Python's notation": Case(
        DUMP,
        {
            "sagemaker_program": "dump.py",
            "augment": "True",
            "none": "None",
            "cfg": "{'a': 1}",
            "text": "ünï €",
            "quote": 'it\'s "so" $HOME; `id` * \\',
            "empty": "",
            "lines": "a\nb",
        },
    ),
    "hyperparameters of the platform": Case(
        DUMP,
        {
            "sagemaker_program": '"dump.py"',
            "_tuning_objective_metric": "accuracy",
            "sagemaker_job_name": '"job-1"',
            "sagemaker_region": '"eu-west-1"',
            "sagemaker_container_log_level": "10",
            "sagemaker_enable_cloudwatch_metrics": "false",
            "sagemaker_custom": '"x"',
            "sagemaker_parameter_server_enabled": "false",
            "model_dir": '"s3://bucket/model"',
        },
        variables={"TRAINING_JOB_NAME": "job-1"},
    ),
    "names that no shell can read": Case(
        DUMP,
        {"sagemaker_program": "dump.py", "with-hyphen": "1", "with.dot": "2"},
        {"my-data": FILE},
        differs=frozenset({"hyphen"}),
    ),
    "a shell script": Case(
        DUMP | {"code/dump.sh": read("dump.sh")},
        {
            "sagemaker_program": "dump.sh",
            "quote": 'it\'s "so" $HOME; `id` * \\',
            "empty": "",
            "n": "1",
        },
    ),
    "a program below a directory": Case(
        {"code/bin/dump.py": read("dump.py")},
        {"epochs": "3"},
        variables={"SAGEMAKER_PROGRAM": "bin/dump.py"},
    ),
    "a program that is no Python": Case(
        DUMP | {"code/dump": read("dump.sh")}, {"sagemaker_program": "dump", "epochs": "3"}
    ),
    "a package": Case(
        DUMP | {"code/setup.py": SETUP},
        {"sagemaker_program": "dump.py", "epochs": "3"},
        variables={"PIP_TARGET": "{scratch}", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"},
        differs=frozenset({"pip"}),
    ),
    "requirements that are there": Case(
        DUMP | {"code/requirements.txt": "numpy\n"},
        {"sagemaker_program": "dump.py"},
        variables={"PIP_NO_INDEX": "1"},
        differs=frozenset({"pip"}),
    ),
    "code in an archive": Case(
        {"source/code.tar.gz": pack(dump_py=read("dump.py"))},
        {
            "sagemaker_program": '"dump.py"',
            "sagemaker_submit_directory": '"{base}/source/code.tar.gz"',
        },
    ),
    "code in a directory": Case(
        {"source/dump.py": read("dump.py")},
        {"sagemaker_program": "dump.py", "sagemaker_submit_directory": "{base}/source"},
    ),
    "code in the image, and another archive": Case(
        DUMP | {"source/code.tar.gz": pack(dump_py="raise SystemExit('not this one')")},
        {"sagemaker_program": "dump.py", "sagemaker_submit_directory": "{base}/source/code.tar.gz"},
    ),
    "one host as the platform describes it": Case(
        DUMP,
        {"sagemaker_program": "dump.py"},
        resources=HOST
        | {
            "current_instance_type": "ml.c5.xlarge",
            "current_group_name": "homogeneousCluster",
            "instance_groups": [
                {
                    "instance_group_name": "homogeneousCluster",
                    "instance_type": "ml.c5.xlarge",
                    "hosts": ["localhost"],
                }
            ],
            "topology": None,
        },
    ),
    "hosts of two groups": Case(
        DUMP,
        {"sagemaker_program": "dump.py", "sagemaker_distribution_instance_groups": '["gpu"]'},
        {"train": FILE | {"S3DistributionType": "ShardedByS3Key"}},
        resources={
            "current_host": "localhost",
            "hosts": ["127.0.0.1", "localhost"],
            "current_instance_type": "ml.p3.2xlarge",
            "current_group_name": "gpu",
            "instance_groups": GROUPS,
            "network_interface_name": "eth1",
        },
        differs=frozenset({"hosts"}),
    ),
    "variables of the user's": Case(
        DUMP,
        {"sagemaker_program": "dump.py"},
        variables={
            "MY_OWN": "1",
            "OMP_NUM_THREADS": "3",
            "PYTHONUNBUFFERED": "x",
            "SM_MODEL_DIR": "/elsewhere",
        },
    ),
    "a framework's own callable": Case(
        {
            "python/framework.py": "import os, runpy\n"
            "def main():\n    runpy.run_path(os.environ['PROGRAM'])\n"
        }
        | DUMP,
        {"epochs": "3"},
        variables={
            "SAGEMAKER_TRAINING_MODULE": "framework:main",
            "PROGRAM": "{base}/code/dump.py",
            "PYTHONPATH": f"{ROOT}:{{base}}/python",
            "SM_MODEL_DIR": "{base}/model",
        },
        differs=frozenset({"callable"}),
    ),
    "baked-in code that a variable names": Case(
        {"source/dump.py": read("dump.py")},
        {"sagemaker_program": "dump.py"},
        variables={"SAGEMAKER_SUBMIT_DIRECTORY": "{base}/source"},
        differs=frozenset({"submit directory"}),
    ),
    "a variable longer than Linux allows": Case(
        DUMP,
        {"sagemaker_program": "dump.py"} | {f"h{i}": "z" * 2500 for i in range(95)},
        differs=frozenset({"too long"}),
    ),
    "a plain run without configuration": Case(
        DUMP, variables={"SAGEMAKER_PROGRAM": "dump.py"}, differs=frozenset({"no files"})
    ),
    "a name with a space": Case(
        {"code/my dump.py": read("dump.py")},
        {"sagemaker_program": "my dump.py"},
        differs=frozenset({"name"}),
    ),
}
REFUSED_BY_THE_TOOLKIT = {"submit directory", "too long", "no files", "name"}


def fill_in(value: Any, places: Mapping[str, str]) -> Any:
    """Replace {base} and {scratch} by paths."""
    if isinstance(value, dict):
        return {name: fill_in(item, places) for name, item in value.items()}
    if isinstance(value, str):
        for name, path in places.items():
            value = value.replace(f"{{{name}}}", path)
    return value


def find_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> set[str]:
    """Name the differences between what two programs got; an unnamed one is itself."""
    differing = {
        name
        for name in ours["environment"].keys() | theirs["environment"].keys()
        if ours["environment"].get(name) != theirs["environment"].get(name)
    }
    names = {
        "PATH": "pip",
        "VIRTUAL_ENV": "pip",
        "PYTHONPATH": "path",
        "SM_NUM_CPUS": "processors",
        "TF_CONFIG": "hosts",
        "NCCL_SOCKET_IFNAME": "hosts",
        "GLOO_SOCKET_IFNAME": "hosts",
    }
    names |= dict.fromkeys(
        ("PYTHONUNBUFFERED", "PYTHONFAULTHANDLER", "TF_CPP_MIN_LOG_LEVEL"), "defaults"
    )
    names |= {
        re.sub(r"[^A-Za-z0-9_]", "_", name): "hyphen"
        for name in theirs["environment"]
        if re.search(r"[^\w]", name)
    }
    found = {names.get(name, name) for name in differing}
    return found | {name for name in ("arguments", "directory") if ours[name] != theirs[name]}


@pytest.mark.parametrize("name", SUCCESSES)
def test_program_is_given_what_the_toolkit_gives(tmp_path: Path, name: str) -> None:
    case, base = SUCCESSES[name], tmp_path / "ml"
    places = {"base": str(base), "scratch": str(tmp_path / "scratch")}
    case = Case(
        case.files,
        fill_in(case.hyperparameters, places),
        case.channels,
        case.resources,
        fill_in(case.variables, places),
        case.differs,
    )
    ours, theirs = run_both(case, base)
    assert (ours.exit_code, ours.succeeded, ours.failure) == (0, True, ""), ours.output
    if case.differs & REFUSED_BY_THE_TOOLKIT:
        assert theirs.exit_code != 0
        return
    assert (theirs.exit_code, theirs.succeeded, theirs.failure) == (0, True, ""), theirs.output
    if "callable" in case.differs:  # it runs in the toolkit's own process, here as there
        assert ours.given["arguments"][1:] == theirs.given["arguments"][1:] == []
        return
    found = find_differences(ours.given, theirs.given)
    assert (
        len([variable for variable in theirs.given["environment"] if variable.startswith("SM_")])
        > 30
    )
    # A container's own limit of processors shows only where there is one.
    assert found - {"processors"} == case.differs | ALWAYS


# What is said of a failure

FAILURES = {
    "exit code 1": Case(hyperparameters={"code": "1"}),
    "exit code 2": Case(
        hyperparameters={"code": "2"}, differs=frozenset({"exit code", "extra info"})
    ),
    "exit code 137 of a shell": Case(
        hyperparameters={"code": "137"},
        variables={"SAGEMAKER_PROGRAM": "end.sh"},
        differs=frozenset({"exit code", "extra info"}),
    ),
    "SIGKILL": Case(
        hyperparameters={"signal": "9"}, differs=frozenset({"exit code", "signal", "extra info"})
    ),
    "SIGSEGV": Case(
        hyperparameters={"signal": "11"},
        differs=frozenset({"exit code", "signal", "extra info", "message"}),
    ),
    "an exception": Case(hyperparameters={"say": "the cause: ünï"}, differs=frozenset({"message"})),
    "wrong arguments": Case(
        hyperparameters={"unknown": "1"}, differs=frozenset({"exit code", "extra info", "message"})
    ),
    "a syntax error": Case({"code/end.py": "def f(:\n"}, differs=frozenset({"message"})),
    "a missing import": Case(
        {"code/end.py": "import no_such_module_here\n"}, differs=frozenset({"message"})
    ),
    "its own reason": Case(
        hyperparameters={"code": "4", "reason": "my own words"}, differs=frozenset({"exit code"})
    ),
    "requirements that are nowhere": Case(
        {"code/requirements.txt": "byo-fixture-that-is-nowhere==1.0\n"},
        variables={"PIP_NO_INDEX": "1"},
        differs=frozenset({"message", "extra info", "pip"}),
    ),
    "a package that cannot be built": Case(
        {"code/setup.py": "raise ValueError('the cause')\n"},
        variables={"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"},
        differs=frozenset({"message", "extra info", "pip"}),
    ),
}


def parse(reason: str) -> dict[str, str]:
    """Parse a failure reason of the toolkit's form."""
    pattern = (
        r'(\w+):\nExitCode (\S+)\nErrorMessage "(.*?)"\n(?:ExtraInfo "(.*?)"\n)?Command "(.*)"'
    )
    found = re.fullmatch(pattern, reason, re.DOTALL)
    assert found, reason
    names = ("class", "exit code", "message", "extra info", "command")
    return dict(zip(names, (part or "" for part in found.groups()), strict=True))


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_told_in_the_toolkits_words(tmp_path: Path, name: str) -> None:
    case = FAILURES[name]
    files = {f"code/{program}": read(program) for program in ("end.py", "end.sh")} | case.files
    case = Case(
        files,
        case.hyperparameters,
        variables={"SAGEMAKER_PROGRAM": "end.py"} | case.variables,
        differs=case.differs,
    )
    ours, theirs = run_both(case, tmp_path / "ml")
    assert theirs.exit_code == 1
    assert not ours.succeeded
    assert not theirs.succeeded
    if ours.failure == "my own words":
        assert theirs.failure == "my own words"
        assert ours.exit_code == 4
        return
    our_reason, their_reason = parse(ours.failure), parse(theirs.failure)
    assert ours.exit_code == int(our_reason["exit code"])
    found = {"exit code"} if ours.exit_code != 1 else set()
    if our_reason["exit code"] != their_reason["exit code"]:
        assert our_reason["exit code"] == str(128 - int(their_reason["exit code"]))
        found.add("signal")
    if our_reason["message"] != their_reason["message"]:
        assert their_reason["message"] == ""
        found.add("message")
    if our_reason["extra info"] != their_reason["extra info"]:
        found.add("extra info")
    # Our pip uses no index and is given the place of the wheels.
    if our_reason["command"] != their_reason["command"]:
        assert " -m pip install " in our_reason["command"]
        assert " -m pip install " in their_reason["command"]
        found.add("pip")
    assert our_reason["class"] == their_reason["class"]
    assert found == case.differs


@pytest.mark.parametrize("name", ["an exception", "a syntax error", "a missing import"])
def test_cause_is_the_error_that_framework_containers_report(tmp_path: Path, name: str) -> None:
    case = FAILURES[name]
    files = {"code/end.py": read("end.py")} | case.files
    case = Case(files, case.hyperparameters, variables={"SAGEMAKER_PROGRAM": "end.py"})
    ours, theirs = run_both(case, tmp_path / "ml", captures=True)
    our_reason, their_reason = parse(ours.failure), parse(theirs.failure)
    assert (our_reason["class"], our_reason["command"]) == (
        their_reason["class"],
        their_reason["command"],
    )
    cause = our_reason["message"].splitlines()[0]
    assert re.match(r"(ValueError|SyntaxError|ModuleNotFoundError): ", cause)
    assert cause in their_reason["message"]


@pytest.mark.parametrize(
    ("program", "theirs_says", "ours_says"),
    [
        ("ende.py", "ExitCode 2", "did you mean 'end.py'?"),
        ("../end.py", "'.' or '..' path segments", "must be a path inside"),
        ("-c.py", "a leading '-'", "must be a path inside"),
        ("", "entry point name is empty", "no program is named"),
    ],
)
def test_program_that_is_not_there_fails_with_what_there_is(
    tmp_path: Path, program: str, theirs_says: str, ours_says: str
) -> None:
    files: dict[str, str | bytes] = {"code/end.py": read("end.py")}
    # With the channel, `train` also knows that a program was intended.
    channels = {"code": FILE} if not program else {}
    ours, theirs = run_both(Case(files, {"sagemaker_program": program}, channels), tmp_path / "ml")
    assert theirs.exit_code == ours.exit_code == 1
    assert theirs_says in theirs.failure
    assert ours_says in ours.failure


def test_success_without_a_model_is_none_here_alone(tmp_path: Path) -> None:
    ours, theirs = run_both(
        Case({"code/end.py": ""}, {"sagemaker_program": "end.py"}), tmp_path / "ml"
    )
    assert (theirs.exit_code, theirs.succeeded) == (0, True)
    assert (ours.exit_code, ours.succeeded) == (1, False)


def test_project_of_today_is_a_package_here_alone(tmp_path: Path) -> None:
    project = '[project]\nname = "dump"\nversion = "1"\n[build-system]\nrequires = ["setuptools"]\n'
    project += 'build-backend = "setuptools.build_meta"\n[tool.setuptools]\npy-modules = []\n'
    environ = {
        "PIP_TARGET": str(tmp_path / "target"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
    }
    case = Case(
        DUMP | {"code/pyproject.toml": project}, {"sagemaker_program": "dump.py"}, variables=environ
    )
    ours, theirs = run_both(case, tmp_path / "ml")
    assert ours.exit_code == theirs.exit_code == 0
    assert "-m dump" in ours.output
    assert "-- dump.py" in theirs.output


def test_single_host_needs_no_name(tmp_path: Path) -> None:
    nobody = {"current_host": "no-such-host.invalid", "hosts": ["no-such-host.invalid"]}
    case = Case(DUMP, {"sagemaker_program": "dump.py"}, resources=nobody)
    assert run(case, tmp_path / "ml", Job.train).exit_code == 0


def test_s3_output_has_no_effect(tmp_path: Path) -> None:
    case = Case(DUMP, {"sagemaker_program": "dump.py", "sagemaker_s3_output": "s3://bucket/prefix"})
    ours = run(case, tmp_path / "ml", Job.train)
    assert ours.exit_code == 0
    assert not (tmp_path / "ml/output/intermediate").exists()


def test_every_documented_difference_is_shown_by_a_test() -> None:
    page = (ROOT / "docs/bring-your-own.md").read_text()
    table = page.partition("| the toolkit | here | why |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()] == list(
        DIFFERENCES
    )
    tests = ("test_script_toolkit.py", "test_script.py", "test_launchers.py")
    text = "".join((ROOT / "tests/contract" / name).read_text() for name in tests)
    shown = set().union(
        ALWAYS, *(case.differs for case in (*SUCCESSES.values(), *FAILURES.values()))
    )
    # Shown by the tests above; the limits are those of the container.
    shown |= {"program", "empty model", "package", "processors"}
    for where in DIFFERENCES.values():
        assert where in shown or f"def {where}(" in text, where
