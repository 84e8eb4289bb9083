"""The console's pages without a browser: routes, escaping, and what the playground may do."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from typing import Any

import pytest

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import (
    COMPONENT,
    ENDPOINT,
    PACKAGE,
    PIPELINE,
    PIPELINE_EXECUTION,
    TRAINING_JOB,
    Kind,
)
from local_test.aws.console import pages
from local_test.aws.console.job_page import read_log
from local_test.aws.protocol.messages import Reply


def ask(account: Account, path: str, method: str = "GET", **headers: str) -> Reply:
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(), **headers}
    return pages.answer(account, environ)


def put(account: Account, kind: Kind[Any], name: str, **members: Any) -> None:
    account.store.insert(kind, name, {kind.name_name: name, "CreationTime": 1.7e9, **members})


@pytest.mark.parametrize(
    ("path", "method", "is_ours"),
    [
        ("/", "GET", True),
        ("/", "POST", False),
        ("/console", "GET", True),
        ("/console/model/m", "GET", True),
        ("/consoles", "GET", False),
        ("/bucket/key", "GET", False),
    ],
)
def test_only_requests_for_its_paths_concern_it(path: str, method: str, *, is_ours: bool) -> None:
    assert pages.concerns({"PATH_INFO": path, "REQUEST_METHOD": method}) == is_ours


def test_a_failure_that_is_too_long_for_a_list_says_so(account: Account) -> None:
    put(account, TRAINING_JOB, "j", TrainingJobStatus="Failed", FailureReason="x" * 161)
    page = ask(account, "/console").body.decode()
    assert re.search(r'data-label="Failure reason">x{160}…<', page)


@pytest.mark.parametrize(
    "path", ["/console/model/nowhere", "/console/no-kind/x", "/console/secret.html", "/console/x"]
)
def test_what_does_not_exist_is_not_found(account: Account, path: str) -> None:
    reply = ask(account, path)
    assert reply.status == 404
    assert f"{path} does not exist." in reply.body.decode()


def test_pages_only_read(account: Account) -> None:
    assert ask(account, "/console", "DELETE").status == 405
    page = ask(account, "/console").body.decode()
    token = re.search(r'<meta name="session" content="([^"]{32})">', page)
    assert token is not None
    for wrong in ("", "1", "ü", token[1][:-1]):
        refused = ask(account, "/console/invoke/e", "POST", HTTP_X_LOCAL_CONSOLE=wrong)
        assert refused.status == 403
        assert token[1] == account.session
    reply = ask(account, "/console/invoke/e", "POST", HTTP_X_LOCAL_CONSOLE=token[1])
    assert (reply.status, reply.body) == (404, b"endpoint e is not in service\n")


def test_a_job_shows_its_failure_and_its_log_as_text(account: Account) -> None:
    members = {
        "TrainingJobArn": "arn",
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "FailureReason": "<script>alert(1)</script>",
        "_request": {"HyperParameters": {"a": "<b>", "api_token": "hunter2"}},
    }
    put(account, TRAINING_JOB, "j", **members)
    account.logs.append("/aws/sagemaker/TrainingJobs", "j/algo-1-0", "<i>line</i>")
    text = ask(account, "/console/training-job/j").body.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "&lt;i&gt;line" in text
    assert "&lt;b&gt;" in text
    assert "api_token" in text
    assert "hunter2" not in text
    overview = ask(account, "/console").body.decode()
    assert '<a href="/console/training-job/j">j</a>' in overview


def test_a_pipeline_shows_no_values_with_secret_names(account: Account) -> None:
    arguments = {"HyperParameters": {"api_token": "hunter2"}, "lr": "0.5"}
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "ApiToken", "Type": "String", "DefaultValue": "hunter2"}],
        "Steps": [{"Name": "learn", "Type": "Training", "Arguments": arguments}],
    }
    text = json.dumps(definition)
    put(account, PIPELINE, "p", PipelineDefinition=text)
    execution = {"PipelineName": "p", "_definition": text, "_steps": {}}
    put(account, PIPELINE_EXECUTION, "r", _given={"ApiToken": "hunter2"}, _name="r", **execution)
    for path in ("pipeline/p", "pipeline-execution/r"):
        page = ask(account, f"/console/{path}").body.decode()
        assert "0.5" in page
        assert "***" in page
        assert "hunter2" not in page


def test_a_versioned_package_has_a_page(account: Account) -> None:
    put(account, PACKAGE, "g/1", ModelApprovalStatus="Approved", _name="g/1")
    assert 'href="/console/model-package/g%2F1"' in ask(account, "/console").body.decode()
    assert "Approved" in ask(account, "/console/model-package/g/1").body.decode()


@pytest.mark.parametrize(("mode", "shown"), [("Serial", "a → b"), ("Direct", "a, b")])
def test_an_endpoint_shows_the_containers_and_the_shadow_of_a_variant(
    account: Account, mode: str, shown: str
) -> None:
    containers = [{"Image": "i", "ContainerHostname": name} for name in "ab"]
    model = {"Containers": containers, "InferenceExecutionConfig": {"Mode": mode}}
    config = {
        "ProductionVariants": [{"VariantName": "now", "ModelName": "m"}],
        "ShadowProductionVariants": [{"VariantName": "candidate", "ModelName": "m"}],
    }
    requests = {"config": config, "models": {"m": model}}
    members = {"EndpointArn": "arn", "EndpointStatus": "InService", "EndpointConfigName": "c"}
    put(account, ENDPOINT, "e", _requests=requests, **members)
    table = re.findall(r"<tr><td>.*", ask(account, "/console/endpoint/e").body.decode())
    assert [re.findall(r"<td>(\w+)</td>", row)[0] for row in table] == ["now", "candidate"]
    assert all(f"<br>{shown}</td>" in row for row in table)


@pytest.mark.parametrize(
    ("status", "asynchronous", "is_offered"),
    [
        ("InService", False, True),
        ("Updating", False, True),
        ("Failed", False, False),
        ("Creating", False, False),
        ("InService", True, False),
    ],
)
def test_an_endpoint_offers_the_playground_while_it_answers(
    account: Account, status: str, asynchronous: bool, is_offered: bool
) -> None:
    output = {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/out"}}}
    config = {"ProductionVariants": [{"VariantName": "v"}], **(output if asynchronous else {})}
    members = {"EndpointArn": "arn", "EndpointStatus": status, "EndpointConfigName": "c"}
    put(account, ENDPOINT, "e", _requests={"config": config, "models": {}}, **members)
    page = ask(account, "/console/endpoint/e").body.decode()
    assert ('href="/console/playground/e"' in page) == is_offered


def test_the_summary_names_what_runs(account: Account) -> None:
    put(account, TRAINING_JOB, "runs", TrainingJobStatus="InProgress")
    put(account, TRAINING_JOB, "ended", TrainingJobStatus="Stopped")
    summary = json.loads(ask(account, "/console/status.json").body)
    assert summary["jobs"] == ["runs"]
    assert (summary["account"], summary["endpoints"]) == ("000000000000", {})


def test_a_long_log_shows_its_end_and_counts_the_rest(account: Account) -> None:
    for number in range(500):
        account.logs.append("/g", "s/algo-1-0", f"line {number}")
    tail = read_log(account, "/g", "s/")
    assert [text for _, _, text in tail.lines] == [f"line {n}" for n in range(100, 500)]
    assert {host for _, host, _ in tail.lines} == {"algo-1"}
    assert tail.skipped == 100


def test_an_endpoint_shows_its_inference_components(account: Account) -> None:
    config = {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "v"}]}
    requests = {"config": config, "models": {}}
    put(
        account,
        ENDPOINT,
        "e",
        EndpointArn="arn",
        EndpointStatus="InService",
        EndpointConfigName="c",
        _requests=requests,
    )
    put(
        account,
        COMPONENT,
        "small",
        InferenceComponentArn="arn:small",
        InferenceComponentStatus="Updating",
        EndpointName="e",
        VariantName="v",
        _requests={"specification": {}, "model": {}, "copies": 3},
        _without_effect=["DataCacheConfig has no effect here"],
    )
    account.component_meter("small").count("v", 200, 0.1, 0.2)
    page = ask(account, "/console/endpoint/e").body.decode()
    assert '<a href="/console/inference-component/small">small</a>' in page
    assert '<td class="number" data-label="Copies">3</td>' in page
    assert '<td class="number" data-label="Requests">1</td>' in page
    page = ask(account, "/console/inference-component/small").body.decode()
    assert "e, variant v" in page
    assert "DataCacheConfig has no effect here" in page
    assert "/console/inference-component/small" in ask(account, "/console").body.decode()
    account.component_meter("small").keep("text/x", "", b"1")
    for path in ("/console/playground/e", "/console/playground/e/small"):
        page = ask(account, path).body.decode()
        assert "<option selected>small</option>" in page
        assert '<option value="text/x">' in page
    assert ask(account, "/console/playground/e/other").status == 404


def test_each_page_links_to_each_list_and_marks_its_own(account: Account) -> None:
    times = {"TrainingStartTime": 1.7e9 + 10, "TrainingEndTime": 1.7e9 + 35.5}
    for number in range(20):
        put(account, TRAINING_JOB, f"j{number}", TrainingJobStatus="Completed", **times)
    overview = ask(account, "/console").body.decode()
    assert overview.count('href="/console/training-job/j') == 12
    assert "the newest 12 of" in overview
    page = ask(account, "/console/training-job").body.decode()
    assert page.count('href="/console/training-job/j') == 20
    assert page.count(">25.5 s</td>") == 20
    for path in ("", "/training-job", "/nowhere"):
        text = ask(account, f"/console{path}").body.decode()
        links = re.findall('<a href="(/console[a-z/-]*)"( aria-current="page")?>', text)
        assert "/console/endpoint" in dict(links)
        assert "/console/hyper-parameter-tuning-job" in dict(links)
        assert "/console/inference-component" in dict(links)
        current = [link for link, mark in links if mark]
        assert current == ([] if path == "/nowhere" else [f"/console{path}"])


def test_the_scripts_of_the_playground_are_served(account: Account) -> None:
    page = ask(account, "/console/script.js")
    assert page.status == 200
    put(account, ENDPOINT, "e", _requests={"config": {}, "models": {}})
    html = ask(account, "/console/playground/e").body.decode()
    form = re.search(r'data-form="([^"]*)"', html)
    assert form is not None
    assert json.loads(unescape(form[1]))["endpoint"] == "e"
    scripts = ["playground.js"]
    for name in scripts:
        reply = ask(account, f"/console/{name}")
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/javascript")
        scripts += re.findall(r'from "\./(\w+\.js)"', reply.body.decode())
    assert sorted(scripts) == ["answers.js", "drawing.js", "playground.js", "snippets.js"]


STEPS = [
    {"Name": "train", "Type": "Training", "Arguments": {}},
    {"Name": "test", "Type": "Processing", "Arguments": {"A": {"Get": "Steps.train.X"}}},
    {
        "Name": "gate",
        "Type": "Condition",
        "DependsOn": ["train", "test"],
        "Arguments": {
            "Conditions": [],
            "IfSteps": [{"Name": "model", "Type": "Model", "Arguments": {}}],
            "ElseSteps": [{"Name": "end", "Type": "Fail", "Arguments": {"ErrorMessage": "<b>"}}],
        },
    },
]


def test_a_pipeline_shows_the_graph_of_its_execution(account: Account) -> None:
    text = json.dumps({"Version": "2020-12-01", "Steps": STEPS})
    put(account, PIPELINE, "p", PipelineDefinition=text)
    assert "Not executed yet." in ask(account, "/console/pipeline/p").body.decode()
    arn = {"TrainingJob": {"Arn": "arn:aws:sagemaker:us-east-1:1:training-job/a-job"}}
    train = {"StepStatus": "Succeeded", "Metadata": arn, "_job": "A-job", "StartTime": 1.7e9}
    end = {"StepStatus": "Failed", "FailureReason": "<b>not good"}
    for number, status in enumerate(("Succeeded", "Failed")):
        members: dict[str, Any] = {"PipelineName": "p", "PipelineExecutionStatus": status}
        members |= {"_name": f"run{number}", "_definition": text, "_given": {"Epochs": "3"}}
        members["_steps"] = {"train": train, "end": end} if number else {"train": train}
        members["CreationTime"] = 1.7e9 + number
        account.store.insert(PIPELINE_EXECUTION, f"run{number}", members)
    page = ask(account, "/console/pipeline/p").body.decode()
    dots = re.findall(r'<path class="dot (\w*)"', page)
    assert dots == ["succeeded", "", "", "", "failed"]
    # Which step follows which, without what follows from other edges.
    ends = [int(y) for y in re.findall(r'<path d="M52 \d+C[^"]* 52 (\d+)"', page)]
    assert ends == [3, 5, 7, 9]
    assert '<a href="/console/training-job/A-job">train</a>' in page
    assert "&lt;b&gt;not good" in page
    assert "execution run1" in page
    assert "execution run0" in ask(account, "/console/pipeline-execution/run0").body.decode()
    assert ask(account, "/console/pipeline-execution/other").status == 404
    assert 'href="/console/pipeline/p"' in ask(account, "/console/pipeline").body.decode()
