"""The console in a real browser: no errors, fits a phone, usable by keyboard."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import CHROMIUM, Browser
from tests.browser.legibility import find_faults
from tests.contract.aws.client import LocalAws, training_request, wait_for_status
from tests.contract.aws.test_components import make_component
from tests.contract.aws.test_components import make_endpoint as make_shared_endpoint
from tests.contract.aws.test_endpoints import make_config, make_model, wait_until_settled
from tests.contract.aws.walkthrough import install_sdk
from tests.support import wait_for
from tests.unit.local_test.cli.runs.made import make_job

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the browser ring needs chromium on PATH")
LONGEST = "a-name-that-is-as-long-as-the-service-allows-for-models-and-jobs"[:63]
SHOTS = os.environ.get("CONSOLE_SCREENSHOTS")  # a directory in which screenshots are kept


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    jobs = tmp_path_factory.mktemp("jobs")
    make_job(jobs, "learned", parameters={"rate": "0.1"}, log="epoch=1; loss=0.7;\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_TEST_JOBS", str(jobs))
        with LocalAws(tmp_path_factory.mktemp("console-aws")).running() as local:
            furnish(local)
            yield local


def furnish(local: LocalAws) -> None:
    """Create one resource of each kind that the pages show."""
    local.s3.put_object(Bucket=local.bucket, Key="data/a.csv", Body=b"1,2\n")
    make_model(local, "shown")
    make_model(local, LONGEST)
    shadow = {"VariantName": "Shadow", "ModelName": LONGEST}
    shadow |= {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    variant = {"VariantName": "AllTraffic", "ModelName": "shown"}
    make_config(local, "shown", variant, ShadowProductionVariants=[shadow])
    local.sagemaker.create_endpoint(EndpointName="shown", EndpointConfigName="shown")
    make_shared_endpoint(local, "shared")
    for name in ("large", "small"):
        make_component(local, name, "shared", ModelName="shown")
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
    unmeasured = training_request(local, "without-metrics")
    del unmeasured["AlgorithmSpecification"]["MetricDefinitions"]
    local.sagemaker.create_training_job(**unmeasured)
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    local.sagemaker.create_processing_job(
        ProcessingJobName="processed",
        RoleArn=local.role,
        AppSpecification={"ImageUri": local.image},
        ProcessingResources={"ClusterConfig": cluster},
    )
    for name in ("done", "failed"):
        wait_for_status(local, name)
    furnish_pipeline(local, {key: request[key] for key in members})
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


def furnish_pipeline(local: LocalAws, training: dict[str, Any]) -> None:
    """Execute a pipeline that refuses its model."""
    training = {**training, "StoppingCondition": {"MaxRuntimeInSeconds": 600}}
    arn = {"Get": "Steps.learn-the-digits.TrainingJobArn"}
    condition = {"Type": "Equals", "LeftValue": arn, "RightValue": "other"}
    model = {"PrimaryContainer": {"Image": local.image}, "ExecutionRoleArn": local.role}
    gate = {
        "Conditions": [condition],
        "IfSteps": [{"Name": "keep-the-model", "Type": "Model", "Arguments": model}],
        "ElseSteps": [{"Name": "end", "Type": "Fail", "Arguments": {"ErrorMessage": "no good"}}],
    }
    steps = [
        {"Name": "learn-the-digits", "Type": "Training", "Arguments": training},
        {"Name": "learn-again", "Type": "Training", "Arguments": training},
        {
            "Name": "gate",
            "Type": "Condition",
            "Arguments": gate,
            "DependsOn": ["learn-the-digits", "learn-again"],
        },
    ]
    local.sagemaker.create_pipeline(
        PipelineName="gated",
        PipelineDefinition=json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": steps}),
        ClientRequestToken="t" * 32,
        RoleArn=local.role,
    )
    local.sagemaker.start_pipeline_execution(PipelineName="gated", ClientRequestToken="t" * 32)
    wait_for(
        lambda: local.sagemaker.list_pipeline_executions(PipelineName="gated"),
        lambda answer: (
            answer["PipelineExecutionSummaries"][0]["PipelineExecutionStatus"] == "Failed"
        ),
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


PAGES = {
    "overview": ("", "learned"),
    "list": ("/training-job", "validation_accuracy"),
    "job": ("/training-job/done", "epoch=7; validation_accuracy="),
    "failed-job": ("/training-job/failed", "<script>document.title"),
    "tuning": ("/hyper-parameter-tuning-job/tuned", "Leaderboard"),
    "without-metrics": ("/training-job/without-metrics", "has no metric definitions"),
    "processing": ("/processing-job/processed", "Without effect here"),
    "transform": ("/transform-job/transformed", "1 of 1 objects"),
    "endpoint": ("/endpoint/shown", "AllTraffic"),
    "shared-endpoint": ("/endpoint/shared", "Inference components"),
    "components": ("/inference-component", "2 in all"),
    "component": ("/inference-component/small", "shared, variant AllTraffic"),
    "component-playground": ("/playground/shared/small", "has answered no request yet"),
    "playground": ("/playground/shown", "filled from a request that the endpoint answered"),
    "model": ("/model/shown", "ModelDataUrl"),
    "pipeline": ("/pipeline/gated", "learn-the-digits"),
    "runs": ("/run", "learned"),
    "run": ("/run/training/learned", "epoch=1; loss=0.7;"),
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
    assert find_faults(browser) == []
    # Nothing but a request's JSON and the answers of the playground may lie beyond an edge.
    boxes = "[...document.querySelectorAll('.scroll, .log, section')]"
    cut = browser.evaluate(f"{boxes}.filter((box) => box.scrollWidth > box.clientWidth + 1).length")
    assert cut == 0
    links = browser.evaluate("[...document.querySelectorAll('nav a')].map((a) => a.innerText)")
    assert links[:3] == ["Overview", "Endpoints", "Components"]
    rows = "new Set([...document.querySelectorAll('nav a')].map((a) => a.offsetTop)).size"
    assert browser.evaluate(rows) <= 2
    current = browser.evaluate("document.querySelectorAll('nav [aria-current]').length")
    assert current == int(page != "nothing")
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


NAMES = "[...document.querySelectorAll('tbody tr:not([hidden]) a')].map((a) => a.innerText)"


def test_a_table_sorts_by_any_column_and_shows_what_matches(
    aws: LocalAws, browser: Browser
) -> None:
    browser.open(f"{aws.url}/console/hyper-parameter-tuning-job/tuned", 1280)
    rates = (
        "[...document.querySelectorAll('td[data-label=learning_rate]')].map((td) => td.innerText)"
    )
    assert browser.evaluate(rates) == ["0.03", "0.01", "0.1"]  # the best first
    click = "document.querySelector('th:last-child button').click()"
    browser.evaluate(click)
    assert browser.evaluate(rates) == ["0.01", "0.03", "0.1"]
    browser.evaluate(click)
    assert browser.evaluate(rates) == ["0.1", "0.03", "0.01"]
    head = "document.querySelector('th:last-child').ariaSort"
    assert browser.evaluate(head) == "descending"

    browser.open(f"{aws.url}/console/training-job", 390)
    browser.evaluate(
        "const field = document.getElementById('filter'); field.value = 'Completed tuned';"
        "field.dispatchEvent(new Event('input'))"
    )
    names = browser.evaluate(NAMES)
    assert len(names) == 3
    assert all(name.startswith("tuned-") for name in names)
    assert "3 of " in browser.evaluate("document.getElementById('filtered').innerText")
    head = "document.querySelector('th:first-child button')"
    browser.evaluate(f"{head}.focus(); {head}.click()")
    aws.sagemaker.create_training_job(**training_request(aws, "appears-by-itself"))
    browser.wait("document.body.textContent.includes('appears-by-itself')")
    assert browser.evaluate(NAMES) == sorted(names)  # filter and order last
    assert browser.evaluate(f"document.activeElement === {head}")


def choose(browser: Browser, kind: str) -> None:
    browser.wait("document.querySelector('[name=kind]:checked') !== null")
    browser.evaluate(f"document.querySelector('[name=kind][value={kind}]').click()")


def send(browser: Browser, status: int) -> str:
    """Send what is in the form; return what the answer section shows."""
    browser.evaluate("document.querySelector('#playground button[type=submit]').click()")
    browser.wait(f"document.getElementById('response').innerText.startsWith('HTTP {status}')")
    return str(browser.evaluate("document.getElementById('bars').innerText"))


def test_a_digit_drawn_by_keyboard_is_sent_and_its_answer_shown(
    aws: LocalAws, browser: Browser
) -> None:
    browser.open(f"{aws.url}/console/playground/shown", 1280)
    choose(browser, "picture")
    browser.evaluate(
        "document.getElementById('height').value = 8; document.getElementById('width').value = 6;"
        "document.getElementById('canvas').focus()"
    )
    browser.press(" ", release=False)
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        browser.press(key)
    browser.press("Enter")
    browser.wait("document.getElementById('response').innerText.startsWith('HTTP 200')")
    sent = browser.evaluate("document.getElementById('request').innerText")
    assert sent.startswith("POST /endpoints/shown/invocations\nContent-Type: text/csv")
    pixels = [int(value) for value in sent.splitlines()[-1].split(",")]
    assert len(pixels) == 48
    assert max(pixels) > 150
    assert pixels[0] == 0
    assert ",".join(map(str, pixels)) in browser.evaluate(
        "document.getElementById('response').innerText"
    )
    browser.evaluate("document.getElementById('channels').value = 3")
    send(browser, 200)
    sent = browser.evaluate("document.getElementById('request').innerText")
    assert len(sent.splitlines()[-1].split(",")) == 3 * 48
    if SHOTS:
        browser.screenshot(Path(SHOTS, "playground-answered.png"))


@pytest.mark.parametrize("width", [390, 1280])
def test_a_refusal_is_text_and_the_last_requests_come_back_as_code(
    aws: LocalAws, browser: Browser, width: int
) -> None:
    browser.errors.clear()
    browser.open(f"{aws.url}/console/playground/shown", width)
    browser.evaluate("localStorage.clear()")
    choose(browser, "text")
    browser.evaluate("document.getElementById('body').value = 'refuse'")
    answer = send(browser, 424)
    assert answer.split("\n\n") == ["ModelError: the model answered 415", "no such type"]
    assert "{" not in answer
    browser.evaluate("document.getElementById('body').value = `it's \"new\"\\n1,2`")
    assert '"echo": "it' in send(browser, 200)
    browser.open(f"{aws.url}/console/playground/shown", width)
    browser.wait("document.querySelectorAll('#history li').length === 2")
    when = browser.evaluate("document.querySelector('#history .quiet').innerText")
    assert re.fullmatch(r"\d\d:\d\d:\d\d, HTTP 200", when)  # as all other times are
    browser.evaluate("document.querySelector('#history button').click()")
    assert browser.evaluate("document.getElementById('body').value") == 'it\'s "new"\n1,2'
    send(browser, 200)
    for name, word in (("curl", "--aws-sigv4"), ("boto3", "import boto3"), ("sdk", ".invoke(")):
        browser.evaluate(f"document.querySelector('[data-code={name}]').click()")
        browser.wait(f"document.getElementById('code').innerText.includes('{word}')")
    if SHOTS:
        browser.screenshot(Path(SHOTS, f"playground-code-{width}.png"))
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.errors == [] or all("424" in error for error in browser.errors)


BODIES = {
    "quoted": ('it\'s "quoted"\n$HOME \\n ü', "text/plain"),
    "like-a-file": ("@/etc/hostname\n1,2", "text/csv"),
    "long": ("é" * 5000, "application/json"),
    "untyped": ("1,2", ""),
}


@pytest.mark.parametrize(
    ("language", "names"), [("curl", [*BODIES]), ("boto3", [*BODIES]), ("sdk", ["long"])]
)
def test_the_copied_code_sends_the_same_request(
    aws: LocalAws, browser: Browser, tmp_path: Path, language: str, names: list[str]
) -> None:
    interpreter = {
        "curl": "bash",
        "boto3": shlex.quote(sys.executable),
        "sdk": shlex.join([install_sdk("v3"), "-W", "ignore"]),
    }[language]
    script = f"{aws.run('env').stdout}\n{interpreter} code"
    for name in names:
        body, content_type = BODIES[name]
        browser.open(f"{aws.url}/console/playground/shown", 1280)
        choose(browser, "text")
        browser.evaluate(f"document.getElementById('body').value = {json.dumps(body)}")
        browser.evaluate(f"document.getElementById('type').value = '{content_type}'")
        shown = json.loads(send(browser, 200))
        browser.evaluate(f"document.querySelector('[data-code={language}]').click()")
        browser.wait("!document.getElementById('code').hidden")
        code = str(browser.evaluate("document.getElementById('code').textContent"))
        (tmp_path / "code").write_text(code, encoding="utf-8")
        if name == "long":
            file = browser.evaluate("document.getElementById('save').download")
            (tmp_path / file).write_text(body, encoding="utf-8")
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        text = done.stdout if language == "curl" else ast.literal_eval(done.stdout).decode()
        assert json.loads(text) == shown
        assert shown["echo"] == body


def test_the_playground_asks_the_inference_component_that_is_chosen(
    aws: LocalAws, browser: Browser
) -> None:
    browser.open(f"{aws.url}/console/playground/shared", 1280)
    choose(browser, "text")
    browser.evaluate(
        "document.getElementById('component').value = 'small';"
        "document.getElementById('component').dispatchEvent(new Event('change'))"
    )
    browser.wait("location.pathname.endsWith('/playground/shared/small')")
    choose(browser, "text")
    browser.evaluate("document.getElementById('body').value = '1,2'")
    assert '"echo": "1,2"' in send(browser, 200)
    sent = browser.evaluate("document.getElementById('request').innerText")
    assert "X-Amzn-SageMaker-Inference-Component: small" in sent
    browser.evaluate("document.querySelector('[data-code=boto3]').click()")
    browser.wait("!document.getElementById('code').hidden")
    code = browser.evaluate("document.getElementById('code').textContent")
    assert 'InferenceComponentName="small"' in code
    browser.open(f"{aws.url}/console/inference-component/small", 1280)
    assert "Requests\n1\n" in browser.evaluate("document.body.innerText")


def test_an_answer_of_probabilities_becomes_bars(aws: LocalAws, browser: Browser) -> None:
    browser.open(f"{aws.url}/console/playground/shown", 390)
    choose(browser, "picture")
    browser.evaluate("""
        window.answer = '{"predictions": [[0.1, 0.7, 0.2]]}';
        window.fetch = async () => new Response(window.answer,
            { headers: { "Content-Type": "application/json" } });
        document.querySelector("#playground button[type=submit]").click()""")
    browser.wait("document.querySelectorAll('.bar').length === 3")
    names = "[...document.querySelectorAll('.bar b')].map((name) => name.innerText)"
    assert browser.evaluate(names) == ["0", "1", "2"]
    assert browser.evaluate("document.querySelector('.bar.best b').innerText") == "1"
    browser.evaluate("""
        window.answer = '{"outputs": [[0.3, 0.7]], "predictions": [{"index": 1, "label": "dog"}]}';
        document.querySelector("#playground button[type=submit]").click()""")
    browser.wait("document.querySelectorAll('.bar').length === 2")
    assert browser.evaluate(names) == ["0", "dog"]
    if SHOTS:
        browser.screenshot(Path(SHOTS, "playground-bars-390.png"))


def test_another_site_cannot_reach_the_playgrounds_address(aws: LocalAws, browser: Browser) -> None:
    browser.open("data:text/html,<title>elsewhere</title>", 1280)
    answer = browser.evaluate(
        f"fetch('{aws.url}/console/invoke/shown', {{method: 'POST', body: 'x', mode: 'cors', "
        "headers: {'X-Local-Console': '1'}}).then((response) => response.status, () => 'blocked')"
    )
    assert answer == "blocked"
