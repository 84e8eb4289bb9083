"""What is found wrong before a push."""

import importlib.util
import io
import os
import tarfile
from pathlib import Path

import pytest

from container.developer import init
from container.developer.doctor import command, image, next_command


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def errors(path: Path) -> list[str]:
    return [finding.text for finding in command.examine(path) if finding.severity != "note"]


@pytest.mark.parametrize("kind", init.KINDS)
def test_new_project_is_healthy(tmp_path: Path, kind: str) -> None:
    init.write(tmp_path, kind)
    found = errors(tmp_path)
    if kind == "torch":  # its packages come from an index, as the README of the project says
        assert "needs a network when training starts" in found.pop(0)
    assert found == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.py", "def (", "is not valid Python"),
        (
            "train.py",
            "import no_such_package_anywhere",
            "imports no_such_package_anywhere: not installed here, nor in a requirements.txt",
        ),
        ("train.sh", "#!/bin/sh\r\necho\r\n", "Windows line ends"),
        ("train.sh", "echo", "does not begin with #!: /bin/sh will run it"),
        ("train.sh", "\ufeff#!/bin/sh", "begins with a byte order mark"),
        ("inference.py", "import json\nx = 1", "defines no handler; expected one of model_fn"),
        ("learn.py", "x = 1", "name the program with SAGEMAKER_PROGRAM"),
        ("algorithm.py", "x = 1", "has no function train"),
        (
            "inference.py",
            "def model_fn(): ...",
            "model_fn takes 0 arguments; possible: 1 or, with the context, 2",
        ),
        (
            "inference.py",
            "def transform_fn(a, b, c, d): ...\ndef input_fn(a, b): ...",
            "excludes input_fn",
        ),
        ("requirements.txt", "numpy", "needs a network when training starts"),
        ("requirements.txt", "numpy", "Dockerfile does not install"),
        ("pylock.toml", "[[packages]]\nname='numpy'\nversion='1'", "Dockerfile does not install"),
        ("apt.txt", "libgl1", "Dockerfile does not install the packages in"),
        ("apt.txt", "libGL.so.1", "'libGL.so.1', which no Debian package is called"),
        ("apt.txt", "a\0b", "which no Debian package is called"),
        (
            "inference.py",
            "def model_fn(d): ...\ndef predict_fun(data, model): ...",
            "predict_fun would be ignored; did you mean predict_fn?",
        ),
        (
            "inference.py",
            "def model_fn(d): ...\nasync def predict_fun(data, model): ...",
            "predict_fun would be ignored; did you mean predict_fn?",
        ),
        (
            "inference.py",
            "def stream_fn(parts, model):\n    yield from parts",
            "stream_fn must be an asynchronous generator",
        ),
        (
            "inference.py",
            "async def stream_fn(parts, model):\n    return parts",
            "stream_fn must be an asynchronous generator",
        ),
    ],
)
def test_fault_of_code_is_told_with_its_file(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    write(tmp_path / "code" / name, text)
    write(tmp_path / "Dockerfile", "FROM byo\n")
    found = [text for text in errors(tmp_path) if message in text]
    assert found
    assert str(tmp_path / "code") in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "from other import model_fn",
        "from other import load as model_fn",
        "from other import *",
        "model_fn = make()",
        "if True:\n    def model_fn(d): ...",
        "class Layer: ...",
    ],
)
def test_handlers_that_come_from_elsewhere_are_seen(tmp_path: Path, text: str) -> None:
    write(tmp_path / "code/inference.py", text)
    write(tmp_path / "code/other.py", "")
    assert [found for found in errors(tmp_path) if "defines no handler" in found] == []


@pytest.mark.parametrize(
    ("line", "clause"),
    [
        ("ENTRYPOINT python -m container", "IMG-4"),
        ('ENTRYPOINT ["tini", "--", "python"]', "IMG-5"),
        ("USER 1000", "IMG-6"),
        ("COPY model.h5 /opt/ml/model/", "IMG-7"),
        ("FROM --platform=linux/arm64 python", "IMG-8"),
    ],
)
def test_fault_of_a_dockerfile_cites_its_clause(tmp_path: Path, line: str, clause: str) -> None:
    [text] = errors(
        write(tmp_path / "Dockerfile", f"FROM byo\n{line}\nCOPY code \\\n  /opt/ml/code\n")
    )
    assert text.endswith(f"[{clause}]")


GOOD = {
    "Os": "linux",
    "Architecture": "amd64",
    "Config": {"Entrypoint": ["python", "-m", "container"], "Env": ["PATH=/bin"]},
}


@pytest.mark.parametrize(
    ("config", "history", "words"),
    [
        ({"Entrypoint": None}, "", "[IMG-1]"),
        ({"Entrypoint": ["/bin/sh", "-c", "python serve.py"]}, "", "[IMG-4]"),
        ({"Entrypoint": ["/usr/bin/tini", "--", "python"]}, "", "[IMG-5]"),
        ({"User": "1000:1000"}, "", "[IMG-6]"),
        ({"Volumes": {"/opt/ml/model": {}}}, "", "[IMG-7]"),
        ({"Labels": {"com.amazonaws.sagemaker.capabilities.multi-models": "yes"}}, "", "[IMG-12]"),
        ({}, "COPY model.h5 /opt/ml/model/ # buildkit", "[IMG-7]"),
        ({}, "/bin/sh -c #(nop) COPY file:5a in /opt/ml/model/ ", "[IMG-7]"),
        (
            {"Env": ["DB_PASSWORD=hunter22"]},
            "",
            "holds a secret that everyone who pulls it can read: DB_PASSWORD;",
        ),
    ],
)
def test_fault_of_an_image_is_told(config: dict[str, object], history: str, words: str) -> None:
    described = GOOD | {"Config": GOOD["Config"] | config}  # type: ignore[operator]
    [finding] = image.judge(
        "byo", described, [history, "COPY code /opt/ml/code", "ENV A=/opt/ml/model"]
    )
    assert words in finding.text
    assert "hunter22" not in finding.text


def test_image_for_other_processors_is_told_and_a_good_one_is_left_alone() -> None:
    assert list(image.judge("byo", GOOD, [])) == []
    [finding] = image.judge("byo", GOOD | {"Architecture": "arm64"}, [])
    assert finding.text.endswith("[IMG-8]")


def make_archive(path: Path, *members: tuple[str, bytes | None]) -> Path:
    """Write a tar.gz; content None makes a symbolic link to /etc/passwd."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    return path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            [("model.h5", b"x"), ("link", None)],
            "holds links: link; such an archive is refused [OUT-6]",
        ),
        ([("model.h5", b"x"), ("../outside", b"x")], "paths that lead out of it: ../outside"),
        ([("folder/model.h5", b"x")], "holds only the folder folder"),
        ([("model.h5", b"x"), ("._model.h5", b"x")], "COPYFILE_DISABLE=1"),
        ([("a.h5", b"x"), ("b.h5", b"x")], "holds 2 models"),
        ([("weights.bin", b"x")], "weights.bin is of an unknown kind"),
        ([("code/inference.py", b"def model_fn(: ...")], "is not valid Python"),
    ],
)
def test_fault_of_an_archive_is_told(
    tmp_path: Path, members: list[tuple[str, bytes | None]], message: str
) -> None:
    found = errors(make_archive(tmp_path / "model.tar.gz", *members))
    assert any(message in text and "model.tar.gz" in text for text in found), found


def test_what_is_no_archive_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "model.tar.gz", "no archive")
    assert command.main([str(path), str(tmp_path / "nowhere")]) == 1
    out = capsys.readouterr().out
    assert "is not a tar.gz archive" in out
    assert "nowhere does not exist" in out
    assert out.endswith("2 errors\n")
    good = make_archive(tmp_path / "good.tar.gz", ("1/saved_model.pb", b"x"))
    assert command.main([str(good)]) == 0
    assert "is served by the SavedModel model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [("gbm.txt", b"tree\nversion=v4\n", "LightGBM"), ("xgboost-model", b"\x80\x04", "pickle")],
)
def test_a_large_model_of_an_archive_is_known_by_its_beginning(
    tmp_path: Path, name: str, head: bytes, kind: str
) -> None:
    path = make_archive(tmp_path / "model.tar.gz", (name, head + bytes(2 << 20)))
    [finding] = command.examine(path)
    assert kind in finding.text


def test_dockerfile_of_init_installs_what_the_code_lists(tmp_path: Path) -> None:
    init.write(tmp_path, "script")
    write(tmp_path / "code/requirements.txt", "numpy\n")
    write(
        tmp_path / "code/apt.txt",
        "libgl1  # for OpenCV\r\nlibstdc++6:amd64\r\n\r\nffmpeg=7:7.1-1\n",
    )
    assert [text for text in errors(tmp_path) if "Dockerfile" in text] == []


def test_what_the_next_command_needs_is_named_before_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    missing = {"typer"}
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in missing else find_spec(name)
    )
    harness = "local_test needs typer, not installed here; run local_test/setup.sh docker/"

    assert init.main([str(tmp_path / "project")]) == 0
    printed = capsys.readouterr().err
    found = "\n".join(errors(tmp_path / "project"))

    for text in (printed, found):
        assert harness in text


def test_an_image_without_the_checkout_needs_no_harness(tmp_path: Path) -> None:
    assert list(next_command.examine(checkout=tmp_path)) == []


ODD_FILES = {
    "import-main": ("code/train.py", b"import __main__\n"),
    "deep-code": ("code/train.py", b"x = " + b"-" * 100_000 + b"1\n"),
    "odd-name": (os.fsdecode(b"code/a\xff.py"), b"import no_such_package\n"),
    "latin-dockerfile": ("Dockerfile", "FROM byo\n# \u00e9\n".encode("latin-1")),
    "utf-16-dockerfile": ("Dockerfile", "FROM byo\n".encode("utf-16")),
    "number": ("Dockerfile", b"FROM byo\nENTRYPOINT 5\n"),
    "numbers": ("Dockerfile", b"FROM byo\nENTRYPOINT [5, null]\n"),
    "deep-list": ("Dockerfile", b"FROM byo\nENTRYPOINT " + b"[" * 5000),
    "deep-manifest": ("model/model.json", b"[" * 50_000),
    "deep-versions": ("model/.versions.json", b"[" * 50_000),
    "project": ("code/pyproject.toml", b"not = [toml"),
    "directory": ("code/train.py/x", b""),
    "script-directory": ("code/train.sh/x", b""),
    "dockerfile-directory": ("Dockerfile.d/x", b""),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_no_file_of_a_project_ends_the_examination(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """What is wrong with the others is still found."""
    place, content = ODD_FILES[name]
    write(tmp_path / "code/broken.py", "def (")
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    command.main([str(tmp_path), str(tmp_path / "model")])
    assert "broken.py is not valid Python" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Dockerfile", "code/train.py", "code/train.sh"])
def test_a_link_to_nothing_does_not_end_the_examination(tmp_path: Path, name: str) -> None:
    write(tmp_path / "code/broken.py", "def (")
    (tmp_path / name).symlink_to("nowhere")
    assert any("broken.py is not valid Python" in text for text in errors(tmp_path))


def test_a_damaged_list_of_packages_is_an_error_of_the_project(tmp_path: Path) -> None:
    write(tmp_path / "code/train.py", "x = 1")
    write(tmp_path / "code/pyproject.toml", "not = [toml")
    write(tmp_path / "Dockerfile", "FROM byo\n")
    (text,) = errors(tmp_path)
    assert "pyproject.toml cannot be read" in text
