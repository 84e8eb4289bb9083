"""What can be known before anything costs money: role, bucket, quotas, image and driver."""

import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from container.errors import PlatformError, UserError, name_command
from local_test.remote import drivers
from local_test.remote.access import Account, list_all
from local_test.remote.refusals import explaining, find_code, has_code, ignoring, is_missing
from local_test.remote.transfer import images
from local_test.remote.transfer.image_facts import ImageFacts

Verdict = Literal["ok", "unknown", "fault"]
_USAGES: Final = ("training job", "processing job", "transform job", "endpoint")
"""As in the names of quotas: `ml.m5.large for training job usage`."""
_VERDICTS: Final[Mapping[bool | None, Verdict]] = {True: "ok", False: "fault", None: "unknown"}


@dataclass(frozen=True)
class Finding:
    """The verdict on one thing."""

    subject: str
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Plan:
    """What is to run."""

    role: str
    """ARN of the execution role."""
    instance_type: str
    image: str | None = None
    """A local image, or one in ECR."""
    inference_ami: str | None = None
    instance_count: int = 1
    """How many instances are to run at once."""


def run(account: Account, plan: Plan) -> Iterator[Finding]:
    """Yield a finding for each thing; one that cannot be looked at is unknown."""
    yield Finding("credentials", "ok", account.caller)
    for subject, check in {
        "SageMaker": _check_service,
        "role": _check_role,
        "bucket": _check_bucket,
        "quotas": _check_quotas,
        "image": _check_image,
    }.items():
        try:
            yield from check(account, plan)
        except (UserError, PlatformError) as error:
            yield Finding(subject, "unknown", str(error))


def _check_service(account: Account, plan: Plan) -> Iterator[Finding]:
    del plan
    with explaining():
        account.client("sagemaker").list_training_jobs(MaxResults=1)
    yield Finding("SageMaker", "ok", f"it answers in {account.region}")


def _check_role(account: Account, plan: Plan) -> Iterator[Finding]:
    name = plan.role.rpartition("/")[2]
    with explaining(), ignoring(is_missing) as missing:
        found = account.client("iam").get_role(RoleName=name)["Role"]
    if missing:
        text = f"the account has no role {name}; `{name_command('aws role --create')}` creates it"
        yield Finding("role", "fault", text)
        return
    document = found["AssumeRolePolicyDocument"]
    if isinstance(document, str):
        document = json.loads(urllib.parse.unquote(document))
    if "sagemaker.amazonaws.com" in _list_services(document):
        yield Finding("role", "ok", plan.role)
    else:
        text = f"{name} does not trust sagemaker.amazonaws.com; see `{name_command('aws role')}`"
        yield Finding("role", "fault", text)


def _list_services(document: Mapping[str, Any]) -> set[str]:
    """Return the services that a trust policy lets take the role."""
    statements = document.get("Statement", [])
    found: set[str] = set()
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement.get("Effect") == "Allow":
            found |= {services} if isinstance(services, str) else set(services)
    return found


def _check_bucket(account: Account, plan: Plan) -> Iterator[Finding]:
    del plan
    where = {"Bucket": account.bucket, "ExpectedBucketOwner": account.number}
    with explaining(), ignoring(has_code("403", "404")) as refused:
        account.client("s3").head_bucket(**where)
    if not refused:
        yield Finding("bucket", "ok", account.bucket)
    elif find_code(refused[0]) == "404":
        text = f"{account.bucket} is made by the first command that needs it"
        yield Finding("bucket", "ok", text)
    else:
        text = f"{account.bucket} belongs to another account, or may not be listed"
        yield Finding("bucket", "fault", text)


def _check_quotas(account: Account, plan: Plan) -> Iterator[Finding]:
    wanted = [f"{plan.instance_type} for {usage} usage" for usage in _USAGES]
    client = account.client("service-quotas")
    with explaining():
        quotas = list_all(client, "list_service_quotas", ServiceCode="sagemaker")
        values = {quota["QuotaName"]: quota["Value"] for quota in quotas}
    for name in wanted:
        if name not in values:
            yield Finding("quota", "unknown", f"{name}: not listed")
        elif values[name] < plan.instance_count:
            wished = "" if plan.instance_count == 1 else f", and {plan.instance_count} are needed"
            text = f"{name}: {values[name]:g}{wished}; raise it in the console of Service Quotas"
            yield Finding("quota", "fault", text)
        else:
            yield Finding("quota", "ok", f"{name}: {values[name]:g}")


def _check_image(account: Account, plan: Plan) -> Iterator[Finding]:
    if plan.image is None:
        yield Finding("image", "unknown", "name one with --image")
        return
    try:
        facts = _find_facts(account, plan.image, plan.instance_type)
    except UserError as error:
        yield Finding("image", "fault", str(error))
        return
    wanted = images.find_architecture(plan.instance_type)
    if facts.architecture != wanted:
        text = f"it is built for {facts.architecture}, and {plan.instance_type} runs {wanted}"
        yield Finding("image", "fault", text)
    else:
        yield Finding("image", "ok", f"{plan.image} is built for {facts.architecture}")
    yield _judge_driver(plan, facts)


def _find_facts(account: Account, image: str, instance_type: str) -> ImageFacts:
    local = images.check(image, instance_type, images.find_local)
    if local is None:
        return ImageFacts.from_registry(account, image)
    return ImageFacts(local.architecture, local.environment)


def _judge_driver(plan: Plan, facts: ImageFacts) -> Finding:
    ami = plan.inference_ami
    if drivers.has_gpu(plan.instance_type):
        is_enough, text = drivers.judge(facts.environment.get("CUDA_VERSION", ""), ami)
        return Finding("driver", _VERDICTS[is_enough], text)
    if ami in drivers.DRIVERS:
        return Finding("driver", "fault", f"{plan.instance_type} has no GPU; leave out {ami}")
    return Finding("driver", "ok", f"{plan.instance_type} has no GPU")
