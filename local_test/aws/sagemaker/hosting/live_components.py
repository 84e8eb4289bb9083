"""The running inference components: their start, change, return after a restart, and end.

A component's record keeps what it runs (`_requests`), as that of an endpoint does. Its copies run
whether or not the endpoint is in service already; requests reach them by the endpoint.
"""

import copy
import time
from typing import Any, cast

from local_test import container_files
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT
from local_test.aws.sagemaker.hosting import failures
from local_test.aws.sagemaker.hosting.component import Component, make_requests
from local_test.aws.sagemaker.hosting.image_runner import ImageRunner
from local_test.aws.sagemaker.live_jobs import image_of, name_stream
from local_test.endpoints.invocation_http import COMPONENT_LOG_GROUP


def find_live(account: Account, name: str) -> Component | None:
    """Return a component that runs or starts, or None."""
    found: Component | None = account.live.get((COMPONENT.name, name))
    return found


def list_live(account: Account, endpoint: str) -> dict[str, Component]:
    """Return the components of an endpoint that run or start, by name."""
    live = [item for (kind, _), item in list(account.live.items()) if kind == COMPONENT.name]
    return {item.name: item for item in live if item.endpoint == endpoint}


def start(account: Account, name: str) -> None:
    """Start a component in the background; its record shows when it is in service."""
    account.start_thread(f"component {name}", lambda: _bring_up(account, name))


def start_change(account: Account, name: str) -> None:
    """Bring a running component to its `_next_requests` in the background."""
    account.start_thread(f"component {name} update", lambda: _change(account, name))


def start_deletion(account: Account, name: str) -> None:
    """Stop a component and delete its record in the background."""
    account.start_thread(f"component {name} delete", lambda: _take_down(account, name))


def _bring_up(account: Account, name: str) -> None:
    record = account.store.find(COMPONENT, name)
    if record is None:
        return
    begun = int(time.time())
    variant = record["VariantName"]

    def on_line(host: str, line: str) -> None:
        stream = f"{variant}/{name_stream(host, begun)}"
        account.logs.append(f"{COMPONENT_LOG_GROUP}{name}", stream, line)

    requests = copy.deepcopy(record["_requests"])
    runner = ImageRunner(account.choose_runner, image_of(requests["model"]))
    directory = account.directory / "components" / name
    component = Component(name, record["EndpointName"], runner, directory, on_line)
    account.live[COMPONENT.name, name] = component
    if account.is_closing.is_set():  # it starts with the next local AWS
        return
    try:
        component.start(make_requests(variant, requests))
    except Exception as error:  # noqa: BLE001 - a bug of ours fails one component, not the server
        if not account.is_closing.is_set():  # else its copies were stopped
            account.live.pop((COMPONENT.name, name), None)
            reason = failures.explain(error, "inference component", COMPONENT_LOG_GROUP + name)
            _note(account, name, InferenceComponentStatus="Failed", FailureReason=reason)
        return
    if "_next_requests" in record:  # a change that the last local AWS had begun
        _note(account, name, InferenceComponentStatus="Updating")
        _change(account, name)
    else:
        _note(account, name, InferenceComponentStatus="InService", FailureReason=None)


def _note(account: Account, name: str, **changes: Any) -> None:
    """Change entries of a component's record to what has happened."""
    account.store.note(COMPONENT, name, lambda record: cast("Any", record).update(changes))


def _change(account: Account, name: str) -> None:
    """Bring a component to its next requests, or leave it as it is and record the reason."""
    record = account.store.find(COMPONENT, name)
    component = find_live(account, name)
    requests = record and record.get("_next_requests")
    if record is None or component is None or not requests:
        return
    changes: dict[str, Any] = {"FailureReason": None}
    try:
        old = record["_requests"]
        if all(old[key] == requests[key] for key in ("model", "specification")):
            component.set_copy_count(requests["copies"])
        else:
            component.update(make_requests(record["VariantName"], copy.deepcopy(requests)))
        changes["_requests"] = requests
    except Exception as error:  # noqa: BLE001 - a bug of ours fails one update, not the server
        if account.is_closing.is_set():
            return
        changes["FailureReason"] = failures.explain(
            error, "inference component", COMPONENT_LOG_GROUP + name
        )
    _note(account, name, InferenceComponentStatus="InService", _next_requests=None, **changes)


def _take_down(account: Account, name: str) -> None:
    component = account.live.pop((COMPONENT.name, name), None)
    if component is not None:
        component.stop()
    container_files.remove_tree(account.directory / "components" / name)
    account.logs.finish(f"{COMPONENT_LOG_GROUP}{name}", "")
    account.drop_meter(f"component/{name}")
    account.store.forget(COMPONENT, name)


def recover(account: Account) -> None:
    """Bring back every component of the last local AWS, and finish what it had begun."""
    for record in account.store.list(COMPONENT):
        name = record["InferenceComponentName"]
        status = record["InferenceComponentStatus"]
        if status == "Deleting":
            start_deletion(account, name)
        elif status != "Failed":
            if status == "InService":
                _note(account, name, InferenceComponentStatus="Updating")
            start(account, name)
