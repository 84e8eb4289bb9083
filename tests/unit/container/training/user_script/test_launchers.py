"""Commands of programs that the toolkit launches itself."""

import pytest

from container.errors import UserError
from container.training.user_script import launchers


def test_launch_by_the_toolkit_names_the_packages_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in ("gevent", "paramiko") else name
    )
    with pytest.raises(UserError, match=r"pip install gevent paramiko$"):
        launchers.compose_toolkit_command()
