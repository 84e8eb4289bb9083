"""Batch transform of the local SageMaker, with a foreign program as the container."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from container.errors import PlatformError
from local_test.data import record_formats
from local_test.jobs.result import JobResult, Listeners
from local_test.jobs.transform import TransformJob
from local_test.requests import shapes, shorthand
from local_test.requests.validation import validate
from local_test.runners.process import ProcessRunner
from tests.support import PROGRAMS, encode_tfrecord


def run_transform(
    directory: Path, objects: dict[str, bytes], program: str = "conformant.py", **options: Any
) -> tuple[JobResult, dict[str, bytes]]:
    """Transform the objects; return the result and each stored object by its name."""
    for name, body in objects.items():
        path = directory / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    extra = options.pop("extra", {})
    model_environment = options.pop("model_environment", None)
    make_runner = options.pop("make_runner", ProcessRunner)
    request = shorthand.transform_request(
        name="job", model_name="m", data=f"{directory}/in", output=f"{directory}/out", **options
    )
    [model] = shorthand.endpoint_requests(
        name="m", image="any", model=None, environment=model_environment
    ).models.values()
    runner = make_runner([sys.executable, str(PROGRAMS / program)])
    result = TransformJob(
        validate("CreateTransformJob", {**request, **extra}),
        validate("CreateModel", model),
        runner,
        directory / "job",
        Listeners(),
    ).run()
    out = directory / "out"
    return result, {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }


def read_log(directory: Path) -> str:
    return (directory / "job/logs/algo-1.log").read_text()


def test_every_object_gets_an_out_object_at_its_place(tmp_path: Path) -> None:
    result, out = run_transform(tmp_path, {"a.csv": b"1,2\n3,4\n", "sub/b.csv": b"5\n"})

    assert result.status == "Completed"
    assert out == {"a.csv.out": b"3\n7\n", "sub/b.csv.out": b"5\n"}  # BT-8
    shape = shapes.service_model().operation_model("DescribeTransformJob").output_shape
    assert set(result.description) <= set(shape.members)


def test_the_containers_execution_parameters_count_unless_the_request_says_else(
    tmp_path: Path,
) -> None:
    run_transform(tmp_path, {"a": b"1\n"}, concurrency=2)

    line = (
        "[sagemaker logs]: MaxConcurrentTransforms=2, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"
    )
    assert line in read_log(tmp_path)  # BT-3


def test_the_container_is_told_what_the_request_says(tmp_path: Path) -> None:
    _, out = run_transform(
        tmp_path,
        {"a": b"x"},
        "echo.py",
        strategy="SingleRecord",
        payload_megabytes=7,
        model_environment={"MINE": "1"},
    )

    told = json.loads(out["a.out"].splitlines()[0])
    assert told["environment"]["SAGEMAKER_BATCH"] == "true"  # BT-2
    assert told["environment"]["SAGEMAKER_BATCH_STRATEGY"] == "SINGLE_RECORD"
    assert told["environment"]["SAGEMAKER_MAX_PAYLOAD_IN_MB"] == "7"
    assert "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS" not in told["environment"]
    assert told["environment"]["MINE"] == "1"


def sent_bodies(directory: Path, body: bytes, **options: Any) -> list[bytes]:
    _, out = run_transform(directory, {"a": body}, "echo.py", assemble_with="Line", **options)
    return [bytes.fromhex(json.loads(line)["body"]) for line in out["a.out"].splitlines()]


def test_single_records_are_sent_one_by_one_and_a_carriage_return_stays(tmp_path: Path) -> None:
    assert sent_bodies(tmp_path, b'1,"a\r\n2,b"\nlast', strategy="SingleRecord") == [
        b'1,"a\r',
        b'2,b"',
        b"last",
    ]  # BT-5


def test_multiple_records_are_packed_up_to_the_payload_limit(tmp_path: Path) -> None:
    row = b"x" * 399_999 + b"\n"

    bodies = sent_bodies(tmp_path, row * 6, strategy="MultiRecord", payload_megabytes=1)

    assert bodies == [row * 2] * 3  # BT-5


def test_without_a_split_the_whole_object_is_sent(tmp_path: Path) -> None:
    assert sent_bodies(tmp_path, b"1\n2\n", split_type="None") == [b"1\n2\n"]


def test_a_payload_of_zero_is_sent_in_chunks(tmp_path: Path) -> None:
    _, out = run_transform(tmp_path, {"a": b"1\n2\n"}, "echo.py", payload_megabytes=0)

    told = json.loads(out["a.out"])
    assert told["headers"]["transfer-encoding"] == "chunked"  # BT-6
    assert "content-length" not in told["headers"]
    assert bytes.fromhex(told["body"]) == b"1\n2\n"


def test_gzip_objects_are_decompressed(tmp_path: Path) -> None:
    _, out = run_transform(tmp_path, {"a.gz": gzip.compress(b"1,2\n")}, compression="Gzip")

    assert out == {"a.gz.out": b"3\n"}  # BT-7


@pytest.mark.parametrize(
    ("split_type", "encode"),
    [("RecordIO", record_formats.encode_recordio), ("TFRecord", encode_tfrecord)],
)
def test_framed_records_lose_their_frame_when_sent_singly_and_keep_it_when_packed(
    tmp_path: Path, split_type: str, encode: Any
) -> None:
    body = encode(b"one") + encode(b"three")

    single = sent_bodies(tmp_path / "single", body, split_type=split_type, strategy="SingleRecord")
    packed = sent_bodies(tmp_path / "packed", body, split_type=split_type, strategy="MultiRecord")

    assert single == [b"one", b"three"]  # BT-5
    assert packed == [body]


def test_a_damaged_object_fails_the_job_and_the_others_are_stored(tmp_path: Path) -> None:
    result, out = run_transform(tmp_path, {"a": b"1,x\n", "b": b"2\n"})

    assert result.status == "Failed"  # BT-9
    assert "a: status 400" in result.failure
    assert out == {"b.out": b"2\n"}


def test_a_record_above_the_limit_fails_its_object(tmp_path: Path) -> None:
    result, out = run_transform(tmp_path, {"a": b"1" * 1_100_000, "b": b"2\n"}, payload_megabytes=1)

    assert result.status == "Failed"
    assert "exceeds MaxPayloadInMB 1" in result.failure
    assert list(out) == ["b.out"]


def test_a_failing_request_is_tried_four_times(tmp_path: Path) -> None:
    result, _ = run_transform(tmp_path, {"a": b"-3\n"})

    assert result.status == "Failed"  # BT-10
    assert "status 500" in result.failure


def test_csv_columns_are_joined_and_filtered(tmp_path: Path) -> None:
    result, out = run_transform(
        tmp_path,
        {"a": b'7,1,2\n"8, b",3,4\n'},
        input_filter="$[1:]",
        is_joined=True,
        output_filter="$[0,-1]",
    )

    assert result.status == "Completed"
    assert out["a.out"] == b'7,3\n"8, b",7\n'  # BT-12


def test_json_objects_are_joined_under_a_key(tmp_path: Path) -> None:
    _, out = run_transform(
        tmp_path,
        {"a": b'{"id": 1, "x": [5]}\n{"id": 2, "x": [6]}\n'},
        "jsonlines.py",
        content_type="application/jsonlines",
        accept="application/jsonlines",
        input_filter="$.x",
        is_joined=True,
        output_filter="$['id','SageMakerOutput']",
    )

    assert [json.loads(line) for line in out["a.out"].splitlines()] == [
        [1, {"got": [5]}],
        [2, {"got": [6]}],
    ]


def test_json_values_that_are_no_objects_are_joined_in_one(tmp_path: Path) -> None:
    _, out = run_transform(
        tmp_path,
        {"a": b"[5]\n"},
        "jsonlines.py",
        content_type="application/jsonlines",
        is_joined=True,
    )

    assert json.loads(out["a.out"]) == {"SageMakerInput": [5], "SageMakerOutput": {"got": [5]}}


def test_an_answer_with_too_few_records_cannot_be_joined(tmp_path: Path) -> None:
    result, out = run_transform(
        tmp_path, {"a": b"1\n2\n"}, "echo.py", is_joined=True, strategy="MultiRecord"
    )

    assert result.status == "Failed"  # BT-9
    assert "sent 2 records, got back 1" in result.failure
    assert out == {}


def test_a_container_without_execution_parameters_gets_the_defaults(tmp_path: Path) -> None:
    run_transform(tmp_path, {"a": b"1\n"}, "echo.py")

    line = (
        "[sagemaker logs]: MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"
    )
    assert line in read_log(tmp_path)


def test_several_instances_share_the_objects(tmp_path: Path) -> None:
    result, out = run_transform(
        tmp_path, {f"{n}": f"{n}\n".encode() for n in range(5)}, instance_count=2
    )

    assert result.status == "Completed"
    assert out == {f"{n}.out": f"{n}\n".encode() for n in range(5)}  # BT-13
    assert "serving" in (tmp_path / "job/logs/algo-2.log").read_text()


def test_a_hundred_thousand_rows_are_complete_in_order_though_the_server_dies_once(
    tmp_path: Path,
) -> None:
    rows, width = 100_000, 60
    body = b"".join(b"%d,%s\n" % (number, b"1," * width + b"1") for number in range(rows))

    result, out = run_transform(
        tmp_path,
        {"a.csv": body},
        "dies_once.py",
        strategy="MultiRecord",
        concurrency=8,
        payload_megabytes=1,
        model_environment={"DIES_AT": str(tmp_path / "died"), "DIES_WITH": "8"},
    )

    assert result.status == "Completed"
    # More than a dozen requests, so that eight are in flight when the server dies.
    assert len(body) > 12 * 1024**2
    assert (tmp_path / "died").read_text() == "8"
    assert read_log(tmp_path).count("the server has ended and is started again") == 1  # HO-12
    assert out == {"a.csv.out": b"".join(b"%d\n" % (number + width + 1) for number in range(rows))}


def test_a_server_that_never_gets_healthy_fails_the_job_with_its_exit_code(tmp_path: Path) -> None:
    result, _ = run_transform(tmp_path, {"a": b"1\n"}, "show.py")

    assert result.status == "Failed"
    assert "ended before it answered a ping" in result.failure


def test_a_server_that_breaks_off_before_the_first_object_fails_the_job(tmp_path: Path) -> None:
    environment = {"UNANSWERED": "/execution-parameters"}
    result, _ = run_transform(tmp_path, {"a": b"1"}, "echo.py", model_environment=environment)

    assert result.status == "Failed"
    assert "GET /execution-parameters was not answered" in result.failure


class LostEngine(ProcessRunner):
    """A runner whose engine is lost."""

    def start(self, *_: Any) -> Any:
        """Fail."""
        raise PlatformError("lost the Docker engine")


def test_a_lost_engine_is_the_machines_fault_and_not_a_job_without_output(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="lost the Docker engine"):
        run_transform(tmp_path, {"a": b"1"}, make_runner=LostEngine)
