"""The console in a real browser: no errors, fits a phone, usable by keyboard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import CHROMIUM, Browser
from tests.contract.aws.client import LocalAws, training_request, wait_for_status
from tests.contract.aws.test_endpoints import make_config, make_model, wait_until_settled
from tests.support import wait_for

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the browser ring needs chromium on PATH")
SHOTS = os.environ.get("CONSOLE_SCREENSHOTS")  # a directory in which screenshots are kept


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("console-aws")).running() as local:
        furnish(local)
        yield local


def furnish(local: LocalAws) -> None:
    """Create one resource of each kind that the pages show."""
    local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
    make_model(local, "shown")
    make_config(local, "shown", {"VariantName": "AllTraffic", "ModelName": "shown"})
    local.sagemaker.create_endpoint(EndpointName="shown", EndpointConfigName="shown")
    local.sagemaker.create_training_job(
        **training_request(local, "done", HyperParameters={"epochs": "8"})
    )
    hostile = {"failure": "<script>document.title = 'taken over'</script> " + "long " * 60}
    local.sagemaker.create_training_job(
        **training_request(local, "failed", HyperParameters=hostile)
    )
    request = training_request(local, "of-tuning")
    members = (
        "AlgorithmSpecification",
        "RoleArn",
        "InputDataConfig",
        "OutputDataConfig",
        "ResourceConfig",
    )
    local.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tuned",
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize",
                "MetricName": "validation_accuracy",
            },
            "ResourceLimits": {"MaxParallelTrainingJobs": 3},
            "ParameterRanges": {
                "CategoricalParameterRanges": [
                    {"Name": "learning_rate", "Values": ["0.1", "0.03", "0.01"]}
                ]
            },
        },
        TrainingJobDefinition={
            **{key: request[key] for key in members},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            "StaticHyperParameters": {"epochs": "3"},
        },
    )
    for name in ("done", "failed"):
        wait_for_status(local, name)
    wait_until_settled(local, "shown")
    wait_for(
        lambda: local.sagemaker.describe_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="tuned"
        ),
        lambda answer: answer["HyperParameterTuningJobStatus"] == "Completed",
    )
    local.sagemaker.create_transform_job(
        TransformJobName="transformed",
        ModelName="shown",
        TransformInput={
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{local.bucket}/data/"}
            },
            "ContentType": "text/plain",
        },
        TransformOutput={"S3OutputPath": f"s3://{local.bucket}/transformed"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    wait_for(
        lambda: local.sagemaker.describe_transform_job(TransformJobName="transformed"),
        lambda answer: answer["TransformJobStatus"] == "Completed",
    )
    local.runtime.invoke_endpoint(EndpointName="shown", Body=b"hello")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


PAGES = {
    "overview": ("", "Training jobs"),
    "job": ("/training-job/done", "epoch=7; validation_accuracy="),
    "failed-job": ("/training-job/failed", "<script>document.title"),
    "tuning": ("/hyper-parameter-tuning-job/tuned", "Leaderboard"),
    "transform": ("/transform-job/transformed", "1 of 1 objects"),
    "endpoint": ("/endpoint/shown", "AllTraffic"),
    "playground": ("/playground/shown", "Draw something"),
    "model": ("/model/shown", "ModelDataUrl"),
    "nothing": ("/training-job/nowhere", "does not exist"),
}


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_its_matter_and_is_no_wider_than_its_window(
    aws: LocalAws, browser: Browser, page: str, width: int
) -> None:
    path, text = PAGES[page]
    browser.errors.clear()
    browser.open(f"{aws.url}/console{path}", width)
    if SHOTS:
        browser.screenshot(Path(SHOTS, f"{page}-{width}.png"))
    assert text in browser.evaluate("document.body.innerText")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing but a request's JSON and the answers of the playground may lie beyond an edge.
    boxes = "[...document.querySelectorAll('.scroll, .log, section')]"
    cut = browser.evaluate(f"{boxes}.filter((box) => box.scrollWidth > box.clientWidth + 1).length")
    assert cut == 0
    assert "taken over" not in browser.evaluate("document.title")
    assert [error for error in browser.errors if "404" not in error] == []


def test_a_running_job_shows_new_lines_without_a_reload(aws: LocalAws, browser: Browser) -> None:
    parameters = {"epochs": "1000", "epoch_s": "0.2"}
    aws.sagemaker.create_training_job(
        **training_request(aws, "running", HyperParameters=parameters)
    )
    wait_for_status(aws, "running", secondary="Training")
    browser.open(f"{aws.url}/console/training-job/running", 1280)
    browser.wait("document.body.innerText.includes('epoch=3;')")
    aws.sagemaker.stop_training_job(TrainingJobName="running")
    browser.wait("document.querySelector('.status').innerText.includes('Stopped')")
    assert browser.evaluate("document.querySelectorAll('polyline').length") == 1


def test_a_digit_drawn_by_keyboard_is_sent_and_its_answer_shown(
    aws: LocalAws, browser: Browser
) -> None:
    browser.open(f"{aws.url}/console/playground/shown", 1280)
    browser.evaluate(
        "document.getElementById('side').value = 8; document.getElementById('canvas').focus()"
    )
    browser.press(" ", release=False)
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        browser.press(key)
    browser.press("Enter")
    browser.wait("document.getElementById('response').innerText.startsWith('HTTP 200')")
    sent = browser.evaluate("document.getElementById('request').innerText")
    assert sent.startswith("POST /endpoints/shown/invocations\nContent-Type: text/csv")
    pixels = [int(value) for value in sent.splitlines()[-1].split(",")]
    assert len(pixels) == 64
    assert max(pixels) > 200
    assert pixels[0] == 0
    assert ",".join(map(str, pixels)) in browser.evaluate(
        "document.getElementById('response').innerText"
    )
    if SHOTS:
        browser.screenshot(Path(SHOTS, "playground-answered.png"))


def test_an_answer_of_probabilities_becomes_bars(aws: LocalAws, browser: Browser) -> None:
    browser.open(f"{aws.url}/console/playground/shown", 390)
    browser.evaluate("""
        window.fetch = async () => new Response('{"predictions": [[0.1, 0.7, 0.2]]}',
            { headers: { "Content-Type": "application/json" } });
        document.querySelector("#playground button[type=submit]").click()""")
    browser.wait("document.querySelectorAll('.bar').length === 3")
    assert browser.evaluate("document.querySelector('.bar.best b').innerText") == "1"
    if SHOTS:
        browser.screenshot(Path(SHOTS, "playground-bars-390.png"))


def test_another_site_cannot_reach_the_playgrounds_address(aws: LocalAws, browser: Browser) -> None:
    browser.open("data:text/html,<title>elsewhere</title>", 1280)
    answer = browser.evaluate(
        f"fetch('{aws.url}/console/invoke/shown', {{method: 'POST', body: 'x', mode: 'cors', "
        "headers: {'X-Local-Console': '1'}}).then((response) => response.status, () => 'blocked')"
    )
    assert answer == "blocked"
