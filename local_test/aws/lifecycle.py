"""What happens when the local AWS starts and when it is taken down."""

from __future__ import annotations

from local_test.aws import autoscaling, cloudwatch, endpoints, jobs, tuning
from local_test.aws.account import Account


def recover(account: Account) -> None:
    """Take up what the last process left: jobs first, as they need no server."""
    for job in account.store.list(jobs.TRAINING.kind.name):
        name = job["TrainingJobName"]
        dimensions = [{"Name": "TrainingJobName", "Value": name}]
        data = [jobs.metric_datum(metric, dimensions) for metric in account.metrics.read(name)]
        if data:
            account.publish_metrics("/aws/sagemaker/TrainingJobs", data)
    jobs.recover(account)
    endpoints.recover(account)
    tuning.recover(account)
    account.start_thread("scaler", lambda: autoscaling.run(account))
    account.start_thread("cloudwatch", lambda: cloudwatch.run(account))


def close(account: Account) -> None:
    """Stop all jobs as StopJob does, and all servers; endpoints come back at the next start."""
    account.is_closing.set()
    jobs.stop_all(account)
    endpoints.stop_all(account)
    account.notify()
