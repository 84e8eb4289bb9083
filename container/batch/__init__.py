"""Models inside the processes of batch engines: Ray Data, Spark."""
