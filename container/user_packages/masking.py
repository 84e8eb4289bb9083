"""Hides secrets in what is logged, reported and shown (HP-7).

Rules of this file: standard library only.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_SECRET_NAME: Final = re.compile(
    r"SECRET|PASSW|TOKEN(?!S|I)|CREDENTIAL|PRIVATE"
    r"|(API|ACCESS|AUTH|ENCRYPTION|SIGNING)_?KEY|AUTH(?!ORS?\b)",
    re.IGNORECASE,
)
_URL_LOGIN: Final = re.compile(r"(?<=://)[^/\s@]+@")


def is_secret(name: str) -> bool:
    """Return whether a variable or option of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))


def find_secrets(variables: Mapping[str, str]) -> list[str]:
    """Return the values of variables with secret names, the longest first."""
    values = {value for name, value in variables.items() if is_secret(name) and len(value) >= 4}
    return sorted(values, key=len, reverse=True)


def mask(text: str, secrets: Sequence[str] = ()) -> str:
    """Hide secret values, and logins in URLs, everywhere in `text`."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _URL_LOGIN.sub("***@", text)


def hide_secrets(node: Any) -> Any:
    """Return a document with `***` for each value that is not empty and has a secret name."""
    if isinstance(node, Mapping):
        return {name: _hide(str(name), value) for name, value in node.items()}
    if isinstance(node, list):
        return [hide_secrets(item) for item in node]
    return node


def _hide(name: str, value: Any) -> Any:
    if isinstance(value, str) and value and is_secret(name):
        return "***"
    return hide_secrets(value)


def mask_command(command: Sequence[str], secrets: Sequence[str]) -> str:
    """Write a command as one line; also hide the value that follows an option of a secret name."""
    shown = []
    hide = False
    for part in command:
        shown.append("***" if hide else mask(part, secrets))
        hide = part.startswith("-") and is_secret(part)
    return " ".join(shown)
