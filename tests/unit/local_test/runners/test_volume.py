"""What a volume that can become full leaves behind."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from local_test import container_files
from local_test.runners.volume import Volume

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting needs Linux and root"
)


def test_a_full_volume_leaves_its_files_whatever_else_is_in_it(tmp_path: Path) -> None:
    root, outside = tmp_path / "job", tmp_path / "outside"
    outside.write_text("another's")
    volume = Volume(root)
    try:
        (root / "a").mkdir()
        (root / "a/file").write_bytes(b"x" * 1000)
        os.mkfifo(root / "a/fifo")
        (root / "a/link").symlink_to(outside)
        with contextlib.chdir(root):
            for _ in range(1500):  # deeper than Python recurses
                Path("d").mkdir()
                os.chdir("d")
        volume.fill()
        with pytest.raises(OSError, match="No space left"):
            (root / "more").write_bytes(bytes(1 << 20))
    finally:
        volume.close()

    assert not root.is_mount()
    assert (root / "a/file").read_bytes() == b"x" * 1000
    assert (root / "a/link").readlink() == outside
    assert (root / "d/d/d").is_dir()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    container_files.remove_tree(root)
    assert not root.exists()
