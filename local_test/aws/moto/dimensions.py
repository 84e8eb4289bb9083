"""CloudWatch's rule that a metric is its name and all of its dimensions.

moto adds up every metric that has the dimensions of a query, whatever other ones it has, and all
metrics of a name if a query has none. An endpoint's requests are published with two sets of
dimensions, one of which contains the other, so they would be counted twice.
"""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local_test.aws.protocol.messages import AwsError


@functools.cache
def install() -> None:
    """Let moto's queries read the metrics of exactly their dimensions."""
    from moto.cloudwatch.models import CloudWatchBackend  # noqa: PLC0415 - takes long to import

    read_statistics = CloudWatchBackend.get_metric_statistics
    read_data = CloudWatchBackend.get_metric_data

    def get_metric_statistics(
        self: Any,
        namespace: str,
        metric_name: str,
        *arguments: Any,
        dimensions: Any,
        **options: Any,
    ) -> Any:
        exact = frozenset((item["Name"], item["Value"]) for item in dimensions or ())

        def is_seen(datum: Any) -> bool:
            is_same = (datum.namespace, datum.name) == (namespace, metric_name)
            return is_same and frozenset((d.name, d.value) for d in datum.dimensions) == exact

        seen = _view(self, is_seen)
        return read_statistics(seen, namespace, metric_name, *arguments, dimensions=[], **options)

    def get_metric_data(self: Any, *, queries: Sequence[Any], **options: Any) -> Any:
        bare = _find_bare(queries)

        def is_seen(datum: Any) -> bool:
            return (datum.namespace, datum.name) not in bare or not datum.dimensions

        return read_data(_view(self, is_seen), queries=queries, **options)

    CloudWatchBackend.get_metric_statistics = get_metric_statistics
    CloudWatchBackend.get_metric_data = get_metric_data


def _view(backend: Any, is_seen: Callable[[Any], bool]) -> Any:
    """Return a backend that has only some of the data of another."""
    seen = copy.copy(backend)
    data = [datum for datum in backend.get_all_metrics() if is_seen(datum)]
    seen.get_all_metrics = lambda: data
    return seen


def _find_bare(queries: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Return namespace and name of the metrics that are asked for without dimensions.

    Raises: AwsError if one of them is asked for with dimensions, too, which moto cannot tell apart.
    """
    metrics = [query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query]
    kinds: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for metric in metrics:
        has_dimensions = bool(metric.get("Dimensions"))
        kinds[has_dimensions].add((metric["Namespace"], metric["MetricName"]))
    if both := kinds[True] & kinds[False]:
        message = (
            f"The local AWS cannot read {min(both)[1]} with and without Dimensions in one "
            "request; send two"
        )
        raise AwsError("InvalidParameterCombination", message)
    return kinds[False]
