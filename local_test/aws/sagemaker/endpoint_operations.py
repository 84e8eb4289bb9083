"""Endpoints: their operations, and their life on the harness's engine: creation, update with rollback, return, end.

An endpoint's record keeps the requests that it runs (`_requests`), so that it comes back after a
restart although a model or configuration was deleted meanwhile, as the service's endpoints live on.
"""

from __future__ import annotations

import copy
import functools
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container.errors import PlatformError, RequestError, UserError
from local_test.aws.account.account import INTERNAL_ERROR, Account
from local_test.aws.account.meter import Meter
from local_test.aws.account.resources import ENDPOINT, ENDPOINT_CONFIG, MODEL
from local_test.aws.account.state import Record
from local_test.aws.protocol import messages
from local_test.aws.protocol.messages import reject
from local_test.aws.sagemaker import model_operations
from local_test.aws.sagemaker.job_operations import image_of
from local_test.endpoints.endpoint import Endpoint
from local_test.endpoints.invocation_http import LOG_GROUP
from local_test.requests import validation
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.runners.interface import Container, Launch, Runner


class VariantRunner:
    """Runs each variant's image by a runner of its own."""

    def __init__(self, account: Account, requests: Mapping[str, Any]) -> None:
        self._account = account
        self._runners: dict[str, Runner] = {}
        self.choose(requests)

    def choose(self, requests: Mapping[str, Any]) -> None:
        """Take the runners of a configuration's variants; servers that are started from now on get them."""
        self._runners = {
            variant["VariantName"]: self._account.choose_runner(
                image_of(requests["models"][variant["ModelName"]])
            )
            for variant in requests["config"]["ProductionVariants"]
        }

    def network_interface(self, *, has_peers: bool, is_isolated: bool) -> str:
        """Name of the interface by which peers reach each other (DS-2); servers have no peers."""
        return next(iter(self._runners.values())).network_interface(
            has_peers=has_peers, is_isolated=is_isolated
        )

    @property
    def description(self) -> str:
        """What runs and how, for logs."""
        return "; ".join(f"{name}: {runner.description}" for name, runner in self._runners.items())

    def mount_point(self, root: Path) -> str:
        """Give the path at which a container sees `root`; all runners of an account are of one kind."""
        return next(iter(self._runners.values())).mount_point(root)

    def start(self, launch: Launch, on_output: Callable[[bytes], None]) -> Container:
        """Start a container; see `runner.Runner.start`. A host's name is its variant's and a number."""
        return self._runners[launch.name.rpartition("-")[0]].start(launch, on_output)


@dataclass(frozen=True)
class Live:
    """A running endpoint."""

    endpoint: Endpoint
    runner: VariantRunner

    def stop(self) -> None:
        """Stop its servers."""
        self.endpoint.stop()


def create_endpoint(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CreateEndpoint; the endpoint comes up beside."""
    valid = validation.admit("CreateEndpoint", request)
    name = request["EndpointName"]
    requests = _gather(account, request["EndpointConfigName"])
    used = sum(len(_count(record)) for record in account.store.list(ENDPOINT.name))
    wanted = sum(
        variant.get("InitialInstanceCount", 1)
        for variant in requests["config"]["ProductionVariants"]
    )
    account.check_quota("Total number of instances for endpoint usage", used, wanted)
    extra = {"EndpointStatus": "Creating", "_requests": requests}
    answer = model_operations.insert(account, ENDPOINT, valid, extra)
    account.start_thread(f"endpoint {name}", lambda: _bring_up(account, name))
    return answer


def _count(record: Record) -> list[str]:
    """Give a name for each instance of an endpoint."""
    variants = record["_requests"]["config"]["ProductionVariants"]
    return [
        variant["VariantName"]
        for variant in variants
        for _ in range(variant.get("InitialInstanceCount", 1))
    ]


def _gather(account: Account, config_name: str) -> dict[str, Any]:
    """Give the requests that an endpoint of a configuration consists of."""
    config = model_operations.find(account, ENDPOINT_CONFIG, config_name)["_request"]
    names = [variant["ModelName"] for variant in config["ProductionVariants"]]
    return {
        "config": config,
        "models": {name: model_operations.find(account, MODEL, name)["_request"] for name in names},
    }


def _make_requests(name: str, requests: Mapping[str, Any]) -> EndpointRequests:
    config = requests["config"]
    endpoint = {"EndpointName": name, "EndpointConfigName": config["EndpointConfigName"]}
    return EndpointRequests(copy.deepcopy(requests["models"]), config, endpoint)


def _start(account: Account, name: str, requests: Mapping[str, Any]) -> Live:
    """Start all servers of an endpoint and wait until they are healthy.

    Raises: UserError or PlatformError if one does not get healthy; none is left running then.
    """
    begun = int(time.time())

    def on_line(host: str, line: str) -> None:
        variant = host.rpartition("-")[0]
        account.logs.append(f"{LOG_GROUP}{name}", f"{variant}/{host}-{begun}", line)

    runner = VariantRunner(account, requests)
    endpoint = Endpoint(
        _make_requests(name, requests), runner, account.directory / "endpoints" / name, on_line
    )
    endpoint.start()
    return Live(endpoint, runner)


def _explain(name: str, error: Exception) -> str:
    """Give the FailureReason of an endpoint that did not come up, or did not change."""
    if isinstance(error, UserError | RequestError):
        return f"{error}. Please check CloudWatch logs for this endpoint: group {LOG_GROUP}{name}."
    if isinstance(error, PlatformError):
        return f"InternalServerError: {error}"
    traceback.print_exception(error, file=sys.stderr)
    return INTERNAL_ERROR


def _bring_up(account: Account, name: str) -> None:
    record = account.store.find(ENDPOINT.name, name)
    if record is None:
        return
    try:
        account.live[ENDPOINT.name, name] = _start(account, name, record["_requests"])
    except Exception as error:  # noqa: BLE001 - a bug of ours fails one endpoint, not the server
        reason = _explain(name, error)[:1024]
        account.store.update(ENDPOINT.name, name, EndpointStatus="Failed", FailureReason=reason)
        return
    if "_next_requests" in record:  # a change that the last local AWS had begun
        account.store.update(ENDPOINT.name, name, EndpointStatus="Updating")
        _change(account, name)
    else:
        account.store.update(ENDPOINT.name, name, EndpointStatus="InService", FailureReason=None)


def describe_endpoint(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer DescribeEndpoint."""
    name = request["EndpointName"]
    record = model_operations.find(account, ENDPOINT, name)
    live = account.live.get((ENDPOINT.name, name))
    if live is not None:
        images = {
            variant["VariantName"]: image_of(record["_requests"]["models"][variant["ModelName"]])
            for variant in record["_requests"]["config"]["ProductionVariants"]
        }
        record["ProductionVariants"] = [
            {
                **summary,
                "DesiredWeight": summary["CurrentWeight"],
                "DeployedImages": [
                    {
                        "SpecifiedImage": images.get(summary["VariantName"]),
                        "ResolvedImage": images.get(summary["VariantName"]),
                        "ResolutionTime": record["LastModifiedTime"],
                    }
                ],
            }
            for summary in live.endpoint.describe()["ProductionVariants"]
        ]
    config = record["_requests"]["config"]
    if "AsyncInferenceConfig" in config:
        record["AsyncInferenceConfig"] = config["AsyncInferenceConfig"]
    if "DataCaptureConfig" in config:
        capture = config["DataCaptureConfig"]
        is_on = capture.get("EnableCapture", True)
        record["DataCaptureConfig"] = {
            "EnableCapture": is_on,
            "CaptureStatus": "Started" if is_on else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }
    return messages.pick(messages.output_shape("DescribeEndpoint"), record)


def _begin_change(account: Account, name: str, next_requests: Mapping[str, Any]) -> dict[str, Any]:
    """Write the change down, then make it: after a crash it is made again."""

    def change(record: Record) -> None:
        _refuse_busy(record, "update")
        record.update(
            {"EndpointStatus": "Updating", "_next_requests": next_requests, "FailureReason": None}
        )

    record = account.store.edit(ENDPOINT.name, name, change)
    account.start_thread(f"endpoint {name} update", lambda: _change(account, name))
    return {"EndpointArn": record["EndpointArn"]}


def _refuse_busy(record: Record, verb: str) -> None:
    if record["EndpointStatus"] in (
        "Creating",
        "Updating",
        "SystemUpdating",
        "RollingBack",
        "Deleting",
    ):
        reject(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')
    if record["EndpointStatus"] == "Failed" and verb == "update":
        reject(f'Cannot update endpoint "{record["EndpointArn"]}" in status Failed; delete it.')


def update_endpoint(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateEndpoint: the new version takes over when it is healthy, else the old one stays."""
    name = request["EndpointName"]
    record = model_operations.find(account, ENDPOINT, name)
    requests = _gather(account, request["EndpointConfigName"])
    if request.get("RetainAllVariantProperties"):
        excluded = {
            item["VariantPropertyType"]
            for item in request.get("ExcludeRetainedVariantProperties", ())
        }
        kept = {
            key
            for key, kind in (
                ("InitialInstanceCount", "DesiredInstanceCount"),
                ("InitialVariantWeight", "DesiredWeight"),
            )
            if kind not in excluded
        }
        old = {
            variant["VariantName"]: variant
            for variant in record["_requests"]["config"]["ProductionVariants"]
        }
        for variant in requests["config"]["ProductionVariants"]:
            before = old.get(variant["VariantName"], {})
            variant.update({key: before[key] for key in kept if key in before})
    return _begin_change(account, name, requests)


def update_weights_and_capacities(account: Account, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer UpdateEndpointWeightsAndCapacities."""
    name = request["EndpointName"]
    requests = model_operations.find(account, ENDPOINT, name)["_requests"]
    variants = {
        variant["VariantName"]: variant for variant in requests["config"]["ProductionVariants"]
    }
    for wish in request["DesiredWeightsAndCapacities"]:
        if wish["VariantName"] not in variants:
            reject(
                f'The variant name(s) "{wish["VariantName"]}" is/are not present within endpoint configuration '
                f'"{requests["config"]["EndpointConfigName"]}".'
            )
        if "ServerlessUpdateConfig" in wish:
            reject(f"Variant {wish['VariantName']} is not serverless.")
        variant = variants[wish["VariantName"]]
        for key, wanted in (
            ("InitialVariantWeight", "DesiredWeight"),
            ("InitialInstanceCount", "DesiredInstanceCount"),
        ):
            if wanted in wish:
                variant[key] = wish[wanted]
    return _begin_change(account, name, requests)


def _change(account: Account, name: str) -> None:
    """Bring a running endpoint to its next requests, or leave it as it is and say why."""
    record = account.store.find(ENDPOINT.name, name)
    live: Live | None = account.live.get((ENDPOINT.name, name))
    if record is None or live is None:
        return
    requests, failure = record["_next_requests"], None
    try:
        if _differs_in_size_alone(record["_requests"], requests):
            for variant in requests["config"]["ProductionVariants"]:
                live.endpoint.set_instance_count(
                    variant["VariantName"], variant.get("InitialInstanceCount", 1)
                )
                live.endpoint.set_weight(
                    variant["VariantName"], variant.get("InitialVariantWeight", 1.0)
                )
        else:
            live.runner.choose(requests)
            live.endpoint.update(_make_requests(name, requests))
    except Exception as error:  # noqa: BLE001 - a bug of ours fails one update, not the server
        failure = _explain(name, error)[:1024]
        live.runner.choose(record["_requests"])
    changes: dict[str, Any] = {
        "EndpointStatus": "InService",
        "FailureReason": failure,
        "_next_requests": None,
    }
    if failure is None:
        changes |= {
            "EndpointConfigName": requests["config"]["EndpointConfigName"],
            "_requests": requests,
        }
    account.store.update(ENDPOINT.name, name, **changes)


def _differs_in_size_alone(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    def strip(requests: Mapping[str, Any]) -> list[dict[str, Any]]:
        sizes = ("InitialInstanceCount", "InitialVariantWeight")
        variants = requests["config"]["ProductionVariants"]
        return [
            {key: value for key, value in variant.items() if key not in sizes}
            for variant in variants
        ]

    is_same_name = old["config"]["EndpointConfigName"] == new["config"]["EndpointConfigName"]
    return is_same_name and old["models"] == new["models"] and strip(old) == strip(new)


def delete_endpoint(account: Account, request: Mapping[str, Any]) -> None:
    """Answer DeleteEndpoint; the servers stop beside."""
    name = request["EndpointName"]
    model_operations.find(account, ENDPOINT, name)

    def change(record: Record) -> None:
        _refuse_busy(record, "delete")
        record["EndpointStatus"] = "Deleting"

    account.store.edit(ENDPOINT.name, name, change)
    account.start_thread(f"endpoint {name} delete", lambda: _take_down(account, name))


def _take_down(account: Account, name: str) -> None:
    live = account.live.pop((ENDPOINT.name, name), None)
    if live is not None:
        live.stop()
    account.logs.finish(f"{LOG_GROUP}{name}", "")
    shutil.rmtree(account.directory / "endpoints" / name, ignore_errors=True)
    account.meters.pop(name, None)
    account.store.delete(ENDPOINT.name, name)


def recover(account: Account) -> None:
    """Bring back every endpoint of the last local AWS; finish what it had begun."""
    for record in account.store.list(ENDPOINT.name):
        name, status = record["EndpointName"], record["EndpointStatus"]
        if status == "Deleting":
            account.start_thread(
                f"endpoint {name} delete", functools.partial(_take_down, account, name)
            )
        elif status != "Failed":
            if status == "InService":
                account.store.update(ENDPOINT.name, name, EndpointStatus="SystemUpdating")
            account.start_thread(f"endpoint {name}", lambda name=name: _bring_up(account, name))  # type: ignore[misc]


def stop_all(account: Account) -> None:
    """Stop every server; the endpoints come back with the next local AWS."""
    names = [name for kind, name in list(account.live) if kind == ENDPOINT.name]
    for name in names:
        live = account.live.pop((ENDPOINT.name, name), None)
        if live is not None:
            account.start_thread(f"endpoint {name} stop", live.stop)


def meter_of(account: Account, name: str) -> Meter:
    """Give what counts an endpoint's requests."""
    return account.meters.setdefault(name, Meter())
