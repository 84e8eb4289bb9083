"""Which requests a server on loopback takes from browsers, and under which names."""

from __future__ import annotations

import pytest

from local_test import browser_gate

NAVIGATION = {"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_DEST": "document"}


def find_fault(method: str = "POST", *, is_linkable: bool = False, **headers: str) -> str | None:
    environ = {"REQUEST_METHOD": method, "HTTP_HOST": "127.0.0.1:8000", **headers}
    return browser_gate.find_fault(environ, addresses=["172.17.0.1"], is_linkable=is_linkable)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost:8000",
        "LOCALHOST",
        "[::1]",
        "[::1]:80",
        "172.17.0.1:80",
    ],
)
def test_the_names_of_this_machine_are_answered(host: str) -> None:
    assert find_fault(HTTP_HOST=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1:x",
        "127.0.0.1:80, evil.example",
        "evil.example@127.0.0.1",
        "0.0.0.0:80",
        "192.168.0.7",
        "127.1",
        "2130706433",
        "[::2]",
    ],
)
def test_another_name_is_not_answered(host: str) -> None:
    assert f"does not answer to the host name {host!r}" in (find_fault(HTTP_HOST=host) or "")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_programs_and_our_own_pages_pass(method: str) -> None:
    assert find_fault(method) is None
    own = {"HTTP_ORIGIN": "http://127.0.0.1:8000", "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert find_fault(method, **own) is None
    assert find_fault(method, HTTP_SEC_FETCH_SITE="none") is None


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_ORIGIN": "https://evil.example"},
        {"HTTP_ORIGIN": "http://127.0.0.1:8888"},
        {"HTTP_ORIGIN": "http://localhost:8000"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_ORIGIN": ""},
        {"HTTP_SEC_FETCH_SITE": "cross-site"},
        {"HTTP_SEC_FETCH_SITE": "same-site"},
        {"HTTP_SEC_FETCH_SITE": "cross-site", **NAVIGATION},
        {"HTTP_ORIGIN": "http://127.0.0.1:8000", "HTTP_SEC_FETCH_SITE": "cross-site"},
    ],
)
def test_pages_of_other_sites_are_refused(method: str, headers: dict[str, str]) -> None:
    assert "a web page of another site" in (find_fault(method, **headers) or "")


def test_other_sites_may_link_to_a_page_but_neither_embed_it_nor_send_forms_to_it() -> None:
    link = {"HTTP_SEC_FETCH_SITE": "cross-site", **NAVIGATION}
    assert find_fault("GET", is_linkable=True, **link) is None
    assert find_fault("POST", is_linkable=True, **link) is not None
    frame = {**link, "HTTP_SEC_FETCH_DEST": "iframe"}
    assert find_fault("GET", is_linkable=True, **frame) is not None
