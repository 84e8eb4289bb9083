"""Who may ask a local AWS that listens on the address of a container engine's network.

Linux accepts packets for that address on every device, so other machines can reach it, too.
"""

import ipaddress
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

Network = IPv4Network | IPv6Network
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
