"""SageMaker on one machine: lays out a job, runs a container or program, reports how it ended."""
