"""SageMaker on one machine: makes the job directory, runs a container or program in it, and judges what it did."""
