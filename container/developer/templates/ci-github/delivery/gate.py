"""Fails unless a metric is good enough: `python delivery/gate.py job.json "accuracy >= 0.9"`.

The file is what `byo train --json` prints, or the `metrics.json` of an evaluation.
"""

import json
import operator
import sys
from pathlib import Path

COMPARISONS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


def read_metrics(path):
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    final = document.get("FinalMetricDataList")
    if final is not None:
        return {item["MetricName"]: item["Value"] for item in final}
    return {name: value for name, value in document.items() if isinstance(value, int | float)}


def main():
    file, rule = sys.argv[1:]
    try:
        name, comparison, limit = rule.split()
        is_good, limit = COMPARISONS[comparison], float(limit)
    except (KeyError, ValueError):
        sys.exit(f"the rule is METRIC, one of {' '.join(COMPARISONS)}, NUMBER; not {rule!r}")
    metrics = read_metrics(file)
    if name not in metrics:
        sys.exit(f"{file} has no metric {name!r}; it has: {', '.join(metrics) or 'none'}")
    print(f"{name} is {metrics[name]:g}; it must be {comparison} {limit:g}")
    return 0 if is_good(metrics[name], limit) else 1


if __name__ == "__main__":
    sys.exit(main())
