"""The models of a multi-model endpoint, and the processes that they run in."""
