"""`python -m container train` with a user's own program: real processes, signals and files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import boto3
import numpy as np
import pytest
from sklearn.datasets import load_digits

from container import contract
from container.serving.exchange import Request
from container.serving.user_code import handlers
from tests.contract.training_job import Job
from tests.support import ROOT, USER_CODE, wait_until

pytest.importorskip("sagemaker_training", reason="docker/requirements-scripts.txt is not installed")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "ml")


# C2: stops, exit codes, output, disk


@pytest.mark.parametrize(
    ("hyperparameters", "code", "reason"),
    [
        ({}, 0, ""),
        ({"code": "1"}, 1, "ExitCode 1"),
        ({"code": "2"}, 2, "refused its arguments"),
        ({"code": "3"}, 3, "ExitCode 3"),
        ({"signal": "9"}, 137, "SIGKILL"),
        ({"signal": "11"}, 139, "segmentation fault"),
        ({"signal": "6"}, 134, "aborted"),
        ({"say": "x" * 5000}, 1, "ValueError: xxx"),
        ({"code": "4", "reason": "my own words"}, 4, "my own words"),
    ],
)
def test_exit_code_is_kept_and_explained(
    job: Job, hyperparameters: dict[str, str], code: int, reason: str
) -> None:
    job.configure("hyperparameters", hyperparameters)
    job.add_code("end.py")
    result = job.train(SAGEMAKER_PROGRAM="end.py")
    assert result.returncode == code, result.stderr.decode()
    assert reason in job.failure[:1024]
    assert bool(job.failure) == (code != 0)
    assert (job.base / "output/success").exists() == (code == 0)
    if "reason" in hyperparameters:
        assert job.failure == "my own words"


def test_reason_of_a_long_command_keeps_the_cause_among_the_first_1024_characters(job: Job) -> None:
    job.configure(
        "hyperparameters", {"say": "the cause"} | {f"u{i}": "y" * 2000 for i in range(20)}
    )
    job.add_code("end.py")
    (job.base / "code/end.py").write_text("raise ValueError('the cause')")
    job.train(SAGEMAKER_PROGRAM="end.py")
    assert "ValueError: the cause" in job.failure[:120]
    assert 'Command "' in job.failure[:1024]


@pytest.mark.parametrize("program", ["saver.py", "parent.sh"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_reaches_the_program_and_waits_for_its_work(
    job: Job, program: str, number: signal.Signals
) -> None:
    job.add_code("saver.py", "parent.sh")
    if number == signal.SIGINT:
        text = (job.base / "code/saver.py").read_text().replace("signal.SIGTERM,", "signal.SIGINT,")
        (job.base / "code/saver.py").write_text(text)
    process = job.start(SAGEMAKER_PROGRAM=program)
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        while process.stdout.readline() != b"training\n":
            assert process.poll() is None
        process.send_signal(number)
        output = process.stdout.read()
        process.wait(timeout=30)
    assert b"saved" in output
    assert (job.base / "model/saved").read_text() == "model"
    if program == "saver.py":
        assert process.returncode == 0


def test_program_that_ignores_the_stop_is_killed_when_its_grace_is_over(job: Job) -> None:
    job.add_code("saver.py")
    drive = (
        "import sys, os, pathlib\n"
        "from container.user_packages import supervision\n"
        "with supervision.Supervisor(stop_grace_s=0.5) as supervisor:\n"
        "    command = [sys.executable, 'saver.py', '--deaf', '1']\n"
        "    outcome = supervisor.run(command, pathlib.Path(sys.argv[1]), os.environ)\n"
        "    again = supervisor.run(command, pathlib.Path(sys.argv[1]), os.environ)\n"
        "print(outcome.exit_code, outcome.stopped, outcome.overstayed, again.exit_code)\n"
    )
    command = [sys.executable, "-c", drive, str(job.base / "code")]
    process = subprocess.Popen(
        command, cwd=ROOT, env=job.environ(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == b"training\n"
        process.terminate()
        assert process.stdout.read() == b"137 True True 143\n"


@pytest.mark.parametrize("is_deaf", [False, True])
def test_stop_reaches_the_programs_of_a_launcher_and_not_the_launcher(
    job: Job, *, is_deaf: bool
) -> None:
    """As torchrun does, this one has sessions of their own for its programs, and kills them."""
    job.add_code("saver.py")
    (job.base / "code/launcher.py").write_text(
        "import os, signal, subprocess, sys\n"
        "command = [sys.executable, 'saver.py', *sys.argv[1:]]\n"
        "variables = os.environ | {'RANK_OF_TEST': '0'}\n"
        "child = subprocess.Popen(command, env=variables, start_new_session=True)\n"
        "signal.signal(signal.SIGTERM, lambda *_: child.kill())\n"
        "sys.exit(child.wait())\n"
    )
    drive = (
        "import sys, os, pathlib\n"
        "from container.user_packages import processes, supervision\n"
        "with supervision.Supervisor(stop_grace_s=float(sys.argv[2])) as supervisor:\n"
        "    command = [sys.executable, 'launcher.py', *sys.argv[3:]]\n"
        "    code = pathlib.Path(sys.argv[1])\n"
        "    outcome = supervisor.run(command, code, os.environ, rank_variable='RANK_OF_TEST')\n"
        "    left = processes.list_descendants(os.getpid())\n"
        "print(outcome.exit_code, outcome.overstayed, left)\n"
    )
    arguments = ["0.5", "--deaf", "1"] if is_deaf else ["60"]
    command = [sys.executable, "-c", drive, str(job.base / "code"), *arguments]
    (job.base / "model").mkdir()
    environ = job.environ(PYTHONUNBUFFERED="1", SM_MODEL_DIR=str(job.base / "model"))
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == b"training\n"
        process.terminate()
        output = process.stdout.read()
    assert output.splitlines()[-1] == (b"137 True []" if is_deaf else b"0 False []")
    assert (job.base / "model/saved").exists() != is_deaf


def test_program_as_a_container_sees_it_runs_under_pid_1(job: Job) -> None:
    """As PID 1 of a namespace our process has no default handlers and inherits every orphan."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        unshare[1:1] = ["--user", "--map-root-user"]
    job.add_code("saver.py", "orphans.py")
    result = job.train(*unshare, SAGEMAKER_PROGRAM="orphans.py")
    assert result.returncode == 0, result.stderr.decode()
    assert b"no zombies" in result.stdout
    process = job.start(*unshare, SAGEMAKER_PROGRAM="saver.py")
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        while process.stdout.readline() != b"training\n":
            assert process.poll() is None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        process.stdout.read()
        assert process.wait(timeout=30) == 0
    assert (job.base / "model/saved").read_text() == "model"


def test_stop_while_the_program_is_being_prepared_ends_the_job(job: Job) -> None:
    job.configure(
        "resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1", "no-such-host.invalid"]}
    )
    job.add_code("end.py")
    process = job.start(SAGEMAKER_PROGRAM="end.py")
    wait_until((job.base / "output/.reserve").exists)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert "stopped" in job.failure


def test_leftover_processes_of_the_program_end_with_it(job: Job) -> None:
    job.add_code("end.py")
    (job.base / "code/end.py").write_text(
        "import subprocess, os, pathlib\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "pathlib.Path(os.environ['SM_MODEL_DIR'], 'pid').write_text(str(child.pid))\n"
    )
    started = time.monotonic()
    assert job.train(SAGEMAKER_PROGRAM="end.py").returncode == 0
    assert time.monotonic() - started < 30
    assert not Path(f"/proc/{(job.base / 'model/pid').read_text()}").exists()


def test_output_passes_whole_and_in_order(job: Job) -> None:
    job.configure("hyperparameters", {"lines": "100000"})
    job.add_code("talker.py")
    result = job.train(SAGEMAKER_PROGRAM="talker.py")
    out = result.stdout.partition(b"running: ")[2].partition(b"\n")[2]
    lines = out.split(b"\n")
    assert lines[:100_000] == [b"out %d" % number for number in range(100_000)]
    assert lines[100_000] == b"\xff" * 1_000_000
    assert lines[100_001].startswith(b"the end, without a newline")
    assert [line for line in result.stderr.split(b"\n") if line.startswith(b"err")] == [
        b"err %d" % number for number in range(100_000)
    ]


def test_line_passes_at_once_and_a_prompt_soon(job: Job) -> None:
    job.add_code("end.py")
    (job.base / "code/end.py").write_text(
        "import time\nprint('line')\nprint('prompt', end='')\ntime.sleep(600)"
    )
    process = job.start(SAGEMAKER_PROGRAM="end.py")
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        seen = b""
        while not seen.endswith(b"line\nprompt"):
            seen += os.read(process.stdout.fileno(), 1)
        process.terminate()
        process.wait(timeout=30)


def test_full_disk_behind_a_success_is_a_failure(job: Job) -> None:
    job.add_code("fill.py")
    (job.base / "model").mkdir()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$SAGEMAKER_BASE_DIR/model" && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if os.geteuid():
        prefix[1:1] = ["--user", "--map-root-user"]
    result = job.train(*prefix, SAGEMAKER_PROGRAM="fill.py")
    assert result.returncode == 1
    assert "No space left on device" in job.failure


def test_full_disk_leaves_room_for_the_reason(job: Job) -> None:
    job.add_code("fill.py")
    (job.base / "code/fill.py").write_text(
        (job.base / "code/fill.py").read_text() + "\nraise SystemExit('the disk is full')"
    )
    shutil.copytree(job.base, job.base.with_name("source"))
    mount = (
        'base=$SAGEMAKER_BASE_DIR; mount -t tmpfs -o size=1m tmpfs "$base" && '
        'cp -r "$base/../source/." "$base" && "$@"; code=$?; cat "$base/output/failure"; exit $code'
    )
    prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if os.geteuid():
        prefix[1:1] = ["--user", "--map-root-user"]
    result = job.train(*prefix, SAGEMAKER_PROGRAM="fill.py")
    assert result.returncode == 1
    assert b'ErrorMessage "the disk is full"' in result.stdout


def test_empty_model_directory_after_success_is_a_failure_unless_allowed(job: Job) -> None:
    job.add_code("end.py")
    (job.base / "code/end.py").write_text("print('done')")
    assert job.train(SAGEMAKER_PROGRAM="end.py").returncode == 1
    assert "left no file in" in job.failure
    assert job.train(SAGEMAKER_PROGRAM="end.py", SAGEMAKER_ALLOW_EMPTY_MODEL="ture").returncode == 1
    assert "SAGEMAKER_ALLOW_EMPTY_MODEL='ture': expected one of true" in job.failure
    allowed = {"SAGEMAKER_ALLOW_EMPTY_MODEL": "true", "BYO_RUNTME": "x"}
    done = job.train(SAGEMAKER_PROGRAM="end.py", **allowed)
    assert done.returncode == 0
    assert b"warning: the variable BYO_RUNTME is unknown" in done.stdout
    assert job.failure == ""


def test_secrets_are_masked_in_the_log_and_the_reason(job: Job) -> None:
    secrets = ["p4ssw0rd", "login-in-address"]
    job.configure("hyperparameters", {"api_key": "s3cr3t-value", "say": "no"})
    job.add_code("end.py")
    debug = {"SAGEMAKER_CONTAINER_LOG_LEVEL": "10"}
    result = job.train(
        **debug,
        SAGEMAKER_PROGRAM="end.py",
        DB_PASSWORD=secrets[0],
        MIRROR=f"https://me:{secrets[1]}@host/",
    )
    everything = result.stdout + result.stderr + job.failure.encode()
    assert b"running: " in everything
    assert b"SM_TRAINING_ENV=" in everything
    assert not [secret for secret in secrets if secret.encode() in everything]
    log = result.stdout.partition(b"running: ")[0]
    assert b"s3cr3t-value" not in log
    assert "s3cr3t-value" not in job.failure.rpartition("Command")[2]


# Where the code comes from


def make_archive(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.add(USER_CODE / name, name)


def test_code_comes_from_an_archive_a_directory_or_the_code_channel(job: Job) -> None:
    archive = job.base / "input/data/code/sourcedir.tar.gz"
    make_archive(archive, "dump.py")
    for submit in (str(archive), str(USER_CODE), ""):
        shutil.rmtree(job.base / "code", ignore_errors=True)
        named = {"sagemaker_submit_directory": json.dumps(submit)} if submit else {}
        job.configure("hyperparameters", {"sagemaker_program": '"dump.py"'} | named)
        job.configure("inputdataconfig", {} if submit else {"code": {"TrainingInputMode": "File"}})
        result = job.train()
        assert result.returncode == 0, result.stderr.decode()
        assert job.given["environment"]["SM_MODULE_DIR"] == (submit or str(archive))
        shutil.rmtree(job.base / "model")


def test_code_comes_from_s3(job: Job) -> None:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}
        endpoint = {"S3_ENDPOINT_URL": f"http://{host}:{port}"}
        archive = job.base / "sourcedir.tar.gz"
        make_archive(archive, "dump.py")
        client = boto3.client(
            "s3",
            endpoint_url=endpoint["S3_ENDPOINT_URL"],
            region_name="eu-west-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",  # noqa: S106 - the stand-in takes any
        )
        client.create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        client.upload_file(str(archive), "bucket", "code/sourcedir.tar.gz")
        job.configure(
            "hyperparameters",
            {
                "sagemaker_program": '"dump.py"',
                "sagemaker_submit_directory": '"s3://bucket/code/sourcedir.tar.gz"',
            },
        )
        result = job.train(**keys, **endpoint)
        assert result.returncode == 0, result.stderr.decode()
        assert job.given["environment"]["SM_MODULE_DIR"] == "s3://bucket/code/sourcedir.tar.gz"
        shutil.rmtree(job.base / "code")
        job.configure(
            "hyperparameters", {"sagemaker_submit_directory": '"s3://bucket/nothing.tar.gz"'}
        )
        assert job.train(SAGEMAKER_PROGRAM="dump.py", **keys, **endpoint).returncode == 1
        assert "s3://bucket/nothing.tar.gz cannot be fetched" in job.failure
    finally:
        server.stop()


def test_sdk_v3_source_code_runs_through_a_foreign_command(job: Job) -> None:
    """ModelTrainer's script, in the channel `sm_drivers`, replaces `train`."""
    drivers, code = job.base / "input/data/sm_drivers", job.base / "input/data/code"
    for directory in (drivers, code, job.base / "model"):
        directory.mkdir(parents=True)
    shutil.copyfile(USER_CODE / "dump.py", code / "dump.py")
    (drivers / "environment.py").write_text(
        "import os, pathlib\n"
        "base = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
        "lines = [f\"export SM_MODEL_DIR='{base / 'model'}'\", \"export SM_HP_EPOCHS='3'\"]\n"
        "(base / 'input/sm_training.env').write_text('\\n'.join(lines) + '\\n')\n"
    )
    (drivers / "sm_train.sh").write_text(
        "#!/bin/bash\nset -e\ncommand -v python3 pip3 chmod cat >/dev/null\n"
        'python3 "$SAGEMAKER_BASE_DIR/input/data/sm_drivers/environment.py"\n'
        'set -o allexport\nsource "$SAGEMAKER_BASE_DIR/input/sm_training.env"\nset +o allexport\n'
        'cd "$SAGEMAKER_BASE_DIR/input/data/code"\npython3 dump.py --epochs 3 --augment true\n'
    )
    shell = f"chmod +x {drivers}/sm_train.sh && {drivers}/sm_train.sh"
    command = [sys.executable, "-m", "container", "/bin/bash", "-c", shell]
    result = subprocess.run(command, cwd=ROOT, env=job.environ(), capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    assert job.given["arguments"] == ["dump.py", "--epochs", "3", "--augment", "true"]
    assert job.given["environment"]["SM_HP_EPOCHS"] == "3"


def test_inference_code_of_the_job_travels_with_its_model(job: Job) -> None:
    code = job.base / "input/data/code"
    code.mkdir(parents=True)
    for name in ("train.py", "inference.py", "beside.py"):
        shutil.copyfile(USER_CODE / "end.py", code / name)
    job.configure("inputdataconfig", {"code": {"TrainingInputMode": "File"}})
    assert job.train().returncode == 0
    assert {path.name for path in (job.base / "model/code").iterdir()} == {
        "train.py",
        "inference.py",
        "beside.py",
    }
    versions = json.loads((job.base / "model/.versions.json").read_text())
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["numpy"]


def test_program_called_train_needs_no_name(job: Job) -> None:
    job.add_code("dump.py")
    (job.base / "code/dump.py").rename(job.base / "code/train.py")
    assert job.train().returncode == 0
    assert job.given["environment"]["SM_USER_ENTRY_POINT"] == "train.py"


@pytest.mark.parametrize(
    ("program", "submit", "message"),
    [
        ("ende.py", "", "did you mean 'end.py'?"),
        ("../end.py", "", "must be a path inside"),
        ("dos.sh", "", "Windows line ends"),
        ("end.py", "/no/such/archive.tar.gz", "does not exist"),
        ("end.py", "{base}/broken.tar.gz", "not a tar.gz archive"),
    ],
)
def test_program_that_cannot_start_is_explained(
    job: Job, program: str, submit: str, message: str
) -> None:
    if not submit:
        job.add_code("end.py")
        (job.base / "code/dos.sh").write_bytes(b"#!/bin/sh\r\necho\r\n")
    (job.base / "broken.tar.gz").write_bytes(b"\x1f\x8bbroken")
    job.configure(
        "hyperparameters",
        {"sagemaker_submit_directory": submit.format(base=job.base)} if submit else {},
    )
    assert job.train(SAGEMAKER_PROGRAM=program).returncode == 1
    assert message in job.failure[:1024]


def test_variables_too_long_for_linux_are_left_out_and_the_program_runs(job: Job) -> None:
    job.configure("hyperparameters", {f"h{i}": "z" * 2500 for i in range(95)})
    job.add_code("dump.py")
    result = job.train(SAGEMAKER_PROGRAM="dump.py")
    assert result.returncode == 0, result.stderr.decode()
    assert b"SM_TRAINING_ENV is left out" in result.stdout
    assert len(job.given["arguments"]) == 191


def test_several_hosts_are_offered_as_tf_config(job: Job) -> None:
    hosts = ["localhost", "algo-2"]
    job.configure(
        "resourceconfig",
        {"current_host": "algo-2", "hosts": hosts, "network_interface_name": "eth1"},
    )
    job.add_code("dump.py")
    assert job.train(SAGEMAKER_PROGRAM="dump.py").returncode == 0
    environment = job.given["environment"]
    assert json.loads(environment["TF_CONFIG"]) == {
        "cluster": {"worker": ["algo-2:8890", "localhost:8890"]},
        "task": {"type": "worker", "index": 0},
    }
    assert environment["NCCL_SOCKET_IFNAME"] == "eth1"


def test_distribution_that_is_not_launched_ends_the_job(job: Job) -> None:
    job.configure("hyperparameters", {"sagemaker_distributed_dataparallel_enabled": "true"})
    job.add_code("dump.py")
    assert job.train(SAGEMAKER_PROGRAM="dump.py").returncode == 1
    assert job.failure.startswith("UserError: each host would train by itself: ")
    assert "SMDDP" in job.failure
    assert not (job.base / "model/given.json").exists()


# A typed algorithm in one file


def lay_out_algorithm(job: Job, **hyperparameters: str) -> None:
    job.configure("hyperparameters", hyperparameters)
    job.configure(
        "inputdataconfig",
        {"code": {"TrainingInputMode": "File"}, "training": {"TrainingInputMode": "File"}},
    )
    for channel in ("code", "training"):
        (job.base / "input/data" / channel).mkdir(parents=True)
    shutil.copyfile(USER_CODE / "nearest/algorithm.py", job.base / "input/data/code/algorithm.py")
    (job.base / "input/data/training/points.csv").write_text("0,1,1\n0,1.5,1\n1,9,9\n1,9,8\n")


def test_algorithm_in_one_file_is_trained_and_served(job: Job) -> None:
    lay_out_algorithm(job, epochs="5", learning_rate="0.9", epoch="3")
    result = job.train()
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.count(b"accuracy=1;") == 5
    assert b"'epoch' is unknown and has no effect; did you mean 'epochs'?" in result.stdout
    layout = contract.Layout(job.base)
    found = handlers.find(layout, {})
    assert found is not None
    request = Request(b"1,2\n8,8", {"content-type": "text/csv"})
    assert found.load().invoke(request).body == b"[0, 1]"
    sys.modules.pop("algorithm")


def test_algorithm_refuses_wrong_hyperparameters_and_missing_channels_before_it_starts(
    job: Job,
) -> None:
    lay_out_algorithm(job, epochs="0", distance="far", epoch="3")
    job.configure("inputdataconfig", {"code": {"TrainingInputMode": "File"}})
    assert job.train().returncode == 1
    absent = (
        "the job has no training channel: it needs one named 'training'; "
        "the job's channels are code"
    )
    assert job.failure.startswith("UserError: wrong hyperparameters: 3 faults")
    assert "epochs='0': expected an integer from 1 to 100000 (default 3)" in job.failure
    assert "'epoch' is unknown and has no effect; did you mean 'epochs'?" in job.failure
    assert job.failure.endswith(f"\n{absent}")
    job.configure("hyperparameters", {})
    assert job.train().returncode == 1
    assert job.failure == f"UserError: {absent}"


def test_a_fault_of_the_data_comes_with_the_hyperparameters_that_have_no_effect(job: Job) -> None:
    lay_out_algorithm(job, epoch="3")
    (job.base / "input/data/code/algorithm.py").write_text(
        "from container.errors import UserError\n\n"
        "def train(job):\n    raise UserError('the data cannot be read')\n"
    )
    assert job.train().returncode == 1
    assert job.failure == (
        "UserError: the data cannot be read\nhyperparameter 'epoch' is unknown and has no effect"
    )


def test_algorithm_sees_the_stop_and_saves(job: Job) -> None:
    lay_out_algorithm(job, epochs="100000", pause_s="0.01")
    process = job.start()
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        while not process.stdout.readline().startswith(b"accuracy="):
            assert process.poll() is None
        process.terminate()
        assert b"stopped after epoch" in process.stdout.read()
        assert process.wait(timeout=30) == 0
    assert (job.base / "model/means.json").exists()


def test_bundled_network_is_an_algorithm_that_a_users_file_can_be(job: Job) -> None:
    """It needs no private access: it trains supervised, in its own process, and serves."""
    code = job.base / "input/data/code"
    code.mkdir(parents=True)
    (code / "algorithm.py").write_text(
        "from container.training.bundled import (\n"
        "    CHANNELS, METRICS, Hyperparameters, load, parse_hyperparameters, predict, train\n)\n"
    )
    images, labels = load_digits(return_X_y=True)
    rows = [
        [label, *pixels]
        for label, pixels in zip(labels, (images * 255 / 16).astype(int), strict=True)
    ]
    # Both channels have a second name; these are the less usual ones.
    for channel, part in (("train", rows[:900]), ("testing", rows[-100:])):
        (job.base / "input/data" / channel).mkdir()
        text = "\n".join(",".join(map(str, row)) for row in part)
        (job.base / "input/data" / channel / "digits.csv").write_text(text)
    job.configure(
        "inputdataconfig",
        {name: {"TrainingInputMode": "File"} for name in ("code", "train", "testing")},
    )
    job.configure("hyperparameters", {"epochs": "10", "learning_rte": "1"})
    result = job.train()
    assert result.returncode == 0, result.stderr.decode()
    assert b"container.training.typed algorithm.py" in result.stdout
    assert b"did you mean 'learning_rate'?" in result.stdout
    assert json.loads((job.base / "output/evaluation/metrics.json").read_text())["accuracy"] > 0.8
    layout = contract.Layout(job.base)
    found = handlers.find(layout, {})
    assert isinstance(found, handlers.Handlers)
    body = "\n".join(",".join(map(str, row[1:])) for row in rows[-100:]).encode()
    response = found.load().invoke(Request(body, {"content-type": "text/csv"}))
    sys.modules.pop("algorithm")
    assert np.mean(np.argmax(json.loads(response.body), axis=1) == labels[-100:]) > 0.8
