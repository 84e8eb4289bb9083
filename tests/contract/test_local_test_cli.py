"""The command line of the local SageMaker: complete commands, as a user types them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from local_test.requests import shapes, shorthand, treatments
from local_test.runners import process
from local_test.runners.interface import Launch
from local_test.runners.launcher import has_namespaces
from tests.support import PROGRAMS, ROOT, wait_until

PROGRAM = shlex.join([sys.executable, str(PROGRAMS / "conformant.py")])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LOCAL_TEST_JOBS": str(tmp_path / "jobs dir"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data/a.csv").write_text("1,2\n3\n")
    return tmp_path / "my data"


def run(
    environment: dict[str, str], *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "local_test", *arguments]
    return subprocess.run(
        command,
        env=environment,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=environment["HOME"],
    )


def test_train_says_where_the_model_lies_and_exits_0(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    done = run(
        environment, "train", "--program", PROGRAM, "-c", f"training={data}", "--name", "one"
    )

    assert done.returncode == 0, done.stderr.decode()
    assert (
        done.stdout.decode()
        == f"Completed file://{tmp_path}/jobs dir/training/one/output/model.tar.gz\n"
    )
    assert b"step=1; loss=0.5000;" in done.stderr


def test_train_as_json_prints_the_description_alone(
    environment: dict[str, str], data: Path
) -> None:
    done = run(environment, "train", "--program", PROGRAM, "-c", f"training={data}", "--json")

    assert json.loads(done.stdout)["TrainingJobStatus"] == "Completed"


def test_a_failed_job_exits_1_and_tells_the_reason(environment: dict[str, str], data: Path) -> None:
    done = run(
        environment, "train", "--program", PROGRAM, "-c", f"training={data}", "-p", "fail=no luck"
    )

    assert done.returncode == 1
    assert b"no luck" in done.stderr


def test_a_wrong_flag_exits_2_and_says_what_is_possible(
    environment: dict[str, str], data: Path
) -> None:
    done = run(environment, "train", "--program", PROGRAM, "-c", str(data))

    assert done.returncode == 2
    assert b"expected NAME=VALUE" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_wrong_request_is_refused_with_every_fault(
    environment: dict[str, str], tmp_path: Path, data: Path
) -> None:
    request = shorthand.training_request(
        name="bad_name", image="any", channels={"a": str(data)}, output=str(tmp_path)
    )
    request["HyperParametres"] = {}
    request["ResourceConfig"]["InstanceType"] = "ml.m5.huge"
    (tmp_path / "request.json").write_text(json.dumps(request))

    done = run(
        environment, "train", "--program", PROGRAM, "--request", str(tmp_path / "request.json")
    )

    assert done.returncode == 2
    text = done.stderr.decode()
    assert "did you mean HyperParameters?" in text
    assert "ml.m5.huge" in text
    assert "bad_name" in text
    assert "3 faults" in text


def test_a_request_in_yaml_is_run(environment: dict[str, str], tmp_path: Path, data: Path) -> None:
    printed = run(
        environment, "train", "-c", f"training={data}", "--name", "from-yaml", "--print-request"
    )
    (tmp_path / "request.yaml").write_bytes(printed.stdout)  # JSON is YAML

    done = run(
        environment, "train", "--program", PROGRAM, "--request", str(tmp_path / "request.yaml")
    )

    assert done.returncode == 0, done.stderr.decode()
    assert b"from-yaml" in done.stdout


def test_a_printed_request_passes_the_services_own_model(environment: dict[str, str]) -> None:
    done = run(
        environment,
        "train",
        "-c",
        "training=s3://bucket/data/",
        "--output",
        "s3://bucket/out",
        "--print-request",
    )

    request = json.loads(done.stdout)
    assert (
        request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://bucket/data/"
    )
    assert "file://" not in done.stdout.decode()
    assert not shapes.read(shapes.input_shape("CreateTrainingJob"), request)[1]


@pytest.fixture
def serving(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "local_test", "serve", "--program", PROGRAM, "--name", "here"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().endswith("/endpoints/here/invocations\n")
        yield server
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def test_invoke_sends_bytes_from_file_or_input_and_prints_the_answer(
    environment: dict[str, str], serving: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(b"1,2\r\n3\n")

    from_file = run(environment, "invoke", str(tmp_path / "body"))
    from_input = run(environment, "invoke", "--endpoint", "here", stdin=b"4,5")
    refused = run(environment, "invoke", "--content-type", "image/gif", stdin=b"4,5")
    elsewhere = run(environment, "invoke", "--endpoint", "there", stdin=b"")

    assert (from_file.returncode, from_file.stdout) == (0, b"3\n3")
    assert (from_input.returncode, from_input.stdout) == (0, b"9")
    assert refused.returncode == 1
    assert b"sees status 424" in refused.stderr
    assert json.loads(refused.stdout)["OriginalStatusCode"] == 415
    assert elsewhere.returncode == 2
    assert b"are: here" in elsewhere.stderr
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(60) == 0


def test_the_whole_way_goes_for_any_container(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(b"1,2")

    done = run(
        environment,
        "smoke",
        "--program",
        PROGRAM,
        "-c",
        f"training={data}",
        "--test",
        str(data),
        "--body",
        f"{tmp_path}/body",
    )

    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines()[-1] == "9"


def test_transform_stores_an_out_file_for_each_input(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    done = run(
        environment, "transform", str(data), "--program", PROGRAM, "--output", str(tmp_path / "out")
    )

    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "out/a.csv.out").read_bytes() == b"3\n3\n"


def test_transform_takes_a_model_of_one_file(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.keras").touch()
    options = ["--model", str(tmp_path / "model.keras"), "--output", str(tmp_path / "out")]
    done = run(environment, "transform", str(data), "--program", PROGRAM, *options)

    assert done.returncode == 0, done.stderr.decode()


def test_what_transform_says_at_its_start_is_about_its_model_as_well(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for number in range(1001):
        (model / str(number)).touch()
    options = ["--model", str(model), "--env", "BYO_WORKERS=1", "--output", str(tmp_path / "out")]
    both = {**environment, "BYO_WORKERS": "1", "BYO_THREADS": "1"}
    done = run(both, "transform", str(data), "--program", PROGRAM, *options)

    said = " ".join(done.stderr.decode().split())
    assert done.returncode == 0, said
    assert "the model is a folder of 1001 files" in said
    assert "BYO_THREADS of this shell is not passed on" in said
    assert "BYO_WORKERS of this shell" not in said


@pytest.mark.parametrize("command", ["smoke", "serve"])
def test_a_server_that_ends_is_the_containers_fault(
    environment: dict[str, str], data: Path, tmp_path: Path, command: str
) -> None:
    program = tmp_path / "program.sh"
    serve = 'printf "warmed up\\nModuleNotFoundError: No module named shap" >&2; exit 3'
    program.write_text(f'[ "$1" = serve ] && {{ {serve}; }}\nexec {PROGRAM} "$@"\n')
    (tmp_path / "body").write_bytes(b"1")
    arguments = {
        "smoke": ["-c", f"training={data}", "--no-evaluation", "--body", str(tmp_path / "body")],
        "serve": [],
    }
    done = run(environment, command, "--program", f"sh {program}", *arguments[command])

    assert done.returncode == 1, done.stderr.decode()
    assert b"the server ended before it answered a ping" in done.stderr
    assert (
        b"exit code: 3; the last error in its log: ModuleNotFoundError: No module named shap"
        in done.stderr
    )


def test_the_printed_table_of_fields_is_the_one_in_the_docs(environment: dict[str, str]) -> None:
    done = run(environment, "fields")

    assert (ROOT / "docs/local-sagemaker-fields.md").read_bytes() == done.stdout
    assert treatments.format_table().encode() == done.stdout


def test_conform_exits_1_for_a_violated_must_and_writes_its_reports(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(b"1,2")
    reports = ("--html", f"{tmp_path}/a.html", "--junit", f"{tmp_path}/a.xml")
    some = (
        "-c",
        f"training={tmp_path}",
        "--body",
        f"{tmp_path}/body",
        "--only",
        "HO-4a",
        "--only",
        "RQ-4d",
        *reports,
    )

    good = run(environment, "conform", "--program", PROGRAM, *some)
    bad = run(environment, "conform", "--program", f"{PROGRAM} --violate RQ-4d", *some, "--json")

    assert (good.returncode, good.stdout.split(b",")[0]) == (0, b"2 pass")
    assert good.stdout.count(b"\n") == 1
    said = good.stderr.decode().splitlines()
    assert re.fullmatch(
        "0 of 2 checks, a few seconds left at the speed of the bundled trainer; "
        "now: requests and answers",
        said[1],
    )
    assert [line[:5] for line in said[2:4]] == ["pass "] * 2
    assert "\x1b" not in good.stderr.decode()
    assert b"fail RQ-4d" in bad.stderr
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["counts"]["MUST violated"] == 1
    assert "RQ-4d" in (tmp_path / "a.html").read_text()
    assert 'failures="1"' in (tmp_path / "a.xml").read_text()


def test_hyperparameters_are_written_as_an_sdk_would(environment: dict[str, str]) -> None:
    flags = (
        "-p",
        "optimizer=adam",
        "-p",
        "flag=true",
        "--encoding",
        "sdk2-json",
        "--print-request",
    )

    done = run(environment, "train", *flags)
    wrong = run(environment, "train", *flags[:-2], "sdk9", "--print-request")

    assert json.loads(done.stdout)["HyperParameters"] == {
        "optimizer": '"adam"',
        "flag": "true",
    }  # HP-2
    assert wrong.returncode == 2
    assert b"choose one of api, sdk2-json" in wrong.stderr


def test_a_memory_limit_is_read_and_told_when_it_is_hit(environment: dict[str, str]) -> None:
    hog = shlex.join(
        [sys.executable, "-c", "hoard = b'x' * 400_000_000; import time; time.sleep(600)"]
    )

    done = run(environment, "train", "--program", hog, "--memory", "100m")
    wrong = run(environment, "train", "--program", hog, "--memory", "much")

    assert done.returncode == 1
    assert b"more than its limit of 100 MB" in done.stderr  # OUT-12
    assert (wrong.returncode, b"such as 512m" in wrong.stderr) == (2, True)


def test_serve_takes_the_requests_that_it_prints(
    environment: dict[str, str], tmp_path: Path
) -> None:
    printed = run(environment, "serve", "--name", "again", "--env", "A=1", "--print-request")
    (tmp_path / "requests.json").write_bytes(printed.stdout)
    (tmp_path / "wrong.json").write_text('{"EndpointName": "e"}')

    again = run(
        environment, "serve", "--request", str(tmp_path / "requests.json"), "--print-request"
    )
    wrong = run(environment, "serve", "--request", str(tmp_path / "wrong.json"))

    assert json.loads(again.stdout) == json.loads(printed.stdout)
    assert wrong.returncode == 2
    assert b"models (CreateModel by name)" in wrong.stderr


def test_metrics_stand_below_the_log_on_a_terminal(environment: dict[str, str], data: Path) -> None:
    command = ["train", "--program", PROGRAM, "-c", f"training={data}"]
    command += ["--metric", "loss=loss=([0-9.]+);", "-p", "steps=4", "-p", "step_s=0.4"]

    code, _, seen = run_on_terminal(environment, *command)

    assert code == 0
    while_running, _, at_the_end = seen.partition("step=3")
    assert "course" in while_running
    assert "\u2588" in while_running  # the first loss is the largest
    assert "0.25" in at_the_end


def test_progress_of_conform_stands_below_the_verdicts_on_a_terminal(
    environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(b"1,2")
    command = ["conform", "--program", f"{PROGRAM} --violate OUT-1a", "-c", f"training={data}"]
    command += ["--body", f"{tmp_path}/body", "--only", "OUT-1a", "--only", "OUT-8a", "--json"]
    environment = {**environment, "COLUMNS": "60"}

    code, out, seen = run_on_terminal(environment, *command, "-p", "steps=3", "-p", "step_s=0.1")

    assert code == 1
    assert json.loads(out)["counts"] == {
        "pass": 0, "MUST violated": 1, "SHOULD violated": 0, "not applicable": 1,
    }  # fmt: skip
    before, _, after = seen.partition(" OUT-1a   MUST ")
    assert "0 of 2 checks, about 40 s left at the speed of the" in before
    assert "2 of 2 checks, 1 violated\x1b" in after
    assert "\x1b[?25h" in after  # the cursor is back
    assert seen.endswith("\x1b[1A\x1b[2K")  # and the line is gone
    lines = re.split("[\r\n]", re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", seen))
    assert max(len(line) for line in lines if " of 2 checks" in line) <= 60


@pytest.mark.parametrize("command", ["train", "conform"])
def test_a_pipe_gets_plain_lines_although_colors_are_forced(
    environment: dict[str, str], data: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "body").write_bytes(b"1,2")
    forced = {**environment, "FORCE_COLOR": "1"}
    options = {
        "train": ["--metric", "loss=loss=([0-9.]+);", "-p", "steps=1"],
        "conform": ["--only", "OUT-1a", "--body", f"{tmp_path}/body"],
    }[command]

    done = run(forced, command, "--program", PROGRAM, "-c", f"training={data}", *options)

    assert done.returncode == 0, done.stderr.decode()
    assert b"\x1b[1A" not in done.stderr
    assert b"\x1b[?25l" not in done.stderr


def run_on_terminal(environment: dict[str, str], *arguments: str) -> tuple[int, bytes, str]:
    """Run a command whose standard error is a terminal; return code, output and what it showed."""
    ours, theirs = os.openpty()
    seen = b""
    with subprocess.Popen(
        [sys.executable, "-m", "local_test", *arguments],
        env={**environment, "TERM": "xterm-256color"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as job:
        os.close(theirs)
        while piece := _read_terminal(ours):
            seen += piece
        assert job.stdout is not None
        out = job.stdout.read()
    os.close(ours)
    return job.returncode, out, seen.decode()


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side is closed
        return b""


class InterruptedEvent(threading.Event):
    """One whose first wait a Ctrl-C ends."""

    is_interrupted = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, but for the first time."""
        if not InterruptedEvent.is_interrupted:
            InterruptedEvent.is_interrupted = True
            raise KeyboardInterrupt
        return super().wait(timeout)


def test_an_interrupt_while_a_program_starts_leaves_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = process.ProcessRunner(["sleep", "60"])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "ml").mkdir()
    launch = Launch(name="algo-1", arguments=(), root=tmp_path / "ml", environment={})
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(
        process, "threading", SimpleNamespace(Event=InterruptedEvent, Thread=threading.Thread)
    )

    with pytest.raises(KeyboardInterrupt):
        runner.start(launch, lambda _: None)

    assert list(scratch.iterdir()) == []  # its home goes when it has ended


SLOW_STEPS = ["-p", "steps=10000", "-p", "step_s=0.01"]


@pytest.mark.parametrize("command", ["train", "train hosts", "serve", "transform", "conform"])
def test_interrupted_at_any_moment_it_leaves_nothing_behind(
    environment: dict[str, str], data: Path, tmp_path: Path, command: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**environment, "TMPDIR": str(scratch)}
    training = ["-c", f"training={data}", *SLOW_STEPS]
    (tmp_path / "body").write_bytes(b"1,2")
    options = {
        "train": [*training, "-c", f"piped={data}", "--input-mode", "Pipe", "-p", "epochs=1000"],
        "train hosts": [*training, "--instance-count", "3", "--isolated"],
        "serve": [],
        "transform": [str(data)],
        "conform": [*training, "--body", f"{tmp_path}/body"],
    }
    moments = random.Random(command)  # noqa: S311 - the same moments each time
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited by a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for _ in range(3):
        started = [sys.executable, "-m", "local_test", command.partition(" ")[0]]
        started += ["--program", PROGRAM, *options[command]]
        with subprocess.Popen(
            started, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as harness:
            time.sleep(moments.uniform(0, 2))  # any moment is the point of the test
            harness.send_signal(signal.SIGINT)
            said = read_to_the_end(harness)
            # 0: a server or transform had finished; 1: Python itself was still starting.
            code = harness.returncode
            assert code in (0, 130, -signal.SIGINT) or (
                code == 1 and "KeyboardInterrupt" in said
            ), said

    assert list(scratch.iterdir()) == []
    assert [
        line for line in list_commands() + list_commands("environ") if str(tmp_path) in line
    ] == []
    assert [
        line for line in Path("/proc/mounts").read_text().splitlines() if str(tmp_path) in line
    ] == []
    assert [path for path in tmp_path.rglob("*") if path.is_fifo()] == []


def read_to_the_end(harness: subprocess.Popen[bytes]) -> str:
    """Return what an interrupted harness says until it ends.

    Python itself may drop an interrupt, with these words, before it runs our first line.
    """
    with contextlib.suppress(subprocess.TimeoutExpired):
        return harness.communicate(timeout=30)[1].decode()
    harness.send_signal(signal.SIGINT)
    said = harness.communicate(timeout=30)[1].decode()
    assert "Exception ignored in" in said
    return said


def test_killed_outright_it_takes_the_container_with_it(
    environment: dict[str, str], data: Path
) -> None:
    mark = f"--mark-{os.getpid()}-{time.monotonic_ns()}"
    code = "import sys, time; print('up', flush=True); time.sleep(1000)"
    command = [sys.executable, "-m", "local_test", "train", "-c", f"training={data}"]
    command += ["--program", shlex.join([sys.executable, "-c", code, mark])]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as harness:
        assert harness.stderr is not None
        while b"up" not in harness.stderr.readline():
            pass
        harness.kill()

    wait_until(
        lambda: not any(mark in line and "local_test" not in line for line in list_commands()),
        "the container ends with its harness",
        timeout_s=20,
    )


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux notifies a process when its parent ends"
)
@pytest.mark.parametrize("view", [{}, {"root": "."}])
def test_a_launcher_whose_harness_has_died_meanwhile_starts_nothing(
    tmp_path: Path, view: dict[str, str]
) -> None:
    outputs = []
    for harness in (os.getpid(), os.getppid()):
        launcher = [sys.executable, "-I", "-S", str(ROOT / "local_test/runners/namespace.py")]
        command = [*launcher, json.dumps({"harness": harness, **view}), "echo", "started"]
        outputs.append(
            subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).stdout
        )

    assert outputs == [b"started\n" if has_namespaces() or not view else b"", b""]


def list_commands(file: str = "cmdline") -> list[str]:
    """Return the command line, or another file of /proc, of every process of this machine."""
    commands = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                commands.append((path / file).read_text(errors="replace").replace("\0", " "))
            except OSError:
                continue
    return commands
