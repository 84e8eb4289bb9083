"""The operations of endpoints."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT, ENDPOINT_CONFIG, MODEL
from local_test.aws.account.records import Endpoint, Request, ServedRequests
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject
from local_test.aws.sagemaker import live_endpoints, model_operations
from local_test.aws.sagemaker.hosting import component_operations
from local_test.requests import validation, variant_rules
from local_test.requests.deployments import deployment_rules

_IN_PROGRESS: Final = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_VARIANT_LISTS: Final = ("ProductionVariants", "ShadowProductionVariants")
_SIZES: Final = {
    "DesiredInstanceCount": "InitialInstanceCount",
    "DesiredWeight": "InitialVariantWeight",
}
"""The members of a configuration that set what UpdateEndpoint and its relatives call otherwise."""


def create_endpoint(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateEndpoint; the endpoint starts in the background."""
    valid = validation.admit("CreateEndpoint", request)
    requests = _gather(account, request["EndpointConfigName"])
    _check_quota(account, request["EndpointName"], requests)
    extra = {"EndpointStatus": "Creating", "_requests": requests}
    if "DeploymentConfig" in request:  # UpdateEndpoint may reuse it
        extra["LastDeploymentConfig"] = request["DeploymentConfig"]
    answer = model_operations.insert(account, ENDPOINT, valid, extra)
    live_endpoints.start(account, request["EndpointName"])
    return answer


def _check_quota(account: Account, name: str, requests: ServedRequests) -> None:
    """Refuse more instances than the account may have, with those of all other endpoints.

    Raises: AwsError ResourceLimitExceeded.
    """
    used = sum(
        _count_instances(record.get("_next_requests") or record["_requests"])
        for record in account.store.list(ENDPOINT)
        if record["EndpointName"] != name and record["EndpointStatus"] != "Failed"
    )
    usage = "Total number of instances for endpoint usage"
    account.check_quota(usage, used, _count_instances(requests))


def _count_instances(requests: ServedRequests) -> int:
    variants = variant_rules.list_variants(requests["config"])
    return sum(
        variant.get("InitialInstanceCount", 1)
        for variant in variants
        if "ServerlessConfig" not in variant
    )


def _gather(account: Account, config_name: str) -> ServedRequests:
    """Return the requests that an endpoint of a configuration runs."""
    config = model_operations.find(account, ENDPOINT_CONFIG, config_name)["_request"]
    variants = variant_rules.list_variants(config)
    names = [variant["ModelName"] for variant in variants if "ModelName" in variant]
    models = {name: model_operations.find(account, MODEL, name)["_request"] for name in names}
    return {"config": config, "models": models}


def describe_endpoint(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeEndpoint."""
    name = request["EndpointName"]
    record = model_operations.find(account, ENDPOINT, name)
    described: dict[str, Any] = dict(record)
    live = live_endpoints.find_live(account, name)
    if live is not None:
        running = live.deployment.describe()
        _show_variants(account, running, described, record, record["_requests"])
        pending = live.deployment.describe_pending()
        next_requests = record.get("_next_requests")
        if pending is not None and next_requests:
            _show_variants(account, pending, pending, record, next_requests)
            described["PendingDeploymentSummary"] = pending
    config = record["_requests"]["config"]
    described["AsyncInferenceConfig"] = config.get("AsyncInferenceConfig")
    if "DataCaptureConfig" in config:
        described["DataCaptureConfig"] = _describe_capture(config["DataCaptureConfig"])
    return messages.pick(messages.output_shape("DescribeEndpoint"), described)


def _show_variants(
    account: Account,
    found: Mapping[str, Any],
    shown: dict[str, Any],
    record: Endpoint,
    requests: ServedRequests,
) -> None:
    """Enter the lists of variants that were found in what is shown, with their images."""
    images = live_endpoints.list_images(requests)
    variants = variant_rules.list_variants(requests["config"])
    configs = {item["VariantName"]: item for item in variants}
    for member in _VARIANT_LISTS:
        if member in found:
            shown[member] = [
                {
                    **_describe_variant(variant, images.get(variant["VariantName"]), record),
                    **component_operations.describe_instances(
                        account, record["EndpointName"], configs.get(variant["VariantName"], {})
                    ),
                }
                for variant in found[member]
            ]


def _describe_variant(
    variant: Mapping[str, Any], image: str | None, record: Endpoint
) -> dict[str, Any]:
    weighted = {"DesiredWeight": variant["CurrentWeight"], **variant}
    if image is None:
        return weighted
    deployed = {
        "SpecifiedImage": image,
        "ResolvedImage": image,
        "ResolutionTime": record.get("LastModifiedTime"),
    }
    return {**weighted, "DeployedImages": [deployed]}


def _describe_capture(capture: Mapping[str, Any]) -> dict[str, Any]:
    is_on = capture.get("EnableCapture", True)
    return {
        "EnableCapture": is_on,
        "CaptureStatus": "Started" if is_on else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }


def update_endpoint(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateEndpoint: the new version takes over once it is healthy, or step by step."""
    valid = validation.admit("UpdateEndpoint", request)
    name = request["EndpointName"]
    record = model_operations.find(account, ENDPOINT, name)
    requests = _gather(account, request["EndpointConfigName"])
    component_operations.check_update(account, name, requests["config"])
    if request.get("RetainAllVariantProperties"):
        exclusions = request.get("ExcludeRetainedVariantProperties", ())
        excluded = {_SIZES.get(item["VariantPropertyType"]) for item in exclusions}
        _retain(record["_requests"]["config"], requests["config"], set(_SIZES.values()) - excluded)
        _check_counts(requests["config"])
    deployment = request.get("DeploymentConfig", {})
    if request.get("RetainDeploymentConfig"):
        deployment = record.get("LastDeploymentConfig", {})
    _check_deployment(account, deployment, record, requests)
    return _begin_change(account, name, requests, valid.notes, deployment)


def _check_deployment(
    account: Account, deployment: Request, record: Endpoint, requests: ServedRequests
) -> None:
    """Refuse a DeploymentConfig that does not fit the endpoint, or whose alarms cannot be watched.

    Raises: AwsError.
    """
    faults = deployment_rules.find_conflicts(
        deployment, record["_requests"]["config"], requests["config"]
    )
    alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", ())
    faults += account.alarms.find_faults([alarm["AlarmName"] for alarm in alarms])
    if deployment and record["EndpointStatus"] == "UpdateRollbackFailed":
        faults.append(
            "DeploymentConfig: the endpoint is in status UpdateRollbackFailed; leave it out, so "
            "that all traffic is shifted at once, or delete the endpoint"
        )
    if faults:
        reject("; ".join(faults))


def _retain(old: Request, new: Request, members: set[str]) -> None:
    """Carry the current sizes of variants over to a new configuration."""
    before = {variant["VariantName"]: variant for variant in old["ProductionVariants"]}
    for variant in new["ProductionVariants"]:
        kept = before.get(variant["VariantName"], {})
        if "ServerlessConfig" not in variant:
            variant.update({key: kept[key] for key in members if key in kept})


def _check_counts(config: Request) -> None:
    """Refuse variants of a synchronous endpoint without an instance. Raises: AwsError."""
    for variant in config["ProductionVariants"]:
        if variant.get("InitialInstanceCount") == 0 and "AsyncInferenceConfig" not in config:
            reject(
                f"Variant {variant['VariantName']} of a synchronous endpoint needs at least one "
                "instance."
            )


def update_weights_and_capacities(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateEndpointWeightsAndCapacities."""
    name = request["EndpointName"]
    record = model_operations.find(account, ENDPOINT, name)
    if record["EndpointStatus"] == "UpdateRollbackFailed":
        reject(f'Cannot update endpoint "{record["EndpointArn"]}" in status UpdateRollbackFailed.')
    requests = record["_requests"]
    config = requests["config"]
    variants = {variant["VariantName"]: variant for variant in config["ProductionVariants"]}
    for desired in request["DesiredWeightsAndCapacities"]:
        variant = desired["VariantName"]
        if variant not in variants:
            reject(
                f'The variant name(s) "{variant}" is/are not present within endpoint configuration '
                f'"{config["EndpointConfigName"]}".'
            )
        _resize(variants[variant], desired)
    _check_counts(config)
    if faults := variant_rules.find_faults(config):
        reject("; ".join(faults))
    return _begin_change(account, name, requests)


def _resize(variant: Request, desired: Mapping[str, Any]) -> None:
    """Enter what is desired in a variant's configuration."""
    is_serverless = "ServerlessConfig" in variant
    if "ServerlessUpdateConfig" in desired:
        if not is_serverless:
            reject(f"Variant {variant['VariantName']} is not serverless.")
        variant["ServerlessConfig"] = {
            **variant["ServerlessConfig"],
            **desired["ServerlessUpdateConfig"],
        }
    if is_serverless and "DesiredInstanceCount" in desired:
        reject(f"Variant {variant['VariantName']} is serverless; use ServerlessUpdateConfig.")
    variant.update({member: desired[key] for key, member in _SIZES.items() if key in desired})


def _begin_change(
    account: Account,
    name: str,
    requests: ServedRequests,
    notes: Sequence[str] = (),
    deployment: Request | None = None,
) -> dict[str, Any]:
    """Write a change down, then make it; after a crash it is made again, if it has no guards.

    `notes` are about members of the request without effect; `deployment` is a DeploymentConfig.
    """
    _check_quota(account, name, requests)

    def change(record: Endpoint) -> None:
        _refuse_busy(record)
        if record["EndpointStatus"] == "Failed":
            reject(f'Cannot update endpoint "{record["EndpointArn"]}" in status Failed; delete it.')
        record["EndpointStatus"] = "Updating"
        record["_next_requests"] = requests
        if deployment:
            record["_deployment"] = deployment
            record["LastDeploymentConfig"] = deployment
        known = record.get("_without_effect", [])
        record["_without_effect"] = [*known, *(note for note in notes if note not in known)]
        record["FailureReason"] = None

    record = account.store.edit(ENDPOINT, name, change)
    live_endpoints.start_change(account, name)
    return {"EndpointArn": record["EndpointArn"]}


def _refuse_busy(record: Endpoint) -> None:
    if record["EndpointStatus"] in _IN_PROGRESS:
        reject(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')


def delete_endpoint(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteEndpoint; the servers stop in the background."""

    def change(record: Endpoint) -> None:
        _refuse_busy(record)
        record["EndpointStatus"] = "Deleting"

    name = request["EndpointName"]
    model_operations.find(account, ENDPOINT, name)
    component_operations.check_deletion(account, name)
    account.store.edit(ENDPOINT, name, change)
    live_endpoints.start_deletion(account, name)
