"""The gunicorn worker: one event loop in a process of its own."""

import sys

from gunicorn.workers.base import Worker

from container.serving.event_worker.loop import Loop


class EventWorker(Worker):
    """Serves the `Service` that the gunicorn application carries as `service`."""

    def load_wsgi(self) -> None:
        """Leave Flask until a request needs it: importing it doubles the time of the start."""

    def run(self) -> None:
        """Serve until asked to stop, then answer what has begun."""
        loop = Loop(self, self.app.service)  # type: ignore[attr-defined] # our application
        loop.run()
        if loop.exit_status:
            sys.exit(loop.exit_status)
