"""Hides secrets in what is logged, reported and shown (HP-7).

Rules of this file: standard library only.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_SECRET_NAME: Final = re.compile(
    r"SECRET|PASSW|TOKEN(?!S|I)|CREDENTIAL|PRIVATE"
    r"|(API|ACCESS|AUTH|ENCRYPTION|SIGNING)[_.-]?KEY|AUTH(?!ORS?\b)",
    re.IGNORECASE,
)
_URL_LOGIN: Final = re.compile(r"(?<=://)[^/\s@]+@")
_VALUES: Final = ("Value", "DefaultValue")
_HIDDEN: Final = "***"


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
        text = text.replace(secret, _HIDDEN)
    return _URL_LOGIN.sub("***@", text)


def hide_secrets(node: Any, *, is_hidden: bool = False) -> Any:
    """Return a document with `***` for each text that is not empty and has a secret name.

    A name is that of a member, the `Name` or `Key` beside a value, or the option of an argument.
    All texts below a secret name are hidden; with `is_hidden`, all texts.
    """
    if isinstance(node, Mapping):
        return _hide_members(node, is_hidden=is_hidden)
    if isinstance(node, list):
        if not is_hidden and all(isinstance(item, str) for item in node):
            return _hide_arguments(node)
        return [hide_secrets(item, is_hidden=is_hidden) for item in node]
    if is_hidden and isinstance(node, str) and node:
        return _HIDDEN
    return node


def _hide_members(node: Mapping[str, Any], *, is_hidden: bool) -> dict[str, Any]:
    hidden = list(filter(is_secret, map(str, node)))
    if is_secret(str(node.get("Name") or node.get("Key") or "")):
        hidden += _VALUES
    return {
        name: hide_secrets(value, is_hidden=is_hidden or name in hidden)
        for name, value in node.items()
    }


def mask_command(command: Sequence[str], secrets: Sequence[str]) -> str:
    """Write a command as one line; also hide the values of options of a secret name."""
    return " ".join(mask(part, secrets) for part in _hide_arguments(command))


def _hide_arguments(arguments: Sequence[str]) -> list[str]:
    """Hide what follows an option of a secret name, or stands behind such a name and `=`."""
    shown = []
    is_value = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        is_named = is_secret(name) and not re.search(r"\s", name)
        if is_value:
            shown.append(_HIDDEN)
        elif is_named and value:
            shown.append(f"{name}={_HIDDEN}")
        else:
            shown.append(argument)
        is_value = is_named and not equals and argument.startswith("-")
    return shown
