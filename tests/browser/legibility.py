"""What makes a page hard to read, found by a script in the browser."""

from __future__ import annotations

from pathlib import Path

from tests.browser.chromium import Browser

_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def find_faults(browser: Browser) -> list[str]:
    """Return the faults of the page that is shown, in light and in dark.

    They are: contrast below WCAG AA, words in single letters, text beyond the window's edge, no
    outline of what has the focus.
    """
    faults = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.order("Emulation.setEmulatedMedia", features=[feature])
        faults += [f"{scheme}: {fault}" for fault in browser.evaluate(_SCRIPT)]
    return faults
