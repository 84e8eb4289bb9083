"""A serverless variant: environments that start on demand, and end when nobody needs them (SRV-1).

Each environment answers one request at a time. A request takes one that is idle, or starts one,
which is a cold start, or is throttled if there are `MaxConcurrency` already. One that has been idle
for a while is stopped, except for those of `ProvisionedConcurrency`.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from container.errors import PlatformError, RequestError, UserError
from local_test.endpoints.invocation import ReplacedError
from local_test.endpoints.server import Limits, Server, find_end
from local_test.endpoints.variants.replica import Replica
from local_test.endpoints.variants.starter import await_health
from local_test.endpoints.variants.variant import Patience, Variant

PAYLOAD_BYTES: Final = 4 * 1024**2
"""The largest body of a request and of an answer (HO-9)."""
_STARTUP_S: Final = 180  # from the start to the first successful ping (HO-5)
_MEGABYTE: Final = 1024**2
_END_S: Final = 0.5  # in which the end of a broken server is known
_LOOKS: Final = 4  # for idle environments, in the time after which one is stopped


def limit(limits: Limits) -> Limits:
    """Return the limits of a serverless variant."""
    return replace(
        limits,
        startup_s=min(limits.startup_s, _STARTUP_S),
        payload_bytes=min(limits.payload_bytes, PAYLOAD_BYTES),
    )


def restrict(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `Launch` by which a ServerlessConfig restricts a container."""
    return {
        "memory_bytes": config["MemorySizeInMB"] * _MEGABYTE,
        "is_root_read_only": True,
        "has_shared_memory": False,
    }


@dataclass
class ServerlessVariant(Variant):
    """A variant with a ServerlessConfig; safe to use from several threads."""

    cold_starts: int = 0
    """How many requests had to wait for an environment."""
    throttled: int = 0
    """How many requests were refused."""
    clock: Callable[[], float] = time.monotonic
    _idle: list[tuple[float, Replica]] = field(default_factory=list)
    """Environments without a request, and when each had its last; the latest is at the end."""
    _busy: list[Replica] = field(default_factory=list)
    """Environments that start or have a request."""
    _reserved: int = 0
    """How many are about to be started."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def config(self) -> dict[str, Any]:
        """Its ServerlessConfig."""
        found: dict[str, Any] = self.description["ServerlessConfig"]
        return found

    @property
    def servers(self) -> list[Server]:
        """The servers of all environments."""
        with self._lock:
            replicas = [*self._busy, *(replica for _, replica in self._idle)]
        return [server for replica in replicas for server in replica.servers]

    @property
    def is_monitored(self) -> bool:
        """Whether its servers are pinged: never, since nobody pings an idle environment."""
        return False

    def begin(self, count: int | None = None) -> list[Replica]:  # noqa: ARG002 - of instances
        """Start the provisioned environments, at least one: a broken container fails the endpoint.

        Raises: UserError, PlatformError.
        """
        started: list[Replica] = []
        for _ in range(self.config.get("ProvisionedConcurrency", 1)):
            started.append(self.start_replica())
            self._idle.append((self.clock(), started[-1]))
        return started

    def enter_service(self) -> None:
        """Stop environments that nobody needs from now on."""
        name = f"serverless {self.name}"
        threading.Thread(target=self._watch, daemon=True, name=name).start()

    def close(self) -> None:
        """Start no environment from now on, and kill those that are starting."""
        self._ended.set()
        with self._lock:
            busy = list(self._busy)
        for replica in busy:
            for server in replica.servers:
                if not server.is_healthy:
                    server.container.kill()

    @contextlib.contextmanager
    def lease(self, session: str = "") -> Iterator[Replica]:  # noqa: ARG002 - it keeps no state
        """Yield an environment for one request; start it if necessary.

        Raises: RequestError 429 if there are as many as allowed, 424 if it does not start.
        """
        replica = self._take_environment()
        is_sound = True
        try:
            yield replica
        except RequestError as error:
            is_sound = error.status != 424
            raise
        finally:
            self._give_back(replica, is_sound=is_sound)

    def drain(self, patience: Patience) -> None:
        """Wait until a variant that is closed has answered its last requests."""
        self._wait_until(lambda: not self._busy, patience)

    def describe(self) -> dict[str, Any]:
        """Return its entry in the answer to DescribeEndpoint."""
        return {
            "VariantName": self.name,
            "CurrentWeight": self.weight,
            "CurrentInstanceCount": 0,
            "CurrentServerlessConfig": self.config,
        }

    def summarize(self) -> dict[str, str]:
        """Return what the console shows of it."""
        warm = len(self._idle) + len(self._busy) + self._reserved
        return {
            "Environments": f"{warm} of at most {self.config['MaxConcurrency']}",
            "Memory": f"{self.config['MemorySizeInMB']} MB",
            "Cold starts": str(self.cold_starts),
            "Throttled": str(self.throttled),
        }

    def _take_environment(self) -> Replica:
        ended: list[Replica] = []
        try:
            idle = self._take_idle(ended)
        finally:
            for replica in ended:  # without the lock, since listeners may ask for the servers
                self._discard(replica)
        return idle or self._start_cold()

    def _take_idle(self, ended: list[Replica]) -> Replica | None:
        """Take an idle environment, or reserve a place and return None; add those that ended."""
        with self._lock:
            if self._ended.is_set():
                raise ReplacedError(self.name)
            while self._idle:
                _, replica = self._idle.pop()
                self._busy.append(replica)
                if not self._has_ended(replica):
                    return replica
                self._busy.remove(replica)
                ended.append(replica)
            most = self.config["MaxConcurrency"]
            if len(self._busy) + self._reserved >= most:
                self.throttled += 1
                message = (
                    f"Rate exceeded: variant {self.name!r} has MaxConcurrency {most}, and as many "
                    "requests are being answered; send it again later (SRV-1)"
                )
                raise RequestError(429, message)
            self._reserved += 1
            self.cold_starts += 1
        return None

    def _start_cold(self) -> Replica:
        """Start an environment in a place that is reserved.

        Raises: RequestError 424 if it does not become healthy.
        """
        started = self.clock()
        begun: list[Replica] = []
        try:
            begun.append(self._start_reserved())
            await_health(begun)
        except (UserError, PlatformError) as error:
            for replica in begun:
                with self._lock:
                    self._busy.remove(replica)
                self._discard(replica)
            raise RequestError(424, f"the cold start failed: {error} (SRV-1)") from error
        (replica,) = begun
        replica.setup_s = self.clock() - started
        self._report(replica, f"cold start: {replica.setup_s:.2f} s")
        return replica

    def _start_reserved(self) -> Replica:
        """Start an environment; whoever closes the variant kills it from now on."""
        try:
            replica = self.start_replica()
        except BaseException:
            with self._lock:
                self._reserved -= 1
            raise
        with self._lock:
            self._reserved -= 1
            self._busy.append(replica)
            is_over = self._ended.is_set()
        if is_over:
            for server in replica.servers:
                server.container.kill()
        return replica

    def _give_back(self, replica: Replica, *, is_sound: bool = True) -> None:
        """Keep an environment for the next request, unless it left one without an answer."""
        with self._lock:
            self._busy.remove(replica)
            is_kept = is_sound and not self._has_ended(replica)
            if is_kept or self._ended.is_set():  # then it is stopped with all others
                self._idle.append((self.clock(), replica))
                is_kept = True
        if not is_kept:
            self._discard(replica)

    def _has_ended(self, replica: Replica) -> bool:
        return any(find_end(server.container) is not None for server in replica.servers)

    def _discard(self, replica: Replica) -> None:
        """Remove an environment that has ended, and report why."""
        for server in replica.servers:
            reason = find_end(server.container, _END_S)
            if reason is not None and not self._ended.is_set():
                self._report(replica, f"{reason}; the next request starts another environment")
            server.remove()

    def _report(self, replica: Replica, text: str) -> None:
        self.starter.on_line(replica.name, f"[platform] {text}")

    def _watch(self) -> None:
        while not self._ended.wait(self.starter.limits.idle_s / _LOOKS):
            self.shrink()
            self.refill()

    def shrink(self) -> None:
        """Stop the environments that have been idle for too long, and forget those that ended."""
        since = self.clock() - self.starter.limits.idle_s
        with self._lock:
            ended = [item for item in self._idle if self._has_ended(item[1])]
            alive = [item for item in self._idle if item not in ended]
            surplus = max(0, len(alive) + len(self._busy) + self._reserved - self._least)
            old = [item for item in alive if item[0] <= since][:surplus]
            self._idle = [item for item in alive if item not in old]
        for _, replica in ended:
            self._discard(replica)
        for _, replica in old:
            self._report(replica, "stopped: it had no request for a while")
            for server in replica.servers:
                server.stop()

    def refill(self) -> None:
        """Start an environment if there are fewer than are provisioned."""
        with self._lock:
            count = len(self._idle) + len(self._busy) + self._reserved
            if count >= self._least or self._ended.is_set():
                return
            self._reserved += 1
        try:
            replica = self._start_cold()
        except RequestError as error:
            self.starter.on_line(f"{self.name}-1", f"[platform] {error}")
            return
        replica.setup_s = 0.0  # no request waited for it
        self._give_back(replica)

    @property
    def _least(self) -> int:
        return int(self.config.get("ProvisionedConcurrency", 0))
