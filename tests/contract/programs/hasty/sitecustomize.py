"""Let the SDKs wait a tenth of their seconds: their jobs take minutes at AWS, seconds here."""

import time

_sleep = time.sleep


def _sleep_less(seconds: float) -> None:
    _sleep(max(seconds / 10, min(seconds, 0.5)))


time.sleep = _sleep_less
