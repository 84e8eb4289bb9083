"""What happens to an account when the local AWS starts and stops."""

from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT, ENDPOINT, FUNCTION_CALL, TRAINING_JOB
from local_test.aws.sagemaker import (
    autoscaling,
    cloudwatch,
    job_operations,
    live_endpoints,
    live_jobs,
)
from local_test.aws.sagemaker.events import sending
from local_test.aws.sagemaker.hosting import live_components
from local_test.aws.sagemaker.pipelines import runner as pipeline_runner
from local_test.aws.sagemaker.pipelines.functions import function_calls
from local_test.aws.sagemaker.tuning import tuning_operations


def recover(account: Account) -> None:
    """Continue what the last process left; tuning jobs last, as they read their training jobs."""
    sending.install(account)
    for record in account.store.list(TRAINING_JOB):
        name = record["TrainingJobName"]
        dimensions = [{"Name": "TrainingJobName", "Value": name}]
        data = [live_jobs.metric_datum(metric, dimensions) for metric in account.metrics.read(name)]
        if data:
            account.publish_metrics("/aws/sagemaker/TrainingJobs", data)
    live_jobs.recover(account)
    live_endpoints.recover(account)
    live_components.recover(account)
    tuning_operations.recover(account)
    function_calls.recover(account)
    pipeline_runner.recover(account)
    account.start_thread("scaler", lambda: autoscaling.run(account))
    account.start_thread("cloudwatch", lambda: cloudwatch.run(account))


def close(account: Account) -> None:
    """Stop all jobs as StopJob does, and all servers; endpoints come back at the next start."""
    account.is_closing.set()
    job_operations.stop_all(account)
    for kind, name in list(account.live):
        if kind == FUNCTION_CALL.name:
            function_calls.stop(account, name)
        if kind in (ENDPOINT.name, COMPONENT.name) and (
            live := account.live.pop((kind, name), None)
        ):
            account.start_thread(f"{kind} {name} stop", live.stop)
    account.notify()
