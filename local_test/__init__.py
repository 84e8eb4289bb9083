"""SageMaker on one machine: lays out a job, runs a container or program in it, judges the end."""
