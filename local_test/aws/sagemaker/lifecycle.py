"""What happens when the local AWS starts and when it is taken down."""

from __future__ import annotations

from local_test.aws.account.account import Account
from local_test.aws.sagemaker import (
    autoscaling,
    cloudwatch,
    endpoint_operations,
    job_operations,
    tuning_operations,
)


def recover(account: Account) -> None:
    """Take up what the last process left: jobs first, as they need no server."""
    for job in account.store.list(job_operations.TRAINING.kind.name):
        name = job["TrainingJobName"]
        dimensions = [{"Name": "TrainingJobName", "Value": name}]
        data = [
            job_operations.metric_datum(metric, dimensions) for metric in account.metrics.read(name)
        ]
        if data:
            account.publish_metrics("/aws/sagemaker/TrainingJobs", data)
    job_operations.recover(account)
    endpoint_operations.recover(account)
    tuning_operations.recover(account)
    account.start_thread("scaler", lambda: autoscaling.run(account))
    account.start_thread("cloudwatch", lambda: cloudwatch.run(account))


def close(account: Account) -> None:
    """Stop all jobs as StopJob does, and all servers; endpoints come back at the next start."""
    account.is_closing.set()
    job_operations.stop_all(account)
    endpoint_operations.stop_all(account)
    account.notify()
