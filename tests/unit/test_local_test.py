"""The pure parts of the local SageMaker: shapes, field table, records, paths, faults, encodings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.errors import UserError
from local_test.data import job_outputs, record_formats, storage
from local_test.jobs import job_directory
from local_test.jobs.transform import Settings, choose_settings, plan_requests
from local_test.requests import emulation, json_path, shorthand, validation
from local_test.runners import faults
from local_test.runners.log_lines import LineSplitter
from local_test.runners.process import name_process


def make_request(**changes: Any) -> dict[str, Any]:
    request = shorthand.training_request(
        name="job",
        image="any",
        channels={"training": "s3://bucket/data/"},
        output="s3://bucket/out",
    )
    return {**request, **changes}


def find_faults(request: Any) -> str:
    return "\n".join(validation.find_faults("CreateTrainingJob", request))


def test_a_good_request_has_no_faults() -> None:
    assert find_faults(make_request()) == ""
    assert emulation.check("CreateTrainingJob", make_request()) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"HyperParameters": {"epochs": 3}},
            "HyperParameters['epochs']: a string is expected, found 3",
        ),  # HP-1
        ({"HyperParameters": {"a": "x" * 2501}}, "2501 characters found, 0 to 2500 possible"),
        (
            {"HyperParameters": {f"{n}": "" for n in range(101)}},
            "101 entries found, 0 to 100 possible",
        ),
        ({"Environment": {"9a": "x"}}, "does not match"),  # TF-5
        ({"TrainingJobName": "under_score"}, "'under_score' does not match"),
        ({"EnableManagedSpotTraining": "yes"}, "true or false is expected"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": True}},
            "an integer is expected, found True",
        ),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "0 found, 1 to any number of possible"),
        ({"InputDataConfig": {}}, "InputDataConfig: a list is expected"),
        ({"Hyperparameters": {}}, "no such field; did you mean HyperParameters?"),
        ({"OutputDataConfig": {"S3OutputPath": "ftp://x"}}, "'ftp://x' does not match"),
    ],
)
def test_a_wrong_request_is_told_what_is_possible(change: dict[str, Any], fault: str) -> None:
    assert fault in find_faults(make_request(**change))


def test_all_faults_are_told_at_once() -> None:
    request = make_request(Nonsense=1, TrainingJobName="_")
    del request["RoleArn"]

    assert len(validation.find_faults("CreateTrainingJob", request)) == 3


def test_an_enumeration_names_near_values() -> None:
    request = make_request()
    request["ResourceConfig"]["InstanceType"] = "ml.m5.largee"

    assert "ml.m5.large" in find_faults(request).split("possible are", 1)[1]


def test_files_stand_where_the_api_wants_s3() -> None:
    assert find_faults(make_request(OutputDataConfig={"S3OutputPath": "file:///tmp/out"})) == ""
    assert find_faults(make_request(OutputDataConfig={"S3OutputPath": "file://relative"})) != ""


@pytest.mark.parametrize("operation", sorted(emulation.TREATMENTS))
def test_every_field_of_the_api_has_a_treatment(operation: str) -> None:
    shape = validation.service_model().operation_model(operation).input_shape

    assert set(shape.members) == {
        path for path in emulation.TREATMENTS[operation] if "." not in path and "[" not in path
    }


@pytest.mark.parametrize("operation", sorted(emulation.TREATMENTS))
def test_every_treated_path_exists_in_the_api(operation: str) -> None:
    top = validation.service_model().operation_model(operation).input_shape
    for path in emulation.TREATMENTS[operation]:
        shape = top
        for part in path.split("."):
            name = part.removesuffix("[]")
            assert name in shape.members, path
            shape = shape.members[name]
            if part.endswith("[]"):
                shape = shape.member


def test_a_refused_field_is_named_with_the_reason() -> None:
    request = make_request()
    request["AlgorithmSpecification"] = {
        "TrainingInputMode": "File",
        "AlgorithmName": "a",
        "TrainingImage": "b",
    }

    with pytest.raises(
        UserError, match="AlgorithmName: refused here: algorithms of the marketplace"
    ):
        emulation.check("CreateTrainingJob", request)


def test_a_field_without_effect_is_named() -> None:
    lines = emulation.list_without_effect(
        "CreateTrainingJob", make_request(Tags=[{"Key": "a", "Value": "b"}])
    )

    assert "Tags has no effect here: tags and cost belong to the account" in lines


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"CompressionType": "Gzip"}, "Gzip needs InputMode Pipe"),  # IN-5
        ({"RecordWrapperType": "RecordIO"}, "RecordIO needs InputMode Pipe"),
    ],
)
def test_a_channel_that_does_not_fit_its_mode_is_refused(
    change: dict[str, str], fault: str
) -> None:
    request = make_request()
    request["InputDataConfig"][0] |= change

    with pytest.raises(UserError, match=fault):
        emulation.check("CreateTrainingJob", request)


def test_spot_needs_a_waiting_time() -> None:
    with pytest.raises(UserError, match="at least MaxRuntimeInSeconds, 86400"):  # SP-1
        emulation.check("CreateTrainingJob", make_request(EnableManagedSpotTraining=True))


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


@pytest.mark.parametrize(
    ("path", "value", "selected"),
    [
        ("$", [1], [1]),
        ("$.a", {"a": 1}, 1),
        ("$['a','b']", {"a": 1, "b": 2}, [1, 2]),
        ("$[0]", [5, 6], 5),
        ("$[1,-1]", [5, 6, 7], [6, 7]),
        ("$[1:]", [5, 6, 7], [6, 7]),
        ("$[:-1]", [5, 6, 7], [5, 6]),
        ("$.*", {"a": 1, "b": 2}, [1, 2]),
        ("$.a[0].b", {"a": [{"b": 3}]}, 3),
        ("$.a[*]", {"a": [1, 2]}, [1, 2]),
    ],
)
def test_a_path_selects(path: str, value: Any, selected: Any) -> None:
    assert json_path.select(value, json_path.parse(path)) == selected  # BT-12


@pytest.mark.parametrize("path", ["a", "$.", "$[", "$[a]", "$..a", "$[?(@.a)]", "$." + "a" * 63])
def test_a_wrong_path_is_refused(path: str) -> None:
    with pytest.raises(UserError):
        json_path.parse(path)


def test_a_path_that_finds_nothing_is_told() -> None:
    with pytest.raises(UserError, match="finds no"):
        json_path.select({"a": 1}, json_path.parse("$.b"))


def test_execution_parameters_are_checked() -> None:
    request = shorthand.transform_request(
        name="t", model_name="m", data="s3://b/x", output="s3://b/o"
    )

    assert choose_settings(request, {}) == Settings(1, "MultiRecord", 6, 600.0, 3)  # BT-3
    asked = choose_settings(
        {**request, "MaxPayloadInMB": 0, "BatchStrategy": "SingleRecord"}, {"MaxPayloadInMB": 9}
    )
    assert (asked.payload_megabytes, asked.strategy) == (0, "SingleRecord")
    for wrong in (
        {"BatchStrategy": "MultiRecord"},
        {"MaxPayloadInMB": "6"},
        {"MaxConcurrentTransforms": 50},
    ):
        with pytest.raises(UserError, match="BT-"):
            choose_settings(request, wrong)


@given(st.lists(st.text("ab,", max_size=9), max_size=30), st.integers(1, 40))
def test_packed_requests_hold_every_byte_once_within_the_limit(
    lines: list[str], limit: int
) -> None:
    request = shorthand.transform_request(
        name="t", model_name="m", data="s3://b/x", output="s3://b/o"
    )
    body = "".join(line + "\n" for line in lines).encode()

    class Tight(Settings):
        payload_bytes = max([limit, *(len(line) + 1 for line in lines)])  # type: ignore[assignment]

    planned = list(plan_requests(request, body, Tight()))

    assert b"".join(plan.body for plan in planned) == body
    assert all(len(plan.body) <= Tight.payload_bytes for plan in planned)  # type: ignore[operator]
    assert [text for plan in planned for text in plan.inputs] == [line.encode() for line in lines]


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("api", {"rate": "0.0001", "flag": "true", "name": "adam", "n": "3"}),
        ("sdk2-json", {"rate": "0.0001", "flag": "true", "name": '"adam"', "n": "3"}),
        ("sdk2-str", {"rate": "0.0001", "flag": "True", "name": "adam", "n": "3"}),
        ("sdk3", {"rate": "0.0001", "flag": "true", "name": "adam", "n": "3"}),
        ("tuner", {"rate": "1.0E-4", "flag": "true", "name": '"adam"', "n": "3"}),
    ],
)
def test_hyperparameters_are_written_as_each_sender_does(
    encoding: str, encoded: dict[str, str]
) -> None:
    values = {"rate": "0.0001", "flag": "true", "name": "adam", "n": "3"}

    assert shorthand.encode_hyperparameters(values, encoding) == encoded  # HP-2, HP-3, HP-6


def test_a_fault_is_read_with_its_moment_and_host() -> None:
    fault = faults.parse("kill@2.5s/algo-2")

    assert (fault.kind, fault.after_s, fault.host) == ("kill", 2.5, "algo-2")
    assert faults.parse("spot@/epoch=3;/").pattern.search("x epoch=3; y")  # type: ignore[union-attr]
    for wrong in ("spot", "explode@1s", "spot@soon", "spot@/(/"):
        with pytest.raises(UserError):
            faults.parse(wrong)


def test_resources_name_every_group_and_host() -> None:
    request = make_request()
    request["ResourceConfig"] = {
        "InstanceGroups": [
            {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1},
            {"InstanceGroupName": "b", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
        ],
        "VolumeSizeInGB": 1,
    }

    document = job_directory.training_documents(request, "algo-3")["resourceconfig.json"]

    assert document["current_group_name"] == "b"  # DS-7
    assert document["current_instance_type"] == "ml.c5.xlarge"
    assert document["hosts"] == ["algo-1", "algo-2", "algo-3"]
    assert [group["hosts"] for group in document["instance_groups"]] == [
        ["algo-1"],
        ["algo-2", "algo-3"],
    ]


def test_the_environment_is_the_platforms() -> None:
    environment = job_directory.training_environment(
        make_request(Environment={"A": "1", "TRAINING_JOB_NAME": "mine"})
    )

    assert environment["A"] == "1"
    assert environment["TRAINING_JOB_NAME"] == "job"  # TF-4
    assert not [name for name in environment if name.startswith("SM_")]
    isolated = job_directory.training_environment(make_request(EnableNetworkIsolation=True))
    assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in isolated  # SEC-1


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
    with pytest.raises(UserError, match="file:///path and s3://bucket/key are possible"):
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
