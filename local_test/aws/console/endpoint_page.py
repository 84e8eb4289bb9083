"""The pages of endpoints and inference components: their requests, and the end of their logs."""

from collections.abc import Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.meter import Meter
from local_test.aws.account.records import Endpoint, InferenceComponent
from local_test.aws.console.job_page import read_log
from local_test.aws.sagemaker.hosting import backlogs
from local_test.aws.sagemaker.hosting.component_operations import list_of
from local_test.aws.sagemaker.hosting.live_components import find_live as find_component
from local_test.aws.sagemaker.live_endpoints import find_live
from local_test.endpoints.endpoint import Endpoint as LiveEndpoint
from local_test.endpoints.invocation_http import COMPONENT_LOG_GROUP, LOG_GROUP
from local_test.requests import model_containers, variant_rules
from local_test.times import format_date

_ABSENT: Final = ("Creating", "Failed", "Deleting")  # states in which no request is answered


def show_endpoint(account: Account, record: Endpoint) -> dict[str, Any]:
    """Return the values of an endpoint's page."""
    name = record["EndpointName"]
    live = find_live(account, name)
    described = live.deployment.describe() if live else {}
    summaries = live.deployment.summarize() if live else {}
    running = {variant["VariantName"]: variant for found in described.values() for variant in found}
    facts = {
        "ARN": record["EndpointArn"],
        "Configuration": record["EndpointConfigName"],
        "Changed": format_date(record.get("LastModifiedTime", record["CreationTime"])),
    }
    facts |= _show_backlog(account, record)
    variants = variant_rules.list_variants(record["_requests"]["config"])
    is_asynchronous = "AsyncInferenceConfig" in record["_requests"]["config"]
    return {
        "record": record,
        "facts": facts,
        "has_playground": record["EndpointStatus"] not in _ABSENT and not is_asynchronous,
        "pending": _describe_pending(live),
        "variants": [
            {
                "name": variant["VariantName"],
                "model": variant.get("ModelName", ""),
                "containers": _name_containers(record, variant.get("ModelName", "")),
                "numbers": _count(
                    variant,
                    running.get(variant["VariantName"], {}),
                    summaries.get(variant["VariantName"], {}),
                    account.meter(name),
                ),
            }
            for variant in variants
        ],
        "components": [_summarize(account, item) for item in list_of(account, name)],
        "log": read_log(account, f"{LOG_GROUP}{name}", ""),
        "request": record["_requests"],
    }


def _describe_pending(live: LiveEndpoint | None) -> dict[str, Any]:
    """Return the variants that a deployment starts, and what it does; empty without one."""
    progress = live.deployment.progress if live else None
    summary = live.deployment.describe_pending() if live else None
    if progress is None or summary is None:
        return {}
    models = {
        variant["VariantName"]: variant.get("ModelName", "")
        for variant in variant_rules.list_variants(progress.config)
    }
    return {
        "config": summary["EndpointConfigName"],
        "message": progress.stage.message,
        "variants": [
            {
                "name": row["VariantName"],
                "model": models.get(row["VariantName"], ""),
                "weight": f"{row['CurrentWeight']:g}",
                "started": row["CurrentInstanceCount"],
                "wanted": row.get("DesiredInstanceCount", 0),
            }
            for row in variant_rules.list_variants(summary)
        ],
    }


def _show_backlog(account: Account, record: Endpoint) -> dict[str, str]:
    """Return the facts of an asynchronous endpoint; nothing for any other."""
    config = backlogs.find_config(record)
    if config is None:
        return {}
    found = backlogs.measure(account, record["EndpointName"])
    count = int(found.get("ApproximateBacklogSize", 0))
    age_s = found.get("ApproximateAgeOfOldestRequest", 0.0)
    return {
        "Output path": config["OutputConfig"]["S3OutputPath"],
        "Backlog": f"{count}, the oldest for {age_s:.0f} s" if count else "0",
    }


def _summarize(account: Account, record: InferenceComponent) -> dict[str, Any]:
    """Return the row of an inference component on the page of its endpoint."""
    name = record["InferenceComponentName"]
    meter = account.component_meter(name)
    component = find_component(account, name)
    return {
        "name": name,
        "status": record["InferenceComponentStatus"],
        "numbers": {
            "Healthy copies": component.count_copies() if component else 0,
            "Copies": record["_requests"]["copies"],
            **_count_requests(meter, record["VariantName"]),
        },
    }


def show_component(account: Account, record: InferenceComponent) -> dict[str, Any]:
    """Return the values of an inference component's page."""
    name = record["InferenceComponentName"]
    row = _summarize(account, record)
    return {
        "record": record,
        "facts": {
            "ARN": record["InferenceComponentArn"],
            "Endpoint": f"{record['EndpointName']}, variant {record['VariantName']}",
            "Changed": format_date(record.get("LastModifiedTime", record["CreationTime"])),
            **{label: str(value) for label, value in row["numbers"].items()},
        },
        "log": read_log(account, f"{COMPONENT_LOG_GROUP}{name}", ""),
        "request": record["_requests"],
    }


def _name_containers(record: Endpoint, model: str) -> str:
    """Return the names of a model's containers, if it has several: in the order of a pipeline."""
    request = record["_requests"]["models"].get(model, {})
    separator = ", " if model_containers.is_direct(request) else " → "
    return separator.join(item.name for item in model_containers.list_containers(request))


def _count(
    variant: Mapping[str, Any], running: Mapping[str, Any], summary: Mapping[str, str], meter: Meter
) -> dict[str, Any]:
    return {
        "Weight": f"{running.get('CurrentWeight', variant.get('InitialVariantWeight', 1)):g}",
        **(summary or {"Healthy servers": "0"}),
        **_count_requests(meter, variant["VariantName"]),
    }


def _count_requests(meter: Meter, variant: str) -> dict[str, Any]:
    minutes = meter.minutes(variant)
    return {
        "Requests": sum(minute.invocations for minute in minutes),
        "4xx": sum(minute.client_errors for minute in minutes),
        "5xx": sum(minute.server_errors for minute in minutes),
        "p50": _format_latency(meter.latency_s(variant, 0.5)),
        "p99": _format_latency(meter.latency_s(variant, 0.99)),
    }


def _format_latency(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"
