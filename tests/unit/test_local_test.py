"""The pure parts of the local SageMaker: shapes, field table, records, paths, faults, encodings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import UserError
from local_test.data import job_outputs, record_formats, storage
from local_test.runners import faults
from local_test.runners.log_lines import LineSplitter
from local_test.runners.procfs import name_process


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_recordio_gives_back_what_was_framed(payloads: list[bytes]) -> None:
    body = b"".join(map(record_formats.encode_recordio, payloads))

    found = record_formats.split(body, "RecordIO")
    assert [record.payload for record in found] == payloads
    assert b"".join(record.framed for record in found) == body


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_tfrecord_gives_back_what_was_framed(payloads: list[bytes]) -> None:
    body = b"".join(map(record_formats.encode_tfrecord, payloads))

    assert [record.payload for record in record_formats.split(body, "TFRecord")] == payloads


def test_a_tfrecord_has_the_bytes_that_tensorflow_writes() -> None:
    # the file that its TFRecordWriter made of the one record b"hi"
    assert record_formats.encode_tfrecord(b"hi").hex() == "020000000000000078270b34686913d60856"


def test_a_recordio_record_of_several_parts_is_one() -> None:
    magic = (0xCED7230A).to_bytes(4, "little")
    parts = [(1, b"ab"), (2, b"cd"), (3, b"e")]
    body = b"".join(
        magic + (flag << 29 | len(data)).to_bytes(4, "little") + data + bytes(-len(data) % 4)
        for flag, data in parts
    )

    assert [record.payload for record in record_formats.split(body, "RecordIO")] == [
        b"ab" + magic + b"cd" + magic + b"e"
    ]


@given(st.binary(max_size=60))
def test_lines_are_bytes_and_none_is_lost(body: bytes) -> None:
    found = record_formats.split(body, "Line")

    assert b"".join(record.framed for record in found) == body
    assert [record.payload for record in found] == body.split(b"\n")[: len(found)]


@pytest.mark.parametrize(
    ("split_type", "body"), [("RecordIO", b"\x0a\x23\xd7\xce\x05\0\0\0ab"), ("TFRecord", b"short")]
)
def test_a_cut_file_is_told(split_type: str, body: bytes) -> None:
    with pytest.raises(UserError, match="at byte 0"):
        record_formats.split(body, split_type)


def test_a_fault_is_read_with_its_moment_and_host() -> None:
    fault = faults.parse("kill@2.5s/algo-2")

    assert (fault.kind, fault.after_s, fault.host) == ("kill", 2.5, "algo-2")
    assert faults.parse("spot@/epoch=3;/").pattern.search("x epoch=3; y")  # type: ignore[union-attr]
    for wrong in ("spot", "explode@1s", "spot@soon", "spot@/(/"):
        with pytest.raises(UserError):
            faults.parse(wrong)


def test_a_log_is_split_at_line_feeds_alone() -> None:
    lines: list[str] = []
    splitter = LineSplitter(lines.append)
    for piece in (b"one\rmore\ntw", b"o\n", b"\xff last"):
        splitter.feed(piece)
    splitter.close()

    assert lines == ["one\rmore", "two", "\ufffd last"]  # HPO-2


def test_a_stored_object_is_whole_and_a_prefix_lists_in_order(tmp_path: Path) -> None:
    storage.store_bytes(b"2", f"file://{tmp_path}/a b/2")
    storage.store_bytes(b"1", f"file://{tmp_path}/a b/1")
    storage.store_bytes(b"x", f"file://{tmp_path}/a b/sub/x")

    listed = storage.list_objects(f"file://{tmp_path}/a b/")
    assert [(item.name, item.size_bytes) for item in listed] == [("1", 1), ("2", 1), ("sub/x", 1)]
    assert storage.read(listed[1].uri) == b"2"
    storage.delete(listed[0].uri)
    assert len(storage.list_objects(f"file://{tmp_path}/a b/")) == 2
    with pytest.raises(UserError, match="no object has the prefix"):
        storage.list_objects(f"file://{tmp_path}/a b/nothing")
    with pytest.raises(UserError, match="use file:///path or s3://bucket/key"):
        storage.read("gs://bucket/key")


def test_archives_merge_hosts_and_tell_what_has_no_place(tmp_path: Path) -> None:
    for host in ("algo-1", "algo-2"):
        (tmp_path / host / "sub").mkdir(parents=True)
        (tmp_path / host / "same").write_text(host)
        (tmp_path / host / "sub" / host).write_text(host)
    os.mkfifo(tmp_path / "algo-1/fifo")
    (tmp_path / "algo-2/link").symlink_to("same")

    roots = {host: tmp_path / host for host in ("algo-1", "algo-2")}
    findings = job_outputs.archive(roots, tmp_path / "x.tar.gz")

    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        assert sorted(tar.getnames()) == ["link", "same", "sub", "sub/algo-1", "sub/algo-2"]
        assert tar.extractfile("same").read() == b"algo-1"  # type: ignore[union-attr]
    text = json.dumps(findings)
    assert "same was written by algo-1 and algo-2" in text  # OUT-5
    assert "fifo is a socket, FIFO or device" in text  # OUT-6
    assert "link is a symbolic link" in text


def test_a_process_that_nobody_has_asked_after_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b""
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie until `wait`
        assert name_process(process.pid) == ""
    assert name_process(process.pid) == ""
    assert name_process(os.getpid()) not in {"", name_process(os.getppid())}
