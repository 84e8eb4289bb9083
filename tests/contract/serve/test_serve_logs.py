"""The log of a running server under each worker class: what it contains, and what it must not."""

import json
from typing import Any

import pytest

from tests.support import wait_until

ROW = b"0," * 63 + b"255"


def read_lines(server: Any) -> list[dict[str, Any]]:
    """Read the log's complete lines; each must be JSON, except those of LiteRT's own library."""
    lines = server.log.read_text().split("\n")[:-1]
    return [
        json.loads(line) for line in lines if not line.startswith("INFO: Created TensorFlow Lite")
    ]


@pytest.mark.parametrize("name", ["event", "gthread"])
def test_each_request_has_one_line_of_json_at_debug_without_anything_secret(
    serve: Any, name: str
) -> None:
    environ = {
        "SAGEMAKER_GUNICORN_WORKER_CLASS": name,
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "SAGEMAKER_GUNICORN_LOGLEVEL": "debug",
        "BYO_LOG_FORMAT": "json",
    }
    with serve(**environ) as server:

        def list_requests(path: str) -> list[dict[str, Any]]:
            return [
                line
                for line in read_lines(server)
                if line["message"] == "request" and line["path"] == path
            ]

        secret = {"Authorization": "SECRET", "X-Amzn-SageMaker-Custom-Attributes": "SECRET"}
        identified = {
            "X-Amzn-SageMaker-Inference-Id": "i-7",
            "Content-Type": "text/csv; charset=utf-8",
        }
        answer = server.request("POST", "/invocations?SECRET=1", ROW, **identified, **secret)[2]
        refused = server.request(
            "POST", "/invocations", b"SECRET," + ROW, Content_Type="text/csv", **secret
        )[2]
        missing = server.request("GET", "/nothing?SECRET")[2]
        body = b"\n".join([ROW] * 2500)
        streamed = server.request(
            "POST", "/invocations", body, Content_Type="text/csv", Accept="application/jsonlines"
        )

        wait_until(lambda: len(list_requests("/invocations")) == 3)
        good, bad, stream = list_requests("/invocations")
        assert (good["method"], good["status"], good["bytes_in"]) == ("POST", 200, len(ROW))
        assert (good["bytes_out"], good["content_type"]) == (len(answer), "text/csv")
        assert (good["inference_id"], good["answer_type"]) == ("i-7", "application/json")
        assert good["ms"]["total"] >= good["ms"]["request"] >= good["ms"]["predict"] > 0
        assert {"decode", "encode"} < set(good["ms"])
        assert (bad["status"], bad["request_id"]) == (400, json.loads(refused)["request_id"])
        assert (stream["status"], stream["bytes_in"], stream["bytes_out"]) == (
            200,
            len(body),
            len(streamed[2]),
        )
        assert {"total", "decode", "predict", "encode", "request"} == set(stream["ms"])
        (nothing,) = list_requests("/nothing")
        assert (nothing["status"], nothing["request_id"]) == (
            404,
            json.loads(missing)["request_id"],
        )
        (reason,) = [
            line
            for line in read_lines(server)
            if line["message"] == "refused" and line["status"] == 400
        ]
        assert reason["request_id"] == bad["request_id"]
        assert reason["reason"].startswith("row 1")
        assert "SECRET" not in server.log.read_text()


def test_requests_have_no_lines_unless_they_are_asked_for(serve: Any) -> None:
    with serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        assert server.request("POST", "/invocations", ROW, Content_Type="text/csv")[0] == 200

        assert "/invocations" not in server.log.read_text()
