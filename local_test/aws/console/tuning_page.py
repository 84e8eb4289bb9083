"""The page of a tuning job: its counts and a leaderboard of its training jobs."""

from typing import Any

from local_test.aws.account.account import Account
from local_test.aws.account.records import TuningJob
from local_test.aws.console.rendering import shorten
from local_test.aws.sagemaker.tuning import tuning_operations
from local_test.jobs.status import UNFINISHED


def show_tuning_job(account: Account, record: TuningJob) -> dict[str, Any]:
    """Return the values of a tuning job's page."""
    full = tuning_operations.enrich(account, record)
    objective = record["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
    sign = 1 if objective.get("Type") == "Minimize" else -1
    rows = [
        {
            "name": job["TrainingJobName"],
            "status": job["TrainingJobStatus"],
            "tuned": job["TunedHyperParameters"],
            "value": job.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value"),
        }
        for job in tuning_operations.list_summaries(account, record)
    ]
    rows.sort(key=lambda row: (row["value"] is None, sign * (row["value"] or 0)))
    counters = full["TrainingJobStatusCounters"]
    counts = [f"{count} {status}" for status, count in counters.items() if count]
    best = (full["BestTrainingJob"] or {}).get("TunedHyperParameters", {})
    status = record["HyperParameterTuningJobStatus"]
    return {
        "record": record,
        "status": status,
        "is_running": status in UNFINISHED,
        "metric": objective.get("MetricName", "objective"),
        "names": sorted({name for row in rows for name in row["tuned"]}),
        "rows": rows,
        "facts": {
            "Strategy": full["Strategy"],
            "Objective": f"{objective.get('Type', '')} {objective.get('MetricName', '')}",
            "Jobs": ", ".join(counts) or "none yet",
            "Best": ", ".join(f"{name} {shorten(value)}" for name, value in best.items()),
        },
        "request": record["_request"],
    }
