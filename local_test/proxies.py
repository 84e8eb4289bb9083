"""Keeps requests to this machine away from HTTP proxies.

On many company machines `HTTP_PROXY` names a proxy for everything. It cannot reach this machine's
loopback, and has no business with it.
"""

import os
from collections.abc import Mapping
from typing import Final

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1", "[::1]")  # libraries write IPv6 in either way
_EXEMPTION: Final = ("no_proxy", "NO_PROXY")  # libraries read one or the other, the first first
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy"})


def exempt(environ: Mapping[str, str], *hosts: str) -> dict[str, str]:
    """Return the variables by which `hosts` are reached without a proxy, beside those in `environ`.

    What either variable of `environ` exempts stays exempt; `*` exempts everything only by itself.
    """
    found = ",".join(environ.get(name, "") for name in _EXEMPTION).replace(",", " ").split()
    listed = dict.fromkeys([*found, *hosts])
    return dict.fromkeys(_EXEMPTION, "*" if "*" in listed else ",".join(listed))


def uses_one(environ: Mapping[str, str]) -> bool:
    """Return whether these variables name a proxy."""
    return any(name.lower() in _PROXIES and value for name, value in environ.items())


def exempt_this_process() -> None:
    """Let every HTTP library of this process reach loopback without a proxy."""
    os.environ.update(exempt(os.environ, *LOOPBACK))
