"""Rules for an image's configuration that `doctor` and `conform` share."""

import pytest

from container import image_rules


@pytest.mark.parametrize(
    ("entry_point", "is_shell", "is_init"),
    [
        (["python", "-m", "container"], False, False),
        ([], False, False),
        (["/bin/sh", "-c", "python serve.py"], True, False),
        (["/usr/bin/bash", "-c", "python serve.py"], True, False),
        (["/bin/sh", "/opt/start.sh"], False, False),
        (["tini", "--", "python"], False, True),
        (["/usr/bin/dumb-init", "python"], False, True),
    ],
)
def test_an_entry_point_is_a_shell_an_init_or_neither(
    entry_point: list[str],
    is_shell: bool,
    is_init: bool,
) -> None:
    assert image_rules.is_shell_form(entry_point) == is_shell
    assert image_rules.starts_init(entry_point) == is_init


@pytest.mark.parametrize(
    ("user", "expected"),
    [("", True), ("root", True), ("0:0", True), ("1000", False), ("app", False)],
)
def test_root_goes_by_name_or_number(user: str, expected: bool) -> None:
    assert image_rules.is_root(user) == expected


def test_a_label_is_true_or_false() -> None:
    multi = "com.amazonaws.sagemaker.capabilities.multi-models"
    port = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
    assert image_rules.find_wrong_labels({}) == []
    assert image_rules.find_wrong_labels({multi: "true", port: "false", "other": "x"}) == []
    assert image_rules.find_wrong_labels({multi: "yes", port: "1"}) == [f"{multi}=yes", f"{port}=1"]
