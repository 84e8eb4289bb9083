"""Where containers reach this machine, and where it reaches them."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from container.errors import PlatformError
from local_test.runners import engine
from local_test.runners.containers import addresses

IPV4 = {"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}
IPV6 = {"Subnet": "fd00:17::/64", "Gateway": "fd00:17::1"}


def set_bridge(monkeypatch: pytest.MonkeyPatch, configuration: list[dict[str, str]] | None) -> None:
    """Stand in for an engine that describes its default network as `docker network inspect` did."""
    bridge = SimpleNamespace(attrs={"Name": "bridge", "IPAM": {"Config": configuration}})
    client = SimpleNamespace(networks=SimpleNamespace(get={"bridge": bridge}.__getitem__))
    monkeypatch.setattr(engine, "reach", lambda: client)


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        pytest.param([IPV4], "172.17.0.1", id="an engine that was restarted"),
        pytest.param([{"Subnet": "172.17.0.0/16"}], "172.17.0.1", id="an engine's first start"),
        pytest.param([{"Subnet": "10.9.8.64/26"}], "10.9.8.65", id="another subnet"),
        pytest.param(
            [{"Subnet": "192.168.5.0/24", "Gateway": "192.168.5.254"}], "192.168.5.254", id="bip"
        ),
        pytest.param([IPV6, IPV4], "172.17.0.1", id="IPv6 first"),
        pytest.param([IPV6, {"Subnet": "172.18.0.0/16"}], "172.18.0.1", id="IPv6, no gateway"),
        pytest.param([IPV4, {"Subnet": "172.30.0.0/16"}], "172.17.0.1", id="several subnets"),
        pytest.param([IPV6], None, id="IPv6 only"),
        pytest.param([], None, id="no subnet"),
        pytest.param(None, None, id="null"),
    ],
)
def test_the_gateway_is_an_ipv4_address_even_if_the_engine_does_not_list_it(
    monkeypatch: pytest.MonkeyPatch,
    configuration: list[dict[str, str]] | None,
    expected: str | None,
) -> None:
    set_bridge(monkeypatch, configuration)
    assert addresses.find_gateway() == expected


def test_an_engine_without_the_default_network_has_no_gateway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def get(name: str) -> Any:
        message = f"network {name} not found"
        raise docker.errors.NotFound(message)

    client = SimpleNamespace(networks=SimpleNamespace(get=get))
    monkeypatch.setattr(engine, "reach", lambda: client)
    assert addresses.find_gateway() is None


def test_a_container_is_asked_in_a_network_of_this_machine_only() -> None:
    """A request to a network that is not here would leave this machine."""
    own = {"IPAddress": "127.0.0.9", "IPPrefixLen": 8}
    foreign = {"IPAddress": "203.0.113.2", "IPPrefixLen": 24}
    unset = {"IPAddress": "", "IPPrefixLen": 0}
    assert addresses.find_own_address([unset, foreign, own]) == "127.0.0.9"
    with pytest.raises(PlatformError, match=r"isolated networks .*203\.0\.113\.2"):
        addresses.find_own_address([unset, foreign])
    with pytest.raises(PlatformError, match="addresses: none"):
        addresses.find_own_address([])


@pytest.mark.parametrize(
    ("source", "expected"),
    [("10.1.2.3", "10.1.2.3"), ("127.0.0.1", None), ("0.0.0.0", None)],  # noqa: S104 - no address
)
def test_a_machine_has_an_address_in_its_network_or_none(
    monkeypatch: pytest.MonkeyPatch, source: str, expected: str | None
) -> None:
    monkeypatch.setattr(addresses, "_find_source", lambda _: ipaddress.ip_address(source))
    assert addresses.find_machine_address() == expected
