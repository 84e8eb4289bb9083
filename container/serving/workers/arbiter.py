"""gunicorn's master, which starts as many workers as the memory holds.

Rules of this file: it counts and starts workers, and does not know what they serve.
"""

import logging
from typing import Any, Final

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from container import machine, predictor
from container.serving.plan import WORKER_BYTES, Plan
from container.serving.workers import growth
from container.serving.workers.memory import Memory

log = logging.getLogger(__name__)

_NO_MEMORY_STATUS: Final = 1
_MEBIBYTE: Final = 2**20


class GrowingArbiter(Arbiter):
    """Starts with the workers of the configuration, and adds more once the first has loaded."""

    def __init__(self, app: Any, plan: Plan, grown: growth.Growth, memory: Memory) -> None:
        """Make the master of `app`; its workers write what they take to `grown`."""
        self._plan = plan
        self._grown = grown
        self._memory = memory
        self._is_settled = not plan.grows
        self._kills = machine.count_memory_kills()
        super().__init__(app)

    def manage_workers(self) -> None:
        """Keep the number of workers, and decide on it when the first one has loaded."""
        if not self._is_settled:
            self._settle()
        super().manage_workers()

    def _settle(self) -> None:
        grown = self._grown.read()
        if not self._plan.loads_in_workers:  # they have the model already
            grown = (WORKER_BYTES, False)
        if grown is None:
            return
        self._is_settled = True
        grown_bytes, uses_gpu = grown
        free_bytes = self._memory.count_free_bytes()
        cores = self._plan.cores
        gpus = predictor.list_gpus(self._plan.environ)
        more = growth.count_more(grown_bytes, free_bytes, cores, gpus, uses_gpu=uses_gpu)
        log.info(
            "a worker takes %d MB for the model, and %d MB are left: %d more start "
            "(%d cores, %d GPUs%s)",
            grown_bytes // _MEBIBYTE,
            max(0, free_bytes) // _MEBIBYTE,
            more,
            cores,
            len(gpus),
            ", one of which it uses" if uses_gpu else "",
        )
        self.num_workers = 1 + more

    def bury(self, row: int) -> None:
        """Do without a worker that ran out of memory before it could serve.

        Raises: HaltServer if no other worker has loaded the model, or the user wants so many.
        """
        kills = machine.count_memory_kills()
        ran_short = self._grown.ran_short(row) or kills > self._kills
        self._kills = kills
        has_loaded = self._grown.has_loaded(row)
        self._grown.clear(row)
        if has_loaded or not (ran_short and self._plan.loads_in_workers):
            return
        loaded = self._grown.count_loaded()
        wanted = self._plan.settings.workers
        if wanted > 1 or not loaded:
            message = growth.describe_shortage(self._memory, wanted)
            log.critical("%s", message)
            raise HaltServer(message, _NO_MEMORY_STATUS)
        log.warning("not enough memory for another worker: %d are serving", loaded)
        self.num_workers = loaded
