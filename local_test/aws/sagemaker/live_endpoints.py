"""The running endpoints: their start, change, return after a restart, and end.

An endpoint's record keeps the requests that it runs (`_requests`). So it comes back after a restart
even if a model or its configuration was deleted meanwhile, as the service's endpoints live on.
"""

import copy
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, cast

from local_test import container_files
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import ENDPOINT
from local_test.aws.account.records import Endpoint as EndpointRecord
from local_test.aws.account.records import Request, ServedRequests
from local_test.aws.sagemaker.hosting import failures, live_components, request_journal
from local_test.aws.sagemaker.hosting.image_runner import ImageRunner
from local_test.aws.sagemaker.hosting.request_journal import RequestJournal
from local_test.aws.sagemaker.live_jobs import image_of, name_stream
from local_test.endpoints import data_capture
from local_test.endpoints.endpoint import CAPTURE, Endpoint
from local_test.endpoints.invocation_http import LOG_GROUP
from local_test.endpoints.rollouts.guard import Terms
from local_test.requests.endpoint_requests import EndpointRequests
from local_test.requests.validation import ValidRequest
from local_test.requests.variant_rules import list_variants

_SIZES: Final = ("InitialInstanceCount", "InitialVariantWeight")
_UPDATED: Final = dict.fromkeys(("_next_requests", "_deployment", "_shifted"))
"""What an endpoint's record has no more after an update."""


@dataclass(frozen=True)
class _Requests(EndpointRequests):
    """The requests of an endpoint here, where inference components can be created on it."""

    has_components: ClassVar[bool] = True

    def validate(self) -> list[ValidRequest]:
        """Validate them as they were before a variant was scaled to no instance (ASY-1)."""
        config = copy.deepcopy(self.config)
        for variant in config["ProductionVariants"]:
            if "AsyncInferenceConfig" in config and variant.get("InitialInstanceCount") == 0:
                variant["InitialInstanceCount"] = 1
        return EndpointRequests.validate(replace(self, config=config))


def find_live(account: Account, name: str) -> Endpoint | None:
    """Return a running endpoint, or None if it does not run."""
    found: Endpoint | None = account.live.get((ENDPOINT.name, name))
    return found


def list_images(requests: ServedRequests) -> dict[str, str]:
    """Return the image of each variant that has a model, the first one of several."""
    return {
        variant["VariantName"]: image_of(requests["models"][variant["ModelName"]])
        for variant in list_variants(requests["config"])
        if "ModelName" in variant
    }


def start(account: Account, name: str) -> None:
    """Start an endpoint in the background; its record shows when it is in service."""
    account.start_thread(f"endpoint {name}", lambda: _bring_up(account, name))


def start_change(account: Account, name: str) -> None:
    """Bring a running endpoint to its `_next_requests` in the background."""
    account.start_thread(f"endpoint {name} update", lambda: _change(account, name))


def start_deletion(account: Account, name: str) -> None:
    """Stop an endpoint and delete its record in the background."""
    account.start_thread(f"endpoint {name} delete", lambda: _take_down(account, name))


def _bring_up(account: Account, name: str) -> None:
    record = account.store.find(ENDPOINT, name)
    if record is None:
        return
    failure = _settle(account, record)
    begun = int(time.time())

    def on_line(host: str, line: str) -> None:
        variant = host.partition(".")[0].rpartition("-")[0]
        account.logs.append(f"{LOG_GROUP}{name}", f"{variant}/{name_stream(host, begun)}", line)

    requests = record["_requests"]
    try:
        images = list_images(requests).values()  # none for inference components
        runner = ImageRunner(account.choose_runner, next(iter(images), ""))
        endpoint = Endpoint(
            _make_requests(name, requests), runner, account.directory / "endpoints" / name, on_line
        )
        meter = account.meter(name)
        endpoint.on_copy = endpoint.links.count = meter.count
        endpoint.links.note = meter.note
        endpoint.links.publish = account.notices.publish
        endpoint.links.journal = RequestJournal(account, name)
        endpoint.deployment.list_components = lambda: live_components.list_live(account, name)
        endpoint.start()
    except Exception as error:  # noqa: BLE001 - a bug of ours fails one endpoint, not the server
        reason = failures.explain(error, "endpoint", LOG_GROUP + name)
        request_journal.fail_all(account, name, reason, _reporter(account, name))
        _note(account, name, EndpointStatus="Failed", FailureReason=reason)
        return
    account.live[ENDPOINT.name, name] = endpoint
    if "_next_requests" in record:  # a change that the last local AWS had begun
        _note(account, name, EndpointStatus="Updating")
        _change(account, name)
    else:
        _note(account, name, EndpointStatus="InService", FailureReason=failure)


def _settle(account: Account, record: EndpointRecord) -> str | None:
    """Decide what becomes of a guarded deployment that the last local AWS did not finish.

    The endpoint keeps the version that had all traffic. Return why the deployment did not succeed.
    """
    requests = record.get("_next_requests")
    failure = None
    if requests is None or not (record.get("_deployment") or record.get("_shifted")):
        return None
    config = requests["config"]["EndpointConfigName"]
    if record.get("_shifted"):
        record["_requests"] = requests
        record["EndpointConfigName"] = config
    else:
        failure = (
            "The deployment was rolled back because the local AWS ended before endpoint "
            f"configuration {config} had all traffic. Update the endpoint again."
        )
    del record["_next_requests"]
    kept = {"EndpointConfigName": record["EndpointConfigName"], "_requests": record["_requests"]}
    _note(account, record["EndpointName"], **kept, FailureReason=failure, **_UPDATED)
    return failure


def _note(account: Account, name: str, **changes: Any) -> None:
    """Change entries of an endpoint's record to what has happened."""
    account.store.note(ENDPOINT, name, lambda record: cast("Any", record).update(changes))


def _make_requests(name: str, requests: ServedRequests) -> EndpointRequests:
    config = requests["config"]
    endpoint = {"EndpointName": name, "EndpointConfigName": config["EndpointConfigName"]}
    return _Requests(copy.deepcopy(requests["models"]), config, endpoint)


def _change(account: Account, name: str) -> None:
    """Bring a running endpoint to its next requests, or leave it as it is and record the reason."""
    record = account.store.find(ENDPOINT, name)
    live = find_live(account, name)
    requests = record and record.get("_next_requests")
    if record is None or live is None or not requests:
        return
    changes: dict[str, Any] = {"FailureReason": None}
    deployment = record.get("_deployment") or {}
    try:
        if not deployment and _differs_only_in_size(record["_requests"], requests):
            _resize(live, requests["config"])
        else:
            terms = _make_terms(account, name, deployment)
            live.update(_make_requests(name, requests), terms)
        changes["EndpointConfigName"] = requests["config"]["EndpointConfigName"]
        changes["_requests"] = requests
    except Exception as error:  # noqa: BLE001 - a bug of ours fails one update, not the server
        if account.is_closing.is_set():  # the next local AWS goes on with what is written down
            return
        changes["FailureReason"] = failures.explain(error, "endpoint", LOG_GROUP + name)
    _note(account, name, EndpointStatus=live.status, **_UPDATED, **changes)


def _make_terms(account: Account, name: str, deployment: Request) -> Terms:
    begun_s = time.time()
    return Terms(
        deployment,
        lambda alarms: account.alarms.find_tripped(alarms, begun_s),
        lambda is_shifted: _note(account, name, _shifted=is_shifted or None),
    )


def _resize(endpoint: Endpoint, config: Request) -> None:
    for variant in config["ProductionVariants"]:
        name = variant["VariantName"]
        if "ServerlessConfig" not in variant:
            endpoint.set_instance_count(name, variant.get("InitialInstanceCount", 1))
        endpoint.set_weight(name, variant.get("InitialVariantWeight", 1.0))


def _differs_only_in_size(old: ServedRequests, new: ServedRequests) -> bool:
    def strip(requests: ServedRequests) -> list[Mapping[str, Any]]:
        return [
            {key: value for key, value in variant.items() if key not in _SIZES}
            for variant in requests["config"]["ProductionVariants"]
        ]

    is_same_name = old["config"]["EndpointConfigName"] == new["config"]["EndpointConfigName"]
    return is_same_name and old["models"] == new["models"] and strip(old) == strip(new)


def _reporter(account: Account, name: str) -> Callable[[str], None]:
    """Return what writes a line to the log of an endpoint that does not run."""
    return functools.partial(account.logs.append, LOG_GROUP + name, f"platform-{int(time.time())}")


def _take_down(account: Account, name: str) -> None:
    live = account.live.pop((ENDPOINT.name, name), None)
    if live is not None:
        live.stop()
    directory = account.directory / "endpoints" / name
    report = _reporter(account, name)
    request_journal.fail_all(account, name, f"endpoint {name} was deleted", report)
    if data_capture.recover(directory / CAPTURE, report):  # of an endpoint that did not stop itself
        container_files.remove_tree(directory)
    account.logs.finish(f"{LOG_GROUP}{name}", "")
    account.drop_meter(name)
    account.store.forget(ENDPOINT, name)


def recover(account: Account) -> None:
    """Bring back every endpoint of the last local AWS, and finish what it had begun."""
    for record in account.store.list(ENDPOINT):
        name = record["EndpointName"]
        status = record["EndpointStatus"]
        if status == "Deleting":
            start_deletion(account, name)
        elif status != "Failed":
            if status in ("InService", "UpdateRollbackFailed"):
                _note(account, name, EndpointStatus="SystemUpdating")
            start(account, name)
