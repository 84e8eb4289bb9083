"""What is installed for user code, and when a job counts as isolated."""

from importlib import metadata
from pathlib import Path

import pytest

from container.errors import UserError
from container.user_packages import required_packages
from container.user_packages.job_environment import JobEnvironment

PROJECT = "[project]\nname = 'job'\nversion = '1'\ndependencies = ['numpy>=1', 'pandas']\n"
REPOSITORY = "thing @ git+https://example.com/thing.git"


def plan(code: Path, **options: bool) -> list[str]:
    environment = JobEnvironment(code.parent / "environment")
    environment.directory.mkdir(exist_ok=True)
    return required_packages.plan_installation(code, {"PATH": ""}, environment, **options)


def write(directory: Path, **files: str) -> Path:
    code = directory / "code"
    for name, text in files.items():
        path = code / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return code


def test_every_list_of_requirements_is_installed(tmp_path: Path) -> None:
    code = write(tmp_path, requirements_txt="numpy\n", lib__requirements_txt="pandas\n")
    assert plan(code)[-4:] == ["-r", "requirements.txt", "-r", "lib/requirements.txt"]


def test_a_project_is_installed_with_the_versions_of_its_lock(tmp_path: Path) -> None:
    lock = (
        'version = 1\n[[package]]\nname = "numpy"\nversion = "2.3.1"\n'
        'source = { registry = "https://packages.example/simple" }\n'
        "resolution-markers = [\"python_version < '3.12'\", \"sys_platform == 'linux'\"]\n"
        '[[package]]\nname = "job"\nversion = "1"\nsource = { virtual = "." }\n'
    )
    command = plan(write(tmp_path, pyproject_toml=PROJECT, uv_lock=lock))

    constraints = Path(command[command.index("-c") + 1]).read_text().splitlines()
    listed = Path(command[command.index("-r") + 1]).read_text().splitlines()
    assert listed == ["numpy>=1", "pandas"]
    assert constraints == ["numpy==2.3.1 ; (python_version < '3.12') or (sys_platform == 'linux')"]


def test_a_package_brings_its_own_dependencies(tmp_path: Path) -> None:
    command = plan(write(tmp_path, pyproject_toml=PROJECT), is_package=True)
    assert command[-1] == "."
    assert "-r" not in command


def test_a_list_that_another_one_makes_superfluous_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = plan(
        write(tmp_path, requirements_txt="numpy\n", pylock_toml="", pyproject_toml=PROJECT)
    )
    assert command[-2:] == ["-r", "requirements.txt"]
    assert (
        capsys.readouterr().out
        == "pylock.toml, pyproject.toml not installed: requirements.txt comes first\n"
    )


@pytest.mark.parametrize(
    "files",
    [
        {"requirements_txt": f"numpy\n{REPOSITORY}  # ours\n"},
        {"lib__requirements_txt": REPOSITORY},
        {"pyproject_toml": f"[project]\nname = 'a'\ndependencies = ['{REPOSITORY}']\n"},
    ],
)
def test_a_repository_needs_git_which_the_image_lacks(
    tmp_path: Path, files: dict[str, str]
) -> None:
    with pytest.raises(UserError, match="has no git; name an archive instead") as refusal:
        plan(write(tmp_path, **files))
    assert REPOSITORY in str(refusal.value)


def test_a_locked_repository_is_refused(tmp_path: Path) -> None:
    lock = '[[packages]]\nname = "thing"\nvcs = { type = "git", url = "https://x" }\n'
    with pytest.raises(UserError, match="thing comes from a repository"):
        plan(write(tmp_path, pylock_toml=lock))


@pytest.mark.parametrize("name", ["pylock_toml", "pyproject_toml", "uv_lock"])
def test_a_damaged_list_is_refused_by_name(tmp_path: Path, name: str) -> None:
    others = {} if name == "pylock_toml" else {"requirements_txt": "numpy\n"}
    code = write(tmp_path, **others, **{name: "not = [toml\n"})
    with pytest.raises(UserError, match=f"{name.replace('_', '.')} cannot be read"):
        plan(code)


def test_code_that_shares_our_process_keeps_our_versions(tmp_path: Path) -> None:
    command = plan(write(tmp_path, requirements_txt="numpy<1\n"), keeps_ours=True)
    constraints = Path(command[command.index("-c") + 1]).read_text().splitlines()
    assert f"numpy=={metadata.version('numpy').partition('+')[0]}" in constraints


def test_both_sides_of_a_conflict_are_named(tmp_path: Path) -> None:
    text = "flask==0.0.1 --hash=sha256:00\nnumpy>=1\nno-such-package==1\nnot a requirement\n"
    differences = required_packages.list_differences(write(tmp_path, requirements_txt=text))
    assert differences == [f"flask==0.0.1 against flask {metadata.version('flask')}"]


UNREACHED = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError: Failed to "
    "establish a new connection: [Errno -3] Temporary failure in name resolution'\n"
    "ERROR: No matching distribution found for cowsay"
)


@pytest.mark.parametrize(
    ("environ", "output", "advice"),
    [
        ({}, UNREACHED, "add HTTPS_PROXY or PIP_INDEX_URL to the job's Environment"),
        ({"https_proxy": "http://p:1"}, UNREACHED, "did not reach its index; check https_proxy"),
        ({}, "ERROR: No matching distribution found for cowsay", "could not be installed"),
    ],
)
def test_an_index_that_is_not_reached_is_told_from_a_package_that_is_not_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    output: str,
    advice: str,
) -> None:
    """Neither SageMaker nor `local_test` gives a container the variables of a shell."""
    (tmp_path / "requirements.txt").write_text("cowsay\n")
    monkeypatch.setattr(required_packages, "is_isolated", lambda _: False)
    assert advice in required_packages.explain_failure(tmp_path, environ, output)


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


def test_of_a_package_that_is_there_twice_the_imported_version_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name, version in (("a", "Byo.Thing", "2.0+cpu"), ("b", "byo_thing", "1.0")):
        directory = tmp_path / place / f"byo_thing-{version}.dist-info"
        directory.mkdir(parents=True)
        (directory / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        monkeypatch.syspath_prepend(tmp_path / place)
    monkeypatch.syspath_prepend(tmp_path / "a")

    found = [line for line in required_packages.list_own_versions() if "thing" in line]

    assert found == ["byo-thing==2.0"]
