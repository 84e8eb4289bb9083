"""build_and_push.sh before a registry is reached: how it reports each obstacle.

`docker` and `aws` are programs on disk here, which complain in the words of the real ones.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from container.developer import init
from tests.support import ROOT


def write_program(directory: Path, name: str, script: str) -> None:
    (directory / f"{name}.py").write_text(f"import sys\narguments = sys.argv[1:]\n{script}\n")
    # A shebang of its own could not name a Python whose path holds a space.
    (directory / name).write_text(
        f"#!/bin/sh\nexec {shlex.quote(sys.executable)} '{directory}/{name}.py' \"$@\"\n"
    )
    (directory / name).chmod(0o755)


def deliver(
    programs: Path, *options: str, cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run build_and_push.sh where only `programs`, Python and the shell's own tools are on PATH."""
    for tool in ("bash", "dirname", "git"):
        if not (programs / tool).exists() and (found := shutil.which(tool)):
            (programs / tool).symlink_to(found)
    if not (programs / "python3").exists():
        (programs / "python3").symlink_to(sys.executable)
    return subprocess.run(
        [ROOT / "build_and_push.sh", "team/digits", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={"PATH": str(programs), "HOME": os.environ.get("HOME", "/"), **environ},
    )


def fail_with(message: str, code: int = 255) -> str:
    return f"sys.stderr.write({message!r} + chr(10)); sys.exit({code})"


GOOD_DOCKER = "sys.exit('buildx' in arguments)"
AWS = """
if 'configure' in arguments: sys.exit(1)
if 'get-caller-identity' in arguments: print('{"Account": "123456789012"}')
"""


@pytest.mark.parametrize(
    ("docker", "aws", "words"),
    [
        (None, None, "no container engine: docker, podman or buildah is not on PATH"),
        (fail_with("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
                   "Is the docker daemon running?"),
         None, "no engine answers: start Docker"),
        (fail_with("permission denied while trying to connect to the Docker daemon socket at "
                   "unix:///run/docker.sock"),
         None, "you may not use the engine"),
        (GOOD_DOCKER, None, "the AWS CLI is not on PATH"),
        (GOOD_DOCKER,
         fail_with("Unable to locate credentials. You can configure them by running "
                   "aws configure."),
         "the AWS CLI found no credentials"),
        (GOOD_DOCKER, fail_with("The config profile (work) could not be found"),
         "the AWS CLI found no credentials"),
        (GOOD_DOCKER,
         fail_with("An error occurred (ExpiredToken) when calling the GetCallerIdentity operation: "
                   "The security token included in the request is expired"),
         "AWS does not accept these credentials"),
        (GOOD_DOCKER, AWS + "else: " + fail_with(
            "An error occurred (AccessDeniedException) when calling the DescribeRepositories "
            "operation: User: u is not authorized to perform: ecr:DescribeRepositories on "
            "resource: r"),
         "ecr:DescribeRepositories"),
        (GOOD_DOCKER,
         fail_with("Provided region_name 'eu_west_1' doesn't match a supported format."),
         "AWS has no such region"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_told_in_clear_words(
    docker: str | None, aws: str | None, words: str, tmp_path: Path
) -> None:
    for name, script in (("docker", docker), ("aws", aws)):
        if script is not None:
            write_program(tmp_path, name, script)
    done = deliver(tmp_path, "--region", "eu-west-1")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_region_is_told_before_anything_is_built(tmp_path: Path) -> None:
    write_program(tmp_path, "docker", GOOD_DOCKER)
    write_program(tmp_path, "aws", AWS)
    done = deliver(tmp_path)
    assert done.returncode == 1
    assert "no AWS region: name one with --region, or set AWS_REGION" in done.stderr


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    write_program(tmp_path, "docker", GOOD_DOCKER)
    (tmp_path / "aws").write_text("#!/no/such/interpreter\n")
    (tmp_path / "aws").chmod(0o755)
    done = deliver(tmp_path, "--region", "eu-west-1")
    assert done.returncode == 1
    assert "/aws cannot be started: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_network_is_tried_again_and_then_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "docker")
    programs = importlib.import_module("programs")
    waits: list[int] = []
    monkeypatch.setattr(programs.time, "sleep", waits.append)
    for message, words in (
        (
            'Could not connect to the endpoint URL: "https://api.ecr.eu-west-9.amazonaws.com/"',
            "is the --region spelled",
        ),
        (
            "dial tcp: lookup registry.example: no such host",
            "docker/make_stand_in_base.sh makes a base image",
        ),
        (
            "received unexpected HTTP status: 503 Service Unavailable",
            "a registry cannot be reached",
        ),
    ):
        with pytest.raises(programs.DeliveryError, match=words):
            programs.run(["sh", "-c", f"echo '{message}' >&2; exit 255"])
    assert waits == [2, 4, 8] * 3
    assert capsys.readouterr().err.count("retrying in") == 9


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("cn-north-1", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com"),
    ],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_china_and_govcloud_keep_their_own_domains(
    region: str, host: str, *, is_there: bool, tmp_path: Path
) -> None:
    found = {"repositories": [{"repositoryUri": f"{host}/team/digits"}]}
    missing = (
        "An error occurred (RepositoryNotFoundException) when calling DescribeRepositories: no"
    )
    script = (
        f"if 'describe-repositories' in arguments: print({json.dumps(found)!r})"
        if is_there
        else (f"if 'describe-repositories' in arguments:\n    {fail_with(missing)}")
    )
    write_program(tmp_path, "docker", GOOD_DOCKER)
    write_program(
        tmp_path, "aws", f"{AWS}\n{script}\nif 'get-login-password' in arguments: print('secret')"
    )
    done = deliver(tmp_path, "--region", region, "--tag", "one", "--dry-run")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert f"would push {host}/team/digits:one" in done.stderr
    assert "secret" not in done.stderr


def test_an_apple_silicon_machine_is_told_that_it_emulates(tmp_path: Path) -> None:
    write_program(tmp_path, "docker", GOOD_DOCKER)
    (tmp_path / "python").mkdir()
    (tmp_path / "python/sitecustomize.py").write_text(
        "import platform\nplatform.machine = lambda: 'arm64'\n"
    )
    done = deliver(tmp_path, "--no-push", "--dry-run", PYTHONPATH=str(tmp_path / "python"))
    assert done.returncode == 0, done.stderr
    assert "this machine is arm64: linux/amd64 is emulated" in done.stderr


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("write /opt/venv/lib/libtensorflow_cc.so.2: no space left on device", "the disk is full"),
        ("exec /bin/sh: exec format error", "this machine cannot run the image's architecture"),
        ("unknown flag: --mount", "the Dockerfiles need BuildKit"),
    ],
)
def test_a_failed_build_is_explained(message: str, words: str, tmp_path: Path) -> None:
    write_program(
        tmp_path, "docker", f"if 'build' in arguments:\n    {fail_with(message, 1)}\n{GOOD_DOCKER}"
    )
    done = deliver(tmp_path, "--no-push")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def test_the_build_has_docker_media_types_and_no_attestations(tmp_path: Path) -> None:
    # A Docker client with the buildx plug-in.
    write_program(tmp_path, "docker", "print(*arguments, file=sys.stderr)")
    done = deliver(
        tmp_path, "gpu", "--no-push", "--tag", "one", BASE_IMAGE="base:1", PIP_CONFIG_FILE=__file__
    )
    assert (done.returncode, done.stdout) == (0, "team/digits:one\n")
    (build,) = [line for line in done.stderr.splitlines() if line.startswith("buildx build")]
    for option in (
        "--provenance=false",  # IMG-9
        "--sbom=false",
        "--platform linux/amd64",  # IMG-8
        f"--file {ROOT}/Dockerfile.gpu",
        "--build-arg BASE_IMAGE=base:1",
        f"--secret id=pip,src={__file__}",
        "--tag team/digits:one",
    ):
        assert option in build


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_framework_is_built_and_named_by_the_tag(tmp_path: Path, kind: str) -> None:
    write_program(tmp_path, "docker", "print(*arguments, file=sys.stderr)")
    done = deliver(tmp_path, kind, "--no-push", "--framework", "torch")
    assert re.search(rf"^team/digits:[\d.]+-{kind}-torch-\w+", done.stdout)
    assert "--build-arg FRAMEWORK=torch" in done.stderr
    done = deliver(tmp_path, kind, "--no-push")
    assert re.search(rf"^team/digits:[\d.]+-{kind}-(?!tensorflow)\w+", done.stdout)
    assert "--build-arg FRAMEWORK=tensorflow" in done.stderr


@pytest.mark.parametrize("client", ["podman", "buildah"])
def test_other_engines_are_asked_for_dockers_format(client: str, tmp_path: Path) -> None:
    write_program(tmp_path, client, "print(*arguments, file=sys.stderr)")
    done = deliver(tmp_path, "--no-push")
    assert done.returncode == 0
    assert "build --format docker" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--platform", "linux/arm64", "gpu"), "the GPU image supports only linux/amd64"),
        (("--framework", "none", "gpu"), "the GPU image holds TensorFlow or PyTorch"),
        (("--account", "12"), "expected 12 digits"),
        (("--tag", "a b"), "letters, digits and _ . - are allowed"),
        (("--lifecycle-policy", "no-such-file"), "no such file"),
        (("--lifecycle-policy", str(ROOT / "README.md")), "README.md: not JSON: "),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_possible(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = deliver(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def write_project(directory: Path) -> Path:
    """Write what `init` writes, as `directory/digits`."""
    init.write(directory / "digits", "script")
    return directory / "digits"


RECORDS = "print(*arguments, file=sys.stderr)"


def test_a_project_of_the_images_name_is_built_on_the_toolkit(tmp_path: Path) -> None:
    place = write_project(tmp_path)
    write_program(tmp_path, "docker", RECORDS)
    done = deliver(tmp_path, "cpu", "--no-push", "--no-smoke", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    toolkit, own = [line for line in done.stderr.splitlines() if line.startswith("buildx build")]
    assert f"--file {ROOT}/Dockerfile.cpu" in toolkit
    [base] = re.findall(r"--tag (byo-toolkit:\S+)", toolkit)
    assert f"--file {place}/Dockerfile" in own
    assert f"--build-arg BASE_IMAGE={base}" in own
    assert f"--tag {done.stdout.strip()} {place}" in own
    assert "FRAMEWORK" not in own
    assert "no errors found" in done.stderr


def test_the_tag_names_the_projects_content(tmp_path: Path) -> None:
    place = write_project(tmp_path)
    write_program(tmp_path, "docker", RECORDS)
    options = ("--no-push", "--dry-run", "--no-smoke")
    tags = []
    changes: list[Callable[[], object]] = [
        place.resolve,  # which changes nothing
        (place / "jobs").mkdir,
        (place / "jobs/log").touch,
        lambda: (place / "code/train.py").write_text("print()\n"),
        lambda: (place / "code/train.py").chmod(0o755),
        (place / "code/jobs").mkdir,
        (place / "code/jobs/run.py").touch,
    ]
    for change in changes:
        change()
        done = deliver(tmp_path, *options, cwd=tmp_path)
        tags += re.findall(r"--tag (team/digits:\S+)", done.stderr)
    done = deliver(tmp_path, *options, "--platform", "linux/arm64", cwd=tmp_path)
    tags += re.findall(r"--tag (team/digits:\S+)", done.stderr)
    is_new = [tag != before for before, tag in itertools.pairwise(tags)]
    assert is_new == [False, False, True, True, False, True, True]


def test_the_tag_names_the_base_by_its_content(tmp_path: Path) -> None:
    identity = tmp_path / "identity"
    script = f"arguments[:2] == ['image', 'inspect'] and print(open({str(identity)!r}).read())"
    write_program(tmp_path, "docker", script)
    tags = []
    cases = [("a", ""), ("a", "b:1"), ("a", "b:2"), ("c", "b:1"), ("c", "b:1@sha256:d")]
    for content, base in cases:
        identity.write_text(f"sha256:{content}\n")
        done = deliver(tmp_path, "--no-push", "--dry-run", "--toolkit", BASE_IMAGE=base)
        tags += re.findall(r"--tag (team/digits:\S+)", done.stderr)
    identity.unlink()
    done = deliver(tmp_path, "--no-push", "--dry-run", "--toolkit", BASE_IMAGE="gone:1")
    tags += re.findall(r"--tag (team/digits:\S+)", done.stderr)

    assert tags[1] == tags[2]
    assert len(tags) == 6
    assert len(set(tags)) == 5


def test_the_toolkit_itself_is_built_only_on_request_beside_a_project(tmp_path: Path) -> None:
    write_project(tmp_path)
    write_program(tmp_path, "docker", RECORDS)
    done = deliver(tmp_path, "--no-push", "--toolkit", cwd=tmp_path)
    assert done.stderr.count("buildx build") == 2  # the command, and what the client printed
    assert f"--file {ROOT}/Dockerfile.cpu" in done.stderr


def test_where_there_is_no_project_it_says_that_the_toolkit_is_built(tmp_path: Path) -> None:
    write_program(tmp_path, "docker", RECORDS)
    done = deliver(tmp_path, "--no-push", "--dry-run", cwd=tmp_path)
    assert f"building the toolkit itself: there is no project in {tmp_path}/digits" in done.stderr


def test_a_dockerfile_on_another_base_is_built_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "Dockerfile").write_text("FROM theirs\nCOPY serve train /\n")
    write_program(tmp_path, "docker", RECORDS)
    done = deliver(tmp_path, "--no-push", "--dry-run", "--project", str(place))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("would run") == 1
    assert "BASE_IMAGE" not in done.stderr


@pytest.mark.parametrize(
    ("remove", "options", "words"),
    [
        ("Dockerfile", (), "has no Dockerfile, so this project cannot be built"),
        ("request.csv", (), "leave the test out with --no-smoke"),
        ("code/train.py", ("--no-smoke",), "doctor found errors in"),
    ],
)
def test_a_project_that_cannot_be_delivered_is_not_built(
    remove: str, options: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    place = write_project(tmp_path)
    (place / remove).unlink()
    if remove.startswith("code"):
        (place / remove).write_text("def (:\n")  # a program that cannot run
    write_program(tmp_path, "docker", RECORDS)
    done = deliver(tmp_path, "--no-push", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "buildx build" not in done.stderr


@pytest.mark.parametrize("uv", [True, False])
def test_without_a_python_on_path_the_one_of_uv_runs(tmp_path: Path, *, uv: bool) -> None:
    """Only the shell is there: what the script needs of others has a sentence."""
    (tmp_path / "bash").symlink_to(str(shutil.which("bash")))
    if uv:
        (tmp_path / "uv").write_text(f"#!{tmp_path}/bash\nprintf '%s\\n' '{sys.executable}'\n")
        (tmp_path / "uv").chmod(0o755)
    command = [tmp_path / "bash", "build_and_push.sh", "digits"]
    environ = {"PATH": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environ
    )
    assert done.returncode == 1
    if uv:
        assert "no container engine" in done.stderr
    else:
        assert done.stderr == "build_and_push: Python 3.11 or newer is needed; found none\n"
