"""Each verb of `--on aws`: its request, its policy, and each fault at each request it sends."""

from __future__ import annotations

import itertools
import json
import os
import signal
import tarfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from local_test.remote import access
from local_test.remote.refusals import explaining
from local_test.remote.transfer import images
from local_test.remote.transfer.images import LocalImage
from tests.contract.aws.client import LocalAws
from tests.contract.aws.remote import Fault, Remote, answer, reply
from tests.contract.aws.simulator import Need, leave_out, permits
from tests.support import wait_for

ATTEMPTS: Final = access._ATTEMPTS  # noqa: SLF001 - as often as the client tries
DOCKER: Final = "application/vnd.docker.distribution.manifest.v2+json"
VERBS: Final = ("train", "evaluate", "transform", "serve", "tune")
CREATIONS: Final = {
    "train": ["CreateTrainingJob"],
    "evaluate": ["CreateProcessingJob"],
    "transform": ["CreateModel", "CreateTransformJob"],
    "serve": ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"],
    "tune": ["CreateHyperParameterTuningJob"],
}
SLOW: Final = {
    "train": ["-p", "epoch_s=60"],
    "evaluate": ["-e", "PROCESS_S=60"],
    "transform": ["-e", "START_S=60"],
    "serve": [],
    "tune": ["-p", "epoch_s=60"],
}
"""Makes a job long enough to be found running, if it is left."""
QUICK: Final = {"GetProducts", "HeadObject", "GetObject", ("tune", "DescribeTrainingJob")}
"""What a job does not need, or what is asked once it has ended."""
EXPIRED: Final = answer(400, "ExpiredTokenException", "The security token is expired")
THROTTLED: Final = answer(400, "ThrottlingException", "Rate exceeded")
QUOTA: Final = answer(400, "ResourceLimitExceeded", "The limit is 0")
SKEWED: Final = answer(403, "RequestTimeTooSkewed")
BROKEN: Final = answer(500, "InternalFailure")


def disconnect(request: Any) -> None:
    raise EndpointConnectionError(endpoint_url=request.url)


def reset(request: Any) -> None:
    raise ConnectionClosedError(endpoint_url=request.url)


def interrupt(_: object) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)


FAULTS: Final[dict[str, list[Fault]]] = {
    "throttled": [THROTTLED] * ATTEMPTS,
    "expired": [EXPIRED],
    "quota": [QUOTA],
    "no-network": [disconnect] * ATTEMPTS,
    "reset": [reset] * ATTEMPTS,
    "skewed": [SKEWED],
    "broken": [BROKEN] * ATTEMPTS,
    "interrupted": [interrupt],
}


@dataclass
class Runs:
    """Runs a verb again and again, each time with a name, data and an image of its own."""

    remote: Remote
    verb: str
    directory: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:6])
    name: str = ""
    out: str = ""
    err: str = ""

    def list_arguments(self) -> list[str]:
        """Return the command line of the next run."""
        number = next(self.numbers)
        self.name = f"{self.verb}-{self.mark}-{number}"  # names are taken for ever
        place = self.directory / f"{self.verb}-{number}"
        (place / "data/more").mkdir(parents=True)
        for name in ("a.csv", "more/b.csv"):
            (place / "data" / name).write_text(f"{place}/{name}\n")  # nothing else has this content
        (place / "model.json").write_text(f'{{"hyperparameters": {{}}, "place": "{place}"}}')
        with tarfile.open(place / "model.tar.gz", "w:gz") as tar:
            tar.add(place / "model.json", "model.json")
        data = str(place / "data")
        model = ["--model", str(place / "model.tar.gz")]
        image = ["--image", f"{self.directory.name}-{self.verb}-{number}".lower().replace("_", "-")]
        metric = ["--metric", "score=validation_accuracy=([0-9.]+);", "--maximize", "score"]
        tuning = ["--range", "learning_rate=0.001:0.1:log", "--strategy", "Random"]
        own = {
            "train": ["-c", f"training={data}", "-p", "epochs=2"],
            "evaluate": [*model, "--test", data],
            "transform": [data, *model],
            "serve": [*model, "-e", "COLOR=blue"],
            "tune": ["-c", f"training={data}", *metric, *tuning, "--jobs", "2"],
        }
        return [self.verb, *own[self.verb], *image, "--name", self.name]

    def run(self, faults: dict[str, list[Fault]], arguments: list[str] | None = None) -> int:
        """Run the verb in the account; an endpoint is interrupted once it serves."""
        arguments = arguments or self.list_arguments()
        endings = {"DescribeLogStreams": self._end_endpoint()} if self.verb == "serve" else {}
        self.remote.faults = {"GetProducts": [reply({"PriceList": []})] * 9}
        for operation in faults | endings:
            self.remote.faults[operation] = [
                *faults.get(operation, ()),
                *endings.get(operation, ()),
            ]
        code, self.out, self.err = self.remote.run(*arguments, "--on", "aws", "--yes")
        return code

    def _end_endpoint(self) -> list[Fault]:
        looks: list[object] = []

        def look(request: object) -> None:
            found = self.remote.aws.sagemaker.describe_endpoint(EndpointName=self.name)
            looks.extend([request] * (found["EndpointStatus"] == "InService"))
            if len(looks) == 3:  # it reads the log twice before it says that it serves
                interrupt(request)

        return [look] * 1000

    def list_running(self) -> list[str]:
        """Return what costs money, and what is of no use without it, once all stops are over."""
        sagemaker = self.remote.aws.sagemaker
        where = {"NameContains": self.name}
        wait_for(  # a tuning job stops its training jobs
            lambda: sagemaker.list_hyper_parameter_tuning_jobs(**where, StatusEquals="Stopping"),
            lambda found: not found["HyperParameterTuningJobSummaries"],
        )
        found = [item["EndpointName"] for item in sagemaker.list_endpoints(**where)["Endpoints"]]
        for list_jobs, member in (
            (sagemaker.list_training_jobs, "TrainingJob"),
            (sagemaker.list_processing_jobs, "ProcessingJob"),
            (sagemaker.list_transform_jobs, "TransformJob"),
            (sagemaker.list_hyper_parameter_tuning_jobs, "HyperParameterTuningJob"),
        ):
            jobs = list_jobs(**where, StatusEquals="InProgress")[f"{member}Summaries"]
            found += [job[f"{member}Name"] for job in jobs]
        jobs = sagemaker.list_transform_jobs(**where)["TransformJobSummaries"]
        if not jobs:  # a transform job keeps its model
            found += [item["ModelName"] for item in sagemaker.list_models(**where)["Models"]]
            configs = sagemaker.list_endpoint_configs(**where)["EndpointConfigs"]
            found += [item["EndpointConfigName"] for item in configs]
        return found


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """Start a local AWS without what other tests made: `aws ls` looks at the tags of each job."""
    with LocalAws(tmp_path_factory.mktemp("verbs-aws")).running() as local:
        yield local


@pytest.fixture
def make_runs(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Runs]:
    def push(repository: str, tag: str, _: str) -> None:
        """Store the manifest as an engine does, with the permissions of the caller."""
        with explaining():
            remote.make_client("ecr").put_image(
                repositoryName=repository.partition("/")[2],
                imageTag=tag,
                imageManifest=json.dumps({"schemaVersion": 2, "mediaType": DOCKER, "tag": tag}),
                imageManifestMediaType=DOCKER,
            )

    def find(name: str) -> LocalImage:
        return LocalImage(name, f"sha256:{name.encode().hex():0>64}"[:71], "amd64", push)

    monkeypatch.setattr(images, "find_local", find)
    return lambda verb: Runs(remote, verb, tmp_path)


def read_policy(remote: Remote, command: str) -> dict[str, Any]:
    remote.policy = None
    policy: dict[str, Any] = json.loads(remote.run_well("aws", "role", command))
    return policy


def check_clean(remote: Remote) -> None:
    """Delete everything by the policy for that; nothing may be left."""
    remote.policy = read_policy(remote, "clean")
    remote.faults.clear()
    remote.run_well("aws", "clean", "--yes", "--logs")
    remote.policy = None
    assert remote.run_well("aws", "ls") == ""
    found = remote.aws.s3.list_objects_v2(Bucket=remote.aws.bucket, Prefix="byo/")
    assert found["KeyCount"] == 0
    repositories = remote.aws.client("ecr").describe_repositories()["repositories"]
    assert [item for item in repositories if item["repositoryName"].startswith("test-")] == []
    groups = remote.aws.client("logs").describe_log_groups()["logGroups"]
    for group in (item["logGroupName"] for item in groups):
        streams = remote.aws.client("logs").describe_log_streams(logGroupName=group)
        names = [stream["logStreamName"] for stream in streams["logStreams"]]
        assert not [name for name in names if name.startswith(tuple(f"{v}-" for v in VERBS))]


def blank(node: Any) -> Any:
    """Return a request without what an account changes: places, images, roles and tags."""
    if isinstance(node, dict):
        return {key: blank(value) for key, value in node.items() if key != "Tags"}
    if isinstance(node, list):
        return [blank(item) for item in node]
    if isinstance(node, str) and node.startswith(("file://", "s3://", "arn:")):
        return "URI"
    return "IMAGE" if isinstance(node, str) and ".dkr.ecr." in node else node


@pytest.mark.parametrize("verb", VERBS)
def test_the_request_is_the_printed_one_byte_for_byte(
    make_runs: Callable[[str], Runs], remote: Remote, verb: str
) -> None:
    runs = make_runs(verb)
    arguments = runs.list_arguments()
    local = json.loads(remote.run_well(*arguments, "--print-request"))
    there = [*arguments, "--on", "aws", "--yes"]
    printed = json.loads(remote.run_well(*there, "--print-request"))
    assert not [name for name in remote.sent if name.startswith(("Create", "Put"))]
    assert runs.run({}, arguments) == 0, runs.err
    requests = [printed]
    if verb == "serve":
        requests = [*printed["models"].values(), printed["config"], printed["endpoint"]]
    sent = [remote.sent[operation] for operation in CREATIONS[verb]][-len(requests) :]
    assert sent == [[json.dumps(request).encode()] for request in requests]
    image = arguments[arguments.index("--image") + 1]
    assert json.dumps(blank(printed)) == json.dumps(blank(local)).replace(image, "IMAGE")
    if verb == "transform":
        [model] = map(json.loads, remote.sent["CreateModel"])
        assert model["ModelName"] == printed["ModelName"]
        assert model["Tags"] == printed["Tags"]


def list_scenarios(verb: str) -> list[tuple[int, dict[str, list[Fault]]]]:
    """Return what calls for everything that a verb may do, with the exit code.

    These are success with and without a bucket, failures, and lost answers.
    """
    first, *_, last = [*CREATIONS[verb], CREATIONS[verb][-1]]
    describe = last.replace("Create", "Describe")
    no_bucket = {"HeadBucket": [answer(404, "404")]}
    made = {"CreateBucket": [reply()], "PutBucketTagging": [reply()]}
    return [
        (0, {}),
        (0, no_bucket | made),
        (2, {describe: [EXPIRED]}),
        (2, {last: [QUOTA]}),
        (2, {first: [BROKEN] * ATTEMPTS}),
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_works_with_its_policy_and_fails_without_each_statement(
    make_runs: Callable[[str], Runs], remote: Remote, verb: str
) -> None:
    runs = make_runs(verb)
    policy = read_policy(remote, verb)
    needed: dict[str, dict[str, list[Fault]]] = {}
    for code, scenario in list_scenarios(verb):
        remote.policy = policy
        remote.needs.clear()
        assert runs.run(scenario) == code, runs.err
        assert "may not call" not in runs.err
        assert runs.list_running() == []
        for statement in policy["Statement"]:
            rest = leave_out(policy, statement["Sid"])
            if not all(permits(rest, need) for need in remote.needs):
                needed.setdefault(statement["Sid"], scenario)
    assert needed.keys() == {statement["Sid"] for statement in policy["Statement"]}
    for sid, scenario in needed.items():
        remote.policy = leave_out(policy, sid)
        code = runs.run(scenario)
        said = ("may not call", "may still run", "may exist", "stays")
        if sid == "Price":
            assert code == 0
            said = ("the price is unknown (these credentials may not call GetProducts)",)
        else:
            assert code == 2, f"{sid}: {runs.err}"
        assert any(words in runs.err for words in said), f"{sid}: {runs.err}"
    check_clean(remote)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "step", [9, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_each_fault_at_each_request_ends_with_a_sentence_and_nothing_running(
    make_runs: Callable[[str], Runs], remote: Remote, verb: str, step: int
) -> None:
    """By steps of 9, about every other request has one of the faults."""
    runs = make_runs(verb)
    assert runs.run({}) == 0, runs.err
    places = [
        (operation, kind)
        for operation in remote.sent
        for kind in FAULTS
        if kind != "quota" or operation.startswith("Create")
    ]
    policy = read_policy(remote, verb)
    remote.policy = policy
    for operation, kind in places[VERBS.index(verb) % step :: step]:
        faults = {operation: FAULTS[kind]}
        slow = SLOW[verb] if QUICK.isdisjoint({operation, (verb, operation)}) else []
        code = runs.run(faults, [*runs.list_arguments(), *slow])
        where = f"{kind} at {operation}: {code} {runs.err}"
        if operation.startswith("Delete"):
            assert f"{runs.name} may still run: `python -m local_test aws delete" in where
            remote.policy = None
            remote.run_well("aws", "delete", runs.name, "--yes")
            remote.policy = policy
        assert runs.list_running() == [], where
        if operation == "GetProducts" and kind != "interrupted":
            assert "the price is unknown" in runs.err, where
            continue
        if kind == "interrupted":  # Ctrl-C is how `serve` ends
            assert code in {130, 0 if verb == "serve" else 130}, where
        else:
            assert (code, "error: " in runs.err.splitlines()[-1]) == (2, True), where
    check_clean(remote)


@pytest.mark.parametrize("command", ["ls", "stop", "delete", "clean"])
def test_a_command_about_what_was_made_needs_each_statement_of_its_policy(
    make_runs: Callable[[str], Runs], remote: Remote, command: str
) -> None:
    all_runs = {verb: make_runs(verb) for verb in ("tune", "transform", "serve")}
    policy = read_policy(remote, command)
    for sid in (*(statement["Sid"] for statement in policy["Statement"]), ""):
        runs = all_runs[{"Untag": "transform", "Groups": "serve"}.get(sid, "tune")]
        remote.policy = None
        there = [*runs.list_arguments(), *SLOW[runs.verb], "--detach"]
        assert runs.run({}, there) == 0, runs.err
        remote.policy = leave_out(policy, sid) if sid else policy
        arguments = {"stop": [runs.name], "delete": [runs.name, "--yes", "--logs"]}
        arguments["clean"] = ["--yes", "--logs"]
        code, _, err = remote.run("aws", command, *arguments.get(command, ()))
        assert (code, "may not call" in err) == ((2, True) if sid else (0, False)), f"{sid}: {err}"
    check_clean(remote)


def test_the_role_is_made_once_and_another_role_is_left_alone(
    remote: Remote,
) -> None:
    code, out, err = remote.run("aws", "role", "--create", "--yes", "--bucket", "theirs")
    assert code == 0, err
    assert "made arn:aws:iam::000000000000:role/byo-sagemaker-execution" in err
    document = json.loads(out)
    assert document["trust"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    name = {"RoleName": "byo-sagemaker-execution"}
    role = remote.make_client("iam").get_role(**name)["Role"]
    assert role["AssumeRolePolicyDocument"] == document["trust"]
    stored = remote.make_client("iam").get_role_policy(**name, PolicyName="byo-sagemaker")
    assert stored["PolicyDocument"] == document["role"]
    assert permits(document["role"], Need("s3:GetObject", "arn:aws:s3:::theirs/data/a.csv"))
    assert not permits(document["role"], Need("s3:PutObject", "arn:aws:s3:::theirs/data/a.csv"))

    code, _, err = remote.run("aws", "role", "--create", "--yes")
    assert "updated arn:aws:iam::000000000000:role/byo-sagemaker-execution" in err
    remote.make_client("iam").create_role(RoleName="of-someone-else", AssumeRolePolicyDocument="{}")
    code, _, err = remote.run("aws", "role", "--create", "--yes", "--name", "of-someone-else")
    assert code == 2
    assert "AWS refuses CreateRole (EntityAlreadyExists)" in err
    code, _, err = remote.run("aws", "role", "dance")
    assert "no command 'dance'; choose one of train, evaluate" in err
