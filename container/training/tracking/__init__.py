"""Records a training job in MLflow when `MLFLOW_TRACKING_URI` is set, and in W&B if asked to.

The job runs as a child process, unchanged, and its log is read: so the bundled network,
`job.log_metrics` and the metric lines of any program are recorded in the same way. Nothing here
slows a job that does not ask for it.
"""
