"""Where containers reach a local AWS, and who may ask there.

It listens on the address of a container engine's network, or on this machine's own one where the
engine is rootless. Linux accepts packets for both on every device, so other machines can reach it,
too.
"""

import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

Network = IPv4Network | IPv6Network
_IP_FREEBIND: Final = 15  # of Linux; Python has no name for it
_REFRESH_S: Final = 1.0


class PeerGate:
    """A WSGI application that refuses whoever is neither on this machine nor in a container."""

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        list_networks: Callable[[], list[Network]],
    ) -> None:
        """`list_networks` returns the engine's networks; jobs of several hosts add their own."""
        self._application = application
        self._list_networks = list_networks
        self._networks: Sequence[Network] = ()
        self._listed_s = float("-inf")
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        peer = str(environ.get("REMOTE_ADDR", ""))
        if self._knows(peer):
            return self._application(environ, start_response)
        body = (
            f"This local AWS answers this machine and its containers only, and not {peer}.\n"
        ).encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start_response("403 Forbidden", headers)
        return [body]

    def _knows(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        if address.is_loopback or any(address in network for network in self._networks):
            return True
        with self._lock:  # at most once a second, so that strangers cannot busy the engine
            if time.monotonic() - self._listed_s >= _REFRESH_S:
                self._networks = self._list_networks()
                self._listed_s = time.monotonic()
        return any(address in network for network in self._networks)


@dataclass(frozen=True)
class Access:
    """How containers reach a local AWS."""

    host: str = ""
    """What they ask; nothing if they cannot reach it."""
    listeners: Sequence[socket.socket] = ()
    list_networks: Callable[[], list[Network]] = list
    """Return the networks whose requests are answered."""


def listen_to_containers(port: int) -> Access:
    """Listen where the engine's containers reach this machine.

    Engines in a virtual machine forward a name of theirs to this machine's loopback, where we
    listen already. If it fails, the reason is logged, and containers get no AWS variables.

    Raises: PlatformError if the engine is out of reach.
    """
    from local_test.runners import engine  # noqa: PLC0415 - takes 0.2 s to import
    from local_test.runners.containers import addresses  # noqa: PLC0415 - as above

    engine.reap()
    if engine.is_in_virtual_machine():
        return Access(addresses.HOST_OF_VIRTUAL_MACHINE, (), addresses.list_networks)
    if engine.is_rootless():
        return _listen_for_rootless(port)
    gateway = addresses.find_gateway()
    if gateway is None:
        return _report_unreachable(
            "the Docker engine's network 'bridge' has no IPv4 address; remove the setting"
            ' "bridge": "none" from its daemon.json'
        )
    # The gateway of Podman on this machine exists only while a container runs.
    is_early = engine.is_podman() and engine.is_local()
    try:
        return Access(gateway, (bind(gateway, port, is_early=is_early),), addresses.list_networks)
    except OSError as error:
        return _report_unreachable(f"cannot listen on {gateway}:{port}: {error.strerror}")


def _listen_for_rootless(port: int) -> Access:
    """Listen on this machine's own address, from which requests of containers come, too."""
    from local_test.runners import engine  # noqa: PLC0415 - takes 0.2 s to import
    from local_test.runners.containers import addresses  # noqa: PLC0415 - as above

    address = addresses.find_machine_address()
    if address is None or not engine.is_local():
        return _report_unreachable(
            "the engine is rootless, has a network of its own, and reaches this machine only at an "
            "address other than loopback; connect the machine to a network, and use an engine of "
            "this machine"
        )
    name = addresses.HOST_OF_PODMAN if engine.is_podman() else address
    try:
        listener = bind(address, port)
    except OSError as error:
        return _report_unreachable(f"cannot listen on {address}:{port}: {error.strerror}")
    return Access(name, (listener,), lambda: [ipaddress.ip_network(address)])


def _report_unreachable(reason: str) -> Access:
    print(f"containers cannot reach this local AWS: {reason}", file=sys.stderr, flush=True)
    return Access()


def bind(host: str, port: int, *, is_early: bool = False) -> socket.socket:
    """Bind a socket; `is_early` allows an address that this machine does not have yet.

    Raises: OSError if the address or the port cannot be had.
    """
    listener = socket.socket()
    if is_early:
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
