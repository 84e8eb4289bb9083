"""Decides which requests a server on loopback refuses because a web page may have sent them.

Any page that a browser shows can send requests to this machine, without asking anybody. It cannot
choose three headers: `Host` is the name by which the browser found the server, `Origin` names the
page's site, and `Sec-Fetch-Site` says how that site relates to the server. Programs that are not
browsers send neither of the last two.

Source: the Fetch standard (Origin), Fetch Metadata Request Headers (Sec-Fetch-...).
"""

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any, Final

_OWN_SITES: Final = ("same-origin", "none")  # none: the user typed the address


def find_fault(
    environ: Mapping[str, Any], *, addresses: Collection[str] = (), is_linkable: bool = False
) -> str | None:
    """Return why a WSGI request is refused, or None if it may pass.

    `addresses` are those that the server listens on beside loopback. Other sites may link to a page
    that is linkable, but not embed it.
    """
    host = environ.get("HTTP_HOST", "")
    if not _names_us(host, addresses):
        # A page can make a name of its own site point to this machine (DNS rebinding).
        return f"this server does not answer to the host name {host!r}; use 127.0.0.1"
    site = _find_foreign_site(environ, host)
    if site is None or (is_linkable and _follows_link(environ)):
        return None
    return (
        f"a web page of another site ({site}) sent this request; this server answers only its own "
        "pages and programs that are not browsers"
    )


def _names_us(host: str, addresses: Collection[str]) -> bool:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name = host
    elif not (port.isascii() and port.isdecimal()):
        return False
    if name.lower() == "localhost" or name in addresses:
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _find_foreign_site(environ: Mapping[str, Any], host: str) -> str | None:
    """Return what the browser says of another site's page, or None for our own and for programs."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.lower() != f"http://{host}".lower():
        return f"Origin: {origin}"
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None and site not in _OWN_SITES:
        return f"Sec-Fetch-Site: {site}"
    return None


def _follows_link(environ: Mapping[str, Any]) -> bool:
    return (
        environ["REQUEST_METHOD"] in ("GET", "HEAD")
        and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
        and environ.get("HTTP_SEC_FETCH_DEST") == "document"
    )
