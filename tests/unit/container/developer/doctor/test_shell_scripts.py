"""The commands with which a script ends are found in every branch of its last statement."""

from __future__ import annotations

import pytest

from container.developer.doctor.shell_scripts import list_last_commands


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("", []),
        ("# nothing\n\n", []),
        ("set -e\npython a.py\n", ["python a.py"]),
        ("if x; then\n  a\n  b\nelse\n  exec c\nfi\n", ["b", "exec c"]),
        ("if x; then\n  a\nelif y; then\n  b\nfi;\n", ["a", "b"]),
        ("if x; then\n  a\nfi\nif y; then\n  b\nfi\n", ["b"]),
        ("if x; then\n  if y; then\n    a\n  fi\n  exec b\nfi\n", ["a", "exec b"]),
        ('case "$1" in\n  train) a ;;\n  serve)\n    x\n    b\n    ;;\nesac\n', ["a", "b"]),
        ("case $1 in\n train|--train) exec a;;\n (*) b\nesac\n", ["exec a", "b"]),
        ("cat <<END\nfi\nEND\n", []),
        ("fi\n", []),
        ("python a.py", ["python a.py"]),
    ],
)
def test_the_last_commands(text: str, commands: list[str]) -> None:
    assert list_last_commands(text) == commands
