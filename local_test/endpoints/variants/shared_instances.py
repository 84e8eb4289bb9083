"""A variant without a model: instances that inference components share (IC-1).

On this machine an instance is only a number, since the copies of each component run in containers
of their own.
"""

from local_test.endpoints.variants.replica import Replica
from local_test.endpoints.variants.variant import Variant


class SharedInstances(Variant):
    """A variant whose replicas have no server."""

    def start_replica(self) -> Replica:
        """Return another instance; nothing starts on it."""
        return Replica(self._next_name(), self.starter.model)

    def summarize(self) -> dict[str, str]:
        """Return what the console shows of it."""
        return {"Instances": str(len(self.replicas))}
