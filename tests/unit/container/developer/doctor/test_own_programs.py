"""`doctor` on images that bring `train` and `serve` of their own, as AWS's sample does."""

from __future__ import annotations

from pathlib import Path

import pytest

from container.developer.doctor import command

GOOD = "#!/usr/bin/env python3\nprint()\n"
DOCKERFILE = 'FROM python:3.12\nCOPY trees /opt/program\nENV PATH="/opt/program:${PATH}"\n'


def make_sample(directory: Path, train: str = GOOD, serve: str = GOOD, mode: int = 0o755) -> Path:
    """Write the layout of AWS's sample of an algorithm of one's own."""
    (directory / "trees").mkdir(parents=True)
    (directory / "Dockerfile").write_text(DOCKERFILE)
    (directory / "build_and_push.sh").write_text("#!/bin/sh\ndocker build .\n")
    for name, text in (("train", train), ("serve", serve), ("predictor.py", "import json\n")):
        (directory / "trees" / name).write_bytes(text.encode())
        (directory / "trees" / name).chmod(mode)
    return directory


def find_faults(directory: Path) -> list[str]:
    return [finding.text for finding in command.examine(directory) if finding.severity != "note"]


def test_a_good_sample_has_no_faults(tmp_path: Path) -> None:
    assert find_faults(make_sample(tmp_path)) == []


def test_windows_line_ends_and_the_missing_bit_are_two_faults(tmp_path: Path) -> None:
    faults = find_faults(make_sample(tmp_path, train=GOOD.replace("\n", "\r\n"), mode=0o644))
    train = [text for text in faults if f"{tmp_path}/trees/train " in text]
    assert len(train) == 2
    assert "Windows line ends" in train[0]
    assert "is not executable" in train[1]
    assert not any("can be served" in text for text in faults)


@pytest.mark.parametrize("line", ["RUN chmod +x /opt/program/*", "COPY --chmod=755 trees /opt/x"])
def test_a_bit_that_the_dockerfile_sets_is_not_missing(line: str, tmp_path: Path) -> None:
    directory = make_sample(tmp_path, mode=0o644)
    (directory / "Dockerfile").write_text(DOCKERFILE + line)
    assert not any("is not executable" in text for text in find_faults(directory))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print()\n", "does not begin with #!"),
        ("#!/usr/bin/env python -u\n", "asks env for one program of several words"),
        ("\ufeff" + GOOD, "begins with a byte order mark"),
        ("#!/bin/bash\npython train.py\n", "write `exec python train.py`"),
        ('#!/bin/sh\nset -e\npython -m train \\\n  "$@"\n', "write `exec python -m train"),
    ],
)
def test_a_program_that_does_not_start_or_stop_is_named(
    text: str, message: str, tmp_path: Path
) -> None:
    [fault] = find_faults(make_sample(tmp_path, serve=text))
    assert f"{tmp_path}/trees/serve" in fault
    assert message in fault


@pytest.mark.parametrize(("machine", "is_named"), [(0x3E, False), (0xB7, True)])
def test_a_binary_for_another_processor_is_named(
    machine: int, is_named: bool, tmp_path: Path
) -> None:
    directory = make_sample(tmp_path)
    head = b"\x7fELF\x02\x01\x01" + bytes(11)
    (directory / "trees/serve").write_bytes(head + machine.to_bytes(2, "little"))
    faults = [text for text in find_faults(directory) if "another processor than x86_64" in text]
    assert len(faults) == is_named


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nexec python train.py\n",
        "#!/bin/bash\ntrap 'kill $child' TERM\npython train.py &\nchild=$!\nwait\n",
        "#!/usr/bin/env bash\nset -e\nif true; then\n  exec a\nfi\n",
    ],
)
def test_a_wrapper_that_passes_signals_on_is_good(text: str, tmp_path: Path) -> None:
    assert find_faults(make_sample(tmp_path, train=text)) == []


@pytest.mark.parametrize("text", ["#!/bin/sh\nset -e\r\nexec a\n", "#!/bin/sh\rexec a\r"])
def test_a_shell_script_with_a_windows_line_end_anywhere_is_named(
    text: str, tmp_path: Path
) -> None:
    [fault] = find_faults(make_sample(tmp_path, train=text))
    assert "trees/train has Windows line ends: its interpreter or a command" in fault


def test_the_script_of_an_entry_point_is_examined(tmp_path: Path) -> None:
    directory = make_sample(tmp_path)
    (directory / "start.sh").write_text("#!/bin/sh\npython -m program $1\n")
    (directory / "Dockerfile").write_text(DOCKERFILE + 'ENTRYPOINT ["/opt/start.sh"]\n')
    [mode, fault] = find_faults(directory)
    assert "start.sh is not executable" in mode
    assert "start.sh is a shell script that stays in front of its program" in fault
    (directory / "start.sh").chmod(0o755)
    assert find_faults(directory) == [fault]


@pytest.mark.parametrize(
    ("command", "count"), [('["/opt/start"]', 3), ('["/bin/sh", "/opt/start"]', 2)]
)
def test_an_entry_point_without_a_suffix_is_a_program_too(
    command: str, count: int, tmp_path: Path
) -> None:
    directory = make_sample(tmp_path)
    (directory / "start").write_bytes(b'#!/bin/sh\r\n"$@"\r\n')
    (directory / "Dockerfile").write_text(f"{DOCKERFILE}ENTRYPOINT {command}\n")
    faults = find_faults(directory)
    assert "Windows line ends" in faults[0]
    assert len(faults) == count


@pytest.mark.parametrize(
    ("chmod", "is_set"),
    [
        ("RUN chmod +x /opt/other", False),
        ("RUN chmod +x /opt/serve /opt/train", True),
        ("RUN chmod -R a+x /opt/program", True),
        ("RUN chmod +x /opt/program/*", True),
        ("RUN find /opt -type f -exec chmod +x {} ;", True),
        ("COPY --chmod=755 trees /opt/program", True),
    ],
)
def test_a_mode_that_the_dockerfile_sets_is_seen(chmod: str, is_set: bool, tmp_path: Path) -> None:
    directory = make_sample(tmp_path)
    (directory / "trees/serve").chmod(0o644)
    (directory / "Dockerfile").write_text(f"{DOCKERFILE}{chmod}\n")
    assert (find_faults(directory) == []) is is_set


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        ("FROM a AS build\nENTRYPOINT python a.py\nFROM b\nENTRYPOINT ['python']\n", ""),
        ("FROM a AS build\nUSER app\nFROM b\n", ""),
        ("FROM a\nUSER app\nRUN x\nUSER root\n", ""),
        ("FROM a AS build\nENTRYPOINT python a.py\nFROM build\n", "IMG-4"),
        ("FROM a\nentrypoint python a.py\n", "IMG-4"),
        ("FROM a\nENTRYPOINT python \\\n  a.py\n", "IMG-4"),
        ("FROM a\nUSER app\n", "IMG-6"),
    ],
)
def test_the_last_stage_counts(stages: str, word: str, tmp_path: Path) -> None:
    directory = make_sample(tmp_path)
    (directory / "Dockerfile").write_text(stages.replace("'", '"'))
    faults = find_faults(directory)
    assert [word] * len(faults) == [word for fault in faults if word in fault]
    assert bool(faults) is bool(word)


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("multi-models", "@app.post('/models')"),
        ("accept-bind-to-port", "SAGEMAKER_BIND_TO_PORT"),
        ("bidirectional-streaming", "@app.websocket('/v1/listen')"),
    ],
)
def test_a_label_that_promises_what_the_server_lacks_is_named(
    label: str, code: str, tmp_path: Path
) -> None:
    directory = make_sample(tmp_path)
    name = f"com.amazonaws.sagemaker.capabilities.{label}"
    (directory / "Dockerfile").write_text(f"{DOCKERFILE}LABEL {name}=true\n")
    [fault] = find_faults(directory)
    assert f"has the label {name}=true" in fault
    (directory / "trees/predictor.py").write_text(f'X = "{code}"\n'.replace("'", ""))
    assert find_faults(directory) == []


def test_a_project_that_only_trains_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text("print()\n")
    (tmp_path / "README.md").write_text("How to train.\n")
    assert not [text for text in find_faults(tmp_path) if "served" in text]


def test_each_finding_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = make_sample(tmp_path, train="print()\n")
    command.main([str(directory), str(directory)])
    assert capsys.readouterr().out.count("does not begin with #!") == 1
