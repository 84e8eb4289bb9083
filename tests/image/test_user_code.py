"""Users' code in real containers: scripts as PID 1, started as by the SDK, and the examples."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.engine import build, docker, exit_code, running
from tests.support import ROOT, USER_CODE, wait_until

pytestmark = pytest.mark.image

ANSWERS = {
    "from-image": r"^\[0\.0, 5\.0\]$",
    "image-folder": r'^\{"predictions": \[\[[0-9., e-]+\]\]\}$',
    "mnist": r"^(label \d  prediction \d  score [01]\.\d+\n){10}",
    "pictures": r'^\{"best": \[\{"label": 7, "score": [01]\.\d+\}',
    "scikit-learn": r'^\["virginica"\]$',
    "shell-script": r"^distribution$",
}


LONG = {"image-folder", "mnist", "pictures"}
"""They train with TensorFlow for half a minute; as programs they run in the contract tests, too."""


def lay_out(base: Path, *programs: str, **hyperparameters: str) -> Path:
    """Lay out `/opt/ml` of a job whose code directory holds fixture programs."""
    (base / "input/config").mkdir(parents=True)
    (base / "code").mkdir()
    documents = {
        "hyperparameters": hyperparameters,
        "inputdataconfig": {},
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"]},
    }
    for name, document in documents.items():
        (base / f"input/config/{name}.json").write_text(json.dumps(document))
    for program in programs:
        shutil.copyfile(USER_CODE / program, base / "code" / program)
    return base


@pytest.mark.parametrize("program", ["saver.py", "parent.sh"])
def test_stop_of_the_container_reaches_the_script_which_saves(
    image: str, tmp_path: Path, program: str
) -> None:
    base = lay_out(tmp_path / "ml", "saver.py", "parent.sh")
    options = ("--volume", f"{base}:/opt/ml", "--env", f"SAGEMAKER_PROGRAM={program}")
    with running(image, "train", options=options) as container:
        wait_until(lambda: "training\n" in docker("logs", container))
        docker("stop", "--time", "120", container)
        code = exit_code(container)
        assert (base / "model/saved").read_text() == "model"
        assert "saved" in docker("logs", container)
    assert code == (0 if program == "saver.py" else 143)


def test_script_killed_for_want_of_memory_is_told_so(image: str, tmp_path: Path) -> None:
    base = lay_out(tmp_path / "ml")
    (base / "code/train.py").write_text(
        "hoard = []\nwhile True:\n    hoard.append(bytearray(b'x' * 2**20) * 16)\n"
    )
    options = ("--volume", f"{base}:/opt/ml", "--memory", "300m", "--memory-swap", "300m")
    with running(image, "train", options=options) as container:
        assert exit_code(container) == 137
    reason = (base / "output/failure").read_text()
    assert "ExitCode 137" in reason
    assert (
        "OutOfMemory: Process killed by SIGKILL (signal 9); the container may use 300 MiB" in reason
    )


@pytest.mark.parametrize(
    ("program", "hyperparameters", "code", "reason"),
    [
        ("end.py", {"code": "3"}, 3, "ExitCode 3"),
        ("end.py", {"signal": "11"}, 139, "segmentation fault in native code"),
        ("fill.py", {}, 1, "No space left on device"),
        ("", {}, 1, "pip install gevent inotify_simple paramiko psutil retrying"),
    ],
)
def test_end_of_the_script_is_the_end_of_the_container(  # noqa: PLR0913 - a table of ends
    image: str,
    tmp_path: Path,
    *,
    program: str,
    hyperparameters: dict[str, str],
    code: int,
    reason: str,
) -> None:
    base = lay_out(tmp_path / "ml", "end.py", "fill.py", **hyperparameters)
    launch = (
        f"SAGEMAKER_PROGRAM={program}" if program else "SAGEMAKER_TRAINING_MODULE=framework:main"
    )
    disk = ("--tmpfs", "/opt/ml/model:size=1m")
    with running(
        image, "train", options=("--volume", f"{base}:/opt/ml", *disk, "--env", launch)
    ) as container:
        assert exit_code(container) == code, docker("logs", container)
    assert reason in (base / "output/failure").read_text()[:1024]


def test_network_isolation_is_the_reason_when_requirements_cannot_be_installed(
    image: str, tmp_path: Path
) -> None:
    base = lay_out(tmp_path / "ml", "end.py")
    (base / "code/requirements.txt").write_text("byo-fixture-that-is-nowhere\n")
    options = (
        "--volume",
        f"{base}:/opt/ml",
        "--network",
        "none",
        "--env",
        "SAGEMAKER_PROGRAM=end.py",
    )
    with running(image, "train", options=options) as container:
        assert exit_code(container) == 1
    assert "this job has no network" in (base / "output/failure").read_text()[:1024]


def test_image_has_what_the_sdks_own_entry_point_needs(image: str, tmp_path: Path) -> None:
    """ModelTrainer with SourceCode starts bash, whose script calls python3 and pip3."""
    base = lay_out(tmp_path / "ml")
    drivers, code = base / "input/data/sm_drivers", base / "input/data/code"
    drivers.mkdir(parents=True)
    code.mkdir()
    shutil.copyfile(USER_CODE / "dump.py", code / "dump.py")
    (drivers / "sm_train.sh").write_text(
        "#!/bin/bash\nset -e\npip3 --version\nchmod 644 /opt/ml/input/data/code/dump.py\n"
        "mkdir -p /opt/ml/model\nexport SM_MODEL_DIR=/opt/ml/model\n"
        "cd /opt/ml/input/data/code\npython3 dump.py --epochs 3\n"
    )
    options = ("--volume", f"{base}:/opt/ml", "--entrypoint", "/bin/bash")
    shell = (
        "chmod +x /opt/ml/input/data/sm_drivers/sm_train.sh && "
        "/opt/ml/input/data/sm_drivers/sm_train.sh"
    )
    with running(image, "-c", shell, options=options) as container:
        assert exit_code(container) == 0, docker("logs", container)
    assert json.loads((base / "model/given.json").read_text())["arguments"] == [
        "dump.py",
        "--epochs",
        "3",
    ]


@pytest.fixture(scope="session")
def own_images(image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Build the examples with a Dockerfile, offline; return the images by the examples' names."""
    images = {}
    for dockerfile in sorted((ROOT / "examples").glob("*/Dockerfile")):
        name = dockerfile.parent.name
        context = tmp_path_factory.mktemp("context") / name
        shutil.copytree(dockerfile.parent, context)
        requirements = context / "code/requirements.txt"
        if requirements.is_file():
            version = docker("run", "--rm", "--entrypoint", "python3", image, "--version").split()[
                1
            ]
            download = [sys.executable, "-m", "pip", "download", "--only-binary", ":all:"]
            download += [
                "--python-version",
                version,
                "--requirement",
                requirements,
                "--dest",
                context / "code/wheels",
            ]
            subprocess.run(download, check=True, capture_output=True)
        arguments = ["--build-arg", f"BASE_IMAGE={image}", "--build-arg", "PIP_NO_INDEX=1"]
        images[name] = build(context, "Dockerfile", f"byo-test-{name}", *arguments)
    return images


@pytest.mark.parametrize("kind", ["script", "algorithm", "shell"])
def test_new_project_becomes_an_image_by_the_commands_of_its_readme(
    image: str, kind: str, tmp_path: Path
) -> None:
    project = f"byo-test-init-{kind}"
    run(f"python -m container init {project} --kind {kind}", tmp_path)
    readme = (tmp_path / project / "README.md").read_text()
    steps = readme.partition("-t byo:cpu .`), then:\n\n")[2].partition("\n\n")[0]
    build_command, smoke = re.sub(r"^ {4}", "", steps, flags=re.MULTILINE).split("\n", 1)
    assert build_command == f"docker build --tag {project} {project}"
    build(tmp_path / project, "Dockerfile", project, "--build-arg", f"BASE_IMAGE={image}")
    assert re.search(r"^\[0\.0, 5\.0\]$", run(smoke, tmp_path), re.MULTILINE)
    assert "no errors found" in run(f"python -m container doctor {project}:latest", tmp_path)


@pytest.mark.parametrize(
    "example",
    [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in ANSWERS],
)
def test_example_runs_in_the_image(
    image: str, own_images: dict[str, str], example: str, tmp_path: Path
) -> None:
    readme = (ROOT / "examples" / example / "README.md").read_text()
    [commands] = re.findall(r"^```bash\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    commands = re.sub(
        r"-m local_test (train|serve|smoke)",
        rf"\g<0> --image {own_images.get(example, image)}",
        commands,
    )
    if example in own_images:  # the code is in the image
        commands = re.sub(r"--channel code=\S+ ", "", commands)
    everything = run(commands, tmp_path)
    assert re.search(ANSWERS[example], everything, re.MULTILINE), everything


def run(commands: str, directory: Path) -> str:
    """Run shell commands in a checkout whose other files are the test's own; return the output."""
    for name in ("examples", "local_test", "container", "LICENSE"):
        if not (directory / name).exists():
            (directory / name).symlink_to(ROOT / name)
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LOCAL_TEST_JOBS": str(directory / "jobs"),
    }
    command = ["bash", "-euo", "pipefail", "-c", commands]
    result = subprocess.run(
        command,
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    everything = result.stdout + result.stderr
    assert result.returncode == 0, everything
    return everything
