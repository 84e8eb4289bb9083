"""The process that the models' processes are forked from, in a real one."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.serving.many_models import wire
from container.serving.many_models.template import Child, Template
from tests.support import wait_until

COMMAND = [sys.executable, "-m", "container.serving.model_program"]


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with contextlib.closing(Template(COMMAND)) as started:
        yield started


def write_model(root: Path) -> Path:
    code = "def transform_fn(model, data, content_type, accept):\n    return data\n"
    (root / "inference.py").write_text(code)
    return root


def end(child: Child) -> None:
    child.control.close()
    assert child.wait(60) == -signal.SIGKILL


def test_each_model_has_a_process_that_ends_with_its_control_socket(
    template: Template, tmp_path: Path
) -> None:
    first, second = (template.fork(write_model(tmp_path)) for _ in range(2))
    assert [wire.receive(child.control)[0] for child in (first, second)] == [{}, {}]
    assert first.pid != second.pid == os.getsid(second.pid)
    assert first.wait(0) is second.wait(0) is None

    end(first)
    assert first.wait() == -signal.SIGKILL
    assert second.wait(0) is None
    end(second)


def test_a_model_that_is_none_says_so_and_how_it_ended(template: Template, tmp_path: Path) -> None:
    child = template.fork(tmp_path)
    assert "no longer holds code or a model" in wire.receive(child.control)[0]["error"]
    assert child.wait() == 1
    child.control.close()

    (tmp_path / "inference.py").write_text("import sys\nsys.exit(7)\n")
    child = template.fork(tmp_path)
    with pytest.raises(EOFError):
        wire.receive(child.control)
    assert child.wait() == 7
    child.control.close()


def test_a_template_that_died_is_replaced_and_its_models_go_on(
    template: Template, tmp_path: Path
) -> None:
    before = template.fork(write_model(tmp_path))
    assert wire.receive(before.control)[0] == {}
    process = template._process  # noqa: SLF001
    assert process is not None
    process.kill()
    after = template.fork(tmp_path)
    assert wire.receive(after.control)[0] == {}

    assert os.getsid(before.pid) == before.pid
    before.control.close()  # nobody can say how it ends
    assert before.wait() == 1
    end(after)


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    broken = Template([sys.executable, "-c", "pass"])
    with contextlib.closing(broken), pytest.raises(OSError, match="has ended"):
        broken.fork(tmp_path)


def test_a_program_that_does_not_exist_leaves_no_socket(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), contextlib.closing(Template(["/no/program"])) as broken:
        broken.fork(tmp_path)
    del broken
    gc.collect()  # an open socket warns when it is collected


def test_models_end_with_the_endpoint(tmp_path: Path) -> None:
    template = Template(COMMAND)
    child = template.fork(write_model(tmp_path))
    assert wire.receive(child.control)[0] == {}
    template.close()
    wait_until(lambda: not Path(f"/proc/{child.pid}/exe").exists())
    child.control.close()
    child.wait()
