"""The server's settings, and that the documentation has each of them and each route."""

import re
import subprocess
import sys
from typing import Any

import flask
import pytest

from container.errors import UserError
from container.serving import server_settings
from container.serving.app import create_app
from container.serving.bodies import decoding, encoding
from container.serving.many_models import models
from container.serving.telemetry.metrics import Metrics
from tests.support import ROOT

DOCS = (ROOT / "docs/serving.md").read_text()


def test_defaults_are_those_of_an_endpoint() -> None:
    """HO-1, HO-8, HO-9."""
    found = server_settings.parse({})

    assert (found.port, found.timeout_s, found.payload_bytes) == (8080, 60, 25 * 1024**2)
    assert (found.default_accept, found.batch, found.placeholders) == (
        "application/json",
        False,
        False,
    )


@pytest.mark.parametrize("word", ["true", "True"])
def test_transform_job_has_longer_times_larger_bodies_and_placeholders(word: str) -> None:
    """BT-2, BT-9, BT-10, BT-11."""
    found = server_settings.parse({"SAGEMAKER_BATCH": word})

    assert (found.batch, found.placeholders) == (True, True)
    assert (found.timeout_s, found.payload_bytes) == (3600, 100 * 1024**2)


def test_each_variable_sets_what_its_name_says() -> None:
    found = server_settings.parse(
        {
            "SAGEMAKER_BIND_TO_PORT": "9000",
            "SAGEMAKER_MODEL_SERVER_WORKERS": "3",
            "SAGEMAKER_GUNICORN_WORKERS": "4",
            "SAGEMAKER_GUNICORN_THREADS": "5",
            "SAGEMAKER_GUNICORN_WORKER_CLASS": "gthread",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "7",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1024",
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv",
            "SAGEMAKER_MULTI_MODEL": "true",
            "SAGEMAKER_CONTAINER_LOG_LEVEL": "30",
            "BYO_RUNTIME": "litert_int8",
            "BYO_BATCH_IMAGES": "64",
            "BYO_BATCH_DELAY_MS": "0",
            "BYO_QUEUE_REQUESTS": "8",
            "BYO_BAD_RECORDS": "placeholder",
            "BYO_LOG_FORMAT": "json",
            "BYO_MODEL_PROCESSES": "9",
            "BYO_PRELOAD": "1",
        }
    )

    assert found == server_settings.Settings(
        port=9000,
        workers=3,
        threads=5,
        worker_class="gthread",
        timeout_s=7,
        payload_bytes=1024 * 1024**2,
        default_accept="text/csv",
        multi_model=True,
        log_level="warning",
        runtime="litert_int8",
        batch_images=64,
        batch_delay_ms=0,
        queue_requests=8,
        placeholders=True,
        log_format="json",
        model_processes=9,
        preload=True,
    )


def test_asynchronous_endpoint_may_take_1_gb_and_an_hour() -> None:
    """ASY-1."""
    chosen = server_settings.parse(
        {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "1024", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600"}
    )

    assert (chosen.payload_bytes, chosen.timeout_s) == (2**30, 3600)


def test_payload_0_means_chunks_of_any_length_up_to_the_mode_s_limit() -> None:
    """BT-6."""
    assert (
        server_settings.parse(
            {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}
        ).payload_bytes
        == 100 * 1024**2
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "65536"),
        ("SAGEMAKER_BIND_TO_PORT", "٣"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "1.5"),
        ("SAGEMAKER_GUNICORN_WORKER_CLASS", "gevent"),
        ("SAGEMAKER_GUNICORN_WORKER_CLASS", "asgi"),
        ("SAGEMAKER_GUNICORN_WORKER_CLASS", "sync"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "png"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv,image/png"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv;q=0.5, image/png"),
        ("SAGEMAKER_MULTI_MODEL", "enabled"),
        ("BYO_PRELOAD", "ture"),
        ("BYO_BAD_RECORDS", "ignore"),
        ("BYO_LOG_FORMAT", "xml"),
    ],
)
def test_wrong_value_is_named_with_what_is_possible(name: str, value: str) -> None:
    with pytest.raises(UserError, match=rf"{name}='{value}': expected .* \(default"):
        server_settings.parse({name: value})


@pytest.mark.parametrize(
    ("name", "value", "field", "read"),
    [
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT", "7200", "timeout_s", 7200),
        ("SAGEMAKER_MULTI_MODEL", "yes", "multi_model", True),
        ("BYO_ALLOW_PICKLE", "On", "allow_pickle", True),
        ("SAGEMAKER_BATCH", "False", "batch", False),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "*/*", "default_accept", "application/json"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "Text/CSV ; a=b", "default_accept", "text/csv"),
        ("LOG_LEVEL", "WARN", "log_level", "warning"),
        ("LOG_LEVEL", "FATAL", "log_level", "critical"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "Warn", "log_level", "warning"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "image/png", "default_accept", "image/png"),
        (
            "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT",
            "application/x-ndjson",
            "default_accept",
            "application/jsonlines",
        ),
    ],
)
def test_values_that_people_set_are_taken(name: str, value: str, field: str, read: Any) -> None:
    assert getattr(server_settings.parse({name: value}), field) == read


def test_model_without_handlers_refuses_a_default_accept_that_it_cannot_answer() -> None:
    settings = server_settings.Settings(default_accept="image/png")
    with pytest.raises(UserError, match=r"ACCEPT='image/png'.* text/csv.*output_fn"):
        server_settings.check_default_accept(settings, ("application/json", "text/csv"))


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("", []),
        (
            "--workers=4 -t 90 -k gevent --max-requests 5",
            [
                "SAGEMAKER_MODEL_SERVER_WORKERS in place of --workers",
                "SAGEMAKER_MODEL_SERVER_TIMEOUT in place of -t",
                "SAGEMAKER_GUNICORN_WORKER_CLASS in place of -k",
                "no setting for --max-requests",
            ],
        ),
        ("-w4", ["SAGEMAKER_MODEL_SERVER_WORKERS in place of -w"]),
    ],
)
def test_gunicorns_own_variable_is_answered_by_ours(given: str, parts: list[str]) -> None:
    advice = server_settings.explain_gunicorn({"GUNICORN_CMD_ARGS": given})
    assert bool(advice) == bool(parts)
    assert "\n" not in advice
    for part in parts:
        assert part in advice


def test_every_variable_and_every_route_and_media_type_is_in_the_documentation() -> None:
    source = (ROOT / "container/serving/server_settings.py").read_text()
    variables = set(re.findall(r'"((?:SAGEMAKER|BYO)_[A-Z_]+)"', source)) | {
        "SAGEMAKER_BIND_TO_PORT",
        "SAGEMAKER_BATCH",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB",
        "SAGEMAKER_MULTI_MODEL",
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT",
    }
    app = create_app(
        models.NoModel(),
        models=models.Models(ROOT, lambda *_: models.InProcess(models.NoModel())),
        metrics=Metrics(1, {}),
    )
    routes = {rule.rule.replace("<path:name>", "NAME") for rule in app.url_map.iter_rules()}

    assert isinstance(app, flask.Flask)
    assert len(variables) > 10
    missing = [
        word
        for word in (*variables, *routes, *decoding.SUPPORTED, *encoding.ENCODERS)
        if f"{word}" not in DOCS
    ]
    assert missing == []


def test_settings_are_read_without_loading_a_runtime() -> None:
    program = "from container.serving import server_settings; import sys; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    modules = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert {"ai_edge_litert", "tensorflow", "flask", "gunicorn"}.isdisjoint(modules.split())
