"""The worst bodies known for each decoder, and the memory and time that each takes (SEC-6).

    usage: python -m tests.unit.container.serving.worst_inputs [PAYLOAD_MIB [NAME ...]]

Each body is as long as the payload limit allows, or expands to more. It is decoded in a process of
its own, whose peak is read from the kernel. Prints a table, or with `--json` one document.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from container.errors import RequestError
from tests.unit.container.serving import worst_image_inputs, worst_many_inputs, worst_user_inputs
from tests.unit.container.serving.worst_bodies import Decode, Make, make_picture
from tests.unit.container.serving.worst_image_inputs import bundled, gunzip
from tests.unit.container.serving.worst_user_inputs import USER_NPZ, make_sparse

CASES = {**worst_image_inputs.CASES, **worst_user_inputs.CASES, **worst_many_inputs.CASES}
"""By name: what decodes, and what makes the body for a size."""


DECODED = (
    *("CSV of plain rows", "CSV of odd rows", "CSV of one pixel a row", "JSON of plain rows"),
    *("CSV in UTF-16 of plain rows", "JSON of odd rows", "JSON of odd images, deep"),
    *("JSON lines of plain rows", "JSON lines of odd rows", "JSON lines of one pixel"),
    *("RecordIO of images", "RecordIO of float64", "RecordIO of one pixel"),
    *("CSV of odd rows below a header", "CSV of rare spaces", "libsvm of full odd rows"),
    *(name for name in CASES if name.startswith("user code: most")),
)
"""Long bodies of good images."""


# What measures


def read_kib(name: str) -> int:
    """Read one of the figures of this process in KiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


def measure(decode: Decode, make: Make, payload_bytes: int) -> dict[str, Any]:
    """Decode one body; return its length, the memory on top of it, the time and the outcome."""
    body = make(payload_bytes)
    before = read_kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
    started = time.process_time()
    try:
        decode(body, payload_bytes)
        outcome = "decoded"
    except RequestError as error:
        outcome = f"{error.status}: {error}"
    except Exception as error:  # noqa: BLE001 - it is what the test reports
        outcome = f"{type(error).__name__}: {error}"
    return {
        "body_bytes": len(body),
        "extra_bytes": 1024 * (read_kib("VmHWM") - before),
        "seconds": time.process_time() - started,
        "outcome": outcome[:200],
    }


def measure_apart(decode: Decode, make: Make, payload_bytes: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writable, json.dumps(measure(decode, make, payload_bytes)).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else {"outcome": "the process died"}


def main(arguments: list[str]) -> None:
    as_json = "--json" in arguments
    numbers = [text for text in arguments if text.isdigit()]
    names = [text for text in arguments if text != "--json" and not text.isdigit()]
    payload_bytes = int(numbers[0] if numbers else 25) * 2**20
    gunzip(gzip.compress(make_picture("PNG")), payload_bytes)  # imports what is imported when used
    USER_NPZ(make_sparse(10_000), payload_bytes)
    worst_many_inputs.import_pyarrow()
    for kind in ("PNG", "JPEG", "BMP"):
        bundled("image/" + kind.lower())(make_picture(kind), payload_bytes)
    figures = {}
    for name, (decode, make) in CASES.items():
        if names and name not in names:
            continue
        figures[name] = measure_apart(decode, make, payload_bytes)
        if not as_json:
            found = figures[name]
            extra = found.get("extra_bytes", 0)
            total = found.get("body_bytes", 0) + extra
            print(
                f"{total / payload_bytes:5.2f} of the limit ({extra / payload_bytes:4.2f} without "
                f"the body), {found.get('seconds', 0):5.2f} s: {name}: {found['outcome'][:90]}",
                flush=True,
            )
    if as_json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
