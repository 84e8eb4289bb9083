"""The metrics of endpoints in CloudWatch."""

import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT, ENDPOINT
from local_test.aws.account.meter import Distribution, Meter, Minute, Statistic
from local_test.aws.sagemaker.hosting import backlogs

PUBLISH_S: Final = 5.0
_MINUTE_S: Final = 60.0
_ASYNCHRONOUS: Final = ("Invocation4XXErrors", "Invocation5XXErrors", "ModelLatency")
"""The metrics that an asynchronous endpoint shares with others; it publishes no more of them."""
_ALL: Final = (*_ASYNCHRONOUS, "Invocations", "OverheadLatency", "ModelSetupTime")


def run(account: Account) -> None:
    """Publish the counts of all endpoints every few seconds until the local AWS stops.

    The alarms are evaluated each time.
    """
    published: dict[str, tuple[float, Mapping[str, float]]] = {}
    while not account.is_closing.wait(PUBLISH_S):
        for endpoint in account.store.list(ENDPOINT):
            name = endpoint["EndpointName"]
            names = _ALL if backlogs.find_config(endpoint) is None else _ASYNCHRONOUS
            meter = account.meter(name)
            for variant in meter.variants():
                dimensions = {"EndpointName": name, "VariantName": variant}
                _publish(account, meter, variant, dimensions, names)
            _publish_backlog(account, name, published)
        for component in account.store.list(COMPONENT):
            name = component["InferenceComponentName"]
            meter = account.component_meter(name)
            for variant in meter.variants():
                _publish(account, meter, variant, {"InferenceComponentName": name})
        account.alarms.evaluate()


def _publish_backlog(
    account: Account, name: str, published: dict[str, tuple[float, Mapping[str, float]]]
) -> None:
    """Publish the backlog of an asynchronous endpoint; once a minute if it does not change."""
    values = backlogs.measure(account, name)
    now_s = time.time()
    last_s, last = published.get(name, (0.0, {}))
    if not values:
        published.pop(name, None)
        return
    if values == last and now_s - last_s < _MINUTE_S:
        return
    published[name] = (now_s, values)
    dimensions = [{"Name": "EndpointName", "Value": name}]
    data = [
        {"MetricName": metric, "Timestamp": now_s, "Dimensions": dimensions, "Value": value}
        for metric, value in values.items()
    ]
    account.publish_metrics("AWS/SageMaker", data)


def _publish(
    account: Account,
    meter: Meter,
    variant: str,
    named: Mapping[str, str],
    names: Collection[str] = _ALL,
) -> None:
    """Publish each count, and again as that of its endpoint configuration if it has one.

    Of the metrics of requests, `names` are published.
    """
    dimensions = [{"Name": name, "Value": value} for name, value in named.items()]
    for config, time_s, counts in meter.drain(variant):
        data = _make_data(time_s, counts, dimensions, names)
        if config:
            fleet = [*dimensions, {"Name": "EndpointConfigName", "Value": config}]
            data += _make_data(time_s, counts, fleet, names)
        account.publish_metrics("AWS/SageMaker", data)


def _make_data(
    time_s: float, counts: Minute, dimensions: list[dict[str, str]], names: Collection[str]
) -> list[dict[str, Any]]:
    """Return the metrics of a variant's requests; latencies are microseconds, as the service's."""
    count = counts.invocations

    def make(name: str, values: Statistic, factor: float = 1) -> dict[str, Any]:
        statistic = {
            "SampleCount": values.count,
            "Sum": values.total * factor,
            "Minimum": values.least * factor,
            "Maximum": values.most * factor,
        }
        return {
            "MetricName": name,
            "Timestamp": time_s,
            "Dimensions": dimensions,
            "StatisticValues": statistic,
        }

    def count_errors(errors: int) -> Statistic:
        return Statistic(errors, 0, min(1, errors), count)

    def make_all(name: str, values: Distribution) -> list[dict[str, Any]]:
        return [make(name, part, 1e6) for part in values.parts.values()]

    found = [
        make(name, part) for name, values in counts.others.items() for part in values.parts.values()
    ]
    if count:
        found += [
            make("Invocations", Statistic(count, 1, 1, count)),
            make("Invocation4XXErrors", count_errors(counts.client_errors)),
            make("Invocation5XXErrors", count_errors(counts.server_errors)),
            *make_all("ModelLatency", counts.model_latency_s),
            *make_all("OverheadLatency", counts.overhead_s),
            *make_all("ModelSetupTime", counts.setup_s),
        ]
    return [datum for datum in found if datum["MetricName"] in {*names, *counts.others}]
