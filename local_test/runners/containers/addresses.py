"""Where containers reach this machine, and where it reaches them."""

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

import docker.errors

from container.errors import PlatformError
from local_test.runners import engine

HOST_OF_VIRTUAL_MACHINE: Final = "host.docker.internal"
"""What containers of an engine in a virtual machine call the machine around it."""
HOST_OF_PODMAN: Final = "host.containers.internal"
"""What containers of Podman call the machine that they run on."""
_ELSEWHERE: Final = "192.0.2.1"  # an address of documentation, of no machine


def find_gateway() -> str | None:
    """Return the IPv4 address at which containers reach this machine, or None."""
    try:
        bridge = engine.reach().networks.get("bridge")
    except docker.errors.NotFound:  # an engine can run without its default network
        return None
    return _read_gateway(bridge.attrs["IPAM"]["Config"] or [])


def find_machine_address() -> str | None:
    """Return the address from which this machine sends into its network; None without one."""
    address = _find_source(_ELSEWHERE)
    if address.is_loopback or address.is_unspecified:
        return None
    return str(address)


def find_own_address(networks: Iterable[Mapping[str, Any]]) -> str:
    """Return the address of a container without published ports, from its network settings.

    Raises: PlatformError if this machine has no part in its network, as with Podman's CNI, a
        rootless engine or one in a virtual machine. A request would leave by the default route, to
        a stranger.
    """
    found = [(item["IPAddress"], item["IPPrefixLen"]) for item in networks if item.get("IPAddress")]
    for address, prefix in found:
        if _find_source(address) in ipaddress.ip_network(f"{address}/{prefix}", strict=False):
            return str(address)
    shown = ", ".join(address for address, _ in found) or "none"
    raise PlatformError(
        f"this machine cannot reach the engine's isolated networks (addresses: {shown}): rootless "
        "engines, Podman with CNI and engines in a virtual machine keep them to themselves; serve "
        "without isolation, or use a Docker engine of this machine that runs as root (SEC-1)"
    )


def _find_source(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address of this machine from which a packet to `address` would leave."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # sends nothing
        except OSError:
            return ipaddress.ip_address("0.0.0.0")  # noqa: S104 - no address of anybody
        return ipaddress.ip_address(probe.getsockname()[0])


def list_networks() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the address ranges of the engine's bridge networks; none if it is out of reach."""
    try:
        found = engine.connect().networks.list(filters={"driver": "bridge"})
    except engine.UNREACHABLE:
        return []
    entries = [entry for network in found for entry in network.attrs["IPAM"]["Config"] or []]
    return [ipaddress.ip_network(entry["Subnet"]) for entry in entries if "Subnet" in entry]


def _read_gateway(entries: list[dict[str, str]]) -> str | None:
    """Read the gateway from a network's address settings, as `docker network inspect` prints them.

    An engine that has just created the network (Docker 20.10 at its first start) lists the subnet
    but no gateway. The gateway is then the subnet's first address.
    """
    for entry in entries:
        subnet = ipaddress.ip_network(entry["Subnet"])
        if subnet.version == 4:
            return entry.get("Gateway") or str(subnet[1])
    return None
